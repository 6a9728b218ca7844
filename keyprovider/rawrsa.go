package keyprovider

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"

	"github.com/esdk-go/esdk/internal/keywrap"
	"github.com/esdk-go/esdk/internal/provider"
)

// RSAPadding is the padding scheme of a [RawRSA]. Only the constants are valid; the
// zero value is not. The OAEP schemes use the same hash for MGF1.
type RSAPadding uint8

const (
	// PKCS1v15 is only for messages of old systems. Prefer OAEPSHA256 or longer.
	//
	// It has a padding oracle: somebody who can send many messages to a program, and
	// can tell the kinds of failure apart by time or effect, may decrypt data keys.
	// Therefore, if no entry that names the key can be unwrapped, the result is a
	// random data key and not an error. The message then fails as one under another
	// data key does. Time still tells one RSA operation from two.
	//
	// A [Multi] asks its other providers before it takes a random data key. A
	// provider of your own that wraps such a key must be the last of a Multi. A
	// [Cache] keeps random data keys as it keeps others.
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

// A RawRSA wraps data keys with an RSA key that the program holds. It is a
// [MasterKeyProvider] and its own only [MasterKey], safe for concurrent use. It
// prints its names, and not its keys.
//
// RSA wrapping does not bind the encryption context to the data key. The message
// does, under the data key. So whoever can read a signed message can replace the
// verification key in it and sign it again: with RawRSA a signature proves nothing
// more than the authentication tags do.
//
// It follows [raw-rsa-keyring] of the specification.
//
// [raw-rsa-keyring]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/raw-rsa-keyring.md
type RawRSA struct {
	redacted
	namespace, name string
	pub             *rsa.PublicKey
	priv            *rsa.PrivateKey
	padding         RSAPadding
}

// NewRawRSA returns a provider that wraps data keys with pub and unwraps them with
// priv. Either may be nil. Without pub, encryption fails with [ErrDecryptOnly]; the
// public half of priv is not used instead. Without priv, decryption fails.
//
// The keys are copied. They must be valid, have 1024 bits or more and an odd public
// exponent from 3 to 2^31-1, and belong together; priv must have two primes. What
// priv has precomputed is not used. Functions of crypto/x509 such as
// ParsePKIXPublicKey and ParsePKCS8PrivateKey read keys from PEM blocks.
//
// The namespace and the name identify the key. Both are stored in messages in
// clear, and both must be the same for decryption, here and in the other SDKs. They
// must be UTF-8, not empty, and at most 65,515 bytes each. The namespace must not
// begin with "aws-kms".
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
		if k.pub, err = keywrap.CopyRSAPublicKey(pub); err != nil {
			return nil, fmt.Errorf("keyprovider: RSA public key: %w", err)
		}
	}
	if priv != nil {
		if k.priv, err = keywrap.CopyRSAPrivateKey(priv); err != nil {
			return nil, fmt.Errorf("keyprovider: RSA private key: %w", err)
		}
	}
	switch {
	case pub == nil && priv == nil:
		return nil, errors.New("keyprovider: NewRawRSA with neither a public key nor a private key")
	case pub != nil && priv != nil && !k.priv.PublicKey.Equal(k.pub):
		return nil, errors.New("keyprovider: the RSA public key and private key do not belong together")
	}
	return k, nil
}

// MasterKeys returns k. The error wraps [ErrDecryptOnly] if k has no public key.
func (k RawRSA) MasterKeys(context.Context, *Request) ([]MasterKey, error) {
	if k.pub == nil {
		return nil, fmt.Errorf("%v has no public key: %w", k, ErrDecryptOnly)
	}
	return []MasterKey{k}, nil
}

// GenerateDataKey returns a random data key, wrapped with the public key.
func (k RawRSA) GenerateDataKey(ctx context.Context, req *Request) (*DataKey, error) {
	return dataKey(provider.Generate(req.Suite, func(plaintext []byte) (EncryptedDataKey, error) {
		return k.EncryptDataKey(ctx, req, plaintext)
	}))
}

// EncryptDataKey wraps plaintext with the public key. The error wraps
// [ErrDecryptOnly] if there is none.
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

// DecryptDataKey unwraps the first entry of keys that has k's namespace and name and
// is wrapped for k. If there is none, the error is a *[DecryptError]; but see
// [PKCS1v15].
func (k RawRSA) DecryptDataKey(ctx context.Context, req *Request, keys []EncryptedDataKey) (*DataKey, error) {
	return orRandom(k.decrypt(ctx, req, keys))
}

// decrypt is like DecryptDataKey, but the data key is always one that an entry
// holds. With an error, random is what DecryptDataKey returns in its place, if it
// is not nil.
func (k RawRSA) decrypt(ctx context.Context, req *Request, keys []EncryptedDataKey) (key, random *DataKey, err error) {
	if k.priv == nil {
		return nil, nil, &DecryptError{[]error{fmt.Errorf("%v has no private key", k)}}
	}
	key, err = dataKey(provider.Open(ctx, k.String(), keys, func(_ context.Context, edk *EncryptedDataKey) ([]byte, error) {
		if edk.ProviderID != k.namespace || string(edk.ProviderInfo) != k.name {
			return nil, nil
		}
		if size := k.priv.Size(); len(edk.Ciphertext) != size { // before the costly part
			return nil, provider.Skip(fmt.Errorf("ciphertext of %d bytes; this key makes %d", len(edk.Ciphertext), size))
		}
		plaintext, other, err := k.unwrap(edk.Ciphertext, req.Suite.KeySize())
		if other != nil {
			random = &DataKey{Plaintext: other, Encrypted: *edk}
		}
		return plaintext, err
	}))
	if failure := (*DecryptError)(nil); !errors.As(err, &failure) { // there is a data key, or ctx is done
		random = nil
	}
	return key, random, err
}

// errUnwrapRSA is the same for all causes, so that it tells nothing apart.
var errUnwrapRSA = errors.New("not wrapped for this key and padding, or altered")

// unwrap returns the data key, which must be of size bytes. If there is none in
// the ciphertext, it returns an error and, with PKCS1v15, a random data key; which
// of the two it is, takes the same time.
func (k RawRSA) unwrap(ciphertext []byte, size int) (plaintext, random []byte, err error) {
	if h := k.padding.hash(); h != nil {
		plaintext, err = rsa.DecryptOAEP(h, nil, k.priv, ciphertext, nil)
		plaintext, err = sized(plaintext, err, size)
		return plaintext, nil, err
	}
	random = make([]byte, size)
	rand.Read(random) // never fails
	plaintext = bytes.Clone(random)
	if err := rsa.DecryptPKCS1v15SessionKey(nil, k.priv, ciphertext, plaintext); err != nil {
		return nil, nil, errUnwrapRSA
	}
	if subtle.ConstantTimeCompare(plaintext, random) == 1 { // the ciphertext holds no key of that size
		return nil, random, errUnwrapRSA
	}
	return plaintext, nil, nil
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
