package frame

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/esdk-go/esdk/format"
)

// A Sealer encrypts the body of one message. It is not safe for concurrent use.
type Sealer struct{ body }

// NewSealer returns a Sealer at the start of a body.
func NewSealer(c Config) *Sealer {
	s := new(Sealer)
	s.init(c, s, c.FrameLength, c.FrameLength+format.FrameOverhead)
	return s
}

// Frames appends to dst the regular frames that hold plaintext, whose length
// must be a multiple of the frame length. They must not overlap.
//
// It follows client-apis/encrypt.md, "Construct a frame", of the specification.
func (s *Sealer) Frames(dst, plaintext []byte) ([]byte, error) {
	n, err := s.count(len(plaintext))
	if err != nil || n == 0 {
		return dst, err
	}
	start := len(dst)
	dst = slices.Grow(dst, n*s.stride())[:start+n*s.stride()]
	return dst, s.do(plaintext, dst[start:], n)
}

// Emit is like Frames, but writes the frames. It is for use after Start.
func (s *Sealer) Emit(plaintext []byte) error {
	n, err := s.count(len(plaintext))
	if err != nil || n == 0 {
		return err
	}
	return s.do(plaintext, nil, n)
}

// Pump takes whole frames of plaintext from w, up to a batch, and has them
// written, at the latest when Flush is called. It is for use after Start.
func (s *Sealer) Pump(w *Window) error {
	n, err := s.count(min(w.Len(), s.Batch()*s.FrameLength))
	if err != nil {
		return cmp.Or(s.Flush(), err)
	}
	if n == 0 {
		return nil
	}
	return s.pump(w, n)
}

// count returns how many frames size bytes make.
func (s *Sealer) count(size int) (int, error) {
	n := size / s.FrameLength
	// The frame after these is at least the final one.
	if uint64(s.next)+uint64(n) > format.MaxFrames {
		return 0, fmt.Errorf("%w: more than %d frames of %d bytes", ErrTooLong, uint32(format.MaxFrames), s.FrameLength)
	}
	return n, nil
}

func (s *Sealer) process(w *slot) int {
	sealed := w.out[:0]
	for i := range w.n {
		seq := w.first + uint32(i)
		format.SetBodyAADSequence(w.aad, seq)
		sealed = format.AppendFrameHeader(sealed, format.FrameHeader{Sequence: seq, IV: w.setNonce(seq)})
		sealed = s.AEAD.Seal(sealed, w.nonce[:], w.in[i*s.FrameLength:(i+1)*s.FrameLength], w.aad)
	}
	return w.n
}

func (s *Sealer) frames(w *slot) []byte { return w.out }

// Final appends to dst the final frame, which holds plaintext: at most the
// frame length, and nothing if the plaintext ended with a regular frame.
func (s *Sealer) Final(dst, plaintext []byte) []byte {
	start := len(dst)
	aad := format.AppendBodyAAD(nil, s.MessageID, format.FinalFrame, s.next, uint64(len(plaintext)))
	dst = format.AppendFrameHeader(dst, format.FrameHeader{
		Final: true, Sequence: s.next, IV: s.own.setNonce(s.next), Length: uint32(len(plaintext)),
	})
	return s.sealLast(dst, start, plaintext, aad)
}

// Unframed appends to dst an unframed body, which holds plaintext: at most
// format.MaxUnframedLength bytes.
func (s *Sealer) Unframed(dst, plaintext []byte) ([]byte, error) {
	length := uint64(len(plaintext))
	if length > format.MaxUnframedLength {
		return nil, fmt.Errorf("%w: %d bytes, an unframed body holds %d", ErrTooLong, length, uint64(format.MaxUnframedLength))
	}
	start := len(dst)
	aad := format.AppendBodyAAD(nil, s.MessageID, format.SingleBlock, s.next, length)
	dst = format.AppendUnframedHeader(dst, format.UnframedHeader{IV: s.own.setNonce(s.next), Length: length})
	return s.sealLast(dst, start, plaintext, aad), nil
}

// sealLast seals plaintext behind the header that stands in dst from start on.
func (s *Sealer) sealLast(dst []byte, start int, plaintext, aad []byte) []byte {
	dst = s.AEAD.Seal(dst, s.own.nonce[:], plaintext, aad)
	s.hash(dst[start:])
	return dst
}
