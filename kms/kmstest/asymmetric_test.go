package kmstest_test

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"hash"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms/kmstest"
)

var oaepHashes = map[types.EncryptionAlgorithmSpec]func() hash.Hash{
	types.EncryptionAlgorithmSpecRsaesOaepSha1:   sha1.New,
	types.EncryptionAlgorithmSpecRsaesOaepSha256: sha256.New,
}

// publicKey fetches a public key.
func publicKey(t *testing.T, c *awskms.Client, key string) (any, *awskms.GetPublicKeyOutput) {
	t.Helper()
	out, err := c.GetPublicKey(t.Context(), &awskms.GetPublicKeyInput{KeyId: &key})
	require.NoError(t, err)
	require.Equal(t, key, *out.KeyId)
	pub, err := x509.ParsePKIXPublicKey(out.PublicKey)
	require.NoError(t, err)
	return pub, out
}

func TestRSAKeysDecryptWhatTheirPublicKeyEncrypts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := client(s, "eu-west-1")
	for bits, spec := range map[int]types.KeySpec{2048: types.KeySpecRsa2048, 3072: types.KeySpecRsa3072, 4096: types.KeySpecRsa4096} {
		if bits > 2048 && os.Getenv("ESDK_TEST") != "full" {
			continue // long keys take long to generate
		}
		key := s.CreateRSAKey("eu-west-1", bits)
		pub, out := publicKey(t, c, key)
		require.Equal(t, bits, pub.(*rsa.PublicKey).N.BitLen())
		require.Equal(t, spec, out.KeySpec)
		require.Equal(t, types.KeyUsageTypeEncryptDecrypt, out.KeyUsage)
		require.ElementsMatch(t, []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecRsaesOaepSha1, types.EncryptionAlgorithmSpecRsaesOaepSha256}, out.EncryptionAlgorithms)
		for algorithm, newHash := range oaepHashes {
			here, err := rsa.EncryptOAEP(newHash(), rand.Reader, pub.(*rsa.PublicKey), []byte("secret"), nil)
			require.NoError(t, err)
			there, err := c.Encrypt(t.Context(), &awskms.EncryptInput{KeyId: &key, Plaintext: []byte("secret"), EncryptionAlgorithm: algorithm})
			require.NoError(t, err)
			require.Equal(t, algorithm, there.EncryptionAlgorithm)
			for _, blob := range [][]byte{here, there.CiphertextBlob} {
				require.Len(t, blob, bits/8)
				got, err := c.Decrypt(t.Context(), &awskms.DecryptInput{KeyId: &key, CiphertextBlob: blob, EncryptionAlgorithm: algorithm})
				require.NoError(t, err)
				require.Equal(t, "secret", string(got.Plaintext))
				require.Equal(t, key, *got.KeyId)
				require.Equal(t, algorithm, got.EncryptionAlgorithm)
			}
		}
	}
}

func TestRSAKeysRefuseWhatKMSRefuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key, other, symmetric, agreement := s.CreateRSAKey("us-east-1", 2048), s.CreateRSAKey("us-east-1", 2048), s.CreateKey("us-east-1"), s.CreateECCKey("us-east-1", ecdh.P256())
	c := client(s, "us-east-1")
	oaep, legacy := types.EncryptionAlgorithmSpecRsaesOaepSha256, types.EncryptionAlgorithmSpecRsaesOaepSha1
	out, err := c.Encrypt(t.Context(), &awskms.EncryptInput{KeyId: &key, Plaintext: []byte{1}, EncryptionAlgorithm: oaep})
	require.NoError(t, err)

	for _, of := range []string{other, key} {
		algorithm := oaep
		if of == key {
			algorithm = legacy
		}
		_, err = c.Decrypt(t.Context(), &awskms.DecryptInput{KeyId: &of, CiphertextBlob: out.CiphertextBlob, EncryptionAlgorithm: algorithm})
		var invalid *types.InvalidCiphertextException
		require.ErrorAs(t, err, &invalid)
	}
	_, err = c.Decrypt(t.Context(), &awskms.DecryptInput{CiphertextBlob: out.CiphertextBlob, EncryptionAlgorithm: oaep})
	requireCode(t, "ValidationException", err) // no blob of RSA names its key
	for name, in := range map[string]awskms.EncryptInput{
		"encryption context": {Plaintext: []byte{1}, EncryptionContext: map[string]string{"a": "1"}},
		"longer than OAEP":   {Plaintext: make([]byte, 256-2*32-2+1)},
	} {
		t.Run(name, func(t *testing.T) {
			in.KeyId, in.EncryptionAlgorithm = &key, oaep
			_, err := c.Encrypt(t.Context(), &in)
			requireCode(t, "ValidationException", err)
		})
	}

	var usage *types.InvalidKeyUsageException
	for _, in := range []awskms.EncryptInput{
		{KeyId: &key}, {KeyId: &key, EncryptionAlgorithm: types.EncryptionAlgorithmSpecSymmetricDefault}, {KeyId: &key, EncryptionAlgorithm: "SM2PKE"},
		{KeyId: &symmetric, EncryptionAlgorithm: oaep}, {KeyId: &agreement}, {KeyId: &agreement, EncryptionAlgorithm: oaep},
	} {
		in.Plaintext = []byte{1}
		_, err = c.Encrypt(t.Context(), &in)
		require.ErrorAs(t, err, &usage)
		_, err = c.Decrypt(t.Context(), &awskms.DecryptInput{KeyId: in.KeyId, CiphertextBlob: out.CiphertextBlob, EncryptionAlgorithm: in.EncryptionAlgorithm})
		require.ErrorAs(t, err, &usage)
	}
	_, err = c.GenerateDataKey(t.Context(), &awskms.GenerateDataKeyInput{KeyId: &key, NumberOfBytes: aws.Int32(32)})
	require.ErrorAs(t, err, &usage)

	s.DenyAccess(key, "GetPublicKey")
	_, err = c.GetPublicKey(t.Context(), &awskms.GetPublicKeyInput{KeyId: &key})
	requireCode(t, "AccessDeniedException", err)
	require.NoError(t, s.DisableKey(other))
	var disabled *types.DisabledException
	_, err = c.GetPublicKey(t.Context(), &awskms.GetPublicKeyInput{KeyId: &other})
	require.ErrorAs(t, err, &disabled)
	_, err = c.GetPublicKey(t.Context(), &awskms.GetPublicKeyInput{KeyId: &symmetric})
	var unsupported *types.UnsupportedOperationException
	require.ErrorAs(t, err, &unsupported)
	require.Panics(t, func() { s.CreateRSAKey("us-east-1", 1024) })
}

func TestReplicasOfAnRSAKeyAreOneKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	arns := s.CreateMultiRegionRSAKey(2048, "us-east-1", "eu-west-1")
	require.True(t, strings.Contains(arns[0], ":key/mrk-"), arns[0])
	first, _ := publicKey(t, client(s, "us-east-1"), arns[0])
	second, _ := publicKey(t, client(s, "eu-west-1"), arns[1])
	require.Equal(t, first, second)
}

func TestReEncryptMovesABlobToAnRSAKey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	from, to := s.CreateKey("us-east-1"), s.CreateRSAKey("us-east-1", 2048)
	c := client(s, "us-east-1")
	oaep := types.EncryptionAlgorithmSpecRsaesOaepSha256
	there, err := c.ReEncrypt(t.Context(), &awskms.ReEncryptInput{
		CiphertextBlob: encrypt(t, c, from, nil).CiphertextBlob, DestinationKeyId: &to, DestinationEncryptionAlgorithm: oaep,
	})
	require.NoError(t, err)
	require.Equal(t, types.EncryptionAlgorithmSpecSymmetricDefault, there.SourceEncryptionAlgorithm)
	require.Equal(t, oaep, there.DestinationEncryptionAlgorithm)
	back, err := c.ReEncrypt(t.Context(), &awskms.ReEncryptInput{
		SourceKeyId: &to, SourceEncryptionAlgorithm: oaep, CiphertextBlob: there.CiphertextBlob, DestinationKeyId: &from,
	})
	require.NoError(t, err)
	plaintext, err := decrypt(t, c, from, back.CiphertextBlob, nil)
	require.NoError(t, err)
	require.Equal(t, "secret", string(plaintext))
}

func TestDeriveSharedSecretIsECDH(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := client(s, "eu-west-1")
	for spec, curve := range map[types.KeySpec]ecdh.Curve{
		types.KeySpecEccNistP256: ecdh.P256(), types.KeySpecEccNistP384: ecdh.P384(), types.KeySpecEccNistP521: ecdh.P521(),
	} {
		key := s.CreateECCKey("eu-west-1", curve)
		theirs, out := publicKey(t, c, key)
		require.Equal(t, spec, out.KeySpec)
		require.Equal(t, types.KeyUsageTypeKeyAgreement, out.KeyUsage)
		require.Equal(t, []types.KeyAgreementAlgorithmSpec{types.KeyAgreementAlgorithmSpecEcdh}, out.KeyAgreementAlgorithms)
		require.Empty(t, out.EncryptionAlgorithms)

		ours, err := curve.GenerateKey(rand.Reader)
		require.NoError(t, err)
		der, err := x509.MarshalPKIXPublicKey(ours.PublicKey())
		require.NoError(t, err)
		pub, err := theirs.(*ecdsa.PublicKey).ECDH()
		require.NoError(t, err)
		want, err := ours.ECDH(pub)
		require.NoError(t, err)

		s.ResetCalls()
		got, err := c.DeriveSharedSecret(t.Context(), &awskms.DeriveSharedSecretInput{
			KeyId: &key, PublicKey: der, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, GrantTokens: []string{"grant"},
		})
		require.NoError(t, err)
		require.Equal(t, want, got.SharedSecret)
		require.Equal(t, key, *got.KeyId)
		require.Equal(t, types.KeyAgreementAlgorithmSpecEcdh, got.KeyAgreementAlgorithm)
		call := s.Calls()[0]
		require.Equal(t, der, call.PublicKey)
		require.Equal(t, "ECDH", call.KeyAgreementAlgorithm)
		require.Equal(t, []string{"grant"}, call.GrantTokens)
	}
}

func TestDeriveSharedSecretRefusesWhatKMSRefuses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key, rsaKey := s.CreateECCKey("us-east-1", ecdh.P256()), s.CreateRSAKey("us-east-1", 2048)
	c := client(s, "us-east-1")
	derive := func(key string, pub []byte, algorithm types.KeyAgreementAlgorithmSpec) error {
		_, err := c.DeriveSharedSecret(t.Context(), &awskms.DeriveSharedSecretInput{KeyId: &key, PublicKey: pub, KeyAgreementAlgorithm: algorithm})
		return err
	}
	_, own := publicKey(t, c, key)
	_, large := publicKey(t, c, s.CreateECCKey("us-east-1", ecdh.P384()))
	_, rsaPub := publicKey(t, c, rsaKey)
	require.NoError(t, derive(key, own.PublicKey, types.KeyAgreementAlgorithmSpecEcdh))
	for name, pub := range map[string][]byte{"another curve": large.PublicKey, "RSA": rsaPub.PublicKey, "cut": own.PublicKey[:80], "empty": {}} {
		t.Run(name, func(t *testing.T) {
			requireCode(t, "ValidationException", derive(key, pub, types.KeyAgreementAlgorithmSpecEcdh))
		})
	}
	requireCode(t, "ValidationException", derive(key, own.PublicKey, "OTHER"))
	var usage *types.InvalidKeyUsageException
	require.ErrorAs(t, derive(rsaKey, own.PublicKey, types.KeyAgreementAlgorithmSpecEcdh), &usage)
	require.ErrorAs(t, derive(s.CreateKey("us-east-1"), own.PublicKey, types.KeyAgreementAlgorithmSpecEcdh), &usage)

	s.DenyAccess(key, "DeriveSharedSecret")
	requireCode(t, "AccessDeniedException", derive(key, own.PublicKey, types.KeyAgreementAlgorithmSpecEcdh))
	s.AllowAccess(key)
	s.Throttle(1)
	require.NoError(t, derive(key, own.PublicKey, types.KeyAgreementAlgorithmSpecEcdh))
	s.Intercept(func(_ context.Context, call kmstest.Call) *kmstest.Reply {
		return &kmstest.Reply{KeyID: "other", SharedSecret: []byte{1}, KeyAgreementAlgorithm: "X"}
	})
	out, err := c.DeriveSharedSecret(t.Context(), &awskms.DeriveSharedSecretInput{KeyId: &key, PublicKey: own.PublicKey, KeyAgreementAlgorithm: "ECDH"})
	require.NoError(t, err)
	require.Equal(t, []byte{1}, out.SharedSecret)
	require.EqualValues(t, "X", out.KeyAgreementAlgorithm)
	s.Intercept(func(_ context.Context, call kmstest.Call) *kmstest.Reply {
		return &kmstest.Reply{PublicKey: []byte{2}, KeySpec: "SM2", KeyUsage: "SIGN_VERIFY", EncryptionAlgorithm: "SM2PKE"}
	})
	fetched, err := c.GetPublicKey(t.Context(), &awskms.GetPublicKeyInput{KeyId: &key})
	require.NoError(t, err)
	require.Equal(t, []byte{2}, fetched.PublicKey)
	require.Equal(t, types.KeySpecSm2, fetched.KeySpec)
	require.Equal(t, types.KeyUsageTypeSignVerify, fetched.KeyUsage)
	require.Panics(t, func() { s.CreateECCKey("us-east-1", ecdh.X25519()) })
}

func TestDescribeKeyTellsWhatAKeyIsFor(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := client(s, "us-east-1")
	for key, want := range map[string]types.KeyMetadata{
		s.CreateKey("us-east-1"): {KeySpec: types.KeySpecSymmetricDefault, KeyUsage: types.KeyUsageTypeEncryptDecrypt,
			EncryptionAlgorithms: []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecSymmetricDefault}},
		s.CreateRSAKey("us-east-1", 2048): {KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeEncryptDecrypt,
			EncryptionAlgorithms: []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecRsaesOaepSha1, types.EncryptionAlgorithmSpecRsaesOaepSha256}},
		s.CreateECCKey("us-east-1", ecdh.P521()): {KeySpec: types.KeySpecEccNistP521, KeyUsage: types.KeyUsageTypeKeyAgreement,
			KeyAgreementAlgorithms: []types.KeyAgreementAlgorithmSpec{types.KeyAgreementAlgorithmSpecEcdh}},
	} {
		out, err := c.DescribeKey(t.Context(), &awskms.DescribeKeyInput{KeyId: &key})
		require.NoError(t, err)
		got := out.KeyMetadata
		require.Equal(t, want, types.KeyMetadata{KeySpec: got.KeySpec, KeyUsage: got.KeyUsage,
			EncryptionAlgorithms: got.EncryptionAlgorithms, KeyAgreementAlgorithms: got.KeyAgreementAlgorithms})
	}
}
