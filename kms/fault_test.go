package kms_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
)

func encryptErr(ctx context.Context, p keyprovider.MasterKeyProvider) error {
	_, err := keyprovider.Materials(p).EncryptionMaterials(ctx, &keyprovider.EncryptionRequest{})
	return err
}

func TestThrottlingThatPassesIsNotSeen(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := strict(t, &kms.Options{Config: s.Config()}, s.CreateKey("us-east-1"), s.CreateKey("eu-west-1"))
	s.Throttle(2)
	m := encrypt(t, p)
	s.Throttle(2)
	requireOpens(t, p, m, 0)
	require.Len(t, s.Calls(), 2+2+2+1)

	s.Throttle(1000)
	failure := refusal(t, p, m)
	require.Len(t, failure.Causes, 2)
	for _, cause := range failure.Causes {
		var api smithy.APIError
		require.ErrorAs(t, cause, &api)
		require.Equal(t, "ThrottlingException", api.ErrorCode())
	}
}

func TestAccessDeniedToTheFirstKeyLeavesTheSecond(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	keys := []string{s.CreateKey("us-east-1"), s.CreateKey("eu-west-1")}
	p := strict(t, &kms.Options{Config: s.Config()}, keys...)
	m := encrypt(t, p)
	s.DenyAccess(keys[0], "Decrypt")
	s.ResetCalls()
	requireOpens(t, p, m, 1)
	require.Equal(t, []string{keys[0], keys[1]}, []string{s.Calls()[0].KeyID, s.Calls()[1].KeyID})

	s.DenyAccess(keys[1], "Encrypt")
	err := encryptErr(t.Context(), p)
	var failure *kms.KeyError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, "Encrypt", failure.Op)
	var api smithy.APIError
	require.ErrorAs(t, err, &api)
	require.Equal(t, "AccessDeniedException", api.ErrorCode())
}

func TestWrongResponsesToEncryptFail(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key, generator := s.CreateKey("us-east-1"), s.CreateKey("eu-west-1")
	opts := &kms.Options{Config: s.Config()}
	good := kmstest.Reply{KeyID: key, Plaintext: bytes.Repeat([]byte{1}, 32), CiphertextBlob: []byte("blob")}
	for _, test := range []struct {
		id     string
		change func(*kmstest.Reply)
		want   string // empty: no error
	}{
		{key, func(*kmstest.Reply) {}, ""},
		{idOf(key), func(*kmstest.Reply) {}, ""},
		{"alias/a", func(*kmstest.Reply) {}, ""},
		{"alias/a", func(r *kmstest.Reply) { r.KeyID = key1 }, ""},
		{"alias/a", func(r *kmstest.Reply) { r.KeyID = key2 }, "the response is of another key, " + key2}, // of another Region
		{idOf(key), func(r *kmstest.Reply) { r.KeyID = inRegion(key, "eu-west-1") }, "the response is of another key, "},
		{key, func(r *kmstest.Reply) { r.KeyID = key2 }, "the response is of another key, " + key2},
		{idOf(key), func(r *kmstest.Reply) { r.KeyID = key2 }, "the response is of another key, " + key2},
		{key, func(r *kmstest.Reply) { r.KeyID = "" }, `the response names no key: "" is not an ARN`},
		{key, func(r *kmstest.Reply) { r.KeyID = idOf(key) }, "the response names no key"},
		{"alias/a", func(r *kmstest.Reply) { r.KeyID = "alias/a" }, "the response names no key"},
		{"alias/a", func(r *kmstest.Reply) { r.KeyID = "arn:aws:kms:us-east-1:1:alias/a" }, "is the ARN of an alias"},
		{key, func(r *kmstest.Reply) { r.CiphertextBlob = nil }, "the response has no ciphertext"},
	} {
		reply := good
		test.change(&reply)
		for _, op := range []string{"GenerateDataKey", "Encrypt"} {
			s.Intercept(func(_ context.Context, call kmstest.Call) *kmstest.Reply {
				if call.Op == op {
					return &reply
				}
				return nil
			})
			p := strict(t, opts, test.id)
			if op == "Encrypt" {
				p = strict(t, opts, generator, test.id)
			}
			err := encryptErr(t.Context(), p)
			if test.want == "" {
				require.NoError(t, err)
				continue
			}
			var failure *kms.KeyError
			require.ErrorAs(t, err, &failure)
			require.Equal(t, op, failure.Op)
			require.Equal(t, test.id, failure.KeyID)
			require.ErrorContains(t, failure.Err, test.want)
		}
	}
	for _, size := range []int{0, 16, 31, 33} {
		reply := good
		reply.Plaintext = make([]byte, size)
		s.Intercept(func(context.Context, kmstest.Call) *kmstest.Reply { return &reply })
		err := encryptErr(t.Context(), strict(t, opts, key))
		require.ErrorContains(t, err, "bytes; ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384 needs 32")
		var failure *kms.KeyError
		require.ErrorAs(t, err, &failure, "refused here, and not only by the manager")
		require.Equal(t, "GenerateDataKey", failure.Op)
	}
}

func TestWrongResponsesToDecryptAreCauses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	keys := []string{s.CreateKey("us-east-1"), s.CreateKey("eu-west-1")}
	opts := &kms.Options{Config: s.Config()}
	m := encrypt(t, strict(t, opts, keys...))
	for want, reply := range map[string]kmstest.Reply{
		`the response is of another key, "` + keys[1] + `"`: {KeyID: keys[1], Plaintext: m.DataKey},
		`the response is of another key, ""`:                {Plaintext: m.DataKey},
		`the response is of another key, "` + idOf(keys[0]): {KeyID: idOf(keys[0]), Plaintext: m.DataKey},
		"the response has a data key of 0 bytes":            {KeyID: keys[0]},
		"the response has a data key of 16 bytes":           {KeyID: keys[0], Plaintext: m.DataKey[:16]},
		"the response has a data key of 33 bytes":           {KeyID: keys[0], Plaintext: append(m.DataKey[:32:32], 0)},
		"KMSInternalException":                              {Error: "KMSInternalException", Status: http.StatusInternalServerError},
		"StatusCode: 404":                                   {KeyID: keys[0], Plaintext: m.DataKey, Status: http.StatusNotFound},
	} {
		s.Intercept(func(_ context.Context, call kmstest.Call) *kmstest.Reply {
			if call.KeyID == keys[0] {
				return &reply
			}
			return nil
		})
		for _, p := range []keyprovider.MasterKeyProvider{strict(t, opts, keys...), discovery(t, nil, opts)} {
			requireOpens(t, p, m, 1) // the next entry, all the same
			first := *m
			first.EncryptedDataKeys = m.EncryptedDataKeys[:1]
			err := refusal(t, p, &first)
			var failure *kms.KeyError
			require.ErrorAs(t, err, &failure)
			require.Equal(t, kms.KeyError{Op: "Decrypt", KeyID: keys[0], Err: failure.Err}, *failure)
			require.ErrorContains(t, err, want)
		}
	}
}

func TestAClientThatReturnsNothingIsAnError(t *testing.T) {
	t.Parallel()
	p := strict(t, &kms.Options{ClientFor: func(context.Context, string) (kms.API, error) {
		return stub{decrypt: func(context.Context, *awskms.DecryptInput) (*awskms.DecryptOutput, error) { return nil, nil }}, nil
	}}, key1)
	require.ErrorContains(t, refusal(t, p, entries(entryOf(key1))), "neither a result nor an error")
}

func TestATimeoutEndsTheWait(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := strict(t, &kms.Options{Config: s.Config()}, s.CreateKey("us-east-1"), s.CreateKey("eu-west-1"))
	m := encrypt(t, p)
	s.SetLatency(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := p.DecryptDataKey(ctx, request(m), m.EncryptedDataKeys)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	err = encryptErr(ctx, p)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestACancelledContextStopsBetweenEntries(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	keys := []string{s.CreateKey("us-east-1"), s.CreateKey("us-east-1"), s.CreateKey("us-east-1")}
	opts := &kms.Options{Config: s.Config()}
	m := encrypt(t, strict(t, opts, keys...))
	for _, p := range []keyprovider.MasterKeyProvider{strict(t, opts, keys...), discovery(t, nil, opts)} {
		ctx, cancel := context.WithCancel(t.Context())
		s.ResetCalls()
		s.Intercept(func(_ context.Context, call kmstest.Call) *kmstest.Reply {
			if call.KeyID == keys[1] {
				cancel()
			}
			return &kmstest.Reply{Error: "DisabledException", Message: call.KeyID}
		})
		key, err := p.DecryptDataKey(ctx, request(m), m.EncryptedDataKeys)
		require.Nil(t, key)
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, keyprovider.ErrNoMatch)
		var disabled *types.DisabledException
		if errors.As(err, &disabled) { // the answer was as fast as the end of ctx
			require.Equal(t, keys[1], disabled.ErrorMessage(), "what the entries before said is not why")
		}
		for _, call := range s.Calls() {
			require.NotEqual(t, keys[2], call.KeyID)
		}

		s.Intercept(nil)
		s.ResetCalls()
		_, err = p.DecryptDataKey(ctx, request(m), m.EncryptedDataKeys)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, encryptErr(ctx, strict(t, opts, keys...)), context.Canceled)
		require.Empty(t, s.Calls(), "nothing is called once the context is done")
	}
}

func TestHostileMessagesCostOneCallForEachMatchingEntryAndFewCauses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := s.CreateKey("us-east-1")
	p := strict(t, &kms.Options{Config: s.Config()}, key)
	m := entries()
	for range 65535 - 2 {
		m.EncryptedDataKeys = append(m.EncryptedDataKeys, entryOf(key1))
	}
	m.EncryptedDataKeys = append(m.EncryptedDataKeys, entryOf(key), entryOf(key))
	failure := refusal(t, p, m)
	require.Len(t, s.Calls(), 2)
	require.Len(t, failure.Causes, 2+8+1)
	require.ErrorContains(t, failure.Causes[10], "65525 more encrypted data keys skipped")
	require.NotErrorIs(t, failure, keyprovider.ErrNoMatch)
}

func TestGrantTokensAndTheContextGoWithEveryCall(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := strict(t, &kms.Options{Config: s.Config(), GrantTokens: []string{"grant 1", "grant 2"}}, s.CreateKey("us-east-1"), s.CreateKey("eu-west-1"))
	m := encrypt(t, p)
	requireOpens(t, p, m, 0)
	require.Contains(t, m.EncryptionContext, "aws-crypto-public-key")
	calls := s.Calls()
	require.Len(t, calls, 3)
	for _, call := range calls {
		require.Equal(t, []string{"grant 1", "grant 2"}, call.GrantTokens)
		require.Equal(t, m.EncryptionContext, call.EncryptionContext)
	}
	require.Equal(t, 32, calls[0].NumberOfBytes)
	require.Equal(t, m.EncryptedDataKeys[0].Ciphertext, calls[2].CiphertextBlob)
}
