package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// headerSize is how many bytes say what a frame is. Every frame is longer.
const headerSize = format.FinalFrameOverhead - suite.TagSize

// An Opener decrypts the body of one message, after Init. It is not safe for
// concurrent use, and of no use after an error.
type Opener struct {
	body
	offset int64 // of the body in the message
	past   int   // what Last has opened, in bytes
}

// Init sets o to the start of a body that begins at offset in its message. o must be
// zero before.
func (o *Opener) Init(c Config, offset int64) {
	o.offset = offset
	o.init(c, o, c.FrameLength+format.FrameOverhead, c.FrameLength)
}

// Offset returns where in the message the bytes stand that are due.
func (o *Opener) Offset() int64 {
	return o.offset + int64(o.next-1)*int64(o.stride()) + int64(o.past)
}

// Seek moves the Opener to the frame with that sequence number. If there is a
// Digest, it must get the frames in between from elsewhere.
func (o *Opener) Seek(sequence uint32) { o.next, o.due, o.past = sequence, sequence, 0 }

// A Part is a frame, or an unframed body, as its header describes it.
type Part struct {
	Last   bool // nothing of the body follows
	Size   int  // of it all, in bytes
	Length int  // of its plaintext, in bytes
	iv     [suite.IVSize]byte
	header int // size of the header
}

// NeedHeader is how many bytes Next needs to see. A message with fewer left is
// cut short.
func (o *Opener) NeedHeader() int {
	if o.FrameLength == 0 {
		return format.UnframedOverhead - suite.TagSize
	}
	return headerSize
}

// Next describes what src, which begins where the Opener is, starts with.
// Errors are a *format.ParseError, that for a src that is too short for
// NeedHeader included, or wrap ErrLimit.
func (o *Opener) Next(src []byte) (Part, error) {
	if len(src) < o.NeedHeader() {
		return Part{}, o.Truncated(len(src))
	}
	if o.FrameLength == 0 {
		return o.nextUnframed(src)
	}
	f, err := format.ParseFrameHeader(src, uint32(o.FrameLength))
	if err != nil {
		return Part{}, o.at(err)
	}
	if f.Sequence != o.next {
		return Part{}, &format.ParseError{Offset: o.Offset(), Field: o.field(o.next),
			Err: fmt.Errorf("%w: sequence number %d where %d is due", format.ErrMalformed, f.Sequence, o.next)}
	}
	p := Part{Last: f.Final, Length: int(f.Length), iv: f.IV, header: f.Size()}
	p.Size = p.header + p.Length + suite.TagSize
	return p, nil
}

func (o *Opener) nextUnframed(src []byte) (Part, error) {
	u, err := format.ParseUnframedHeader(src)
	if err != nil {
		return Part{}, o.at(err)
	}
	if o.MaxUnframed > 0 && u.Length > uint64(o.MaxUnframed) {
		return Part{}, fmt.Errorf("%w: unframed body of %d bytes, at most %d allowed", ErrLimit, u.Length, o.MaxUnframed)
	}
	if u.Length > math.MaxInt-format.UnframedOverhead {
		return Part{}, fmt.Errorf("%w: unframed body of %d bytes on a system that can address %d", ErrLimit, u.Length, math.MaxInt)
	}
	return Part{Last: true, Size: format.UnframedOverhead + int(u.Length), Length: int(u.Length),
		iv: u.IV, header: format.UnframedOverhead - suite.TagSize}, nil
}

// at gives a parse error of package format its place in the message.
func (o *Opener) at(err error) error {
	var parse *format.ParseError
	if errors.As(err, &parse) {
		return &format.ParseError{Offset: o.Offset() + parse.Offset, Field: o.field(o.next), Err: parse.Err}
	}
	return err
}

// Truncated returns the error for a message that ends n bytes after the
// Opener's place.
func (o *Opener) Truncated(n int) error {
	return &format.ParseError{Offset: o.Offset() + int64(n), Field: o.field(o.next), Err: io.ErrUnexpectedEOF}
}

// Frames opens regular frames from the start of src and appends their
// plaintext to dst: as many as stand there whole and in sequence and as fit
// the capacity of dst, which must not overlap src. It returns how many bytes
// of src it used up. If a frame's tag fails, it returns what stands before the
// frame together with an error that wraps ErrAuthentication.
//
// It follows client-apis/decrypt.md, "Decrypt the message body", of the
// specification.
func (o *Opener) Frames(dst, src []byte) (out []byte, used int, err error) {
	n, err := o.count(src, (cap(dst)-len(dst))/o.FrameLength)
	if err != nil || n == 0 {
		return dst, 0, err
	}
	free := dst[len(dst) : len(dst)+n*o.FrameLength]
	before := o.due
	err = o.processAll(src, free, n, nil)
	good := int(o.due - before)
	clear(free[good*o.FrameLength:]) // later frames, opened before an earlier one failed
	return dst[:len(dst)+good*o.FrameLength], good * o.stride(), err
}

// count counts those that are in sequence. That others are not is for Next to
// say, when they are due.
func (o *Opener) count(src []byte, limit int) (int, error) {
	if o.FrameLength == 0 {
		return 0, nil
	}
	limit = min(limit, len(src)/o.stride())
	for n := range limit {
		if seq := o.next + uint32(n); seq < o.next || seq == math.MaxUint32 || binary.BigEndian.Uint32(src[n*o.stride():]) != seq {
			return n, nil
		}
	}
	return limit, nil
}

func (o *Opener) process(sl *slot) int {
	stride := o.stride()
	for i := range sl.n {
		f := sl.in[i*stride : (i+1)*stride]
		format.SetBodyAADSequence(sl.aad, sl.first+uint32(i))
		place := sl.out[i*o.FrameLength : i*o.FrameLength : (i+1)*o.FrameLength]
		if _, err := o.AEAD.Open(place, f[4:4+suite.IVSize], f[4+suite.IVSize:], sl.aad); err != nil {
			return i
		}
	}
	return sl.n
}

func (o *Opener) wire(sl *slot) []byte { return sl.in[:sl.good*o.stride()] }

// Last opens p, the final frame or unframed body that src begins with, and
// appends its plaintext to dst. It returns how many bytes of src it used up.
// Errors are a *format.ParseError if src is too short, or wrap
// ErrAuthentication.
func (o *Opener) Last(dst, src []byte, p Part) (out []byte, used int, err error) {
	if len(src) < p.Size {
		return nil, 0, o.Truncated(len(src))
	}
	src = src[:p.Size]
	if o.Digest != nil {
		o.Digest.Write(src)
	}
	kind := format.FinalFrame
	if o.FrameLength == 0 {
		kind = format.SingleBlock
	}
	aad := o.lastAAD(kind, uint64(p.Length))
	o.inline.nonce = p.iv
	out, err = o.AEAD.Open(dst, o.inline.nonce[:], src[p.header:], aad)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", o.field(o.next), ErrAuthentication)
	}
	o.past = p.Size
	return out, p.Size, nil
}
