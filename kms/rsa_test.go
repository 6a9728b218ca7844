package kms_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

var rsaHashes = map[kms.RSAAlgorithm]func() hash.Hash{kms.OAEPSHA1: sha1.New, kms.OAEPSHA256: sha256.New}

// What Python's hashlib makes of the serialised contexts {} and {"a": "2",
// "üb": ""}, the latter 0002 0001 61 0001 32 0003 c3bc62 0000.
var contextDigests = []struct {
	context map[string]string
	digest  string
}{
	{nil, "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b"},
	{map[string]string{"üb": "", "a": "2"}, "9433f6fa472397f711ee1ac66e252c99c76e8d161db0e19c58558194488a301a19d0aa81c81d9e0a121cad38fb853e91"},
}

// rsaKey is made once: that takes long.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// modulus returns what passes for a public key of that many bits.
func modulus(bits uint) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}
}

func TestNewRSARefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	config := &aws.Config{Region: "us-east-1"}
	good := &rsaKey().PublicKey
	negative := *good
	negative.E = -1
	for want, test := range map[string]struct {
		arn  string
		pub  *rsa.PublicKey
		a    kms.RSAAlgorithm
		opts *kms.Options
	}{
		`"" is not an ARN`:           {"", good, kms.OAEPSHA256, nil},
		`"alias/a" is not an ARN`:    {"alias/a", good, kms.OAEPSHA256, nil},
		"is the ARN of an alias":     {"arn:aws:kms:us-east-1:1:alias/a", good, kms.OAEPSHA256, nil},
		`is not an ARN`:              {idOf(key1), good, kms.OAEPSHA256, nil}, // as a message's provider info it could not be read
		"unknown RSA algorithm 0":    {key1, good, 0, nil},
		"unknown RSA algorithm 3":    {key1, good, 3, nil},
		"1024 bits; RSA keys of KMS": {key1, modulus(1024), kms.OAEPSHA256, nil},
		"2047 bits; RSA keys of KMS": {key1, modulus(2047), kms.OAEPSHA256, nil},
		"RSA public key: no modulus": {key1, &rsa.PublicKey{}, kms.OAEPSHA256, nil},
		"RSA public key: 2049 bits":  {key1, modulus(2049), kms.OAEPSHA256, nil}, // 256 bytes and a bit
		"RSA public key: 2055 bits":  {key1, modulus(2055), kms.OAEPSHA256, nil},
		"RSA public key: 2056 bits":  {key1, modulus(2056), kms.OAEPSHA256, nil},
		"public exponent -1, need":   {key1, &negative, kms.OAEPSHA256, nil},
		"both Options.Config and":    {key1, good, kms.OAEPSHA256, &kms.Options{Config: config, ClientFor: clientFor}},
	} {
		if test.opts == nil {
			test.opts = &kms.Options{Config: config}
		}
		p, err := kms.NewRSA(t.Context(), test.arn, test.pub, test.a, test.opts)
		require.Nil(t, p)
		require.ErrorContains(t, err, "kms: ")
		require.ErrorContains(t, err, want)
	}
	for _, bits := range []uint{2048, 3072, 4096} {
		newRSA(t, key1, modulus(bits), kms.OAEPSHA1, &kms.Options{Config: config})
	}
	require.Equal(t, "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256", kms.OAEPSHA1.String()+" "+kms.OAEPSHA256.String())
}

func TestRSAEntryLayout(t *testing.T) {
	t.Parallel()
	priv := rsaKey()
	for a, newHash := range rsaHashes {
		p := newRSA(t, key1, &priv.PublicKey, a, &kms.Options{ClientFor: clientFor}) // whose methods panic
		for _, test := range contextDigests {
			for _, id := range unsigned() {
				req := &keyprovider.Request{Suite: id, EncryptionContext: test.context}
				keys, err := p.MasterKeys(t.Context(), req)
				require.NoError(t, err)
				require.Len(t, keys, 1)
				key, err := keys[0].GenerateDataKey(t.Context(), req)
				require.NoError(t, err)
				require.Len(t, key.Plaintext, id.KeySize())
				require.Equal(t, "aws-kms-rsa", key.Encrypted.ProviderID)
				require.Equal(t, key1, string(key.Encrypted.ProviderInfo))
				inside, err := rsa.DecryptOAEP(newHash(), nil, priv, key.Encrypted.Ciphertext, nil)
				require.NoError(t, err)
				require.Equal(t, test.digest+hex.EncodeToString(key.Plaintext), hex.EncodeToString(inside))
			}
		}
	}
}

// rsaByHand returns the materials of a data key that was encrypted by hand.
func rsaByHand(t testing.TB, arn string, pub *rsa.PublicKey, a kms.RSAAlgorithm, digest string, ec map[string]string) *keyprovider.EncryptionMaterials {
	t.Helper()
	key := bytes.Repeat([]byte{7}, 32)
	inside, err := hex.DecodeString(digest)
	require.NoError(t, err)
	blob, err := rsa.EncryptOAEP(rsaHashes[a](), rand.Reader, pub, append(inside, key...), nil)
	require.NoError(t, err)
	m := entries(keyprovider.EncryptedDataKey{ProviderID: "aws-kms-rsa", ProviderInfo: []byte(arn), Ciphertext: blob})
	m.DataKey, m.EncryptionContext = key, ec
	return m
}

func TestRSAAsksKMSForWhatTheEntryHoldsAndNoEncryptionContext(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	arn, pub := e.createRSAKey(t, "eu-west-1")
	for a := range rsaHashes {
		for _, test := range contextDigests {
			p := newRSA(t, arn, nil, a, &kms.Options{Config: s.Config(), GrantTokens: []string{"grant"}})
			m := rsaByHand(t, arn, pub, a, test.digest, test.context)
			s.ResetCalls()
			requireOpens(t, p, m, 0)
			calls := s.Calls()
			require.Len(t, calls, 1)
			require.Contains(t, calls[0].UserAgent, "lib/esdk-go#")
			calls[0].UserAgent = ""
			require.Equal(t, kmstest.Call{
				Op: "Decrypt", Region: "eu-west-1", KeyID: arn, GrantTokens: []string{"grant"},
				CiphertextBlob: m.EncryptedDataKeys[0].Ciphertext, EncryptionAlgorithm: a.String(),
			}, calls[0])
		}
	}
}

func TestRSAEncryptsWithoutACall(t *testing.T) {
	t.Parallel()
	e := newRSAEndpoint(t)
	p := newRSA(t, e.arn, e.pub, kms.OAEPSHA256, &kms.Options{ClientFor: func(context.Context, string) (kms.API, error) {
		return nil, context.Canceled
	}})
	m := encryptUnsigned(t, p)
	requireOpens(t, newRSA(t, e.arn, nil, kms.OAEPSHA256, e.options()), m, 0)
	require.ErrorContains(t, refusal(t, p, m), "client for Region us-east-1", "nothing decrypts without KMS")
}

func TestRSAWithoutAPublicKeyDecryptsOnly(t *testing.T) {
	t.Parallel()
	p := newRSA(t, key1, nil, kms.OAEPSHA256, &kms.Options{ClientFor: clientFor})
	req := &keyprovider.Request{Suite: suite.AES256GCMHKDFSHA512CommitKey}
	keys, err := p.MasterKeys(t.Context(), req)
	require.Nil(t, keys)
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
	_, err = p.EncryptDataKey(t.Context(), req, make([]byte, 32))
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
	key, err := p.GenerateDataKey(t.Context(), req)
	require.Nil(t, key)
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
}

func TestRSARefusesSuitesThatSign(t *testing.T) {
	t.Parallel()
	p := newRSA(t, key1, &rsaKey().PublicKey, kms.OAEPSHA256, &kms.Options{ClientFor: clientFor}) // whose methods panic
	m := encryptUnsigned(t, p)
	n := 0
	for _, id := range suite.All() {
		if !id.Signing() {
			continue
		}
		n++
		req := &keyprovider.Request{Suite: id, EncryptionContext: m.EncryptionContext}
		want := "suite " + id.String() + " signs"
		_, err := p.MasterKeys(t.Context(), req)
		require.ErrorContains(t, err, want)
		key, err := p.GenerateDataKey(t.Context(), req)
		require.Nil(t, key)
		require.ErrorContains(t, err, want)
		_, err = p.EncryptDataKey(t.Context(), req, make([]byte, id.KeySize()))
		require.ErrorContains(t, err, want)
		key, err = p.DecryptDataKey(t.Context(), req, m.EncryptedDataKeys)
		require.Nil(t, key)
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, 4, n)
	_, _, err := esdk.Encrypt(t.Context(), nil, p, nil)
	require.ErrorContains(t, err, "use one that does not sign, such as ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY", "the default signs")
	_, err = p.MasterKeys(t.Context(), &keyprovider.Request{})
	require.ErrorIs(t, err, format.ErrUnsupportedSuite)
}

func TestRSAWrongResponsesAreCausesAndTheNextEntryIsTried(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	arn, pub := e.createRSAKey(t, "eu-west-1")
	p := newRSA(t, arn, pub, kms.OAEPSHA256, e.options())
	m := encryptUnsigned(t, p)
	second := encryptUnsigned(t, p)
	second.EncryptedDataKeys = append(slices.Clone(m.EncryptedDataKeys), second.EncryptedDataKeys...)
	inside := append(make([]byte, 48), m.DataKey...)
	other := "arn:aws:kms:eu-west-1:111122223333:key/other"
	for want, reply := range map[string]kmstest.Reply{
		`the response is of another key, "` + other + `"`:         {KeyID: other, Plaintext: inside, EncryptionAlgorithm: "RSAES_OAEP_SHA_256"},
		`the response is of another key, ""`:                      {Plaintext: inside, EncryptionAlgorithm: "RSAES_OAEP_SHA_256"},
		`the response is of another algorithm, ""`:                {KeyID: arn, Plaintext: inside},
		`the response is of another algorithm, "RSAES_OAEP_SHA_1`: {KeyID: arn, Plaintext: inside, EncryptionAlgorithm: "RSAES_OAEP_SHA_1"},
		"the response has a plaintext of 0 bytes":                 {KeyID: arn, EncryptionAlgorithm: "RSAES_OAEP_SHA_256"},
		"the response has a plaintext of 48 bytes":                {KeyID: arn, Plaintext: inside[:48], EncryptionAlgorithm: "RSAES_OAEP_SHA_256"},
		"the response has a plaintext of 79 bytes":                {KeyID: arn, Plaintext: inside[:79], EncryptionAlgorithm: "RSAES_OAEP_SHA_256"},
		"the response has a plaintext of 81 bytes":                {KeyID: arn, Plaintext: append(inside, 0), EncryptionAlgorithm: "RSAES_OAEP_SHA_256"},
		"encrypted with another encryption context":               {KeyID: arn, Plaintext: inside, EncryptionAlgorithm: "RSAES_OAEP_SHA_256"},
		"InvalidCiphertextException":                              {Error: "InvalidCiphertextException"},
	} {
		s.Intercept(func(_ context.Context, call kmstest.Call) *kmstest.Reply {
			if bytes.Equal(call.CiphertextBlob, m.EncryptedDataKeys[0].Ciphertext) {
				return &reply
			}
			return nil
		})
		err := refusal(t, p, m)
		require.Len(t, err.Causes, 1)
		var failure *kms.KeyError
		require.ErrorAs(t, err, &failure)
		require.Equal(t, kms.KeyError{Op: "Decrypt", KeyID: arn, Err: failure.Err}, *failure)
		require.ErrorContains(t, failure, want)
		requireOpens(t, p, second, 1)
	}
}

func TestRSASkipsEntriesThatCannotBeItsOwnWithoutACall(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	arn, pub := e.createRSAKey(t, "us-east-1")
	p, private := newRSA(t, arn, pub, kms.OAEPSHA256, e.options()), newRSA(t, arn, nil, kms.OAEPSHA256, e.options())
	m := encryptUnsigned(t, p)
	good := m.EncryptedDataKeys[0]
	var before []keyprovider.EncryptedDataKey
	for _, info := range []string{"", "not an ARN", arn[1:], arn + ":", strings.Replace(arn, "key/", "alias/", 1), idOf(arn), key2, "\xff"} {
		before = append(before, keyprovider.EncryptedDataKey{ProviderID: "aws-kms-rsa", ProviderInfo: []byte(info), Ciphertext: good.Ciphertext})
	}
	for _, size := range []int{0, 255, 257, 512 * 9} {
		before = append(before, keyprovider.EncryptedDataKey{ProviderID: "aws-kms-rsa", ProviderInfo: []byte(arn), Ciphertext: make([]byte, size)})
	}
	for _, id := range []string{"", "aws-kms", "AWS-KMS-RSA", "aws-kms-rsa ", "raw"} {
		before = append(before, keyprovider.EncryptedDataKey{ProviderID: id, ProviderInfo: good.ProviderInfo, Ciphertext: good.Ciphertext})
	}
	m.EncryptedDataKeys = append(before, good)
	for _, p := range []*kms.RSA{p, private} {
		s.ResetCalls()
		requireOpens(t, p, m, len(before))
		require.Len(t, s.Calls(), 1)
	}
	m.EncryptedDataKeys = before
	s.ResetCalls()
	err := refusal(t, p, m)
	require.Empty(t, s.Calls())
	require.ErrorIs(t, err, keyprovider.ErrNoMatch)
	require.ErrorContains(t, err, `encrypted data key 2 ("aws-kms-rsa"): skipped: "not an ARN" is not an ARN`)
	require.ErrorContains(t, err.Causes[len(err.Causes)-1], "4 more encrypted data keys skipped")

	m.EncryptedDataKeys = []keyprovider.EncryptedDataKey{{ProviderID: "aws-kms-rsa", ProviderInfo: []byte(arn), Ciphertext: make([]byte, 384)}}
	require.ErrorContains(t, refusal(t, p, m), "ciphertext of 384 bytes; this key makes 256")
	require.NotErrorIs(t, refusal(t, private, m), keyprovider.ErrNoMatch, "without the public key, KMS must tell")
}

func TestRSAOfOneReplicaOpensWhatWasEncryptedForAnother(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	arns := s.CreateMultiRegionRSAKey(2048, "us-east-1", "eu-west-1")
	pub := e.publicKey(t, arns[0]).(*rsa.PublicKey)
	m := encryptUnsigned(t, newRSA(t, arns[0], pub, kms.OAEPSHA256, e.options()))
	s.ResetCalls()
	requireOpens(t, newRSA(t, arns[1], nil, kms.OAEPSHA256, e.options()), m, 0)
	require.Equal(t, []string{arns[1], "eu-west-1"}, []string{s.Calls()[0].KeyID, s.Calls()[0].Region})

	// An entry whose ARN differs in more than the Region is of another key.
	m.EncryptedDataKeys[0].ProviderInfo = []byte(strings.Replace(arns[0], kmstest.Account, "444455556666", 1))
	require.ErrorIs(t, refusal(t, newRSA(t, arns[1], nil, kms.OAEPSHA256, e.options()), m), keyprovider.ErrNoMatch)
}

func TestRSAFaults(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	arn, pub := e.createRSAKey(t, "us-east-1")
	p := newRSA(t, arn, pub, kms.OAEPSHA256, e.options())
	m := encryptUnsigned(t, p)
	s.Throttle(2)
	requireOpens(t, p, m, 0)

	s.DenyAccess(arn, "Decrypt")
	var api smithy.APIError
	require.ErrorAs(t, refusal(t, p, m), &api)
	require.Equal(t, "AccessDeniedException", api.ErrorCode())
	s.AllowAccess(arn)

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
	s.Intercept(nil)
	s.SetLatency(time.Hour)
	ctx, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = p.DecryptDataKey(ctx, request(m), m.EncryptedDataKeys)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestRSAKeysAreCopied(t *testing.T) {
	t.Parallel()
	e := newRSAEndpoint(t)
	pub := &rsa.PublicKey{N: new(big.Int).Set(e.pub.N), E: e.pub.E}
	p := newRSA(t, e.arn, pub, kms.OAEPSHA256, e.options())
	pub.N.SetInt64(15)
	requireOpens(t, p, encryptUnsigned(t, p), 0)
}

func TestRSAEncryptionFailsForADataKeyThatDoesNotFit(t *testing.T) {
	t.Parallel()
	p := newRSA(t, key1, &rsaKey().PublicKey, kms.OAEPSHA256, &kms.Options{ClientFor: clientFor})
	edk, err := p.EncryptDataKey(t.Context(), &keyprovider.Request{Suite: suite.AES256GCM}, make([]byte, 256-2*32-2-48+1))
	require.ErrorIs(t, err, rsa.ErrMessageTooLong)
	require.Zero(t, edk)
	_, err = p.EncryptDataKey(t.Context(), &keyprovider.Request{Suite: suite.AES256GCM, EncryptionContext: map[string]string{"\xff": ""}}, make([]byte, 32))
	require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
	_, err = p.DecryptDataKey(t.Context(), &keyprovider.Request{Suite: suite.AES256GCM, EncryptionContext: map[string]string{"\xff": ""}}, nil)
	require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
}
