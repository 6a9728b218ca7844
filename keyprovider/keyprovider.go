// Package keyprovider defines where data keys come from, and holds the
// providers that need no service: raw AES, RSA and ECDH keys, and combinations.
//
// Every message is encrypted under a data key of its own. A
// [MasterKeyProvider] names the master keys that protect it: the first one
// generates it, each of the others encrypts it too, and any one of them is
// enough to decrypt the message. The providers here:
//
//   - [NewRawAES] and [NewRawRSA]: a key that the program holds.
//   - [NewRawECDHStatic], [NewRawECDHEphemeral] and [NewRawECDHDiscovery]: keys
//     that two parties agree on, by the private key of one and the public key
//     of the other.
//   - [Multi]: several providers as one.
//   - [RequireContext]: pairs of the encryption context that are authenticated
//     but not stored.
//   - [NewCache]: any provider, asked seldom, as each data key is used for
//     several messages.
//
// Package kms has those for AWS KMS. A provider of one's own is a type with
// the two methods of MasterKeyProvider and, for its keys, the two of
// [MasterKey]; package providertest checks it.
//
// Whoever can use any of the master keys can read the message. Prefer keys
// that never leave a secure boundary, such as those of AWS KMS or of an HSM,
// to raw keys that the program must keep secret itself.
//
// In the specification a provider is a keyring and a [MaterialsManager] a
// cryptographic materials manager (framework/keyring-interface.md,
// framework/master-key-provider-interface.md, framework/cmm-interface.md).
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

// An EncryptedDataKey is one wrapped form of a message's data key, as the
// message's header stores it.
type EncryptedDataKey = format.EncryptedDataKey

// A Request says what a data key is for. Providers and keys must not change it
// or keep it beyond the call.
type Request struct {
	Suite suite.ID // fixes the data key's length: Suite.KeySize()
	// EncryptionContext holds all pairs that are bound to the message,
	// required ones and the verification key included. Wrapping should bind
	// the data key to it.
	EncryptionContext map[string]string
}

// clone returns a request that can be given to somebody else.
func (r *Request) clone() *Request {
	if len(r.EncryptionContext) == 0 {
		return &Request{Suite: r.Suite}
	}
	return &Request{Suite: r.Suite, EncryptionContext: maps.Clone(r.EncryptionContext)}
}

// A DataKey is a message's data key together with one wrapped form of it. It
// does not print its key: fmt, log/slog and encoding/json show it redacted. Only
// in an unexported field of another struct fmt gets past that.
type DataKey struct {
	redacted
	Plaintext []byte // secret
	Encrypted EncryptedDataKey
}

// redacted keeps the secrets of what embeds it out of logs.
type redacted = provider.Redacted

// A MasterKey protects data keys. Both methods may be called concurrently.
type MasterKey interface {
	// GenerateDataKey returns a new random data key of req.Suite.KeySize()
	// bytes and its wrapped form. The slices become the caller's, who clears
	// Plaintext after use: they must be fresh ones.
	GenerateDataKey(ctx context.Context, req *Request) (*DataKey, error)
	// EncryptDataKey returns the wrapped form of a data key that another
	// master key generated. It must not change or keep plaintext.
	EncryptDataKey(ctx context.Context, req *Request, plaintext []byte) (EncryptedDataKey, error)
}

// A MasterKeyProvider gives the master keys that protect new messages and
// decrypts the data keys of existing ones. Both methods may be called
// concurrently.
type MasterKeyProvider interface {
	// MasterKeys returns the keys that protect a new message: at least one;
	// the first generates the data key. A provider that can only decrypt
	// returns an error that wraps ErrDecryptOnly.
	MasterKeys(ctx context.Context, req *Request) ([]MasterKey, error)
	// DecryptDataKey returns the data key that one of the encrypted data keys
	// holds, with that one as Encrypted. It tries those that are its own, in
	// order, skips all others, and does not change them. If none can be
	// decrypted it returns a *DecryptError, or ctx's error if ctx is done; for a
	// request that no entry can fit, another error. The slice Plaintext becomes
	// the caller's and must be a fresh one.
	DecryptDataKey(ctx context.Context, req *Request, keys []EncryptedDataKey) (*DataKey, error)
}

// generateDataKey is GenerateDataKey of the raw keys: a random data key and what
// k wraps it to.
func generateDataKey(ctx context.Context, k MasterKey, req *Request) (*DataKey, error) {
	return dataKey(provider.Generate(req.Suite, func(plaintext []byte) (EncryptedDataKey, error) {
		return k.EncryptDataKey(ctx, req, plaintext)
	}))
}

// dataKey makes what provider.Generate and provider.Open return what providers
// do.
func dataKey(plaintext []byte, edk EncryptedDataKey, err error) (*DataKey, error) {
	if failure, ok := err.(*provider.Failure); ok {
		return nil, (*DecryptError)(failure)
	}
	if err != nil {
		return nil, err
	}
	return &DataKey{Plaintext: plaintext, Encrypted: edk}, nil
}

// checkName reports whether a raw provider can have this namespace and name.
func checkName(namespace, name string) error {
	switch {
	case namespace == "":
		return errors.New("keyprovider: empty key namespace")
	case strings.HasPrefix(namespace, "aws-kms"):
		return fmt.Errorf("keyprovider: key namespace %q: names that begin with aws-kms belong to AWS KMS", namespace)
	case name == "":
		return fmt.Errorf("keyprovider: empty key name in namespace %q", namespace)
	case !utf8.ValidString(namespace) || !utf8.ValidString(name):
		return fmt.Errorf("keyprovider: key namespace %q, name %q: not UTF-8", namespace, name)
	case len(namespace) > maxName || len(name) > maxName:
		return fmt.Errorf("keyprovider: key namespace of %d bytes, name of %d: at most %d each", len(namespace), len(name), maxName)
	}
	return nil
}

// maxName leaves room beside the name for what raw AES adds to it in the
// 65,535 bytes that provider info can have.
const maxName = 1<<16 - 1 - aesInfoSize
