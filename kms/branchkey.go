package kms

import "context"

// A BranchKey is one version of a branch key: 32 secret bytes from which a
// hierarchical provider derives the keys that wrap data keys.
type BranchKey struct {
	ID      string // names all versions
	Version string // a UUID in its text form
	// EncryptionContext holds the pairs that were bound to the key when it was
	// created, without the prefix that the store gives them.
	EncryptionContext map[string]string
	Material          []byte // 32 bytes; whoever receives them owns them
}

// A BranchKeyStore keeps branch keys. Its methods may be called concurrently,
// and each call returns memory of its own. Package keystore has the one on
// DynamoDB that all AWS Encryption SDKs share.
type BranchKeyStore interface {
	// LogicalName is the logical key store name, which is bound to every
	// branch key.
	LogicalName() string
	// ActiveBranchKey returns the version of the branch key that encrypts now.
	ActiveBranchKey(ctx context.Context, id string) (*BranchKey, error)
	// BranchKeyVersion returns the given version of the branch key.
	BranchKeyVersion(ctx context.Context, id, version string) (*BranchKey, error)
}
