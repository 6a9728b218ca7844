package format

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/esdk-go/esdk/suite"
)

const (
	finalMarker = 0xFFFFFFFF

	regularHeaderSize  = FrameOverhead - suite.TagSize
	finalHeaderSize    = FinalFrameOverhead - suite.TagSize
	unframedHeaderSize = UnframedOverhead - suite.TagSize
)

// A FrameHeader comes before the encrypted content of a frame, a tag of 16 bytes
// after it.
//
// It follows "Framed data" of the specification's [message-body].
//
// [message-body]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/data-format/message-body.md
type FrameHeader struct {
	Final    bool
	Sequence uint32 // from 1; a message's final frame continues the count
	IV       [suite.IVSize]byte
	Length   uint32 // of the content, in bytes; in a regular frame the message's frame length
}

// Size returns the number of bytes that AppendFrameHeader appends for f: 16
// for a regular frame, 24 for the final one.
func (f FrameHeader) Size() int {
	if f.Final {
		return finalHeaderSize
	}
	return regularHeaderSize
}

// AppendFrameHeader appends f to b.
func AppendFrameHeader(b []byte, f FrameHeader) []byte {
	if f.Final {
		b = binary.BigEndian.AppendUint32(b, finalMarker)
	}
	b = binary.BigEndian.AppendUint32(b, f.Sequence)
	b = append(b, f.IV[:]...)
	if f.Final {
		b = binary.BigEndian.AppendUint32(b, f.Length)
	}
	return b
}

// ParseFrameHeader returns the frame header at the start of b; frameLength is
// that of the message. Errors are a *[ParseError] with the offset in b:
// [io.ErrUnexpectedEOF] if b is too short, [ErrMalformed] if a final frame is
// longer than frameLength. Whether the sequence number is the one that comes
// next is for the caller to check.
func ParseFrameHeader(b []byte, frameLength uint32) (FrameHeader, error) {
	if len(b) < regularHeaderSize {
		return FrameHeader{}, truncated(len(b), "frame")
	}
	f := FrameHeader{Sequence: binary.BigEndian.Uint32(b), Length: frameLength}
	if f.Sequence != finalMarker {
		copy(f.IV[:], b[4:])
		return f, nil
	}
	if len(b) < finalHeaderSize {
		return FrameHeader{}, truncated(len(b), "final frame")
	}
	f.Final = true
	f.Sequence = binary.BigEndian.Uint32(b[4:])
	copy(f.IV[:], b[8:])
	f.Length = binary.BigEndian.Uint32(b[finalHeaderSize-4:])
	if f.Length > frameLength {
		return FrameHeader{}, malformed(finalHeaderSize-4, "final frame", "%d bytes, more than the frame length %d", f.Length, frameLength)
	}
	return f, nil
}

// An UnframedHeader comes before the encrypted content of an unframed body, a tag
// of 16 bytes after it.
//
// It follows "Non-framed data" of the specification's [message-body].
//
// [message-body]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/data-format/message-body.md
type UnframedHeader struct {
	IV     [suite.IVSize]byte
	Length uint64 // of the content, in bytes
}

// AppendUnframedHeader appends u to b: 20 bytes.
func AppendUnframedHeader(b []byte, u UnframedHeader) []byte {
	return binary.BigEndian.AppendUint64(append(b, u.IV[:]...), u.Length)
}

// ParseUnframedHeader returns the header at the start of the unframed body b.
// Errors are a *[ParseError] with the offset in b: [io.ErrUnexpectedEOF] if b
// is too short, [ErrMalformed] if the content is longer than
// [MaxUnframedLength].
func ParseUnframedHeader(b []byte) (UnframedHeader, error) {
	var u UnframedHeader
	if len(b) < unframedHeaderSize {
		return u, truncated(len(b), "unframed body")
	}
	copy(u.IV[:], b)
	u.Length = binary.BigEndian.Uint64(b[suite.IVSize:])
	if u.Length > MaxUnframedLength {
		return UnframedHeader{}, malformed(suite.IVSize, "unframed body", "%d bytes, at most %d allowed", u.Length, uint64(MaxUnframedLength))
	}
	return u, nil
}

// A BodyKind says what a body's additional authenticated data is for.
type BodyKind uint8

const (
	RegularFrame BodyKind = iota // any frame but the last
	FinalFrame                   // the last frame
	SingleBlock                  // an unframed body; its sequence number is 1
)

var bodyContent = [...]string{
	RegularFrame: "AWSKMSEncryptionClient Frame",
	FinalFrame:   "AWSKMSEncryptionClient Final Frame",
	SingleBlock:  "AWSKMSEncryptionClient Single Block",
}

// AppendBodyAAD appends to b the additional authenticated data of a frame or
// an unframed body with a plaintext of length bytes.
//
// It follows the specification's [message-body-aad].
//
// [message-body-aad]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/data-format/message-body-aad.md
func AppendBodyAAD(b, messageID []byte, kind BodyKind, sequence uint32, length uint64) []byte {
	b = slices.Grow(b, len(messageID)+len(bodyContent[kind])+12)
	b = append(b, messageID...)
	b = append(b, bodyContent[kind]...)
	b = binary.BigEndian.AppendUint32(b, sequence)
	return binary.BigEndian.AppendUint64(b, length)
}

// SetBodyAADSequence changes the sequence number in what AppendBodyAAD made,
// so that the frames of a message can share one buffer.
func SetBodyAADSequence(aad []byte, sequence uint32) {
	binary.BigEndian.PutUint32(aad[len(aad)-12:], sequence)
}

// AppendFooter appends the footer that holds signature to b. It fails with
// [ErrMalformed] if the signature has more than 65,535 bytes.
//
// It follows the specification's [message-footer].
//
// [message-footer]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/data-format/message-footer.md
func AppendFooter(b, signature []byte) ([]byte, error) {
	if len(signature) > maxField {
		return nil, fmt.Errorf("%w: signature of %d bytes", ErrMalformed, len(signature))
	}
	return appendField(b, signature), nil
}

// ParseFooter returns the signature in the footer at the start of b, a part of
// b, and the footer's size. The error, for a b that is too short, is a
// *[ParseError] with the offset in b that wraps [io.ErrUnexpectedEOF].
func ParseFooter(b []byte) (signature []byte, size int, err error) {
	if len(b) < 2 {
		return nil, 0, truncated(len(b), "footer")
	}
	size = 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < size {
		return nil, 0, truncated(len(b), "signature")
	}
	return b[2:size], size, nil
}
