package frame

import (
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/esdk-go/esdk/format"
)

// A Sealer encrypts the body of one message, after Init. It is not safe for concurrent
// use.
type Sealer struct{ body }

// Init sets s to the start of a body. s must be zero before.
func (s *Sealer) Init(c Config) {
	s.init(c, s, c.FrameLength, c.FrameLength+format.FrameOverhead)
}

// Frames appends to dst the regular frames that hold plaintext, whose length
// must be a multiple of the frame length. They must not overlap.
//
// It follows client-apis/encrypt.md, "Construct a frame", of the specification.
func (s *Sealer) Frames(dst, plaintext []byte) ([]byte, error) {
	n, err := s.count(plaintext, math.MaxInt)
	if err != nil || n == 0 {
		return dst, err
	}
	start := len(dst)
	dst = slices.Grow(dst, n*s.stride())[:start+n*s.stride()]
	return dst, s.processAll(plaintext, dst[start:], n, nil)
}

// WriteFrames is like Frames, but writes the frames to sink, in order and on the
// caller's goroutine only. Sink must not write short.
func (s *Sealer) WriteFrames(sink io.Writer, plaintext []byte) error {
	n, err := s.count(plaintext, math.MaxInt)
	if err != nil || n == 0 {
		return err
	}
	return s.processAll(plaintext, nil, n, sink)
}

func (s *Sealer) count(plaintext []byte, limit int) (int, error) {
	n := min(limit, len(plaintext)/s.FrameLength)
	// The frame after these is at least the final one.
	if uint64(s.next)+uint64(n) > format.MaxFrames {
		return 0, fmt.Errorf("%w: more than %d frames of %d bytes", ErrTooLong, uint32(format.MaxFrames), s.FrameLength)
	}
	return n, nil
}

func (s *Sealer) process(sl *slot) int {
	sealed := sl.out[:0]
	for i := range sl.n {
		seq := sl.first + uint32(i)
		format.SetBodyAADSequence(sl.aad, seq)
		sealed = format.AppendFrameHeader(sealed, format.FrameHeader{Sequence: seq, IV: sl.setNonce(seq)})
		sealed = s.AEAD.Seal(sealed, sl.nonce[:], sl.in[i*s.FrameLength:(i+1)*s.FrameLength], sl.aad)
	}
	return sl.n
}

func (s *Sealer) wire(sl *slot) []byte { return sl.out }

// Final appends to dst the final frame, which holds plaintext: at most the
// frame length, and nothing if the plaintext ended with a regular frame.
func (s *Sealer) Final(dst, plaintext []byte) []byte {
	start := len(dst)
	aad := s.lastAAD(format.FinalFrame, uint64(len(plaintext)))
	dst = format.AppendFrameHeader(dst, format.FrameHeader{
		Final: true, Sequence: s.next, IV: s.inline.setNonce(s.next), Length: uint32(len(plaintext)),
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
	aad := s.lastAAD(format.SingleBlock, length)
	dst = format.AppendUnframedHeader(dst, format.UnframedHeader{IV: s.inline.setNonce(s.next), Length: length})
	return s.sealLast(dst, start, plaintext, aad), nil
}

// sealLast seals plaintext behind the header that stands in dst from start on.
func (s *Sealer) sealLast(dst []byte, start int, plaintext, aad []byte) []byte {
	dst = s.AEAD.Seal(dst, s.inline.nonce[:], plaintext, aad)
	if s.Digest != nil {
		s.Digest.Write(dst[start:])
	}
	return dst
}
