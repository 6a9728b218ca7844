package keyprovider

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"hash"

	"github.com/esdk-go/esdk/internal/provider"
)

// RSAPadding is the padding scheme of a [RawRSA]. The zero value is invalid,
// as is any other that is not one of the constants. With OAEP, the hash of
// MGF1 is the same as that of OAEP.
type RSAPadding uint8

const (
	// PKCS1v15 is for reading and writing what old systems can do, only.
	// Whoever can send messages to a program that decrypts with it, and can
	// tell failures apart by their time or their effects, may decrypt data
	// keys by asking often (a padding oracle). Where one entry of a message
	// names the key, an entry that cannot be unwrapped gives a random data key
	// instead of an error, and the message fails like one of another data key.
	// Prefer OAEPSHA256 or longer.
	PKCS1v15 RSAPadding = iota + 1
	OAEPSHA1
	OAEPSHA256
	OAEPSHA384
	OAEPSHA512
)

// String returns a name such as OAEP-SHA256.
func (p RSAPadding) String() string {
	switch p {
	case PKCS1v15:
		return "PKCS1-v1_5"
	case OAEPSHA1:
		return "OAEP-SHA1"
	case OAEPSHA256:
		return "OAEP-SHA256"
	case OAEPSHA384:
		return "OAEP-SHA384"
	case OAEPSHA512:
		return "OAEP-SHA512"
	}
	return fmt.Sprintf("RSA padding %d", uint8(p))
}

// hash returns a new hash of an OAEP padding, or nil.
func (p RSAPadding) hash() hash.Hash {
	switch p {
	case OAEPSHA1:
		return sha1.New()
	case OAEPSHA256:
		return sha256.New()
	case OAEPSHA384:
		return sha512.New384()
	case OAEPSHA512:
		return sha512.New()
	}
	return nil
}

// RawRSA protects data keys with an RSA key that the program holds. It is a
// [MasterKeyProvider] and its own only [MasterKey], safe for concurrent use.
// It prints without its key.
//
// RSA wrapping does not bind the encryption context to the data key; only the
// message does, under that key. A reader of a signed message can therefore
// replace its public key and sign anew: with RawRSA a signature proves nothing
// that the tags do not.
//
// It follows framework/raw-rsa-keyring.md of the specification.
type RawRSA struct {
	redacted
	namespace, name string
	pub             *rsa.PublicKey
	priv            *rsa.PrivateKey
	padding         RSAPadding
	oneOfSeveral    bool // of a Multi's keys with this namespace and name, and not the last
}

// NewRawRSA returns a provider that wraps data keys for pub and unwraps them
// with priv. Either may be nil: without pub, encryption fails with
// [ErrDecryptOnly], as the public key is never taken from priv; without priv,
// decryption fails. The keys are copied; they must be valid, belong together
// and have at least 1024 bits, the private key two primes.
//
// The namespace and the name identify the key; both are stored in messages,
// and both must be the same when decrypting, here and in the other SDKs. They
// must be UTF-8 and not empty, and the namespace may not begin with "aws-kms".
//
// Use crypto/x509 to read keys from PEM: ParsePKIXPublicKey, ParsePKCS8PrivateKey.
func NewRawRSA(namespace, name string, pub *rsa.PublicKey, priv *rsa.PrivateKey, padding RSAPadding) (*RawRSA, error) {
	if err := checkName(namespace, name); err != nil {
		return nil, err
	}
	if padding < PKCS1v15 || padding > OAEPSHA512 {
		return nil, fmt.Errorf("keyprovider: unknown %v", padding)
	}
	k := &RawRSA{redacted: provider.Redact("raw RSA key %q of %q", name, namespace), namespace: namespace, name: name, padding: padding}
	var err error
	if pub != nil {
		if k.pub, err = copyPublicKey(pub); err != nil {
			return nil, fmt.Errorf("keyprovider: RSA public key: %w", err)
		}
	}
	if priv != nil {
		if k.priv, err = copyPrivateKey(priv); err != nil {
			return nil, fmt.Errorf("keyprovider: RSA private key: %w", err)
		}
	}
	switch {
	case pub == nil && priv == nil:
		return nil, errors.New("keyprovider: neither an RSA public key nor a private key")
	case pub != nil && priv != nil && !k.priv.PublicKey.Equal(k.pub):
		return nil, errors.New("keyprovider: the RSA public key and private key do not belong together")
	}
	return k, nil
}

// copyPublicKey returns a copy by way of the key's encoding, which checks it.
func copyPublicKey(pub *rsa.PublicKey) (*rsa.PublicKey, error) {
	if pub.N == nil {
		return nil, errors.New("no modulus")
	}
	if pub.N.BitLen() < minRSABits {
		return nil, fmt.Errorf("%d bits, need at least %d", pub.N.BitLen(), minRSABits)
	}
	return x509.ParsePKCS1PublicKey(x509.MarshalPKCS1PublicKey(pub))
}

// copyPrivateKey does the same for a private key.
func copyPrivateKey(priv *rsa.PrivateKey) (*rsa.PrivateKey, error) {
	if _, err := copyPublicKey(&priv.PublicKey); err != nil {
		return nil, err
	}
	if priv.D == nil || len(priv.Primes) < 2 {
		return nil, errors.New("it lacks the exponent or the primes")
	}
	if len(priv.Primes) > 2 { // crypto/rsa no longer checks such keys
		return nil, fmt.Errorf("it has %d primes, need 2", len(priv.Primes))
	}
	if err := priv.Validate(); err != nil {
		return nil, err
	}
	return x509.ParsePKCS1PrivateKey(x509.MarshalPKCS1PrivateKey(priv))
}

// minRSABits is what crypto/rsa demands.
const minRSABits = 1024

// MasterKeys returns k alone, or [ErrDecryptOnly] if it has no public key.
func (k RawRSA) MasterKeys(context.Context, *Request) ([]MasterKey, error) {
	if k.pub == nil {
		return nil, fmt.Errorf("%v has no public key: %w", k, ErrDecryptOnly)
	}
	return []MasterKey{k}, nil
}

// GenerateDataKey returns a random data key, wrapped.
func (k RawRSA) GenerateDataKey(ctx context.Context, req *Request) (*DataKey, error) {
	return generateDataKey(ctx, k, req)
}

// EncryptDataKey returns plaintext wrapped for the public key.
func (k RawRSA) EncryptDataKey(_ context.Context, _ *Request, plaintext []byte) (EncryptedDataKey, error) {
	if k.pub == nil {
		return EncryptedDataKey{}, fmt.Errorf("%v has no public key: %w", k, ErrDecryptOnly)
	}
	var ciphertext []byte
	var err error
	if h := k.padding.hash(); h != nil {
		ciphertext, err = rsa.EncryptOAEP(h, rand.Reader, k.pub, plaintext, nil)
	} else {
		ciphertext, err = rsa.EncryptPKCS1v15(rand.Reader, k.pub, plaintext)
	}
	if err != nil {
		return EncryptedDataKey{}, fmt.Errorf("%v: %w", k, err)
	}
	return EncryptedDataKey{ProviderID: k.namespace, ProviderInfo: []byte(k.name), Ciphertext: ciphertext}, nil
}

// DecryptDataKey unwraps the first of keys that is wrapped for k.
func (k RawRSA) DecryptDataKey(ctx context.Context, req *Request, keys []EncryptedDataKey) (*DataKey, error) {
	if k.priv == nil {
		return nil, &DecryptError{[]error{fmt.Errorf("%v has no private key", k)}}
	}
	return dataKey(provider.Open(ctx, k.String(), keys, func(edk *EncryptedDataKey) (provider.Unwrap, error) {
		if edk.ProviderID != k.namespace || string(edk.ProviderInfo) != k.name {
			return nil, nil
		}
		if size := k.priv.Size(); len(edk.Ciphertext) != size { // before the costly part
			return nil, fmt.Errorf("wrapped in %d bytes, this key wraps in %d", len(edk.Ciphertext), size)
		}
		return func(context.Context) ([]byte, error) {
			if k.padding == PKCS1v15 && !k.oneOfSeveral && k.entries(keys) == 1 {
				return k.sessionKey(edk.Ciphertext, req.Suite.KeySize())
			}
			return k.unwrap(edk.Ciphertext, req.Suite.KeySize())
		}, nil
	}))
}

// entries returns how many of keys name k.
func (k RawRSA) entries(keys []EncryptedDataKey) (n int) {
	for i := range keys {
		if keys[i].ProviderID == k.namespace && string(keys[i].ProviderInfo) == k.name {
			n++
		}
	}
	return n
}

// sessionKey returns the data key, of size bytes, or a random one if there is
// none in the ciphertext: whether the padding was right then shows in nothing,
// as the message fails later like one of another data key.
func (k RawRSA) sessionKey(ciphertext []byte, size int) ([]byte, error) {
	key := make([]byte, size)
	rand.Read(key) // never fails
	if err := rsa.DecryptPKCS1v15SessionKey(nil, k.priv, ciphertext, key); err != nil {
		clear(key)
		return nil, errUnwrapRSA
	}
	return key, nil
}

// errUnwrapRSA is the same for all causes, so that it tells nothing apart.
var errUnwrapRSA = errors.New("not wrapped for this key and padding, or altered")

// unwrap returns the data key, which must be of size bytes.
func (k RawRSA) unwrap(ciphertext []byte, size int) (plaintext []byte, err error) {
	if h := k.padding.hash(); h != nil {
		plaintext, err = rsa.DecryptOAEP(h, nil, k.priv, ciphertext, nil)
	} else {
		plaintext, err = rsa.DecryptPKCS1v15(nil, k.priv, ciphertext)
	}
	return sized(plaintext, err, size)
}

// sized returns the plaintext that RSA decrypted, if there was no error and it
// is of size bytes. It clears any other.
func sized(plaintext []byte, err error, size int) ([]byte, error) {
	if err != nil || len(plaintext) != size {
		clear(plaintext)
		return nil, errUnwrapRSA
	}
	return plaintext, nil
}
