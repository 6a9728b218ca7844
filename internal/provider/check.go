package provider

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"reflect"
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
	if key == nil || ours(manager) {
		return nil
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

// ours reports whether v's type is one of package keyprovider. A user's type
// that embeds one is not.
func ours(v any) bool {
	t := reflect.TypeOf(v)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t != nil && t.PkgPath() == "github.com/esdk-go/esdk/keyprovider"
}
