package esdk

import (
	"crypto/aes"
	"crypto/cipher"
	_ "crypto/sha256" // for suite.ID.KDF and SignatureHash
	_ "crypto/sha512"
	"fmt"
	"io"

	"golang.org/x/crypto/hkdf"

	"github.com/esdk-go/esdk/suite"
)

// zeroIV is what headers are authenticated with.
var zeroIV [suite.IVSize]byte

// deriveKeys returns the AEAD that encrypts the message and the key that it
// commits to, nil if its suite does not commit. dataKey must have the length
// that the suite wants.
//
// It follows framework/transitive-requirements.md, "HKDF encryption key" and
// "HKDF commit key", of the specification.
func deriveKeys(id suite.ID, dataKey, messageID []byte) (aead cipher.AEAD, commitKey []byte, err error) {
	key := dataKey
	if id.KDF() != 0 {
		newHash := id.KDF().New
		suiteID := []byte{byte(id >> 8), byte(id)}
		var derived io.Reader
		if id.Committing() {
			prk := hkdf.Extract(newHash, dataKey, messageID)
			defer clear(prk)
			commitKey = make([]byte, id.CommitKeySize())
			if _, err := io.ReadFull(hkdf.Expand(newHash, prk, []byte("COMMITKEY")), commitKey); err != nil {
				return nil, nil, err
			}
			derived = hkdf.Expand(newHash, prk, append(suiteID, "DERIVEKEY"...))
		} else {
			derived = hkdf.New(newHash, dataKey, nil, append(suiteID, messageID...))
		}
		key = make([]byte, id.KeySize())
		defer clear(key)
		if _, err := io.ReadFull(derived, key); err != nil {
			return nil, nil, err
		}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	if aead, err = cipher.NewGCM(block); err != nil {
		return nil, nil, fmt.Errorf("AES-GCM: %w", err)
	}
	return aead, commitKey, nil
}
