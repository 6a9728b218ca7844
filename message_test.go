package esdk

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/vectors"
	"github.com/esdk-go/esdk/suite"
)

// What a data key is turned into on the way to the AEAD is cleared.
func TestDerivedKeysAreCleared(t *testing.T) {
	for _, id := range suite.All() {
		dataKey := bytes.Repeat([]byte{1}, id.KeySize())
		messageID := bytes.Repeat([]byte{2}, id.MessageIDSize())
		var d derivation
		aead, commitKey, err := d.keys(id, dataKey, messageID)
		require.NoError(t, err)
		require.Len(t, commitKey, id.CommitKeySize())
		require.Equal(t, bytes.Repeat([]byte{1}, id.KeySize()), dataKey, "it is the caller's to clear")
		if id.KDF() == 0 {
			require.Nil(t, d.prk)
			require.Nil(t, d.key)
			continue
		}
		require.Equal(t, make([]byte, id.KDF().Size()), d.prk, "%v", id)
		require.Equal(t, make([]byte, id.KeySize()), d.key, "%v", id)

		// The AEAD has another key than zeros.
		zero, err := newGCM(make([]byte, id.KeySize()))
		require.NoError(t, err)
		require.NotEqual(t, zero.Seal(nil, zeroIV[:], nil, nil), aead.Seal(nil, zeroIV[:], nil, nil))
	}
}

// Published data keys derive to the published commit keys, and to keys that open
// the headers: zeros too, which decryption refuses.
func TestVectorDerivation(t *testing.T) {
	for _, m := range vectors.Commitment(t) {
		h, err := format.ReadHeader(bytes.NewReader(m.Ciphertext), 0)
		require.NoError(t, err)
		aead, commitKey, err := deriveKeys(h.Suite, bytes.Clone(m.DataKey), h.MessageID)
		require.NoError(t, err)
		require.Equal(t, m.BadCommitment, !bytes.Equal(commitKey, h.CommitKey), m.Name)
		if m.BadCommitment {
			continue
		}
		require.Equal(t, m.CommitKey, commitKey, m.Name)
		raw, err := h.AppendBinary(nil)
		require.NoError(t, err)
		_, err = aead.Open(nil, zeroIV[:], h.Tag, raw[:len(raw)-len(h.Tag)])
		require.NoError(t, err, m.Name)
	}
}

// Signatures have the length that most have, so that a message's length is
// known ahead, and verify.
func TestSignaturesHaveOneLength(t *testing.T) {
	digest := sha512.Sum384([]byte("message"))
	for _, id := range suite.All() {
		if !id.Signing() {
			continue
		}
		key, err := ecdsa.GenerateKey(id.Curve(), rand.Reader)
		require.NoError(t, err)
		for range 30 {
			signature, err := sign(key, digest[:id.SignatureHash().Size()], id.SignatureSize())
			require.NoError(t, err)
			require.Len(t, signature, id.SignatureSize(), "%v", id)
			require.True(t, ecdsa.VerifyASN1(&key.PublicKey, digest[:id.SignatureHash().Size()], signature))
		}
	}
}
