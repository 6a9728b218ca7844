package keyprovider_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

func TestCacheOptionsAreChecked(t *testing.T) {
	aes := newAES(t, "key", 32)
	ok := keyprovider.CacheOptions{MaxAge: time.Minute}
	for name, test := range map[string]struct {
		p      keyprovider.MasterKeyProvider
		change func(*keyprovider.CacheOptions)
		says   string
	}{
		"nil provider":          {nil, func(o *keyprovider.CacheOptions) {}, "nil provider"},
		"nil pointer":           {(*keyprovider.RawAES)(nil), func(o *keyprovider.CacheOptions) {}, "nil provider"},
		"nil cache":             {(*keyprovider.Cache)(nil), func(o *keyprovider.CacheOptions) {}, "nil provider"},
		"no MaxAge":             {aes, func(o *keyprovider.CacheOptions) { o.MaxAge = 0 }, "MaxAge 0s"},
		"negative MaxAge":       {aes, func(o *keyprovider.CacheOptions) { o.MaxAge = -1 }, "MaxAge -1ns"},
		"negative MaxMessages":  {aes, func(o *keyprovider.CacheOptions) { o.MaxMessages = -1 }, "MaxMessages"},
		"MaxMessages over 2^32": {aes, func(o *keyprovider.CacheOptions) { o.MaxMessages = 1<<32 + 1 }, "MaxMessages"},
		"negative MaxBytes":     {aes, func(o *keyprovider.CacheOptions) { o.MaxBytes = -1 }, "MaxBytes"},
		"negative MaxEntries":   {aes, func(o *keyprovider.CacheOptions) { o.MaxEntries = -1 }, "MaxEntries"},
		"MaxEntries and Store": {aes, func(o *keyprovider.CacheOptions) { o.MaxEntries, o.Store = 1, keyprovider.NewCacheStore(1) },
			"MaxEntries"},
		"zero Store":            {aes, func(o *keyprovider.CacheOptions) { o.Store = &keyprovider.CacheStore{} }, "NewCacheStore"},
		"GracePeriod of MaxAge": {aes, func(o *keyprovider.CacheOptions) { o.GracePeriod = o.MaxAge }, "GracePeriod"},
		"all of it":             {aes, func(o *keyprovider.CacheOptions) {}, ""},
		"the largest of numbers": {aes, func(o *keyprovider.CacheOptions) {
			*o = keyprovider.CacheOptions{MaxAge: math.MaxInt64, MaxMessages: 1 << 32, MaxBytes: math.MaxInt64, MaxEntries: math.MaxInt, GracePeriod: 1}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			opts := ok
			test.change(&opts)
			c, err := keyprovider.NewCache(test.p, opts)
			if test.says != "" {
				require.ErrorContains(t, err, test.says)
				require.ErrorContains(t, err, "keyprovider: NewCache")
				require.Nil(t, c)
				return
			}
			require.NoError(t, err)
			_, first := mustEncrypt(t, c, 1, nil)
			_, second := mustEncrypt(t, c, 1, nil)
			require.Equal(t, first, second)
			c.Purge()
		})
	}
}

// A Cache that NewCache did not make fails, and does not panic.
func TestZeroCache(t *testing.T) {
	for _, p := range []keyprovider.MasterKeyProvider{&keyprovider.Cache{}, keyprovider.Cache{}, (*keyprovider.Cache)(nil)} {
		_, _, err := esdk.Encrypt(bg, nil, p, nil)
		require.Error(t, err)
		message, _ := mustEncrypt(t, newAES(t, "key", 32), 1, nil)
		_, _, err = esdk.Decrypt(bg, message, p, nil)
		require.Error(t, err)
	}
	var c keyprovider.Cache
	c.Purge()
	require.Equal(t, keyprovider.CacheStats{}, c.Stats())
	var s keyprovider.CacheStore
	s.Purge()
	require.Equal(t, "(redacted)", s.String())

	working := newCache(t, newAES(t, "key", 32), keyprovider.CacheOptions{})
	_, err := working.EncryptionMaterials(bg, nil)
	require.Error(t, err)
	_, err = working.DecryptionMaterials(bg, nil)
	require.Error(t, err)
	var noContext context.Context
	_, err = working.EncryptionMaterials(noContext, &keyprovider.EncryptionRequest{})
	require.Error(t, err)
}

// Every limit of encryption: what reaches it is used, what exceeds it is not.
func TestCacheLimits(t *testing.T) {
	type message struct {
		wait  time.Duration // before it
		bytes int64
		calls int64 // that there were after it
	}
	for name, test := range map[string]struct {
		opts     keyprovider.CacheOptions
		messages []message
	}{
		"none but age": {keyprovider.CacheOptions{}, []message{{0, 0, 1}, {0, 1 << 20, 1}, {time.Minute, 5, 1}}},
		"MaxMessages": {keyprovider.CacheOptions{MaxMessages: 3},
			[]message{{0, 1, 1}, {0, 1, 1}, {0, 1, 1}, {0, 1, 2}, {0, 1, 2}, {0, 1, 2}, {0, 1, 3}}},
		"MaxMessages of 1":                {keyprovider.CacheOptions{MaxMessages: 1}, []message{{0, 1, 1}, {0, 1, 2}, {0, 1, 3}}},
		"MaxBytes, reached":               {keyprovider.CacheOptions{MaxBytes: 100}, []message{{0, 60, 1}, {0, 40, 1}, {0, 0, 1}, {0, 1, 2}}},
		"MaxBytes, exceeded by one":       {keyprovider.CacheOptions{MaxBytes: 100}, []message{{0, 60, 1}, {0, 41, 2}, {0, 59, 2}, {0, 1, 3}}},
		"message of MaxBytes":             {keyprovider.CacheOptions{MaxBytes: 100}, []message{{0, 100, 1}, {0, 0, 1}, {0, 1, 2}}},
		"message over MaxBytes, bypasses": {keyprovider.CacheOptions{MaxBytes: 100}, []message{{0, 10, 1}, {0, 101, 2}, {0, 101, 3}, {0, 90, 3}, {0, 1, 4}}},
		"MaxAge, reached": {keyprovider.CacheOptions{MaxAge: time.Minute, GracePeriod: -1},
			[]message{{0, 1, 1}, {time.Minute - 1, 1, 1}, {1, 1, 2}, {time.Minute - 1, 1, 2}, {1, 1, 3}}},
		"MaxAge of a nanosecond": {keyprovider.CacheOptions{MaxAge: 1}, []message{{0, 1, 1}, {1, 1, 2}, {1, 1, 3}}},
		"default grace period": {keyprovider.CacheOptions{MaxAge: time.Hour},
			[]message{{0, 1, 1}, {time.Hour - 10*time.Second - 1, 1, 1}, {1, 1, 2}, {time.Hour - 10*time.Second - 1, 1, 2}, {1, 1, 3}}},
		"default grace period, short age": {keyprovider.CacheOptions{MaxAge: 10 * time.Second},
			[]message{{0, 1, 1}, {9*time.Second - 1, 1, 1}, {1, 1, 2}}},
		"grace period": {keyprovider.CacheOptions{MaxAge: time.Minute, GracePeriod: 20 * time.Second},
			[]message{{0, 1, 1}, {40*time.Second - 1, 1, 1}, {1, 1, 2}}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newService(t, 0)
				c := newCache(t, s, test.opts)
				for i, m := range test.messages {
					time.Sleep(m.wait)
					mustEncrypt(t, c, int(m.bytes), nil)
					require.Equal(t, m.calls, s.generated.Load(), "after message %d", i+1)
				}
			})
		})
	}
}

// A stream is counted by its MaxPlaintextLength; without one it has a data key
// of its own if bytes are limited.
func TestCacheLimitsOfStreams(t *testing.T) {
	for name, test := range map[string]struct {
		maxBytes int64
		lengths  []int64 // MaxPlaintextLength of each stream
		calls    []int64
	}{
		"unlimited":             {0, []int64{0, 0, 1 << 60}, []int64{1, 1, 1}},
		"unknown length":        {100, []int64{0, 0}, []int64{1, 2}},
		"known length":          {100, []int64{50, 50, 1}, []int64{1, 1, 2}},
		"known and over":        {100, []int64{101, 101, 100}, []int64{1, 2, 3}},
		"unknown after a known": {100, []int64{40, 0, 60}, []int64{1, 2, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, 0)
			c := newCache(t, s, keyprovider.CacheOptions{MaxBytes: test.maxBytes})
			for i, length := range test.lengths {
				opts := &esdk.EncryptOptions{MaxPlaintextLength: length}
				if i%2 == 0 {
					_, err := esdk.NewEncryptWriter(bg, io.Discard, c, opts)
					require.NoError(t, err)
				} else {
					_, err := esdk.NewEncryptReader(bg, strings.NewReader(""), c, opts)
					require.NoError(t, err)
				}
				require.Equal(t, test.calls[i], s.generated.Load(), "after stream %d", i+1)
			}
		})
	}
}

// Decryption is limited by age alone.
func TestCacheLimitsOfDecryption(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService(t, 0)
		message, _ := mustEncrypt(t, s, 1000, nil)
		c := newCache(t, s, keyprovider.CacheOptions{MaxAge: time.Minute, MaxMessages: 1, MaxBytes: 1, GracePeriod: -1})
		for i := range 3 {
			for range 5 {
				_, _, err := esdk.Decrypt(bg, message, c, nil)
				require.NoError(t, err)
			}
			require.EqualValues(t, i+1, s.decrypted.Load())
			time.Sleep(time.Minute - 1)
			_, _, err := esdk.Decrypt(bg, message, c, nil)
			require.NoError(t, err)
			require.EqualValues(t, i+1, s.decrypted.Load())
			time.Sleep(time.Nanosecond)
		}
	})
}

// Over MaxEntries the data key goes that was not used for the longest time.
func TestCacheMaxEntries(t *testing.T) {
	for _, shared := range []bool{false, true} {
		s := newService(t, 0)
		opts := keyprovider.CacheOptions{MaxEntries: 2}
		if shared {
			opts = keyprovider.CacheOptions{Store: keyprovider.NewCacheStore(2)}
		}
		c := newCache(t, s, opts)
		for i, tenant := range []string{"a", "b", "a", "b", "c", "b", "c", "a", "c", "b"} {
			mustEncrypt(t, c, 1, &esdk.EncryptOptions{EncryptionContext: context1(tenant)})
			require.EqualValues(t, []int{1, 2, 2, 2, 3, 3, 3, 4, 4, 5}[i], s.generated.Load(), "after message %d", i+1)
		}
		require.Equal(t, keyprovider.CacheStats{Hits: 5, Misses: 5, Entries: 2, Evictions: 3}, c.Stats())
	}
	s := newService(t, 0)
	c := newCache(t, s, keyprovider.CacheOptions{Store: keyprovider.NewCacheStore(0)})
	mustEncrypt(t, c, 1, nil)
	mustEncrypt(t, c, 1, nil)
	require.EqualValues(t, 2, s.generated.Load())
}

// For every suite: messages made and read through a cache are sound, share
// their data key and nothing else, and those without key derivation not even that.
func TestCachedMessagesAreSound(t *testing.T) {
	for _, id := range suite.All() {
		t.Run(fmt.Sprint(id), func(t *testing.T) {
			s := newService(t, 0)
			c := newCache(t, s, keyprovider.CacheOptions{})
			opts := &esdk.EncryptOptions{Suite: id, EncryptionContext: map[string]string{"tenant": "1", "secret": "2"}, RequiredContextKeys: []string{"secret"}}
			client := clientOf(opts)
			dataKeys, messageIDs := map[string]bool{}, map[string]bool{}
			for i := range 4 {
				plaintext := []byte(fmt.Sprint("message ", i))
				message, h, err := client.Encrypt(bg, plaintext, c, opts)
				require.NoError(t, err)
				dataKeys[dataKeyOf(h)] = true
				messageIDs[string(h.MessageID)] = true
				require.NotContains(t, string(message), "secret")
				for _, p := range []keyprovider.MasterKeyProvider{newAES(t, "service", 32), c} {
					got, h, err := client.Decrypt(bg, message, p, &esdk.DecryptOptions{EncryptionContext: map[string]string{"secret": "2"}})
					require.NoError(t, err)
					require.Equal(t, plaintext, got)
					require.Equal(t, "1", h.EncryptionContext["tenant"])
					require.Equal(t, "2", h.EncryptionContext["secret"])
				}
				message[len(message)-20] ^= 1 // in a tag or in the signature
				_, _, err = client.Decrypt(bg, message, c, &esdk.DecryptOptions{EncryptionContext: map[string]string{"secret": "2"}})
				require.True(t, errors.Is(err, esdk.ErrAuthentication) || errors.Is(err, esdk.ErrSignature), "%v", err)
			}
			require.Len(t, messageIDs, 4)
			if id.KDF() == 0 {
				require.Len(t, dataKeys, 4)
				require.EqualValues(t, 8, s.decrypted.Load())
				require.Equal(t, keyprovider.CacheStats{Bypasses: 12}, c.Stats())
				return
			}
			require.Len(t, dataKeys, 1)
			require.EqualValues(t, 1, s.decrypted.Load())
			require.Equal(t, keyprovider.CacheStats{Hits: 10, Misses: 2, Entries: 2}, c.Stats())
		})
	}
}

// Caches on one store share entries if and only if their partitions are equal.
func TestCachesShareEntriesAtEqualPartitions(t *testing.T) {
	store := keyprovider.NewCacheStore(100)
	s := newService(t, 0)
	var caches []*keyprovider.Cache
	for _, partition := range []string{"a", "a", "b", "", ""} {
		caches = append(caches, newCache(t, s, keyprovider.CacheOptions{Store: store, Partition: partition}))
	}
	dataKeys := map[string]bool{}
	var last []byte
	for i, c := range caches {
		var dataKey string
		last, dataKey = mustEncrypt(t, c, 1, nil)
		dataKeys[dataKey] = true
		require.Len(t, dataKeys, []int{1, 1, 2, 3, 4}[i])
	}
	for i, c := range caches {
		_, _, err := esdk.Decrypt(bg, last, c, nil)
		require.NoError(t, err)
		require.EqualValues(t, []int{1, 1, 2, 3, 4}[i], s.decrypted.Load())
	}
	require.Equal(t, "cache store with 8 entries", store.String())

	caches[1].Purge() // of both caches that share "a"
	require.Equal(t, "cache store with 6 entries", store.String())
	mustEncrypt(t, caches[2], 1, nil)
	require.EqualValues(t, 4, s.generated.Load())
	mustEncrypt(t, caches[0], 1, nil)
	require.EqualValues(t, 5, s.generated.Load())
	store.Purge()
	require.Equal(t, "cache store with 0 entries", store.String())
	require.Zero(t, caches[2].Stats().Entries)
}

func TestCacheStats(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newService(t, time.Second)
		c := newCache(t, s, keyprovider.CacheOptions{MaxAge: time.Minute, MaxMessages: 3, MaxBytes: 10})
		for range 2 {
			go esdk.Encrypt(bg, nil, c, nil)
		}
		go esdk.Encrypt(bg, make([]byte, 11), c, nil)
		synctest.Wait()
		require.Equal(t, keyprovider.CacheStats{Misses: 1, Bypasses: 1, InFlight: 2}, c.Stats())
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, keyprovider.CacheStats{Hits: 1, Misses: 1, Bypasses: 1, Entries: 1}, c.Stats())
		mustEncrypt(t, c, 0, nil)
		require.Equal(t, keyprovider.CacheStats{Hits: 2, Misses: 1, Bypasses: 1, Expirations: 1}, c.Stats())
		mustEncrypt(t, c, 0, nil)
		require.Equal(t, 1, c.Stats().Entries)
		time.Sleep(54 * time.Second)
		s.failWith(errors.New("throttled"))
		mustEncrypt(t, c, 0, nil)
		require.Equal(t, keyprovider.CacheStats{Hits: 2, Misses: 3, Bypasses: 1, RefreshFailures: 1, Entries: 1, Expirations: 1}, c.Stats())
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, keyprovider.CacheStats{Hits: 2, Misses: 3, Bypasses: 1, RefreshFailures: 1, Expirations: 2}, c.Stats(), "expired on time, without any call")
		c.Purge()
	})
}

// A leaky provider would show its key, if the cache printed it.
type leaky struct {
	keyprovider.MasterKeyProvider
	Key string
}

func TestCachePrintsNoKeys(t *testing.T) {
	store := keyprovider.NewCacheStore(1)
	c := newCache(t, leaky{newAES(t, "key", 32), "top secret"}, keyprovider.CacheOptions{Store: store})
	mustEncrypt(t, c, 1, nil)
	var out bytes.Buffer
	for _, v := range []any{c, *c, store} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		b, err := json.Marshal(v)
		require.NoError(t, err)
		out.Write(b)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	}
	require.NotContains(t, out.String(), "top secret")
	require.NotContains(t, out.String(), "0xc0")
	require.Contains(t, out.String(), "data key cache with 1 entries")
	require.Contains(t, out.String(), "cache store with 1 entries")
}

// A done ctx gives its error even if the cache has what is asked for.
func TestCacheHonoursDoneContexts(t *testing.T) {
	c := newCache(t, newAES(t, "key", 32), keyprovider.CacheOptions{})
	mustEncrypt(t, c, 1, nil)
	done, cancel := context.WithCancel(bg)
	cancel()
	_, err := c.EncryptionMaterials(done, &keyprovider.EncryptionRequest{})
	require.ErrorIs(t, err, context.Canceled)
}
