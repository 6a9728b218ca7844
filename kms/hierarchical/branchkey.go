package hierarchical

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/kms/internal/uuid"
)

// ErrBranchKeyNotFound is the error of a [Store] that has no such branch key, or
// no such version of it.
var ErrBranchKeyNotFound = errors.New("no such branch key")

// redacted keeps the secrets of what embeds it out of logs.
type redacted = provider.Redacted

// A BranchKey is one version of a branch key. It does not print its Material:
// fmt, log/slog and encoding/json show it redacted, except where it is in an
// unexported field of another struct.
type BranchKey struct {
	redacted
	ID      string // the same for all versions
	Version string // a UUID in its text form, in lower case
	// EncryptionContext holds the pairs that were bound to the branch key when it
	// was created, without the prefix under which the store keeps them.
	EncryptionContext map[string]string
	Material          []byte // 32 secret bytes; the caller of the Store owns and clears them
}

// A Store keeps branch keys. Its methods may be called concurrently. Each call
// must return memory of its own, because the caller clears the key. Package
// keystore has the store on DynamoDB that all AWS Encryption SDKs share.
type Store interface {
	// LogicalName returns the logical key store name, which is bound to every
	// branch key.
	LogicalName() string
	// ActiveBranchKey returns the active version of the branch key: the one that
	// encrypts. The error wraps ErrBranchKeyNotFound if there is no such key.
	ActiveBranchKey(ctx context.Context, id string) (*BranchKey, error)
	// BranchKeyVersion returns the given version of the branch key. The error
	// wraps ErrBranchKeyNotFound if there is no such version.
	BranchKeyVersion(ctx context.Context, id, version string) (*BranchKey, error)
}

// branchKeySize is the length of a branch key, in bytes.
const branchKeySize = 32

// check checks what a store returned for the branch key with this ID and, if
// version is not nil, that version. It returns the version as messages store it.
func (k *BranchKey) check(id string, version *uuid.UUID) (uuid.UUID, error) {
	if k == nil {
		return uuid.UUID{}, errors.New("the store returned neither a branch key nor an error")
	}
	got, err := uuid.Parse(k.Version)
	switch {
	case k.ID != id:
		err = fmt.Errorf("the store returned another branch key, %.200q", k.ID)
	case err != nil:
		err = fmt.Errorf("the store returned a malformed version: %w", err)
	case version != nil && got != *version:
		err = fmt.Errorf("the store returned another version, %v", got)
	case len(k.Material) != branchKeySize:
		err = fmt.Errorf("the store returned a branch key of %d bytes, need %d", len(k.Material), branchKeySize)
	case subtle.ConstantTimeCompare(k.Material, make([]byte, branchKeySize)) == 1:
		// A store that returns what it returned before, which was cleared.
		err = errors.New("the store returned a branch key of zeros; each call must return memory of its own")
	}
	return got, err
}
