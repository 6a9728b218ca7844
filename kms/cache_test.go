package kms_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

func cached(t testing.TB, p keyprovider.MasterKeyProvider, opts keyprovider.CacheOptions) *keyprovider.Cache {
	t.Helper()
	opts.MaxAge = time.Hour
	c, err := keyprovider.NewCache(p, opts)
	require.NoError(t, err)
	return c
}

// countCalls returns how often each operation was called since the last count.
func countCalls(s *kmstest.Server) map[string]int {
	n := map[string]int{}
	for _, c := range s.Calls() {
		n[c.Op]++
	}
	s.ResetCalls()
	return n
}

// Messages under data keys of a tenth of them each cost 10 calls to encrypt and
// as many to decrypt as there are data keys, one message after the other or all
// at once.
func TestCacheSavesCalls(t *testing.T) {
	t.Parallel()
	many := 1000
	if full() {
		many = 10_000
	}
	for _, test := range []struct {
		suite                 suite.ID
		messages, maxMessages int
		goroutines            int
	}{
		{suite.AES256GCMHKDFSHA512CommitKey, many, many / 10, 1},
		{suite.AES256GCMHKDFSHA512CommitKey, many, many / 10, many},
		{suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, 100, 10, 16},
	} {
		t.Run(fmt.Sprintf("%v, %d messages, %d goroutines", test.suite, test.messages, test.goroutines), func(t *testing.T) {
			s := newServer(t)
			p := strict(t, &kms.Options{Config: s.Config()}, s.CreateKey("eu-west-1"), s.CreateKey("us-east-1"))
			encrypter := cached(t, p, keyprovider.CacheOptions{MaxMessages: int64(test.maxMessages)})
			messages, dataKeys := make([][]byte, test.messages), make([]string, test.messages)
			each := func(do func(i int)) {
				var wg sync.WaitGroup
				for g := range test.goroutines {
					wg.Go(func() {
						for i := g; i < test.messages; i += test.goroutines {
							do(i)
						}
					})
				}
				wg.Wait()
			}
			each(func(i int) {
				message, h, err := esdk.Encrypt(t.Context(), fmt.Appendf(nil, "record %d", i), encrypter, &esdk.EncryptOptions{Suite: test.suite})
				if err != nil {
					t.Error(err)
					return
				}
				messages[i], dataKeys[i] = message, string(h.EncryptedDataKeys[0].Ciphertext)
			})
			n := test.messages / test.maxMessages
			require.Equal(t, map[string]int{"GenerateDataKey": n, "Encrypt": n}, countCalls(s))
			uses := map[string]int{}
			for _, key := range dataKeys {
				uses[key]++
			}
			require.Len(t, uses, n)
			for _, used := range uses {
				require.Equal(t, test.maxMessages, used)
			}

			decrypter := cached(t, p, keyprovider.CacheOptions{})
			each(func(i int) {
				plaintext, _, err := esdk.Decrypt(t.Context(), messages[i], decrypter, nil)
				if err != nil || string(plaintext) != fmt.Sprintf("record %d", i) {
					t.Errorf("message %d: %q, %v", i, plaintext, err)
				}
			})
			require.Equal(t, map[string]int{"Decrypt": n}, countCalls(s))
			require.Equal(t, keyprovider.CacheStats{Hits: int64(test.messages - n), Misses: int64(n), Entries: n}, decrypter.Stats())
		})
	}
}

// A cold cache makes one call, also of the real client.
func TestColdCacheMakesOneCall(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.SetLatency(20 * time.Millisecond)
	c := cached(t, strict(t, &kms.Options{Config: s.Config()}, s.CreateKey("eu-west-1")), keyprovider.CacheOptions{})
	messages := make([][]byte, 200)
	var wg sync.WaitGroup
	for i := range messages {
		wg.Go(func() {
			var err error
			if messages[i], _, err = esdk.Encrypt(t.Context(), nil, c, &esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range messages {
		wg.Go(func() {
			if _, _, err := esdk.Decrypt(t.Context(), messages[i], c, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, map[string]int{"GenerateDataKey": 1, "Decrypt": 1}, countCalls(s))
}

// BenchmarkCache is messages of 1 KiB with and without a cache, at several
// latencies of KMS (the server of kmstest; at 0 what remains is HTTP on the
// loopback interface):
//
//	go test -run '^$' -bench Cache -cpu 1 ./kms
func BenchmarkCache(b *testing.B) {
	s := newServer(b)
	p := strict(b, &kms.Options{Config: s.Config()}, s.CreateKey("eu-west-1"))
	plaintext := make([]byte, 1024)
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, suite.AES256GCMHKDFSHA512CommitKey} {
		opts := &esdk.EncryptOptions{Suite: id, EncryptionContext: map[string]string{"tenant": "42", "table": "orders"}}
		message, _, err := esdk.Encrypt(b.Context(), plaintext, p, opts)
		require.NoError(b, err)
		for _, latency := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond} {
			for name, provider := range map[string]keyprovider.MasterKeyProvider{
				"uncached": p, "cached": cached(b, p, keyprovider.CacheOptions{}),
			} {
				s.SetLatency(latency)
				_, _, err := esdk.Decrypt(b.Context(), message, provider, nil) // the entry is there, as in a service that runs
				require.NoError(b, err)
				_, _, err = esdk.Encrypt(b.Context(), plaintext, provider, opts)
				require.NoError(b, err)
				b.Run(fmt.Sprintf("%04x/encrypt/%v/%s", uint16(id), latency, name), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if _, _, err := esdk.Encrypt(b.Context(), plaintext, provider, opts); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run(fmt.Sprintf("%04x/decrypt/%v/%s", uint16(id), latency, name), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if _, _, err := esdk.Decrypt(b.Context(), message, provider, nil); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
