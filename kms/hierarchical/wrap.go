package hierarchical

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"

	"github.com/esdk-go/esdk/internal/keywrap"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/kms/internal/uuid"
	"github.com/esdk-go/esdk/suite"
)

// providerID is the provider ID of data keys wrapped under branch keys. It is also
// the label of the key derivation and the start of the authenticated data.
const providerID = "aws-kms-hierarchy"

// A wrapped data key is stored as salt, IV, version of the branch key, the
// encrypted data key, and the tag: see the specification's page, "Ciphertext".
const (
	saltSize     = 16
	ivAt         = saltSize
	versionAt    = ivAt + suite.IVSize
	sealedAt     = versionAt + len(uuid.UUID{})
	wrappingSize = sealedAt + suite.TagSize // how much longer it is than the data key
)

var errUnwrap = errors.New("not wrapped under this branch key and encryption context, or altered")

// storedVersion returns the version of the branch key that wrapped a data key.
// There are wrappingSize bytes or more.
func storedVersion(ciphertext []byte) uuid.UUID { return uuid.UUID(ciphertext[versionAt:sealedAt]) }

// wrap returns the form in which messages store the data key.
func wrap(key *branchKey, aad contextAAD, dataKey []byte) ([]byte, error) {
	out := make([]byte, sealedAt, wrappingSize+len(dataKey))
	rand.Read(out[:versionAt]) // salt and IV; never fails
	copy(out[versionAt:], key.version[:])
	aead, err := key.derive(out[:saltSize])
	if err != nil {
		return nil, err
	}
	return aead.Seal(out, out[ivAt:versionAt], dataKey, aad.of(key.version)), nil
}

// unwrap returns the data key that wrap stored as ciphertext, which is of
// wrappingSize bytes or more.
func unwrap(key *branchKey, aad contextAAD, ciphertext []byte) ([]byte, error) {
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

// derive returns the cipher under the key that is derived with the salt.
func (k *branchKey) derive(salt []byte) (cipher.AEAD, error) {
	return keywrap.GCM(keywrap.CounterKDF(sha256.New, k.material[:], []byte(providerID), salt, 32))
}

// contextAAD is the data that is authenticated with a data key. It has room for
// the version, which is all that differs between the entries of a message.
type contextAAD struct {
	bytes   []byte
	version []byte // within bytes
}

// newAAD returns the authenticated data for the branch key with this ID. The error
// wraps [keyprovider.ErrEncryptionContext] if ec cannot be serialised.
func newAAD(id string, ec map[string]string) (contextAAD, error) {
	b := make([]byte, 0, 256)
	b = append(append(b, providerID...), id...)
	end := len(b) + len(uuid.UUID{})
	b, err := provider.AppendContext(append(b, make([]byte, len(uuid.UUID{}))...), ec)
	if err != nil {
		return contextAAD{}, err
	}
	return contextAAD{b, b[end-len(uuid.UUID{}) : end]}, nil
}

// of returns the data with the version. It is valid until the next call.
func (a contextAAD) of(version uuid.UUID) []byte {
	copy(a.version, version[:])
	return a.bytes
}
