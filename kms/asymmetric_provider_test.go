package kms_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"maps"
	"os"
	"sync"
	"testing"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/keyprovider/providertest"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

// The tests of this file run against every endpoint, see newEndpoint.

var curves = map[types.KeySpec]ecdh.Curve{
	types.KeySpecEccNistP256: ecdh.P256(), types.KeySpecEccNistP384: ecdh.P384(), types.KeySpecEccNistP521: ecdh.P521(),
}

// An rsaEndpoint has RSA keys for the tests that neither change the endpoint nor
// look at its calls. It is made once, as RSA keys take long to generate.
type rsaEndpoint struct {
	*endpoint
	arn, other string
	pub        *rsa.PublicKey // of arn
}

var (
	sharedRSA     *rsaEndpoint
	sharedRSAOnce sync.Once
)

func newRSAEndpoint(t testing.TB) *rsaEndpoint {
	t.Helper()
	sharedRSAOnce.Do(func() {
		e := &rsaEndpoint{endpoint: &endpoint{}}
		if os.Getenv("AWS_ENDPOINT_URL_KMS") == "" {
			e.server = kmstest.NewServer() // for as long as the tests run
			e.config = e.server.Config()
		} else {
			e.endpoint = newEndpoint(t)
		}
		e.arn, e.pub = e.createRSAKey(t, "us-east-1")
		e.other, _ = e.createRSAKey(t, "us-east-1")
		sharedRSA = e
	})
	require.NotNil(t, sharedRSA)
	return sharedRSA
}

// createRSAKey returns a new RSA key and its public key.
func (e *endpoint) createRSAKey(t testing.TB, region string) (arn string, pub *rsa.PublicKey) {
	if e.server != nil {
		arn = e.server.CreateRSAKey(region, 2048)
	} else {
		arn = e.createAsymmetric(t, region, types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt)
	}
	return arn, e.publicKey(t, arn).(*rsa.PublicKey)
}

// createECCKey returns a new key for key agreement and its public key.
func (e *endpoint) createECCKey(t testing.TB, region string, curve ecdh.Curve) (arn string, pub *ecdh.PublicKey) {
	for spec, c := range curves {
		if c == curve && e.server != nil {
			arn = e.server.CreateECCKey(region, curve)
		} else if c == curve {
			arn = e.createAsymmetric(t, region, spec, types.KeyUsageTypeKeyAgreement)
		}
	}
	pub, err := e.publicKey(t, arn).(*ecdsa.PublicKey).ECDH()
	require.NoError(t, err)
	return arn, pub
}

func (e *endpoint) createAsymmetric(t testing.TB, region string, spec types.KeySpec, usage types.KeyUsageType) (arn string) {
	out, err := e.client(region).CreateKey(t.Context(), &awskms.CreateKeyInput{KeySpec: spec, KeyUsage: usage})
	require.NoError(t, err)
	return *out.KeyMetadata.Arn
}

func (e *endpoint) publicKey(t testing.TB, arn string) any {
	t.Helper()
	out, err := e.client(regionOf(arn)).GetPublicKey(t.Context(), &awskms.GetPublicKeyInput{KeyId: &arn})
	require.NoError(t, err)
	pub, err := x509.ParsePKIXPublicKey(out.PublicKey)
	require.NoError(t, err)
	return pub
}

func newRSA(t testing.TB, arn string, pub *rsa.PublicKey, a kms.RSAAlgorithm, opts *kms.Options) *kms.RSA {
	t.Helper()
	p, err := kms.NewRSA(t.Context(), arn, pub, a, opts)
	require.NoError(t, err)
	return p
}

func newECDHStatic(t testing.TB, arn string, pub, recipient *ecdh.PublicKey, opts *kms.Options) *kms.ECDH {
	t.Helper()
	p, err := kms.NewECDHStatic(t.Context(), arn, recipient, &kms.ECDHOptions{Options: *opts, PublicKey: pub})
	require.NoError(t, err)
	return p
}

func newECDHDiscovery(t testing.TB, arn string, pub *ecdh.PublicKey, opts *kms.Options) *kms.ECDH {
	t.Helper()
	p, err := kms.NewECDHDiscovery(t.Context(), arn, &kms.ECDHOptions{Options: *opts, PublicKey: pub})
	require.NoError(t, err)
	return p
}

// unsigned are the suites that do not sign.
func unsigned() (all []suite.ID) {
	for _, id := range suite.All() {
		if !id.Signing() {
			all = append(all, id)
		}
	}
	return all
}

// encryptUnsigned is encrypt with a suite that does not sign.
func encryptUnsigned(t testing.TB, p keyprovider.MasterKeyProvider) *keyprovider.EncryptionMaterials {
	t.Helper()
	m, err := keyprovider.Materials(p).EncryptionMaterials(t.Context(), &keyprovider.EncryptionRequest{
		Suite:             suite.AES256GCMHKDFSHA512CommitKey,
		EncryptionContext: map[string]string{"tenant": "größe 1"},
	})
	require.NoError(t, err)
	return m
}

// requireMessages checks that every suite's messages of the writer are opened by
// all readers.
func requireMessages(t testing.TB, suites []suite.ID, writer keyprovider.MasterKeyProvider, readers ...keyprovider.MasterKeyProvider) {
	t.Helper()
	for _, id := range suites {
		c := esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt}
		if id.Committing() {
			c.CommitmentPolicy = suite.RequireEncryptRequireDecrypt
		}
		message, _, err := c.Encrypt(t.Context(), []byte("hello"), writer, &esdk.EncryptOptions{
			Suite: id, EncryptionContext: map[string]string{"purpose": "test", "größe": "一"},
		})
		require.NoError(t, err, id)
		for _, p := range readers {
			got, _, err := c.Decrypt(t.Context(), message, p, nil)
			require.NoError(t, err, id)
			require.Equal(t, "hello", string(got))
		}
	}
}

func TestProviderRSAKeepsTheContractOfProviders(t *testing.T) {
	t.Parallel()
	e := newRSAEndpoint(t)
	for _, a := range []kms.RSAAlgorithm{kms.OAEPSHA1, kms.OAEPSHA256} {
		both := newRSA(t, e.arn, e.pub, a, e.options())
		private := newRSA(t, e.arn, nil, a, e.options())
		if a == kms.OAEPSHA256 || full() {
			t.Run(fmt.Sprint(a), func(t *testing.T) {
				providertest.Test(t, providertest.Config{Provider: both, Suites: sample(unsigned())})
			})
		}
		if a == kms.OAEPSHA1 || full() {
			t.Run(fmt.Sprint(a, " decrypts only"), func(t *testing.T) {
				providertest.Test(t, providertest.Config{Provider: both, Decrypter: private, Suites: sample(unsigned())})
			})
		}
	}
}

func TestProviderRSAOpensMessagesOfEverySuiteThatDoesNotSign(t *testing.T) {
	t.Parallel()
	e := newRSAEndpoint(t)
	for _, a := range []kms.RSAAlgorithm{kms.OAEPSHA1, kms.OAEPSHA256} {
		t.Run(a.String(), func(t *testing.T) {
			requireMessages(t, unsigned(), newRSA(t, e.arn, e.pub, a, e.options()), newRSA(t, e.arn, nil, a, e.options()))
		})
	}
}

func TestProviderRSAOfAnotherKeyOrAlgorithmDoesNotOpen(t *testing.T) {
	t.Parallel()
	e := newRSAEndpoint(t)
	arn, pub, other := e.arn, e.pub, e.other
	m := encryptUnsigned(t, newRSA(t, arn, pub, kms.OAEPSHA256, e.options()))
	err := refusal(t, newRSA(t, other, nil, kms.OAEPSHA256, e.options()), m)
	require.ErrorIs(t, err, keyprovider.ErrNoMatch)
	require.ErrorContains(t, err, arn+" is not the provider's key")

	requireCause(t, refusal(t, newRSA(t, arn, nil, kms.OAEPSHA1, e.options()), m), &kms.KeyError{Op: "Decrypt", KeyID: arn}, new(smithy.APIError))
	m.EncryptedDataKeys[0].ProviderInfo = []byte(other)
	requireCause(t, refusal(t, newRSA(t, other, nil, kms.OAEPSHA256, e.options()), m), &kms.KeyError{Op: "Decrypt", KeyID: other}, new(smithy.APIError))
}

func TestProviderRSABindsTheEncryptionContext(t *testing.T) {
	t.Parallel()
	e := newRSAEndpoint(t)
	p := newRSA(t, e.arn, e.pub, kms.OAEPSHA256, e.options())
	m := encryptUnsigned(t, p)
	requireOpens(t, p, m, 0)
	m.EncryptionContext = maps.Clone(m.EncryptionContext)
	m.EncryptionContext["tenant"] = "2"
	err := refusal(t, p, m)
	require.ErrorContains(t, err, "encrypted with another encryption context")
	require.NotErrorIs(t, err, keyprovider.ErrNoMatch)
}

func TestProviderRSARefusesAKeyOfAnotherUsage(t *testing.T) {
	t.Parallel()
	e := newRSAEndpoint(t)
	symmetric := e.createKey(t, "us-east-1")
	p := newRSA(t, symmetric, e.pub, kms.OAEPSHA256, e.options())
	requireCause(t, refusal(t, p, encryptUnsigned(t, p)), &kms.KeyError{Op: "Decrypt", KeyID: symmetric}, new(smithy.APIError))
}

func TestProviderECDHKeepsTheContractOfProviders(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	for spec, curve := range curves {
		suites := sample(suite.All())
		if curve != ecdh.P256() { // the larger curves are slow
			suites = suites[len(suites)-1:]
		}
		if curve == ecdh.P384() && !full() {
			continue
		}
		sender, _ := e.createECCKey(t, "eu-west-1", curve)
		recipient, pub := e.createECCKey(t, "us-east-1", curve)
		static := newECDHStatic(t, sender, nil, pub, e.options())
		t.Run(fmt.Sprint(spec, " static"), func(t *testing.T) {
			providertest.Test(t, providertest.Config{Provider: static, Suites: suites})
		})
		t.Run(fmt.Sprint(spec, " discovery"), func(t *testing.T) {
			providertest.Test(t, providertest.Config{Provider: static, Decrypter: newECDHDiscovery(t, recipient, nil, e.options()), Suites: suites})
		})
		t.Run(fmt.Sprint(spec, " discovery alone"), func(t *testing.T) {
			providertest.Test(t, providertest.Config{Decrypter: newECDHDiscovery(t, recipient, nil, e.options()), Suites: suites})
		})
	}
}

func TestProviderECDHOpensMessagesOfEverySuiteOnBothSides(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	for spec, curve := range curves {
		t.Run(string(spec), func(t *testing.T) {
			alice, alicePub := e.createECCKey(t, "eu-west-1", curve)
			bob, bobPub := e.createECCKey(t, "us-east-1", curve)
			fromAlice := newECDHStatic(t, alice, alicePub, bobPub, e.options())
			fromBob := newECDHStatic(t, bob, nil, alicePub, e.options())
			suites := suite.All()
			if curve != ecdh.P256() { // the larger curves are slow
				suites = sample(suites)
			}
			requireMessages(t, suites, fromAlice, fromAlice, fromBob, newECDHDiscovery(t, bob, nil, e.options()))
			requireMessages(t, suites, fromBob, fromAlice, fromBob, newECDHDiscovery(t, alice, alicePub, e.options()))
		})
	}
}

// The page calls the recipient's key what KMS must get to decrypt, the schemas
// the other party's: what KMS derives shows which it is.
func TestProviderECDHIsECDHWithTheOtherPartysKey(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	for _, curve := range curves {
		arn, pub := e.createECCKey(t, "us-east-1", curve)
		priv, err := curve.GenerateKey(rand.Reader)
		require.NoError(t, err)
		for _, p := range []*kms.ECDH{newECDHStatic(t, arn, nil, priv.PublicKey(), e.options()), newECDHDiscovery(t, arn, pub, e.options())} {
			m := ecdhByHand(t, priv, pub, "raw-ecdh")
			requireOpens(t, p, m, 0)
		}
		m := encrypt(t, newECDHStatic(t, arn, nil, priv.PublicKey(), e.options()))
		require.Equal(t, m.DataKey, openECDHByHand(t, priv, pub, m))
	}
}

func TestProviderECDHOfOthersDoesNotOpen(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	alice, alicePub := e.createECCKey(t, "us-east-1", ecdh.P256())
	bob, bobPub := e.createECCKey(t, "us-east-1", ecdh.P256())
	eve, evePub := e.createECCKey(t, "us-east-1", ecdh.P256())
	large, _ := e.createECCKey(t, "us-east-1", ecdh.P384())
	m := encrypt(t, newECDHStatic(t, alice, nil, bobPub, e.options()))
	for want, p := range map[string]*kms.ECDH{
		"it is not between the provider's two parties": newECDHStatic(t, alice, nil, evePub, e.options()),
		"not between the provider's two parties":       newECDHStatic(t, eve, nil, alicePub, e.options()),
		"it is for another recipient":                  newECDHDiscovery(t, eve, nil, e.options()),
		"for another recipient":                        newECDHDiscovery(t, alice, nil, e.options()), // the sender
		`the message has "aws-kms-ecdh" from 0`:        newECDHDiscovery(t, large, nil, e.options()), // on another curve
	} {
		err := refusal(t, p, m)
		require.ErrorIs(t, err, keyprovider.ErrNoMatch)
		require.ErrorContains(t, err, want)
	}
	m.EncryptionContext = maps.Clone(m.EncryptionContext)
	m.EncryptionContext["tenant"] = "2"
	for _, p := range []*kms.ECDH{newECDHStatic(t, bob, nil, alicePub, e.options()), newECDHDiscovery(t, bob, nil, e.options())} {
		err := refusal(t, p, m)
		require.NotErrorIs(t, err, keyprovider.ErrNoMatch)
		require.ErrorContains(t, err, "not wrapped for this key agreement and encryption context")
	}
}

func TestProviderECDHRefusesAKeyOfAnotherUsageOrCurve(t *testing.T) {
	t.Parallel()
	e := newRSAEndpoint(t)
	_, recipient := e.createECCKey(t, "us-east-1", ecdh.P256())
	large, _ := e.createECCKey(t, "us-east-1", ecdh.P521())
	rsaKey := e.arn
	symmetric := e.createKey(t, "us-east-1")
	for arn, want := range map[string]string{
		large:     "the sender's key is on P-521, the recipient's on P-256",
		rsaKey:    `the key's usage is "ENCRYPT_DECRYPT", need KEY_AGREEMENT`,
		symmetric: "KMS GetPublicKey with " + symmetric, // AWS has UnsupportedOperationException, others an answer
	} {
		p, err := kms.NewECDHStatic(t.Context(), arn, recipient, &kms.ECDHOptions{Options: *e.options()})
		require.Nil(t, p)
		require.ErrorContains(t, err, want)
		if arn != large {
			p, err = kms.NewECDHDiscovery(t.Context(), arn, &kms.ECDHOptions{Options: *e.options()})
			require.Nil(t, p)
			require.ErrorContains(t, err, want)
		}
	}
	// A public key that was given is not asked for; the key then fails at use.
	p := newECDHStatic(t, rsaKey, recipient, recipient, e.options())
	requireCause(t, encryptErr(t.Context(), p), &kms.KeyError{Op: "DeriveSharedSecret", KeyID: rsaKey}, new(*types.InvalidKeyUsageException))
}

func TestProviderAsymmetricAndOthersWorkInsideMulti(t *testing.T) {
	t.Parallel()
	e := newRSAEndpoint(t)
	key := e.createKey(t, "us-east-1")
	eccARN, _ := e.createECCKey(t, "us-east-1", ecdh.P256())
	bob, bobPub := e.createECCKey(t, "eu-west-1", ecdh.P256())
	raw, err := keyprovider.NewRawAES("namespace", "name", bytes.Repeat([]byte{1}, 32))
	require.NoError(t, err)
	all, err := keyprovider.Multi(raw, strict(t, e.options(), key),
		newRSA(t, e.arn, e.pub, kms.OAEPSHA256, e.options()), newECDHStatic(t, eccARN, nil, bobPub, e.options()))
	require.NoError(t, err)
	m := encryptUnsigned(t, all)
	requireOpens(t, all, m, 0)
	for i, p := range []keyprovider.MasterKeyProvider{
		raw, strict(t, e.options(), key), newRSA(t, e.arn, nil, kms.OAEPSHA256, e.options()), newECDHDiscovery(t, bob, nil, e.options()),
	} {
		requireOpens(t, p, m, i)
	}
}
