package frame

import (
	"encoding/binary"
	"slices"

	"github.com/esdk-go/esdk/suite"
)

// A slot carries one batch: in is what it is made of, out where it is made.
type slot struct {
	first   uint32 // sequence number
	n       int    // frames
	good    int    // how many of them were processed: fewer if one's tag failed
	in, out []byte

	nonce  [suite.IVSize]byte // what is passed to a cipher.AEAD escapes, so it
	aad    []byte             // is in the heap already
	buffer []byte             // for out, if the caller has no memory for it
	spare  []byte             // is exchanged for the memory of a Window

	ready   chan struct{} // it was processed
	hashed  chan struct{} // its frames were added to the digest
	hashing bool          // they are on their way to that
}

// setNonce makes the nonce that a frame is sealed with: its sequence number. The
// header's is zero, so no two in a message are equal.
func (s *slot) setNonce(sequence uint32) [suite.IVSize]byte {
	binary.BigEndian.PutUint32(s.nonce[suite.IVSize-4:], sequence)
	return s.nonce
}

// scratch returns n bytes of the slot's own memory.
func (s *slot) scratch(n int) []byte {
	if cap(s.buffer) < n {
		s.buffer = slices.Grow([]byte(nil), n) // not cleared, as by make
	}
	return s.buffer[:n]
}

// awaitHash waits until the slot's frames, if they are on their way to the
// digest, are there.
func (s *slot) awaitHash() {
	if s.hashing {
		<-s.hashed
		s.hashing = false
	}
}

// release lets go of the batch, whatever became of it.
func (s *slot) release() {
	s.in, s.out, s.hashing = nil, nil, false // they may be the caller's
	drain(s.ready)
	drain(s.hashed)
}

// drain takes what is in c.
func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}
