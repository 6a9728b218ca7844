package keyprovider_test

import (
	"crypto/ecdh"
	"crypto/elliptic"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/keyprovider/providertest"
	"github.com/esdk-go/esdk/suite"
)

// ecdhKey returns a fixed private key for each name. Its bytes are those of
// aesKey but for the name.
func ecdhKey(t testing.TB, curve ecdh.Curve, name string) *ecdh.PrivateKey {
	t.Helper()
	size := map[ecdh.Curve]int{ecdh.P256(): 32, ecdh.P384(): 48, ecdh.P521(): 66, ecdh.X25519(): 32}[curve]
	b := aesKey(size)
	b[0] = 0 // below the order of the curve
	copy(b[size-len(name):], name)
	k, err := curve.NewPrivateKey(b)
	require.NoError(t, err)
	return k
}

// uncompressed returns the key of a compressed point.
func uncompressed(t testing.TB, curve ecdh.Curve, point []byte) *ecdh.PublicKey {
	t.Helper()
	c := map[ecdh.Curve]elliptic.Curve{ecdh.P256(): elliptic.P256(), ecdh.P384(): elliptic.P384(), ecdh.P521(): elliptic.P521()}[curve]
	x, y := elliptic.UnmarshalCompressed(c, point)
	require.NotNil(t, x)
	size := len(point) - 1
	b := append([]byte{4}, x.FillBytes(make([]byte, size))...)
	pub, err := curve.NewPublicKey(append(b, y.FillBytes(make([]byte, size))...))
	require.NoError(t, err)
	return pub
}

func newStatic(t testing.TB, sender *ecdh.PrivateKey, recipient *ecdh.PublicKey) *keyprovider.RawECDH {
	t.Helper()
	p, err := keyprovider.NewRawECDHStatic(sender, recipient)
	require.NoError(t, err)
	return p
}

func newEphemeral(t testing.TB, recipient *ecdh.PublicKey) *keyprovider.RawECDH {
	t.Helper()
	p, err := keyprovider.NewRawECDHEphemeral(recipient)
	require.NoError(t, err)
	return p
}

func newDiscovery(t testing.TB, recipient *ecdh.PrivateKey) *keyprovider.RawECDH {
	t.Helper()
	p, err := keyprovider.NewRawECDHDiscovery(recipient)
	require.NoError(t, err)
	return p
}

// ecdhReaders returns all that decrypts what "sender" sent to "recipient".
func ecdhReaders(t testing.TB, curve ecdh.Curve) map[string]*keyprovider.RawECDH {
	t.Helper()
	sender, recipient := ecdhKey(t, curve, "sender"), ecdhKey(t, curve, "recipient")
	return map[string]*keyprovider.RawECDH{
		"static sender":    newStatic(t, sender, recipient.PublicKey()),
		"static recipient": newStatic(t, recipient, sender.PublicKey()),
		"discovery":        newDiscovery(t, recipient),
	}
}

func TestRawECDHKeepsTheContract(t *testing.T) {
	for _, c := range ecdhCurves {
		suites := sampled(keySizes)
		if c.curve != ecdh.P256() && !full() { // the slower curves
			suites = keySizes[:1]
		}
		sender, recipient := ecdhKey(t, c.curve, "sender"), ecdhKey(t, c.curve, "recipient")
		static := newStatic(t, sender, recipient.PublicKey())
		for name, config := range map[string]providertest.Config{
			"static":                    {Provider: static},
			"static, the other party":   {Provider: static, Decrypter: newStatic(t, recipient, sender.PublicKey())},
			"static to discovery":       {Provider: static, Decrypter: newDiscovery(t, recipient)},
			"ephemeral to discovery":    {Provider: newEphemeral(t, recipient.PublicKey()), Decrypter: newDiscovery(t, recipient)},
			"discovery, which decrypts": {Decrypter: newDiscovery(t, recipient)},
		} {
			config.Suites = suites
			if !full() && c.curve == ecdh.P521() && name[:6] == "static" {
				continue // that is what the other curves do
			}
			t.Run(fmt.Sprint(c.curve, " ", name), func(t *testing.T) {
				t.Parallel()
				providertest.Test(t, config)
			})
		}
	}
}

func TestMultiOfRawECDHKeepsTheContract(t *testing.T) {
	t.Parallel()
	sender, recipient := ecdhKey(t, ecdh.P256(), "sender"), ecdhKey(t, ecdh.P384(), "recipient")
	providertest.Test(t, providertest.Config{
		Provider:  newMulti(t, newEphemeral(t, recipient.PublicKey()), newStatic(t, sender, ecdhKey(t, ecdh.P256(), "other").PublicKey()), newAES(t, "third", 32)),
		Decrypter: newMulti(t, newAES(t, "third", 32), newStatic(t, ecdhKey(t, ecdh.P256(), "other"), sender.PublicKey()), newDiscovery(t, recipient)),
		Suites:    sampled(keySizes[:1]),
	})
}

// An ephemeral provider that is a Multi's child is no hindrance to the others,
// and the curves of several recipients may differ.
func TestRawECDHToSeveralRecipients(t *testing.T) {
	recipients := map[string]ecdh.Curve{"one": ecdh.P256(), "two": ecdh.P384(), "three": ecdh.P521(), "four": ecdh.P256()}
	var children []keyprovider.MasterKeyProvider
	for name, curve := range recipients {
		children = append(children, newEphemeral(t, ecdhKey(t, curve, name).PublicKey()))
	}
	writer := newMulti(t, children[0], children[1:]...)
	message, _, err := esdk.Encrypt(bg, []byte("hello"), writer, nil)
	require.NoError(t, err)
	for name, curve := range recipients {
		reader := newMulti(t, writer, newDiscovery(t, ecdhKey(t, curve, name)))
		plaintext, _, err := esdk.Decrypt(bg, message, reader, nil)
		require.NoError(t, err)
		require.Equal(t, "hello", string(plaintext))
	}
	_, _, err = esdk.Decrypt(bg, message, newDiscovery(t, ecdhKey(t, ecdh.P384(), "other")), nil)
	var failure *keyprovider.DecryptError
	require.ErrorAs(t, err, &failure)
	require.ErrorIs(t, err, keyprovider.ErrNoMatch)
	_, _, err = esdk.Encrypt(bg, nil, newMulti(t, children[0], newDiscovery(t, ecdhKey(t, ecdh.P256(), "one"))), nil)
	require.True(t, errors.Is(err, keyprovider.ErrDecryptOnly), err)
}

func TestRawECDHUnderACacheAndWithRequiredContext(t *testing.T) {
	recipient := ecdhKey(t, ecdh.P256(), "recipient")
	writer := newCache(t, requireContext(t, newEphemeral(t, recipient.PublicKey()), "tenant"), keyprovider.CacheOptions{MaxAge: time.Hour})
	reader := requireContext(t, newCache(t, newDiscovery(t, recipient), keyprovider.CacheOptions{MaxAge: time.Hour}), "tenant")
	for _, s := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
		var keys []string
		for range 3 {
			message, key := mustEncrypt(t, writer, 100, &esdk.EncryptOptions{Suite: s, EncryptionContext: context1("42")})
			keys = append(keys, key)
			plaintext, h, err := esdk.Decrypt(bg, message, reader, &esdk.DecryptOptions{EncryptionContext: context1("42")})
			require.NoError(t, err)
			require.Len(t, plaintext, 100)
			require.Equal(t, "42", h.EncryptionContext["tenant"])
			_, _, err = esdk.Decrypt(bg, message, reader, &esdk.DecryptOptions{EncryptionContext: context1("43")})
			require.Error(t, err)
			_, _, err = esdk.Decrypt(bg, message, reader, nil)
			require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
		}
		require.Equal(t, keys[0], keys[2], "one data key for all")
	}
}
