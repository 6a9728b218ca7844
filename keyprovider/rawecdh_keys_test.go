package keyprovider_test

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
)

func TestRawECDHNeedsKeysOnOneSupportedCurve(t *testing.T) {
	p256, p384, x25519 := ecdhKey(t, ecdh.P256(), "a"), ecdhKey(t, ecdh.P384(), "a"), ecdhKey(t, ecdh.X25519(), "a")
	for _, test := range []struct {
		priv *ecdh.PrivateKey
		pub  *ecdh.PublicKey
		want string
	}{
		{nil, p256.PublicKey(), "keyprovider: sender's private key: nil key"},
		{p256, nil, "keyprovider: recipient's public key: nil key"},
		{new(ecdh.PrivateKey), p256.PublicKey(), "keyprovider: sender's private key: a key without a curve"},
		{p256, new(ecdh.PublicKey), "keyprovider: recipient's public key: a key without a curve"},
		{x25519, x25519.PublicKey(), "keyprovider: sender's private key: X25519 is not supported; the curves are P-256, P-384 and P-521"},
		{p256, x25519.PublicKey(), "keyprovider: recipient's public key: X25519 is not supported; the curves are P-256, P-384 and P-521"},
		{p256, p384.PublicKey(), "keyprovider: the sender's key is on P-256, the recipient's on P-384"},
		{p384, p256.PublicKey(), "keyprovider: the sender's key is on P-384, the recipient's on P-256"},
	} {
		p, err := keyprovider.NewRawECDHStatic(test.priv, test.pub)
		require.EqualError(t, err, test.want)
		require.Nil(t, p)
	}
	for pub, want := range map[*ecdh.PublicKey]string{
		nil:                "keyprovider: recipient's public key: nil key",
		{}:                 "keyprovider: recipient's public key: a key without a curve",
		x25519.PublicKey(): "keyprovider: recipient's public key: X25519 is not supported; the curves are P-256, P-384 and P-521",
	} {
		p, err := keyprovider.NewRawECDHEphemeral(pub)
		require.EqualError(t, err, want)
		require.Nil(t, p)
	}
	for priv, want := range map[*ecdh.PrivateKey]string{
		nil:    "keyprovider: recipient's private key: nil key",
		{}:     "keyprovider: recipient's private key: a key without a curve",
		x25519: "keyprovider: recipient's private key: X25519 is not supported; the curves are P-256, P-384 and P-521",
	} {
		p, err := keyprovider.NewRawECDHDiscovery(priv)
		require.EqualError(t, err, want)
		require.Nil(t, p)
	}
}

func TestRawECDHNotMadeByAConstructorFails(t *testing.T) {
	for _, p := range []keyprovider.MasterKeyProvider{keyprovider.RawECDH{}, &keyprovider.RawECDH{}} {
		keys, err := p.MasterKeys(t.Context(), request())
		require.ErrorContains(t, err, "was not made by NewRawECDHStatic")
		require.Nil(t, keys)
		key, err := p.DecryptDataKey(t.Context(), request(), nil)
		require.ErrorContains(t, err, "was not made by NewRawECDHStatic")
		require.Nil(t, key)
		_, err = p.(keyprovider.MasterKey).EncryptDataKey(t.Context(), request(), aesKey(32))
		require.ErrorContains(t, err, "was not made by NewRawECDHStatic")
	}
}

// PKCS #8 in PEM, SubjectPublicKeyInfo in DER: what the other SDKs take.
func TestRawECDHTakesKeysFromPEMAndDER(t *testing.T) {
	for _, c := range ecdhCurves {
		priv := ecdhKey(t, c.curve, "recipient")
		pkcs8, err := x509.MarshalPKCS8PrivateKey(priv)
		require.NoError(t, err)
		spki, err := x509.MarshalPKIXPublicKey(priv.PublicKey())
		require.NoError(t, err)

		block, _ := pem.Decode(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		require.NoError(t, err)
		recipient, err := parsed.(*ecdsa.PrivateKey).ECDH()
		require.NoError(t, err)
		public, err := x509.ParsePKIXPublicKey(spki)
		require.NoError(t, err)
		pub, err := public.(*ecdsa.PublicKey).ECDH()
		require.NoError(t, err)

		for _, writer := range []*keyprovider.RawECDH{newEphemeral(t, pub), newStatic(t, recipient, pub)} {
			key := generate(t, writer, request())
			got, err := newDiscovery(t, recipient).DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{key.Encrypted})
			require.NoError(t, err)
			require.Equal(t, key, got)
		}
	}
}

func TestRawECDHCopiesItsKeys(t *testing.T) {
	sender, recipient := ecdhKey(t, ecdh.P256(), "sender"), ecdhKey(t, ecdh.P256(), "recipient")
	pub := recipient.PublicKey()
	static, ephemeral, discovery := newStatic(t, sender, pub), newEphemeral(t, pub), newDiscovery(t, recipient)
	other := ecdhKey(t, ecdh.P384(), "other")
	*sender, *recipient, *pub = *other, *other, *other.PublicKey()
	for _, writer := range []*keyprovider.RawECDH{static, ephemeral} {
		key := generate(t, writer, request())
		got, err := discovery.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{key.Encrypted})
		require.NoError(t, err)
		require.Equal(t, key, got)
	}
	for _, p := range ecdhReaders(t, ecdh.P256()) {
		_, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{generate(t, static, request()).Encrypted})
		require.NoError(t, err)
	}
}

func FuzzRawECDHDecrypt(f *testing.F) {
	var readers []*keyprovider.RawECDH
	for _, c := range ecdhCurves {
		readers = slices.AppendSeq(readers, maps.Values(ecdhReaders(f, c.curve)))
		edk := generate(f, newEphemeral(f, ecdhKey(f, c.curve, "recipient").PublicKey()), request()).Encrypted
		f.Add(edk.ProviderInfo, edk.Ciphertext)
	}
	f.Fuzz(func(t *testing.T, info, ciphertext []byte) {
		for _, p := range readers {
			key, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{{ProviderID: "raw-ecdh", ProviderInfo: info, Ciphertext: ciphertext}})
			if err == nil {
				require.Len(t, key.Plaintext, 32)
				continue
			}
			require.Nil(t, key)
			var failure *keyprovider.DecryptError
			require.ErrorAs(t, err, &failure)
		}
	})
}
