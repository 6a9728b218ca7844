package hierarchical_test

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

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// A thousand messages that need the same branch key, which is not there, ask
// the store once each way.
func TestColdCacheAsksTheStoreOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := newBranchKeys("key")
		version := s.active("key")
		s.takeCalls()
		s.latency = 20 * time.Millisecond
		p := newProvider(t, s, hierarchical.Options{})
		defer p.Purge() // ends its timer
		opts := &esdk.EncryptOptions{Suite: committing}
		messages := make([][]byte, 1000)
		start := time.Now()
		each := func(f func(i int)) {
			var wg sync.WaitGroup
			for i := range messages {
				wg.Go(func() { f(i) })
			}
			wg.Wait()
		}
		each(func(i int) {
			var err error
			messages[i], _, err = esdk.Encrypt(t.Context(), nil, p, opts)
			require.NoError(t, err)
		})
		require.Equal(t, calls(kmstest.BranchKeyCall{ID: "key"}), s.takeCalls())
		each(func(i int) {
			_, _, err := esdk.Decrypt(t.Context(), messages[i], p, nil)
			require.NoError(t, err)
		})
		require.Equal(t, calls(kmstest.BranchKeyCall{ID: "key", Version: version}), s.takeCalls())
		require.Equal(t, 40*time.Millisecond, time.Since(start))
	})
}

// Each waits until its own ctx is done; if the one who asks gives up, the next
// one asks; other errors are that of all who waited, and not kept.
func TestProviderWaitersHaveTheirOwnContexts(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := newBranchKeys("key")
		s.latency = 20 * time.Millisecond
		p := newProvider(t, s, hierarchical.Options{})
		defer p.Purge()
		start := time.Now()
		var wg sync.WaitGroup
		impatient := func(patience time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := p.GenerateDataKey(ctx, requestFor(nil))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, patience, time.Since(start))
		}
		wg.Go(func() { impatient(5 * time.Millisecond) }) // asks
		synctest.Wait()
		for range 20 {
			// Not at the same instant: then these could be the next to ask.
			wg.Go(func() { impatient(4 * time.Millisecond) })
			wg.Go(func() {
				_, err := p.GenerateDataKey(t.Context(), requestFor(nil))
				require.NoError(t, err)
				require.Equal(t, 25*time.Millisecond, time.Since(start))
			})
		}
		wg.Wait()
		require.Equal(t, 2, len(s.takeCalls()))

		p.Purge()
		down := errors.New("down")
		s.set(func() { s.err = down })
		for range 20 {
			wg.Go(func() {
				_, err := p.GenerateDataKey(t.Context(), requestFor(nil))
				require.ErrorIs(t, err, down)
			})
		}
		wg.Wait()
		require.Equal(t, 1, len(s.takeCalls()))
		s.set(func() { s.err = nil })
		_, err := p.GenerateDataKey(t.Context(), requestFor(nil))
		require.NoError(t, err)
	})
}

// A branch key is used until MaxAge and not longer, each way; the new version
// then is the one that encrypts.
func TestProviderExpiresAtMaxAge(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := newBranchKeys("key")
		first := s.active("key")
		store := keyprovider.NewCacheStore(10)
		p := newProvider(t, s, hierarchical.Options{MaxAge: time.Minute, GracePeriod: -1, CacheStore: store})
		old := generated(t, p, nil)
		opens(t, p, old, nil)
		second := s.RotateKey("key")
		s.takeCalls()
		time.Sleep(time.Minute - 1)
		require.Equal(t, first, versionOf(generated(t, p, nil).Encrypted), "the active version is cached")
		opens(t, p, old, nil)
		require.Empty(t, s.takeCalls())
		require.Equal(t, "cache store with 2 entries", store.String())
		time.Sleep(1 * time.Nanosecond)
		synctest.Wait()
		require.Equal(t, "cache store with 0 entries", store.String(), "removed on time, without any use")
		fresh := generated(t, p, nil)
		require.Equal(t, second, versionOf(fresh.Encrypted))
		opens(t, p, fresh, nil)
		opens(t, p, old, nil)
		require.Equal(t, calls(kmstest.BranchKeyCall{ID: "key"}, kmstest.BranchKeyCall{ID: "key", Version: second}, kmstest.BranchKeyCall{ID: "key", Version: first}), s.takeCalls())

		// One that is not there any more is not readable after MaxAge.
		s.set(func() { s.err = errors.New("denied") })
		time.Sleep(time.Minute)
		_, err := p.GenerateDataKey(t.Context(), requestFor(nil))
		require.ErrorContains(t, err, "denied")
		require.ErrorContains(t, refused(t, p, requestFor(nil), old.Encrypted), "denied")
	})
}

// Near the end one message asks again while the others use what there is, also
// while the store is down.
func TestProviderRefreshesBeforeTheEnd(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := newBranchKeys("key")
		s.latency = 20 * time.Millisecond
		p := newProvider(t, s, hierarchical.Options{MaxAge: 5 * time.Minute})
		defer p.Purge()
		generated(t, p, nil)
		second := s.RotateKey("key")
		s.takeCalls()
		time.Sleep(5*time.Minute - 10*time.Second)
		start := time.Now()
		var wg sync.WaitGroup
		var waited, renewed atomic.Int64
		for range 200 {
			wg.Go(func() {
				key, err := p.GenerateDataKey(t.Context(), requestFor(nil))
				require.NoError(t, err)
				if versionOf(key.Encrypted) == second {
					renewed.Add(1)
				}
				if time.Since(start) > 0 {
					waited.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, waited.Load())
		require.EqualValues(t, 1, renewed.Load())
		require.Equal(t, 1, len(s.takeCalls()))

		s.set(func() { s.err = errors.New("down") })
		time.Sleep(5*time.Minute - 10*time.Second)
		for range 9 {
			require.Equal(t, second, versionOf(generated(t, p, nil).Encrypted))
			time.Sleep(time.Second)
		}
		require.InDelta(t, 9, len(s.takeCalls()), 1, "a try each second")
	})
}

// Providers on one CacheStore use each other's branch keys if partition,
// logical name and branch key are equal, and only then, within the MaxAge of all.
func TestProvidersShareEntries(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		store := keyprovider.NewCacheStore(100)
		defer store.Purge()
		keys, elsewhere := newBranchKeys("key", "key2"), newNamedBranchKeys("elsewhere", "key")
		create := func(s *branchKeys, id, partition string, maxAge time.Duration) *hierarchical.Provider {
			return newProvider(t, s, hierarchical.Options{BranchKeyID: id, Partition: partition, CacheStore: store, MaxAge: maxAge, GracePeriod: -1})
		}
		a := create(keys, "key", "a", time.Hour)
		key := generated(t, a, nil)
		opens(t, a, key, nil)
		keys.takeCalls()

		unable := newBranchKeys() // has no key, and the same name
		same := create(unable, "key", "a", time.Hour)
		opens(t, a, generated(t, same, nil), nil)
		opens(t, same, key, nil)
		require.Empty(t, keys.takeCalls())
		require.Empty(t, unable.takeCalls())
		require.Equal(t, "cache store with 2 entries", store.String())

		for _, other := range []*hierarchical.Provider{create(keys, "key", "b", time.Hour), create(keys, "key", "", time.Hour), create(keys, "key", "", time.Hour), create(keys, "key2", "a", time.Hour)} {
			opens(t, other, generated(t, other, nil), nil)
			require.Len(t, keys.takeCalls(), 2)
		}
		other := create(elsewhere, "key", "a", time.Hour)
		opens(t, other, generated(t, other, nil), nil)
		require.Len(t, elsewhere.takeCalls(), 2)

		// An entry that is too old for this provider is not used by it, though by others.
		time.Sleep(time.Minute)
		late := create(unable, "key", "a", time.Minute)
		_, err := late.GenerateDataKey(t.Context(), requestFor(nil))
		require.ErrorIs(t, err, hierarchical.ErrBranchKeyNotFound)
		require.ErrorIs(t, refused(t, late, requestFor(nil), key.Encrypted), hierarchical.ErrBranchKeyNotFound)
		opens(t, a, key, nil)
		require.Empty(t, keys.takeCalls())

		// Once this one has used an entry, its MaxAge holds for the others, too.
		brief := create(unable, "key", "a", 2*time.Minute)
		opens(t, brief, generated(t, brief, nil), nil)
		time.Sleep(time.Minute)
		opens(t, a, generated(t, a, nil), nil)
		require.Len(t, keys.takeCalls(), 2)
	})
}

// A call of the store that does not come back holds nobody up for longer than
// MaxFlight, neither on encryption nor on decryption.
func TestProviderMaxFlight(t *testing.T) {
	t.Parallel()
	for set, want := range map[time.Duration]time.Duration{0: 15 * time.Second, time.Minute: time.Minute, -1: time.Hour} {
		bubble(t, func(t *testing.T) {
			s := newBranchKeys("key")
			p := newProvider(t, s, hierarchical.Options{MaxFlight: set})
			defer p.Purge()
			key := generated(t, p, nil)
			p.Purge()
			release := make(chan struct{})
			time.AfterFunc(time.Hour, func() { close(release) })
			var calls atomic.Int64
			s.Intercept(func(context.Context, kmstest.BranchKeyCall) (*hierarchical.BranchKey, error) {
				if calls.Add(1) <= 2 {
					<-release
				}
				return nil, nil
			})
			start := time.Now()
			var hung, wg sync.WaitGroup
			hung.Go(func() { generated(t, p, nil) })
			hung.Go(func() { opens(t, p, key, nil) })
			synctest.Wait()
			for range 5 {
				wg.Go(func() {
					generated(t, p, nil)
					opens(t, p, key, nil)
					require.Equal(t, want, time.Since(start))
				})
			}
			wg.Wait()
			hung.Wait()
		})
	}
}

// Who waited for another's call says so, and for which branch key.
func TestProviderErrorsOfWaiters(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := newBranchKeys("key")
		p := newProvider(t, s, hierarchical.Options{})
		key := generated(t, p, nil)
		p.Purge()
		s.latency = time.Second
		down := errors.New("down")
		s.set(func() { s.err = down })
		var wg sync.WaitGroup
		for what, call := range map[string]func(context.Context) error{
			`the active version of branch key "key": `: func(ctx context.Context) error {
				_, err := p.GenerateDataKey(ctx, requestFor(nil))
				return err
			},
			"version " + versionOf(key.Encrypted) + ` of branch key "key": `: func(ctx context.Context) error {
				_, err := p.DecryptDataKey(ctx, requestFor(nil), []keyprovider.EncryptedDataKey{key.Encrypted})
				return err
			},
		} {
			wg.Go(func() {
				err := call(t.Context())
				require.ErrorIs(t, err, down)
				require.NotContains(t, err.Error(), "waited")
			})
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			for ctx, want := range map[context.Context]error{t.Context(): down, ctx: context.DeadlineExceeded} {
				wg.Go(func() {
					err := call(ctx)
					require.ErrorIs(t, err, want)
					require.ErrorContains(t, err, "waited for another request's call for "+what)
				})
			}
		}
		wg.Wait()
	})
}

// A CacheStore can hold branch keys and data keys: they never meet, also at
// equal partitions.
func TestProviderSharesTheStoreOfDataKeys(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("key")
	store := keyprovider.NewCacheStore(100)
	p := newProvider(t, s, hierarchical.Options{CacheStore: store, Partition: "a"})
	cached := func(p *hierarchical.Provider, partition string) *keyprovider.Cache {
		c, err := keyprovider.NewCache(p, keyprovider.CacheOptions{MaxAge: time.Hour, Store: store, Partition: partition})
		require.NoError(t, err)
		return c
	}
	c := cached(p, "a")
	other := cached(newProvider(t, s, hierarchical.Options{CacheStore: store, Partition: "b"}), "b")
	messages := make([][]byte, 10)
	for i := range messages {
		var err error
		messages[i], _, err = esdk.Encrypt(t.Context(), fmt.Append(nil, i), c, &esdk.EncryptOptions{Suite: committing})
		require.NoError(t, err)
	}
	for range 2 {
		for i, message := range messages {
			plaintext, _, err := esdk.Decrypt(t.Context(), message, c, nil)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), string(plaintext))
		}
	}
	require.Equal(t, 2, len(s.takeCalls()))
	require.Equal(t, keyprovider.CacheStats{Hits: 28, Misses: 2, Entries: 2}, c.Stats())
	require.Equal(t, "cache store with 4 entries", store.String(), "a data key and a branch key each way")
	_, _, err := esdk.Decrypt(t.Context(), messages[0], other, nil)
	require.NoError(t, err)
	require.Equal(t, 1, len(s.takeCalls()))
	require.Equal(t, "cache store with 6 entries", store.String())

	p.Purge() // of the partition, whatever it is
	require.Equal(t, "cache store with 2 entries", store.String())
	_, _, err = esdk.Decrypt(t.Context(), messages[0], c, nil)
	require.NoError(t, err)
	require.Equal(t, 1, len(s.takeCalls()))
}

// The one that was not used for the longest time makes room.
func TestProviderHoldsMaxEntries(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("1", "2", "3")
	p := newProvider(t, s, hierarchical.Options{MaxEntries: 2, BranchKeyIDFor: func(_ context.Context, ec map[string]string) (string, error) { return ec["id"], nil }})
	use := func(id string) { generated(t, p, map[string]string{"id": id}) }
	for _, id := range []string{"1", "2", "1", "3", "1", "2", "3"} {
		use(id)
	}
	require.Equal(t, calls(kmstest.BranchKeyCall{ID: "1"}, kmstest.BranchKeyCall{ID: "2"}, kmstest.BranchKeyCall{ID: "3"}, kmstest.BranchKeyCall{ID: "2"}, kmstest.BranchKeyCall{ID: "3"}), s.takeCalls())

	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprint("many ", i)
	}
	s = newBranchKeys(many...)
	p = newProvider(t, s, hierarchical.Options{BranchKeyIDFor: func(_ context.Context, ec map[string]string) (string, error) { return ec["id"], nil }})
	for range 2 {
		for _, id := range many[:1000] {
			use(id)
		}
	}
	require.Equal(t, 1000, len(s.takeCalls()), "there is room for 1000")
	use(many[1000])
	use(many[1])
	require.Equal(t, 1, len(s.takeCalls()))
	use(many[0])
	require.Equal(t, 1, len(s.takeCalls()))
}

func TestStatsCount(t *testing.T) {
	t.Parallel()
	require.Equal(t, hierarchical.Stats{}, new(hierarchical.Provider).Stats())
	bubble(t, func(t *testing.T) {
		s := newBranchKeys("key")
		s.latency = time.Second
		store := keyprovider.NewCacheStore(2)
		p := newProvider(t, s, hierarchical.Options{MaxAge: time.Minute, GracePeriod: 10 * time.Second, CacheStore: store})
		key := make(chan *keyprovider.DataKey, 3)
		for range 3 {
			go func() { key <- generated(t, p, nil) }()
		}
		synctest.Wait()
		require.Equal(t, hierarchical.Stats{Misses: 1, InFlight: 1}, p.Stats())
		first := <-key // a second later
		synctest.Wait()
		require.Equal(t, hierarchical.Stats{Hits: 2, Misses: 1, Entries: 1}, p.Stats())
		opens(t, p, first, nil)
		opens(t, p, first, nil)
		require.Equal(t, hierarchical.Stats{Hits: 3, Misses: 2, Entries: 2}, p.Stats())

		// Another provider of the CacheStore evicts an entry of the first.
		other := newProvider(t, s, hierarchical.Options{MaxAge: time.Hour, CacheStore: store})
		generated(t, other, nil)
		require.Equal(t, hierarchical.Stats{Misses: 1, Entries: 1}, other.Stats())
		require.Equal(t, hierarchical.Stats{Hits: 3, Misses: 2, Entries: 1, Evictions: 1}, p.Stats())
		other.Purge()
		require.Equal(t, hierarchical.Stats{Misses: 1}, other.Stats())
		opens(t, p, first, nil)
		require.Equal(t, hierarchical.Stats{Hits: 4, Misses: 2, Entries: 1, Evictions: 1}, p.Stats(), "the active version made room")

		// The store fails in the grace period, and again after the entry has expired.
		s.set(func() { s.err = errors.New("down") })
		time.Sleep(52 * time.Second)
		opens(t, p, first, nil)
		require.Equal(t, hierarchical.Stats{Hits: 4, Misses: 3, RefreshFailures: 1, Entries: 1, Evictions: 1}, p.Stats())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, hierarchical.Stats{Hits: 4, Misses: 3, RefreshFailures: 1, Evictions: 1, Expirations: 1}, p.Stats())
		refused(t, p, requestFor(nil), first.Encrypted)
		require.Equal(t, hierarchical.Stats{Hits: 4, Misses: 4, RefreshFailures: 1, Evictions: 1, Expirations: 1}, p.Stats())
	})
}

// Writers rotate the branch key again and again, while they and others write and
// read through several providers: every message stays readable by all of them,
// and who rotates and purges writes under a new version from then on.
func TestRotationWhileInUse(t *testing.T) {
	t.Parallel()
	const rotations, perRotation = 10, 10
	s := newBranchKeys("key")
	shared := keyprovider.NewCacheStore(8) // too small for all versions
	var providers []*hierarchical.Provider
	for i := range 4 {
		opts := hierarchical.Options{MaxAge: 2 * time.Millisecond, GracePeriod: time.Millisecond}
		if i%2 == 0 {
			opts.CacheStore, opts.Partition = shared, "p"
		}
		providers = append(providers, newProvider(t, s, opts))
	}
	type written struct {
		message   []byte
		plaintext string
	}
	messages := make(chan written, len(providers)*2*rotations*perRotation)
	var working sync.WaitGroup
	for i, p := range providers {
		for j := range 2 {
			working.Go(func() { // a writer, who then reads what is there
				used := map[string]bool{} // versions, before the last rotation
				for n := range rotations * perRotation {
					if n%perRotation == 0 {
						s.RotateKey("key")
						p.Purge()
					}
					plaintext := fmt.Sprint(i, j, n)
					message, h, err := esdk.Encrypt(t.Context(), []byte(plaintext), p, &esdk.EncryptOptions{Suite: committing})
					if err != nil {
						t.Error(err)
						return
					}
					version := versionOf(h.EncryptedDataKeys[0])
					if n%perRotation == 0 && used[version] {
						t.Error("written under a version that was used before the rotation")
					}
					used[version] = true
					messages <- written{message, plaintext}
					m := <-messages
					got, _, err := esdk.Decrypt(t.Context(), m.message, providers[(i+n)%len(providers)], nil)
					if err != nil || string(got) != m.plaintext {
						t.Errorf("%q, %v", got, err)
					}
					messages <- m
				}
			})
		}
	}
	working.Wait()
	close(messages)
	require.Len(t, messages, cap(messages))
	later := newProvider(t, s, hierarchical.Options{})
	for m := range messages {
		got, _, err := esdk.Decrypt(t.Context(), m.message, later, nil)
		require.NoError(t, err)
		require.Equal(t, m.plaintext, string(got))
	}
}
