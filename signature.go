package esdk

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/asn1"
	"math/big"
)

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
