package cache_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/internal/cache"
)

var bg = context.Background()

// secret is a value that knows whether it was cleared.
type secret struct {
	cleared int
	maxAge  time.Duration
}

func (s *secret) Clear()                { s.cleared++ }
func (s *secret) MaxAge() time.Duration { return s.maxAge }

// A user of the store makes requests and counts the calls.
type user struct {
	*cache.View
	mu     sync.Mutex
	calls  int
	values []*secret
	maxAge time.Duration                              // of the values that are loaded
	load   func(context.Context) (cache.Value, error) // nil: a new secret, at once
	refuse bool                                       // Take refuses
}

type request struct {
	u     *user
	taken *secret
}

func (r *request) Take(v cache.Value) bool {
	if r.u.refuse {
		return false
	}
	r.taken = v.(*secret)
	if r.taken.cleared > 0 {
		panic("a cleared value was handed out")
	}
	return true
}

func (r *request) Load(ctx context.Context) (cache.Value, error) {
	r.u.mu.Lock()
	r.u.calls++
	load := r.u.load
	r.u.mu.Unlock()
	if load != nil {
		if v, err := load(ctx); v == nil || err != nil {
			return nil, err
		}
	}
	r.u.mu.Lock()
	defer r.u.mu.Unlock()
	r.taken = &secret{maxAge: r.u.maxAge}
	r.u.values = append(r.u.values, r.taken)
	return r.taken, nil
}

func (r *request) What() string { return "a secret" }

func id(n byte) cache.ID { return cache.ID{Sum: [48]byte{n}} }

func (u *user) get(ctx context.Context, n byte, cost cache.Usage) (cache.Outcome, error) {
	return u.Get(ctx, cache.Key{ID: id(n), Cost: cost}, &request{u: u})
}

// value returns the value of the call at index i, while other calls may be under way.
func (u *user) value(i int) *secret {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.values[i]
}

// made returns the number of calls, while others may begin.
func (u *user) made() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.calls
}

// want gets an entry at the cost of a message of so many bytes.
func (u *user) want(t testing.TB, n byte, bytes int64, want cache.Outcome) {
	t.Helper()
	got, err := u.get(bg, n, cache.Usage{Messages: 1, Bytes: bytes})
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func newUser(s *cache.Store, o cache.Options) *user {
	if o.MaxAge == 0 {
		o.MaxAge = time.Hour
	}
	if o.MaxFlight == 0 {
		o.MaxFlight = 10 * time.Second
	}
	return &user{View: s.View(o)}
}

// slow makes loads take a time, and end early if their ctx does.
func slow(d time.Duration) func(context.Context) (cache.Value, error) {
	return func(ctx context.Context) (cache.Value, error) {
		select {
		case <-time.After(d):
			return &secret{}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func TestEntriesAreUsedUntilALimit(t *testing.T) {
	for name, test := range map[string]struct {
		options cache.Options
		wait    time.Duration
		bytes   []int64 // of each message
		calls   []int   // after each
	}{
		"no limit":              {bytes: []int64{0, math.MaxInt64, 0, 0}, calls: []int{1, 1, 1, 1}},
		"no limit, overflow":    {bytes: []int64{math.MaxInt64, 1}, calls: []int{1, 2}},
		"messages":              {options: cache.Options{Limit: cache.Usage{Messages: 3}}, bytes: []int64{9, 9, 9, 9, 9, 9, 9}, calls: []int{1, 1, 1, 2, 2, 2, 3}},
		"one message":           {options: cache.Options{Limit: cache.Usage{Messages: 1}}, bytes: []int64{0, 0, 0}, calls: []int{1, 2, 3}},
		"bytes, at the limit":   {options: cache.Options{Limit: cache.Usage{Bytes: 10}}, bytes: []int64{4, 6, 0, 0}, calls: []int{1, 1, 1, 1}},
		"bytes, one over":       {options: cache.Options{Limit: cache.Usage{Bytes: 10}}, bytes: []int64{4, 7, 3, 1}, calls: []int{1, 2, 2, 3}},
		"age, at the limit":     {options: cache.Options{MaxAge: time.Minute}, wait: time.Minute - 1, bytes: []int64{0, 0}, calls: []int{1, 1}},
		"age, one over":         {options: cache.Options{MaxAge: time.Minute}, wait: time.Minute, bytes: []int64{0, 0, 0}, calls: []int{1, 2, 3}},
		"age does not run anew": {options: cache.Options{MaxAge: time.Minute}, wait: 25 * time.Second, bytes: []int64{0, 0, 0, 0, 0}, calls: []int{1, 1, 1, 2, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUser(cache.New(10), test.options)
				for i, n := range test.bytes {
					_, err := u.get(bg, 1, cache.Usage{Messages: 1, Bytes: n})
					require.NoError(t, err)
					require.Equal(t, test.calls[i], u.calls, "after message %d", i+1)
					time.Sleep(test.wait)
				}
			})
		})
	}
}

func TestValuesAreClearedOnceWhenTheyLeave(t *testing.T) {
	for name, leave := range map[string]struct {
		options cache.Options
		leave   func(*user, *cache.Store)
		want    cache.Stats
	}{
		"expired, without any call": {leave: func(*user, *cache.Store) { time.Sleep(time.Hour); synctest.Wait() }, want: cache.Stats{Expirations: 1}},
		"purged":                    {leave: func(u *user, _ *cache.Store) { u.Purge() }},
		"store purged":              {leave: func(_ *user, s *cache.Store) { s.Purge() }},
		"evicted": {leave: func(u *user, s *cache.Store) {
			u.want(t, 2, 0, cache.Loaded)
			u.want(t, 3, 0, cache.Loaded)
		}, want: cache.Stats{Entries: 2, Evictions: 1}},
		"used up": {options: cache.Options{Limit: cache.Usage{Messages: 2}}, leave: func(u *user, s *cache.Store) { u.want(t, 1, 0, cache.Hit) }, want: cache.Stats{Expirations: 1}},
		"replaced": {options: cache.Options{Limit: cache.Usage{Bytes: 1}}, leave: func(u *user, s *cache.Store) {
			u.want(t, 1, 1, cache.Hit)
			u.want(t, 1, 1, cache.Loaded)
		}, want: cache.Stats{Entries: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := cache.New(2)
				u := newUser(s, leave.options)
				u.want(t, 1, 0, cache.Loaded)
				require.Equal(t, 0, u.values[0].cleared)
				require.Equal(t, cache.Stats{Entries: 1}, u.Stats())
				leave.leave(u, s)
				require.Equal(t, 1, u.values[0].cleared)
				require.Equal(t, leave.want, u.Stats())
				require.Equal(t, leave.want.Entries, s.Len())
				u.Purge()
				for _, v := range u.values {
					require.Equal(t, 1, v.cleared)
				}
			})
		})
	}
}

// The timer is for the entry that expires first, also if that came last: no
// secret stays for as long as another one may.
func TestTheFirstToExpireLeavesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		long, short := newUser(s, cache.Options{MaxAge: time.Hour}), newUser(s, cache.Options{MaxAge: time.Minute})
		long.want(t, 1, 0, cache.Loaded)
		short.want(t, 2, 0, cache.Loaded)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 1, s.Len())
		require.Equal(t, 1, short.values[0].cleared)
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		require.Zero(t, s.Len())
		require.Equal(t, 1, long.values[0].cleared)

		// A purge stops the timer, and the next entry starts it again.
		short.want(t, 2, 0, cache.Loaded)
		s.Purge()
		long.want(t, 1, 0, cache.Loaded)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Zero(t, s.Len())
		require.Equal(t, 1, long.values[1].cleared)
	})
}

func TestTheLeastRecentlyUsedEntryMakesRoom(t *testing.T) {
	u := newUser(cache.New(3), cache.Options{})
	for n := byte(1); n <= 3; n++ {
		u.want(t, n, 0, cache.Loaded)
	}
	u.want(t, 1, 0, cache.Hit)
	u.want(t, 4, 0, cache.Loaded) // in the room of 2
	u.want(t, 3, 0, cache.Hit)
	u.want(t, 1, 0, cache.Hit)
	u.want(t, 4, 0, cache.Hit)
	u.want(t, 2, 0, cache.Loaded) // in the room of 3, which comes back in that of 1
	u.want(t, 3, 0, cache.Loaded)
	require.Equal(t, cache.Stats{Entries: 3, Evictions: 3}, u.Stats())
}

func TestAStoreWithoutRoomKeepsNothing(t *testing.T) {
	for _, capacity := range []int{0, -1, math.MinInt} {
		s := cache.New(capacity)
		u := newUser(s, cache.Options{})
		u.want(t, 1, 0, cache.Loaded)
		u.want(t, 1, 0, cache.Loaded)
		require.Zero(t, s.Len())
		require.Equal(t, 1, u.values[0].cleared)
	}
}

// The settings of a view hold for what it gets, whoever brought it.
func TestViewsShareEntriesEachWithItsLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		strict := newUser(s, cache.Options{Partition: "a", MaxAge: time.Minute, Limit: cache.Usage{Messages: 3}})
		lax := newUser(s, cache.Options{Partition: "a", MaxAge: time.Hour})
		lax.want(t, 1, 0, cache.Loaded)
		time.Sleep(time.Minute)
		lax.want(t, 1, 0, cache.Hit)
		strict.want(t, 1, 0, cache.Loaded) // and the new one replaces the old
		require.Equal(t, 1, lax.values[0].cleared)
		require.Equal(t, cache.Stats{Entries: 1}, strict.Stats())
		require.Equal(t, cache.Stats{}, lax.Stats())
		lax.want(t, 1, 0, cache.Hit)
		strict.want(t, 1, 0, cache.Hit)
		require.Equal(t, cache.Stats{Expirations: 1}, strict.Stats())

		// Too old for one, it is not used even while the next is on its way.
		late := newUser(s, cache.Options{Partition: "a", MaxAge: time.Minute, Grace: 10 * time.Second, Interval: time.Second})
		lax.want(t, 3, 0, cache.Loaded)
		time.Sleep(time.Minute)
		late.load = slow(500 * time.Millisecond)
		var wg sync.WaitGroup
		start := time.Now()
		for _, want := range []cache.Outcome{cache.Loaded, cache.Hit} {
			wg.Go(func() {
				late.want(t, 3, 0, want)
				require.Equal(t, 500*time.Millisecond, time.Since(start))
			})
			synctest.Wait()
		}
		wg.Wait()
		lax.Purge()

		strict.want(t, 1, 0, cache.Loaded)
		other := newUser(s, cache.Options{Partition: "b"})
		other.want(t, 2, 0, cache.Loaded)
		lax.Purge()
		require.Equal(t, 1, s.Len(), "that of the other partition")
		require.Equal(t, 1, other.Stats().Entries)
		other.want(t, 2, 0, cache.Hit)
	})
}

// In the grace period one caller calls for a new value and the others use the
// old one; at the next interval one more does.
func TestRefreshNearTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{MaxAge: time.Minute, Grace: 10 * time.Second, Interval: time.Second})
		u.want(t, 1, 0, cache.Loaded)
		time.Sleep(50*time.Second - 1)
		u.want(t, 1, 0, cache.Hit)
		u.load = slow(1500 * time.Millisecond)
		time.Sleep(time.Nanosecond)
		var wg sync.WaitGroup
		wg.Go(func() { u.want(t, 1, 0, cache.Loaded) })
		synctest.Wait()
		for range 100 {
			u.want(t, 1, 0, cache.Hit)
		}
		time.Sleep(time.Second - 1)
		u.want(t, 1, 0, cache.Hit)
		require.Equal(t, 2, u.made())
		time.Sleep(time.Nanosecond)
		wg.Go(func() { u.want(t, 1, 0, cache.Loaded) }) // the first takes longer than the interval
		synctest.Wait()
		u.want(t, 1, 0, cache.Hit)
		require.Equal(t, 3, u.made())
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 1, u.value(0).cleared, "the first call ended and replaced the entry")
		u.want(t, 1, 0, cache.Hit)
		wg.Wait()
		require.Equal(t, 1, u.value(1).cleared, "the second call, begun later, replaced that")
		u.want(t, 1, 0, cache.Hit)
		require.Equal(t, 3, u.made())
		require.Equal(t, cache.Stats{Entries: 1}, u.Stats())
	})
}

// A call that is overtaken by one that began later does not replace its entry.
func TestRefreshThatIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{MaxAge: time.Minute, Grace: 10 * time.Second, Interval: time.Second})
		u.want(t, 1, 0, cache.Loaded)
		time.Sleep(50 * time.Second)
		u.load = slow(3 * time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { u.want(t, 1, 0, cache.Loaded) })
		time.Sleep(time.Second)
		u.mu.Lock()
		u.load = nil
		u.mu.Unlock()
		u.want(t, 1, 0, cache.Loaded)
		wg.Wait()
		require.Equal(t, []int{1, 0, 1}, []int{u.values[0].cleared, u.values[1].cleared, u.values[2].cleared})
		u.want(t, 1, 0, cache.Hit)
	})
}

// While the entry is good a failed refresh fails nobody, and is not tried
// again at once.
func TestRefreshThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{MaxAge: time.Minute, Grace: 10 * time.Second, Interval: time.Second})
		u.want(t, 1, 0, cache.Loaded)
		boom := errors.New("boom")
		u.load = func(context.Context) (cache.Value, error) { return nil, boom }
		time.Sleep(50 * time.Second)
		u.want(t, 1, 0, cache.Loaded)
		require.EqualValues(t, 1, u.Stats().RefreshFailures)
		for range 9 {
			u.want(t, 1, 0, cache.Hit)
			time.Sleep(time.Second)
			u.want(t, 1, 0, cache.Loaded)
		}
		require.Equal(t, 11, u.calls)
		require.EqualValues(t, 10, u.Stats().RefreshFailures)
		time.Sleep(time.Second)
		_, err := u.get(bg, 1, cache.Usage{})
		require.ErrorIs(t, err, boom)

		u.load = nil
		u.want(t, 1, 0, cache.Loaded)
		u.load = slow(time.Second)
		time.Sleep(50 * time.Second)
		done, cancel := context.WithCancel(bg)
		time.AfterFunc(time.Millisecond, cancel)
		_, err = u.get(done, 1, cache.Usage{})
		require.ErrorIs(t, err, context.Canceled)
	})
}

// Whoever used the old value because the refresh failed has used it up as well.
func TestRefreshThatFailsCountsAsUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{MaxAge: time.Minute, Grace: 10 * time.Second, Interval: time.Second, Limit: cache.Usage{Messages: 3}})
		u.want(t, 1, 0, cache.Loaded)
		boom := errors.New("boom")
		u.load = func(context.Context) (cache.Value, error) { return nil, boom }
		time.Sleep(50 * time.Second)
		u.want(t, 1, 0, cache.Loaded)
		u.want(t, 1, 0, cache.Hit)
		_, err := u.get(bg, 1, cache.Usage{Messages: 1})
		require.ErrorIs(t, err, boom)
		require.Equal(t, 1, u.values[0].cleared)
		require.Equal(t, cache.Stats{Expirations: 1, RefreshFailures: 1}, u.Stats())
	})
}

// Whoever refreshes an entry that is good has it, however long it takes until the call
// fails. The entry leaves as ever.
func TestRefreshThatFailsAfterMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{MaxAge: time.Minute, Grace: 10 * time.Second, Interval: time.Second, MaxFlight: -1})
		u.want(t, 1, 0, cache.Loaded)
		first := u.values[0]
		boom := errors.New("boom")
		u.load = func(context.Context) (cache.Value, error) { time.Sleep(time.Hour); return nil, boom }
		time.Sleep(50 * time.Second)
		var wg sync.WaitGroup
		wg.Go(func() {
			r := &request{u: u}
			outcome, err := u.Get(bg, cache.Key{ID: id(1)}, r)
			require.NoError(t, err)
			require.Equal(t, cache.Loaded, outcome)
			require.Same(t, first, r.taken)
		})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, first.cleared)
		wg.Go(func() { // who comes later waits, and has no old value
			_, err := u.get(bg, 1, cache.Usage{})
			require.ErrorIs(t, err, boom)
		})
		wg.Wait()
		require.Equal(t, cache.Stats{Expirations: 1, RefreshFailures: 1}, u.Stats())

		// But not if it was purged meanwhile.
		u.load = nil
		u.want(t, 1, 0, cache.Loaded)
		u.load = func(context.Context) (cache.Value, error) { u.Purge(); return nil, boom }
		time.Sleep(50 * time.Second)
		_, err := u.get(bg, 1, cache.Usage{})
		require.ErrorIs(t, err, boom)

		// Nor if it is not for the request, which then makes a call of its own.
		u.load = nil
		u.want(t, 1, 0, cache.Loaded)
		u.refuse = true
		time.Sleep(50 * time.Second)
		u.want(t, 1, 0, cache.Alone)
	})
}

// Nor does a view's own MaxAge count that ends during its call. It holds for the others.
func TestRefreshThatFailsAfterTheViewsOwnMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		lax := newUser(s, cache.Options{MaxAge: time.Hour})
		strict := newUser(s, cache.Options{MaxAge: time.Minute, Grace: 10 * time.Second, Interval: time.Second})
		boom := errors.New("boom")
		strict.load = func(context.Context) (cache.Value, error) { time.Sleep(10 * time.Second); return nil, boom }
		lax.want(t, 1, 0, cache.Loaded)
		time.Sleep(50 * time.Second)
		strict.want(t, 1, 0, cache.Loaded)
		require.EqualValues(t, 1, strict.Stats().RefreshFailures)
		lax.want(t, 1, 0, cache.Loaded)
	})
}

// Two IDs with one hash are two entries.
func TestIDsWithUnequalPartsAreNotTheSame(t *testing.T) {
	u := newUser(cache.New(10), cache.Options{})
	for _, want := range []cache.Outcome{cache.Loaded, cache.Hit} {
		for i := range uint32(3) {
			got, err := u.Get(bg, cache.Key{ID: cache.ID{Parts: [3]uint32{1, i, 0}}}, &request{u: u})
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
}
