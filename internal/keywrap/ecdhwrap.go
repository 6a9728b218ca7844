package keywrap

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
)

const (
	saltSize       = 32
	commitmentSize = 32
	wrappingSize   = 32 // AES-256
	tagSize        = 16
)

// AgreementOverhead is by how much [Agreement.Wrap] lengthens a data key.
const AgreementOverhead = saltSize + commitmentSize + tagSize

var (
	// ErrAgreement says that a data key was wrapped for another secret, other
	// parties or another encryption context.
	ErrAgreement = errors.New("not wrapped for this key agreement and encryption context, or altered")
	// ErrWrapped says that everything fits but the wrapped data key itself.
	ErrWrapped = errors.New("the wrapped data key was altered")
)

// Wrap returns dataKey wrapped under the secret that the parties share and the
// serialised encryption context:
//
//	salt(32) + commitment key(32) + AES-256-GCM ciphertext + tag(16)
//
// The salt is random, so that the wrapping key wraps this data key alone, and
// its IV is zero. The secret is the x coordinate that ECDH yields, in the full
// length of the curve.
func (a Agreement) Wrap(secret, encryptionContext, dataKey []byte) ([]byte, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	return a.wrap(salt, secret, encryptionContext, dataKey)
}

func (a Agreement) wrap(salt, secret, encryptionContext, dataKey []byte) ([]byte, error) {
	k, err := a.derive(salt, secret, encryptionContext)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, AgreementOverhead+len(dataKey))
	out = append(append(out, salt...), k.commitment...)
	return k.aead.Seal(out, zeroIV(), dataKey, k.fixedInfo), nil
}

// Unwrap returns the data key that wrapped holds. Its errors for one that was
// altered, or made for something else, are [ErrAgreement] and [ErrWrapped].
func (a Agreement) Unwrap(secret, encryptionContext, wrapped []byte) ([]byte, error) {
	if len(wrapped) < AgreementOverhead {
		return nil, fmt.Errorf("wrapped in %d bytes, need at least %d", len(wrapped), AgreementOverhead)
	}
	salt, rest := wrapped[:saltSize], wrapped[saltSize:]
	commitment, sealed := rest[:commitmentSize], rest[commitmentSize:]
	k, err := a.derive(salt, secret, encryptionContext)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(k.commitment, commitment) != 1 { // before the tag is looked at
		return nil, ErrAgreement
	}
	dataKey, err := k.aead.Open(nil, zeroIV(), sealed, k.fixedInfo)
	if err != nil {
		return nil, ErrWrapped
	}
	return dataKey, nil
}

// derived is what comes of a secret and a salt.
type derived struct {
	commitment []byte
	aead       cipher.AEAD
	fixedInfo  []byte // also the additional data of the wrapping
}

func (a Agreement) derive(salt, secret, encryptionContext []byte) (*derived, error) {
	c, ok := curveOf(a.Curve)
	if !ok {
		return nil, errCurve(a.Curve)
	}
	if len(secret) != c.size {
		return nil, fmt.Errorf("shared secret of %d bytes, that of %v has %d", len(secret), a.Curve, c.size)
	}
	info := a.fixedInfo(c.name, encryptionContext)
	keys := CounterKDF(sha512.New384, secret, info, salt, commitmentSize+wrappingSize)
	commitment, wrapping := keys[:commitmentSize:commitmentSize], keys[commitmentSize:]
	aead, err := GCM(wrapping)
	if err != nil {
		return nil, err
	}
	return &derived{commitment, aead, info}, nil
}

// fixedInfo binds derived keys to what they are for. Nothing separates the two
// points: their length follows from the curve's name.
func (a Agreement) fixedInfo(curve string, encryptionContext []byte) []byte {
	b := append([]byte("ecdh-key-derivation"), 0)
	b = append(append(b, curve...), 0)
	b = append(append(b, "HMAC_SHA384"...), 0)
	b = append(append(append(b, a.Sender...), a.Recipient...), 0)
	b = append(b, agreementVersion, 0)
	return append(b, encryptionContext...)
}

// zeroIV suits a wrapping key that is used once.
func zeroIV() []byte { return make([]byte, 12) }
