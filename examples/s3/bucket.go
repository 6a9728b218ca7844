package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A bucket has objects that are messages.
type bucket struct {
	client   *s3.Client
	name     string
	provider keyprovider.MasterKeyProvider
	stdout   io.Writer
}

// about is the encryption context of an object: it does not decrypt under another
// name.
func (b *bucket) about(key string) map[string]string {
	return map[string]string{"bucket": b.name, "object": key}
}

func (b *bucket) encryptOptions(key string) *esdk.EncryptOptions {
	return &esdk.EncryptOptions{
		EncryptionContext: b.about(key),
		// Unsigned, so that ranges can be read without reading everything first: to
		// verify a signature takes the whole message.
		Suite:       suite.AES256GCMHKDFSHA512CommitKey,
		FrameLength: 64 << 10, // this much is fetched and decrypted for a range of one byte
	}
}

func (b *bucket) decryptOptions(key string) *esdk.DecryptOptions {
	return &esdk.DecryptOptions{EncryptionContext: b.about(key), MaxFrameLength: 1 << 20}
}

// put encrypts a file while it is uploaded in parts, several at a time. An upload
// that fails leaves the object as it was.
func (b *bucket) put(ctx context.Context, file, key string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	e, length, err := b.encrypt(ctx, f, info.Size(), key)
	if err != nil {
		return err
	}
	out, err := b.upload(ctx, &transfermanager.UploadObjectInput{Bucket: &b.name, Key: &key, Body: e, ContentLength: &length}, length)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(b.stdout, "put %s: %d bytes, %d encrypted, ETag %s\n", key, info.Size(), length, aws.ToString(out.ETag))
	return err
}

// encrypt returns a reader of the message whose plaintext is what r has, and the
// message's length, which is exact: size is how many bytes r has, or reading the
// message fails before its end.
func (b *bucket) encrypt(ctx context.Context, r io.Reader, size int64, key string) (*esdk.EncryptReader, int64, error) {
	e, err := esdk.NewEncryptReader(ctx, &exactly{r, size}, b.provider, b.encryptOptions(key))
	if err != nil {
		return nil, 0, err
	}
	length, err := e.Header().MessageLength(size)
	return e, length, err
}

// exactly reads as many bytes as left says, and fails if there are more or fewer.
type exactly struct {
	r    io.Reader
	left int64
}

var errSize = errors.New("the source is not as long as it was said to be")

func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if e.left -= int64(n); e.left < 0 || err == io.EOF && e.left > 0 {
		return 0, errSize
	}
	return n, err
}

// upload uploads about size bytes. The parts are in memory, so that each can be
// signed and sent again.
func (b *bucket) upload(ctx context.Context, in *transfermanager.UploadObjectInput, size int64) (*transfermanager.UploadObjectOutput, error) {
	return transfermanager.New(b.client).UploadObject(ctx, in, func(o *transfermanager.Options) {
		o.PartSizeBytes = max(8<<20, size/9000) // S3 takes up to 10,000 parts
		o.FailTimeout = 30 * time.Second        // to remove the parts, also if ctx is done
	})
}

// putOne uploads a message in one request, without parts and without memory for
// them. S3 wants to know the length, and a stream cannot be signed before it has
// been read. It cannot be sent again either: retries are the caller's.
func (b *bucket) putOne(ctx context.Context, r io.Reader, size int64, key string) error {
	e, length, err := b.encrypt(ctx, r, size, key)
	if err != nil {
		return err
	}
	_, err = b.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &b.name, Key: &key, Body: e, ContentLength: &length}, unsignedPayload)
	return err
}

func unsignedPayload(o *s3.Options) {
	o.Retryer = aws.NopRetryer{}
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
}

// get downloads and decrypts an object. The file is there as a whole, or as it was
// before.
func (b *bucket) get(ctx context.Context, key, file string) error {
	o, err := b.open(ctx, key)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".esdk-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it has the other name
	n, err := b.decrypt(ctx, f, o, key)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	_, err = fmt.Fprintf(b.stdout, "got %s: %d bytes\n", key, n)
	return err
}

func (b *bucket) decrypt(ctx context.Context, w io.Writer, o *object, key string) (int64, error) {
	r := o.reader()
	defer r.Close()
	d, err := esdk.NewDecryptReader(ctx, r, b.provider, b.decryptOptions(key))
	if err != nil {
		return 0, err
	}
	// Known before the first byte is decrypted, but sure only when the last one is.
	length, err := d.Header().PlaintextLength(o.size)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(w, d) // nil: all of it has been verified
	if err == nil && n != length {
		err = fmt.Errorf("%d bytes, expected %d", n, length)
	}
	return n, err
}

// pieceSize is how much of a range is fetched at a time, in bytes of plaintext.
const pieceSize = 8 << 20

// printRange prints a part of an object. It fetches the frames that hold it, and
// the start and the end of the message.
func (b *bucket) printRange(ctx context.Context, key string, offset, length int64) error {
	o, err := b.open(ctx, key)
	if err != nil {
		return err
	}
	d, err := esdk.NewDecryptReaderAt(ctx, o, o.size, b.provider, b.decryptOptions(key))
	if err != nil {
		return err
	}
	if offset < 0 || length < 0 || offset > d.Size() {
		return fmt.Errorf("%d bytes from %d: the object has %d", length, offset, d.Size())
	}
	length = min(length, d.Size()-offset)
	buf := make([]byte, min(length, pieceSize))
	for length > 0 {
		buf = buf[:min(length, pieceSize)]
		start, end, err := d.Header().MessageRange(offset, int64(len(buf)))
		if err != nil {
			return err
		}
		if err := o.fetchAhead(start, end); err != nil { // one request, for more than ReadAt asks for at once
			return err
		}
		if _, err := d.ReadAt(buf, offset); err != nil && err != io.EOF {
			return err
		}
		if _, err := b.stdout.Write(buf); err != nil {
			return err
		}
		offset, length = offset+int64(len(buf)), length-int64(len(buf))
	}
	return nil
}

// rotate moves an object to another key. Plaintext is in memory only. The new
// object takes the place of the old one if nobody has written to it meanwhile, and
// only after the old one has been verified.
func (b *bucket) rotate(ctx context.Context, key string, to keyprovider.MasterKeyProvider) error {
	o, err := b.open(ctx, key)
	if err != nil {
		return err
	}
	src := o.reader()
	defer src.Close()
	body, w := io.Pipe()
	defer w.CloseWithError(errNotWhole) // if Reencrypt panics
	type uploaded struct {
		out *transfermanager.UploadObjectOutput
		err error
	}
	done := make(chan uploaded, 1)
	go func() {
		out, err := b.upload(ctx, &transfermanager.UploadObjectInput{Bucket: &b.name, Key: &key, Body: body, IfMatch: &o.etag}, o.size)
		body.CloseWithError(errUploadEnded) // what Reencrypt would write now fails
		done <- uploaded{out, err}
	}()
	dst := &counter{w: w}
	opts := &esdk.ReencryptOptions{Decrypt: *b.decryptOptions(key)}
	opts.Encrypt.Suite = b.encryptOptions(key).Suite
	h, err := esdk.Reencrypt(ctx, dst, src, b.provider, to, opts)
	if err == nil {
		err = sameLength(o, h, dst.n)
	}
	w.CloseWithError(err) // nil: the upload ends here; else it fails
	up := <-done
	if up.err != nil && (err == nil || errors.Is(err, errUploadEnded)) {
		err = up.err
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(b.stdout, "rotated %s: %d bytes, %d before, ETag %s\n", key, dst.n, o.size, aws.ToString(up.out.ETag))
	return err
}

var (
	errUploadEnded = errors.New("the upload has ended")
	errNotWhole    = errors.New("the message is not whole")
)

// sameLength checks that a new message of n bytes has as much plaintext as the
// old one.
func sameLength(o *object, h *format.Header, n int64) error {
	plaintext, err := o.plaintextLength()
	if err != nil {
		return err
	}
	want, err := h.MessageLength(plaintext)
	if err == nil && n != want {
		err = fmt.Errorf("%w: %d bytes of %d", errNotWhole, n, want)
	}
	return err
}

// A counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
