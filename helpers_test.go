package esdk_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/byhand"
	"github.com/esdk-go/esdk/internal/test/reseal"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// bg is the context of tests that do not end one.
var bg = context.Background()

// full reports whether every case of the long tables is to run: ESDK_TEST=full,
// and fuzzing. Else a part of them does, always the same, in which each value of
// each column still has its turn.
func full() bool {
	return os.Getenv("ESDK_TEST") == "full" || flag.Lookup("test.fuzz").Value.String() != ""
}

// turn returns all, if all cases are to run, and else the one whose turn i is.
// With the sum of the places in several columns for i, each meets each.
func turn[T any](all []T, i int) []T {
	if full() {
		return all
	}
	return all[i%len(all):][:1:1]
}

// rawAES returns a provider with a fixed key.
func rawAES(t testing.TB) *keyprovider.RawAES {
	t.Helper()
	p, err := keyprovider.NewRawAES("esdk test", "key", bytes.Repeat([]byte{7}, 32))
	require.NoError(t, err)
	return p
}

// clientFor returns a client that may use the suite in both directions.
func clientFor(id suite.ID) *esdk.Client {
	if id.Committing() {
		return &esdk.Client{}
	}
	return &esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt}
}

// allowAll reads messages of all suites.
var allowAll = &esdk.Client{CommitmentPolicy: suite.RequireEncryptAllowDecrypt}

// parallelSuites have a goroutine that hashes, and have none. streamSuites are of
// both versions of the format, too.
var (
	parallelSuites = []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384}
	streamSuites   = append([]suite.ID{suite.AES256GCM}, parallelSuites...)
)

// text returns n bytes in which no run repeats soon.
func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return b
}

// encrypt returns a message of the suite.
func encrypt(t testing.TB, id suite.ID, plaintext []byte, opts esdk.EncryptOptions) []byte {
	t.Helper()
	opts.Suite = id
	message, _, err := clientFor(id).Encrypt(bg, plaintext, rawAES(t), &opts)
	require.NoError(t, err)
	return message
}

// net400 returns a message of rawAES as version 4.0.0 of the AWS Encryption SDK for
// .NET would have written it.
func net400(t testing.TB, message, plaintext []byte) []byte {
	t.Helper()
	message = slices.Clone(message)
	for _, p := range byhand.Read(t, message).Parts {
		plaintext = plaintext[copy(message[p.At+p.Size:], plaintext[:p.Length]):]
	}
	s := reseal.Sealer{Namespace: "esdk test", Name: "key", Key: bytes.Repeat([]byte{7}, 32), NET400: true, Parts: reseal.All}
	message, ok := s.Message(message)
	require.True(t, ok)
	return message
}

// checkMessage checks what every message of this module has in common, and
// returns its header.
func checkMessage(t testing.TB, message []byte, id suite.ID, plaintextLength int, frameLength uint32) *format.Header {
	t.Helper()
	m := byhand.Read(t, message)
	require.EqualValues(t, id, m.Header.Suite)
	require.Equal(t, frameLength, m.Header.FrameLength)
	require.Equal(t, make([]byte, 12), m.Header.IV)
	length := 0
	for i, p := range m.Parts {
		require.EqualValues(t, i+1, p.Sequence)
		require.Equal(t, byhand.SequenceIV(p.Sequence), p.IV)
		length += int(p.Length)
	}
	require.Equal(t, plaintextLength, length)
	if frameLength > 0 {
		last := m.Parts[len(m.Parts)-1]
		require.Less(t, last.Length, uint64(frameLength), "a full final frame is more than some old readers take")
	}

	h, err := format.ReadHeader(bytes.NewReader(message), 0)
	require.NoError(t, err)
	size, err := h.MessageLength(int64(plaintextLength))
	require.NoError(t, err)
	require.EqualValues(t, len(message), size)
	foretold, err := h.PlaintextLength(size)
	require.NoError(t, err)
	require.EqualValues(t, plaintextLength, foretold)
	return h
}

// A decryptor is a way to decrypt. It returns what was released, also if there
// is an error. It panics if the way itself is wrong, such as an error that does
// not stay: for an error, tests would take that for what they want to see.
type decryptor struct {
	name string
	run  func(c *esdk.Client, message []byte, p keyprovider.MasterKeyProvider, opts *esdk.DecryptOptions) ([]byte, error)
}

// oneShot is Decrypt.
var oneShot = decryptor{"one-shot", func(c *esdk.Client, message []byte, p keyprovider.MasterKeyProvider, opts *esdk.DecryptOptions) ([]byte, error) {
	plaintext, header, err := c.Decrypt(bg, message, p, opts)
	if err != nil && (plaintext != nil || header != nil) {
		panic("Decrypt returned a result with its error: " + err.Error())
	}
	return plaintext, err
}}

// reader is a DecryptReader over source, read into buffers of size bytes. It
// checks that the error stays and that Close agrees with it.
func reader(name string, source func(io.Reader) io.Reader, size int) decryptor {
	return stream(name, source, func(d *esdk.DecryptReader) ([]byte, error) {
		var out []byte
		buf := make([]byte, size)
		for {
			n, err := d.Read(buf)
			out = append(out, buf[:n]...)
			if err == io.EOF {
				return out, nil
			} else if err != nil {
				return out, err
			}
		}
	})
}

// writerTo is DecryptReader.WriteTo.
func writerTo(name string, source func(io.Reader) io.Reader) decryptor {
	return stream(name, source, func(d *esdk.DecryptReader) ([]byte, error) {
		var out bytes.Buffer
		n, err := d.WriteTo(&out)
		if n != int64(out.Len()) {
			panic(fmt.Sprintf("WriteTo returned %d after %d bytes", n, out.Len()))
		}
		return out.Bytes(), err
	})
}

func stream(name string, source func(io.Reader) io.Reader, drain func(*esdk.DecryptReader) ([]byte, error)) decryptor {
	return decryptor{name, func(c *esdk.Client, message []byte, p keyprovider.MasterKeyProvider, opts *esdk.DecryptOptions) ([]byte, error) {
		d, err := c.NewDecryptReader(bg, source(bytes.NewReader(message)), p, opts)
		if err != nil {
			if d != nil {
				panic("NewDecryptReader returned a reader with its error: " + err.Error())
			}
			return nil, err
		}
		out, err := drain(d)
		for range 2 { // errors stay
			if n, again := d.Read(make([]byte, 16)); n != 0 || again != err && !(err == nil && again == io.EOF) {
				panic(fmt.Sprintf("after %v Read returned %d, %v", err, n, again))
			}
		}
		for range 2 {
			if closed := d.Close(); closed != err {
				panic(fmt.Sprintf("after %v Close returned %v", err, closed))
			}
		}
		return out, err
	}}
}

func asIs(r io.Reader) io.Reader { return r }

// decryptors are all ways to decrypt: reads of one byte, odd-sized and large
// ones, and sources that give little at a time or an error with their data.
var decryptors = []decryptor{
	oneShot,
	reader("reads of 1", asIs, 1),
	reader("reads of 7 from single bytes", iotest.OneByteReader, 7),
	reader("reads of 4096", asIs, 4096),
	reader("reads of 1 MiB from halves", iotest.HalfReader, 1<<20),
	writerTo("WriteTo", asIs),
	writerTo("WriteTo from data with EOF", iotest.DataErrReader),
}

// randomAccess is a DecryptReaderAt, read in pieces from the end on. It checks
// that the signature makes no difference to a good message. Unframed messages have
// no random access; it decrypts them at once.
var randomAccess = decryptor{"random access", func(c *esdk.Client, message []byte, p keyprovider.MasterKeyProvider, opts *esdk.DecryptOptions) ([]byte, error) {
	open := func(opts *esdk.DecryptOptions) ([]byte, error) {
		d, err := c.NewDecryptReaderAt(bg, bytes.NewReader(message), int64(len(message)), p, opts)
		if err != nil {
			if d != nil {
				panic("NewDecryptReaderAt returned a result with its error: " + err.Error())
			}
			return nil, err
		}
		return readAll(d, max(1, int(d.Size())/3))
	}
	plaintext, err := open(opts)
	if errors.Is(err, esdk.ErrUnframed) {
		return oneShot.run(c, message, p, opts)
	}
	ignoring := esdk.DecryptOptions{}
	if opts != nil {
		ignoring = *opts
	}
	ignoring.Signature = esdk.IgnoreSignature
	if again, ignoringErr := open(&ignoring); err == nil && (ignoringErr != nil || !bytes.Equal(plaintext, again)) {
		panic(fmt.Sprintf("with IgnoreSignature: %.30q and %v, and %.30q without", again, ignoringErr, plaintext))
	}
	return plaintext, err
}}

// readAll reads all of a DecryptReaderAt in pieces, and what can be read of the others
// if some fail. It returns the first error.
func readAll(d *esdk.DecryptReaderAt, step int) (plaintext []byte, err error) {
	plaintext = make([]byte, d.Size())
	for at := (len(plaintext) - 1) / step * step; at >= 0; at -= step {
		p := plaintext[at:min(at+step, len(plaintext))]
		if len(p) == 0 {
			break
		}
		n, pieceErr := d.ReadAt(p, int64(at))
		if pieceErr != nil && (pieceErr != io.EOF || n < len(p)) {
			err = pieceErr
		}
		if len(bytes.Trim(p[n:], "\x00")) > 0 {
			panic("bytes behind n")
		}
	}
	return plaintext, err
}

// fewDecryptors are one of each kind.
var fewDecryptors = []decryptor{oneShot, reader("reads of 7", asIs, 7), writerTo("WriteTo", asIs)}

// An encryptor is a way to encrypt.
type encryptor struct {
	name string
	run  func(c *esdk.Client, plaintext []byte, p keyprovider.MasterKeyProvider, opts *esdk.EncryptOptions) ([]byte, *format.Header, error)
}

// encryptReader is an EncryptReader over source, drained by drain.
func encryptReader(name string, source func(io.Reader) io.Reader, drain func(*esdk.EncryptReader) ([]byte, error)) encryptor {
	return encryptor{name, func(c *esdk.Client, plaintext []byte, p keyprovider.MasterKeyProvider, opts *esdk.EncryptOptions) ([]byte, *format.Header, error) {
		e, err := c.NewEncryptReader(bg, source(bytes.NewReader(plaintext)), p, opts)
		if err != nil {
			return nil, nil, err
		}
		out, err := drain(e)
		if err == nil {
			if n, again := e.Read(make([]byte, 16)); n != 0 || again != io.EOF {
				return nil, nil, fmt.Errorf("after the end Read returned %d, %v", n, again)
			}
		}
		return out, e.Header(), err
	}}
}

// encryptWriter is an EncryptWriter, fed by feed.
func encryptWriter(name string, feed func(w *esdk.EncryptWriter, plaintext []byte) error) encryptor {
	return encryptor{name, func(c *esdk.Client, plaintext []byte, p keyprovider.MasterKeyProvider, opts *esdk.EncryptOptions) ([]byte, *format.Header, error) {
		var out bytes.Buffer
		w, err := c.NewEncryptWriter(bg, &out, p, opts)
		if err != nil {
			return nil, nil, err
		}
		if err := feed(w, plaintext); err != nil {
			return nil, nil, err
		}
		for range 2 {
			if err := w.Close(); err != nil {
				return nil, nil, err
			}
		}
		return out.Bytes(), w.Header(), nil
	}}
}

// encryptors are all ways to write a framed message.
var encryptors = []encryptor{
	{"one-shot", func(c *esdk.Client, plaintext []byte, p keyprovider.MasterKeyProvider, opts *esdk.EncryptOptions) ([]byte, *format.Header, error) {
		return c.Encrypt(bg, plaintext, p, opts)
	}},
	encryptReader("reader, ReadAll", asIs, func(e *esdk.EncryptReader) ([]byte, error) { return io.ReadAll(e) }),
	encryptReader("reader, single bytes", iotest.OneByteReader, func(e *esdk.EncryptReader) ([]byte, error) {
		return io.ReadAll(iotest.OneByteReader(e))
	}),
	encryptReader("reader, large reads", iotest.DataErrReader, func(e *esdk.EncryptReader) ([]byte, error) {
		var out []byte
		buf := make([]byte, 3<<20)
		for {
			n, err := e.Read(buf)
			out = append(out, buf[:n]...)
			if err == io.EOF {
				return out, nil
			} else if err != nil {
				return out, err
			}
		}
	}),
	encryptReader("reader, WriteTo", iotest.HalfReader, func(e *esdk.EncryptReader) ([]byte, error) {
		var out bytes.Buffer
		_, err := e.WriteTo(&out)
		return out.Bytes(), err
	}),
	encryptReader("reader, some Read and then WriteTo", asIs, func(e *esdk.EncryptReader) ([]byte, error) {
		var out bytes.Buffer
		if _, err := io.CopyN(&out, io.LimitReader(e, 9), 9); err != nil {
			return nil, err
		}
		_, err := e.WriteTo(&out)
		return out.Bytes(), err
	}),
	encryptWriter("writer, one Write", func(w *esdk.EncryptWriter, plaintext []byte) error {
		n, err := w.Write(plaintext)
		if err == nil && n != len(plaintext) {
			return io.ErrShortWrite
		}
		return err
	}),
	encryptWriter("writer, Writes of 1, 2, 4 ...", func(w *esdk.EncryptWriter, plaintext []byte) error {
		for n := 1; len(plaintext) > 0; n *= 2 {
			n = min(n, len(plaintext))
			if _, err := w.Write(plaintext[:n]); err != nil {
				return err
			}
			plaintext = plaintext[n:]
		}
		return nil
	}),
	encryptWriter("writer, Write, ReadFrom and Write", func(w *esdk.EncryptWriter, plaintext []byte) error {
		a, b := len(plaintext)/3, len(plaintext)/2
		if _, err := w.Write(plaintext[:a]); err != nil {
			return err
		}
		if n, err := w.ReadFrom(iotest.HalfReader(bytes.NewReader(plaintext[a:b]))); err != nil || n != int64(b-a) {
			return fmt.Errorf("ReadFrom of %d bytes: %d, %v", b-a, n, err)
		}
		_, err := w.Write(plaintext[b:])
		return err
	}),
}

// A manager changes what the manager under it returns.
type manager struct {
	keyprovider.ManagerOnly
	inner   keyprovider.MasterKeyProvider
	encrypt func(*keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials
	decrypt func(*keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials
	asked   *keyprovider.EncryptionRequest
	told    *keyprovider.DecryptionRequest
	given   [][]byte // the data keys that were handed out
}

func (m *manager) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	m.asked = req
	materials, err := keyprovider.Materials(m.inner).EncryptionMaterials(ctx, req)
	if err == nil && m.encrypt != nil {
		materials = m.encrypt(materials)
	}
	if materials != nil {
		m.given = append(m.given, materials.DataKey)
	}
	return materials, err
}

func (m *manager) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	m.told = req
	materials, err := keyprovider.Materials(m.inner).DecryptionMaterials(ctx, req)
	if err == nil && m.decrypt != nil {
		materials = m.decrypt(materials)
	}
	if materials != nil {
		m.given = append(m.given, materials.DataKey)
	}
	return materials, err
}

// hidden wraps a provider the careless way.
type hidden struct{ keyprovider.MasterKeyProvider }

// keyless is a provider without master keys.
type keyless struct{ dataKey }

func (keyless) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return nil, nil
}

// A dataKey is a provider that knows one message's data key.
type dataKey []byte

func (k dataKey) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return nil, keyprovider.ErrDecryptOnly
}

func (k dataKey) DecryptDataKey(_ context.Context, _ *keyprovider.Request, edks []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	return &keyprovider.DataKey{Plaintext: slices.Clone(k), Encrypted: edks[0]}, nil
}

// failing is a provider that always fails.
type failing struct{ err error }

func (f failing) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return nil, f.err
}

func (f failing) DecryptDataKey(context.Context, *keyprovider.Request, []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	return nil, f.err
}

// plain is a provider, and a master key, that wraps nothing.
type plain struct{}

func (plain) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return []keyprovider.MasterKey{plain{}}, nil
}

func (plain) GenerateDataKey(_ context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	key := bytes.Repeat([]byte{5}, req.Suite.KeySize())
	return &keyprovider.DataKey{Plaintext: key, Encrypted: keyprovider.EncryptedDataKey{ProviderID: "plain", Ciphertext: bytes.Clone(key)}}, nil
}

func (plain) EncryptDataKey(_ context.Context, _ *keyprovider.Request, key []byte) (keyprovider.EncryptedDataKey, error) {
	return keyprovider.EncryptedDataKey{ProviderID: "plain", Ciphertext: bytes.Clone(key)}, nil
}

func (plain) DecryptDataKey(_ context.Context, _ *keyprovider.Request, edks []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	return &keyprovider.DataKey{Plaintext: bytes.Clone(edks[0].Ciphertext), Encrypted: edks[0]}, nil
}

var errBroken = errors.New("broken")

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// repeating is an endless source.
type repeating string

func (r repeating) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		n += copy(p[n:], r)
	}
	return len(p), nil
}

// filling gives all that it is asked for, so that who reads it has the largest
// buffers that he can come to have.
type filling struct{ r io.Reader }

func (f filling) Read(p []byte) (int, error) {
	n, err := io.ReadFull(f.r, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

func newKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return key
}
