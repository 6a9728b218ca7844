package cache

import (
	"context"
	"fmt"
	"time"
)

// A View is one cache's use of a [Store]. Its settings apply to everything it gets,
// whichever view fetched the value.
type View struct {
	store     *Store
	partition string
	bounds
	grace     time.Duration
	interval  time.Duration
	maxFlight time.Duration // negative: none
	stats     Stats         // guarded by store.mu
}

// DefaultCapacity is the capacity of a cache's own store if the user names none.
const DefaultCapacity = 1000

const (
	defaultGrace     = 10 * time.Second
	defaultMaxFlight = 15 * time.Second // more than a call to KMS may take, or waiters leave just before its error comes
	graceTries       = 10               // with defaultGrace one a second, as the specification says
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
	// Grace is the last part of MaxAge. In it one request refreshes the entry while
	// the others use the old value, and so does another one every Interval, until a
	// refresh succeeds: one that hangs holds up no other. It is part of the view's own
	// MaxAge, even if another view's MaxAge ends sooner. For a value with a shorter MaxAge
	// of its own, it is at most a tenth of that. Zero means none.
	Grace, Interval time.Duration
	// Limit is the most use of a value. Zeros mean no limit; Unknown must be zero.
	Limit Usage
	// MaxFlight is the age from which a flight holds nobody up. Requests do not join
	// it, and its waiters make calls of their own. The MaxAge of its value begins then
	// at the latest. Zero means 15 seconds, negative none.
	MaxFlight time.Duration
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
		o.Limit.Bytes, o.Limit.Unknown = noLimit, noLimit
	}
	if o.MaxFlight == 0 {
		o.MaxFlight = defaultMaxFlight
	}
	return &View{store: s, partition: o.Partition, bounds: bounds{o.Limit, o.MaxAge}, grace: o.Grace, interval: o.Interval, maxFlight: o.MaxFlight}
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
	v.store.purge(func(of *View) bool { return of.partition == v.partition })
}

// A Request is one use of a value.
type Request interface {
	// Take copies what the request needs from the value. If the value is not for the
	// request it returns false. It is called with the store locked, maybe by another
	// goroutine, and at most once for each result of Get.
	Take(Value) bool
	// Load makes the call. It returns the value to keep for other requests, or nil if
	// there is nothing to share. It stores its own result in the request, in place of
	// what Take took, which is the old value if the call is a refresh. If it fails, it
	// changes nothing.
	Load(context.Context) (Value, error)
	// What names what the request is for, in errors. It tells no secrets.
	What() string
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
	Loaded         // Load was called; if it failed, what Take took holds
	Alone          // there is no value to share; the caller must make the call itself
)

// Get lets the request take the entry, or makes a flight for it. The first request for
// a missing entry is the leader. Later ones wait, as many as the limits admit, each
// until its own ctx is done. If the leader fails because its ctx is done, the first
// waiter leads a new flight. Any other error goes to all waiters of the same Variant.
// The errors of waiters say that they waited, and for what.
//
// When a flight has reached MaxFlight, one of its waiters leads a new flight, which the
// others join. Who has waited that long for maxOverdue flights makes a call alone.
//
// A request under the ctx of a leader for the same entry would wait for itself. It
// fails instead.
func (v *View) Get(ctx context.Context, k Key, r Request) (Outcome, error) {
	var is inside
	for overdue := 0; ; {
		next := v.next(k, r, &is, overdue < maxOverdue)
		switch {
		case next.outcome != 0:
			return next.outcome, nil
		case next.lead != nil:
			return next.lead.lead(ctx, r, k.Cost)
		case next.wait != nil:
			outcome, err := next.wait.wait(ctx, is.done)
			if err != errOverdue {
				return outcome, err
			}
			overdue++
		case is.known:
			return 0, fmt.Errorf("the call for %s asked for the same again and would wait for itself, as in a cache under a cache", r.What())
		default: // ctx may be the user's: its methods are called with nothing locked
			calls, _ := ctx.Value(callKey{}).(*call)
			is = inside{known: true, calls: calls, done: ctx.Done()}
		}
	}
}

// maxOverdue is for how many flights a request waits that reach MaxFlight.
const maxOverdue = 2

// inside is what the ctx of a request says, once it is known.
type inside struct {
	known bool
	calls *call
	done  <-chan struct{}
}

// A step is what a request does next: at most one of these. If it is none of them, the
// request's ctx must be looked at, or has shown that the request would wait for itself.
type step struct {
	outcome Outcome // return this
	lead    *flight // lead this
	wait    *waiter // wait
}

// next returns what the request does next.
func (v *View) next(k Key, r Request, is *inside, join bool) step {
	s, now := v.store, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flights[k.ID]
	if f != nil && (!is.known || is.calls.of(f)) {
		return step{}
	}
	e := s.find(k.ID, now)
	if e != nil {
		if used, b, fits := v.fits(e, k.Cost, now); fits {
			refresh := now.Sub(e.created) >= v.refreshAge(e) && now.Sub(e.tried) >= v.interval
			if !r.Take(e.value) {
				return step{outcome: Alone}
			}
			s.use(e, used, b)
			if !refresh {
				return step{outcome: Hit}
			}
			e.tried = now
			f = s.takeOff(v, k)
			f.fallBack = true
			return step{lead: f}
		}
	}
	if f != nil && join {
		if w := f.join(v, k, r, now); w != nil {
			return step{wait: w}
		}
	}
	if e != nil {
		e.tried = now
	}
	return step{lead: s.takeOff(v, k)}
}

// refreshAge returns the age from which the view refreshes the entry.
func (v *View) refreshAge(e *entry) time.Duration {
	if e.own > 0 && e.own < v.maxAge {
		return e.own - min(v.grace, e.own/graceTries)
	}
	return v.maxAge - v.grace
}

// fits returns the total use of the entry and its bounds if a request of the view used
// it now, and whether that is within them.
func (v *View) fits(e *entry, cost Usage, now time.Time) (Usage, bounds, bool) {
	b := e.bounds.and(v.bounds)
	used, fits := e.used.plus(cost, b.limit)
	return used, b, fits && now.Sub(e.created) < b.maxAge
}
