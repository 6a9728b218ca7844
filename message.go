package esdk

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/asn1"
	"fmt"
	"hash"
	"maps"
	"math/big"
	"slices"

	"golang.org/x/crypto/hkdf"

	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// zeroIV is what headers are authenticated with.
var zeroIV [suite.IVSize]byte

// A derivation is the memory for what is between a data key and the AEAD. keys clears
// the secrets in it before it returns. The commit key, which is no secret, stays.
type derivation struct {
	prk            []byte
	key, commitKey [sha512.Size]byte // as long as the longest hash
	info           [2 + 16 + 1]byte  // suite, message ID, number of the block
}

// keys returns the AEAD that encrypts the message and the key that it commits to,
// nil if its suite does not commit. dataKey must have the length that the suite
// wants.
//
// It follows framework/transitive-requirements.md, "HKDF encryption key" and
// "HKDF commit key", of the specification.
func (d *derivation) keys(id suite.ID, dataKey, messageID []byte) (aead cipher.AEAD, commitKey []byte, err error) {
	if id.KDF() == 0 {
		aead, err = newGCM(dataKey)
		return aead, nil, err
	}
	newHash := id.KDF().New
	var salt []byte
	info := append(d.info[:0], byte(id>>8), byte(id))
	if id.Committing() {
		salt, info = messageID, append(info, "DERIVEKEY"...)
	} else {
		info = append(info, messageID...)
	}
	d.prk = hkdf.Extract(newHash, dataKey, salt)
	defer clear(d.prk)
	// This is HKDF-Expand of RFC 5869 for one block, which is enough for each key.
	// hkdf.Expand would make a new HMAC for each, which takes about a tenth of the
	// time of a small message.
	mac := hmac.New(newHash, d.prk)
	if id.Committing() {
		other := cloneHMAC(mac, newHash, d.prk)
		other.Write(commitInfo)
		commitKey = other.Sum(d.commitKey[:0])[:id.CommitKeySize()]
	}
	mac.Write(append(info, 1))
	key := mac.Sum(d.key[:0])
	defer clear(key)
	aead, err = newGCM(key[:id.KeySize()])
	return aead, commitKey, err
}

// commitInfo is the HKDF info of the key that a message commits to, followed by the
// number of the block.
var commitInfo = []byte("COMMITKEY\x01")

// cloneHMAC returns another HMAC with the key of mac, to which nothing was written yet.
// mac could be Reset and used twice instead, but that takes 3 per cent of the time of a
// small message.
func cloneHMAC(mac hash.Hash, newHash func() hash.Hash, key []byte) hash.Hash {
	if cloner, ok := mac.(hash.Cloner); ok {
		if clone, err := cloner.Clone(); err == nil {
			return clone
		}
	}
	return hmac.New(newHash, key) // with GOFIPS140=v1.0.0 or GOEXPERIMENT=boringcrypto
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("AES-GCM: %w", err)
	}
	return aead, nil
}

// checkDataKey checks a data key, whoever it is from.
func checkDataKey(key []byte, id suite.ID) error {
	if len(key) != id.KeySize() {
		return fmt.Errorf("data key of %d bytes, %v needs %d", len(key), id, id.KeySize())
	}
	if provider.IsZero(key) {
		return provider.ErrZeroKey
	}
	return nil
}

// splitContext returns the pairs that a message stores and those of required
// keys, which it only authenticates. Without any the first is ec itself.
func splitContext(ec map[string]string, required []string) (stored, unstored map[string]string) {
	if len(required) == 0 {
		return ec, nil
	}
	stored, unstored = maps.Clone(ec), make(map[string]string, len(required))
	for _, k := range required {
		unstored[k] = ec[k]
		delete(stored, k)
	}
	return stored, unstored
}

// isManager reports whether p is a materials manager, and not to be used by way
// of the default one.
func isManager(p keyprovider.MasterKeyProvider) bool {
	_, ok := p.(keyprovider.MaterialsManager)
	return ok
}

// isRaw reports whether p is a raw key of package keyprovider, and not a type that
// embeds one. A raw key neither changes its arguments nor keeps its results, so small
// messages need no copies.
func isRaw(p keyprovider.MasterKeyProvider) bool {
	switch p.(type) {
	case *keyprovider.RawAES, *keyprovider.RawRSA, *keyprovider.RawECDH:
		return true
	}
	return false
}

// isCache reports whether p is a Cache, and not a type that embeds one. A Cache
// returns copies, and gives copies to what is under it.
func isCache(p keyprovider.MasterKeyProvider) bool {
	_, ok := p.(*keyprovider.Cache)
	return ok
}

// ownEncryption returns a copy of what p's manager returned: what is checked and
// used then stays as it is. The default manager keeps nothing but what providers
// gave it, which is the data key.
func ownEncryption(p keyprovider.MasterKeyProvider, m *keyprovider.EncryptionMaterials) keyprovider.EncryptionMaterials {
	own := *m
	if own.EncryptionContext == nil {
		own.EncryptionContext = map[string]string{} // the header's
	}
	if isRaw(p) || isCache(p) {
		return own
	}
	own.DataKey = bytes.Clone(m.DataKey)
	if isManager(p) {
		own.EncryptionContext = maps.Clone(own.EncryptionContext)
		own.RequiredContextKeys = slices.Clone(m.RequiredContextKeys)
		own.EncryptedDataKeys = provider.CloneDataKeys(m.EncryptedDataKeys)
		own.SigningKey = provider.CloneSigningKey(m.SigningKey)
	}
	return own
}

// ownDecryption does the same for decryption.
func ownDecryption(p keyprovider.MasterKeyProvider, m *keyprovider.DecryptionMaterials) keyprovider.DecryptionMaterials {
	own := *m
	if own.EncryptionContext == nil {
		own.EncryptionContext = map[string]string{} // the header's
	}
	if isRaw(p) || isCache(p) {
		return own
	}
	own.DataKey = bytes.Clone(m.DataKey)
	if isManager(p) {
		own.EncryptionContext = maps.Clone(own.EncryptionContext)
		own.RequiredContextKeys = slices.Clone(m.RequiredContextKeys)
		own.VerificationKey = provider.CloneVerificationKey(m.VerificationKey)
	}
	return own
}

// ecdsaSignature is the DER structure of a signature.
type ecdsaSignature struct{ R, S *big.Int }

// sign returns a DER signature of exactly size bytes, the length that most
// signatures on the curve have: readers that know the length of a message
// ahead, and some old ones, count on it. If (r, s) has another length then
// (r, n-s), an equally valid signature, almost always has it, as one of s and
// n-s has the top bit set. Else it signs again: about once in 250 times.
//
// It follows framework/transitive-requirements.md, "ECDSA", of the specification.
func sign(key *ecdsa.PrivateKey, digest []byte, size int) ([]byte, error) {
	for {
		der, err := ecdsa.SignASN1(rand.Reader, key, digest)
		if err != nil || len(der) == size {
			return der, err
		}
		var sig ecdsaSignature
		if _, err := asn1.Unmarshal(der, &sig); err != nil {
			return nil, err
		}
		sig.S.Sub(key.Curve.Params().N, sig.S)
		if der, err = asn1.Marshal(sig); err != nil || len(der) == size {
			return der, err
		}
	}
}
