// Package peer gives the encryptors that are compared one shape: this module
// and the libraries that people would take instead.
package peer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A Peer encrypts and decrypts in the ways that it has; the others are nil.
type Peer struct {
	Name string

	Encrypt       func(plaintext []byte) ([]byte, error)
	Decrypt       func(message []byte) ([]byte, error)
	EncryptWriter func(w io.Writer) (io.WriteCloser, error)
	EncryptReader func(r io.Reader) (io.Reader, error)
	DecryptReader func(r io.Reader) (io.Reader, error)
	Reencrypt     func(w io.Writer, r io.Reader) error // to a message of the same kind
	// DecryptReaderAt looks at no signature.
	DecryptReaderAt func(r io.ReaderAt, size int64) (io.ReaderAt, error)

	// EncryptRecord binds an encryption context to the message. DecryptRecord fails if
	// the message has another.
	EncryptRecord func(record []byte, c Context) ([]byte, error)
	DecryptRecord func(message []byte, c Context) ([]byte, error)

	Buffer int // what its readers are to be read with; 0: what io.Copy does
}

// A Context is an encryption context: its pairs, and bytes that stand for them.
type Context struct {
	Pairs      map[string]string
	Serialized []byte
}

// NewContext returns the context of these pairs.
func NewContext(pairs map[string]string) Context {
	c := Context{Pairs: pairs}
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		c.Serialized = fmt.Appendf(c.Serialized, "%q=%q,", key, pairs[key])
	}
	return c
}

// Seal encrypts in whatever way p has.
func (p *Peer) Seal(plaintext []byte) ([]byte, error) {
	if p.Encrypt != nil {
		return p.Encrypt(plaintext)
	}
	var b bytes.Buffer
	w, err := p.EncryptWriter(&b)
	if err == nil {
		_, err = w.Write(plaintext)
	}
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), err
}

// Open decrypts in whatever way p has.
func (p *Peer) Open(message []byte) ([]byte, error) {
	if p.Decrypt != nil {
		return p.Decrypt(message)
	}
	r, err := p.DecryptReader(bytes.NewReader(message))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// Key is the wrapping key, or simply the key, of all peers.
var Key = bytes.Repeat([]byte{7}, 32)

// Signed and Unsigned are the suites that are measured.
const (
	Signed   = suite.AES256GCMHKDFSHA512CommitKeyECDSAP384
	Unsigned = suite.AES256GCMHKDFSHA512CommitKey
)

// RawAES is Key as a raw AES key of this module.
func RawAES() (*keyprovider.RawAES, error) { return keyprovider.NewRawAES("benchmarks", "key", Key) }

// Esdk is this module under a raw AES key. workers is Client.Concurrency.
func Esdk(id suite.ID, frameLength, workers int) (*Peer, error) {
	p, err := RawAES()
	if err != nil {
		return nil, err
	}
	return EsdkUnder(p, id, frameLength, workers), nil
}

// EsdkUnder is this module under the keys of p.
func EsdkUnder(p keyprovider.MasterKeyProvider, id suite.ID, frameLength, workers int) *Peer {
	c := &esdk.Client{Concurrency: workers}
	ctx, opts := context.Background(), &esdk.EncryptOptions{Suite: id, FrameLength: int64(frameLength)}
	return &Peer{
		Name: "esdk",
		Encrypt: func(plaintext []byte) ([]byte, error) {
			message, _, err := c.Encrypt(ctx, plaintext, p, opts)
			return message, err
		},
		Decrypt: func(message []byte) ([]byte, error) {
			plaintext, _, err := c.Decrypt(ctx, message, p, nil)
			return plaintext, err
		},
		EncryptWriter: func(w io.Writer) (io.WriteCloser, error) { return c.NewEncryptWriter(ctx, w, p, opts) },
		EncryptReader: func(r io.Reader) (io.Reader, error) { return c.NewEncryptReader(ctx, r, p, opts) },
		DecryptReader: func(r io.Reader) (io.Reader, error) { return c.NewDecryptReader(ctx, r, p, nil) },
		Reencrypt: func(w io.Writer, r io.Reader) error {
			_, err := c.Reencrypt(ctx, w, r, p, p, &esdk.ReencryptOptions{Encrypt: esdk.EncryptOptions{Suite: id}})
			return err
		},
		DecryptReaderAt: func(r io.ReaderAt, size int64) (io.ReaderAt, error) {
			return c.NewDecryptReaderAt(ctx, r, size, p, &esdk.DecryptOptions{Signature: esdk.IgnoreSignature})
		},
		EncryptRecord: func(record []byte, ec Context) ([]byte, error) {
			message, _, err := c.Encrypt(ctx, record, p, &esdk.EncryptOptions{Suite: id, FrameLength: int64(frameLength), EncryptionContext: ec.Pairs})
			return message, err
		},
		DecryptRecord: func(message []byte, ec Context) ([]byte, error) {
			record, _, err := c.Decrypt(ctx, message, p, &esdk.DecryptOptions{EncryptionContext: ec.Pairs})
			return record, err
		},
	}
}
