package kms_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/suite"
)

func TestClientsAreMadeOncePerRegion(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	keys := []string{s.CreateKey("us-east-1"), s.CreateKey("eu-west-1"), s.CreateKey("us-east-1")}
	r := &regions{inner: s}
	opts := &kms.Options{ClientFor: r.clientFor}
	p := strict(t, opts, keys...)
	require.Empty(t, r.asked, "made by the first call")
	m := encrypt(t, strict(t, &kms.Options{Config: s.Config()}, keys...))
	for range 3 {
		requireOpens(t, p, m, 0)
		require.Equal(t, []string{"us-east-1"}, r.asked)
	}

	s.DenyAccess(keys[1])
	m.EncryptedDataKeys = m.EncryptedDataKeys[1:2]
	for range 3 {
		refusal(t, p, m)
		require.Equal(t, []string{"us-east-1", "eu-west-1"}, r.asked, "the program's own keys are there, though the call failed")
	}
}

func TestClientsOfRegionsThatMessagesNameAreKeptOnlyOnceACallSucceeded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	good := encrypt(t, strict(t, &kms.Options{Config: s.Config()}, s.CreateKey("us-east-1")))
	r := &regions{inner: s}
	p := discovery(t, nil, &kms.Options{ClientFor: r.clientFor})
	bad := entries(entryOf(strings.Replace(key1, "us-east-1", "us-hostile-1", 1)), entryOf(strings.Replace(key1, "us-east-1", "us-hostile-2", 1)), entryOf(key1))
	for range 2 {
		refusal(t, p, bad)
	}
	require.Equal(t, []string{"us-hostile-1", "us-hostile-2", "us-east-1", "us-hostile-1", "us-hostile-2", "us-east-1"}, r.asked)

	r.asked = nil
	requireOpens(t, p, good, 0)
	refusal(t, p, bad)
	requireOpens(t, p, good, 0)
	require.Equal(t, []string{"us-east-1", "us-hostile-1", "us-hostile-2"}, r.asked)
}

func TestAClientThatPanicsIsNotKept(t *testing.T) {
	t.Parallel()
	asked := 0
	p := discovery(t, nil, &kms.Options{ClientFor: func(context.Context, string) (kms.API, error) {
		asked++
		return panickingAPI{}, nil
	}})
	m := entries(entryOf(key1))
	for n := range 2 {
		require.PanicsWithValue(t, "a bug of the client's", func() {
			p.DecryptDataKey(t.Context(), &keyprovider.Request{Suite: suite.AES256GCMHKDFSHA512CommitKey}, m.EncryptedDataKeys)
		})
		require.Equal(t, n+1, asked)
	}
}

// panickingAPI panics when it is asked to decrypt.
type panickingAPI struct{ kms.API }

func (panickingAPI) Decrypt(context.Context, *awskms.DecryptInput, ...func(*awskms.Options)) (*awskms.DecryptOutput, error) {
	panic("a bug of the client's")
}

// A call that fails gives up the client of a Region that a message named only
// when no other call uses it: hostile messages sent at the same time as others
// must not make a client for each of these.
func TestCallsAtTheSameTimeShareTheClientOfARegion(t *testing.T) {
	t.Parallel()
	made := 0
	called, answer := make(chan struct{}), make(chan error)
	p := discovery(t, nil, &kms.Options{ClientFor: func(context.Context, string) (kms.API, error) {
		made++
		return stub{decrypt: func(context.Context, *awskms.DecryptInput) (*awskms.DecryptOutput, error) {
			called <- struct{}{}
			return nil, <-answer
		}}, nil
	}})
	done := make(chan error, 1)
	call := func() { // returns when the client is being used
		m := entries(entryOf(key1))
		go func() {
			_, err := p.DecryptDataKey(t.Context(), request(m), m.EncryptedDataKeys)
			done <- err
		}()
		<-called
	}
	fail := func() { // returns when one of the calls has failed
		answer <- errors.New("denied")
		require.ErrorContains(t, <-done, "denied")
	}
	call()
	call()
	fail()
	call()
	require.Equal(t, 1, made, "one call uses the client still")
	fail()
	fail()
	call()
	require.Equal(t, 2, made, "no call used it any more, and none had succeeded")
	fail()
}

func TestClientForThatFailsIsACauseAndAskedAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	keys := []string{s.CreateKey("us-east-1"), s.CreateKey("eu-west-1")}
	m := encrypt(t, strict(t, &kms.Options{Config: s.Config()}, keys...))
	broken := errors.New("no role in this Region")
	var fail bool
	r := &regions{inner: s}
	p := strict(t, &kms.Options{ClientFor: func(ctx context.Context, region string) (kms.API, error) {
		if fail && region == "us-east-1" {
			return nil, broken
		}
		return r.clientFor(ctx, region)
	}}, keys...)
	fail = true
	requireOpens(t, p, m, 1)
	m.EncryptedDataKeys = m.EncryptedDataKeys[:1]
	err := refusal(t, p, m)
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "us-east-1")
	fail = false
	requireOpens(t, p, m, 0)

	for _, none := range []kms.API{nil, (*awskms.Client)(nil)} {
		p := strict(t, &kms.Options{ClientFor: func(context.Context, string) (kms.API, error) { return none, nil }}, keys...)
		require.ErrorContains(t, refusal(t, p, m), "Options.ClientFor returned no client for Region us-east-1")
	}
}

// A result is what a call in another goroutine returned.
type result struct {
	key *keyprovider.DataKey
	err error
}

// start decrypts an entry of key1 in another goroutine.
func start(ctx context.Context, p keyprovider.MasterKeyProvider) <-chan result {
	done := make(chan result, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				done <- result{nil, errPanic}
			}
		}()
		key, err := p.DecryptDataKey(ctx, &keyprovider.Request{Suite: suite.AES128GCM}, entries(entryOf(key1)).EncryptedDataKeys)
		done <- result{key, err}
	}()
	return done
}

var errPanic = errors.New("panic")

// willing is a client that decrypts everything.
var willing = stub{decrypt: func(_ context.Context, in *awskms.DecryptInput) (*awskms.DecryptOutput, error) {
	return &awskms.DecryptOutput{KeyId: in.KeyId, Plaintext: bytes.Repeat([]byte{1}, 16)}, nil
}}

func TestCallsThatWaitForAClientOutliveTheOneThatMakesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		made := 0
		p := strict(t, &kms.Options{ClientFor: func(ctx context.Context, _ string) (kms.API, error) {
			if made++; made == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return willing, nil
		}}, key1)
		ctx, cancel := context.WithCancel(t.Context())
		first := start(ctx, p)
		synctest.Wait()
		second, third := start(t.Context(), p), start(t.Context(), p)
		impatient, giveUp := context.WithCancel(t.Context())
		fourth := start(impatient, p)
		synctest.Wait()
		giveUp()
		require.ErrorIs(t, (<-fourth).err, context.Canceled, "it does not wait for the client of another call")
		require.Equal(t, 1, made)
		cancel()
		require.ErrorIs(t, (<-first).err, context.Canceled)
		require.NoError(t, (<-second).err)
		require.NoError(t, (<-third).err)
		require.Equal(t, 2, made)
	})
}

func TestAClientForThatPanicsLeavesNobodyWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release, made := make(chan bool), 0
		p := strict(t, &kms.Options{ClientFor: func(context.Context, string) (kms.API, error) {
			if made++; made == 1 {
				<-release
				panic("a bug of the caller's")
			}
			return willing, nil
		}}, key1)
		first := start(t.Context(), p)
		synctest.Wait()
		second := start(t.Context(), p)
		synctest.Wait()
		close(release)
		require.ErrorIs(t, (<-first).err, errPanic)
		require.ErrorContains(t, (<-second).err, "Options.ClientFor did not return")
		require.NoError(t, (<-start(t.Context(), p)).err)
	})
}

func TestAnUnknownSuiteIsRefusedBeforeAnyCall(t *testing.T) {
	t.Parallel()
	p := strict(t, &kms.Options{ClientFor: func(context.Context, string) (kms.API, error) {
		return stub{decrypt: func(_ context.Context, in *awskms.DecryptInput) (*awskms.DecryptOutput, error) {
			return &awskms.DecryptOutput{KeyId: in.KeyId}, nil // no key, as long as such a suite's
		}}, nil
	}}, key1)
	m := entries(entryOf(key1))
	m.Suite = suite.ID(1)
	refusal(t, p, m)
	keys, err := p.MasterKeys(t.Context(), request(m))
	require.NoError(t, err)
	_, err = keys[0].GenerateDataKey(t.Context(), request(m))
	require.ErrorContains(t, err, "unsupported algorithm suite")
}
