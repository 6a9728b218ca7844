package cache_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/internal/cache"
)

// Costs of a message of so many bytes, of a stream of unknown length, and of
// decryption.
func message(bytes int64) cache.Usage { return cache.Usage{Messages: 1, Bytes: bytes} }

var (
	stream  = cache.Usage{Messages: 1, Unknown: 1}
	nothing = cache.Usage{}
)

// Every limit of every view that uses an entry holds, for all of them.
func TestTheStrictestLimitHolds(t *testing.T) {
	type use struct {
		wait   time.Duration
		strict bool // the view that uses it; the other has no limit but an hour
		cost   cache.Usage
		want   cache.Outcome
	}
	const strict, lax, h, l = true, false, cache.Hit, cache.Loaded
	for name, test := range map[string]struct {
		options cache.Options
		uses    []use
	}{
		"one message, made by the strict": {cache.Options{Limit: cache.Usage{Messages: 1}},
			[]use{{0, strict, message(1), l}, {0, lax, message(1), l}, {0, lax, message(1), h}}},
		"one message, made by the lax": {cache.Options{Limit: cache.Usage{Messages: 1}},
			[]use{{0, lax, message(1), l}, {0, strict, message(1), l}, {0, lax, message(1), h}, {0, strict, message(1), l}}},
		"messages": {cache.Options{Limit: cache.Usage{Messages: 3}},
			[]use{{0, lax, message(1), l}, {0, strict, message(1), h}, {0, lax, message(1), h}, {0, lax, message(1), l}}},
		"messages, used up before": {cache.Options{Limit: cache.Usage{Messages: 3}},
			[]use{{0, lax, message(1), l}, {0, lax, message(1), h}, {0, lax, message(1), h}, {0, lax, message(1), h}, {0, strict, message(1), l}, {0, lax, message(1), h}}},
		"bytes": {cache.Options{Limit: cache.Usage{Bytes: 100}},
			[]use{{0, lax, message(10), l}, {0, strict, message(50), h}, {0, lax, message(40), h}, {0, lax, message(1), l}}},
		"bytes, used up before": {cache.Options{Limit: cache.Usage{Bytes: 100}},
			[]use{{0, lax, message(101), l}, {0, lax, message(50), h}, {0, strict, message(1), l}, {0, lax, message(99), h}, {0, lax, message(1), l}}},
		"a stream uses up the bytes": {cache.Options{Limit: cache.Usage{Bytes: 1000}},
			[]use{{0, lax, stream, l}, {0, lax, stream, h}, {0, lax, message(1), h}, {0, strict, message(1), l}, {0, lax, message(1), h}}},
		"a stream on a hit": {cache.Options{Limit: cache.Usage{Bytes: 1000}},
			[]use{{0, lax, message(1), l}, {0, lax, stream, h}, {0, strict, nothing, l}}},
		"a stream where bytes are counted": {cache.Options{Limit: cache.Usage{Bytes: 1000}},
			[]use{{0, strict, message(1), l}, {0, lax, message(1), h}, {0, lax, stream, l}, {0, strict, message(1), l}}},
		"age": {cache.Options{MaxAge: time.Minute},
			[]use{{0, lax, nothing, l}, {time.Minute - 1, strict, nothing, h}, {0, lax, nothing, h}, {1, lax, nothing, l}, {time.Minute, lax, nothing, h}}},
		"age, too old before": {cache.Options{MaxAge: time.Minute},
			[]use{{0, lax, nothing, l}, {time.Minute, lax, nothing, h}, {0, strict, nothing, l}, {time.Minute - 1, lax, nothing, h}, {1, lax, nothing, l}}},
		"decryption": {cache.Options{Limit: cache.Usage{Messages: 1, Bytes: 1}},
			[]use{{0, strict, nothing, l}, {0, lax, nothing, h}, {0, strict, nothing, h}, {0, lax, nothing, h}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := cache.New(10)
				users := map[bool]*user{strict: newUser(s, test.options), lax: newUser(s, cache.Options{})}
				for i, use := range test.uses {
					time.Sleep(use.wait)
					got, err := users[use.strict].get(bg, 1, use.cost)
					require.NoError(t, err)
					require.Equal(t, use.want, got, "use %d", i+1)
				}
				s.Purge()
				for _, u := range users {
					for _, v := range u.values {
						require.Equal(t, 1, v.cleared)
					}
				}
			})
		})
	}
}

// An entry that a stricter view used leaves at that view's MaxAge without any call.
func TestTheStrictestMaxAgeClearsTheValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		lax, strict := newUser(s, cache.Options{}), newUser(s, cache.Options{MaxAge: time.Minute})
		lax.want(t, 1, 0, cache.Loaded)
		lax.want(t, 2, 0, cache.Loaded)
		strict.want(t, 2, 0, cache.Hit)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []int{0, 1}, []int{lax.values[0].cleared, lax.values[1].cleared})
		lax.want(t, 1, 0, cache.Hit)
		s.Purge()
	})
}

// So do the limits of all that share a flight, whoever leads it.
func TestTheStrictestLimitHoldsInFlight(t *testing.T) {
	type ask struct {
		strict bool
		cost   cache.Usage
		want   cache.Outcome
	}
	const strict, lax, h, l = true, false, cache.Hit, cache.Loaded
	for name, test := range map[string]struct {
		options cache.Options
		asks    []ask
	}{
		"one message, the strict leads":       {cache.Options{Limit: cache.Usage{Messages: 1}}, []ask{{strict, message(1), l}, {lax, message(1), l}, {lax, message(1), h}}},
		"one message, the lax leads":          {cache.Options{Limit: cache.Usage{Messages: 1}}, []ask{{lax, message(1), l}, {lax, message(1), h}, {strict, message(1), l}}},
		"messages, the strict waits":          {cache.Options{Limit: cache.Usage{Messages: 3}}, []ask{{lax, message(1), l}, {strict, message(1), h}, {lax, message(1), h}, {lax, message(1), l}}},
		"bytes, the strict leads":             {cache.Options{Limit: cache.Usage{Bytes: 100}}, []ask{{strict, message(10), l}, {lax, message(90), h}, {lax, message(1), l}}},
		"bytes, the strict waits":             {cache.Options{Limit: cache.Usage{Bytes: 100}}, []ask{{lax, message(10), l}, {strict, message(50), h}, {lax, message(40), h}, {lax, message(1), l}}},
		"a stream leads":                      {cache.Options{Limit: cache.Usage{Bytes: 1000}}, []ask{{lax, stream, l}, {lax, stream, h}, {strict, message(1), l}}},
		"a stream waits":                      {cache.Options{Limit: cache.Usage{Bytes: 1000}}, []ask{{lax, message(1), l}, {lax, stream, h}, {strict, message(1), l}}},
		"a stream where bytes are counted":    {cache.Options{Limit: cache.Usage{Bytes: 1000}}, []ask{{strict, message(1), l}, {lax, message(1), h}, {lax, stream, l}}},
		"decryption under encryption's limit": {cache.Options{Limit: cache.Usage{Messages: 1, Bytes: 1}}, []ask{{strict, nothing, l}, {lax, nothing, h}, {strict, nothing, h}}},
	} {
		for _, passed := range []bool{false, true} { // the first leader gives up, and the next takes over
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := cache.New(10)
					users := map[bool]*user{strict: newUser(s, test.options), lax: newUser(s, cache.Options{})}
					for _, u := range users {
						u.load = slow(time.Second)
					}
					var wg sync.WaitGroup
					if passed {
						ctx, cancel := context.WithTimeout(bg, time.Millisecond)
						defer cancel()
						wg.Go(func() { users[lax].get(ctx, 1, nothing) })
						synctest.Wait()
					}
					for i, ask := range test.asks {
						wg.Go(func() {
							got, err := users[ask.strict].get(bg, 1, ask.cost)
							require.NoError(t, err)
							require.Equal(t, ask.want, got, "request %d", i+1)
						})
						synctest.Wait()
					}
					wg.Wait()
					s.Purge()
				})
			})
		}
	}
}

// What a flight brought keeps the bounds of those that waited for it, also if the lead
// was passed on.
func TestBoundsOfWaitersStay(t *testing.T) {
	for _, passed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := cache.New(10)
			lax := newUser(s, cache.Options{})
			strict := newUser(s, cache.Options{MaxAge: time.Minute, Limit: cache.Usage{Messages: 4, Bytes: 100}})
			var wg sync.WaitGroup
			fly := func() {
				lax.load = slow(time.Second)
				if passed {
					ctx, cancel := context.WithTimeout(bg, time.Millisecond)
					wg.Go(func() { defer cancel(); lax.get(ctx, 1, nothing) })
					synctest.Wait()
				}
				wg.Go(func() { lax.want(t, 1, 10, cache.Loaded) })
				synctest.Wait()
				wg.Go(func() { strict.want(t, 1, 10, cache.Hit) })
				time.Sleep(2 * time.Millisecond)
				wg.Go(func() { lax.want(t, 1, 10, cache.Hit) })
				synctest.Wait()
			}
			fly()
			wg.Go(func() { lax.want(t, 1, 71, cache.Loaded) }) // too much for the strict
			wg.Wait()
			s.Purge()

			fly()
			wg.Wait()
			lax.load = nil
			_, err := lax.get(bg, 1, cache.Usage{Bytes: 70})
			require.NoError(t, err)
			lax.want(t, 1, 1, cache.Loaded)
			s.Purge()

			fly()
			wg.Wait()
			lax.want(t, 1, 0, cache.Hit)
			require.Zero(t, s.Len(), "the fourth message uses it up")

			fly()
			wg.Wait()
			last := lax.values[len(lax.values)-1]
			time.Sleep(time.Minute - 1)
			require.Equal(t, 1, s.Len())
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			require.Equal(t, 1, last.cleared)
		})
	}
}

// What the strictest limit of messages uses up leaves at once.
func TestWhatIsUsedUpForOneIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		lax, strict := newUser(s, cache.Options{}), newUser(s, cache.Options{Limit: cache.Usage{Messages: 2}})
		lax.want(t, 1, 0, cache.Loaded)
		strict.want(t, 1, 0, cache.Hit)
		require.Zero(t, s.Len())
		require.Equal(t, 1, lax.values[0].cleared)

		lax.load = slow(time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { lax.want(t, 1, 0, cache.Loaded) })
		synctest.Wait()
		wg.Go(func() { strict.want(t, 1, 0, cache.Hit) })
		wg.Wait()
		require.Zero(t, s.Len())
		require.Equal(t, 1, lax.values[1].cleared)
	})
}

// An entry whose refresh failed is used within the bounds of all.
func TestBoundsHoldWhenARefreshFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := cache.New(10)
		lax := newUser(s, cache.Options{MaxAge: time.Minute, Grace: 20 * time.Second, Interval: time.Second})
		strict := newUser(s, cache.Options{Limit: cache.Usage{Bytes: 100}})
		lax.want(t, 1, 40, cache.Loaded)
		strict.want(t, 1, 40, cache.Hit)
		lax.load = func(context.Context) (cache.Value, error) { return nil, errDown }
		time.Sleep(45 * time.Second)
		lax.want(t, 1, 20, cache.Loaded) // 100 with it, and the error is not returned
		require.EqualValues(t, 1, lax.Stats().RefreshFailures)
		time.Sleep(time.Second)
		_, err := lax.get(bg, 1, message(1))
		require.ErrorIs(t, err, errDown)
		s.Purge()

		// Who falls back to an entry of others brings its own bounds.
		lax = newUser(s, cache.Options{})
		strict = newUser(s, cache.Options{MaxAge: time.Minute, Grace: 20 * time.Second, Interval: time.Second, Limit: cache.Usage{Bytes: 100}})
		strict.load = func(context.Context) (cache.Value, error) { return nil, errDown }
		lax.want(t, 1, 50, cache.Loaded)
		time.Sleep(45 * time.Second)
		strict.want(t, 1, 50, cache.Loaded)
		require.EqualValues(t, 1, strict.Stats().RefreshFailures)
		lax.want(t, 1, 1, cache.Loaded)
		s.Purge()
	})
}

// A value can have a shorter MaxAge of its own, which holds for all views, and a grace
// period of at most a tenth of it.
func TestAValuesOwnMaxAgeHolds(t *testing.T) {
	for name, test := range map[string]struct {
		own, grace time.Duration
		refresh    time.Duration // age from which one request refreshes it
		end        time.Duration
	}{
		"shorter":                     {own: 30 * time.Second, grace: 10 * time.Second, refresh: 27 * time.Second, end: 30 * time.Second},
		"shorter, small grace period": {own: 30 * time.Second, grace: time.Second, refresh: 29 * time.Second, end: 30 * time.Second},
		"shorter, no grace period":    {own: 30 * time.Second, refresh: 30 * time.Second, end: 30 * time.Second},
		"longer":                      {own: 2 * time.Minute, grace: 10 * time.Second, refresh: 50 * time.Second, end: time.Minute},
		"none":                        {grace: 10 * time.Second, refresh: 50 * time.Second, end: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := cache.New(10)
				u := newUser(s, cache.Options{MaxAge: time.Minute, Grace: test.grace, Interval: test.grace / 10})
				lax := newUser(s, cache.Options{MaxAge: time.Hour})
				u.maxAge = test.own
				u.want(t, 1, 0, cache.Loaded)
				time.Sleep(test.refresh - 1)
				u.want(t, 1, 0, cache.Hit)
				lax.want(t, 1, 0, cache.Hit)
				time.Sleep(time.Nanosecond)
				if test.refresh < test.end {
					u.load = func(context.Context) (cache.Value, error) { return nil, errDown }
					u.want(t, 1, 0, cache.Loaded)
					require.Equal(t, 2, u.made())
					u.want(t, 1, 0, cache.Hit)
					u.load = nil
				}
				time.Sleep(test.end - test.refresh)
				synctest.Wait()
				require.Equal(t, 1, u.value(0).cleared)
				lax.want(t, 1, 0, cache.Loaded)
			})
		})
	}
}
