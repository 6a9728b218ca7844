// Package esdk is a native Go implementation of the AWS Encryption SDK:
// client-side envelope encryption in AWS's published message format, which the
// AWS Encryption SDKs of all languages read and write.
//
// [Encrypt] and [Decrypt] work on byte slices. [NewEncryptReader],
// [NewEncryptWriter] and [NewDecryptReader] work on streams of any length and
// need a few MiB of memory. [NewDecryptReaderAt] decrypts any range of a message
// and reads no more of it than that needs. [Reencrypt] moves a message to other
// keys.
//
// Keys come from a [keyprovider.MasterKeyProvider], which other SDKs call a
// keyring: AWS KMS keys from package kms, raw AES, RSA and ECDH keys from package
// keyprovider, or a provider of your own.
//
//	p, err := keyprovider.NewRawAES("my app", "key 1", key)
//	...
//	message, _, err := esdk.Encrypt(ctx, plaintext, p, nil)
//	...
//	plaintext, header, err := esdk.Decrypt(ctx, message, p, nil)
//
// Every message is encrypted with AES-GCM under a data key of its own, which
// the provider's master keys wrap. By default the message commits to that key
// and is signed.
//
// A [Client] holds settings for many calls, such as the commitment policy. The
// functions of the package use the zero Client.
//
// # Encryption context
//
// The encryption context says what a message is about: whose it is, of which
// record, for which purpose. It is authenticated with the message, but it is
// not secret. It protects only if the reader checks it: pass the pairs that you
// expect in DecryptOptions.EncryptionContext, or compare the header's.
//
// If somebody replaces a message with another that has the same encryption context
// and key, decryption does not notice. If that matters, put what identifies the
// record into the encryption context (with hierarchical keys, which need no call to
// KMS for each new context) or into the plaintext.
//
// # Streams
//
// Plaintext from a [DecryptReader] is tentative until io.EOF: discard it on any
// other error. The message of an [EncryptWriter] is whole only when Close
// returned nil. io.Copy is the fast way to use a stream, as several goroutines
// then work on it.
//
// The frames of a message are encrypted one by one. The default of 4 KiB suits
// small messages and plaintext that is needed soon. For files and other large
// messages a FrameLength of 64 KiB costs less time and space.
//
// # Random access
//
// A [DecryptReaderAt] reads any part of a framed message from any io.ReaderAt: a
// file, or your own type that makes a ranged request of each ReadAt. Each byte
// that it returns has been authenticated, and so has the length of the plaintext.
// A signed message is read as a whole when it is opened, unless
// DecryptOptions.Signature is IgnoreSignature. Messages that are meant for random
// access are best not signed: write them with suite.AES256GCMHKDFSHA512CommitKey.
//
// # Context and timeouts
//
// The context.Context of a call governs the calls to the provider, which a
// constructor makes before it returns. The providers of package kms also bound
// each call by themselves, to 10 seconds by default; providers of your own should.
// The context is not kept, so it does not end a later Read or Write. To end these,
// make the source or the destination return an error: set a deadline on the
// connection, or close the file.
//
// # Messages from strangers
//
// Set Client.MaxEncryptedDataKeys, as each data key may cost a call to KMS, and
// DecryptOptions.MaxFrameLength, as a frame is held in memory. Memory grows with
// the bytes that arrive and never with what a header claims. A header has up to
// 13 GB, however, if its sender keeps sending: put an io.LimitReader before a
// source that you do not trust.
//
// # Errors
//
// All errors begin with "esdk: ". They wrap one of the variables of this package
// where one fits, a *[format.ParseError] if the message cannot be read, and what
// a provider, reader or writer returned. They contain neither keys nor
// plaintext. The package logs nothing.
//
// The package follows the specification of the [AWS Encryption SDK].
//
// [AWS Encryption SDK]: https://github.com/awslabs/aws-encryption-sdk-specification
package esdk

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// DefaultFrameLength is the number of plaintext bytes in a frame if none is
// given.
const DefaultFrameLength = 4096

// A Client holds settings that apply to all its operations. The zero value is
// ready to use and is the strictest; the package's functions use it. A Client is
// safe for concurrent use if nobody changes it meanwhile.
//
// It follows the specification's [client].
//
// [client]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/client-apis/client.md
type Client struct {
	// CommitmentPolicy says whether messages must commit to their key. Zero is
	// suite.RequireEncryptRequireDecrypt.
	CommitmentPolicy suite.CommitmentPolicy
	// MaxEncryptedDataKeys is the largest number of encrypted data keys that a
	// message may have, on encryption and on decryption. Zero means no limit; a
	// negative number is an error. Set it for untrusted messages if unwrapping a
	// data key costs a call.
	MaxEncryptedDataKeys int
	// Concurrency is how many goroutines may encrypt or decrypt the frames of
	// one operation. Zero means GOMAXPROCS; one means the caller's goroutine
	// alone; a negative number is an error. Messages and errors do not depend on
	// it. Several master keys are always called at the same time.
	Concurrency int
}

// defaults is the Client of the package's functions.
var defaults Client

// EncryptOptions are the options of one encryption. Nil means the defaults,
// which are the zero values.
type EncryptOptions struct {
	// EncryptionContext is authenticated with the message. It is also stored in
	// the message, where everybody can read it, except for the pairs of
	// RequiredContextKeys. It must not be secret. Keys that begin with
	// "aws-crypto-" are reserved. Keys and values must be UTF-8; all of them
	// together may have up to 65,535 bytes, with 4 bytes added for each pair.
	// The map is copied. Java's SDK does not read empty keys and values, nor
	// any of more than 32,766 bytes.
	EncryptionContext map[string]string
	// RequiredContextKeys are keys of EncryptionContext whose pairs are
	// authenticated but not stored in the message. To decrypt it, pass the same
	// pairs in DecryptOptions.EncryptionContext.
	RequiredContextKeys []string
	// Suite is the algorithm suite. Zero means the default of the commitment
	// policy, which signs.
	Suite suite.ID
	// FrameLength is the number of plaintext bytes in a frame, from 1 to
	// 2^32-1. Zero means DefaultFrameLength. Whoever decrypts needs memory for
	// two frames. The SDKs for Python and Java read frames of up to 2^31-1
	// bytes; Java's allocates a frame even if the message is shorter.
	FrameLength int64
	// Unframed writes the body as one block, as old SDKs did. The
	// specification deprecates it. Only Encrypt can do that; for streams it is
	// an error.
	Unframed bool
	// MaxPlaintextLength is the most bytes of plaintext. More fail with
	// ErrPlaintextTooLong: Encrypt at once, a stream as soon as there are more.
	// Zero means no limit. A stream's materials manager is told the limit.
	MaxPlaintextLength int64
}

// DecryptOptions are the options of one decryption. Nil means the defaults,
// which are the zero values.
type DecryptOptions struct {
	// EncryptionContext holds pairs that must be bound to the message, or
	// decryption fails with an error that wraps ErrEncryptionContext. A message
	// either stores such a pair or only authenticates it; the latter pairs
	// (EncryptOptions.RequiredContextKeys) must all be given. To demand that
	// callers give certain keys, use keyprovider.RequireContext.
	EncryptionContext map[string]string
	// Signature says what happens with signed messages. Zero is VerifySignature.
	Signature SignaturePolicy
	// MaxFrameLength is the largest frame or unframed body, in bytes of
	// plaintext, that is held in memory. A longer one fails with
	// ErrFrameTooLong. Zero means no limit.
	MaxFrameLength int64
}

// A SignaturePolicy says what decryption does with messages that are signed.
// Unsigned messages are decrypted under each policy. Any value but the
// constants is an error.
type SignaturePolicy int

const (
	// VerifySignature verifies the signature: Decrypt before it returns
	// anything, a DecryptReader before it releases the last frame,
	// NewDecryptReaderAt before it returns, for which it reads the whole message.
	VerifySignature SignaturePolicy = iota
	// RejectSigned fails with ErrSignedMessage right after the header of a
	// signed message, before any key is used. No signature can fail later then:
	// use it where plaintext is acted on as it arrives, and write such messages
	// with suite.AES256GCMHKDFSHA512CommitKey.
	RejectSigned
	// IgnoreSignature is for NewDecryptReaderAt alone; for other operations it is
	// an error. The signature of a signed message is not verified, so that the
	// message need not be read as a whole. Each byte is still authenticated under
	// the data key: it was written by somebody who had that key, which includes
	// everybody who can decrypt the message.
	IgnoreSignature
)

// String returns the name of the constant.
func (p SignaturePolicy) String() string {
	switch p {
	case VerifySignature:
		return "VerifySignature"
	case RejectSigned:
		return "RejectSigned"
	case IgnoreSignature:
		return "IgnoreSignature"
	}
	return fmt.Sprintf("signature policy %d", int(p))
}

// settings checks the client and fills in its defaults.
func (c *Client) settings() (Client, error) {
	if c == nil {
		c = &defaults
	}
	s := *c
	switch {
	case !s.CommitmentPolicy.Valid():
		return s, fmt.Errorf("%w: unknown %v", ErrCommitmentPolicy, s.CommitmentPolicy)
	case s.MaxEncryptedDataKeys < 0:
		return s, fmt.Errorf("negative MaxEncryptedDataKeys: %d", s.MaxEncryptedDataKeys)
	case s.Concurrency < 0:
		return s, fmt.Errorf("negative Concurrency: %d", s.Concurrency)
	case s.Concurrency == 0:
		s.Concurrency = runtime.GOMAXPROCS(0)
	}
	return s, nil
}

// checkCall checks what all operations are given.
func checkCall(ctx context.Context, p keyprovider.MasterKeyProvider) error {
	if ctx == nil {
		return errors.New("nil context.Context")
	}
	if p == nil {
		return errors.New("nil MasterKeyProvider")
	}
	return ctx.Err()
}

// settings checks the options, which may be nil, and fills in their defaults.
func (o *EncryptOptions) settings(policy suite.CommitmentPolicy, stream bool) (EncryptOptions, error) {
	var s EncryptOptions
	if o != nil {
		s = *o
	}
	switch {
	case s.FrameLength < 0 || s.FrameLength > format.MaxFrameLength:
		return s, fmt.Errorf("frame length %d is not from 1 to %d", s.FrameLength, int64(format.MaxFrameLength))
	case s.FrameLength > maxFrameInt:
		return s, fmt.Errorf("%w: frame length %d on a system that can address %d bytes", ErrFrameTooLong, s.FrameLength, math.MaxInt)
	case s.MaxPlaintextLength < 0:
		return s, fmt.Errorf("negative MaxPlaintextLength: %d", s.MaxPlaintextLength)
	case s.Unframed && stream:
		return s, errors.New("a stream cannot be written unframed")
	case s.Unframed && s.FrameLength != 0:
		return s, fmt.Errorf("frame length %d for an unframed message", s.FrameLength)
	case !s.Unframed && s.FrameLength == 0:
		s.FrameLength = DefaultFrameLength
	}
	if s.Suite != 0 && !s.Suite.Valid() {
		return s, fmt.Errorf("%w: %v", format.ErrUnsupportedSuite, s.Suite)
	}
	if s.Suite != 0 && !policy.AllowsEncrypt(s.Suite) {
		return s, fmt.Errorf("%w: %v does not allow encryption with %v", ErrCommitmentPolicy, policy, s.Suite)
	}
	return s, nil
}

// maxFrameInt is the largest frame length at which a frame, and the buffers
// for one, can be counted by an int: no limit on 64-bit systems.
const maxFrameInt = math.MaxInt - 64

// settings checks the options, which may be nil.
func (o *DecryptOptions) settings(randomAccess bool) (DecryptOptions, error) {
	var s DecryptOptions
	if o != nil {
		s = *o
	}
	if s.MaxFrameLength < 0 {
		return s, fmt.Errorf("negative MaxFrameLength: %d", s.MaxFrameLength)
	}
	switch s.Signature {
	case VerifySignature, RejectSigned:
	case IgnoreSignature:
		if !randomAccess {
			return s, fmt.Errorf("DecryptOptions.Signature is %v, which only NewDecryptReaderAt allows", s.Signature)
		}
	default:
		return s, fmt.Errorf("unknown %v", s.Signature)
	}
	var scratch [512]byte // enough for most, without an allocation
	if _, err := format.AppendEncryptionContext(scratch[:0], s.EncryptionContext); err != nil {
		return s, fmt.Errorf("%w: %w", ErrEncryptionContext, err)
	}
	return s, nil
}
