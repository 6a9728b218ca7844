package cache

import (
	"context"
	"time"
)

// flight is a call under way. The first group of fields never changes; the store's
// lock guards the second.
type flight struct {
	store   *Store
	view    *View // the leader's
	id      ID
	variant int
	seq     uint64
	epoch   uint64

	used    Usage // by the leader and the waiters
	waiters []*waiter
}

// waiter is a request that waits for another's flight.
type waiter struct {
	view *View
	key  Key
	r    Request
	done chan struct{} // closed when the fields below are final

	flight  *flight // nil when done
	outcome Outcome
	err     error
	lead    *flight // not nil: the flight that the waiter must lead now
}

// takeOff starts a flight. The store is locked.
func (s *Store) takeOff(v *View, k Key) *flight {
	s.seq++
	f := &flight{store: s, view: v, id: k.ID, variant: k.Variant, seq: s.seq, epoch: s.epoch, used: k.Cost}
	s.flights[k.ID] = f
	return f
}

// join adds a waiter to the flight. It returns nil if the flight's value would be used
// up or has been purged. The store is locked.
func (f *flight) join(v *View, k Key, r Request) *waiter {
	used, fits := f.used.plus(k.Cost, v.limit)
	if !fits || f.epoch != f.store.epoch {
		return nil
	}
	f.used = used
	w := &waiter{view: v, key: k, r: r, done: make(chan struct{}), flight: f}
	f.waiters = append(f.waiters, w)
	return w
}

// wait returns when the flight has landed or ctx is done.
func (w *waiter) wait(ctx context.Context) (Outcome, error) {
	select {
	case <-w.done:
	case <-ctx.Done():
		s := w.view.store
		s.mu.Lock()
		if f := w.flight; f != nil {
			f.used.Messages -= w.key.Cost.Messages
			f.used.Bytes -= w.key.Cost.Bytes
			w.flight = nil
			s.mu.Unlock()
			return 0, ctx.Err()
		}
		s.mu.Unlock()
	}
	if w.lead != nil {
		return w.lead.lead(ctx, w.r, w.key.Cost)
	}
	return w.outcome, w.err
}

// resolve ends the wait. The store is locked.
func (w *waiter) resolve(outcome Outcome, err error) {
	w.flight, w.outcome, w.err = nil, outcome, err
	close(w.done)
}

// lead makes the call for the leader's request r and the waiters.
func (f *flight) lead(ctx context.Context, r Request, cost Usage) (Outcome, error) {
	s := f.store
	returned := false
	defer func() {
		if !returned { // Load panicked, which concerns the leader alone
			s.mu.Lock()
			f.land()
			f.pass(func(*waiter) bool { return true })
			s.mu.Unlock()
		}
	}()
	err := ctx.Err()
	var value Value
	if err == nil {
		value, err = r.Load(ctx)
	}
	returned = true

	s.mu.Lock()
	defer s.mu.Unlock()
	f.land()
	if err != nil {
		if ctx.Err() != nil { // which concerns the leader alone, too
			f.pass(func(*waiter) bool { return true })
			return 0, err
		}
		f.fail(err)
		return f.fallBack(r, cost, err)
	}
	for _, w := range f.waiters {
		if w.flight == f {
			if value != nil && w.r.Take(value) {
				w.resolve(Hit, nil)
			} else {
				w.resolve(Alone, nil)
			}
		}
	}
	if value != nil {
		s.put(f, value, time.Now())
	}
	return Loaded, nil
}

// land lets no further request join.
func (f *flight) land() {
	if f.store.flights[f.id] == f {
		delete(f.store.flights, f.id)
	}
}

// fail gives the error to the waiters of the same Variant. The first of the others leads
// a new flight.
func (f *flight) fail(err error) {
	for _, w := range f.waiters {
		if w.flight == f && w.key.Variant == f.variant {
			w.resolve(0, err)
		}
	}
	f.pass(func(w *waiter) bool { return w.key.Variant != f.variant })
}

// pass makes the first waiter that matches the leader of a new flight. The other
// matching waiters wait for that.
func (f *flight) pass(match func(*waiter) bool) {
	var next *flight
	for _, w := range f.waiters {
		switch {
		case w.flight != f || !match(w):
		case next == nil:
			next = f.store.takeOff(w.view, w.key)
			w.lead = next
			w.resolve(0, nil)
		default: // it fits, as it did together with the former leader's use
			next.used.Messages += w.key.Cost.Messages
			next.used.Bytes += w.key.Cost.Bytes
			next.waiters = append(next.waiters, w)
			w.flight = next
		}
	}
}

// fallBack returns the result of a leader whose call failed. If the call was a refresh
// and the entry is still good for the leader's view, the leader takes that.
func (f *flight) fallBack(r Request, cost Usage, err error) (Outcome, error) {
	now := time.Now()
	e := f.store.find(f.id, now)
	if e == nil || now.Sub(e.created) >= f.view.maxAge {
		return 0, err
	}
	used, fits := e.used.plus(cost, f.view.limit)
	if !fits || !r.Take(e.value) {
		return 0, err
	}
	f.view.use(e, used)
	f.view.stats.RefreshFailures++
	return Loaded, nil
}
