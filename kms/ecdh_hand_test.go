package kms_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
)

// compressed writes a public key as SEC 1 has it.
func compressed(pub *ecdh.PublicKey) []byte {
	b := pub.Bytes()
	n := len(b) / 2
	return append([]byte{2 + b[2*n]%2}, b[1:1+n]...)
}

// ecdhInfo is the provider info of the two keys.
func ecdhInfo(sender, recipient *ecdh.PublicKey) []byte {
	n := byte(len(compressed(sender)))
	info := append([]byte{1, 0, 0, 0, n}, compressed(recipient)...)
	return append(append(info, 0, 0, 0, n), compressed(sender)...)
}

// ecdhKeys computes, by hand and from the private key of one side, what wraps a
// data key: the commitment key, the cipher, and its additional data.
func ecdhKeys(t testing.TB, own *ecdh.PrivateKey, peer, sender, recipient *ecdh.PublicKey, salt []byte, ec map[string]string) (commitment []byte, aead cipher.AEAD, info []byte) {
	t.Helper()
	z, err := own.ECDH(peer)
	require.NoError(t, err)
	curve := map[ecdh.Curve]string{ecdh.P256(): "p256", ecdh.P384(): "p384", ecdh.P521(): "p521"}[peer.Curve()]
	context, err := format.AppendEncryptionContext(nil, ec)
	require.NoError(t, err)
	info = []byte("ecdh-key-derivation\x00" + curve + "\x00HMAC_SHA384\x00")
	info = append(append(append(info, compressed(sender)...), compressed(recipient)...), 0, 1, 0)
	info = append(info, context...)
	var derived []byte
	for i := range uint32(2) {
		mac := hmac.New(sha512.New384, z)
		mac.Write(binary.BigEndian.AppendUint32(nil, i+1))
		mac.Write(slices.Concat(info, []byte{0}, salt, []byte{0, 0, 2, 0}))
		derived = mac.Sum(derived)
	}
	block, err := aes.NewCipher(derived[32:64])
	require.NoError(t, err)
	aead, err = cipher.NewGCM(block)
	require.NoError(t, err)
	return derived[:32], aead, info
}

// ecdhByHand returns materials whose data key own wrapped for the recipient.
func ecdhByHand(t testing.TB, own *ecdh.PrivateKey, recipient *ecdh.PublicKey, providerID string) *keyprovider.EncryptionMaterials {
	t.Helper()
	m := entries(keyprovider.EncryptedDataKey{ProviderID: providerID, ProviderInfo: ecdhInfo(own.PublicKey(), recipient)})
	m.DataKey, m.EncryptionContext = bytes.Repeat([]byte{7}, 32), map[string]string{"a": "1", "ü": ""}
	salt := bytes.Repeat([]byte{9}, 32)
	commitment, aead, info := ecdhKeys(t, own, recipient, own.PublicKey(), recipient, salt, m.EncryptionContext)
	m.EncryptedDataKeys[0].Ciphertext = aead.Seal(slices.Concat(salt, commitment), make([]byte, 12), m.DataKey, info)
	return m
}

// openECDHByHand returns the data key that the sender wrapped for own.
func openECDHByHand(t testing.TB, own *ecdh.PrivateKey, sender *ecdh.PublicKey, m *keyprovider.EncryptionMaterials) []byte {
	t.Helper()
	edk := m.EncryptedDataKeys[0]
	require.Equal(t, "aws-kms-ecdh", edk.ProviderID)
	require.Equal(t, ecdhInfo(sender, own.PublicKey()), edk.ProviderInfo)
	require.Len(t, edk.Ciphertext, 32+32+len(m.DataKey)+16)
	commitment, aead, info := ecdhKeys(t, own, sender, sender, own.PublicKey(), edk.Ciphertext[:32], m.EncryptionContext)
	require.Equal(t, commitment, edk.Ciphertext[32:64])
	key, err := aead.Open(nil, make([]byte, 12), edk.Ciphertext[64:], info)
	require.NoError(t, err)
	return key
}
