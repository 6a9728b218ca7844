package kms_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// A Quorum over keys in three Regions makes three calls for a message, as without it.
// When one Region is cut off no message fails, that Region is called once in a cool-down,
// and what was written is readable in each of the others.
func TestQuorumOverRegions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	regions := []string{"eu-central-1", "eu-north-1", "eu-west-1"}
	var keys []string
	for _, r := range regions {
		keys = append(keys, s.CreateKey(r))
	}
	for lost, region := range regions[:2] { // the first generates, the second does not
		p := strict(t, &kms.Options{Config: s.Config()}, keys...)
		var mu sync.Mutex
		var missing []error
		q, err := keyprovider.Quorum(p, keyprovider.QuorumOptions{Min: 2, Wait: time.Minute, OnMissing: func(_ context.Context, errs []error) {
			mu.Lock()
			defer mu.Unlock()
			missing = append(missing, errs...)
		}})
		require.NoError(t, err)
		s.ResetCalls()
		for range 3 {
			_, h, err := esdk.Encrypt(t.Context(), nil, q, nil)
			require.NoError(t, err)
			for i, edk := range h.EncryptedDataKeys {
				require.Equal(t, keys[i], string(edk.ProviderInfo))
			}
			require.Equal(t, map[string]int{"GenerateDataKey": 1, "Encrypt": 2}, countCalls(s))
		}
		require.Empty(t, missing)

		// The same keys with less patience.
		q, err = keyprovider.Quorum(p, keyprovider.QuorumOptions{Min: 2, Wait: 3 * time.Second, Cooldown: time.Hour, OnMissing: func(_ context.Context, errs []error) {
			mu.Lock()
			defer mu.Unlock()
			missing = append(missing, errs...)
		}})
		require.NoError(t, err)
		s.CutOff(region)
		var messages [][]byte
		for range 4 {
			message, h, err := esdk.Encrypt(t.Context(), []byte("hello"), q, nil)
			require.NoError(t, err)
			require.Len(t, h.EncryptedDataKeys, 2)
			messages = append(messages, message)
		}
		s.Restore(region)
		require.Len(t, missing, 4)
		for _, err := range missing {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, keys[lost])
		}
		require.ErrorContains(t, missing[3], "not asked, as it failed")
		calls := 0
		for _, c := range s.Calls() {
			if c.Region == region {
				calls++
			}
		}
		require.Equal(t, 1, calls)
		for i, key := range keys {
			if i == lost {
				continue
			}
			for _, message := range messages {
				plaintext, _, err := esdk.Decrypt(t.Context(), message, strict(t, &kms.Options{Config: s.Config()}, key), nil)
				require.NoError(t, err)
				require.Equal(t, "hello", string(plaintext))
			}
		}
	}
}

// A key that refuses is left out as one that does not answer: the error is kept.
func TestQuorumOverAKeyThatIsDenied(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	keys := []string{s.CreateKey("eu-central-1"), s.CreateKey("eu-north-1")}
	s.DenyAccess(keys[0])
	p := strict(t, &kms.Options{Config: s.Config()}, keys...)
	for least, ok := range map[int]bool{1: true, 2: false} {
		var missing []error
		q, err := keyprovider.Quorum(p, keyprovider.QuorumOptions{Min: least, OnMissing: func(_ context.Context, errs []error) { missing = errs }})
		require.NoError(t, err)
		for range 2 {
			_, _, err = esdk.Encrypt(t.Context(), nil, q, nil)
			var failed *kms.KeyError
			if ok {
				require.NoError(t, err)
				require.Len(t, missing, 1)
				err = missing[0]
			}
			require.ErrorAs(t, err, &failed)
			require.Equal(t, keys[0], failed.KeyID)
			require.ErrorContains(t, err, "AccessDenied")
		}
	}
}

// The table of the package documentation for writing: whatever the failure of a
// Region, the message that meets it is written without its key, the next messages do
// not ask it, and a Quorum that needs all keys says why it cannot.
func TestWhatEachFailureOfARegionDoesToAQuorum(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail     func(s *kmstest.Server, key string)
		attempts int // of the AWS SDK's client, to generate or to encrypt
		is       func(error) bool
	}{
		"time-out": {func(s *kmstest.Server, _ string) { s.CutOff(near) }, 1, isA[net.Error]},
		"refused":  {func(s *kmstest.Server, _ string) { s.Refuse(near) }, 3, isA[net.Error]},
		"5xx": {func(s *kmstest.Server, _ string) {
			s.Fail(near, kmstest.Reply{Error: "KMSInternalException", Status: 500})
		}, 3, isA[*types.KMSInternalException]},
		"throttled": {func(s *kmstest.Server, _ string) { s.Fail(near, kmstest.Reply{Error: "ThrottlingException"}) }, 3, hasCode("ThrottlingException")},
		"denied":    {func(s *kmstest.Server, key string) { s.DenyAccess(key) }, 1, hasCode("AccessDeniedException")},
		"disabled":  {func(s *kmstest.Server, key string) { _ = s.DisableKey(key) }, 1, isA[*types.DisabledException]},
		"not found": {func(s *kmstest.Server, _ string) { s.Fail(near, kmstest.Reply{Error: "NotFoundException"}) }, 1, isA[*types.NotFoundException]},
	} {
		for _, generates := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, generates: %t", name, generates), func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				keys := []string{s.CreateKey(near), s.CreateKey(middle), s.CreateKey(far)}
				bad := keys[0]
				if !generates {
					keys[0], keys[1] = keys[1], keys[0]
				}
				opts := &kms.Options{Config: s.Config()}
				if name == "time-out" {
					opts.Timeout = 2 * time.Second
				}
				p := strict(t, opts, keys...)
				quorum := func(least int, missing *[]error) keyprovider.MasterKeyProvider {
					q, err := keyprovider.Quorum(p, keyprovider.QuorumOptions{Min: least, Wait: time.Minute, Cooldown: time.Hour,
						OnMissing: func(_ context.Context, errs []error) { *missing = errs }})
					require.NoError(t, err)
					return q
				}
				test.fail(s, bad)
				var missing []error
				q := quorum(2, &missing)
				for _, attempts := range []int{test.attempts, 0} {
					s.ResetCalls()
					missing = nil
					_, h, err := esdk.Encrypt(t.Context(), nil, q, nil)
					require.NoError(t, err)
					require.Len(t, h.EncryptedDataKeys, 2)
					require.Len(t, missing, 1)
					require.True(t, test.is(missing[0]), "%v", missing[0])
					require.ErrorContains(t, missing[0], bad)
					calls := 0
					for _, c := range s.Calls() {
						if c.Region == near {
							calls++
						}
					}
					require.Equal(t, attempts, calls)
				}
				_, _, err := esdk.Encrypt(t.Context(), nil, quorum(3, &missing), nil)
				require.ErrorContains(t, err, "QuorumOptions.Min is 3")
				require.True(t, test.is(err), "%v", err)
			})
		}
	}
}
