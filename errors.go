package esdk

import (
	"errors"
	"fmt"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/frame"
	"github.com/esdk-go/esdk/keyprovider"
)

// The errors of this package wrap one of these where it fits: use errors.Is. The
// error for a message that is cut short, anywhere, wraps io.ErrUnexpectedEOF. The
// error for a message that does not follow the format is a *format.ParseError.
var (
	// ErrAuthentication: the tag of the header, of a frame or of an unframed
	// body is wrong. The message was altered, or the data key or the encryption
	// context is not the message's. If the encryption context is the likely
	// cause, the error wraps ErrEncryptionContext too.
	ErrAuthentication = frame.ErrAuthentication
	// ErrSignature: the message's signature is wrong.
	ErrSignature = errors.New("signature verification failed: the message was altered")
	// ErrKeyCommitment: the message commits to another data key. A wrong raw RSA
	// key with PKCS1v15 gives this, too.
	ErrKeyCommitment = errors.New("key commitment failed: the message was made with another data key")
	// ErrCommitmentPolicy: the commitment policy does not allow the suite, or
	// the policy is invalid.
	ErrCommitmentPolicy = errors.New("commitment policy")
	// ErrSignedMessage: the message is signed and DecryptOptions.Signature is
	// RejectSigned.
	ErrSignedMessage = errors.New("the message is signed")
	// ErrTooManyDataKeys: there are more encrypted data keys than
	// Client.MaxEncryptedDataKeys, or than a message can hold.
	ErrTooManyDataKeys = format.ErrTooManyDataKeys
	// ErrTrailingData: bytes follow the message.
	ErrTrailingData = errors.New("bytes follow the end of the message")
	// ErrEncryptionContext: the encryption context is invalid, lacks a
	// required key, or is not that of the message.
	ErrEncryptionContext = keyprovider.ErrEncryptionContext
	// ErrFrameTooLong: a frame or unframed body is longer than
	// DecryptOptions.MaxFrameLength, or than this system can address.
	ErrFrameTooLong = frame.ErrLimit
	// ErrPlaintextTooLong: there is more plaintext than
	// EncryptOptions.MaxPlaintextLength, or than a message can hold.
	ErrPlaintextTooLong = frame.ErrTooLong
	// ErrUnframed: the message is one block, so no part of it can be decrypted
	// alone. Decrypt and DecryptReader read it.
	ErrUnframed = errors.New("an unframed message has no random access")
	// ErrUnverified: a DecryptReader was closed before the end of the message.
	ErrUnverified = errors.New("the message was not read to its verified end")
	// ErrClosed: the reader or writer is closed.
	ErrClosed = errors.New("already closed")
)

// prefixed gives an error that leaves the package its prefix.
func prefixed(err error) error { return fmt.Errorf("esdk: %w", err) }
