package frame

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
)

// A Pipeline processes batches from Start to Stop. The caller's goroutine submits
// slots in the order of the ring and retires them in that order. In between
// helpers process them, and so does the caller's goroutine while it waits. If
// the message is signed, one more goroutine adds the frames of retired slots to
// the digest; a slot is not used again before that.
//
// Until hire has started these goroutines there is no ring, and batches go
// through the inline slot. A Pipeline is not safe for concurrent use.
type Pipeline struct {
	body     *body     // nil before Start and after Stop
	sink     io.Writer // nil if the output is in the caller's memory
	window   *Window   // what Pump takes from; nil in processAll
	maxSlots int       // that the ring may have; 0: no ring

	ring      int // size of it, which is the first of body.slots; 0 until hire
	submitted int // slots so far
	retired   int // slots so far

	goroutines sync.WaitGroup
	helpers    int
	work       chan *slot // to the helpers
	hashes     chan *slot // to the goroutine with the digest; nil if there is none
	stopping   atomic.Bool
}

// Start returns a Pipeline that takes batches from w and writes what becomes of
// them to sink, in order and on the caller's goroutine only. Sink must not write
// short. The caller must call Stop, and until then no method of the Sealer or
// Opener that processes frames.
func (b *body) Start(sink io.Writer, w *Window) *Pipeline {
	p := b.start(sink, 2) // the slot's spare and buffer
	p.window = w
	w.shrink(b.ReadSize()) // each slot gets as much memory as there is here
	return p
}

// start returns a Pipeline whose slots need that many buffers of their own. Memory
// of slots that is more than that is given back.
func (b *body) start(sink io.Writer, buffers int) *Pipeline {
	p := &b.pipeline
	if p.body != nil {
		panic("frame: two pipelines of one body")
	}
	p.body, p.sink, p.maxSlots = b, sink, b.maxSlots(buffers)
	keep := min(len(b.slots), p.maxSlots)
	clear(b.slots[keep:]) // their memory too
	b.slots = b.slots[:keep]
	if buffers < 2 {
		for _, s := range b.slots {
			s.spare = nil
		}
	}
	return p
}

// Stop gives up what was not flushed, waits until what was written is in the
// digest, and returns when all goroutines are gone. The Pipeline is of no use
// after that.
func (p *Pipeline) Stop() {
	if p.ring > 0 {
		p.stopping.Store(true)
		close(p.work)
		if p.hashes != nil {
			close(p.hashes)
		}
		p.goroutines.Wait()
		for _, s := range p.body.slots[:p.ring] {
			s.release()
		}
	}
	p.body.inline.release()
	*p = Pipeline{}
}

// Pump takes whole regular frames from the Window, at most a batch. If that is a
// full batch and the source keeps up, Pump only submits it, and it is written
// when Flush returns. Else all that Pump took is written when Pump returns.
// Frames that are out of sequence stay in the Window, for Next to refuse.
func (p *Pipeline) Pump() error { return p.pump(p.window.LastReadFull()) }

// Write adds plaintext to the Window of a Sealer, where there is no source, and
// takes each full batch from it. What remains is for Pump.
func (p *Pipeline) Write(src []byte) (int, error) {
	b, w := p.body, p.window
	batch := b.batch() * b.inSize
	for n := 0; n < len(src); {
		k := min(len(src)-n, batch-w.Len())
		w.Append(src[n:n+k], batch)
		n += k
		if w.Len() == batch {
			if err := p.pump(true); err != nil {
				return n, err
			}
		}
	}
	return len(src), nil
}

// pump is Pump with a source that keeps up, or with one that does not.
func (p *Pipeline) pump(keepsUp bool) error {
	b, w := p.body, p.window
	n, err := b.direction.count(w.Bytes(), b.batch())
	if err != nil {
		return cmp.Or(p.Flush(), err)
	}
	if n == 0 {
		return nil
	}
	ahead := n == b.batch() && keepsUp // there is more to come soon
	if ahead && p.ring == 0 && p.maxSlots > 0 {
		p.hire(p.maxSlots)
	}
	s, err := p.nextSlot()
	if err != nil {
		return err
	}
	s.in = w.Bytes()[:n*b.inSize]
	w.Discard(len(s.in))
	if p.ring > 0 {
		s.spare = w.exchange(s.spare)
	}
	s.out = s.scratch(n * b.outSize)
	if err := p.submit(s, n); err != nil || ahead {
		return err
	}
	return p.Flush()
}

// Flush returns when all that Pump took has been written.
func (p *Pipeline) Flush() error {
	for p.retired < p.submitted {
		if err := p.retireOldest(); err != nil {
			return err
		}
	}
	return nil
}

// processAll processes n frames from in to out. If out is nil, it processes them
// into the slots' memory and writes that to sink. It starts a Pipeline and stops
// it.
func (b *body) processAll(in, out []byte, n int, sink io.Writer) error {
	buffers, size := 1, b.batch()
	if out != nil {
		buffers = 0
	}
	p := b.start(sink, buffers)
	defer p.Stop()
	if p.maxSlots > 0 && b.worthSharing(n) {
		if out != nil {
			size = max(size, min(n/(4*b.Workers), b.about(wholeBatch)))
		}
		p.hire((n + size - 1) / size)
	}
	for n > 0 {
		s, err := p.nextSlot()
		if err != nil {
			return err
		}
		k := min(n, size)
		if s.in, in = in[:k*b.inSize], in[k*b.inSize:]; out != nil {
			s.out, out = out[:k*b.outSize], out[k*b.outSize:]
		} else {
			s.out = s.scratch(k * b.outSize)
		}
		if err := p.submit(s, k); err != nil {
			return err
		}
		n -= k
	}
	return p.Flush()
}

// hire makes the ring and starts the goroutines: no more slots and helpers than
// there are batches, as the others would have nothing to do.
func (p *Pipeline) hire(batches int) {
	b := p.body
	n := min(p.maxSlots, batches)
	b.slots = slices.Grow(b.slots, max(0, n-len(b.slots)))
	for len(b.slots) < n {
		s := &b.inline
		if len(b.slots) > 0 {
			s = new(slot)
			b.initSlot(s, nil)
		}
		if s.ready == nil {
			s.ready, s.hashed = make(chan struct{}, 1), make(chan struct{}, 1)
		}
		b.slots = append(b.slots, s)
	}
	p.ring = n
	p.work, p.helpers = make(chan *slot, n), b.Workers-1
	if b.Digest != nil {
		p.helpers--
		p.hashes = make(chan *slot, n)
		p.goroutines.Go(func() {
			for s := range p.hashes {
				b.Digest.Write(b.direction.wire(s))
				s.hashed <- struct{}{}
			}
		})
	}
	p.helpers = min(p.helpers, n)
	for range p.helpers {
		p.goroutines.Go(func() {
			for s := range p.work {
				p.processOne(s)
			}
		})
	}
}

// slot returns the slot in the ring where batch i goes, counted from 0.
func (p *Pipeline) slot(i int) *slot { return p.body.slots[i%p.ring] }

// processOne processes a slot from p.work.
func (p *Pipeline) processOne(s *slot) {
	if !p.stopping.Load() {
		s.good = p.body.direction.process(s)
	}
	s.ready <- struct{}{}
}

// nextSlot returns the slot for the next batch. If the ring is full it retires the
// oldest one first.
func (p *Pipeline) nextSlot() (*slot, error) {
	if p.ring == 0 {
		return &p.body.inline, nil
	}
	if p.submitted-p.retired == p.ring {
		if err := p.retireOldest(); err != nil {
			return nil, err
		}
	}
	s := p.slot(p.submitted)
	if s.hashing && len(s.hashed) == 0 {
		// Waiting for half the ring at once, because each wait costs the goroutine
		// with the digest a wake-up.
		p.slot(p.submitted + (p.ring-1)/2).awaitHash()
	}
	s.awaitHash()
	return s, nil
}

// submit gives a slot to the helpers, to process k frames from s.in to s.out. If
// there are none, it processes and retires the slot itself.
func (p *Pipeline) submit(s *slot, k int) error {
	b := p.body
	s.first, s.n = b.next, k
	b.next += uint32(k)
	p.submitted++
	if p.helpers == 0 {
		s.good = b.direction.process(s)
		return p.retire(s)
	}
	p.work <- s
	return nil
}

// retireOldest retires the slot that was submitted first of those that are not
// retired. Until that slot is ready, it processes others.
func (p *Pipeline) retireOldest() error {
	s := p.slot(p.retired)
	for {
		select {
		case <-s.ready:
			return p.retire(s)
		default:
		}
		select {
		case <-s.ready:
			return p.retire(s)
		case other := <-p.work:
			p.processOne(other)
		}
	}
}

// retire sends the frames of a processed slot to the digest, and writes its
// output. The error of a frame that failed comes after what stands before it.
func (p *Pipeline) retire(s *slot) error {
	b := p.body
	p.retired++
	b.due += uint32(s.good)
	if p.hashes != nil {
		s.hashing = true
		p.hashes <- s
	} else if b.Digest != nil {
		b.Digest.Write(b.direction.wire(s))
	}
	if p.sink != nil && s.good > 0 {
		if _, err := p.sink.Write(s.out[:s.good*b.outSize]); err != nil {
			return err
		}
	}
	if s.good < s.n {
		return fmt.Errorf("%s: %w", b.field(b.due), ErrAuthentication)
	}
	return nil
}
