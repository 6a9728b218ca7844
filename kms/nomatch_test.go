package kms_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

// A kind is a provider of one kind: what a message of its own says in the error
// of a provider of another kind, and what its own such error begins with.
type kind struct {
	p         keyprovider.MasterKeyProvider
	name, has string
}

// kinds returns one provider of every kind that encrypts and decrypts.
func kinds(t *testing.T) map[string]kind {
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	aes, err := keyprovider.NewRawAES("BC", "DataKey", make([]byte, 32))
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	rawRSA, err := keyprovider.NewRawRSA("HSM", "key 1", &rsaKey.PublicKey, rsaKey, keyprovider.OAEPSHA256)
	require.NoError(t, err)
	alice, bob := eccKey(t, ecdh.P256()), eccKey(t, ecdh.P256())
	rawECDH, err := keyprovider.NewRawECDHStatic(alice, bob.PublicKey())
	require.NoError(t, err)
	key := s.CreateKey("us-east-1")
	rsaARN, rsaPub := e.createRSAKey(t, "us-east-1")
	eccARN, _ := e.createECCKey(t, "us-east-1", ecdh.P384())
	peer := eccKey(t, ecdh.P384()) // on another curve than the raw ECDH keys
	kmsECDH, err := kms.NewECDHStatic(t.Context(), eccARN, peer.PublicKey(), &kms.ECDHOptions{Options: *e.options()})
	require.NoError(t, err)
	store := kmstest.NewBranchKeyStore("branch keys")
	id := store.CreateKey(nil)
	branch, err := hierarchical.New(store, hierarchical.Options{BranchKeyID: id, MaxAge: time.Minute})
	require.NoError(t, err)
	return map[string]kind{
		"raw AES":      {aes, `raw AES key "DataKey" of "BC": `, `"BC" "DataKey"`},
		"raw RSA":      {rawRSA, `raw RSA key "key 1" of "HSM": `, `"HSM" "key 1"`},
		"raw ECDH":     {rawECDH, `raw ECDH (static) on P-256 of `, `"raw-ecdh" from 0`},
		"KMS":          {strict(t, e.options(), key), "AWS KMS provider of " + key + ": ", `"aws-kms" "` + key + `"`},
		"KMS RSA":      {newRSA(t, rsaARN, rsaPub, kms.OAEPSHA256, e.options()), "AWS KMS RSA provider of " + rsaARN + ": ", `"aws-kms-rsa" "` + rsaARN + `"`},
		"KMS ECDH":     {kmsECDH, "AWS KMS ECDH provider of " + eccARN, `"aws-kms-ecdh" from 0`},
		"hierarchical": {branch, `hierarchical provider of branch key "` + id + `": `, `"aws-kms-hierarchy" "` + id + `"`},
	}
}

// Between every two kinds of provider, the error says what the provider has and
// what the message has instead.
func TestNoMatchSaysWhatTheMessageHas(t *testing.T) {
	all := kinds(t)
	opts := &esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey, EncryptionContext: map[string]string{"tenant": "secret value"}}
	for written, writer := range all {
		message, header, err := esdk.Encrypt(t.Context(), []byte("plaintext"), writer.p, opts)
		require.NoError(t, err)
		for read, reader := range all {
			_, _, err := esdk.Decrypt(t.Context(), message, reader.p, nil)
			if read == written {
				require.NoError(t, err)
				continue
			}
			t.Run(read+" reads "+written, func(t *testing.T) {
				t.Log(err)
				require.ErrorIs(t, err, keyprovider.ErrNoMatch)
				require.ErrorContains(t, err, "esdk: no data key could be decrypted: "+reader.name)
				require.ErrorContains(t, err, "no matching encrypted data key")
				require.ErrorContains(t, err, "; the message has "+writer.has)
				require.NotContains(t, err.Error(), string(header.EncryptedDataKeys[0].Ciphertext))
				require.NotContains(t, err.Error(), "secret value")
			})
		}
	}
}

func TestNoMatchOfTheSameKindSaysWhatTheMessageHas(t *testing.T) {
	one, other := kinds(t), kinds(t)
	aes, err := keyprovider.NewRawAES("BC", "datakey", make([]byte, 32))
	require.NoError(t, err)
	other["raw AES"] = kind{p: aes, name: `raw AES key "datakey" of "BC": `}
	opts := &esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey}
	for name, writer := range one {
		if name == "raw RSA" { // the same names
			continue
		}
		t.Run(name, func(t *testing.T) {
			message, _, err := esdk.Encrypt(t.Context(), nil, writer.p, opts)
			require.NoError(t, err)
			_, _, err = esdk.Decrypt(t.Context(), message, other[name].p, nil)
			t.Log(err)
			require.ErrorIs(t, err, keyprovider.ErrNoMatch)
			require.ErrorContains(t, err, other[name].name)
			switch name {
			case "raw AES":
				require.EqualError(t, err, `esdk: no data key could be decrypted: raw AES key "datakey" of "BC": no matching encrypted data key; the message has "BC" "DataKey"`)
			case "raw ECDH":
				require.ErrorContains(t, err, "; the message has "+writer.has)
			default:
				require.ErrorContains(t, err, "; encrypted data key 1 (")
			}
		})
	}
}

// Where KMS says nothing, the error says that the encryption context may differ,
// and names its keys.
func TestARefusalNamesTheKeysOfTheEncryptionContext(t *testing.T) {
	all := kinds(t)
	opts := &esdk.EncryptOptions{
		Suite: suite.AES256GCMHKDFSHA512CommitKey, EncryptionContext: map[string]string{"tenant": "secret value", "purpose": "test"},
		RequiredContextKeys: []string{"purpose"},
	}
	for name, want := range map[string]string{
		"raw AES":      `not wrapped under this key and encryption context (keys "tenant"), or altered`,
		"raw RSA":      `the encryption context is not that of the message`,
		"raw ECDH":     `not wrapped for this key agreement and encryption context, or altered`,
		"KMS":          `the ciphertext was altered, or encrypted with another encryption context than the request's (keys "tenant")`,
		"KMS RSA":      `encrypted with another encryption context than the request's (keys "tenant")`,
		"KMS ECDH":     `not wrapped for this key agreement and encryption context, or altered`,
		"hierarchical": `not wrapped under this branch key and encryption context, or altered`,
	} {
		t.Run(name, func(t *testing.T) {
			message, _, err := esdk.Encrypt(t.Context(), nil, all[name].p, opts)
			require.NoError(t, err)
			_, _, err = esdk.Decrypt(t.Context(), message, all[name].p, nil)
			t.Log(err)
			require.ErrorContains(t, err, want)
			_, _, err = esdk.Decrypt(t.Context(), message, all[name].p, &esdk.DecryptOptions{EncryptionContext: map[string]string{"purpose": "other value"}})
			t.Log(err)
			require.ErrorContains(t, err, `DecryptOptions.EncryptionContext has keys that the message does not store: "purpose"`)
			for _, secret := range []string{"secret value", "other value"} {
				require.NotContains(t, err.Error(), secret)
			}
			_, _, err = esdk.Decrypt(t.Context(), message, all[name].p, &esdk.DecryptOptions{EncryptionContext: map[string]string{"purpose": "test"}})
			require.NoError(t, err)
		})
	}
}

func TestNoMatchNamesFewEntries(t *testing.T) {
	p, err := keyprovider.NewRawAES("namespace", "name", make([]byte, 32))
	require.NoError(t, err)
	m := entries()
	for range 4 {
		m.EncryptedDataKeys = append(m.EncryptedDataKeys, keyprovider.EncryptedDataKey{
			ProviderID: strings.Repeat("i", 65535), ProviderInfo: bytes.Repeat([]byte("n"), 65535), Ciphertext: []byte("c"),
		})
	}
	failure := refusal(t, p, m)
	require.Len(t, failure.Causes, 1)
	require.ErrorContains(t, failure, " and 1 more")
	require.Less(t, len(failure.Error()), 1000)
}
