package cache_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/internal/cache"
)

var errDown = errors.New("down")

// hangs makes the first n loads last until the channel is closed, whatever becomes of
// their ctx, and the others 20 ms.
func (u *user) hangs(n int) (release chan struct{}) {
	release = make(chan struct{})
	u.load = func(context.Context) (cache.Value, error) {
		u.mu.Lock()
		hang := u.calls <= n
		u.mu.Unlock()
		if hang {
			<-release
		} else {
			time.Sleep(20 * time.Millisecond)
		}
		return &secret{}, nil
	}
	return release
}

// A call that does not come back holds nobody up for longer than MaxFlight: one of
// those that wait for it makes another call, which serves them all.
func TestAnOverdueCallHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		u := newUser(s, cache.Options{})
		release := u.hangs(1)
		start := time.Now()
		var hung, wg sync.WaitGroup
		hung.Go(func() { u.want(t, 1, 0, cache.Loaded) })
		synctest.Wait()
		var mu sync.Mutex
		outcomes := map[cache.Outcome]int{}
		for i := range 5 {
			time.Sleep(time.Duration(i) * time.Second)
			wg.Go(func() {
				outcome, err := u.get(bg, 1, cache.Usage{Messages: 1})
				require.NoError(t, err)
				require.Equal(t, 10*time.Second+20*time.Millisecond, time.Since(start))
				mu.Lock()
				defer mu.Unlock()
				outcomes[outcome]++
			})
		}
		time.Sleep(10 * time.Millisecond) // it is 10.01 seconds
		u.want(t, 1, 0, cache.Hit)
		wg.Wait()
		require.Equal(t, map[cache.Outcome]int{cache.Loaded: 1, cache.Hit: 4}, outcomes)
		require.Equal(t, 2, u.made())

		close(release) // the late result is its caller's, and does not replace a later one
		hung.Wait()
		require.Equal(t, []int{0, 1}, []int{u.values[0].cleared, u.values[1].cleared})
		u.want(t, 1, 0, cache.Hit)
		require.Equal(t, cache.Stats{Entries: 1}, u.Stats())
		s.Purge()
	})
}

// Who comes after MaxFlight makes a call at once.
func TestAnOverdueCallIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		u := newUser(s, cache.Options{MaxFlight: time.Second})
		patient := newUser(s, cache.Options{MaxFlight: time.Hour})
		release := u.hangs(1)
		var wg sync.WaitGroup
		wg.Go(func() { u.want(t, 1, 0, cache.Loaded) })
		time.Sleep(time.Second)
		wg.Go(func() { patient.want(t, 1, 0, cache.Hit) }) // each view has its own MaxFlight
		synctest.Wait()
		u.want(t, 1, 0, cache.Loaded)
		require.Zero(t, patient.made())
		close(release)
		wg.Wait()
		s.Purge()
	})
}

// If the second call does not come back either, each makes its own.
func TestTwoOverdueCallsHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		u := newUser(s, cache.Options{MaxFlight: time.Second})
		release := u.hangs(2)
		start := time.Now()
		var hung, wg sync.WaitGroup
		hung.Go(func() { u.want(t, 1, 0, cache.Loaded) })
		synctest.Wait()
		served := make(chan time.Duration, 5)
		for range cap(served) {
			wg.Go(func() {
				_, err := u.get(bg, 1, cache.Usage{Messages: 1})
				require.NoError(t, err)
				served <- time.Since(start)
			})
		}
		for range cap(served) - 1 { // all but the one that makes the second call
			require.Equal(t, 2*time.Second+20*time.Millisecond, <-served)
		}
		require.Equal(t, 6, u.made())
		close(release)
		wg.Wait()
		hung.Wait()
		s.Purge()
	})
}

// After the lead was passed on, the age of the new call counts.
func TestAPassedOnCallIsOverdueLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		u := newUser(s, cache.Options{})
		start := time.Now()
		release := u.hangs(2)
		hang := u.load
		u.load = func(ctx context.Context) (cache.Value, error) {
			if _, limited := ctx.Deadline(); limited {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return hang(ctx)
		}
		var hung, wg sync.WaitGroup
		hung.Go(func() {
			ctx, cancel := context.WithTimeout(bg, 6*time.Second)
			defer cancel()
			_, err := u.get(ctx, 1, cache.Usage{})
			require.Equal(t, context.DeadlineExceeded, err)
		})
		synctest.Wait()
		hung.Go(func() { u.want(t, 1, 0, cache.Loaded) }) // leads after 6 seconds, and hangs
		synctest.Wait()
		for range 5 {
			wg.Go(func() {
				_, err := u.get(bg, 1, cache.Usage{})
				require.NoError(t, err)
				require.Equal(t, 16*time.Second+20*time.Millisecond, time.Since(start))
			})
		}
		wg.Wait()
		require.Equal(t, 3, u.made(), "one for all five")
		close(release)
		hung.Wait()
		s.Purge()
	})
}

// MaxAge of a value that took longer than MaxFlight runs from MaxFlight on: nobody
// knows how long ago the service answered.
func TestMaxAgeOfALateValue(t *testing.T) {
	for _, test := range []struct {
		flight, call, age, left time.Duration
	}{
		{0, 10*time.Second - 1, time.Minute, time.Minute},
		{0, 10 * time.Second, time.Minute, time.Minute},
		{0, 30 * time.Second, time.Minute, 40 * time.Second},
		{0, 70*time.Second - 1, time.Minute, 1},
		{0, 70 * time.Second, time.Minute, 0},
		{0, 70 * time.Hour, time.Minute, 0},
		{time.Minute, time.Minute, time.Minute, time.Minute},
		{-1, time.Hour, time.Minute, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := cache.New(10)
			u := newUser(s, cache.Options{MaxAge: test.age, MaxFlight: test.flight})
			u.load = slow(test.call)
			u.want(t, 1, 0, cache.Loaded)
			start := time.Now()
			if test.left == 0 {
				require.Equal(t, 1, u.values[0].cleared)
				require.Zero(t, s.Len())
				return
			}
			time.Sleep(test.left - 1)
			u.want(t, 1, 0, cache.Hit)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			require.Equal(t, 1, u.values[0].cleared, "%v: after %v", test, time.Since(start))
		})
	}
}

// A value that comes late is for those who wait for a later call, too, within the limits.
func TestALateValueIsForTheWaitersOfLaterCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{MaxFlight: 10 * time.Second, Limit: cache.Usage{Messages: 4}})
		start := time.Now()
		var wg sync.WaitGroup
		gets := func(took time.Duration, want cache.Outcome) {
			wg.Go(func() {
				u.want(t, 1, 0, want)
				require.Equal(t, took, time.Since(start))
			})
			synctest.Wait()
		}
		u.load = slow(15 * time.Second)
		gets(15*time.Second, cache.Loaded)
		u.load = slow(9 * time.Second)
		time.Sleep(10 * time.Second)
		gets(19*time.Second, cache.Loaded) // leads the second call
		for range 3 {
			gets(15*time.Second, cache.Hit)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Zero(t, u.Stats().Entries, "used up")
		u.load = slow(time.Hour)
		gets(19*time.Second, cache.Hit) // joins the second call
		wg.Wait()
		require.Equal(t, 2, u.calls)
		u.Purge()
	})
}

// Whoever cannot use it waits on.
func TestALateValueIsForThoseThatCanUseIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		u := newUser(s, cache.Options{MaxFlight: 10 * time.Second, Limit: cache.Usage{Messages: 3}})
		picky := newUser(s, cache.Options{MaxFlight: 10 * time.Second})
		picky.refuse = true
		start := time.Now()
		var wg sync.WaitGroup
		gets := func(u *user, took time.Duration, want cache.Outcome) {
			wg.Go(func() {
				u.want(t, 1, 0, want)
				require.Equal(t, took, time.Since(start))
			})
			synctest.Wait()
		}
		u.load = slow(15 * time.Second)
		gets(u, 15*time.Second, cache.Loaded)
		time.Sleep(10 * time.Second)
		u.load = slow(9 * time.Second)
		gets(u, 19*time.Second, cache.Loaded)
		gets(picky, 19*time.Second, cache.Alone)
		gets(u, 15*time.Second, cache.Hit)
		wg.Wait()
		u.Purge()
	})
}

// A negative MaxFlight is none.
func TestWithoutMaxFlightAllWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{MaxFlight: -1})
		u.load = slow(100 * time.Hour)
		var wg sync.WaitGroup
		wg.Go(func() { u.want(t, 1, 0, cache.Loaded) })
		synctest.Wait()
		wg.Go(func() { u.want(t, 1, 0, cache.Hit) })
		time.Sleep(99 * time.Hour)
		wg.Go(func() { u.want(t, 1, 0, cache.Hit) })
		wg.Wait()
		require.Equal(t, 1, u.calls)
		u.Purge()
	})
}

// The errors of those that waited say so, and for what; the leader's is its own.
func TestErrorsOfWaitersSayThatTheyWaited(t *testing.T) {
	const says = "waited for another request's call for a secret: "
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{})
		u.load = func(context.Context) (cache.Value, error) { time.Sleep(time.Second); return nil, errDown }
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := u.get(bg, 1, cache.Usage{})
			require.Equal(t, errDown, err)
		})
		synctest.Wait()
		wg.Go(func() {
			_, err := u.get(bg, 1, cache.Usage{})
			require.ErrorIs(t, err, errDown)
			require.EqualError(t, err, says+"down")
		})
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(bg, time.Millisecond)
			defer cancel()
			_, err := u.get(ctx, 1, cache.Usage{})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.EqualError(t, err, says+"context deadline exceeded")
		})
		wg.Wait()
	})
}

// A purge concerns the calls of its partition and no others.
func TestPurgeLeavesTheCallsOfOtherPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		u, other := newUser(s, cache.Options{Partition: "a"}), newUser(s, cache.Options{Partition: "b"})
		u.load = slow(time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { u.want(t, 1, 0, cache.Loaded) })
		synctest.Wait()
		other.Purge()
		wg.Go(func() { u.want(t, 1, 0, cache.Hit) })
		wg.Wait()
		u.want(t, 1, 0, cache.Hit)
		require.Equal(t, 1, u.calls)
		u.Purge()
	})
}

// A call that has been overtaken is purged as well.
func TestPurgeOfCallsThatWereOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		u := newUser(s, cache.Options{Limit: cache.Usage{Bytes: 100}})
		u.load = slow(time.Second)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { u.want(t, 1, 60, cache.Loaded) })
		}
		synctest.Wait()
		u.Purge()
		newUser(s, cache.Options{Partition: "b"}).Purge()
		wg.Wait()
		require.Zero(t, s.Len())
		for _, v := range u.values {
			require.Equal(t, 1, v.cleared)
		}
	})
}

// A store keeps nothing of caches that are gone.
func TestViewsAreForgotten(t *testing.T) {
	s := cache.New(10)
	u := newUser(s, cache.Options{})
	u.want(t, 1, 0, cache.Loaded)
	u.Purge()
	view := weak.Make(u.View)
	u = nil
	runtime.GC()
	require.Nil(t, view.Value())
	require.Zero(t, s.Len())
}

// A call that does not come back keeps nothing of those that gave up waiting for it.
func TestWaitersThatLeaveAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{MaxFlight: -1})
		release := u.hangs(1)
		var wg sync.WaitGroup
		wg.Go(func() { u.want(t, 1, 0, cache.Loaded) })
		synctest.Wait()
		var left []weak.Pointer[request]
		for range 100 {
			ctx, cancel := context.WithTimeout(bg, time.Millisecond)
			r := &request{u: u}
			left = append(left, weak.Make(r))
			_, err := u.Get(ctx, cache.Key{ID: id(1)}, r)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		runtime.GC()
		require.Nil(t, left[0].Value())
		close(release)
		wg.Wait()
		u.Purge()
	})
}
