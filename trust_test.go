package esdk_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// meddler is a manager that changes the requests that it is given.
type meddler struct {
	keyprovider.ManagerOnly
	inner        keyprovider.MasterKeyProvider
	encrypt      func(*keyprovider.EncryptionRequest)
	materials    func(*keyprovider.EncryptionMaterials)
	decrypt      func(*keyprovider.DecryptionRequest)
	afterDecrypt func(*keyprovider.DecryptionRequest)
}

func (m *meddler) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	if m.encrypt != nil {
		m.encrypt(req)
	}
	materials, err := keyprovider.Materials(m.inner).EncryptionMaterials(ctx, req)
	if err == nil && m.materials != nil {
		m.materials(materials)
	}
	return materials, err
}

func (m *meddler) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	if m.decrypt != nil {
		m.decrypt(req)
	}
	materials, err := keyprovider.Materials(m.inner).DecryptionMaterials(ctx, req)
	if m.afterDecrypt != nil {
		m.afterDecrypt(req)
	}
	return materials, err
}

// What a manager does to its request weakens no message: the call's settings
// are what its materials are checked against.
func TestARequestThatAManagerChangesDoesNotChangeTheCall(t *testing.T) {
	t.Parallel()
	ec := map[string]string{"tenant": "42", "user": "7"}
	opts := func() *esdk.EncryptOptions {
		return &esdk.EncryptOptions{EncryptionContext: ec, RequiredContextKeys: []string{"tenant"}}
	}
	three, err := keyprovider.Multi(rawAES(t), rawAES(t), rawAES(t))
	require.NoError(t, err)
	for name, test := range map[string]struct {
		change    func(*keyprovider.EncryptionRequest)
		materials func(*keyprovider.EncryptionMaterials)
		suite     suite.ID
		is        error
	}{
		"policy and suite": {change: func(r *keyprovider.EncryptionRequest) {
			r.CommitmentPolicy, r.Suite = suite.ForbidEncryptAllowDecrypt, suite.AES256GCM
		}, is: esdk.ErrCommitmentPolicy},
		"another suite": {change: func(r *keyprovider.EncryptionRequest) { r.Suite = suite.AES256GCMHKDFSHA512CommitKey },
			suite: suite.AES256GCMHKDFSHA512CommitKeyECDSAP384},
		"required keys":                   {change: func(r *keyprovider.EncryptionRequest) { r.RequiredContextKeys = nil }, is: esdk.ErrEncryptionContext},
		"a required key":                  {change: func(r *keyprovider.EncryptionRequest) { r.RequiredContextKeys[0] = "user" }, is: esdk.ErrEncryptionContext},
		"number of data keys":             {change: func(r *keyprovider.EncryptionRequest) { r.MaxEncryptedDataKeys = 0 }, is: esdk.ErrTooManyDataKeys},
		"a pair altered":                  {change: func(r *keyprovider.EncryptionRequest) { r.EncryptionContext["user"] = "8" }, is: esdk.ErrEncryptionContext},
		"a pair deleted":                  {change: func(r *keyprovider.EncryptionRequest) { delete(r.EncryptionContext, "user") }, is: esdk.ErrEncryptionContext},
		"the context dropped":             {change: func(r *keyprovider.EncryptionRequest) { r.EncryptionContext, r.RequiredContextKeys = nil, nil }, is: esdk.ErrEncryptionContext},
		"materials without required keys": {materials: func(m *keyprovider.EncryptionMaterials) { clear(m.RequiredContextKeys) }, is: esdk.ErrEncryptionContext},
		"materials with another value":    {materials: func(m *keyprovider.EncryptionMaterials) { m.EncryptionContext["user"] = "8" }, is: esdk.ErrEncryptionContext},
	} {
		inner := keyprovider.MasterKeyProvider(rawAES(t))
		if name == "number of data keys" {
			inner = three
		}
		m := &meddler{inner: inner, encrypt: test.change, materials: test.materials}
		c := &esdk.Client{MaxEncryptedDataKeys: 2}
		o := opts()
		o.Suite = test.suite
		message, h, err := c.Encrypt(bg, []byte("x"), m, o)
		require.Error(t, err, name)
		require.Nil(t, message, name)
		require.Nil(t, h, name)
		if test.is != nil {
			require.ErrorIs(t, err, test.is, name)
		}
		require.Equal(t, map[string]string{"tenant": "42", "user": "7"}, ec, name)
		require.Equal(t, []string{"tenant"}, o.RequiredContextKeys, name)
		_, err = c.NewEncryptReader(bg, strings.NewReader("x"), m, o)
		require.Error(t, err, name)
	}

	// Adding is what managers are for.
	m := &meddler{inner: rawAES(t), encrypt: func(r *keyprovider.EncryptionRequest) { r.EncryptionContext["added"] = "yes" }}
	_, h, err := esdk.Encrypt(bg, []byte("x"), m, opts())
	require.NoError(t, err)
	require.Equal(t, "yes", h.EncryptionContext["added"])
	require.Equal(t, map[string]string{"tenant": "42", "user": "7"}, ec)
}

// On decryption neither the header nor what the caller demands is what the
// manager makes of its request.
func TestARequestThatAManagerChangesDoesNotChangeWhatIsAuthentic(t *testing.T) {
	t.Parallel()
	message, _, err := esdk.Encrypt(bg, []byte("x"), rawAES(t), &esdk.EncryptOptions{EncryptionContext: map[string]string{"role": "user"}})
	require.NoError(t, err)
	for name, change := range map[string]func(*keyprovider.DecryptionRequest){
		"stored pair":   func(r *keyprovider.DecryptionRequest) { r.EncryptionContext["role"] = "admin" },
		"invented pair": func(r *keyprovider.DecryptionRequest) { r.EncryptionContext["new"] = "admin" },
		"reproduced pair": func(r *keyprovider.DecryptionRequest) {
			r.EncryptionContext["role"], r.ReproducedContext = "admin", nil
		},
	} {
		// Afterwards the materials, which share the request's map, have the pair.
		m := &meddler{inner: rawAES(t), afterDecrypt: change}
		for _, opts := range []*esdk.DecryptOptions{nil, {EncryptionContext: map[string]string{"role": "admin"}}} {
			_, h, err := esdk.Decrypt(bg, message, m, opts)
			require.ErrorIs(t, err, esdk.ErrEncryptionContext, name)
			require.Nil(t, h, name)
			_, err = esdk.NewDecryptReader(bg, bytes.NewReader(message), m, opts)
			require.ErrorIs(t, err, esdk.ErrEncryptionContext, name)
		}
	}

	m := &meddler{inner: rawAES(t), afterDecrypt: func(r *keyprovider.DecryptionRequest) {
		for i := range r.EncryptedDataKeys {
			clear(r.EncryptedDataKeys[i].ProviderInfo)
			clear(r.EncryptedDataKeys[i].Ciphertext)
		}
		clear(r.EncryptedDataKeys)
	}}
	_, h, err := esdk.Decrypt(bg, message, m, nil)
	require.NoError(t, err)
	want, err := format.ReadHeader(bytes.NewReader(message), 0)
	require.NoError(t, err)
	require.Equal(t, want.EncryptedDataKeys, h.EncryptedDataKeys)
}

// A data key of zeros is memory that was cleared: nobody's message uses it.
func TestADataKeyOfZerosIsRefused(t *testing.T) {
	t.Parallel()
	for _, id := range suite.All() {
		m := &meddler{inner: rawAES(t), materials: func(m *keyprovider.EncryptionMaterials) { clear(m.DataKey) }}
		_, _, err := clientFor(id).Encrypt(bg, []byte("x"), m, &esdk.EncryptOptions{Suite: id})
		require.ErrorContains(t, err, "all zeros", id)
		message := encrypt(t, id, []byte("x"), esdk.EncryptOptions{})
		_, _, err = clientFor(id).Decrypt(bg, message, dataKey(make([]byte, id.KeySize())), nil)
		require.ErrorContains(t, err, "all zeros", id)
	}
}

func TestAnEncryptedDataKeyWithoutCiphertextIsRefused(t *testing.T) {
	t.Parallel()
	m := &meddler{inner: rawAES(t), materials: func(m *keyprovider.EncryptionMaterials) {
		m.EncryptedDataKeys = append(m.EncryptedDataKeys, keyprovider.EncryptedDataKey{ProviderID: "theirs", ProviderInfo: []byte("key")})
	}}
	_, _, err := esdk.Encrypt(bg, []byte("x"), m, nil)
	require.ErrorContains(t, err, `encrypted data key 2 ("theirs") has no ciphertext`)
}

// spoilt checks that a stream's error says that it was used by two.
func spoilt(t *testing.T, err error) {
	t.Helper()
	require.ErrorContains(t, err, "esdk: the stream was used by two goroutines at once")
}

// An EncryptWriter that is used from inside its own source or sink says so to
// both calls, and its message never ends.
func TestAWriterUsedFromInsideItself(t *testing.T) {
	t.Parallel()
	calls := map[string]func(w *esdk.EncryptWriter) error{
		"Write":           func(w *esdk.EncryptWriter) error { _, err := w.Write([]byte("inside")); return err },
		"Write nothing":   func(w *esdk.EncryptWriter) error { _, err := w.Write(nil); return err },
		"ReadFrom":        func(w *esdk.EncryptWriter) error { _, err := w.ReadFrom(strings.NewReader("inside")); return err },
		"Close":           func(w *esdk.EncryptWriter) error { return w.Close() },
		"CloseWithError":  func(w *esdk.EncryptWriter) error { return w.CloseWithError(errors.New("given up")) },
		"CloseWithError0": func(w *esdk.EncryptWriter) error { return w.CloseWithError(nil) },
	}
	for name, inside := range calls {
		for _, where := range []string{"source of ReadFrom", "sink of Write", "sink of ReadFrom", "sink of Close"} {
			t.Run(name+" in "+where, func(t *testing.T) {
				t.Parallel()
				var out bytes.Buffer
				var w *esdk.EncryptWriter
				var err error
				var innerErr error
				meddle := func() {
					if w != nil && innerErr == nil {
						innerErr = inside(w)
					}
				}
				w2, err := esdk.NewEncryptWriter(bg, writerFunc(func(p []byte) (int, error) {
					if strings.HasPrefix(where, "sink") {
						meddle()
					}
					return out.Write(p)
				}), rawAES(t), nil)
				require.NoError(t, err)
				w = w2
				var outer error
				switch where {
				case "sink of Write":
					_, outer = w.Write(text(100_000))
				case "sink of Close":
					outer = w.Close()
				default:
					source := bytes.NewReader(text(4 << 20))
					_, outer = w.ReadFrom(readerFunc(func(p []byte) (int, error) {
						if where == "source of ReadFrom" {
							meddle()
						}
						return source.Read(p)
					}))
				}
				spoilt(t, innerErr)
				spoilt(t, outer)
				spoilt(t, w.Close())
				spoilt(t, w.Close())
				spoilt(t, w.CloseWithError(nil))
				_, err = w.Write([]byte("x"))
				spoilt(t, err)
				if where != "sink of Close" { // which had the whole message in its hands
					_, _, err = esdk.Decrypt(bg, out.Bytes(), rawAES(t), nil)
					require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				}
			})
		}
	}
}

// Readers that are used from inside their own source or sink likewise.
func TestAReaderUsedFromInsideItself(t *testing.T) {
	t.Parallel()
	type stream interface {
		io.Reader
		io.WriterTo
	}
	plaintext := text(1 << 20)
	message, _, err := esdk.Encrypt(bg, plaintext, rawAES(t), nil)
	require.NoError(t, err)
	open := map[string]func(source io.Reader) (stream, error){
		"EncryptReader": func(source io.Reader) (stream, error) { return esdk.NewEncryptReader(bg, source, rawAES(t), nil) },
		"DecryptReader": func(source io.Reader) (stream, error) { return esdk.NewDecryptReader(bg, source, rawAES(t), nil) },
	}
	inside := map[string]func(s stream) error{
		"Read":    func(s stream) error { _, err := s.Read(make([]byte, 10)); return err },
		"WriteTo": func(s stream) error { _, err := s.WriteTo(io.Discard); return err },
		"Close": func(s stream) error {
			if d, ok := s.(*esdk.DecryptReader); ok {
				return d.Close()
			}
			_, err := s.Read(nil)
			return err
		},
	}
	for kind, open := range open {
		for name, inside := range inside {
			for _, where := range []string{"source of Read", "source of WriteTo", "sink of WriteTo"} {
				t.Run(kind+", "+name+" in "+where, func(t *testing.T) {
					t.Parallel()
					var s stream
					var innerErr error
					meddle := func() {
						if s != nil && innerErr == nil {
							innerErr = inside(s)
						}
					}
					source := bytes.NewReader(message)
					if kind == "EncryptReader" {
						source = bytes.NewReader(plaintext)
					}
					opened, err := open(readerFunc(func(p []byte) (int, error) {
						if strings.HasPrefix(where, "source") {
							meddle()
						}
						return source.Read(p)
					}))
					require.NoError(t, err)
					s = opened
					var outer error
					if where == "source of Read" {
						_, outer = io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s})
					} else {
						_, outer = s.WriteTo(writerFunc(func(p []byte) (int, error) {
							if where == "sink of WriteTo" {
								meddle()
							}
							return len(p), nil
						}))
					}
					spoilt(t, innerErr)
					spoilt(t, outer)
					_, err = s.Read(make([]byte, 1))
					spoilt(t, err)
					if d, ok := s.(*esdk.DecryptReader); ok {
						spoilt(t, d.Close())
					}
				})
			}
		}
	}
}

// Goroutines that write at once lose: no frame is sealed under a nonce that
// another has, and the message never passes for whole. Where the calls happen
// not to meet, it is whole, with all that was written.
func TestAWriterUsedByTwoGoroutines(t *testing.T) {
	t.Parallel()
	for range 20 {
		var out bytes.Buffer
		w, err := esdk.NewEncryptWriter(bg, &out, rawAES(t), &esdk.EncryptOptions{FrameLength: 16})
		require.NoError(t, err)
		var group sync.WaitGroup
		written := make([]int, 3)
		for i := range written {
			group.Go(func() {
				for range 50 {
					n, err := w.Write(text(40))
					written[i] += n
					if err != nil {
						return
					}
				}
			})
		}
		group.Wait()
		err = w.Close()
		plaintext, _, decryptErr := esdk.Decrypt(bg, out.Bytes(), rawAES(t), nil)
		if err == nil {
			require.NoError(t, decryptErr)
			require.Len(t, plaintext, written[0]+written[1]+written[2])
			require.Equal(t, 3*50*40, len(plaintext), "no call failed")
			continue
		}
		spoilt(t, err)
		require.ErrorIs(t, decryptErr, io.ErrUnexpectedEOF)
		requireUniqueFrames(t, out.Bytes())
	}
}

// requireUniqueFrames checks that the frames of a cut message follow each other.
func requireUniqueFrames(t *testing.T, message []byte) {
	t.Helper()
	r := bytes.NewReader(message)
	h, err := format.ReadHeader(r, 0)
	require.NoError(t, err)
	body := message[len(message)-r.Len():]
	for sequence := uint32(1); len(body) > 0; sequence++ {
		f, err := format.ParseFrameHeader(body, h.FrameLength)
		require.NoError(t, err)
		require.Equal(t, sequence, f.Sequence)
		body = body[min(len(body), format.FrameOverhead+int(f.Length)):]
	}
}

// A call that comes while another changes nothing any more spoils nothing.
func TestAFinishedStreamIsNotSpoilt(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := esdk.NewEncryptWriter(bg, &out, rawAES(t), nil)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 100 {
				w.Close()
			}
		})
	}
	group.Wait()
	require.NoError(t, w.Close())
}

// Streams of no constructor say so.
func TestZeroValueStreams(t *testing.T) {
	t.Parallel()
	const says = "not made by its constructor"
	var r esdk.EncryptReader
	var w esdk.EncryptWriter
	var d esdk.DecryptReader
	require.Nil(t, r.Header())
	require.Nil(t, w.Header())
	require.Nil(t, d.Header())
	for name, err := range map[string]error{
		"EncryptReader.Read":           second(r.Read(make([]byte, 1))),
		"EncryptReader.WriteTo":        second(r.WriteTo(io.Discard)),
		"EncryptWriter.Write":          second(w.Write([]byte("x"))),
		"EncryptWriter.ReadFrom":       second(w.ReadFrom(strings.NewReader("x"))),
		"EncryptWriter.Close":          w.Close(),
		"EncryptWriter.CloseWithError": w.CloseWithError(nil),
		"DecryptReader.Read":           second(d.Read(make([]byte, 1))),
		"DecryptReader.WriteTo":        second(d.WriteTo(io.Discard)),
		"DecryptReader.Close":          d.Close(),
	} {
		require.ErrorContains(t, err, says, name)
		require.True(t, strings.HasPrefix(err.Error(), "esdk: "), name)
	}
}

func second[T any](_ T, err error) error { return err }

// What a stream holds, plaintext among it, is printed by no verb and no logger.
func TestStreamsPrintNothingOfWhatTheyHold(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("plaintext ", 1000)
	message, _, err := esdk.Encrypt(bg, []byte(secret), rawAES(t), nil)
	require.NoError(t, err)
	r, err := esdk.NewEncryptReader(bg, strings.NewReader(secret), rawAES(t), nil)
	require.NoError(t, err)
	w, err := esdk.NewEncryptWriter(bg, io.Discard, rawAES(t), nil)
	require.NoError(t, err)
	_, err = w.Write([]byte("plaintext "))
	require.NoError(t, err)
	d, err := esdk.NewDecryptReader(bg, bytes.NewReader(message), rawAES(t), nil)
	require.NoError(t, err)
	for name, stream := range map[string]io.Reader{"EncryptReader": r, "DecryptReader": d} {
		_, err := stream.Read(make([]byte, 1))
		require.NoError(t, err, name)
	}
	for name, stream := range map[string]any{"EncryptReader": r, "EncryptWriter": w, "DecryptReader": d} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			require.Equal(t, "esdk."+name, fmt.Sprintf(verb, stream))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("", "stream", stream)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("", "stream", stream)
		require.Equal(t, 2, strings.Count(log.String(), "esdk."+name))
	}
}

// A context that differs from the message's is not reported as a wrong key
// where the key commitment has shown that the key is right.
func TestAContextThatDiffersIsNamed(t *testing.T) {
	t.Parallel()
	p := plain{} // binds no context to the data key
	opts := &esdk.EncryptOptions{EncryptionContext: map[string]string{"tenant": "42", "user": "7"}, RequiredContextKeys: []string{"tenant"}}
	message, _, err := esdk.Encrypt(bg, []byte("x"), p, opts)
	require.NoError(t, err)
	for name, ec := range map[string]map[string]string{
		"nothing given": nil,
		"another value": {"tenant": "43"},
		"one too many":  {"tenant": "42", "role": "admin"},
		"misspelt":      {"tenent": "42"},
	} {
		_, _, err := esdk.Decrypt(bg, message, p, &esdk.DecryptOptions{EncryptionContext: ec})
		require.ErrorIs(t, err, esdk.ErrEncryptionContext, name)
		require.ErrorIs(t, err, esdk.ErrAuthentication, name)
		require.ErrorContains(t, err, "encryption context", name)
		for k := range ec {
			require.ErrorContains(t, err, k, name)
		}
	}
	opts.Suite = suite.AES256GCMHKDFSHA256 // commits to no key, which could be wrong
	message, _, err = clientFor(opts.Suite).Encrypt(bg, []byte("x"), p, opts)
	require.NoError(t, err)
	_, _, err = clientFor(opts.Suite).Decrypt(bg, message, p, nil)
	require.ErrorIs(t, err, esdk.ErrAuthentication)
	require.NotErrorIs(t, err, esdk.ErrEncryptionContext)
}

// The header of a decrypted message says which entry opened it.
func TestOpenedBy(t *testing.T) {
	t.Parallel()
	another, err := keyprovider.NewRawAES("ns", "another", bytes.Repeat([]byte{9}, 32))
	require.NoError(t, err)
	both, err := keyprovider.Multi(another, rawAES(t))
	require.NoError(t, err)
	message, h, err := esdk.Encrypt(bg, []byte("x"), both, nil)
	require.NoError(t, err)
	require.Nil(t, h.OpenedBy, "nothing opened it")
	cache, err := keyprovider.NewCache(rawAES(t), keyprovider.CacheOptions{MaxAge: time.Hour})
	require.NoError(t, err)
	for name, test := range map[string]struct {
		p     keyprovider.MasterKeyProvider
		entry int
	}{"first": {another, 0}, "second": {rawAES(t), 1}, "miss": {cache, 1}, "hit": {cache, 1}} {
		_, h, err := esdk.Decrypt(bg, message, test.p, nil)
		require.NoError(t, err, name)
		require.Same(t, &h.EncryptedDataKeys[test.entry], h.OpenedBy, name)
		d, err := esdk.NewDecryptReader(bg, bytes.NewReader(message), test.p, nil)
		require.NoError(t, err, name)
		require.Equal(t, h.OpenedBy, d.Header().OpenedBy, name)
	}
	for name, said := range map[string]*keyprovider.EncryptedDataKey{
		"nobody":         nil,
		"somebody else":  {ProviderID: "ns", ProviderInfo: h.EncryptedDataKeys[0].ProviderInfo, Ciphertext: []byte("other")},
		"nobody's entry": {},
	} {
		m := &manager{inner: rawAES(t), decrypt: func(m *keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials {
			m.OpenedBy = said
			return m
		}}
		_, h, err = esdk.Decrypt(bg, message, m, nil)
		require.NoError(t, err, name)
		require.Nil(t, h.OpenedBy, name)
	}
}

// A manager's signing key must be the one whose public half the message holds.
func TestASigningKeyThatDoesNotFitItsPublicKeyIsRefused(t *testing.T) {
	t.Parallel()
	for _, id := range suite.All() {
		if !id.Signing() {
			continue
		}
		m := &meddler{inner: rawAES(t), materials: func(m *keyprovider.EncryptionMaterials) {
			d := new(big.Int).Sub(id.Curve().Params().N, m.SigningKey.D) // the point's mirror image
			m.SigningKey = &ecdsa.PrivateKey{PublicKey: m.SigningKey.PublicKey, D: d}
		}}
		_, _, err := clientFor(id).Encrypt(bg, []byte("x"), m, &esdk.EncryptOptions{Suite: id})
		require.ErrorContains(t, err, "does not belong to its private key", id)
		m.materials = func(m *keyprovider.EncryptionMaterials) { m.SigningKey.D = big.NewInt(0) }
		_, _, err = clientFor(id).Encrypt(bg, []byte("x"), m, &esdk.EncryptOptions{Suite: id})
		require.ErrorContains(t, err, "signing key", id)
	}
}

// A message with more entries than are copied for the manager has them all.
func TestTheEntriesOfALongHeaderAreTheMessages(t *testing.T) {
	t.Parallel()
	for _, n := range []int{256, 257, 1000} {
		m := &meddler{inner: rawAES(t), materials: func(m *keyprovider.EncryptionMaterials) {
			own := m.EncryptedDataKeys[0]
			m.EncryptedDataKeys = nil
			for i := range n - 1 {
				m.EncryptedDataKeys = append(m.EncryptedDataKeys, keyprovider.EncryptedDataKey{ProviderID: fmt.Sprint(i), Ciphertext: []byte{1}})
			}
			m.EncryptedDataKeys = append(m.EncryptedDataKeys, own)
		}}
		message, want, err := esdk.Encrypt(bg, []byte("x"), m, nil)
		require.NoError(t, err)
		m.afterDecrypt = func(r *keyprovider.DecryptionRequest) { clear(r.EncryptedDataKeys[:10]) }
		_, h, err := esdk.Decrypt(bg, message, m, nil)
		require.NoError(t, err)
		for i := range want.EncryptedDataKeys { // nil and empty are the same
			require.Equal(t, want.EncryptedDataKeys[i].ProviderID, h.EncryptedDataKeys[i].ProviderID)
			require.Equal(t, want.EncryptedDataKeys[i].Ciphertext, h.EncryptedDataKeys[i].Ciphertext)
		}
		require.Same(t, &h.EncryptedDataKeys[n-1], h.OpenedBy)
	}
}

// A manager that keeps the keys of a signature and changes them later spoils no
// message, and lets nobody else's pass.
func TestKeysOfASignatureThatAManagerChangesLater(t *testing.T) {
	t.Parallel()
	var signing *ecdsa.PrivateKey
	var verification *ecdsa.PublicKey
	m := &manager{inner: rawAES(t), encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
		signing = m.SigningKey
		return m
	}, decrypt: func(m *keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials {
		verification = m.VerificationKey
		return m
	}}
	for name, p := range map[string]keyprovider.MasterKeyProvider{"manager": m, "under a cache": newCache(t, m)} {
		for range 2 { // a miss and a hit
			var out bytes.Buffer
			w, err := esdk.NewEncryptWriter(bg, &out, p, nil)
			require.NoError(t, err, name)
			signing.D.SetInt64(1)
			require.NoError(t, w.Close(), name)
			d, err := esdk.NewDecryptReader(bg, bytes.NewReader(out.Bytes()), p, nil)
			require.NoError(t, err, name)
			verification.X.SetInt64(1)
			_, err = io.Copy(io.Discard, d)
			require.NoError(t, err, name)
		}
	}
}

func newCache(t *testing.T, p keyprovider.MasterKeyProvider) *keyprovider.Cache {
	t.Helper()
	c, err := keyprovider.NewCache(p, keyprovider.CacheOptions{MaxAge: time.Hour})
	require.NoError(t, err)
	return c
}

// Materials that Encrypt and Decrypt refuse are in no cache: the next message asks
// the manager again.
func TestACacheKeepsNothingThatIsRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*keyprovider.EncryptionMaterials){
		"zeros":              func(m *keyprovider.EncryptionMaterials) { clear(m.DataKey) },
		"no ciphertext":      func(m *keyprovider.EncryptionMaterials) { m.EncryptedDataKeys[0].Ciphertext = nil },
		"a pair dropped":     func(m *keyprovider.EncryptionMaterials) { delete(m.EncryptionContext, "a") },
		"a pair altered":     func(m *keyprovider.EncryptionMaterials) { m.EncryptionContext["a"] = "2" },
		"no public key":      func(m *keyprovider.EncryptionMaterials) { delete(m.EncryptionContext, format.PublicKeyField) },
		"hollow signing key": func(m *keyprovider.EncryptionMaterials) { m.SigningKey.D = nil },
		"half a signing key": func(m *keyprovider.EncryptionMaterials) { m.SigningKey.X = nil },
	} {
		calls := 0
		m := &meddler{inner: rawAES(t), materials: func(m *keyprovider.EncryptionMaterials) {
			if calls++; calls == 1 {
				spoil(m)
			}
		}}
		c := newCache(t, m)
		opts := &esdk.EncryptOptions{EncryptionContext: map[string]string{"a": "1"}}
		_, _, err := esdk.Encrypt(bg, []byte("x"), c, opts)
		require.Error(t, err, name)
		_, _, err = esdk.Encrypt(bg, []byte("x"), c, opts)
		require.NoError(t, err, name)
		require.Equal(t, 2, calls, name)
	}
	message, _, err := esdk.Encrypt(bg, []byte("x"), rawAES(t), nil)
	require.NoError(t, err)
	calls := 0
	c := newCache(t, &manager{inner: rawAES(t), decrypt: func(m *keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials {
		if calls++; calls == 1 {
			clear(m.DataKey)
		}
		return m
	}})
	_, _, err = esdk.Decrypt(bg, message, c, nil)
	require.ErrorContains(t, err, "all zeros")
	_, _, err = esdk.Decrypt(bg, message, c, nil)
	require.NoError(t, err)
}

// A reserved pair that is not stored could be given by nobody who decrypts.
func TestAManagerCannotRequireAReservedKey(t *testing.T) {
	t.Parallel()
	m := &meddler{inner: rawAES(t), materials: func(m *keyprovider.EncryptionMaterials) {
		m.EncryptionContext["aws-crypto-x"] = "1"
		m.RequiredContextKeys = append(m.RequiredContextKeys, "aws-crypto-x")
	}}
	_, _, err := esdk.Encrypt(bg, []byte("x"), m, nil)
	require.ErrorIs(t, err, esdk.ErrEncryptionContext)
	require.ErrorContains(t, err, "aws-crypto-x")
}
