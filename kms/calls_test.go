package kms_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// createKeys creates n keys in two Regions.
func createKeys(s *kmstest.Server, n int) (arns []string) {
	for i := range n {
		arns = append(arns, s.CreateKey([]string{"us-east-1", "eu-west-1"}[i%2]))
	}
	return arns
}

func TestEncryptingGeneratesOnceAndEncryptsUnderTheOtherKeysAtTheSameTime(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for n := 1; n <= 6; n++ {
		keys := createKeys(s, n)
		var together sync.WaitGroup // all calls of Encrypt are under way at some time
		together.Add(n - 1)
		s.Intercept(func(_ context.Context, call kmstest.Call) *kmstest.Reply {
			if call.Op == "Encrypt" {
				together.Done()
				together.Wait()
			}
			return nil
		})
		s.ResetCalls()
		m := encrypt(t, strict(t, &kms.Options{Config: s.Config()}, keys...))
		calls := s.Calls()
		require.Len(t, calls, n)
		require.Equal(t, "GenerateDataKey", calls[0].Op)
		require.Equal(t, keys[0], calls[0].KeyID)
		for i, edk := range m.EncryptedDataKeys {
			require.Equal(t, keys[i], string(edk.ProviderInfo), "the order of the keys, not of the answers")
		}
		for _, call := range calls[1:] {
			require.Equal(t, "Encrypt", call.Op)
		}
	}
}

func TestDecryptingCallsOnceForEachMatchingEntryUntilOneOpens(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	keys := createKeys(s, 5)
	opts := &kms.Options{Config: s.Config()}
	m := encrypt(t, strict(t, opts, keys...))
	called := func(p keyprovider.MasterKeyProvider) (called []string) {
		s.ResetCalls()
		_, _ = p.DecryptDataKey(t.Context(), request(m), m.EncryptedDataKeys)
		for _, call := range s.Calls() {
			require.Equal(t, "Decrypt", call.Op)
			require.Equal(t, regionOf(call.KeyID), call.Region)
			called = append(called, call.KeyID)
		}
		return called
	}
	require.Equal(t, keys[:1], called(strict(t, opts, keys[4], keys[0])), "in the order of the message")
	require.Equal(t, keys[3:4], called(strict(t, opts, keys[3])))
	require.Equal(t, keys[:1], called(discovery(t, nil, opts)))
	require.Equal(t, keys[1:2], called(discovery(t, &kms.DiscoveryFilter{Partition: "aws", Accounts: []string{kmstest.Account}, Regions: []string{"eu-west-1"}}, opts)))
	require.Empty(t, called(strict(t, opts, s.CreateKey("us-east-1"))))

	require.NoError(t, s.DisableKey(keys[0]))
	require.NoError(t, s.DisableKey(keys[3]))
	require.Equal(t, []string{keys[0], keys[3], keys[4]}, called(strict(t, opts, keys[4], keys[3], keys[0])))
	require.Equal(t, keys[:2], called(discovery(t, nil, opts)))
}

func TestProvidersCanBeSharedByManyGoroutines(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	keys := createKeys(s, 3)
	var made atomic.Int32
	opts := &kms.Options{ClientFor: func(_ context.Context, region string) (kms.API, error) {
		made.Add(1)
		return awskms.NewFromConfig(*s.Config(), func(o *awskms.Options) { o.Region = region }), nil
	}}
	p, d := strict(t, opts, keys...), discovery(t, nil, opts)
	var wg sync.WaitGroup
	errs := make([]error, 64)
	for i := range errs {
		wg.Go(func() {
			plaintext := fmt.Sprint("message ", i)
			message, _, err := esdk.Encrypt(context.Background(), []byte(plaintext), p, nil)
			for _, p := range []keyprovider.MasterKeyProvider{p, d} {
				var got []byte
				if err == nil {
					got, _, err = esdk.Decrypt(context.Background(), message, p, nil)
				}
				if err == nil && string(got) != plaintext {
					err = fmt.Errorf("got %q", got)
				}
			}
			errs[i] = err
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.EqualValues(t, 2+1, made.Load(), "one client a Region and provider")
}

// BenchmarkEncrypt shows that further keys cost one more round trip together.
func BenchmarkEncrypt(b *testing.B) {
	const latency = 20 * time.Millisecond
	s := newServer(b)
	for _, n := range []int{1, 2, 5} {
		p := strict(b, &kms.Options{Config: s.Config()}, createKeys(s, n)...)
		s.SetLatency(0)
		encrypt(b, p) // opens the connections
		s.SetLatency(latency)
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			for b.Loop() {
				encrypt(b, p)
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/latency.Seconds(), "round-trips/op")
		})
	}
}
