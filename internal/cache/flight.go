package cache

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
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
	began   time.Time
	// The leader took the old value, for the case that the call, a refresh, fails.
	fallBack bool

	bounds            // of the leader and the waiters
	used    Usage     // by the leader and the waiters
	waiters list.List // of *waiter, in the order of their arrival
	purged  bool      // the value is for the waiters alone
}

// waiter is a request that waits for another's flight.
type waiter struct {
	view  *View
	key   Key
	r     Request
	first *flight       // that it joined
	done  chan struct{} // closed when the fields below are final

	flight  *flight       // nil when done
	place   *list.Element // in flight.waiters
	outcome Outcome
	err     error
	lead    *flight // not nil: the flight that the waiter must lead now
}

// A call is what the ctx of Load holds under callKey: the flight that Load is called
// for, and the call that its leader is part of.
type call struct {
	flight *flight
	outer  *call
}

type callKey struct{}

// of reports whether the flight waits for the call.
func (c *call) of(f *flight) bool {
	for ; c != nil; c = c.outer {
		if c.flight == f {
			return true
		}
	}
	return false
}

// errOverdue ends the wait for a flight that has reached MaxFlight.
var errOverdue = errors.New("overdue")

// takeOff starts a flight. The store is locked.
func (s *Store) takeOff(v *View, k Key) *flight {
	s.seq++
	f := &flight{store: s, view: v, id: k.ID, variant: k.Variant, seq: s.seq, began: time.Now(), bounds: v.bounds, used: k.Cost}
	s.flights[k.ID] = f
	s.flying[f] = struct{}{}
	return f
}

// overdue reports whether the flight has reached the MaxFlight of the view.
func (f *flight) overdue(v *View, now time.Time) bool {
	return v.maxFlight >= 0 && now.Sub(f.began) >= v.maxFlight
}

// join adds a waiter to the flight. It returns nil if the flight's value would be used
// up or has been purged, or if the flight is overdue. The store is locked.
func (f *flight) join(v *View, k Key, r Request, now time.Time) *waiter {
	b := f.bounds.and(v.bounds)
	used, fits := f.used.plus(k.Cost, b.limit)
	if !fits || f.purged || f.overdue(v, now) {
		return nil
	}
	w := &waiter{view: v, key: k, r: r, first: f, done: make(chan struct{})}
	f.add(w, used, b)
	return w
}

// add adds a waiter, with whom so much is used within b.
func (f *flight) add(w *waiter, used Usage, b bounds) {
	f.used, f.bounds = used, b
	w.flight, w.place = f, f.waiters.PushBack(w)
}

// remove ends the wait of a waiter.
func (f *flight) remove(w *waiter) {
	f.waiters.Remove(w.place)
	w.flight, w.place = nil, nil
}

// wait returns when the flight has landed or ctx, whose channel is done, has ended; or
// errOverdue.
func (w *waiter) wait(ctx context.Context, done <-chan struct{}) (Outcome, error) {
	var timer *time.Timer
	var overdue <-chan time.Time
	if w.view.maxFlight >= 0 {
		timer = time.NewTimer(time.Until(w.first.began.Add(w.view.maxFlight)))
		defer timer.Stop()
		overdue = timer.C
	}
	for {
		var err error // of ctx: asked with nothing locked
		select {
		case <-w.done:
			return w.result(ctx)
		case <-done:
			err = cmp.Or(ctx.Err(), context.Canceled)
		case <-overdue:
			err = ctx.Err()
		}
		s, now := w.view.store, time.Now()
		s.mu.Lock()
		f := w.flight
		switch {
		case f == nil: // it landed meanwhile
			s.mu.Unlock()
			return w.result(ctx)
		case err == nil && !f.overdue(w.view, now): // the lead was passed on
			s.mu.Unlock()
			timer.Reset(f.began.Add(w.view.maxFlight).Sub(now))
			continue
		}
		f.used = f.used.minus(w.key.Cost)
		f.remove(w)
		s.mu.Unlock()
		if err == nil {
			return 0, errOverdue
		}
		return 0, w.waited(err)
	}
}

// resolve ends the wait with a result. The store is locked.
func (w *waiter) resolve(outcome Outcome, err error) {
	w.flight.remove(w)
	w.outcome, w.err = outcome, err
	close(w.done)
}

// result returns what the waiter was resolved with, or leads the flight that it must.
func (w *waiter) result(ctx context.Context) (Outcome, error) {
	switch {
	case w.lead != nil:
		return w.lead.lead(ctx, w.r, w.key.Cost)
	case w.err != nil:
		return 0, w.waited(w.err)
	}
	return w.outcome, nil
}

// waited returns the error of a waiter, caused by err.
func (w *waiter) waited(err error) error {
	return fmt.Errorf("waited for another request's call for %s: %w", w.r.What(), err)
}

// lead makes the call for the leader's request r and the waiters.
func (f *flight) lead(ctx context.Context, r Request, cost Usage) (Outcome, error) {
	locked := false
	defer func() {
		if !locked { // Load panicked or ended the goroutine, which concerns the leader alone
			f.store.mu.Lock()
		}
		f.land()
		f.pass()
		f.store.mu.Unlock()
	}()
	var value Value
	err := ctx.Err()
	if err == nil {
		outer, _ := ctx.Value(callKey{}).(*call)
		value, err = r.Load(context.WithValue(ctx, callKey{}, &call{f, outer}))
	}
	gaveUp := err != nil && ctx.Err() != nil
	f.store.mu.Lock()
	locked = true
	switch {
	case gaveUp: // which concerns the leader alone, too
		return 0, err
	case err != nil:
		f.fail(err)
		return f.failed(r, cost, err)
	}
	f.serve(value)
	return Loaded, nil
}

// land lets no further request join.
func (f *flight) land() {
	delete(f.store.flying, f)
	if f.store.flights[f.id] == f {
		delete(f.store.flights, f.id)
	}
}

// each calls do for every waiter, which do may remove.
func (f *flight) each(do func(*waiter)) {
	for at := f.waiters.Front(); at != nil; {
		w := at.Value.(*waiter)
		at = at.Next()
		do(w)
	}
}

// serve gives the value to the waiters and to the store.
func (f *flight) serve(value Value) {
	f.each(func(w *waiter) {
		if value != nil && w.r.Take(value) {
			w.resolve(Hit, nil)
		} else {
			w.resolve(Alone, nil)
		}
	})
	if value == nil {
		return
	}
	f.store.put(f, value, time.Now())
	if f.store.flights[f.id] != f { // it took so long that others do not wait for it
		f.store.wake(f.id)
	}
}

// wake ends the wait for later flights of those waiters who can use the entry.
func (s *Store) wake(id ID) {
	for f := range s.flying {
		if f.id != id {
			continue
		}
		f.each(func(w *waiter) {
			now := time.Now()
			e := s.find(id, now)
			if e == nil {
				return
			}
			used, b, fits := w.view.fits(e, w.key.Cost, now)
			if !fits || !w.r.Take(e.value) {
				return
			}
			s.use(e, used, b)
			f.used = f.used.minus(w.key.Cost)
			w.resolve(Hit, nil)
		})
	}
}

// fail gives the error to the waiters of the same Variant.
func (f *flight) fail(err error) {
	f.each(func(w *waiter) {
		if w.key.Variant == f.variant {
			w.resolve(0, err)
		}
	})
}

// pass makes the first waiter that is left the leader of a new flight, which the others
// join. It is within their limits, as the former flight was.
func (f *flight) pass() {
	var next *flight
	f.each(func(w *waiter) {
		if next == nil {
			next = f.store.takeOff(w.view, w.key)
			w.lead = next
			w.resolve(0, nil)
			return
		}
		f.remove(w)
		b := next.bounds.and(w.view.bounds)
		used, _ := next.used.plus(w.key.Cost, b.limit)
		next.add(w, used, b)
	})
}

// failed returns the result of a leader whose call failed. If the call was a refresh,
// the leader took the entry that was there when it began, even if that has expired by
// now. Else it takes one that is there now, if that is good for the leader's view.
func (f *flight) failed(r Request, cost Usage, err error) (Outcome, error) {
	if f.fallBack {
		if f.purged {
			return 0, err
		}
		f.view.stats.RefreshFailures++
		return Loaded, nil
	}
	now := time.Now()
	e := f.store.find(f.id, now)
	if e == nil {
		return 0, err
	}
	used, b, fits := f.view.fits(e, cost, now)
	if !fits || !r.Take(e.value) {
		return 0, err
	}
	f.store.use(e, used, b)
	f.view.stats.RefreshFailures++
	return Loaded, nil
}
