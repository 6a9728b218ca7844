package frame

import (
	"fmt"
	"slices"

	"github.com/esdk-go/esdk/format"
)

// A Sealer encrypts the body of one message. It is not safe for concurrent use.
type Sealer struct{ body }

// NewSealer returns a Sealer at the start of a body.
func NewSealer(c Config) *Sealer { return &Sealer{newBody(c)} }

// Frames appends to dst the regular frames that hold plaintext, whose length
// must be a multiple of the frame length. They must not overlap.
//
// It follows client-apis/encrypt.md, "Construct a frame", of the specification.
func (s *Sealer) Frames(dst, plaintext []byte) ([]byte, error) {
	n := len(plaintext) / s.FrameLength
	if n == 0 {
		return dst, nil
	}
	// The frame after these is at least the final one.
	if uint64(s.next)+uint64(n) > format.MaxFrames {
		return nil, fmt.Errorf("%w: more than %d frames of %d bytes", ErrTooLong, uint32(format.MaxFrames), s.FrameLength)
	}
	start := len(dst)
	dst = slices.Grow(dst, n*s.stride())[:start+n*s.stride()]
	if s.parallel(n) {
		s.spreadFrames(dst[start:], plaintext, n)
	} else {
		s.addLanes(1)
		for i := 0; i < n; i += s.piece() {
			sealed := s.run(&s.lanes[0], dst[start:], plaintext, i, n)
			if s.Digest != nil {
				s.Digest.Write(sealed)
			}
		}
	}
	s.next += uint32(n)
	return dst, nil
}

// run seals a piece of n frames, from frame i on, into its place in out.
func (s *Sealer) run(l *lane, out, plaintext []byte, i, n int) []byte {
	end := min(i+s.piece(), n)
	sealed := out[i*s.stride() : i*s.stride() : end*s.stride()]
	for ; i < end; i++ {
		seq := s.next + uint32(i)
		format.SetBodyAADSequence(l.aad, seq)
		sealed = format.AppendFrameHeader(sealed, format.FrameHeader{Sequence: seq, IV: l.setNonce(seq)})
		sealed = s.AEAD.Seal(sealed, l.nonce[:], plaintext[i*s.FrameLength:(i+1)*s.FrameLength], l.aad)
	}
	return sealed
}

// spreadFrames seals n frames on several goroutines. The digest follows in
// order on the caller's.
func (s *Sealer) spreadFrames(out, plaintext []byte, n int) {
	size := s.piece()
	pieces := (n + size - 1) / size
	if s.Digest == nil {
		s.spread(pieces, func(l *lane, piece int) { s.run(l, out, plaintext, piece*size, n) }, nil)
		return
	}
	sealed := make([][]byte, pieces)
	ready := make(chan int, pieces)
	s.spread(pieces, func(l *lane, piece int) {
		sealed[piece] = s.run(l, out, plaintext, piece*size, n)
		ready <- piece
	}, func() {
		done := make([]bool, pieces)
		for next := 0; next < pieces; {
			done[<-ready] = true
			for ; next < pieces && done[next]; next++ {
				s.Digest.Write(sealed[next])
			}
		}
	})
}

// Final appends to dst the final frame, which holds plaintext: at most the
// frame length, and nothing if the plaintext ended with a regular frame.
func (s *Sealer) Final(dst, plaintext []byte) []byte {
	start := len(dst)
	s.last.aad = format.AppendBodyAAD(nil, s.MessageID, format.FinalFrame, s.next, uint64(len(plaintext)))
	dst = format.AppendFrameHeader(dst, format.FrameHeader{
		Final: true, Sequence: s.next, IV: s.last.setNonce(s.next), Length: uint32(len(plaintext)),
	})
	return s.sealLast(dst, start, plaintext)
}

// Unframed appends to dst an unframed body, which holds plaintext: at most
// format.MaxUnframedLength bytes.
func (s *Sealer) Unframed(dst, plaintext []byte) ([]byte, error) {
	length := uint64(len(plaintext))
	if length > format.MaxUnframedLength {
		return nil, fmt.Errorf("%w: %d bytes, an unframed body holds %d", ErrTooLong, length, uint64(format.MaxUnframedLength))
	}
	start := len(dst)
	s.last.aad = format.AppendBodyAAD(nil, s.MessageID, format.SingleBlock, s.next, length)
	dst = format.AppendUnframedHeader(dst, format.UnframedHeader{IV: s.last.setNonce(s.next), Length: length})
	return s.sealLast(dst, start, plaintext), nil
}

// sealLast seals plaintext behind the header that stands in dst from start on.
func (s *Sealer) sealLast(dst []byte, start int, plaintext []byte) []byte {
	dst = s.AEAD.Seal(dst, s.last.nonce[:], plaintext, s.last.aad)
	if s.Digest != nil {
		s.Digest.Write(dst[start:])
	}
	return dst
}
