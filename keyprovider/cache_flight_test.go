package keyprovider_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// unsigned messages take less time than signed ones.
var unsigned = &esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey}

// 200 goroutines that need the same data key, which is not there, make one call.
func TestColdCacheMakesOneCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService(t, 20*time.Millisecond)
		c := newCache(t, s, keyprovider.CacheOptions{})
		messages := make([][]byte, 200)
		var wg sync.WaitGroup
		for i := range messages {
			wg.Go(func() { messages[i], _ = mustEncrypt(t, c, 10, unsigned) })
		}
		wg.Wait()
		require.EqualValues(t, 1, s.generated.Load())
		for i := range messages {
			wg.Go(func() {
				plaintext, _, err := esdk.Decrypt(bg, messages[i], c, nil)
				require.NoError(t, err)
				require.Len(t, plaintext, 10)
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, s.decrypted.Load())
		require.Equal(t, keyprovider.CacheStats{Hits: 398, Misses: 2, Entries: 2}, c.Stats())
		c.Purge()
	})
}

// As many calls as the limit of messages demands, at the same time: also if
// all messages come at once.
func TestColdCacheOfFewMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService(t, 20*time.Millisecond)
		c := newCache(t, s, keyprovider.CacheOptions{MaxMessages: 100})
		start := time.Now()
		var wg sync.WaitGroup
		var used sync.Map
		for range 1000 {
			wg.Go(func() {
				_, dataKey := mustEncrypt(t, c, 0, unsigned)
				n, _ := used.LoadOrStore(dataKey, new(atomic.Int64))
				n.(*atomic.Int64).Add(1)
			})
		}
		wg.Wait()
		require.EqualValues(t, 10, s.generated.Load())
		require.Equal(t, 20*time.Millisecond, time.Since(start))
		used.Range(func(_, n any) bool {
			require.EqualValues(t, 100, n.(*atomic.Int64).Load())
			return true
		})
		c.Purge()
	})
}

// The ctx of one that waits frees that one, and fails none of the others.
func TestCacheWaitersHaveTheirOwnContexts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService(t, 20*time.Millisecond)
		c := newCache(t, s, keyprovider.CacheOptions{})
		var wg sync.WaitGroup
		wg.Go(func() { mustEncrypt(t, c, 1, nil) })
		synctest.Wait()
		start := time.Now()
		for range 10 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(bg, 5*time.Millisecond)
				defer cancel()
				_, _, err := esdk.Encrypt(ctx, nil, c, nil)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, 5*time.Millisecond, time.Since(start))
			})
			wg.Go(func() { mustEncrypt(t, c, 1, nil) })
		}
		wg.Wait()
		require.EqualValues(t, 1, s.generated.Load())
		require.Equal(t, keyprovider.CacheStats{Hits: 10, Misses: 1, Entries: 1}, c.Stats())
		c.Purge()
	})
}

// An error is that of all who waited for the call, and is not kept.
func TestCacheKeepsNoErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService(t, 20*time.Millisecond)
		c := newCache(t, s, keyprovider.CacheOptions{})
		throttled := errors.New("throttled")
		s.failWith(throttled)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, _, err := esdk.Encrypt(bg, nil, c, nil)
				require.ErrorIs(t, err, throttled)
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, s.generated.Load())
		s.failWith(nil)
		message, _ := mustEncrypt(t, c, 1, nil)
		require.EqualValues(t, 2, s.generated.Load())

		s.failWith(throttled)
		_, _, err := esdk.Decrypt(bg, message, c, nil)
		require.ErrorIs(t, err, throttled)
		s.failWith(nil)
		_, _, err = esdk.Decrypt(bg, message, c, nil)
		require.NoError(t, err)
		require.EqualValues(t, 2, s.decrypted.Load())
		require.Equal(t, keyprovider.CacheStats{Misses: 4, Entries: 2}, c.Stats())
		c.Purge()
	})
}

// Who allows fewer data keys than there are fails, and none of those who
// allow them, whoever made the call.
func TestCacheKeepsKeyLimitsApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService(t, 20*time.Millisecond)
		p := newMulti(t, s, newAES(t, "second", 16))
		c := newCache(t, slowManager{inner: p}, keyprovider.CacheOptions{})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				client := &esdk.Client{MaxEncryptedDataKeys: 1 + i%2}
				_, h, err := client.Encrypt(bg, nil, c, nil)
				if i%2 == 0 {
					require.ErrorIs(t, err, esdk.ErrTooManyDataKeys)
				} else {
					require.NoError(t, err)
					require.Len(t, h.EncryptedDataKeys, 2)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		require.EqualValues(t, 1, s.generated.Load())
		_, _, err := (&esdk.Client{MaxEncryptedDataKeys: 1}).Encrypt(bg, nil, c, nil)
		require.ErrorIs(t, err, format.ErrTooManyDataKeys, "also on a hit")
		require.EqualValues(t, 1, s.generated.Load())
		c.Purge()
	})
}

// A slowManager waits before it asks the provider.
type slowManager struct {
	keyprovider.ManagerOnly
	inner keyprovider.MasterKeyProvider
}

func (m slowManager) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	time.Sleep(time.Millisecond)
	return keyprovider.Materials(m.inner).EncryptionMaterials(ctx, req)
}

func (m slowManager) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	return keyprovider.Materials(m.inner).DecryptionMaterials(ctx, req)
}

// Near its end one message renews the data key while the others use it.
func TestCacheRefreshesBeforeTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService(t, 20*time.Millisecond)
		c := newCache(t, s, keyprovider.CacheOptions{MaxAge: 5 * time.Minute})
		_, first := mustEncrypt(t, c, 1, unsigned)
		time.Sleep(5*time.Minute - 10*time.Second)
		start := time.Now()
		var wg sync.WaitGroup
		var waited, renewed atomic.Int64
		for range 200 {
			wg.Go(func() {
				_, dataKey := mustEncrypt(t, c, 1, unsigned)
				if dataKey != first {
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
		require.EqualValues(t, 2, s.generated.Load())
		_, second := mustEncrypt(t, c, 1, unsigned)
		require.NotEqual(t, first, second)
		require.EqualValues(t, 2, s.generated.Load())

		// While the service is down the data key is used until MaxAge.
		down := errors.New("down")
		s.failWith(down)
		time.Sleep(5*time.Minute - 10*time.Second - 20*time.Millisecond)
		for range 9 {
			_, dataKey := mustEncrypt(t, c, 1, unsigned)
			require.Equal(t, second, dataKey)
			time.Sleep(time.Second)
		}
		require.Greater(t, s.generated.Load(), int64(8))
		time.Sleep(time.Second)
		_, _, err := esdk.Encrypt(bg, nil, c, unsigned)
		require.ErrorIs(t, err, down)
		c.Purge()
	})
}

// Everything at once, for the race detector.
func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	s := newService(t, 100*time.Microsecond)
	store := keyprovider.NewCacheStore(6)
	var wg sync.WaitGroup
	for i := range 8 {
		c := newCache(t, s, keyprovider.CacheOptions{Store: store, Partition: string(rune('a' + i%2)),
			MaxAge: 5 * time.Millisecond, MaxMessages: 20, MaxBytes: 500, GracePeriod: time.Millisecond})
		id := []suite.ID{unsigned.Suite, 0}[i/7] // one of them signs, which takes longer
		wg.Go(func() {
			for j := range 60 {
				plaintext := make([]byte, j)
				message, h, err := esdk.Encrypt(bg, plaintext, c, &esdk.EncryptOptions{Suite: id, EncryptionContext: context1(string(rune('a' + j%4)))})
				if err != nil {
					t.Error(err)
					return
				}
				h.EncryptionContext["tenant"] = "changed"
				clear(h.EncryptedDataKeys[0].Ciphertext)
				got, h, err := esdk.Decrypt(bg, message, c, nil)
				if err != nil || len(got) != j {
					t.Error(len(got), err)
					return
				}
				clear(h.EncryptionContext)
				if j%20 == 19 {
					c.Purge()
					_, _ = c.Stats(), store.String()
				}
			}
		})
	}
	wg.Wait()
}

// A message whose call is under way when the old data key expires has that if the call
// fails, and can be read.
func TestARefreshThatFailsAfterMaxAgeHasTheOldDataKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService(t, time.Second)
		c := newCache(t, s, keyprovider.CacheOptions{MaxAge: time.Minute, GracePeriod: 10 * time.Second})
		defer c.Purge()
		message, first := mustEncrypt(t, c, 1, nil)
		_, _, err := esdk.Decrypt(bg, message, c, nil)
		require.NoError(t, err)
		s.failWith(errors.New("down"))
		s.latency = 11 * time.Second
		time.Sleep(49*time.Second + time.Millisecond) // both are in their last 10 seconds
		var wg sync.WaitGroup
		wg.Go(func() {
			again, dataKey := mustEncrypt(t, c, 1, nil)
			require.Equal(t, first, dataKey)
			_, _, err := esdk.Decrypt(bg, again, s.RawAES, nil)
			require.NoError(t, err)
		})
		time.Sleep(time.Second)
		wg.Go(func() {
			_, _, err := esdk.Decrypt(bg, message, c, nil)
			require.NoError(t, err)
		})
		wg.Wait()
		require.Equal(t, keyprovider.CacheStats{Misses: 4, RefreshFailures: 2, Expirations: 2}, c.Stats())
	})
}
