package keyprovider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/suite"
)

// An EncryptedDataKey is a wrapped data key, as the header of a message stores it.
type EncryptedDataKey = format.EncryptedDataKey

// A Request describes the message that a data key is for. Providers and master keys
// must not change it, and must not keep it after the call.
type Request struct {
	// Suite is the message's algorithm suite. A data key has Suite.KeySize() bytes.
	Suite suite.ID
	// EncryptionContext holds all pairs that are bound to the message, including
	// the pairs that it does not store and the verification key of a signed message.
	// Wrapping should bind the data key to it.
	EncryptionContext map[string]string
}

// clone returns a copy to lend to a provider or master key.
func (r *Request) clone() *Request {
	if len(r.EncryptionContext) == 0 {
		return &Request{Suite: r.Suite}
	}
	return &Request{Suite: r.Suite, EncryptionContext: maps.Clone(r.EncryptionContext)}
}

// A DataKey is a data key and its wrapped form. It prints redacted: fmt, log/slog
// and encoding/json do not show Plaintext. The exception is a DataKey in an
// unexported field of another struct, which fmt prints in full.
type DataKey struct {
	redacted
	Plaintext []byte           // secret
	Encrypted EncryptedDataKey // Plaintext, wrapped
}

// redacted keeps the secrets of the types that embed it out of logs.
type redacted = provider.Redacted

// A MasterKey protects data keys. Its methods may be called concurrently. They
// should return soon after ctx is done: encryption waits for them. A panic in one
// reaches the caller of Encrypt.
type MasterKey interface {
	// GenerateDataKey returns a new random data key of req.Suite.KeySize() bytes
	// and its wrapped form. The result is the caller's, who clears Plaintext
	// after use, so each call must return memory of its own.
	GenerateDataKey(ctx context.Context, req *Request) (*DataKey, error)
	// EncryptDataKey returns the wrapped form of plaintext, a data key that
	// another master key generated. It must not change or keep plaintext.
	EncryptDataKey(ctx context.Context, req *Request, plaintext []byte) (EncryptedDataKey, error)
}

// A MasterKeyProvider chooses the master keys that protect new messages, and
// decrypts the data keys of existing messages. Other SDKs call it a keyring. Its
// methods may be called concurrently.
type MasterKeyProvider interface {
	// MasterKeys returns the master keys for a new message, at least one. The
	// first generates the data key. If the provider can only decrypt, the error
	// wraps ErrDecryptOnly.
	MasterKeys(ctx context.Context, req *Request) ([]MasterKey, error)
	// DecryptDataKey tries the encrypted data keys that are the provider's own, in
	// their order, and skips all others. It returns the first data key that it can
	// decrypt, with the entry that held it as Encrypted. It must not change keys.
	// The caller clears Plaintext after use, so each call must return memory of
	// its own.
	//
	// If no entry can be decrypted, the error is a *DecryptError. Once ctx is done
	// it is ctx.Err(). Another error is for a request that no entry could satisfy.
	DecryptDataKey(ctx context.Context, req *Request, keys []EncryptedDataKey) (*DataKey, error)
}

// dataKey converts the results of provider.Generate and provider.Open.
func dataKey(plaintext []byte, edk EncryptedDataKey, err error) (*DataKey, error) {
	if failure, ok := err.(*provider.Failure); ok {
		return nil, (*DecryptError)(failure)
	}
	if err != nil {
		return nil, err
	}
	return &DataKey{Plaintext: plaintext, Encrypted: edk}, nil
}

// checkName checks the namespace and the name of a raw key.
func checkName(namespace, name string) error {
	switch {
	case namespace == "":
		return errors.New("keyprovider: empty key namespace")
	case strings.HasPrefix(namespace, "aws-kms"):
		return fmt.Errorf("keyprovider: key namespace %q: the prefix aws-kms is reserved for AWS KMS", namespace)
	case name == "":
		return fmt.Errorf("keyprovider: empty key name in namespace %q", namespace)
	case !utf8.ValidString(namespace) || !utf8.ValidString(name):
		return fmt.Errorf("keyprovider: key namespace %q, name %q: not UTF-8", namespace, name)
	case len(namespace) > maxName || len(name) > maxName:
		return fmt.Errorf("keyprovider: key namespace of %d bytes, name of %d: at most %d each", len(namespace), len(name), maxName)
	}
	return nil
}

// maxName is the longest name that fits into provider info, of at most 65,535
// bytes, together with what raw AES appends to it.
const maxName = 1<<16 - 1 - aesInfoSize
