package cache_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/internal/cache"
)

// A call that asks for what it is to bring would wait for itself. It fails, also when
// there is an entry in its grace period, whose age would begin anew.
func TestACallThatNeedsItself(t *testing.T) {
	const says = "the call for a secret asked for the same again and would wait for itself"
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{MaxAge: time.Minute, Grace: 20 * time.Second, Interval: time.Second, MaxFlight: -1})
		inner := newUser(cache.New(10), cache.Options{MaxFlight: -1}) // of another store
		u.want(t, 3, 0, cache.Loaded)
		time.Sleep(50 * time.Second)
		for n, test := range map[byte]func(context.Context) error{
			1: func(ctx context.Context) error { _, err := u.get(ctx, 1, cache.Usage{}); return err },
			2: func(ctx context.Context) error { // by way of another entry, and on another goroutine
				inner.load = func(ctx context.Context) (cache.Value, error) {
					failed := make(chan error)
					go func() { _, err := u.get(ctx, 2, cache.Usage{}); failed <- err }()
					return nil, <-failed
				}
				_, err := inner.get(ctx, 1, cache.Usage{})
				return err
			},
			3: func(ctx context.Context) error { _, err := u.get(ctx, 3, cache.Usage{}); return err },
		} {
			u.load = func(ctx context.Context) (cache.Value, error) { return nil, test(ctx) }
			outcome, err := u.get(bg, n, cache.Usage{})
			if n == 3 {
				require.NoError(t, err)
				require.Equal(t, cache.Loaded, outcome)
				require.EqualValues(t, 1, u.Stats().RefreshFailures)
				require.Zero(t, u.values[0].cleared, "the old value was taken")
				continue
			}
			require.ErrorContains(t, err, says)
		}
		// A call can ask for another entry, and its ctx be used when it has landed.
		var kept context.Context
		u.load = func(ctx context.Context) (cache.Value, error) {
			u.load = nil
			kept = ctx
			u.want(t, 5, 0, cache.Loaded)
			return &secret{}, nil
		}
		u.want(t, 4, 0, cache.Loaded)
		for range 2 {
			_, err := u.get(kept, 4, cache.Usage{})
			require.NoError(t, err)
			u.Purge()
		}
	})
}

// If such a call does not pass on its ctx, MaxFlight ends it.
func TestACallThatNeedsItselfInSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{})
		u.load = func(context.Context) (cache.Value, error) {
			if u.calls == 1 {
				u.want(t, 1, 0, cache.Loaded)
			}
			return &secret{}, nil
		}
		start := time.Now()
		u.want(t, 1, 0, cache.Loaded)
		require.Equal(t, 10*time.Second, time.Since(start))
		u.want(t, 1, 0, cache.Hit)
		u.Purge()
	})
}

// A call that ends its goroutine, and a Take that panics, are the affair of the one
// whose goroutine it is: nobody waits and nothing stays locked.
func TestNothingStaysLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{MaxFlight: -1})
		u.load = func(context.Context) (cache.Value, error) {
			time.Sleep(time.Second)
			if u.calls == 1 {
				runtime.Goexit()
			}
			return &secret{}, nil
		}
		var wg sync.WaitGroup
		wg.Go(func() { u.get(bg, 1, cache.Usage{}) })
		synctest.Wait()
		for range 5 {
			wg.Go(func() {
				_, err := u.get(bg, 1, cache.Usage{})
				require.NoError(t, err)
			})
		}
		wg.Wait()
		require.Equal(t, 2, u.calls)

		panicky := cache.Key{ID: id(1)}
		require.Panics(t, func() { u.Get(bg, panicky, panics{&request{u: u}}) }, "on a hit")
		u.want(t, 1, 0, cache.Hit)
		u.Purge()
		u.load = slow(time.Second)
		wg.Go(func() {
			require.Panics(t, func() { u.get(bg, 1, cache.Usage{}) }, "of the leader, who takes it for the waiter")
		})
		synctest.Wait()
		for i := range 5 {
			wg.Go(func() {
				var r cache.Request = &request{u: u}
				if i == 0 {
					r = panics{&request{u: u}}
				}
				_, err := u.Get(bg, panicky, r)
				require.NoError(t, err)
			})
			synctest.Wait()
		}
		wg.Wait()
		u.want(t, 1, 0, cache.Hit)
		u.Purge()
	})
}

type panics struct{ *request }

func (panics) Take(cache.Value) bool { panic("taken") }

// The methods of a ctx are user code: none is called while the store is locked.
func TestContextsAreAskedUnlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUser(cache.New(10), cache.Options{})
		u.load = func(context.Context) (cache.Value, error) { time.Sleep(time.Second); return nil, errDown }
		var wg sync.WaitGroup
		for range 3 {
			ctx, cancel := context.WithTimeout(bg, 1500*time.Millisecond)
			defer cancel()
			wg.Go(func() {
				for range 2 {
					_, err := u.get(nosy{ctx, u}, 1, cache.Usage{})
					require.Error(t, err)
				}
			})
		}
		wg.Wait()
	})
}

// A nosy ctx looks at the store whenever it is asked something.
type nosy struct {
	context.Context
	u *user
}

func (c nosy) Err() error            { c.u.Stats(); return c.Context.Err() }
func (c nosy) Done() <-chan struct{} { c.u.Stats(); return c.Context.Done() }
func (c nosy) Value(key any) any     { c.u.Stats(); return c.Context.Value(key) }
