package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/esdk-go/esdk/format"
)

// An object is an io.ReaderAt over an object of S3. Each ReadAt is one request,
// unless the bytes are there already. If the object changes after open, that is an
// error: it never gives bytes of two versions. It is safe for concurrent use.
type object struct {
	ctx         context.Context // of all requests, as ReadAt takes none
	client      *s3.Client
	bucket, key string
	etag        string
	size        int64
	head        []byte // the first bytes

	mu    sync.Mutex
	tail  []byte // the last bytes; nil: not known yet
	ahead []byte // the bytes from at on
	at    int64
}

const (
	// headSize is more than the headers of most messages have. That much is fetched
	// with the first request, which says how long the object is as well.
	headSize = 16 << 10
	// tailSize is the most that is kept of what is read from the end.
	tailSize = 1 << 20
)

func (b *bucket) open(ctx context.Context, key string) (*object, error) {
	o := &object{ctx: ctx, client: b.client, bucket: b.name, key: key}
	out, err := o.request(0, headSize)
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	var end int64
	if _, err := fmt.Sscanf(aws.ToString(out.ContentRange), "bytes 0-%d/%d", &end, &o.size); err != nil {
		return nil, fmt.Errorf("object %s: Content-Range %q: %w", key, aws.ToString(out.ContentRange), err)
	}
	o.etag, o.head = aws.ToString(out.ETag), make([]byte, min(headSize, o.size))
	if o.etag == "" {
		return nil, fmt.Errorf("object %s has no ETag", key)
	}
	if _, err := io.ReadFull(out.Body, o.head); err != nil {
		return nil, fmt.Errorf("object %s: %w", key, err)
	}
	return o, nil
}

// plaintextLength returns how many bytes of plaintext the message has, if it is
// genuine.
func (o *object) plaintextLength() (int64, error) {
	r := o.reader()
	defer r.Close()
	h, err := format.ReadHeader(r, 0)
	if err != nil {
		return 0, err
	}
	return h.PlaintextLength(o.size)
}

// request asks for n bytes from off on, or for fewer if there are no more.
func (o *object) request(off, n int64) (*s3.GetObjectOutput, error) {
	in := &s3.GetObjectInput{Bucket: &o.bucket, Key: &o.key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1))}
	if o.etag != "" {
		in.IfMatch = &o.etag
	}
	out, err := o.client.GetObject(o.ctx, in)
	if err != nil {
		return nil, err
	}
	if got := aws.ToString(out.ETag); o.etag != "" && got != o.etag { // not every S3 knows If-Match
		out.Body.Close()
		return nil, fmt.Errorf("object %s changed while it was read: ETag %s was %s", o.key, got, o.etag)
	}
	return out, nil
}

// ReadAt reads from what is there, or by one request.
func (o *object) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > o.size {
		return 0, fmt.Errorf("offset %d in an object of %d bytes", off, o.size)
	}
	if int64(len(p)) > o.size-off {
		n, err := o.ReadAt(p[:o.size-off], off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	if len(p) == 0 || o.copyKept(p, off) {
		return len(p), nil
	}
	end := off + int64(len(p))
	b := o.from(off, end)
	defer b.Close()
	n, err := io.ReadFull(b, p)
	if err == nil && end == o.size && n <= tailSize {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.tail = bytes.Clone(p)
	}
	return n, err
}

// copyKept fills p if all of it is there.
func (o *object) copyKept(p []byte, off int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, kept := range []struct {
		b  []byte
		at int64
	}{{o.head, 0}, {o.tail, o.size - int64(len(o.tail))}, {o.ahead, o.at}} {
		if off >= kept.at && off-kept.at <= int64(len(kept.b)) && copy(p, kept.b[off-kept.at:]) == len(p) {
			return true
		}
	}
	return false
}

// fetchAhead gets [start, end) by one request, and keeps it until it is called
// again.
func (o *object) fetchAhead(start, end int64) error {
	b := make([]byte, min(end, o.size)-start)
	if _, err := o.ReadAt(b, start); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ahead, o.at = b, start
	return nil
}

// reader returns a reader of the whole object, by one request besides that of open.
func (o *object) reader() io.ReadCloser {
	rest := o.from(int64(len(o.head)), o.size)
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(o.head), rest), rest}
}

// from returns a reader of [off, end).
func (o *object) from(off, end int64) *body { return &body{o: o, off: off, end: end} }

// A body reads the body of a response. If the connection breaks it asks again, for
// the rest. The client itself retries requests, but not once it has an answer.
type body struct {
	o        *object
	off, end int64
	r        io.ReadCloser // nil: to be asked for
	tries    int           // since the last byte
}

const maxTries = 3

// Close gives the connection back.
func (b *body) Close() error {
	if b.r == nil {
		return nil
	}
	r := b.r
	b.r = nil
	return r.Close()
}

func (b *body) Read(p []byte) (int, error) {
	if b.off == b.end {
		return 0, io.EOF
	}
	for {
		if b.r == nil {
			out, err := b.o.request(b.off, b.end-b.off)
			if err != nil {
				return 0, err
			}
			b.r = out.Body
		}
		n, err := b.r.Read(p[:min(int64(len(p)), b.end-b.off)])
		if b.off += int64(n); n > 0 {
			b.tries = 0
		}
		if err != nil || b.off == b.end {
			b.Close()
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
		if err == nil {
			continue
		}
		if b.tries++; b.tries == maxTries {
			return 0, fmt.Errorf("object %s, byte %d: %w", b.o.key, b.off, errors.Join(io.ErrUnexpectedEOF, err))
		}
		select {
		case <-b.o.ctx.Done():
			return 0, b.o.ctx.Err()
		case <-time.After(time.Duration(b.tries) * 100 * time.Millisecond):
		}
	}
}
