// Package frame seals and opens the bodies of messages: it is the hot path of
// the module. A [Sealer] turns plaintext into frames and an [Opener] frames
// into plaintext, from one slice into another and many frames a call, or from
// a [Window], the buffer that streams keep, to a writer. Large runs of frames
// are worked on by several goroutines, with the same result as by one; readers
// and writers are called on the caller's only.
//
// Nothing here knows of headers, data keys or signatures.
package frame

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

var (
	// ErrAuthentication is wrapped by the error for a frame whose tag fails.
	ErrAuthentication = errors.New("authentication failed: wrong key, or the message was altered")
	// ErrTooLong is wrapped by the error for a body that its format cannot hold.
	ErrTooLong = errors.New("plaintext too long")
	// ErrLimit is wrapped by the error for a body over Config.MaxUnframed or
	// over what an int can count.
	ErrLimit = errors.New("frame too long")
)

// Config is what all frames of one message share.
type Config struct {
	AEAD        cipher.AEAD // of suite.IVSize and suite.TagSize
	MessageID   []byte      // copied
	FrameLength int         // of plaintext, in bytes; 0 if the body is unframed
	MaxUnframed int64       // largest unframed body to open; 0: no limit
	Digest      hash.Hash   // gets every byte of the body, in order, before Final, Unframed or Last returns; nil if unsigned
	Workers     int         // goroutines to use at once, the caller's included; at least 1
}

// body is what Sealer and Opener have in common.
type body struct {
	Config
	pipeline
	maker           maker  // that has this body
	inSize, outSize int    // of a regular frame
	next            uint32 // sequence number of the next slot
	due             uint32 // sequence number of what will be handed on next
	own             slot   // for what is not worth the pipeline, and the nonce of the last frame
}

// A maker makes frames of plaintext or plaintext of frames.
type maker interface {
	// process works on a slot, on any goroutine, up to the first frame whose tag
	// fails, and returns how many frames it made.
	process(s *slot) int
	// frames returns those that were made, as they stand in the message.
	frames(s *slot) []byte
}

func (b *body) init(c Config, m maker, inSize, outSize int) {
	b.Config, b.maker, b.inSize, b.outSize = c, m, inSize, outSize
	b.MessageID = bytes.Clone(c.MessageID) // the caller's is in the hands of users
	b.Workers = min(c.Workers, maxWorkers)
	b.next, b.due = 1, 1
	b.initSlot(&b.own)
}

func (b *body) initSlot(s *slot) {
	s.aad = format.AppendBodyAAD(nil, b.MessageID, format.RegularFrame, 0, uint64(b.FrameLength))
}

// setNonce makes the nonce that a frame is sealed with: its sequence number. The
// header's is zero, so no two in a message are equal.
func (s *slot) setNonce(sequence uint32) [suite.IVSize]byte {
	binary.BigEndian.PutUint32(s.nonce[suite.IVSize-4:], sequence)
	return s.nonce
}

// stride is the size of a regular frame in the message.
func (b *body) stride() int { return b.FrameLength + format.FrameOverhead }

// field names a frame.
func (b *body) field(sequence uint32) string {
	if b.FrameLength == 0 {
		return "unframed body"
	}
	return fmt.Sprintf("frame %d", sequence)
}

const (
	// maxWorkers is more than memory can feed; it keeps stacks and buffers small.
	maxWorkers = 64
	// sharedBatch is about how many bytes a goroutine works on at a time: enough
	// to be worth handing over, and little enough to be in a core's cache still.
	sharedBatch = 128 << 10
	// wholeBatch is the same where all is in memory: it takes no buffers, and
	// the fewer there are to hand over the better, if there are enough for all.
	wholeBatch = 512 << 10
	// serialBatch is the same without others: they need not be so many.
	serialBatch = 32 << 10
	// parallelSize is the least work that is worth starting goroutines for.
	parallelSize = 256 << 10
	// margin is how much streams read beyond a batch, to see whether there is more.
	margin = 64
	// maxBuffers is how much streams hold besides two frames: with what else
	// there is, and rounding, they stay under 4 MiB.
	maxBuffers = 7 << 19
)

// Batch returns how many frames are worked on at a time, and streams do well to
// read at a time.
func (b *body) Batch() int {
	if b.Workers == 1 {
		return b.about(serialBatch)
	}
	return b.about(sharedBatch)
}

// Room returns how many bytes streams do well to ask their source for: a batch
// and, so that it can be seen whether the source has more, a little of the next
// frame.
func (b *body) Room() int {
	n := b.Batch() * b.inSize
	if b.Workers > 1 {
		n += min(margin, b.inSize-1)
	}
	return n
}

// Fit returns how many frames fit size bytes, and at least one.
func (b *body) Fit(size int) int { return max(1, size/b.stride()) }

// about returns how many frames come nearest to size bytes, and at least one:
// frames of a power of two and what is round them are a little over a part of it.
func (b *body) about(size int) int { return b.Fit(size + b.stride()/2) }

// parallel reports whether n frames are worth more than one goroutine.
func (b *body) parallel(n int) bool {
	return b.Workers > 1 && n > 1 && n >= parallelSize/b.stride() && (!b.started || b.width > 0)
}

// streamWidth returns how many slots with so many buffers of their own, and a
// Window beside them, maxBuffers hold.
func (b *body) streamWidth(buffers int) int {
	stride := int64(b.stride()) // twice that may not fit an int
	size := int64(b.Batch())*stride + margin
	return int(min(2*int64(b.Workers)+2, max(0, maxBuffers+2*stride-size)/(int64(buffers)*size)))
}
