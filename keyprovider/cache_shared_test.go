package keyprovider_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
)

// mustStream encrypts a stream that does not say its length.
func mustStream(t testing.TB, p keyprovider.MasterKeyProvider) (dataKey string) {
	t.Helper()
	r, err := esdk.NewEncryptReader(bg, bytes.NewReader(make([]byte, 2000)), p, unsigned)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, r)
	require.NoError(t, err)
	return dataKeyOf(r.Header())
}

// Caches that share their entries keep to the limits of all.
func TestCachesThatShareKeepTheStrictestLimit(t *testing.T) {
	share := func(t *testing.T, strict keyprovider.CacheOptions) (laxCache, strictCache *keyprovider.Cache, s *service) {
		s = newService(t, time.Millisecond)
		store := keyprovider.NewCacheStore(10)
		t.Cleanup(store.Purge)
		strict.Store, strict.Partition, strict.GracePeriod = store, "p", -1
		return newCache(t, s, keyprovider.CacheOptions{Store: store, Partition: "p"}), newCache(t, s, strict), s
	}
	t.Run("MaxBytes and a stream of unknown length", func(t *testing.T) {
		lax, strict, _ := share(t, keyprovider.CacheOptions{MaxBytes: 1000})
		first := mustStream(t, lax)
		require.Equal(t, first, mustStream(t, lax))
		_, second := mustEncrypt(t, strict, 1, unsigned)
		require.NotEqual(t, first, second)
		_, third := mustEncrypt(t, lax, 999, unsigned)
		require.Equal(t, second, third)
		_, fourth := mustEncrypt(t, lax, 1, unsigned)
		require.NotEqual(t, second, fourth)
	})
	t.Run("MaxMessages", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			lax, strict, s := share(t, keyprovider.CacheOptions{MaxMessages: 1})
			var mu sync.Mutex
			used := map[string]int{}
			var wg sync.WaitGroup
			for _, c := range []*keyprovider.Cache{strict, lax, strict, strict} {
				wg.Go(func() {
					_, dataKey := mustEncrypt(t, c, 1, unsigned)
					mu.Lock()
					defer mu.Unlock()
					used[dataKey]++
				})
				synctest.Wait()
			}
			wg.Wait()
			require.Len(t, used, 4)
			require.EqualValues(t, 4, s.generated.Load())
		})
	})
	t.Run("MaxAge", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			lax, strict, _ := share(t, keyprovider.CacheOptions{MaxAge: time.Minute})
			_, first := mustEncrypt(t, lax, 1, unsigned)
			time.Sleep(time.Minute - 1)
			_, second := mustEncrypt(t, strict, 1, unsigned)
			require.Equal(t, first, second)
			time.Sleep(time.Nanosecond)
			_, third := mustEncrypt(t, lax, 1, unsigned)
			require.NotEqual(t, first, third)
		})
	})
}

// A Cache is refused under another one, wherever NewCache can see it.
func TestACacheUnderACacheIsRefused(t *testing.T) {
	aes := newAES(t, "key", 32)
	require1 := func(p keyprovider.MasterKeyProvider) keyprovider.MasterKeyProvider {
		p, err := keyprovider.RequireContext(p, "k")
		require.NoError(t, err)
		return p
	}
	c := newCache(t, aes, keyprovider.CacheOptions{})
	for name, p := range map[string]keyprovider.MasterKeyProvider{
		"pointer":              c,
		"value":                *c,
		"embedded":             struct{ *keyprovider.Cache }{c},
		"RequireContext":       require1(c),
		"RequireContext twice": require1(require1(c)),
	} {
		over, err := keyprovider.NewCache(p, keyprovider.CacheOptions{MaxAge: time.Minute})
		require.ErrorContains(t, err, "keyprovider: NewCache of a Cache", name)
		require.Nil(t, over, name)
	}
	require1(newCache(t, require1(aes), keyprovider.CacheOptions{}))
}

// opaque is a manager that hides what is under it, and maybe drops the ctx.
type opaque struct {
	keyprovider.ManagerOnly
	inner keyprovider.MasterKeyProvider
	drops bool
}

func (m opaque) ctx(ctx context.Context) context.Context {
	if m.drops {
		return bg
	}
	return ctx
}

func (m opaque) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	return keyprovider.Materials(m.inner).EncryptionMaterials(m.ctx(ctx), req)
}

func (m opaque) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	return keyprovider.Materials(m.inner).DecryptionMaterials(m.ctx(ctx), req)
}

// A Cache that a manager hides would wait for itself if it has the same entries.
func TestACacheUnderACacheDoesNotWaitForItself(t *testing.T) {
	for _, drops := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			s := newService(t, 0)
			message, _ := mustEncrypt(t, s, 1, nil)
			opts := keyprovider.CacheOptions{Store: keyprovider.NewCacheStore(10), Partition: "p"}
			defer opts.Store.Purge()
			c := newCache(t, opaque{inner: newCache(t, s, opts), drops: drops}, opts)
			start := time.Now()
			_, _, encrypting := esdk.Encrypt(bg, nil, c, nil)
			_, _, decrypting := esdk.Decrypt(bg, message, c, nil)
			for _, err := range []error{encrypting, decrypting} {
				if drops {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, "asked for the same again and would wait for itself, as in a cache under a cache")
				}
			}
			if drops {
				require.Equal(t, 30*time.Second, time.Since(start), "MaxFlight for each")
			}
		})
	}
}

// A hanging service answers only those whose ctx has a deadline.
type hanging struct {
	*service
	release chan struct{}
}

func (h hanging) MasterKeys(ctx context.Context, req *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	h.hang(ctx)
	return h.service.MasterKeys(ctx, req)
}

func (h hanging) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	h.hang(ctx)
	return h.service.DecryptDataKey(ctx, req, keys)
}

func (h hanging) hang(ctx context.Context) {
	if _, limited := ctx.Deadline(); !limited {
		<-h.release
	}
}

// A call that does not come back holds nobody up for longer than MaxFlight.
func TestCacheMaxFlight(t *testing.T) {
	for set, want := range map[time.Duration]time.Duration{0: 15 * time.Second, time.Minute: time.Minute, -1: time.Hour} {
		bubble(t, func(t *testing.T) {
			h := hanging{newService(t, 0), make(chan struct{})}
			message, _ := mustEncrypt(t, h.service, 1, nil)
			c := newCache(t, h, keyprovider.CacheOptions{MaxFlight: set})
			defer c.Purge()
			start := time.Now()
			var hung, wg sync.WaitGroup
			hung.Go(func() { mustEncrypt(t, c, 1, nil) })
			hung.Go(func() {
				_, _, err := esdk.Decrypt(bg, message, c, nil)
				require.NoError(t, err)
			})
			synctest.Wait()
			ctx, cancel := context.WithTimeout(bg, 2*time.Hour)
			defer cancel()
			for range 5 {
				wg.Go(func() {
					_, _, err := esdk.Encrypt(ctx, nil, c, nil)
					require.NoError(t, err)
					require.Equal(t, want, time.Since(start))
				})
				wg.Go(func() {
					_, _, err := esdk.Decrypt(ctx, message, c, nil)
					require.NoError(t, err)
					require.Equal(t, want, time.Since(start))
				})
			}
			time.AfterFunc(time.Hour, func() { close(h.release) })
			wg.Wait()
			hung.Wait()
			if set >= 0 {
				require.EqualValues(t, 4, c.Stats().Misses)
			}
		})
	}
}

// Who waited says so, and for which data key, without its secrets.
func TestCacheErrorsOfWaiters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService(t, time.Second)
		opts := &esdk.EncryptOptions{EncryptionContext: context1("secret")}
		message, _ := mustEncrypt(t, s, 1, opts)
		c := newCache(t, s, keyprovider.CacheOptions{})
		throttled := errors.New("throttled")
		s.failWith(throttled)
		encrypt := func(ctx context.Context) error { _, _, err := esdk.Encrypt(ctx, nil, c, opts); return err }
		decrypt := func(ctx context.Context) error { _, _, err := esdk.Decrypt(ctx, message, c, nil); return err }
		var wg sync.WaitGroup
		for call, what := range map[*func(context.Context) error]string{
			&encrypt: "a data key to encrypt with ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384",
			&decrypt: `the data key of a message that has "namespace" "service"`,
		} {
			wg.Go(func() {
				err := (*call)(bg)
				require.ErrorIs(t, err, throttled)
				require.NotContains(t, err.Error(), "waited")
			})
			synctest.Wait()
			ctx, cancel := context.WithTimeout(bg, time.Millisecond)
			defer cancel()
			for ctx, want := range map[context.Context]error{bg: throttled, ctx: context.DeadlineExceeded} {
				wg.Go(func() {
					err := (*call)(ctx)
					require.ErrorIs(t, err, want)
					require.ErrorContains(t, err, "waited for another request's call for "+what+": ")
					require.NotContains(t, err.Error(), "secret")
				})
			}
		}
		wg.Wait()
	})
}
