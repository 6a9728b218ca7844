package kms_test

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
)

func TestNewECDHRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	opts := kms.Options{ClientFor: clientFor}
	p256, p384 := eccKey(t, ecdh.P256()).PublicKey(), eccKey(t, ecdh.P384()).PublicKey()
	x25519 := eccKey(t, ecdh.X25519()).PublicKey()
	for want, test := range map[string]struct {
		arn            string
		pub, recipient *ecdh.PublicKey
		opts           kms.Options
	}{
		`"" is not an ARN`:        {"", p256, p256, opts},
		`"alias/a" is not an ARN`: {"alias/a", p256, p256, opts},
		"is the ARN of an alias":  {"arn:aws:kms:us-east-1:1:alias/a", p256, p256, opts},
		`is not an ARN`:           {idOf(key1), p256, p256, opts},
		"both Options.Config and": {key1, p256, p256, kms.Options{Config: &aws.Config{}, ClientFor: clientFor}},
		"X25519 is not supported; the curves are P-256, P-384 and P-521": {key1, x25519, p256, opts},
		"public key of " + key1 + ": a key without a curve":              {key1, &ecdh.PublicKey{}, p256, opts},
		"a kms_test.stub, has no method GetPublicKey":                    {key1, nil, p256, opts},
	} {
		opts := &kms.ECDHOptions{Options: test.opts, PublicKey: test.pub}
		p, err := kms.NewECDHStatic(t.Context(), test.arn, test.recipient, opts)
		require.Nil(t, p)
		require.ErrorContains(t, err, "kms: ")
		require.ErrorContains(t, err, want)
		p, err = kms.NewECDHDiscovery(t.Context(), test.arn, opts)
		require.Nil(t, p)
		require.ErrorContains(t, err, "kms: ")
		require.ErrorContains(t, err, want)
	}
	for want, recipient := range map[string]*ecdh.PublicKey{
		"recipient's public key: nil key":                        nil,
		"recipient's public key: X25519 is not supported":        x25519,
		"recipient's public key: a key without a curve":          {},
		"the sender's key is on P-256, the recipient's on P-384": p384,
	} {
		p, err := kms.NewECDHStatic(t.Context(), key1, recipient, &kms.ECDHOptions{Options: opts, PublicKey: p256})
		require.Nil(t, p)
		require.ErrorContains(t, err, "kms: "+want)
	}
}

func TestNewECDHAsksForThePublicKeyUnlessItIsGiven(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	arn := s.CreateECCKey("eu-west-1", ecdh.P256())
	peer := eccKey(t, ecdh.P256()).PublicKey()
	opts := &kms.Options{Config: s.Config(), GrantTokens: []string{"grant"}}
	for _, build := range []func(pub *ecdh.PublicKey) *kms.ECDH{
		func(pub *ecdh.PublicKey) *kms.ECDH { return newECDHStatic(t, arn, pub, peer, opts) },
		func(pub *ecdh.PublicKey) *kms.ECDH { return newECDHDiscovery(t, arn, pub, opts) },
	} {
		s.ResetCalls()
		build(nil)
		calls := s.Calls()
		require.Len(t, calls, 1)
		require.Contains(t, calls[0].UserAgent, "lib/esdk-go#")
		calls[0].UserAgent = ""
		require.Equal(t, kmstest.Call{Op: "GetPublicKey", Region: "eu-west-1", KeyID: arn, GrantTokens: []string{"grant"}}, calls[0])
		s.ResetCalls()
		build(peer)
		require.Empty(t, s.Calls())
	}
}

func TestNewECDHChecksTheResponseOfGetPublicKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	arn := s.CreateECCKey("eu-west-1", ecdh.P256())
	peer := eccKey(t, ecdh.P256()).PublicKey()
	small, large := derOf(t, peer), derOf(t, eccKey(t, ecdh.P384()).PublicKey())
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	other := "arn:aws:kms:eu-west-1:111122223333:key/other"
	opts := &kms.ECDHOptions{Options: kms.Options{Config: s.Config()}}
	good := kmstest.Reply{KeyID: arn, PublicKey: small, KeySpec: "ECC_NIST_P256", KeyUsage: "KEY_AGREEMENT"}
	const malformed = "the response's public key: " // and what the standard library says of it
	for _, test := range []struct {
		want   string
		change func(*kmstest.Reply)
	}{
		{"", func(*kmstest.Reply) {}},
		{"the response is of another key", func(r *kmstest.Reply) { r.KeyID = other }},
		{`the response is of another key, ""`, func(r *kmstest.Reply) { r.KeyID = "" }},
		{`the key's usage is "SIGN_VERIFY", need KEY_AGREEMENT`, func(r *kmstest.Reply) { r.KeyUsage = "SIGN_VERIFY" }},
		{`the key's usage is "", need KEY_AGREEMENT`, func(r *kmstest.Reply) { r.KeyUsage = "" }},
		{`key spec "SM2" is not supported; the curves are P-256, P-384 and P-521`, func(r *kmstest.Reply) { r.KeySpec = "SM2" }},
		{`key spec "ECC_SECG_P256K1" is not supported`, func(r *kmstest.Reply) { r.KeySpec = "ECC_SECG_P256K1" }},
		{`key spec "" is not supported`, func(r *kmstest.Reply) { r.KeySpec = "" }},
		{"the response's public key is on P-256, its key spec ECC_NIST_P521", func(r *kmstest.Reply) { r.KeySpec = "ECC_NIST_P521" }},
		{"the response's public key is on P-384, its key spec ECC_NIST_P256", func(r *kmstest.Reply) { r.PublicKey = large }},
		{malformed, func(r *kmstest.Reply) { r.PublicKey = small[:40] }},
		{malformed, func(r *kmstest.Reply) { r.PublicKey = append(slices.Clone(small[:len(small)-1]), small[0]) }}, // not on the curve
		{malformed, func(r *kmstest.Reply) { r.PublicKey = append(small[:len(small):len(small)], 0) }},
		{malformed, func(r *kmstest.Reply) { r.PublicKey = nil }},
		{malformed, func(r *kmstest.Reply) { r.PublicKey = derOf(t, &p224.PublicKey) }},
		{"the response's public key is not of an elliptic curve", func(r *kmstest.Reply) { r.PublicKey = derOf(t, &rsaKey().PublicKey) }},
		{"AccessDeniedException", func(r *kmstest.Reply) { r.Error = "AccessDeniedException" }},
	} {
		reply := good
		test.change(&reply)
		s.Intercept(func(context.Context, kmstest.Call) *kmstest.Reply { return &reply })
		static, err := kms.NewECDHStatic(t.Context(), arn, peer, opts)
		discovery, err2 := kms.NewECDHDiscovery(t.Context(), arn, opts)
		if test.want == "" {
			require.NoError(t, err)
			require.NoError(t, err2)
			continue
		}
		require.Nil(t, static)
		require.Nil(t, discovery)
		for _, err := range []error{err, err2} {
			var failure *kms.KeyError
			require.ErrorAs(t, err, &failure)
			require.Equal(t, kms.KeyError{Op: "GetPublicKey", KeyID: arn, Err: failure.Err}, *failure)
			require.ErrorContains(t, failure.Err, test.want)
			require.ErrorContains(t, err, "kms: KMS GetPublicKey with "+arn)
		}
	}
	s.Intercept(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := kms.NewECDHDiscovery(ctx, arn, opts)
	require.Nil(t, p)
	require.ErrorIs(t, err, context.Canceled)
}
