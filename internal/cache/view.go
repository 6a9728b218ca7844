package cache

import (
	"context"
	"time"
)

// A View is one cache's use of a [Store]. Its settings apply to everything it gets,
// whichever view fetched the value.
type View struct {
	store     *Store
	partition string
	maxAge    time.Duration
	grace     time.Duration
	interval  time.Duration
	limit     Usage
	stats     Stats // guarded by store.mu
}

// DefaultCapacity is the capacity of a cache's own store if the user names none.
const DefaultCapacity = 1000

const (
	defaultGrace = 10 * time.Second
	graceTries   = 10 // with defaultGrace one a second, as the specification says
)

// GracePeriod returns Options.Grace and Options.Interval for the grace period that a
// user asked for. Zero means 10 seconds, or a tenth of maxAge if that is less; negative
// means none.
func GracePeriod(asked, maxAge time.Duration) (grace, interval time.Duration) {
	if asked == 0 {
		asked = min(defaultGrace, maxAge/10)
	}
	grace = max(asked, 0)
	return grace, grace / graceTries
}

// Options are the settings of a View.
type Options struct {
	// Partition names the entries that Purge removes.
	Partition string
	// MaxAge is how long an entry is used. It must be positive.
	MaxAge time.Duration
	// Grace is the last part of MaxAge. In it one request at a time refreshes the
	// entry while the others use the old value, and not earlier than Interval after
	// the latest refresh began. Zero means none.
	Grace, Interval time.Duration
	// Limit is the most use of a value. Zeros mean no limit.
	Limit Usage
}

// Stats count what happened to the entries that a view fetched.
type Stats struct {
	Entries         int   // in the store now
	Evictions       int64 // entries removed to make room
	Expirations     int64 // entries removed at MaxAge or at the limit of messages
	RefreshFailures int64 // failed refreshes after which the old value was used
}

// View returns a new view of the store.
func (s *Store) View(o Options) *View {
	if o.Limit.Messages == 0 {
		o.Limit.Messages = noLimit
	}
	if o.Limit.Bytes == 0 {
		o.Limit.Bytes = noLimit
	}
	return &View{store: s, partition: o.Partition, maxAge: o.MaxAge, grace: o.Grace, interval: o.Interval, limit: o.Limit}
}

// Stats returns the counts so far.
func (v *View) Stats() Stats {
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	return v.stats
}

// Purge removes the entries of the view's partition. The results of flights under way
// are not kept.
func (v *View) Purge() {
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	v.store.purge(func(e *entry) bool { return e.view.partition == v.partition })
}

// A Request is one use of a value.
type Request interface {
	// Take copies what the request needs from the value. If the value is not for the
	// request it returns false. It is called with the store locked, maybe by another
	// goroutine, and at most once for each result of Get that is Hit or Alone.
	Take(Value) bool
	// Load makes the call. It returns the value to keep for other requests, or nil if
	// there is nothing to share. It stores its own result in the request.
	Load(context.Context) (Value, error)
}

// A Key says which entry a request is for.
type Key struct {
	ID   ID
	Cost Usage // what the request uses
	// Variant differs for requests that share values but not errors.
	Variant int
}

// An Outcome says what Get did if there was no error.
type Outcome int

const (
	_      Outcome = iota
	Hit            // Take took a cached value or the leader's
	Loaded         // Load was called; if it failed, Take took the entry, in its grace period
	Alone          // there is no value to share; the caller must make the call itself
)

// Get lets the request take the entry, or makes a flight for it. The first request for
// a missing entry is the leader. Later ones wait, as many as the limit admits, each
// until its own ctx is done. If the leader fails because its ctx is done, the first
// waiter leads a new flight. Any other error goes to all waiters of the same Variant.
func (v *View) Get(ctx context.Context, k Key, r Request) (Outcome, error) {
	s := v.store
	s.mu.Lock()
	now := time.Now()
	refresh := false
	e := s.find(k.ID, now)
	if e != nil && now.Sub(e.created) < v.maxAge {
		used, fits := e.used.plus(k.Cost, v.limit)
		refresh = fits && now.Sub(e.created) >= v.maxAge-v.grace && now.Sub(e.tried) >= v.interval
		if fits && !refresh {
			taken := r.Take(e.value)
			if taken {
				v.use(e, used)
			}
			s.mu.Unlock()
			if !taken {
				return Alone, nil
			}
			return Hit, nil
		}
	}
	if f := s.flights[k.ID]; f != nil && !refresh {
		if w := f.join(v, k, r); w != nil {
			s.mu.Unlock()
			return w.wait(ctx)
		}
	}
	if e != nil {
		e.tried = now
	}
	f := s.takeOff(v, k)
	s.mu.Unlock()
	return f.lead(ctx, r, k.Cost)
}

// use records the entry's total use and that it was just used.
func (v *View) use(e *entry, used Usage) {
	e.used = used
	v.store.recent.MoveToFront(e.recent)
	if used.Messages >= v.limit.Messages {
		v.store.expire(e)
	}
}
