package kms_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/suite"
)

// short is a Timeout for calls that must not be answered: any will do.
const short = 30 * time.Millisecond

// calls are one of each call that a provider makes, for keys in us-east-1 of
// which nobody has a message.
func calls(t *testing.T, opts kms.Options, key string, pub *ecdh.PublicKey) map[string]func(context.Context) error {
	req := &keyprovider.Request{Suite: suite.AES256GCMHKDFSHA512CommitKey}
	p := strict(t, &opts, key)
	keys, err := p.MasterKeys(t.Context(), req)
	require.NoError(t, err)
	rsaKey, err := kms.NewRSA(t.Context(), key, nil, kms.OAEPSHA256, &opts)
	require.NoError(t, err)
	agreement, err := kms.NewECDHStatic(t.Context(), key, pub, &kms.ECDHOptions{Options: opts, PublicKey: pub})
	require.NoError(t, err)
	entry := entryOf(key)
	ofRSA := entry
	ofRSA.ProviderID, ofRSA.Ciphertext = "aws-kms-rsa", make([]byte, 256)
	decrypting := func(p keyprovider.MasterKeyProvider, edk keyprovider.EncryptedDataKey) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := p.DecryptDataKey(ctx, req, []keyprovider.EncryptedDataKey{edk})
			return err
		}
	}
	return map[string]func(context.Context) error{
		"GenerateDataKey": func(ctx context.Context) error { _, err := keys[0].GenerateDataKey(ctx, req); return err },
		"Encrypt": func(ctx context.Context) error {
			_, err := keys[0].EncryptDataKey(ctx, req, make([]byte, 32))
			return err
		},
		"Decrypt":             decrypting(p, entry),
		"Decrypt (discovery)": decrypting(discovery(t, nil, &opts), entry),
		"Decrypt (RSA)":       decrypting(rsaKey, ofRSA),
		"Decrypt (Multi)": func(ctx context.Context) error {
			multi, err := keyprovider.Multi(rsaKey, p)
			require.NoError(t, err)
			return decrypting(multi, entry)(ctx)
		},
		"DeriveSharedSecret": func(ctx context.Context) error {
			_, err := agreement.EncryptDataKey(ctx, req, make([]byte, 32))
			return err
		},
		"GetPublicKey": func(ctx context.Context) error {
			_, err := kms.NewECDHDiscovery(ctx, key, &kms.ECDHOptions{Options: opts})
			return err
		},
	}
}

// requireNamed checks that the error names the call's operation, which begins
// name, and the key, and that a deadline was its cause.
func requireNamed(t *testing.T, err error, name, key string) {
	t.Helper()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var failure *kms.KeyError
	require.ErrorAs(t, err, &failure)
	require.Regexp(t, "^"+failure.Op+"( |$)", name)
	require.Equal(t, key, failure.KeyID)
	require.ErrorContains(t, err, failure.Error())
}

func TestEveryCallEndsAfterTheTimeout(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := s.CreateKey("us-east-1")
	s.CutOff("us-east-1")
	priv, err := ecdh.P256().GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, call := range calls(t, kms.Options{Config: s.Config(), Timeout: short}, key, priv.PublicKey()) {
		t.Run(name, func(t *testing.T) {
			err := call(t.Context())
			requireNamed(t, err, name, key)
			require.ErrorContains(t, err, "timed out after 30ms: ")
		})
	}
}

// Decryption's error was the context's alone.
func TestTheErrorOfACallersContextNamesTheCall(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := s.CreateKey("us-east-1")
	s.CutOff("us-east-1")
	priv, err := ecdh.P256().GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, call := range calls(t, kms.Options{Config: s.Config()}, key, priv.PublicKey()) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), short)
			defer cancel()
			err := call(ctx)
			requireNamed(t, err, name, key)
			require.NotContains(t, err.Error(), "timed out")
		})
	}
	t.Run("Encrypt with further keys", func(t *testing.T) {
		first, err := keyprovider.NewRawAES("namespace", "name", make([]byte, 32))
		require.NoError(t, err)
		multi, err := keyprovider.Multi(first, strict(t, &kms.Options{Config: s.Config()}, key))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 20*short) // a signing key is made first
		defer cancel()
		requireNamed(t, encryptErr(ctx, multi), "Encrypt", key)
	})
}

func TestATimeoutOfOneEntryLetsDecryptionGoOn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	keys := []string{s.CreateKey("us-east-1"), s.CreateKey("eu-west-1")}
	m := encrypt(t, strict(t, &kms.Options{Config: s.Config()}, keys...))
	s.CutOff("us-east-1")
	r := &regions{inner: s}
	p := strict(t, &kms.Options{Timeout: short, ClientFor: func(ctx context.Context, region string) (kms.API, error) {
		if region == "us-east-1" {
			return r.clientFor(ctx, region)
		}
		return stub{decrypt: func(_ context.Context, in *awskms.DecryptInput) (*awskms.DecryptOutput, error) { // within any time
			return &awskms.DecryptOutput{KeyId: in.KeyId, Plaintext: m.DataKey}, nil
		}}, nil
	}}, keys...)
	requireOpens(t, p, m, 1)
}

func TestRetriesAreWithinTheTimeout(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := s.CreateKey("us-east-1")
	s.Throttle(1 << 30)
	config := s.Config()
	config.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff, o.RateLimiter = 1<<30, time.Millisecond, ratelimit.None
		})
	}
	err := encryptErr(t.Context(), strict(t, &kms.Options{Config: config, Timeout: 10 * short}, key))
	requireNamed(t, err, "GenerateDataKey", key)
	require.ErrorContains(t, err, "timed out after 300ms: ")
}

func TestClientForAndCredentialsAreWithinTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		patient := func(ctx context.Context) error { // until ctx ends
			<-ctx.Done()
			return ctx.Err()
		}
		p := strict(t, &kms.Options{ClientFor: func(ctx context.Context, _ string) (kms.API, error) { return nil, patient(ctx) }}, key1)
		err := (<-start(t.Context(), p)).err
		requireNamed(t, err, "Decrypt", key1)
		require.ErrorContains(t, err, "timed out after 10s: client for Region us-east-1: ")

		p = strict(t, &kms.Options{Timeout: time.Minute, Config: &aws.Config{
			Region: "us-east-1",
			Credentials: aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
				return aws.Credentials{}, patient(ctx)
			}),
		}}, key1)
		err = (<-start(t.Context(), p)).err
		requireNamed(t, err, "Decrypt", key1)
		require.ErrorContains(t, err, "timed out after 1m0s: ")

		p = strict(t, &kms.Options{Timeout: -1, ClientFor: func(ctx context.Context, _ string) (kms.API, error) {
			_, bounded := ctx.Deadline()
			require.False(t, bounded, "a negative Timeout is none")
			return willing, nil
		}}, key1)
		require.NoError(t, (<-start(t.Context(), p)).err)
	})
}

// A ClientFor that hangs and takes no notice of its context held up every later
// call for the Region.
func TestAClientForThatHangsHoldsNobodyUpForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made, release := 0, make(chan bool)
		p := strict(t, &kms.Options{ClientFor: func(context.Context, string) (kms.API, error) {
			if made++; made == 1 {
				<-release
			}
			return willing, nil
		}}, key1)
		hanging := start(t.Context(), p)
		synctest.Wait()
		err := (<-start(t.Context(), p)).err
		requireNamed(t, err, "Decrypt", key1)
		require.ErrorContains(t, err, "timed out after 10s: waited for the client for Region us-east-1, which another call was making")
		for range 2 {
			require.NoError(t, (<-start(t.Context(), p)).err)
			require.Equal(t, 2, made)
		}
		close(release)
		require.NoError(t, (<-hanging).err)
		require.NoError(t, (<-start(t.Context(), p)).err)
		require.Equal(t, 2, made, "the client that came too late takes no other's place")
	})
}

// Also when ClientFor ends its goroutine, as a test does that has failed.
func TestAClientForThatCallsGoexitLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made, release := 0, make(chan bool)
		p := strict(t, &kms.Options{ClientFor: func(context.Context, string) (kms.API, error) {
			if made++; made == 1 {
				<-release
				runtime.Goexit()
			}
			return willing, nil
		}}, key1)
		start(t.Context(), p)
		synctest.Wait()
		second := start(t.Context(), p)
		synctest.Wait()
		close(release)
		require.ErrorContains(t, (<-second).err, "Options.ClientFor did not return")
		require.NoError(t, (<-start(t.Context(), p)).err)
	})
}
