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

// A Value is what an entry holds. Clear erases its secrets. It is called once, with the
// store locked, after the last use of the value.
type Value interface{ Clear() }

// Usage is what a value was used for.
type Usage struct{ Messages, Bytes int64 }

// plus returns the sum of u and more, and whether it is within limit.
func (u Usage) plus(more, limit Usage) (Usage, bool) {
	if more.Messages > limit.Messages-u.Messages || more.Bytes > limit.Bytes-u.Bytes {
		return u, false
	}
	return Usage{u.Messages + more.Messages, u.Bytes + more.Bytes}, true
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
	timer    *time.Timer // removes what expires; nil until something can
	alarm    time.Time   // when it will; zero if it is not set
	flights  map[ID]*flight
	seq      uint64 // of the latest flight
	epoch    uint64 // number of purges; results of flights of an earlier epoch are not kept
}

// entry is a value that can be used again.
type entry struct {
	id      ID
	value   Value
	view    *View // the leader's
	seq     uint64
	used    Usage
	created time.Time
	expires time.Time
	tried   time.Time     // when the latest refresh began
	recent  *list.Element // in Store.recent
	index   int           // in Store.expiries
}

// New returns an empty store for up to capacity entries. If capacity is not positive,
// nothing is kept.
func New(capacity int) *Store {
	s := &Store{capacity: capacity, entries: map[ID]*entry{}, flights: map[ID]*flight{}}
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
	s.purge(func(*entry) bool { return true })
}

func (s *Store) purge(match func(*entry) bool) {
	s.epoch++
	for _, e := range s.entries {
		if match(e) {
			s.drop(e)
		}
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
	old := s.entries[f.id]
	switch {
	case f.epoch != s.epoch, s.capacity <= 0, f.used.Messages >= f.view.limit.Messages, old != nil && old.seq > f.seq:
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
	e := &entry{id: f.id, value: value, view: f.view, seq: f.seq, used: f.used, created: now, expires: now.Add(f.view.maxAge)}
	s.entries[e.id] = e
	e.recent = s.recent.PushFront(e)
	heap.Push(&s.expiries, e)
	e.view.stats.Entries++
	s.setAlarm()
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
