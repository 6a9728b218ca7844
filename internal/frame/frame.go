// Package frame seals and opens the bodies of messages: it is the hot path of
// the module. A [Sealer] turns plaintext into frames and an [Opener] frames
// into plaintext, from one slice into another and many frames a call; a
// [Window] is the buffer that streams keep before them. Large runs of frames
// are worked on by several goroutines, with the same result as by one.
//
// Nothing here does I/O beyond reading into a Window, and nothing knows of
// headers, data keys or signatures.
package frame

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"hash"
	"sync"
	"sync/atomic"

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
	Digest      hash.Hash   // gets every byte of the body, in order; nil if unsigned
	Workers     int         // goroutines to use at once, the caller's included; at least 1
}

// body is what Sealer and Opener have in common.
type body struct {
	Config
	next  uint32 // the sequence number that is due
	lanes []lane // one for each goroutine that works on regular frames
	last  lane   // for the final frame or the unframed body
}

// A lane is what a goroutine needs to seal or open frames. It is in the heap
// with its body because what is passed to a cipher.AEAD escapes.
type lane struct {
	nonce [suite.IVSize]byte
	aad   []byte
}

// setNonce makes the nonce that a frame is sealed with: its sequence number. The
// header's is zero, so no two in a message are equal.
func (l *lane) setNonce(sequence uint32) [suite.IVSize]byte {
	binary.BigEndian.PutUint32(l.nonce[suite.IVSize-4:], sequence)
	return l.nonce
}

func newBody(c Config) body {
	b := body{Config: c, next: 1}
	b.MessageID = bytes.Clone(c.MessageID) // the caller's is in the hands of users
	b.Workers = min(c.Workers, maxWorkers)
	return b
}

// addLanes makes sure that there are n lanes.
func (b *body) addLanes(n int) {
	for len(b.lanes) < n {
		aad := format.AppendBodyAAD(nil, b.MessageID, format.RegularFrame, 0, uint64(b.FrameLength))
		b.lanes = append(b.lanes, lane{aad: aad})
	}
}

// stride is the size of a regular frame in the message.
func (b *body) stride() int { return b.FrameLength + format.FrameOverhead }

const (
	// pieceSize is about how many bytes one goroutine works on at a time, and
	// after how many the digest takes its turn: little enough to be in a
	// core's cache still.
	pieceSize = 64 << 10
	// maxWorkers is more than memory can feed; it keeps stacks and buffers small.
	maxWorkers = 64
	// parallelSize is the least work that is worth starting goroutines for.
	parallelSize = 4 * pieceSize
)

// piece returns how many frames make a piece.
func (b *body) piece() int { return max(1, pieceSize/b.FrameLength) }

// parallel reports whether n frames are worth more than one goroutine.
func (b *body) parallel(n int) bool {
	return b.Workers > 1 && n > b.piece() && n >= parallelSize/b.FrameLength
}

// spread calls work for each of n pieces, in ascending order but several at a
// time, while the caller's goroutine runs meanwhile; then that one joins in.
// It returns when all is done.
func (b *body) spread(n int, work func(l *lane, piece int), meanwhile func()) {
	workers := min(b.Workers, n)
	if meanwhile != nil {
		workers = max(workers, 2) // one at least must not wait for meanwhile
	}
	b.addLanes(workers)
	var next atomic.Int64
	loop := func(l *lane) {
		for {
			piece := int(next.Add(1)) - 1
			if piece >= n {
				return
			}
			work(l, piece)
		}
	}
	var wg sync.WaitGroup
	for i := 1; i < workers; i++ {
		wg.Go(func() { loop(&b.lanes[i]) })
	}
	if meanwhile != nil {
		meanwhile()
	}
	loop(&b.lanes[0])
	wg.Wait()
}
