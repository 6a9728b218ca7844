// Package cache keeps values that are slow to fetch, such as data keys, for a limited
// time, number of uses and number of values. Values are cleared when they leave.
//
// A [Store] holds the entries. Each cache has its own [View] of a store. Several
// caches, also of different kinds, can share a store and its capacity; their IDs keep
// their values apart.
//
// A flight is one call that fetches a value. The leader is the request that makes the
// call, on its own goroutine and with its own ctx. Requests for the same value that
// arrive meanwhile are its waiters. The package starts no goroutines; a timer removes
// values that are too old.
//
// Every limit of every view that uses a value holds: a request joins a flight or takes
// an entry only if the use so far, together with its own, and the value's age are
// within the strictest limits of all views that did so before and of its own view.
// Those limits then stay with the value until it leaves, and a message of unknown
// length exceeds every limit of bytes.
//
// It follows [local-cache] and [storm-tracking-cache] of the specification, and
// [caching-cmm] for what counts as use.
//
// [local-cache]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/local-cryptographic-materials-cache.md
// [storm-tracking-cache]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/storm-tracking-cryptographic-materials-cache.md
// [caching-cmm]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/caching-cmm.md
package cache

import (
	"container/heap"
	"container/list"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/esdk-go/esdk/internal/provider"
)

// An ID identifies an entry. Sum is the hash of a cache entry identifier formula, and
// Parts holds lengths of what was hashed: the formulas do not delimit all their parts,
// so some unequal requests have the same hash.
type ID struct {
	Sum   [48]byte
	Parts [3]uint32
}

// A Value is what an entry holds. Its methods are called with the store locked.
type Value interface {
	// Clear erases its secrets. It is called once, after the last use of the value.
	Clear()
	// MaxAge is how long the value may be used, whatever the views allow. Zero means no
	// limit of its own.
	MaxAge() time.Duration
}

// Usage is what a value was used for.
type Usage struct {
	Messages, Bytes int64
	// Unknown is how many of the messages have an unknown length, which Bytes lacks.
	// No limit of Bytes admits any.
	Unknown int64
}

// plus returns the sum of u and more, and whether it is within limit.
func (u Usage) plus(more, limit Usage) (Usage, bool) {
	if more.Messages > limit.Messages-u.Messages || more.Bytes > limit.Bytes-u.Bytes || more.Unknown > limit.Unknown-u.Unknown {
		return u, false
	}
	return Usage{u.Messages + more.Messages, u.Bytes + more.Bytes, u.Unknown + more.Unknown}, true
}

// minus returns u without less, which was added to it.
func (u Usage) minus(less Usage) Usage {
	return Usage{u.Messages - less.Messages, u.Bytes - less.Bytes, u.Unknown - less.Unknown}
}

// bounds are the limits of a view, or the strictest ones of the views that use a value.
type bounds struct {
	limit  Usage
	maxAge time.Duration
}

// and returns the stricter of each two limits.
func (b bounds) and(other bounds) bounds {
	return bounds{
		limit: Usage{
			Messages: min(b.limit.Messages, other.limit.Messages),
			Bytes:    min(b.limit.Bytes, other.limit.Bytes),
			Unknown:  min(b.limit.Unknown, other.limit.Unknown),
		},
		maxAge: min(b.maxAge, other.maxAge),
	}
}

// redacted keeps fmt from following the pointers of what embeds it, unlocked.
type redacted = provider.Redacted

// A Store holds the entries of one or more views. It is safe for concurrent
// use. [New] makes it.
type Store struct {
	redacted
	mu       sync.Mutex
	capacity int
	entries  map[ID]*entry
	recent   list.List // of *entry, the most recently used one first
	expiries expiries
	timer    *time.Timer          // removes what expires; nil until something can
	alarm    time.Time            // when it will; zero if it is not set
	flights  map[ID]*flight       // the latest ones, which can be joined
	flying   map[*flight]struct{} // all
	seq      uint64               // of the latest flight
}

// entry is a value that can be used again.
type entry struct {
	id      ID
	value   Value
	view    *View // the leader's
	seq     uint64
	bounds        // of all views that used it
	used    Usage // by all of them
	created time.Time
	own     time.Duration // the value's own MaxAge, if that is not zero
	expires time.Time     // maxAge after created
	tried   time.Time     // when the latest refresh began
	recent  *list.Element // in Store.recent
	index   int           // in Store.expiries
}

// New returns an empty store for up to capacity entries. If capacity is not positive,
// nothing is kept.
func New(capacity int) *Store {
	s := &Store{capacity: capacity, entries: map[ID]*entry{}, flights: map[ID]*flight{}, flying: map[*flight]struct{}{}}
	s.redacted = provider.RedactAs(func() string { return fmt.Sprintf("cache store with %d entries", s.Len()) })
	return s
}

// Valid reports whether New made the store: keyprovider.CacheStore is a Store
// that anybody can declare.
func (s *Store) Valid() bool { return s.entries != nil }

// Purge removes all entries. The results of flights under way are not kept.
func (s *Store) Purge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.purge(func(*View) bool { return true })
}

// purge removes the entries of the views that match. The store is locked.
func (s *Store) purge(match func(*View) bool) {
	for _, e := range s.entries {
		if match(e.view) {
			s.drop(e)
		}
	}
	for f := range s.flying {
		f.purged = f.purged || match(f.view)
	}
	s.setAlarm()
}

// Len returns the number of entries.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

// find returns the entry, if there is one that has not expired.
func (s *Store) find(id ID, now time.Time) *entry {
	e := s.entries[id]
	if e != nil && !now.Before(e.expires) {
		s.expire(e)
		return nil
	}
	return e
}

// put stores the value that a flight fetched, or clears it.
func (s *Store) put(f *flight, value Value, now time.Time) {
	created := now
	if f.overdue(f.view, now) { // the service may have answered long ago
		created = f.began.Add(f.view.maxFlight)
	}
	b, own := f.bounds, value.MaxAge()
	if own > 0 {
		b.maxAge = min(b.maxAge, own)
	}
	expires := created.Add(b.maxAge)
	old := s.entries[f.id]
	switch {
	case f.purged, s.capacity <= 0, f.used.Messages >= f.limit.Messages, !now.Before(expires), old != nil && old.seq > f.seq:
		value.Clear()
		return
	case old != nil:
		s.drop(old)
	}
	for len(s.entries) >= s.capacity {
		oldest := s.recent.Back().Value.(*entry)
		oldest.view.stats.Evictions++
		s.drop(oldest)
	}
	e := &entry{id: f.id, value: value, view: f.view, seq: f.seq, bounds: b, used: f.used, created: created, own: own, expires: expires}
	s.entries[e.id] = e
	e.recent = s.recent.PushFront(e)
	heap.Push(&s.expiries, e)
	e.view.stats.Entries++
	s.setAlarm()
}

// use records that a view used the entry, which so much was used for by then, within b.
func (s *Store) use(e *entry, used Usage, b bounds) {
	e.used = used
	s.recent.MoveToFront(e.recent)
	if used.Messages >= b.limit.Messages {
		s.expire(e)
		return
	}
	e.limit = b.limit
	if b.maxAge < e.maxAge {
		e.maxAge, e.expires = b.maxAge, e.created.Add(b.maxAge)
		heap.Fix(&s.expiries, e.index)
		s.setAlarm()
	}
}

// expire removes an entry that reached a limit.
func (s *Store) expire(e *entry) {
	e.view.stats.Expirations++
	s.drop(e)
}

// drop removes an entry and clears its value.
func (s *Store) drop(e *entry) {
	delete(s.entries, e.id)
	s.recent.Remove(e.recent)
	heap.Remove(&s.expiries, e.index)
	e.view.stats.Entries--
	e.value.Clear()
}

// setAlarm sets the timer for the next expiry, unless it goes off earlier anyway, which
// does no harm.
func (s *Store) setAlarm() {
	if len(s.expiries) == 0 {
		if s.timer != nil {
			s.timer.Stop()
			s.alarm = time.Time{}
		}
		return
	}
	next := s.expiries[0].expires
	if !s.alarm.IsZero() && !next.Before(s.alarm) {
		return
	}
	s.alarm = next
	if s.timer == nil {
		s.timer = time.AfterFunc(time.Until(next), s.sweep)
	} else {
		s.timer.Reset(time.Until(next))
	}
}

// sweep removes all entries that have expired.
func (s *Store) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(s.expiries) > 0 && !now.Before(s.expiries[0].expires) {
		s.expire(s.expiries[0])
	}
	s.alarm = time.Time{}
	s.setAlarm()
}

// expiries is a heap. The entry that expires next is on top.
type expiries []*entry

func (x expiries) Len() int           { return len(x) }
func (x expiries) Less(i, j int) bool { return x[i].expires.Before(x[j].expires) }
func (x expiries) Swap(i, j int) {
	x[i], x[j] = x[j], x[i]
	x[i].index, x[j].index = i, j
}

func (x *expiries) Push(e any) {
	e.(*entry).index = len(*x)
	*x = append(*x, e.(*entry))
}

func (x *expiries) Pop() any {
	last := len(*x) - 1
	e := (*x)[last]
	(*x)[last] = nil
	*x = (*x)[:last]
	return e
}

// noLimit stands for no limit of a view.
const noLimit = math.MaxInt64
