// Package esdk is a native Go implementation of the AWS Encryption SDK:
// client-side envelope encryption in AWS's published message format, which the
// AWS Encryption SDKs of all languages read and write.
//
// [Encrypt] and [Decrypt] work on byte slices. [NewEncryptReader],
// [NewEncryptWriter] and [NewDecryptReader] work on streams of any length in a
// few MiB of memory. Keys come from a [keyprovider.MasterKeyProvider]: AWS KMS
// keys from package kms, raw AES, RSA and ECDH keys from package keyprovider, or
// a user's own.
//
//	p, err := keyprovider.NewRawAES("my app", "key 1", key)
//	...
//	message, _, err := esdk.Encrypt(ctx, plaintext, p, nil)
//	...
//	plaintext, header, err := esdk.Decrypt(ctx, message, p, nil)
//
// Every message is encrypted with AES-GCM under a data key of its own, which
// the provider's master keys wrap. By default the message commits to that key
// and is signed. Put into the encryption context what the message is about,
// and check it when decrypting: it is authenticated, but not secret.
//
// A [Client] holds settings for many calls, such as the commitment policy. Its
// zero value is what the functions of the package use.
//
// All errors begin with "esdk: " and wrap one of the variables of this package
// where one fits, a *[format.ParseError] where the message cannot be read, and
// what a provider, reader or writer returned. They hold no key and no plaintext.
// The package logs nothing.
//
// The context.Context of a call governs the calls to the provider: those of a
// constructor end with it. It is not kept, so it ends no later Read or Write.
//
// It follows the AWS Encryption SDK specification: client-apis/client.md and
// the pages that the other doc comments name.
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
// ready to use and the strictest; the package's functions use it. A Client may
// be used concurrently, and must not be changed while it is.
//
// It follows client-apis/client.md of the specification.
type Client struct {
	// CommitmentPolicy says whether messages must commit to their key. Zero is
	// suite.RequireEncryptRequireDecrypt.
	CommitmentPolicy suite.CommitmentPolicy
	// MaxEncryptedDataKeys is the most encrypted data keys that a message may
	// have, written or read. Zero means no limit; negative is an error. Set it
	// when reading messages of others with keys that cost something to ask.
	MaxEncryptedDataKeys int
	// Concurrency is how many goroutines may encrypt or decrypt the frames of
	// one operation. Zero means GOMAXPROCS, one means none but the caller's;
	// negative is an error. The messages and errors are the same with any
	// value. Several master keys are always called at the same time.
	Concurrency int
}

// defaults is the Client of the package's functions.
var defaults Client

// EncryptOptions are the options of one encryption. Nil means the defaults,
// which are the zero values.
type EncryptOptions struct {
	// EncryptionContext is authenticated with the message and, but for the
	// required keys, stored in it, readable by all. It must not be secret.
	// Keys that begin with "aws-crypto-" are reserved. All must be UTF-8, and
	// not over 65,535 bytes together with their lengths. It is copied. Java's
	// SDK reads no empty keys and values, and none over 32,766 bytes.
	EncryptionContext map[string]string
	// RequiredContextKeys are keys of EncryptionContext whose pairs are
	// authenticated but not stored: whoever decrypts must give them again.
	RequiredContextKeys []string
	// Suite is the algorithm suite. Zero means the commitment policy's default.
	Suite suite.ID
	// FrameLength is the number of plaintext bytes in a frame, from 1 to
	// 2^32-1. Zero means DefaultFrameLength. A reader needs memory for two
	// frames. Python's and Java's SDKs read none over 2^31-1, and Java's takes
	// that memory even if the message is short.
	FrameLength int64
	// Unframed writes the body as one block, as old SDKs did. The
	// specification deprecates it. Only Encrypt can; streams refuse it.
	Unframed bool
	// MaxPlaintextLength is the most bytes of plaintext. More fail with
	// ErrPlaintextTooLong: Encrypt at once, a stream as soon as there are more.
	// Zero means no limit. A stream's materials manager is told the limit.
	MaxPlaintextLength int64
}

// DecryptOptions are the options of one decryption. Nil means the defaults,
// which are the zero values.
type DecryptOptions struct {
	// EncryptionContext holds pairs that must be bound to the message: stored
	// with the same value, or authenticated without being stored
	// (EncryptOptions.RequiredContextKeys). Otherwise decryption fails.
	EncryptionContext map[string]string
	// Signature says what happens with signed messages. Zero is VerifySignature.
	Signature SignaturePolicy
	// MaxFrameLength is the largest frame or unframed body, in bytes of
	// plaintext, that may have to be held in memory. A longer one fails with
	// ErrFrameTooLong. Zero means no limit.
	MaxFrameLength int64
}

// A SignaturePolicy says what decryption does with messages that are signed.
// Unsigned messages are decrypted under either policy. Any value but the
// constants is an error.
type SignaturePolicy int

const (
	// VerifySignature verifies the signature: Decrypt before it returns
	// anything, a DecryptReader before it releases the last frame.
	VerifySignature SignaturePolicy = iota
	// RejectSigned fails with ErrSignedMessage right after the header of a
	// signed message, before any key is used. Each frame that a DecryptReader
	// releases is then final: no signature can fail later.
	RejectSigned
)

// String returns the name of the constant.
func (p SignaturePolicy) String() string {
	switch p {
	case VerifySignature:
		return "VerifySignature"
	case RejectSigned:
		return "RejectSigned"
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
func (o *DecryptOptions) settings() (DecryptOptions, error) {
	var s DecryptOptions
	if o != nil {
		s = *o
	}
	if s.MaxFrameLength < 0 {
		return s, fmt.Errorf("negative MaxFrameLength: %d", s.MaxFrameLength)
	}
	if s.Signature != VerifySignature && s.Signature != RejectSigned {
		return s, fmt.Errorf("unknown %v", s.Signature)
	}
	if _, err := format.AppendEncryptionContext(nil, s.EncryptionContext); err != nil {
		return s, fmt.Errorf("%w: %w", ErrEncryptionContext, err)
	}
	return s, nil
}
