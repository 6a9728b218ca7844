// Package format is the codec of the AWS Encryption SDK's message format,
// versions 1 and 2. It turns bytes into fields and fields into bytes; it holds
// no keys and no ciphers.
//
// A message is a header, a body, and, if its suite signs, a footer:
//
//	header   [Header], read by [ReadHeader], made by [NewHeader]
//	body     frames, each a [FrameHeader], content and a tag; or, in old
//	         messages, one [UnframedHeader], content and a tag
//	footer   a signature, [ParseFooter] and [AppendFooter]
//
// Use [ReadHeader] to see what a message says about itself without any key.
// Nothing that it says is authentic until the message has been decrypted.
//
// It follows the specification's [data-format] and [structures].
//
// [data-format]: https://github.com/awslabs/aws-encryption-sdk-specification/tree/master/data-format
// [structures]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/structures.md
package format

import (
	"errors"
	"fmt"
	"io"

	"github.com/esdk-go/esdk/suite"
)

// Limits of the message format. Lengths are in bytes.
const (
	// MaxFrames is how many frames a message can have, the final one included.
	MaxFrames = 1<<32 - 1
	// MaxFrameLength is the largest frame length.
	MaxFrameLength = 1<<32 - 1
	// MaxUnframedLength is the largest content of an unframed body: what one
	// AES-GCM encryption may hold.
	MaxUnframedLength = 1<<36 - 32
	// MaxEncryptedDataKeys is how many encrypted data keys a header can hold.
	MaxEncryptedDataKeys = 1<<16 - 1

	maxField = 1<<16 - 1 // what a two-byte length can say
)

// Bytes that a body needs beyond its plaintext. Lengths are in bytes.
const (
	FrameOverhead      = 4 + suite.IVSize + suite.TagSize         // of each regular frame
	FinalFrameOverhead = 4 + 4 + suite.IVSize + 4 + suite.TagSize // of the final frame
	UnframedOverhead   = suite.IVSize + 8 + suite.TagSize         // of an unframed body
)

var (
	// ErrMalformed: the bytes are not a message of the format, or the fields
	// cannot be encoded in one.
	ErrMalformed = errors.New("malformed message")
	// ErrUnsupportedSuite: the algorithm suite is not one of the AWS Encryption
	// SDK's.
	ErrUnsupportedSuite = errors.New("unsupported algorithm suite")
	// ErrBase64: the message begins like the Base64 encoding of one, such as a file
	// that aws-encryption-cli wrote with --encode. Decode it first, for example with
	// base64.NewDecoder, which also skips line breaks.
	ErrBase64 = errors.New("the message looks Base64-encoded; decode it first, for example with base64.NewDecoder")
	// ErrTooManyDataKeys: the message has more encrypted data keys than the
	// caller allows.
	ErrTooManyDataKeys = errors.New("too many encrypted data keys")
)

// A ParseError says where a message could not be read and why. Err wraps
// [ErrMalformed], [ErrUnsupportedSuite], [ErrBase64], [ErrTooManyDataKeys],
// [io.ErrUnexpectedEOF] if the message ends too early, or what the reader of
// the message returned.
type ParseError struct {
	Offset int64  // from the start of the message, in bytes
	Field  string // the field of the format that was being read
	Err    error
}

// Error says field, offset and cause.
func (e *ParseError) Error() string {
	switch {
	case e.Err != io.ErrUnexpectedEOF:
		return fmt.Sprintf("%s at byte %d: %v", e.Field, e.Offset, e.Err)
	case e.Offset == 0:
		return fmt.Sprintf("the message is empty: %v", e.Err)
	}
	return fmt.Sprintf("%s at byte %d: the message is cut short: %v", e.Field, e.Offset, e.Err)
}

// Unwrap returns Err.
func (e *ParseError) Unwrap() error { return e.Err }

func malformed(offset int, field, reason string, args ...any) error {
	return &ParseError{int64(offset), field, fmt.Errorf("%w: "+reason, append([]any{ErrMalformed}, args...)...)}
}

// truncated returns the error for a message that ends at offset, inside field.
func truncated(offset int, field string) error {
	return &ParseError{int64(offset), field, io.ErrUnexpectedEOF}
}

// A ContentType says how the body of a message is laid out.
type ContentType uint8

const (
	// Unframed is a body of one block, as old writers made it.
	Unframed ContentType = 1
	// Framed is a body of frames of equal length and a final frame.
	Framed ContentType = 2
)

// String returns "unframed" or "framed".
func (c ContentType) String() string {
	switch c {
	case Unframed:
		return "unframed"
	case Framed:
		return "framed"
	}
	return fmt.Sprintf("content type %d", uint8(c))
}
