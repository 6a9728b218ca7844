package keyprovider

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/suite"
)

// aesInfoSize is what follows the key name in the provider info: the tag's
// length in bits, the IV's in bytes, and the IV.
const aesInfoSize = 4 + 4 + suite.IVSize

// RawAES protects data keys with an AES key that the program holds. It is a
// [MasterKeyProvider] and its own only [MasterKey], safe for concurrent use.
// It prints without its key.
//
// It follows framework/raw-aes-keyring.md of the specification.
type RawAES struct {
	redacted
	namespace, name string
	// aead is a function because fmt shows fields of a value that another one
	// holds unexported, key schedules too, but not what a function knows.
	aead func() cipher.AEAD
}

// NewRawAES returns a provider that wraps data keys with AES-GCM under key:
// 16, 24 or 32 random bytes. They are copied. The encryption context is bound
// to the wrapped key.
//
// The namespace and the name identify the key; both are stored in messages,
// and both must be the same when decrypting, here and in the other SDKs. They
// must be UTF-8 and not empty, and the namespace may not begin with "aws-kms".
// One key should wrap no more than 2^32 data keys: replace it before.
func NewRawAES(namespace, name string, key []byte) (*RawAES, error) {
	if err := checkName(namespace, name); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("keyprovider: wrapping key of %d bytes; AES needs 16, 24 or 32", len(key))
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("keyprovider: %w", err)
	}
	return &RawAES{provider.Redact("raw AES key %q of %q", name, namespace), namespace, name, func() cipher.AEAD { return aead }}, nil
}

// MasterKeys returns k alone.
func (k RawAES) MasterKeys(context.Context, *Request) ([]MasterKey, error) {
	return []MasterKey{k}, nil
}

// GenerateDataKey returns a random data key, wrapped.
func (k RawAES) GenerateDataKey(ctx context.Context, req *Request) (*DataKey, error) {
	return generateDataKey(ctx, k, req)
}

// EncryptDataKey returns plaintext wrapped under a random IV. The error, for an
// encryption context that cannot be serialised, wraps [ErrEncryptionContext].
func (k RawAES) EncryptDataKey(_ context.Context, req *Request, plaintext []byte) (EncryptedDataKey, error) {
	aad, err := k.aad(req)
	if err != nil {
		return EncryptedDataKey{}, err
	}
	info := make([]byte, len(k.name)+aesInfoSize)
	sizes := info[copy(info, k.name):]
	binary.BigEndian.PutUint32(sizes, suite.TagSize*8)
	binary.BigEndian.PutUint32(sizes[4:], suite.IVSize)
	iv := sizes[8:]
	rand.Read(iv) // never fails
	return EncryptedDataKey{
		ProviderID:   k.namespace,
		ProviderInfo: info,
		Ciphertext:   k.aead().Seal(nil, iv, plaintext, aad),
	}, nil
}

// DecryptDataKey unwraps the first of keys that is wrapped under k.
func (k RawAES) DecryptDataKey(ctx context.Context, req *Request, keys []EncryptedDataKey) (*DataKey, error) {
	aad, err := k.aad(req)
	if err != nil {
		return nil, err
	}
	return dataKey(provider.Open(ctx, k.String(), keys, func(edk *EncryptedDataKey) (provider.Unwrap, error) {
		sizes, ok := bytes.CutPrefix(edk.ProviderInfo, []byte(k.name))
		if edk.ProviderID != k.namespace || !ok || len(sizes) != aesInfoSize {
			return nil, nil
		}
		bits, ivSize := binary.BigEndian.Uint32(sizes), binary.BigEndian.Uint32(sizes[4:])
		switch want := req.Suite.KeySize() + suite.TagSize; {
		case bits != suite.TagSize*8:
			return nil, fmt.Errorf("tag of %d bits, need %d", bits, suite.TagSize*8)
		case ivSize != suite.IVSize:
			return nil, fmt.Errorf("IV of %d bytes, need %d", ivSize, suite.IVSize)
		case len(edk.Ciphertext) != want:
			return nil, fmt.Errorf("wrapped in %d bytes, a data key for %v in %d", len(edk.Ciphertext), req.Suite, want)
		}
		return func(context.Context) ([]byte, error) {
			plaintext, err := k.aead().Open(nil, sizes[8:], edk.Ciphertext, aad)
			if err != nil {
				return nil, errUnwrapAES
			}
			return plaintext, nil
		}, nil
	}))
}

var errUnwrapAES = errors.New("not wrapped under this key and encryption context, or altered")

// aad returns what the wrapped key is bound to.
func (k RawAES) aad(req *Request) ([]byte, error) {
	if k.aead == nil {
		return nil, errors.New("the RawAES was not made by NewRawAES")
	}
	return provider.AppendContext(nil, req.EncryptionContext)
}
