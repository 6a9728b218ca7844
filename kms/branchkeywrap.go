package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/keywrap"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/uuid"
	"github.com/esdk-go/esdk/suite"
)

// hierarchyID is the provider ID of data keys under branch keys. It is also the
// label of the key derivation and begins the authenticated data.
const hierarchyID = "aws-kms-hierarchy"

// A data key under a branch key is stored as salt, IV, version of the branch
// key, the data key encrypted, and the tag.
//
// It follows framework/aws-kms/aws-kms-hierarchical-keyring.md, "Ciphertext",
// of the specification.
const (
	saltSize     = 16
	ivAt         = saltSize
	versionAt    = ivAt + suite.IVSize
	sealedAt     = versionAt + len(uuid.UUID{})
	wrappingSize = sealedAt + suite.TagSize // what it is longer than the data key
)

var errUnwrap = errors.New("not wrapped under this branch key and encryption context, or altered")

// storedVersion returns the version of the branch key that a stored data key
// of wrappingSize or more bytes names.
func storedVersion(ciphertext []byte) uuid.UUID { return uuid.UUID(ciphertext[versionAt:sealedAt]) }

// wrap returns the form in which messages store the data key.
func wrap(key *branchKey, aad hierarchyAAD, dataKey []byte) ([]byte, error) {
	out := make([]byte, sealedAt, wrappingSize+len(dataKey))
	rand.Read(out[:versionAt]) // salt and IV; never fails
	copy(out[versionAt:], key.version[:])
	aead, err := key.derive(out[:saltSize])
	if err != nil {
		return nil, err
	}
	return aead.Seal(out, out[ivAt:versionAt], dataKey, aad.of(key.version)), nil
}

// unwrap returns the data key that is stored as ciphertext, of which there are
// wrappingSize bytes or more.
func unwrap(key *branchKey, aad hierarchyAAD, ciphertext []byte) ([]byte, error) {
	aead, err := key.derive(ciphertext[:saltSize])
	if err != nil {
		return nil, err
	}
	dataKey, err := aead.Open(nil, ciphertext[ivAt:versionAt], ciphertext[sealedAt:], aad.of(key.version))
	if err != nil {
		return nil, errUnwrap
	}
	return dataKey, nil
}

// derive returns the cipher of the key that is derived with the salt.
func (k *branchKey) derive(salt []byte) (cipher.AEAD, error) {
	derived := keywrap.CounterKDF(sha256.New, k.material[:], []byte(hierarchyID), salt, 32)
	defer clear(derived)
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// hierarchyAAD is the data that is authenticated with a data key, with room for
// the version, which alone differs between those of a message.
type hierarchyAAD struct {
	bytes   []byte
	version []byte // within bytes
}

// newHierarchyAAD returns that of the branch key with this ID. The error, for an
// encryption context that cannot be serialised, wraps
// [keyprovider.ErrEncryptionContext].
func newHierarchyAAD(id string, ec map[string]string) (hierarchyAAD, error) {
	b := make([]byte, 0, 256)
	b = append(append(b, hierarchyID...), id...)
	end := len(b) + len(uuid.UUID{})
	b, err := format.AppendEncryptionContext(append(b, make([]byte, len(uuid.UUID{}))...), ec)
	if err != nil {
		return hierarchyAAD{}, fmt.Errorf("%w: %w", keyprovider.ErrEncryptionContext, err)
	}
	return hierarchyAAD{b, b[end-len(uuid.UUID{}) : end]}, nil
}

// of returns the data with the version. It is valid until the next call.
func (a hierarchyAAD) of(version uuid.UUID) []byte {
	copy(a.version, version[:])
	return a.bytes
}
