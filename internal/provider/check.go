package provider

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
)

// ErrZeroKey is the error for a data key of zeros: somebody handed out memory
// that was cleared, and everybody could read the message.
var ErrZeroKey = errors.New("a data key that is all zeros, as memory that was cleared")

// IsZero reports whether all bytes are zero.
func IsZero(key []byte) bool {
	var or byte
	for _, b := range key {
		or |= b
	}
	return or == 0
}

// CheckSigningKey fails if the public half of a signing key, which a message
// holds, does not belong to the private one: nobody could verify the signature.
// That takes as long as a signature, so only keys of managers that users wrote
// are checked. Those of package keyprovider make their own or check what they
// are given.
func CheckSigningKey(manager any, key *ecdsa.PrivateKey) error {
	if key == nil || Ours(manager) {
		return nil
	}
	if key.D == nil || key.X == nil || key.Y == nil || key.Curve == nil {
		return errors.New("signing key: incomplete")
	}
	private, err := key.ECDH()
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	public, err := key.PublicKey.ECDH()
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	if !private.PublicKey().Equal(public) {
		return errors.New("signing key: its public key does not belong to its private key")
	}
	return nil
}

// Ours reports whether v's type is one of package keyprovider, which changes no
// request and keeps no materials. A user's type that embeds one is not.
func Ours(v any) bool {
	t := reflect.TypeOf(v)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return false
	}
	module := strings.TrimSuffix(reflect.TypeFor[Redacted]().PkgPath(), "internal/provider")
	path, ok := strings.CutPrefix(t.PkgPath(), module)
	return ok && path == "keyprovider"
}

// CloneSigningKey returns a deep copy, which may be nil or incomplete as key is.
func CloneSigningKey(key *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	if key == nil {
		return nil
	}
	return &ecdsa.PrivateKey{PublicKey: *CloneVerificationKey(&key.PublicKey), D: cloneInt(key.D)}
}

// CloneVerificationKey does the same for a public key.
func CloneVerificationKey(key *ecdsa.PublicKey) *ecdsa.PublicKey {
	if key == nil {
		return nil
	}
	return &ecdsa.PublicKey{Curve: key.Curve, X: cloneInt(key.X), Y: cloneInt(key.Y)}
}

func cloneInt(n *big.Int) *big.Int {
	if n == nil {
		return nil
	}
	return new(big.Int).Set(n)
}
