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

// A RawAES wraps data keys with an AES key that the program holds. It is a
// [MasterKeyProvider] and its own only [MasterKey], safe for concurrent use. It
// prints its names, and not its key.
//
// It follows [raw-aes-keyring] of the specification.
//
// [raw-aes-keyring]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/raw-aes-keyring.md
type RawAES struct {
	redacted
	namespace, name string
	// aead is a function because fmt shows fields of a value that another one
	// holds unexported, key schedules too, but not what a function knows.
	aead func() cipher.AEAD
}

// NewRawAES returns a provider that wraps data keys with AES-GCM under key, which
// must be 16, 24 or 32 random bytes and is copied. The encryption context is bound
// to the wrapped data key.
//
// The namespace and the name identify the key. Both are stored in messages in
// clear, and both must be the same for decryption, here and in the other SDKs. They
// must be UTF-8, not empty, and at most 65,515 bytes each. The namespace must not
// begin with "aws-kms".
//
// Replace a key before it has wrapped 2^32 data keys.
func NewRawAES(namespace, name string, key []byte) (*RawAES, error) {
	if err := checkName(namespace, name); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("keyprovider: raw AES key of %d bytes; need 16, 24 or 32", len(key))
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("keyprovider: %w", err)
	}
	return &RawAES{provider.Redact("raw AES key %q of %q", name, namespace), namespace, name, func() cipher.AEAD { return aead }}, nil
}

// MasterKeys returns k.
func (k RawAES) MasterKeys(context.Context, *Request) ([]MasterKey, error) {
	return []MasterKey{k}, nil
}

// GenerateDataKey returns a random data key, wrapped under k.
func (k RawAES) GenerateDataKey(ctx context.Context, req *Request) (*DataKey, error) {
	return dataKey(provider.Generate(req.Suite, func(plaintext []byte) (EncryptedDataKey, error) {
		return k.EncryptDataKey(ctx, req, plaintext)
	}))
}

// EncryptDataKey wraps plaintext under k with a random IV. The error wraps
// [ErrEncryptionContext] if the encryption context cannot be serialised.
func (k RawAES) EncryptDataKey(_ context.Context, req *Request, plaintext []byte) (EncryptedDataKey, error) {
	aad, err := k.aad(req)
	if err != nil {
		return EncryptedDataKey{}, err
	}
	size := len(k.name) + aesInfoSize
	memory := make([]byte, size+len(plaintext)+suite.TagSize)
	info, ciphertext := memory[:size:size], memory[size:]
	sizes := info[copy(info, k.name):]
	binary.BigEndian.PutUint32(sizes, suite.TagSize*8)
	binary.BigEndian.PutUint32(sizes[4:], suite.IVSize)
	iv := sizes[8:]
	rand.Read(iv) // never fails
	return EncryptedDataKey{
		ProviderID:   k.namespace,
		ProviderInfo: info,
		Ciphertext:   k.aead().Seal(ciphertext[:0], iv, plaintext, aad),
	}, nil
}

// DecryptDataKey unwraps the first entry of keys that has k's namespace and name and
// is wrapped under k. If there is none, the error is a *[DecryptError].
func (k RawAES) DecryptDataKey(ctx context.Context, req *Request, keys []EncryptedDataKey) (*DataKey, error) {
	aad, err := k.aad(req)
	if err != nil {
		return nil, err
	}
	var unbound error // the same for all entries: a hostile message can have 65,535
	return dataKey(provider.Open(ctx, k.String(), keys, func(_ context.Context, edk *EncryptedDataKey) ([]byte, error) {
		sizes, ok := bytes.CutPrefix(edk.ProviderInfo, []byte(k.name))
		if edk.ProviderID != k.namespace || !ok || len(sizes) != aesInfoSize {
			return nil, nil
		}
		bits, ivSize := binary.BigEndian.Uint32(sizes), binary.BigEndian.Uint32(sizes[4:])
		switch want := req.Suite.KeySize() + suite.TagSize; {
		case bits != suite.TagSize*8:
			return nil, provider.Skip(fmt.Errorf("tag of %d bits, need %d", bits, suite.TagSize*8))
		case ivSize != suite.IVSize:
			return nil, provider.Skip(fmt.Errorf("IV of %d bytes, need %d", ivSize, suite.IVSize))
		case len(edk.Ciphertext) != want:
			return nil, provider.Skip(fmt.Errorf("ciphertext of %d bytes; a wrapped data key of %v has %d", len(edk.Ciphertext), req.Suite, want))
		}
		plaintext, err := k.aead().Open(nil, sizes[8:], edk.Ciphertext, aad)
		if err != nil {
			if unbound == nil {
				unbound = fmt.Errorf("not wrapped under this key and encryption context (%s), or altered", provider.ContextKeys(req.EncryptionContext))
			}
			return nil, unbound
		}
		return plaintext, nil
	}))
}

// aad returns the data that is authenticated with the wrapped data key.
func (k RawAES) aad(req *Request) ([]byte, error) {
	if k.aead == nil {
		return nil, errors.New("the RawAES was not made by NewRawAES")
	}
	return provider.AppendContext(nil, req.EncryptionContext)
}
