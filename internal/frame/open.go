package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// headerSize is how many bytes say what a frame is. Every frame is longer.
const headerSize = format.FinalFrameOverhead - suite.TagSize

// An Opener decrypts the body of one message. It is not safe for concurrent
// use, and of no use after an error.
type Opener struct {
	body
	offset int64 // of the due frame, from the start of the message
}

// NewOpener returns an Opener at the start of a body, which stands at offset
// in its message.
func NewOpener(c Config, offset int64) *Opener {
	return &Opener{newBody(c), offset}
}

// Offset returns where in the message the bytes stand that are due.
func (o *Opener) Offset() int64 { return o.offset }

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
		return Part{}, &format.ParseError{Offset: o.offset, Field: o.field(),
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
		return &format.ParseError{Offset: o.offset + parse.Offset, Field: o.field(), Err: parse.Err}
	}
	return err
}

// Truncated returns the error for a message that ends n bytes after the
// Opener's place.
func (o *Opener) Truncated(n int) error {
	return &format.ParseError{Offset: o.offset + int64(n), Field: o.field(), Err: io.ErrUnexpectedEOF}
}

// field names what is due.
func (o *Opener) field() string {
	if o.FrameLength == 0 {
		return "unframed body"
	}
	return fmt.Sprintf("frame %d", o.next)
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
	n := min(len(src)/o.stride(), (cap(dst)-len(dst))/o.FrameLength)
	if n == 0 {
		return dst, 0, nil
	}
	room := dst[len(dst) : len(dst)+n*o.FrameLength]
	var good int
	if o.parallel(n) {
		good, n = o.spreadFrames(room, src, n)
	} else {
		o.addLanes(1)
		for good < n {
			end := min(good+o.piece(), n)
			k := o.run(&o.lanes[0], room, src, good, end)
			if o.Digest != nil {
				o.Digest.Write(src[good*o.stride() : k*o.stride()])
			}
			if good = k; k < end {
				break
			}
		}
	}
	used = good * o.stride()
	o.next += uint32(good)
	o.offset += int64(used)
	if good < n && o.isDue(src[used:], 0) {
		err = fmt.Errorf("%s: %w", o.field(), ErrAuthentication)
	}
	clear(room[good*o.FrameLength:]) // later frames, opened before an earlier one failed
	return dst[:len(dst)+good*o.FrameLength], used, err
}

// isDue reports whether src begins with the regular frame that is due after
// i others.
func (o *Opener) isDue(src []byte, i int) bool {
	seq := o.next + uint32(i)
	return seq >= o.next && seq != math.MaxUint32 && binary.BigEndian.Uint32(src) == seq
}

// run opens the frames from i to end, each into its place in room, up to the
// first that is not due or whose tag fails, and returns that one's number.
func (o *Opener) run(l *lane, room, src []byte, i, end int) int {
	stride := o.stride()
	for ; i < end; i++ {
		f := src[i*stride : (i+1)*stride]
		if !o.isDue(f, i) {
			break
		}
		copy(l.nonce[:], f[4:])
		format.SetBodyAADSequence(l.aad, o.next+uint32(i))
		place := room[i*o.FrameLength : i*o.FrameLength : (i+1)*o.FrameLength]
		if _, err := o.AEAD.Open(place, l.nonce[:], f[4+suite.IVSize:], l.aad); err != nil {
			break
		}
	}
	return i
}

// spreadFrames opens up to n frames on several goroutines, with the digest on
// the caller's. It returns how many were opened before the first that could
// not be, and how many were due.
func (o *Opener) spreadFrames(room, src []byte, n int) (good, due int) {
	var digest func()
	if o.Digest != nil {
		// It runs ahead of the tags, so it must know now where the frames end.
		for i := range n {
			if !o.isDue(src[i*o.stride():], i) {
				n = i
				break
			}
		}
		digest = func() { o.Digest.Write(src[:n*o.stride()]) }
	}
	var bad atomic.Int64 // the first frame that could not be opened
	bad.Store(int64(n))
	size := o.piece()
	o.spread((n+size-1)/size, func(l *lane, piece int) {
		start, end := piece*size, min((piece+1)*size, n)
		if int64(start) > bad.Load() {
			return
		}
		if k := o.run(l, room, src, start, end); k < end {
			for b := bad.Load(); int64(k) < b && !bad.CompareAndSwap(b, int64(k)); b = bad.Load() {
			}
		}
	}, digest)
	return int(bad.Load()), n
}

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
	o.last.aad = format.AppendBodyAAD(nil, o.MessageID, kind, o.next, uint64(p.Length))
	o.last.nonce = p.iv
	out, err = o.AEAD.Open(dst, o.last.nonce[:], src[p.header:], o.last.aad)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", o.field(), ErrAuthentication)
	}
	o.offset += int64(p.Size)
	return out, p.Size, nil
}
