package cache

import (
	"context"
	"time"
)

// A View is how one cache uses a [Store]. Its settings hold for what it gets,
// whichever view of the same entries called for it.
type View struct {
	store     *Store
	partition string
	maxAge    time.Duration
	grace     time.Duration
	interval  time.Duration
	limit     Usage
	stats     Stats // guarded by store.mu
}

// DefaultCapacity is that of the stores of caches that are not told any.
const DefaultCapacity = 1000

const (
	defaultGrace = 10 * time.Second
	graceTries   = 10 // with defaultGrace one each second, as the specification has it
)

// GracePeriod returns the Grace and Interval of Options for what a user of the
// cache asked for: zero means 10 seconds, or a tenth of maxAge if that is less,
// and a negative one means none.
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
	// Grace is the last part of MaxAge, in which one caller calls for a new
	// value while the others use the old one; at the earliest Interval after
	// the last such call began. Zero means none.
	Grace, Interval time.Duration
	// Limit is the most that a value is used for. Zeros mean no limit.
	Limit Usage
}

// Stats count what happened to the entries that a view called for.
type Stats struct {
	Entries         int   // that there are now
	Evictions       int64 // to make room
	Expirations     int64 // at MaxAge or the limit of messages
	RefreshFailures int64 // calls in the grace period whose error was not returned
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

// Purge removes the entries of the view's partition. What is being called for
// now will not be kept.
func (v *View) Purge() {
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	v.store.purge(func(e *entry) bool { return e.view.partition == v.partition })
}

// A Request is one use of a value.
type Request interface {
	// Take copies what the request needs of the value. It returns false, and
	// takes nothing, if the value is not for the request. It is called while
	// the store is locked, maybe by another goroutine, but at most once for
	// each result of Get that is Hit or Alone.
	Take(Value) bool
	// Load makes the call. Its Value is what to keep for others, nil if that
	// must not be; its result for the request itself is no concern of this
	// package.
	Load(context.Context) (Value, error)
}

// A Key says which entry a request is for.
type Key struct {
	ID   ID
	Cost Usage // what the request uses of it
	// Variant differs for requests that share values and not failures.
	Variant int
}

// An Outcome says what Get did if there was no error.
type Outcome int

const (
	_      Outcome = iota
	Hit            // Take took what there was
	Loaded         // Load was called; if it failed, Take took an entry in its grace period
	Alone          // neither: there is no value to share; the caller must make the call itself
)

// Get takes from the entry or calls for it. There is one flight, that is one
// call of Load, for a missing entry: that of the first request; those that
// come meanwhile wait for it, as many as the limit of use admits, each until
// its ctx is done. If the call fails because the ctx it was made with is done,
// the next one that waits makes another; with any other error all fail.
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

// use notes that the view uses the entry, for so much in all.
func (v *View) use(e *entry, used Usage) {
	e.used = used
	v.store.recent.MoveToFront(e.recent)
	if used.Messages >= v.limit.Messages {
		v.store.expire(e)
	}
}
