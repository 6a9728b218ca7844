package esdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/frame"
	"github.com/esdk-go/esdk/keyprovider"
)

// ReencryptOptions are the options of one reencryption. Nil means the defaults,
// which are the zero values.
type ReencryptOptions struct {
	// Decrypt has the options for the message that is read.
	Decrypt DecryptOptions
	// Encrypt has the options for the message that is written. Its
	// EncryptionContext must be empty, because the new message has the encryption
	// context of the old one. Keys in RequiredContextKeys are required in addition
	// to those that already are. If FrameLength is zero, the new message has the
	// frame length of the old one or, if that is unframed, DefaultFrameLength.
	Encrypt EncryptOptions
}

// Reencrypt reads a message from src, which from can decrypt, and writes a new
// message to dst, with the same plaintext and under a new data key, which all
// master keys of to wrap. It returns the header of the new message. Use it to move
// messages to another key, or to another algorithm suite. If opts is nil, the
// defaults apply. It uses the zero [Client].
//
// What was written to dst is a message only if Reencrypt returned nil. Reencrypt
// writes the final frame after it has verified everything that [Decrypt]
// verifies, the signature included. If it fails, what dst has is cut short, and
// fails to decrypt with io.ErrUnexpectedEOF, unless dst wrote the whole end and
// returned an error nevertheless. But a dst that is a file or an upload can still
// look finished: remove it. Reencrypt never closes dst or src, and it consumes src
// to io.EOF: trailing data is an error.
//
// The new message has the encryption context of the old one, without the keys
// that begin with "aws-crypto-". Pairs that the old message only authenticates,
// which must be in opts.Decrypt.EncryptionContext, are only authenticated in the
// new one too. The frame length stays the same. The suite does not: it is the
// default of the commitment policy unless opts.Encrypt.Suite names one. To move
// messages from before key commitment, use a Client with
// suite.RequireEncryptAllowDecrypt. The signature is not carried over: if the new
// suite signs, Reencrypt signs the new message with a new key.
//
// Reencrypt decrypts and encrypts at the same time, on several cores, and holds
// plaintext in memory only: each half in buffers of up to 4 MiB and two frames.
// It calls src and dst on the caller's goroutine only, and reads src ahead of what
// it has written. It calls the providers with ctx, from first, and to after it has
// verified the header. ctx does not end what follows: see the package's doc.
//
// Reencrypt never replaces the encrypted data keys in the header alone. The key
// that authenticates a header is the one that encrypts the body, and a header
// always has the same IV. Two headers under one key would reveal GCM's
// authentication key, and with that anybody could forge frames.
//
// It follows the specification's [decrypt], [encrypt] and [streaming].
//
// [decrypt]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/client-apis/decrypt.md
// [encrypt]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/client-apis/encrypt.md
// [streaming]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/client-apis/streaming.md
func Reencrypt(ctx context.Context, dst io.Writer, src io.Reader, from, to keyprovider.MasterKeyProvider, opts *ReencryptOptions) (*format.Header, error) {
	return defaults.Reencrypt(ctx, dst, src, from, to, opts)
}

// Reencrypt is like the function [Reencrypt], with the Client's settings, which
// hold for both messages. Each half may use as many goroutines as Concurrency
// says. The caller's is one of them in both.
func (c *Client) Reencrypt(ctx context.Context, dst io.Writer, src io.Reader, from, to keyprovider.MasterKeyProvider, opts *ReencryptOptions) (*format.Header, error) {
	var o ReencryptOptions
	if opts != nil {
		o = *opts
	}
	var err error
	switch {
	case dst == nil:
		err = errors.New("nil io.Writer")
	case from == nil:
		err = errors.New("nil MasterKeyProvider to decrypt with")
	case to == nil:
		err = errors.New("nil MasterKeyProvider to encrypt with")
	case len(o.Encrypt.EncryptionContext) > 0:
		err = fmt.Errorf("%w: ReencryptOptions.Encrypt has one, but the new message gets that of the old one", ErrEncryptionContext)
	}
	if err != nil {
		return nil, prefixed(err)
	}
	d, err := c.NewDecryptReader(ctx, src, from, &o.Decrypt)
	if err != nil {
		return nil, err
	}
	o.Encrypt.carryOver(d.m)
	m, start, err := c.sealStream(ctx, to, &o.Encrypt)
	if err != nil {
		return nil, prefixed(err)
	}
	if err := d.run(func() error { return reseal(d, m, start, &sink{w: dst}) }); err != io.EOF {
		return nil, err
	}
	return m.header, nil
}

// carryOver sets what the new message has from the old one, which is m.
func (o *EncryptOptions) carryOver(m *opening) {
	if o.FrameLength == 0 {
		o.FrameLength = int64(m.header.FrameLength)
	}
	ec, required := m.header.UserContext(), slices.Clone(o.RequiredContextKeys)
	for k := range ec {
		if _, ok := m.stored[k]; !ok {
			required = append(required, k)
		}
	}
	for k, v := range m.stored { // a manager may have left out some pairs
		if !strings.HasPrefix(k, format.ReservedPrefix) {
			ec[k] = v
		}
	}
	o.EncryptionContext, o.RequiredContextKeys = ec, required
}

// reseal opens the rest of d's message and writes m, which begins with start, to
// dst. It returns io.EOF when both are whole.
func reseal(d *DecryptReader, m *sealing, start []byte, dst *sink) error {
	if _, err := dst.Write(start); err != nil {
		return err
	}
	e := encryptStream{m: m}
	if err := resealRegular(d, &e, dst); err != io.EOF {
		return err
	}
	if err := e.finishTo(dst); err != nil {
		return err
	}
	return io.EOF
}

// resealRegular opens the rest of d's message and writes the regular frames of
// e's to dst. It returns io.EOF when the old message has been verified.
func resealRegular(d *DecryptReader, e *encryptStream, dst *sink) error {
	pipeline := e.m.Start(dst, &e.in)
	defer pipeline.Stop()
	if err := d.openTo(resealer{e, pipeline}); err != io.EOF {
		return err
	}
	if err := pipeline.Pump(); err != nil { // what is less than a batch
		return err
	}
	if err := pipeline.Flush(); err != nil {
		return err
	}
	return io.EOF
}

// A resealer is the writer that the plaintext of a message goes to.
type resealer struct {
	e        *encryptStream
	pipeline *frame.Pipeline
}

func (r resealer) Write(p []byte) (int, error) {
	if err := r.e.take(len(p)); err != nil {
		return 0, err
	}
	return r.pipeline.Write(p)
}
