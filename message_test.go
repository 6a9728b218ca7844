package esdk

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"hash"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/hkdf"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/internal/test/vectors"
	"github.com/esdk-go/esdk/keyprovider"
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
			continue
		}
		require.Equal(t, make([]byte, id.KDF().Size()), d.prk, "%v", id)
		require.Zero(t, d.key, "%v", id)

		// The AEAD has another key than zeros.
		zero, err := newGCM(make([]byte, id.KeySize()))
		require.NoError(t, err)
		require.NotEqual(t, zero.Seal(nil, zeroIV[:], nil, nil), aead.Seal(nil, zeroIV[:], nil, nil))
	}
}

// The memory that Encrypt and Decrypt keep for the next call has nothing of a message,
// whatever became of that.
func TestKeptMemoryIsClear(t *testing.T) {
	p, err := keyprovider.NewRawAES("esdk test", "key", bytes.Repeat([]byte{7}, 32))
	require.NoError(t, err)
	ctx := context.Background()
	plaintext := bytes.Repeat([]byte("plaintext"), 100_000) // for several goroutines
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
		opts := EncryptOptions{Suite: id, EncryptionContext: map[string]string{"a": "1"}, MaxPlaintextLength: 1_000_000}
		for range 20 { // at times a Pool keeps nothing
			message, _, err := Encrypt(ctx, plaintext, p, &opts)
			require.NoError(t, err)
			require.Equal(t, new(sealing), sealings.Get())
			_, _, err = Encrypt(ctx, plaintext, aManager{MaterialsManager: tooLong{keyprovider.Materials(p)}}, &opts)
			require.ErrorIs(t, err, format.ErrMalformed) // when the keys have been derived
			require.Equal(t, new(sealing), sealings.Get())

			_, _, err = Decrypt(ctx, message, p, nil)
			require.NoError(t, err)
			require.Equal(t, new(opening), openings.Get())
			require.Panics(t, func() { Decrypt(ctx, message, aManager{}, nil) })
			require.Equal(t, new(opening), openings.Get())
			message[len(message)/2] ^= 1
			_, _, err = Decrypt(ctx, message, p, nil)
			require.ErrorIs(t, err, ErrAuthentication)
			require.Equal(t, new(opening), openings.Get())
		}
	}
}

// tooLong returns an encrypted data key that no header can hold.
type tooLong struct{ keyprovider.MaterialsManager }

func (m tooLong) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	materials, err := m.MaterialsManager.EncryptionMaterials(ctx, req)
	if err == nil {
		materials.EncryptedDataKeys[0].Ciphertext = make([]byte, 1<<16)
	}
	return materials, err
}

// The keys are those of x/crypto/hkdf, whose Expand is not used.
func TestDerivationIsHKDF(t *testing.T) {
	for _, id := range suite.All() {
		if id.KDF() == 0 {
			continue
		}
		dataKey, messageID := make([]byte, id.KeySize()), make([]byte, id.MessageIDSize())
		rand.Read(dataKey)
		rand.Read(messageID)
		var salt []byte
		suffix := string(messageID)
		if id.Committing() {
			salt, suffix = messageID, "DERIVEKEY"
		}
		aead, commitKey, err := new(derivation).keys(id, dataKey, messageID)
		require.NoError(t, err)
		read := func(info string, size int) []byte {
			key := make([]byte, size)
			_, err := io.ReadFull(hkdf.New(id.KDF().New, dataKey, salt, []byte(info)), key)
			require.NoError(t, err)
			return key
		}
		if id.Committing() {
			require.Equal(t, read("COMMITKEY", id.CommitKeySize()), commitKey, "%v", id)
		} else {
			require.Nil(t, commitKey, "%v", id)
		}
		want, err := newGCM(read(string([]byte{byte(id >> 8), byte(id)})+suffix, id.KeySize()))
		require.NoError(t, err)
		require.Equal(t, want.Seal(nil, zeroIV[:], []byte("x"), nil), aead.Seal(nil, zeroIV[:], []byte("x"), nil), "%v", id)
	}

	// An HMAC that cannot be cloned, as that of GOFIPS140=v1.0.0.
	key := []byte("key")
	mac := struct{ hash.Hash }{hmac.New(sha512.New, key)}
	other := cloneHMAC(mac, sha512.New, key)
	other.Write([]byte("x"))
	require.NotEqual(t, other.Sum(nil), mac.Sum(nil))
	mac.Write([]byte("x"))
	require.Equal(t, other.Sum(nil), mac.Sum(nil))
}

// Published data keys derive to the published commit keys, and to keys that open
// the headers: zeros too, which decryption refuses.
func TestVectorDerivation(t *testing.T) {
	for _, m := range vectors.Commitment(t) {
		h, err := format.ReadHeader(bytes.NewReader(m.Ciphertext), 0)
		require.NoError(t, err)
		aead, commitKey, err := new(derivation).keys(h.Suite, bytes.Clone(m.DataKey), h.MessageID)
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

// What Encrypt and Decrypt check is theirs: nobody who keeps what a manager
// returned can change it after that. A plain provider keeps no more than its data
// key.
func TestMaterialsAreCopied(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	encryption := func() *keyprovider.EncryptionMaterials {
		return &keyprovider.EncryptionMaterials{
			Suite: suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, EncryptionContext: map[string]string{"a": "1"}, RequiredContextKeys: []string{"a"},
			DataKey:           bytes.Repeat([]byte{1}, 32),
			EncryptedDataKeys: []keyprovider.EncryptedDataKey{{ProviderID: "p", ProviderInfo: []byte("i"), Ciphertext: []byte("c")}},
			SigningKey:        provider.CloneSigningKey(key),
		}
	}
	m := encryption()
	own := ownEncryption(aManager{}, m)
	clear(m.EncryptionContext)
	clear(m.RequiredContextKeys)
	clear(m.DataKey)
	clear(m.EncryptedDataKeys[0].ProviderInfo)
	clear(m.EncryptedDataKeys[0].Ciphertext)
	clear(m.EncryptedDataKeys)
	m.SigningKey.D.SetInt64(1)
	m.SigningKey.X.SetInt64(1)
	m.SigningKey.Y.SetInt64(1)
	require.Equal(t, *encryption(), own)

	m = encryption()
	own = ownEncryption(aPlainProvider{}, m)
	clear(m.DataKey)
	require.Equal(t, *encryption(), own)

	decryption := func() *keyprovider.DecryptionMaterials {
		return &keyprovider.DecryptionMaterials{EncryptionContext: map[string]string{"a": "1"}, RequiredContextKeys: []string{"a"},
			DataKey: bytes.Repeat([]byte{1}, 32), VerificationKey: provider.CloneVerificationKey(&key.PublicKey)}
	}
	d := decryption()
	opened := ownDecryption(aManager{}, d)
	clear(d.EncryptionContext)
	clear(d.RequiredContextKeys)
	clear(d.DataKey)
	d.VerificationKey.X.SetInt64(1)
	d.VerificationKey.Y.SetInt64(1)
	require.Equal(t, *decryption(), opened)
	d = decryption()
	opened = ownDecryption(aPlainProvider{}, d)
	clear(d.DataKey)
	require.Equal(t, *decryption(), opened)
	require.NotNil(t, ownEncryption(aManager{}, &keyprovider.EncryptionMaterials{}).EncryptionContext)
	require.NotNil(t, ownDecryption(aPlainProvider{}, &keyprovider.DecryptionMaterials{}).EncryptionContext)
}

type aManager struct {
	keyprovider.ManagerOnly
	keyprovider.MaterialsManager
}

type aPlainProvider struct{ keyprovider.MasterKeyProvider }

// A Close that was disputed while it signed does not write the end.
func TestADisputedCloseWritesNoEnd(t *testing.T) {
	p, err := keyprovider.NewRawAES("ns", "name", bytes.Repeat([]byte{1}, 32))
	require.NoError(t, err)
	var out bytes.Buffer
	w, err := NewEncryptWriter(t.Context(), &out, p, nil)
	require.NoError(t, err)
	header := out.Len()
	err = w.s.run(func() error {
		_, err := w.Write([]byte("from somewhere else"))
		require.ErrorIs(t, err, errDisputed)
		return w.s.finishTo(&w.to)
	})
	require.ErrorIs(t, err, errDisputed)
	require.Equal(t, header, out.Len())
	require.ErrorIs(t, w.Close(), errDisputed)
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
