package cache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/internal/cache"
)

func TestOneFlightForAColdEntry(t *testing.T) {
	for _, test := range []struct {
		waiters  int
		messages int64 // limit
		calls    int
	}{
		{200, 0, 1}, {200, 200, 1}, {200, 199, 2}, {200, 10, 20}, {200, 2, 100}, {2000, 1000, 2},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := cache.New(10)
				u := newUser(s, cache.Options{Limit: cache.Usage{Messages: test.messages}})
				u.load = slow(20 * time.Millisecond)
				start := time.Now()
				var wg sync.WaitGroup
				for range test.waiters {
					wg.Go(func() {
						_, err := u.get(bg, 1, cache.Usage{Messages: 1})
						require.NoError(t, err)
					})
				}
				wg.Wait()
				require.Equal(t, test.calls, u.calls)
				if test.messages > 0 && int64(test.waiters)%test.messages == 0 {
					require.Zero(t, s.Len(), "what is used up is not kept")
				}
				require.Equal(t, 20*time.Millisecond, time.Since(start), "further flights do not wait for the first")
			})
		})
	}
}

// Messages of which no two fit into the limit of bytes do not wait for each other.
func TestFlightsThatCannotServeAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{Limit: cache.Usage{Bytes: 100}})
		u.load = slow(20 * time.Millisecond)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { u.want(t, 1, int64(51+i%50), cache.Loaded) })
		}
		wg.Wait()
		require.Equal(t, 20*time.Millisecond, time.Since(start))
		left := 0
		for _, v := range u.values {
			left += 1 - v.cleared
		}
		require.Equal(t, 1, left)
	})
}

// Each waiter's ctx frees that waiter only, whose use is not counted.
func TestWaitersHaveTheirOwnContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{Limit: cache.Usage{Messages: 6}})
		u.load = slow(20 * time.Millisecond)
		var wg sync.WaitGroup
		wg.Go(func() { u.want(t, 1, 0, cache.Loaded) })
		synctest.Wait()
		start := time.Now()
		for i := range 5 {
			ctx, cancel := context.WithTimeout(bg, time.Duration(5+10*i)*time.Millisecond)
			defer cancel()
			wg.Go(func() {
				outcome, err := u.get(ctx, 1, cache.Usage{Messages: 1})
				if i < 2 {
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.Equal(t, time.Duration(5+10*i)*time.Millisecond, time.Since(start))
				} else {
					require.NoError(t, err)
					require.Equal(t, cache.Hit, outcome)
					require.Equal(t, 20*time.Millisecond, time.Since(start))
				}
			})
		}
		wg.Wait()
		require.Equal(t, 1, u.calls)
		u.want(t, 1, 0, cache.Hit)
		u.want(t, 1, 0, cache.Hit)
		u.want(t, 1, 0, cache.Loaded)
	})
}

// A leader that gives up leaves the call to the next that waits.
func TestTheLeadIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{Limit: cache.Usage{Messages: 14}})
		u.load = slow(20 * time.Millisecond)
		var wg sync.WaitGroup
		start := time.Now()
		for i := range 3 { // one after the other they lead and give up
			ctx, cancel := context.WithTimeout(bg, time.Duration(10*i+10)*time.Millisecond)
			defer cancel()
			wg.Go(func() {
				_, err := u.get(ctx, 1, cache.Usage{Messages: 1})
				require.ErrorIs(t, err, context.DeadlineExceeded)
			})
			synctest.Wait()
		}
		gone, cancel := context.WithTimeout(bg, 15*time.Millisecond) // gives up while it waits
		defer cancel()
		wg.Go(func() {
			_, err := u.get(gone, 1, cache.Usage{Messages: 1})
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		synctest.Wait()
		var loaded atomic.Int32
		for range 10 {
			wg.Go(func() {
				outcome, err := u.get(bg, 1, cache.Usage{Messages: 1})
				require.NoError(t, err)
				if outcome == cache.Loaded {
					loaded.Add(1)
				}
				require.Equal(t, 50*time.Millisecond, time.Since(start))
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, loaded.Load())
		require.Equal(t, 4, u.calls)
		for range 4 { // the use of those that gave up is not counted
			u.want(t, 1, 0, cache.Hit)
		}
		u.want(t, 1, 0, cache.Loaded)
	})
}

// Those that wait when the lead is passed on have their bytes counted still:
// for those that join the next flight, and once it landed.
func TestTheLeadIsPassedOnWithTheBytesOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{Limit: cache.Usage{Bytes: 100}})
		u.load = slow(20 * time.Millisecond)
		var wg sync.WaitGroup
		gone, cancel := context.WithCancel(bg)
		wg.Go(func() {
			_, err := u.get(gone, 1, cache.Usage{Messages: 1, Bytes: 20})
			require.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		wg.Go(func() { u.want(t, 1, 30, cache.Loaded) })
		synctest.Wait()
		wg.Go(func() { u.want(t, 1, 50, cache.Hit) })
		synctest.Wait()
		cancel()
		synctest.Wait()
		wg.Go(func() { u.want(t, 1, 20, cache.Hit) }) // 30 + 50 + 20
		synctest.Wait()
		wg.Go(func() { u.want(t, 1, 1, cache.Loaded) }) // which is one too many
		wg.Wait()
		require.Equal(t, 3, u.calls)
	})
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{Limit: cache.Usage{Bytes: 100}})
		u.load = slow(20 * time.Millisecond)
		var wg sync.WaitGroup
		gone, cancel := context.WithCancel(bg)
		wg.Go(func() { u.get(gone, 1, cache.Usage{}) })
		synctest.Wait()
		wg.Go(func() { u.want(t, 1, 30, cache.Loaded) })
		synctest.Wait()
		wg.Go(func() { u.want(t, 1, 50, cache.Hit) })
		synctest.Wait()
		cancel()
		wg.Wait()
		u.want(t, 1, 20, cache.Hit)
		u.want(t, 1, 1, cache.Loaded)
	})
}

// Who comes with a ctx that is done makes no call.
func TestADoneContextMakesNoCall(t *testing.T) {
	u := newUser(cache.New(10), cache.Options{})
	done, cancel := context.WithCancel(bg)
	cancel()
	_, err := u.get(done, 1, cache.Usage{})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, u.calls)
}

// A flight that is full and lands takes nothing from the next one.
func TestFlightsThatOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{Limit: cache.Usage{Messages: 2}})
		u.load = slow(20 * time.Millisecond)
		start := time.Now()
		var wg sync.WaitGroup
		for i, want := range []cache.Outcome{cache.Loaded, cache.Hit, cache.Loaded, cache.Hit} {
			time.Sleep(time.Duration([]int{0, 1, 9, 15}[i]) * time.Millisecond) // at 0, 1, 10 and 25 ms
			wg.Go(func() { u.want(t, 1, 0, want) })
			synctest.Wait()
		}
		wg.Wait()
		require.Equal(t, 30*time.Millisecond, time.Since(start))
		require.Equal(t, 2, u.calls)
	})
}

// An error is that of all who waited for the call, and of no one later.
func TestErrorsAreNotCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{})
		boom := errors.New("boom")
		u.load = func(context.Context) (cache.Value, error) { time.Sleep(time.Second); return nil, boom }
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_, err := u.get(bg, 1, cache.Usage{})
				require.ErrorIs(t, err, boom)
			})
		}
		wg.Wait()
		require.Equal(t, 1, u.calls)
		u.load = nil
		u.want(t, 1, 0, cache.Loaded)
		u.want(t, 1, 0, cache.Hit)
	})
}

// What fails for one variant of requests may not for another.
func TestErrorsAreThoseOfAVariant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{})
		boom := errors.New("boom")
		u.load = func(context.Context) (cache.Value, error) {
			time.Sleep(time.Second)
			if u.calls == 1 {
				return nil, boom
			}
			return &secret{}, nil
		}
		var wg sync.WaitGroup
		var failed, served atomic.Int32
		for i := range 20 {
			wg.Go(func() {
				_, err := u.Get(bg, cache.Key{ID: id(1), Variant: i % 2}, &request{u: u})
				if err == nil {
					served.Add(1)
				} else {
					failed.Add(1)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		require.EqualValues(t, 10, failed.Load())
		require.EqualValues(t, 10, served.Load())
		require.Equal(t, 2, u.calls)
	})
}

// If a call brings nothing to share, or nothing for them, all go alone.
func TestWithoutAValueAllGoAlone(t *testing.T) {
	for _, refuse := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			u := newUser(cache.New(10), cache.Options{})
			u.refuse = refuse
			u.load = func(context.Context) (cache.Value, error) {
				time.Sleep(time.Second)
				if refuse {
					return &secret{}, nil
				}
				return nil, nil
			}
			var wg sync.WaitGroup
			wg.Go(func() { u.want(t, 1, 0, cache.Loaded) })
			synctest.Wait()
			for range 10 {
				wg.Go(func() { u.want(t, 1, 0, cache.Alone) })
			}
			wg.Wait()
			require.Equal(t, 1, u.calls)
			if refuse {
				u.want(t, 1, 0, cache.Alone)
			}
		})
	}
}

// What was called for before a purge is used by those who wait for it, and by
// nobody else.
func TestPurgeWhileACallIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		u := newUser(s, cache.Options{})
		u.load = slow(time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { u.want(t, 1, 0, cache.Loaded) })
		synctest.Wait()
		wg.Go(func() { u.want(t, 1, 0, cache.Hit) })
		synctest.Wait()
		u.Purge()
		time.Sleep(time.Millisecond)
		wg.Go(func() { u.want(t, 1, 0, cache.Loaded) })
		synctest.Wait()
		wg.Go(func() { u.want(t, 1, 0, cache.Hit) })
		wg.Wait()
		require.Equal(t, 2, u.calls)
		require.Equal(t, 1, u.values[0].cleared)
		require.Equal(t, 0, u.values[1].cleared)
		require.Equal(t, 1, s.Len())

		wg.Go(func() { u.want(t, 2, 0, cache.Loaded) })
		synctest.Wait()
		s.Purge()
		wg.Wait()
		require.Zero(t, s.Len())
		require.Equal(t, 1, u.values[2].cleared)
	})
}

// A call that panics, or ends its goroutine, leaves no one waiting.
func TestCallsThatPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{})
		u.load = func(context.Context) (cache.Value, error) {
			time.Sleep(time.Second)
			if u.calls == 1 {
				panic("provider")
			}
			return &secret{}, nil
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			defer func() { require.Equal(t, "provider", recover()) }()
			u.get(bg, 1, cache.Usage{})
		})
		synctest.Wait()
		for range 5 {
			wg.Go(func() {
				_, err := u.get(bg, 1, cache.Usage{})
				require.NoError(t, err)
			})
		}
		wg.Wait()
		require.Equal(t, 2, u.calls)
	})
}

// Everything at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	s := cache.New(5)
	var wg sync.WaitGroup
	var views []*user
	for i := range 8 {
		u := newUser(s, cache.Options{Partition: fmt.Sprint(i % 3), MaxAge: time.Millisecond, Grace: 100 * time.Microsecond,
			Interval: 10 * time.Microsecond, Limit: cache.Usage{Messages: 50, Bytes: 1000}})
		u.load = slow(50 * time.Microsecond)
		views = append(views, u)
		wg.Go(func() {
			for j := range 500 {
				ctx, cancel := context.WithTimeout(bg, time.Duration(j%100)*time.Microsecond)
				if j%3 == 0 {
					cancel()
					ctx, cancel = context.WithCancel(bg)
				}
				_, err := u.get(ctx, byte(j%8), cache.Usage{Messages: 1, Bytes: int64(j % 100)})
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				cancel()
				if j%100 == 99 {
					u.Purge()
				}
				u.Stats()
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, s.Len(), 5)
	s.Purge()
	for _, u := range views {
		require.Zero(t, u.Stats().Entries)
		for _, v := range u.values {
			require.Equal(t, 1, v.cleared)
		}
	}
}
