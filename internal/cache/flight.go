package cache

import (
	"context"
	"time"
)

// flight is a call that is under way. All fields but the constant first ones
// are guarded by the store's lock.
type flight struct {
	store   *Store
	view    *View // of the leader: the request whose goroutine makes the call
	id      ID
	variant int
	seq     uint64
	epoch   uint64

	used    Usage // by the leader and all that wait
	waiters []*waiter
}

// waiter is a request that waits for the flight of another.
type waiter struct {
	view *View
	key  Key
	r    Request
	done chan struct{} // closed when the fields below are final

	flight  *flight // nil when done
	outcome Outcome
	err     error
	lead    *flight // not nil: the waiter is the leader of this one now
}

// takeOff starts a flight. The store is locked.
func (s *Store) takeOff(v *View, k Key) *flight {
	s.seq++
	f := &flight{store: s, view: v, id: k.ID, variant: k.Variant, seq: s.seq, epoch: s.epoch, used: k.Cost}
	s.flights[k.ID] = f
	return f
}

// join lets a request wait for the flight. It returns nil if what the flight
// brings is not for it: used up by then, or purged. The store is locked.
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

// lead makes the call, for the leader's request r and all that wait.
func (f *flight) lead(ctx context.Context, r Request, cost Usage) (Outcome, error) {
	s := f.store
	returned := false
	defer func() {
		if !returned { // Load panicked: that is the leader's affair alone
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
		if ctx.Err() != nil { // the leader's affair, too
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

// land lets nobody join any more.
func (f *flight) land() {
	if f.store.flights[f.id] == f {
		delete(f.store.flights, f.id)
	}
}

// fail gives the error to those that wait and that it concerns, and the lead
// to one of the others.
func (f *flight) fail(err error) {
	for _, w := range f.waiters {
		if w.flight == f && w.key.Variant == f.variant {
			w.resolve(0, err)
		}
	}
	f.pass(func(w *waiter) bool { return w.key.Variant != f.variant })
}

// pass makes the first of those that wait and match the leader of a new
// flight, for which the rest of them wait.
func (f *flight) pass(match func(*waiter) bool) {
	var next *flight
	for _, w := range f.waiters {
		switch {
		case w.flight != f || !match(w):
		case next == nil:
			next = f.store.takeOff(w.view, w.key)
			w.lead = next
			w.resolve(0, nil)
		default: // fits, as it did with the former leader's request
			next.used.Messages += w.key.Cost.Messages
			next.used.Bytes += w.key.Cost.Bytes
			next.waiters = append(next.waiters, w)
			w.flight = next
		}
	}
}

// fallBack is the result of a leader whose call failed: if the call was to
// replace an entry in its grace period, that is still good.
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
