package kms_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

func eccKey(t testing.TB, curve ecdh.Curve) *ecdh.PrivateKey {
	t.Helper()
	k, err := curve.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return k
}

func derOf(t testing.TB, pub any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	require.NoError(t, err)
	return der
}

// ecdhStub is a client that answers what ECDH calls beyond API.
type ecdhStub struct {
	kms.API
	derive func(*awskms.DeriveSharedSecretInput) (*awskms.DeriveSharedSecretOutput, error)
}

func (s ecdhStub) DeriveSharedSecret(_ context.Context, in *awskms.DeriveSharedSecretInput, _ ...func(*awskms.Options)) (*awskms.DeriveSharedSecretOutput, error) {
	return s.derive(in)
}

// The entry and the secret are those that Python's cryptography computed for
// internal/keywrap: the private keys are the texts, the encryption context is
// {"a": "2", "b": "1"} and the data key 0xa0, 0xa1, ...
func TestECDHOpensAKnownEntry(t *testing.T) {
	t.Parallel()
	const (
		secret  = "fccc2ebbc23104b74110a48d725cc29e61c95ce4850a1166caf424579fa9c20a"
		info    = "010000002103e05aa8773b8995f197643aa2a14d259592ae25655a7c5775db6eafedbfdf244b00000021039817a8aac0bb0edfb8b6d0b351b91eefb722f7a418936eb0f68640f4e074f270"
		wrapped = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fc502c2f4d6c76be4c37f4d9a9d45a1a3b03fafa7f3cec3aba9dad8ccaf6a6987a54582609ad9e578d94c5ab378cd3e862612c2534f5a03268a5331465b29e8588ea8b5b81b711be4e6657301d996fa8f"
		dataKey = "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
	)
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		require.NoError(t, err)
		return b
	}
	party := func(name string) *ecdh.PublicKey {
		b := make([]byte, 32)
		copy(b[32-len(name):], name)
		priv, err := ecdh.P256().NewPrivateKey(b)
		require.NoError(t, err)
		return priv.PublicKey()
	}
	sender, recipient := party("sender's private key"), party("recipient's private key")
	var asked *awskms.DeriveSharedSecretInput
	opts := &kms.Options{ClientFor: func(context.Context, string) (kms.API, error) {
		return ecdhStub{derive: func(in *awskms.DeriveSharedSecretInput) (*awskms.DeriveSharedSecretOutput, error) {
			asked = in
			return &awskms.DeriveSharedSecretOutput{KeyId: in.KeyId, KeyAgreementAlgorithm: "ECDH", SharedSecret: unhex(secret)}, nil
		}}, nil
	}}
	m := entries(keyprovider.EncryptedDataKey{ProviderInfo: unhex(info), Ciphertext: unhex(wrapped)})
	m.DataKey, m.EncryptionContext = unhex(dataKey), map[string]string{"b": "1", "a": "2"}
	for _, id := range []string{"raw-ecdh", "aws-kms-ecdh"} {
		m.EncryptedDataKeys[0].ProviderID = id
		requireOpens(t, newECDHDiscovery(t, key1, recipient, opts), m, 0)
		require.Equal(t, derOf(t, sender), asked.PublicKey)
		requireOpens(t, newECDHStatic(t, key1, recipient, sender, opts), m, 0)
		require.Equal(t, derOf(t, sender), asked.PublicKey)
		requireOpens(t, newECDHStatic(t, key1, sender, recipient, opts), m, 0)
		require.Equal(t, derOf(t, recipient), asked.PublicKey)
	}
}

func TestECDHAsksForTheSharedSecretWithTheOtherKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	opts := &kms.Options{Config: s.Config(), GrantTokens: []string{"grant"}}
	arn, pub := e.createECCKey(t, "eu-west-1", ecdh.P384())
	priv := eccKey(t, ecdh.P384())
	peer := derOf(t, priv.PublicKey())
	static, discovery := newECDHStatic(t, arn, pub, priv.PublicKey(), opts), newECDHDiscovery(t, arn, pub, opts)
	theirs := ecdhByHand(t, priv, pub, "aws-kms-ecdh")
	s.ResetCalls()
	own := encrypt(t, static)
	requireOpens(t, static, own, 0)
	requireOpens(t, static, theirs, 0)
	requireOpens(t, discovery, theirs, 0)
	calls := s.Calls()
	require.Len(t, calls, 4)
	for _, call := range calls {
		require.Contains(t, call.UserAgent, "lib/esdk-go#")
		call.UserAgent = ""
		require.Equal(t, kmstest.Call{
			Op: "DeriveSharedSecret", Region: "eu-west-1", KeyID: arn, PublicKey: peer, KeyAgreementAlgorithm: "ECDH", GrantTokens: []string{"grant"},
		}, call)
	}
}

func TestECDHEntryLayout(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	for _, curve := range curves {
		arn, pub := e.createECCKey(t, "eu-west-1", curve)
		priv := eccKey(t, curve)
		p := newECDHStatic(t, arn, nil, priv.PublicKey(), e.options())
		salts := map[string]bool{}
		for _, id := range suite.All() {
			req := &keyprovider.Request{Suite: id, EncryptionContext: map[string]string{"b": "1", "a": ""}}
			keys, err := p.MasterKeys(t.Context(), req)
			require.NoError(t, err)
			require.Len(t, keys, 1)
			key, err := keys[0].GenerateDataKey(t.Context(), req)
			require.NoError(t, err)
			require.Len(t, key.Plaintext, id.KeySize())
			m := entries(key.Encrypted)
			m.DataKey, m.EncryptionContext = key.Plaintext, req.EncryptionContext
			require.Equal(t, key.Plaintext, openECDHByHand(t, priv, pub, m))
			salts[string(key.Encrypted.Ciphertext[:32])] = true
		}
		require.Len(t, salts, len(suite.All()), "each a salt of its own")
	}
}

func TestECDHDiscoveryDecryptsOnly(t *testing.T) {
	t.Parallel()
	p := newECDHDiscovery(t, key1, eccKey(t, ecdh.P256()).PublicKey(), &kms.Options{ClientFor: clientFor})
	req := &keyprovider.Request{Suite: suite.AES256GCM}
	keys, err := p.MasterKeys(t.Context(), req)
	require.Nil(t, keys)
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
	_, err = p.EncryptDataKey(t.Context(), req, make([]byte, 32))
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
	key, err := p.GenerateDataKey(t.Context(), req)
	require.Nil(t, key)
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
}

func TestECDHWrongResponsesFailEncryptionAndAreCausesOfDecryption(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	arn, pub := e.createECCKey(t, "eu-west-1", ecdh.P521())
	priv := eccKey(t, ecdh.P521())
	static, discovery := newECDHStatic(t, arn, pub, priv.PublicKey(), e.options()), newECDHDiscovery(t, arn, pub, e.options())
	m := ecdhByHand(t, priv, pub, "aws-kms-ecdh")
	secret, err := priv.ECDH(pub)
	require.NoError(t, err)
	good := kmstest.Reply{KeyID: arn, SharedSecret: secret, KeyAgreementAlgorithm: "ECDH"}
	for want, change := range map[string]func(*kmstest.Reply){
		"": func(*kmstest.Reply) {},
		"the response is of another key, \"" + key1:    func(r *kmstest.Reply) { r.KeyID = key1 },
		`the response is of another key, ""`:           func(r *kmstest.Reply) { r.KeyID = "" },
		`the response is of another algorithm, ""`:     func(r *kmstest.Reply) { r.KeyAgreementAlgorithm = "" },
		"the response has a secret of 0 bytes":         func(r *kmstest.Reply) { r.SharedSecret = nil },
		"a secret of 65 bytes; those of P-521 have 66": func(r *kmstest.Reply) { r.SharedSecret = secret[1:] },
		"the response has a secret of 67 bytes":        func(r *kmstest.Reply) { r.SharedSecret = append(secret[:66:66], 0) },
		"InvalidKeyUsageException":                     func(r *kmstest.Reply) { r.Error = "InvalidKeyUsageException" },
		"KMSInternalException":                         func(r *kmstest.Reply) { r.Error, r.Status = "KMSInternalException", 500 },
	} {
		reply := good
		change(&reply)
		s.Intercept(func(context.Context, kmstest.Call) *kmstest.Reply { return &reply })
		if want == "" {
			encrypt(t, static)
			requireOpens(t, static, m, 0)
			requireOpens(t, discovery, m, 0)
			continue
		}
		for _, err := range []error{encryptErr(t.Context(), static), refusal(t, static, m), refusal(t, discovery, m)} {
			var failure *kms.KeyError
			require.ErrorAs(t, err, &failure)
			require.Equal(t, kms.KeyError{Op: "DeriveSharedSecret", KeyID: arn, Err: failure.Err}, *failure)
			require.ErrorContains(t, failure.Err, want)
			require.NotErrorIs(t, err, keyprovider.ErrNoMatch)
		}
	}
}

// Another secret than that of the two keys, as from a KMS that is not AWS's.
func TestECDHAnotherSecretDoesNotOpen(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	arn, pub := e.createECCKey(t, "eu-west-1", ecdh.P256())
	m := ecdhByHand(t, eccKey(t, ecdh.P256()), pub, "aws-kms-ecdh")
	s.Intercept(func(context.Context, kmstest.Call) *kmstest.Reply {
		return &kmstest.Reply{KeyID: arn, SharedSecret: bytes.Repeat([]byte{1}, 32), KeyAgreementAlgorithm: "ECDH"}
	})
	require.ErrorContains(t, refusal(t, newECDHDiscovery(t, arn, pub, e.options()), m), "not wrapped for this key agreement")
}

func TestECDHTriesTheNextEntryAfterOneThatFails(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	arn, pub := e.createECCKey(t, "eu-west-1", ecdh.P256())
	priv := eccKey(t, ecdh.P256())
	m := ecdhByHand(t, priv, pub, "aws-kms-ecdh")
	good := m.EncryptedDataKeys[0]
	m.EncryptedDataKeys = nil
	for _, at := range []int{0, 40, 64, 64 + 32 + 15} { // salt, commitment key, data key, tag
		edk := good
		edk.Ciphertext = slices.Clone(good.Ciphertext)
		edk.Ciphertext[at] ^= 1
		m.EncryptedDataKeys = append(m.EncryptedDataKeys, edk)
	}
	for _, p := range []*kms.ECDH{newECDHStatic(t, arn, pub, priv.PublicKey(), e.options()), newECDHDiscovery(t, arn, pub, e.options())} {
		err := refusal(t, p, m)
		require.Len(t, err.Causes, 4)
		for i, want := range []string{"key agreement", "key agreement", "data key was altered", "data key was altered"} {
			require.ErrorContains(t, err.Causes[i], want)
			require.ErrorContains(t, err.Causes[i], fmt.Sprintf(`encrypted data key %d ("aws-kms-ecdh"): `, i+1))
		}
		all := *m
		all.EncryptedDataKeys = append(slices.Clone(m.EncryptedDataKeys), good, good)
		s.ResetCalls()
		requireOpens(t, p, &all, 4)
		require.Len(t, s.Calls(), 5, "one for each, and none once one opened")
	}
}

func TestECDHAFailedDerivationLeavesTheNextEntry(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	arn, pub := e.createECCKey(t, "eu-west-1", ecdh.P256())
	priv, denied := eccKey(t, ecdh.P256()), eccKey(t, ecdh.P256())
	m := ecdhByHand(t, priv, pub, "aws-kms-ecdh")
	m.EncryptedDataKeys = append(ecdhByHand(t, denied, pub, "aws-kms-ecdh").EncryptedDataKeys, m.EncryptedDataKeys...)
	der := string(derOf(t, denied.PublicKey()))
	s.Intercept(func(_ context.Context, call kmstest.Call) *kmstest.Reply {
		if string(call.PublicKey) == der {
			return &kmstest.Reply{Error: "ValidationException"}
		}
		return nil
	})
	requireOpens(t, newECDHDiscovery(t, arn, pub, e.options()), m, 1)
}

func TestECDHSkipsEntriesThatCannotBeItsOwnWithoutACall(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	arn, pub := e.createECCKey(t, "eu-west-1", ecdh.P256())
	priv := eccKey(t, ecdh.P256())
	m := ecdhByHand(t, priv, pub, "aws-kms-ecdh")
	good := m.EncryptedDataKeys[0]
	change := func(at int, b byte) []byte {
		info := slices.Clone(good.ProviderInfo)
		info[at] = b
		return info
	}
	bad := map[string]keyprovider.EncryptedDataKey{
		"no provider info":                  {},
		"provider info of version 2":        {ProviderInfo: change(0, 2)},
		"provider info of version 0":        {ProviderInfo: change(0, 0)},
		"recipient's public key: cut short": {ProviderInfo: good.ProviderInfo[:20]},
		"sender's public key: cut short":    {ProviderInfo: good.ProviderInfo[:len(good.ProviderInfo)-1]},
		"1 bytes behind":                    {ProviderInfo: append(slices.Clone(good.ProviderInfo), 0)},
		"recipient's public key: 34 bytes":  {ProviderInfo: change(4, 34)},
		"sender's public key: 4278190113":   {ProviderInfo: change(38, 255)},
		"ciphertext of 0 bytes; a wrapped data key of ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY has 112": {ProviderInfo: good.ProviderInfo},
		"ciphertext of 111 bytes": {ProviderInfo: good.ProviderInfo, Ciphertext: good.Ciphertext[:111]},
		"ciphertext of 113 bytes": {ProviderInfo: good.ProviderInfo, Ciphertext: append(slices.Clone(good.Ciphertext), 0)},
		"it is ":                  {ProviderInfo: change(5, good.ProviderInfo[5]^1), Ciphertext: good.Ciphertext},
	}
	for _, p := range []*kms.ECDH{newECDHStatic(t, arn, pub, priv.PublicKey(), e.options()), newECDHDiscovery(t, arn, pub, e.options())} {
		for want, edk := range bad {
			edk.ProviderID = "aws-kms-ecdh"
			if edk.Ciphertext == nil && !strings.Contains(want, "wrapped") {
				edk.Ciphertext = good.Ciphertext
			}
			s.ResetCalls()
			one := *m
			one.EncryptedDataKeys = []keyprovider.EncryptedDataKey{edk}
			err := refusal(t, p, &one)
			require.ErrorIs(t, err, keyprovider.ErrNoMatch)
			require.ErrorContains(t, err, `encrypted data key 1 ("aws-kms-ecdh"): skipped: `)
			require.ErrorContains(t, err, want)
			require.Empty(t, s.Calls())
			one.EncryptedDataKeys = []keyprovider.EncryptedDataKey{edk, good}
			requireOpens(t, p, &one, 1)
		}
		one := *m
		one.EncryptedDataKeys = nil
		for _, id := range []string{"", "aws-kms", "ecdh", "AWS-KMS-ECDH", "aws-kms-ecdh ", "raw-ecdh\x00"} {
			edk := good
			edk.ProviderID = id
			one.EncryptedDataKeys = append(one.EncryptedDataKeys, edk)
		}
		require.Len(t, refusal(t, p, &one).Causes, 1, "those of other providers give no cause")
	}
}

func TestECDHDiscoveryRefusesASenderThatIsNoPointOfTheCurve(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	arn, pub := e.createECCKey(t, "eu-west-1", ecdh.P256())
	m := ecdhByHand(t, eccKey(t, ecdh.P256()), pub, "aws-kms-ecdh")
	info := m.EncryptedDataKeys[0].ProviderInfo
	for i := range 32 {
		info[len(info)-1-i] = 0xFF // over the field's prime
	}
	s.ResetCalls()
	err := refusal(t, newECDHDiscovery(t, arn, pub, e.options()), m)
	require.ErrorContains(t, err, "sender's public key: not a compressed point of P-256")
	require.NotErrorIs(t, err, keyprovider.ErrNoMatch)
	require.Empty(t, s.Calls())
}

func TestECDHFaults(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	arn, pub := e.createECCKey(t, "us-east-1", ecdh.P256())
	peer := eccKey(t, ecdh.P256())
	p := newECDHStatic(t, arn, pub, peer.PublicKey(), e.options())
	m := encrypt(t, p)
	s.Throttle(2)
	requireOpens(t, p, m, 0)

	s.DenyAccess(arn, "DeriveSharedSecret")
	for _, err := range []error{refusal(t, p, m), encryptErr(t.Context(), p)} {
		var api smithy.APIError
		require.ErrorAs(t, err, &api)
		require.Equal(t, "AccessDeniedException", api.ErrorCode())
	}
	s.AllowAccess(arn)
	require.NoError(t, s.DisableKey(arn))
	require.ErrorAs(t, refusal(t, p, m), new(*types.DisabledException))

	ctx, cancel := context.WithCancel(t.Context())
	m.EncryptedDataKeys = append(m.EncryptedDataKeys, m.EncryptedDataKeys...)
	s.ResetCalls()
	s.Intercept(func(context.Context, kmstest.Call) *kmstest.Reply {
		cancel()
		return &kmstest.Reply{Error: "DisabledException"}
	})
	key, err := p.DecryptDataKey(ctx, request(m), m.EncryptedDataKeys)
	require.Nil(t, key)
	require.ErrorIs(t, err, context.Canceled)
	require.LessOrEqual(t, len(s.Calls()), 1, "a context that is done stops between entries")
	require.ErrorIs(t, encryptErr(ctx, p), context.Canceled)
	s.Intercept(nil)
	s.SetLatency(time.Hour)
	ctx, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = p.DecryptDataKey(ctx, request(m), m.EncryptedDataKeys)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, encryptErr(ctx, p), context.DeadlineExceeded)
}

func TestECDHNeedsAClientThatDerivesSecrets(t *testing.T) {
	t.Parallel()
	priv := eccKey(t, ecdh.P256())
	pub := eccKey(t, ecdh.P256()).PublicKey()
	p := newECDHStatic(t, key1, pub, priv.PublicKey(), &kms.Options{ClientFor: clientFor})
	want := "the client of Options.ClientFor, a kms_test.stub, has no method DeriveSharedSecret"
	require.ErrorContains(t, encryptErr(t.Context(), p), want)
	require.ErrorContains(t, refusal(t, p, ecdhByHand(t, priv, pub, "raw-ecdh")), want)
}

func TestECDHRefusesAContextThatCannotBeSerialised(t *testing.T) {
	t.Parallel()
	pub := eccKey(t, ecdh.P256()).PublicKey()
	p := newECDHStatic(t, key1, pub, pub, &kms.Options{ClientFor: clientFor})
	req := &keyprovider.Request{Suite: suite.AES256GCM, EncryptionContext: map[string]string{"\xff": ""}}
	edk, err := p.EncryptDataKey(t.Context(), req, make([]byte, 32))
	require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
	require.Zero(t, edk)
	key, err := p.DecryptDataKey(t.Context(), req, nil)
	require.Nil(t, key)
	require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
	_, err = p.GenerateDataKey(t.Context(), &keyprovider.Request{})
	require.ErrorIs(t, err, format.ErrUnsupportedSuite)
}
