package frame

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/esdk-go/esdk/suite"
)

// A slot is a run of frames on its way: in, what they are made of, and out,
// where they are made.
type slot struct {
	first   uint32 // sequence number
	n       int    // frames
	good    int    // how many of them were made: fewer if one's tag failed
	in, out []byte

	nonce  [suite.IVSize]byte // what is passed to a cipher.AEAD escapes, so it
	aad    []byte             // is in the heap already
	buffer []byte             // for out, if the caller has no place for it
	spare  []byte             // changes places with a Window's

	ready   chan struct{} // it was worked on
	hashed  chan struct{} // it was hashed
	hashing bool          // it is on its way to that
}

// A pipeline is the slots of a body, in a ring. The caller's goroutine fills
// them in order and hands them on in order; others work on them, and so does the
// caller's while it has nothing else to do. If the body is signed, one goroutine
// only hashes what was handed on, and a slot is not filled again before.
//
// The goroutines start when they are needed and end with Stop.
type pipeline struct {
	slots   []*slot
	width   int // slots in use
	filled  int // slots so far
	handed  int // slots so far
	started bool
	to      io.Writer // what gets the frames, between Start and Stop

	running sync.WaitGroup
	helpers int
	work    chan *slot
	hashes  chan *slot
	givenUp atomic.Bool
}

// Start has what is made, until Stop, written to w, in order and on the caller's
// goroutine; w must not write short. The goroutines that are started meanwhile
// stay, so Stop must follow. buffers is how many each slot needs: 2 for Pump,
// which keeps what it takes, and 1 for Emit.
func (b *body) Start(w io.Writer, buffers int) {
	b.started, b.to = true, w
	b.width = b.streamWidth(buffers)
	keep := min(len(b.slots), b.width)
	clear(b.slots[keep:]) // their memory too
	b.slots = b.slots[:keep]
	if buffers == 1 {
		for _, s := range b.slots {
			s.spare = nil
		}
	}
}

// Stop gives up what was not flushed, has the rest hashed, and returns when all
// goroutines are gone.
func (b *body) Stop() {
	if b.work != nil {
		b.givenUp.Store(true)
		close(b.work)
		if b.hashes != nil {
			close(b.hashes)
		}
		b.running.Wait()
		b.givenUp.Store(false)
		for _, s := range b.slots {
			s.in, s.out, s.hashing = nil, nil, false // they may be the caller's
			drain(s.ready)
			drain(s.hashed)
		}
		b.work, b.hashes, b.helpers, b.filled, b.handed = nil, nil, 0, 0, 0
	}
	b.started, b.to = false, nil
}

// drain takes what is in c.
func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// do makes n frames of in: in out, or, if that is nil, in memory of its own.
func (b *body) do(in, out []byte, n int) error {
	shared := b.parallel(n)
	size := b.Batch()
	if shared && out != nil {
		size = max(size, min(n/(4*b.Workers), b.about(wholeBatch)))
	}
	if shared && !b.started {
		b.width = 2*b.Workers + 2
		defer b.Stop()
	}
	if shared && b.work == nil {
		b.width = min(b.width, (n+size-1)/size) // more would have nothing to do
	}
	for n > 0 {
		k := min(n, size)
		s := &b.own
		if shared {
			var err error
			if s, err = b.slot(); err != nil {
				return err
			}
		}
		if s.in, in = in[:k*b.inSize], in[k*b.inSize:]; out != nil {
			s.out, out = out[:k*b.outSize], out[k*b.outSize:]
		} else {
			s.out = b.room(s, k*b.outSize)
		}
		if err := b.submit(s, k); err != nil {
			return err
		}
		n -= k
	}
	return b.Flush()
}

// pump makes the n frames that stand at the start of w. If they are a whole
// batch, and the source of w fills what it is given, it may return before they
// are made; Flush waits for that.
func (b *body) pump(w *Window, n int) error {
	size := n * b.inSize
	ahead := n == b.Batch() && w.Filled()
	if b.Workers == 1 || b.width == 0 || b.work == nil && !ahead {
		defer w.Discard(size)
		return b.do(w.Bytes()[:size], nil, n)
	}
	s, err := b.slot()
	if err != nil {
		return err
	}
	s.in = w.Bytes()[:size]
	w.Discard(size)
	s.spare = w.Exchange(s.spare)
	s.out = b.room(s, n*b.outSize)
	if err := b.submit(s, n); err != nil || ahead {
		return err
	}
	return b.Flush()
}

// Scratch returns n bytes of memory that nobody else uses until the next call.
func (b *body) Scratch(n int) []byte { return b.room(&b.own, n) }

// room returns n bytes for what is made of a slot. The caller's own slot shares
// them with the first of the ring: it is used when no other is.
func (b *body) room(s *slot, n int) []byte {
	if s == &b.own && len(b.slots) > 0 {
		s = b.slots[0]
		b.awaitHash(s)
	}
	if cap(s.buffer) < n {
		s.buffer = slices.Grow([]byte(nil), n) // not cleared, as by make
	}
	return s.buffer[:n]
}

// slot returns the next slot to fill.
func (b *body) slot() (*slot, error) {
	b.hire()
	if b.filled-b.handed == b.width {
		if err := b.handOn(); err != nil {
			return nil, err
		}
	}
	s := b.slots[b.filled%b.width]
	if s.hashing && len(s.hashed) == 0 {
		// Waiting for a few at once, as being woken up costs the one that hashes.
		b.awaitHash(b.slots[(b.filled+(b.width-1)/2)%b.width])
	}
	b.awaitHash(s)
	return s, nil
}

// hire starts the goroutines, if they do not run yet.
func (b *body) hire() {
	if b.work != nil {
		return
	}
	for len(b.slots) < b.width {
		s := &slot{ready: make(chan struct{}, 1), hashed: make(chan struct{}, 1)}
		b.initSlot(s)
		b.slots = append(b.slots, s)
	}
	if b.own.buffer != nil {
		b.slots[0].buffer, b.own.buffer = b.own.buffer, nil
	}
	work := make(chan *slot, b.width)
	b.work, b.helpers = work, b.Workers-1
	if b.Digest != nil {
		b.helpers--
		hashes := make(chan *slot, b.width)
		b.hashes = hashes
		b.running.Go(func() {
			for s := range hashes {
				b.Digest.Write(b.maker.frames(s))
				s.hashed <- struct{}{}
			}
		})
	}
	b.helpers = min(b.helpers, b.width)
	for range b.helpers {
		b.running.Go(func() {
			for s := range work {
				b.workOn(s)
			}
		})
	}
}

// submit has k frames made of a slot: at once, if there is nobody else to do it.
func (b *body) submit(s *slot, k int) error {
	s.first, s.n = b.next, k
	b.next += uint32(k)
	if s == &b.own {
		s.good = b.maker.process(s)
		err := b.finish(s)
		s.in, s.out = nil, nil
		return err
	}
	b.filled++
	if b.work <- s; b.helpers > 0 {
		return nil
	}
	return b.handOn()
}

// workOn works on a slot from b.work.
func (b *body) workOn(s *slot) {
	if !b.givenUp.Load() {
		s.good = b.maker.process(s)
	}
	s.ready <- struct{}{}
}

// handOn hands on the slot that was filled first of those that were not handed
// on yet. Until it is ready, it works on others.
func (b *body) handOn() error {
	s := b.slots[b.handed%b.width]
	for {
		select {
		case <-s.ready:
			b.handed++
			return b.finish(s)
		default:
		}
		select {
		case <-s.ready:
			b.handed++
			return b.finish(s)
		case other := <-b.work:
			b.workOn(other)
		}
	}
}

// Flush returns when all that Pump took has been written.
func (b *body) Flush() error {
	for b.handed < b.filled {
		if err := b.handOn(); err != nil {
			return err
		}
	}
	return nil
}

// finish hands on a slot that is made.
func (b *body) finish(s *slot) error {
	b.due += uint32(s.good)
	if b.hashes != nil && s != &b.own {
		s.hashing = true
		b.hashes <- s
	} else {
		b.hash(b.maker.frames(s))
	}
	if b.to != nil && s.good > 0 {
		if _, err := b.to.Write(s.out[:s.good*b.outSize]); err != nil {
			return err
		}
	}
	if s.good < s.n {
		return fmt.Errorf("%s: %w", b.field(b.due), ErrAuthentication)
	}
	return nil
}

// hash gives p to the digest, if there is one, after all that was handed on.
func (b *body) hash(p []byte) {
	if b.Digest == nil {
		return
	}
	for _, s := range b.slots {
		b.awaitHash(s)
	}
	b.Digest.Write(p)
}

// awaitHash waits until a slot, if it is to be hashed, has been.
func (b *body) awaitHash(s *slot) {
	if s.hashing {
		<-s.hashed
		s.hashing = false
	}
}
