package keyprovider_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// ecdhCurves by their names in what keys are derived from.
var ecdhCurves = []struct {
	name  string
	curve ecdh.Curve
	point int // bytes of a compressed one
}{
	{"p256", ecdh.P256(), 33},
	{"p384", ecdh.P384(), 49},
	{"p521", ecdh.P521(), 67},
}

// compressed writes a public key as SEC 1, section 2.3.3 has it.
func compressed(pub *ecdh.PublicKey) []byte {
	b := pub.Bytes()
	n := (len(b) - 1) / 2
	sign := byte(2)
	if b[2*n]%2 == 1 {
		sign = 3
	}
	return append([]byte{sign}, b[1:1+n]...)
}

// ecdhInfo is the provider info of two points.
func ecdhInfo(version byte, recipient, sender []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{version}, uint32(len(recipient)))
	b = binary.BigEndian.AppendUint32(append(b, recipient...), uint32(len(sender)))
	return append(b, sender...)
}

// ecdhWrap wraps a data key as framework/raw-ecdh-keyring.md and
// framework/key-agreement-schemas.md say, with all that an entry holds given.
func ecdhWrap(t testing.TB, curve, providerID string, priv *ecdh.PrivateKey, pub *ecdh.PublicKey, sender, recipient, salt, dataKey []byte, context string) keyprovider.EncryptedDataKey {
	t.Helper()
	secret, err := priv.ECDH(pub)
	require.NoError(t, err)
	fixed := "ecdh-key-derivation\x00" + curve + "\x00HMAC_SHA384\x00" + string(sender) + string(recipient) + "\x00\x01\x00" + context
	var keys []byte
	for i := range byte(2) {
		mac := hmac.New(sha512.New384, secret)
		fmt.Fprintf(mac, "\x00\x00\x00%c%s\x00%s\x00\x00\x02\x00", 1+i, fixed, salt) // 512 bits
		keys = mac.Sum(keys)
	}
	block, err := aes.NewCipher(keys[32:64])
	require.NoError(t, err)
	aead, err := cipher.NewGCM(block)
	require.NoError(t, err)
	return keyprovider.EncryptedDataKey{
		ProviderID:   providerID,
		ProviderInfo: ecdhInfo(1, recipient, sender),
		Ciphertext:   slices.Concat(salt, keys[:32], aead.Seal(nil, make([]byte, 12), dataKey, []byte(fixed))),
	}
}

func TestRawECDHEntryLayout(t *testing.T) {
	t.Parallel()
	for _, c := range ecdhCurves {
		for _, s := range sampled(keySizes) {
			req := &keyprovider.Request{Suite: s, EncryptionContext: request().EncryptionContext}
			sender, recipient := ecdhKey(t, c.curve, "sender"), ecdhKey(t, c.curve, "recipient")
			from, to := compressed(sender.PublicKey()), compressed(recipient.PublicKey())

			key := generate(t, newStatic(t, sender, recipient.PublicKey()), req)
			require.Len(t, key.Plaintext, s.KeySize())
			require.Len(t, key.Encrypted.ProviderInfo, 1+2*(4+c.point))
			require.Len(t, key.Encrypted.Ciphertext, 32+32+s.KeySize()+16)
			salt := key.Encrypted.Ciphertext[:32]
			require.Equal(t, ecdhWrap(t, c.name, "raw-ecdh", sender, recipient.PublicKey(), from, to, salt, key.Plaintext, requestAAD), key.Encrypted)

			key = generate(t, newEphemeral(t, recipient.PublicKey()), req)
			info := key.Encrypted.ProviderInfo
			require.Len(t, info, 1+2*(4+c.point))
			once := info[1+4+c.point+4:]
			salt = key.Encrypted.Ciphertext[:32]
			require.Equal(t, ecdhWrap(t, c.name, "raw-ecdh", recipient, uncompressed(t, c.curve, once), once, to, salt, key.Plaintext, requestAAD), key.Encrypted)
		}
	}
}

func TestRawECDHBindsNothingForAnEmptyContext(t *testing.T) {
	sender, recipient := ecdhKey(t, ecdh.P256(), "sender"), ecdhKey(t, ecdh.P256(), "recipient")
	key := generate(t, newStatic(t, sender, recipient.PublicKey()), &keyprovider.Request{Suite: id})
	require.Equal(t, ecdhWrap(t, "p256", "raw-ecdh", sender, recipient.PublicKey(), compressed(sender.PublicKey()), compressed(recipient.PublicKey()),
		key.Encrypted.Ciphertext[:32], key.Plaintext, ""), key.Encrypted)
}

// By the entry alone nobody can tell who wrapped it, so either provider ID will do.
func TestRawECDHDecryptsWhatOthersWrapped(t *testing.T) {
	salt := bytes.Repeat([]byte{9}, 32)
	for _, c := range ecdhCurves {
		sender, recipient := ecdhKey(t, c.curve, "sender"), ecdhKey(t, c.curve, "recipient")
		for _, providerID := range []string{"raw-ecdh", "aws-kms-ecdh"} {
			edk := ecdhWrap(t, c.name, providerID, sender, recipient.PublicKey(), compressed(sender.PublicKey()), compressed(recipient.PublicKey()), salt, aesKey(32), requestAAD)
			for _, p := range []*keyprovider.RawECDH{
				newStatic(t, sender, recipient.PublicKey()),
				newStatic(t, recipient, sender.PublicKey()),
				newDiscovery(t, recipient),
			} {
				key, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{edk})
				require.NoError(t, err, p)
				require.Equal(t, &keyprovider.DataKey{Plaintext: aesKey(32), Encrypted: edk}, key)
			}
			causes := requireRefused(t, newDiscovery(t, sender), request(), edk)
			require.ErrorIs(t, causes[0], keyprovider.ErrNoMatch, "the sender is not whom it is for")
		}
	}
}

func TestStaticRawECDHReadsInBothDirections(t *testing.T) {
	ann, bob := ecdhKey(t, ecdh.P384(), "ann"), ecdhKey(t, ecdh.P384(), "bob")
	atAnn, atBob := newStatic(t, ann, bob.PublicKey()), newStatic(t, bob, ann.PublicKey())
	for _, writer := range []*keyprovider.RawECDH{atAnn, atBob} {
		key := generate(t, writer, request())
		for _, reader := range []*keyprovider.RawECDH{atAnn, atBob} {
			got, err := reader.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{key.Encrypted})
			require.NoError(t, err)
			require.Equal(t, key, got)
		}
	}
}

func TestStaticRawECDHReadsMessagesOfItsTwoPartiesOnly(t *testing.T) {
	ann, bob, eve := ecdhKey(t, ecdh.P256(), "ann"), ecdhKey(t, ecdh.P256(), "bob"), ecdhKey(t, ecdh.P256(), "eve")
	p := newStatic(t, bob, ann.PublicKey())
	for name, writer := range map[string]*keyprovider.RawECDH{
		"another sender":    newStatic(t, eve, bob.PublicKey()),
		"another recipient": newStatic(t, ann, eve.PublicKey()),
		"ephemeral sender":  newEphemeral(t, bob.PublicKey()),
		"to oneself":        newStatic(t, bob, bob.PublicKey()),
		"to another":        newStatic(t, bob, eve.PublicKey()),
		"another to theirs": newStatic(t, eve, ann.PublicKey()),
	} {
		causes := requireRefused(t, p, request(), generate(t, writer, request()).Encrypted)
		require.ErrorIs(t, causes[0], keyprovider.ErrNoMatch, name)
		require.ErrorContains(t, causes[0], p.String(), name)
	}
	// The points alone do not do: the secret must be that of the parties.
	forged := ecdhWrap(t, "p256", "raw-ecdh", eve, bob.PublicKey(), compressed(ann.PublicKey()), compressed(bob.PublicKey()), make([]byte, 32), aesKey(32), requestAAD)
	causes := requireRefused(t, p, request(), forged)
	require.EqualError(t, causes[0], `encrypted data key 1 ("raw-ecdh"): not wrapped for this key agreement and encryption context, or altered`)
}

func TestDiscoveryRawECDHReadsWhatAnybodySentToItsKey(t *testing.T) {
	bob := ecdhKey(t, ecdh.P521(), "bob")
	for _, writer := range []*keyprovider.RawECDH{
		newEphemeral(t, bob.PublicKey()),
		newStatic(t, ecdhKey(t, ecdh.P521(), "ann"), bob.PublicKey()),
		newStatic(t, ecdhKey(t, ecdh.P521(), "eve"), bob.PublicKey()),
		newStatic(t, bob, bob.PublicKey()),
	} {
		key := generate(t, writer, request())
		got, err := newDiscovery(t, bob).DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{key.Encrypted})
		require.NoError(t, err)
		require.Equal(t, key, got)
		causes := requireRefused(t, newDiscovery(t, ecdhKey(t, ecdh.P521(), "other")), request(), key.Encrypted)
		require.ErrorIs(t, causes[0], keyprovider.ErrNoMatch)
	}
}

func TestEphemeralRawECDHMakesAKeyPairForEachDataKey(t *testing.T) {
	t.Parallel()
	for _, c := range ecdhCurves {
		recipient := ecdhKey(t, c.curve, "recipient")
		p := newEphemeral(t, recipient.PublicKey())
		senders, salts := make(map[string]bool), make(map[string]bool)
		for range 10 {
			edk, err := p.EncryptDataKey(t.Context(), request(), aesKey(32))
			require.NoError(t, err)
			require.Equal(t, string(compressed(recipient.PublicKey())), string(edk.ProviderInfo[5:5+c.point]))
			sender := edk.ProviderInfo[5+c.point+4:]
			uncompressed(t, c.curve, sender)
			senders[string(sender)] = true
			salts[string(edk.Ciphertext[:32])] = true
		}
		require.Len(t, senders, 10)
		require.Len(t, salts, 10)
	}
}

func TestEphemeralRawECDHOnlyEncrypts(t *testing.T) {
	p := newEphemeral(t, ecdhKey(t, ecdh.P256(), "recipient").PublicKey())
	key := generate(t, p, request())
	causes := requireRefused(t, p, request(), key.Encrypted)
	require.Len(t, causes, 1)
	require.EqualError(t, causes[0], p.String()+" can only encrypt; decryption needs the recipient's private key")
	requireRefused(t, p, request())
}

func TestDiscoveryRawECDHOnlyDecrypts(t *testing.T) {
	p := newDiscovery(t, ecdhKey(t, ecdh.P256(), "recipient"))
	keys, err := p.MasterKeys(t.Context(), request())
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
	require.Nil(t, keys)
	edk, err := p.EncryptDataKey(t.Context(), request(), aesKey(32))
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
	require.Zero(t, edk)
	key, err := p.GenerateDataKey(t.Context(), request())
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
	require.Nil(t, key)
	_, err = keyprovider.Materials(p).EncryptionMaterials(t.Context(), &keyprovider.EncryptionRequest{})
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
}

func TestRawECDHStopsWhenTheContextIsDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	good := generate(t, newStatic(t, ecdhKey(t, ecdh.P256(), "sender"), ecdhKey(t, ecdh.P256(), "recipient").PublicKey()), request())
	for _, p := range ecdhReaders(t, ecdh.P256()) {
		key, err := p.DecryptDataKey(ctx, request(), []keyprovider.EncryptedDataKey{good.Encrypted})
		require.ErrorIs(t, err, context.Canceled)
		require.Nil(t, key)
	}
}

func TestRawECDHSkipsEntriesOfOtherProviders(t *testing.T) {
	for _, p := range ecdhReaders(t, ecdh.P256()) {
		good := generate(t, newStatic(t, ecdhKey(t, ecdh.P256(), "sender"), ecdhKey(t, ecdh.P256(), "recipient").PublicKey()), request())
		for _, other := range []string{"", "raw-ecd", "raw-ecdh2", "RAW-ECDH", "aws-kms", "aws-kms-ecdh-2", "namespace"} {
			bad := good.Encrypted
			bad.ProviderID = other
			causes := requireRefused(t, p, request(), bad)
			require.Len(t, causes, 1)
			require.ErrorIs(t, causes[0], keyprovider.ErrNoMatch, other)
			key, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{bad, good.Encrypted})
			require.NoError(t, err)
			require.Equal(t, good, key)
		}
	}
}

func TestRawECDHSkipsWhatHasAnotherLayoutAndSaysSo(t *testing.T) {
	sender, recipient := ecdhKey(t, ecdh.P256(), "sender"), ecdhKey(t, ecdh.P256(), "recipient")
	from, to := compressed(sender.PublicKey()), compressed(recipient.PublicKey())
	other := ecdhKey(t, ecdh.P384(), "recipient").PublicKey()
	good := generate(t, newStatic(t, sender, recipient.PublicKey()), request())
	for _, p := range ecdhReaders(t, ecdh.P256()) {
		for _, test := range []struct {
			info, ciphertext []byte
			want             string
		}{
			{nil, good.Encrypted.Ciphertext, "no provider info"},
			{ecdhInfo(0, to, from), good.Encrypted.Ciphertext, "provider info of version 0, need 1"},
			{ecdhInfo(2, to, from), good.Encrypted.Ciphertext, "provider info of version 2, need 1"},
			{ecdhInfo(1, to, from)[:74], good.Encrypted.Ciphertext, "sender's public key: cut short"},
			{append(ecdhInfo(1, to, from), 0), good.Encrypted.Ciphertext, "1 bytes behind the provider info"},
			{ecdhInfo(1, to[:32], from), good.Encrypted.Ciphertext, "recipient's public key: 32 bytes, a compressed point of P-256 has 33"},
			{ecdhInfo(1, to, compressed(other)), good.Encrypted.Ciphertext, "sender's public key: 49 bytes, a compressed point of P-256 has 33"},
			{ecdhInfo(1, recipient.PublicKey().Bytes(), sender.PublicKey().Bytes()), good.Encrypted.Ciphertext, "recipient's public key: 65 bytes, a compressed point of P-256 has 33"},
			{good.Encrypted.ProviderInfo, nil, "ciphertext of 0 bytes; a wrapped data key of ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY has 112"},
			{good.Encrypted.ProviderInfo, good.Encrypted.Ciphertext[1:], "ciphertext of 111 bytes; a wrapped data key of ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY has 112"},
			{good.Encrypted.ProviderInfo, append(bytes.Clone(good.Encrypted.Ciphertext), 0), "ciphertext of 113 bytes; a wrapped data key of ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY has 112"},
		} {
			bad := keyprovider.EncryptedDataKey{ProviderID: "raw-ecdh", ProviderInfo: test.info, Ciphertext: test.ciphertext}
			require.EqualError(t, requireSkipped(t, p, bad), `encrypted data key 1 ("raw-ecdh"): skipped: `+test.want)
			key, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{bad, good.Encrypted})
			require.NoError(t, err)
			require.Equal(t, good, key)
		}
	}
}

// As one for another recipient on the curve: there is nothing wrong with it.
func TestRawECDHPassesOverEntriesForKeysOnOtherCurves(t *testing.T) {
	for _, c := range ecdhCurves {
		for _, other := range ecdhCurves {
			if other.curve == c.curve {
				continue
			}
			sender, recipient := ecdhKey(t, other.curve, "sender"), ecdhKey(t, other.curve, "recipient")
			theirs := generate(t, newStatic(t, sender, recipient.PublicKey()), request()).Encrypted
			own := generate(t, newStatic(t, ecdhKey(t, c.curve, "sender"), ecdhKey(t, c.curve, "recipient").PublicKey()), request())
			for _, p := range ecdhReaders(t, c.curve) {
				causes := requireRefused(t, p, request(), theirs)
				require.Len(t, causes, 1)
				require.ErrorContains(t, causes[0], p.String()+": "+keyprovider.ErrNoMatch.Error()+"; the message has \"raw-ecdh\" from 0")
				require.ErrorIs(t, causes[0], keyprovider.ErrNoMatch)
				key, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{theirs, own.Encrypted})
				require.NoError(t, err)
				require.Equal(t, own, key)
			}
		}
	}
}

// Points as long as those of P-256 that are none: off the curve, or on SM2, whose
// base point this is.
func TestDiscoveryRawECDHRefusesSendersOffItsCurve(t *testing.T) {
	p := newDiscovery(t, ecdhKey(t, ecdh.P256(), "recipient"))
	to := compressed(ecdhKey(t, ecdh.P256(), "recipient").PublicKey())
	good := generate(t, newEphemeral(t, ecdhKey(t, ecdh.P256(), "recipient").PublicKey()), request())
	for name, sender := range map[string][]byte{
		"all zero":    make([]byte, 33),
		"x too large": slices.Concat([]byte{2}, bytes.Repeat([]byte{0xff}, 32)),
		"type 4":      slices.Concat([]byte{4}, to[1:]),
		"SM2":         []byte("\x02\x32\xc4\xae\x2c\x1f\x19\x81\x19\x5f\x99\x04\x46\x6a\x39\xc9\x94\x8f\xe3\x0b\xbf\xf2\x66\x0b\xe1\x71\x5a\x45\x89\x33\x4c\x74\xc7"),
	} {
		bad := keyprovider.EncryptedDataKey{ProviderID: "raw-ecdh", ProviderInfo: ecdhInfo(1, to, sender), Ciphertext: make([]byte, 112)}
		causes := requireRefused(t, p, request(), bad)
		require.Len(t, causes, 1)
		require.EqualError(t, causes[0], `encrypted data key 1 ("raw-ecdh"): sender's public key: not a compressed point of P-256`, name)
		key, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{bad, good.Encrypted})
		require.NoError(t, err)
		require.Equal(t, good, key)
	}
}

func TestRawECDHRefusesEveryAlteredByte(t *testing.T) {
	for _, p := range ecdhReaders(t, ecdh.P256()) {
		good := generate(t, newStatic(t, ecdhKey(t, ecdh.P256(), "sender"), ecdhKey(t, ecdh.P256(), "recipient").PublicKey()), request()).Encrypted
		everyFlip(good, func(bad keyprovider.EncryptedDataKey) { requireRefused(t, p, request(), bad) })
		for n := range good.Ciphertext {
			bad := good
			bad.Ciphertext = good.Ciphertext[:n]
			requireRefused(t, p, request(), bad)
		}
	}
}

// The commitment key is looked at before the tag, and its error is another one.
func TestRawECDHComparesTheCommitmentKey(t *testing.T) {
	for _, p := range ecdhReaders(t, ecdh.P384()) {
		good := generate(t, newStatic(t, ecdhKey(t, ecdh.P384(), "sender"), ecdhKey(t, ecdh.P384(), "recipient").PublicKey()), request()).Encrypted
		for i := range good.Ciphertext {
			bad := good
			bad.Ciphertext = bytes.Clone(good.Ciphertext)
			bad.Ciphertext[i] ^= 1
			bad.Ciphertext[len(bad.Ciphertext)-1] ^= 2 // the tag is wrong in any case
			want := "not wrapped for this key agreement and encryption context, or altered"
			if i >= 64 {
				want = "the wrapped data key was altered"
			}
			causes := requireRefused(t, p, request(), bad)
			require.EqualError(t, causes[0], `encrypted data key 1 ("raw-ecdh"): `+want)
		}
	}
}

func TestRawECDHTriesEntriesInOrderAndCollectsTheCauses(t *testing.T) {
	writer := newStatic(t, ecdhKey(t, ecdh.P256(), "sender"), ecdhKey(t, ecdh.P256(), "recipient").PublicKey())
	for _, p := range ecdhReaders(t, ecdh.P256()) {
		first, second := generate(t, writer, request()), generate(t, writer, request())
		commitment, tag := first.Encrypted, first.Encrypted
		commitment.Ciphertext = make([]byte, 112)
		tag.Ciphertext = append(bytes.Clone(tag.Ciphertext[:111]), ^tag.Ciphertext[111])
		key, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{commitment, {ProviderID: "other"}, tag, second.Encrypted, first.Encrypted})
		require.NoError(t, err)
		require.Equal(t, second, key)

		causes := requireRefused(t, p, request(), commitment, keyprovider.EncryptedDataKey{ProviderID: "other"}, tag, keyprovider.EncryptedDataKey{ProviderID: "aws-kms-ecdh"})
		require.Len(t, causes, 3)
		require.EqualError(t, causes[0], `encrypted data key 1 ("raw-ecdh"): not wrapped for this key agreement and encryption context, or altered`)
		require.EqualError(t, causes[1], `encrypted data key 3 ("raw-ecdh"): the wrapped data key was altered`)
		require.EqualError(t, causes[2], `encrypted data key 4 ("aws-kms-ecdh"): skipped: no provider info`)
	}
}

func TestRawECDHRefusesADataKeyOfAnotherLength(t *testing.T) {
	for _, p := range ecdhReaders(t, ecdh.P256()) {
		writer := newStatic(t, ecdhKey(t, ecdh.P256(), "sender"), ecdhKey(t, ecdh.P256(), "recipient").PublicKey())
		for _, n := range []int{0, 16, 24, 31, 33} {
			short, err := writer.EncryptDataKey(t.Context(), request(), make([]byte, n))
			require.NoError(t, err)
			require.ErrorContains(t, requireSkipped(t, p, short), fmt.Sprintf("ciphertext of %d bytes", n+80))
		}
	}
}

func TestRawECDHFailsOnAContextThatCannotBeSerialised(t *testing.T) {
	sender, recipient := ecdhKey(t, ecdh.P256(), "sender"), ecdhKey(t, ecdh.P256(), "recipient")
	edk := generate(t, newStatic(t, sender, recipient.PublicKey()), request()).Encrypted
	for _, ec := range []map[string]string{
		{"\xff": ""}, {"": "\xff"}, {"": strings.Repeat("x", 65530)},
	} {
		bad := &keyprovider.Request{Suite: id, EncryptionContext: ec}
		for _, p := range []*keyprovider.RawECDH{newStatic(t, sender, recipient.PublicKey()), newEphemeral(t, recipient.PublicKey())} {
			key, err := p.GenerateDataKey(t.Context(), bad)
			require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
			require.ErrorIs(t, err, format.ErrMalformed)
			require.Nil(t, key)
			_, err = p.EncryptDataKey(t.Context(), bad, make([]byte, 32))
			require.ErrorIs(t, err, format.ErrMalformed)
		}
		for _, p := range ecdhReaders(t, ecdh.P256()) {
			key, err := p.DecryptDataKey(t.Context(), bad, []keyprovider.EncryptedDataKey{edk})
			require.ErrorIs(t, err, format.ErrMalformed)
			require.Nil(t, key)
		}
	}
}

func TestRawECDHGeneratesNothingForAnUnknownSuite(t *testing.T) {
	p := newEphemeral(t, ecdhKey(t, ecdh.P256(), "recipient").PublicKey())
	for _, unknown := range []suite.ID{0, 0x0072, 0xffff} {
		key, err := p.GenerateDataKey(t.Context(), &keyprovider.Request{Suite: unknown})
		require.ErrorIs(t, err, format.ErrUnsupportedSuite)
		require.Nil(t, key)
	}
}
