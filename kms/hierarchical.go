package kms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/cache"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/setup"
	"github.com/esdk-go/esdk/kms/internal/uuid"
)

// A Hierarchical protects data keys under branch keys, which it gets from a
// [BranchKeyStore] and caches: see [NewHierarchical]. It is a
// [keyprovider.MasterKeyProvider] and its own only [keyprovider.MasterKey], safe
// for concurrent use, and prints without keys.
type Hierarchical struct{ h *hierarchy }

// hierarchy is what a Hierarchical is.
type hierarchy struct {
	store       BranchKeyStore
	logicalName string
	partition   string
	view        *cache.View
	id          string // if it is the same for all messages
	idFor       func(context.Context, map[string]string) (string, error)
}

// HierarchicalOptions are the settings of a [Hierarchical]. MaxAge is required,
// and exactly one of BranchKeyID and BranchKeyIDFor.
type HierarchicalOptions struct {
	// BranchKeyID is the ID of the branch key of all messages.
	BranchKeyID string
	// BranchKeyIDFor chooses the branch key of a message by its encryption
	// context, such as one for each tenant. It is asked when a message is
	// encrypted and again when it is decrypted, then with what the message
	// stores and what is reproduced, none of which has been authenticated yet.
	// In both cases the context may have pairs whose keys begin with
	// "aws-crypto-". It must give the same ID for the same pairs, must not
	// change or keep the map, and may be called concurrently.
	BranchKeyIDFor func(ctx context.Context, encryptionContext map[string]string) (string, error)
	// MaxAge is how long a branch key is used, from when the store returned
	// it. It must be positive. The version that was active is used for new
	// messages until then although the key has been rotated, and a permission
	// that was withdrawn works until then.
	MaxAge time.Duration
	// GracePeriod is the last part of MaxAge, in which one message asks the
	// store for the branch key again while others go on with what is cached,
	// so that none need wait when it expires. If the store fails, that is used
	// on, and a tenth of the GracePeriod later another message tries. Zero
	// means 10 seconds, or a tenth of MaxAge if that is less; negative means
	// none. It must be less than MaxAge.
	GracePeriod time.Duration
	// MaxEntries is how many versions of branch keys are held; the one that
	// was not used for the longest time makes room. One that is used both ways
	// counts twice. Zero means 1000. It must be zero if there is a CacheStore,
	// which has a size of its own.
	MaxEntries int
	// CacheStore holds the branch keys, and maybe the entries of other caches,
	// those of keyprovider.NewCache included. Nil means one that this provider
	// has alone.
	CacheStore *keyprovider.CacheStore
	// Partition names the entries of the CacheStore that this provider can
	// use, which are those of all with an equal one: see [NewHierarchical].
	// Empty means a random UUID, with which nothing is shared.
	Partition string
}

// NewHierarchical returns a provider that wraps each data key under a key
// derived, with a random salt, from a branch key of the store. A branch key that
// is cached costs no call to anybody: for many messages AWS KMS and the store
// are asked once in MaxAge, which suits services with many small messages, or
// with a key for each tenant. Package keystore has the store on DynamoDB.
//
// Encrypting takes the branch key's active version, and messages name it.
// Decrypting takes the version that the message names, so a branch key can be
// rotated at any time and old messages stay readable. The encryption context is
// bound to the wrapped data key. Whoever can use a branch key can both wrap and
// unwrap with it, so that a suite that signs adds nothing under it.
//
// If several messages need a branch key that is not there, one asks the store,
// with its own ctx, and the others wait, each until its own ctx is done. If the
// store fails because of the ctx it was asked with, the next one asks; any
// other error is that of all who waited, and is not cached. Branch keys are
// cleared from memory when they expire, make room, or by [Hierarchical.Purge].
//
// Providers that have one CacheStore and equal Partitions use each other's
// branch keys of the same ID, if the logical names of their stores are equal:
// what one of them has read, the others use without any permission of their
// own. Two stores that are not the same must never have the same logical name.
//
// A message chooses among the versions of the branch key, and each that is not
// cached is a call to the store: limit the number of encrypted data keys
// (esdk.Client.MaxEncryptedDataKeys) of messages from people you do not know.
//
// Messages can be exchanged with other AWS Encryption SDKs that use the same
// store. NewHierarchical calls nothing but the store's LogicalName. It fails if
// the store is nil, or if an option is missing, out of range, or contradicts
// another.
//
// It follows framework/aws-kms/aws-kms-hierarchical-keyring.md of the
// specification.
func NewHierarchical(store BranchKeyStore, opts HierarchicalOptions) (*Hierarchical, error) {
	switch {
	case setup.IsNil(store):
		return nil, errors.New("kms: NewHierarchical of a nil BranchKeyStore")
	case (opts.BranchKeyID == "") == (opts.BranchKeyIDFor == nil):
		return nil, errors.New("kms: NewHierarchical: exactly one of BranchKeyID and BranchKeyIDFor must be set")
	case opts.MaxAge <= 0:
		return nil, fmt.Errorf("kms: NewHierarchical: MaxAge %v is not positive", opts.MaxAge)
	case opts.GracePeriod >= opts.MaxAge:
		return nil, fmt.Errorf("kms: NewHierarchical: GracePeriod %v is not less than MaxAge %v", opts.GracePeriod, opts.MaxAge)
	case opts.MaxEntries < 0:
		return nil, fmt.Errorf("kms: NewHierarchical: negative MaxEntries: %d", opts.MaxEntries)
	case opts.MaxEntries > 0 && opts.CacheStore != nil:
		return nil, errors.New("kms: NewHierarchical: MaxEntries for a CacheStore that has its own")
	case opts.CacheStore != nil && opts.CacheStore.Internal() == nil:
		return nil, errors.New("kms: NewHierarchical: the CacheStore was not made by keyprovider.NewCacheStore")
	}
	if opts.BranchKeyID != "" {
		if err := checkBranchKeyID(opts.BranchKeyID); err != nil {
			return nil, fmt.Errorf("kms: NewHierarchical: %w", err)
		}
	}
	if opts.MaxEntries == 0 {
		opts.MaxEntries = cache.DefaultCapacity
	}
	if opts.Partition == "" {
		id := uuid.New()
		opts.Partition = string(id[:])
	}
	if opts.CacheStore == nil {
		opts.CacheStore = keyprovider.NewCacheStore(opts.MaxEntries)
	}
	grace, interval := cache.GracePeriod(opts.GracePeriod, opts.MaxAge)
	return &Hierarchical{&hierarchy{
		store:       store,
		logicalName: store.LogicalName(),
		partition:   opts.Partition,
		id:          opts.BranchKeyID,
		idFor:       opts.BranchKeyIDFor,
		view: opts.CacheStore.Internal().View(cache.Options{
			Partition: opts.Partition,
			MaxAge:    opts.MaxAge,
			Grace:     grace,
			Interval:  interval,
		}),
	}}, nil
}

// MasterKeys returns p alone.
func (p Hierarchical) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return []keyprovider.MasterKey{p}, nil
}

// GenerateDataKey returns a random data key, wrapped.
func (p Hierarchical) GenerateDataKey(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	return generateDataKey(ctx, p, req)
}

// EncryptDataKey returns plaintext wrapped under the active version of the
// branch key. The error, for an encryption context that cannot be serialised,
// wraps [keyprovider.ErrEncryptionContext].
func (p Hierarchical) EncryptDataKey(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
	ciphertext, id, err := p.wrap(ctx, req, plaintext)
	if err != nil {
		return keyprovider.EncryptedDataKey{}, err
	}
	return keyprovider.EncryptedDataKey{ProviderID: hierarchyID, ProviderInfo: []byte(id), Ciphertext: ciphertext}, nil
}

func (p Hierarchical) wrap(ctx context.Context, req *keyprovider.Request, plaintext []byte) (ciphertext []byte, id string, err error) {
	if id, err = p.branchKeyID(ctx, req); err != nil {
		return nil, "", err
	}
	aad, err := newHierarchyAAD(id, req.EncryptionContext)
	if err != nil {
		return nil, "", err
	}
	call := &branchKeyCall{h: p.h, id: id}
	defer call.key.Clear()
	if err := call.get(ctx); err != nil {
		return nil, "", fmt.Errorf("branch key %.200q: %w", id, err)
	}
	ciphertext, err = wrap(&call.key, aad, plaintext)
	return ciphertext, id, err
}

// DecryptDataKey unwraps the first of keys that is wrapped under the branch key
// and that a version of it opens.
func (p Hierarchical) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	switch {
	case p.h == nil:
		return nil, errNotHierarchical
	case !req.Suite.Valid():
		return nil, fmt.Errorf("%w: %v", format.ErrUnsupportedSuite, req.Suite)
	}
	want := req.Suite.KeySize() + wrappingSize
	var id string
	var aad hierarchyAAD
	var failed causes
	for i := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		edk := &keys[i]
		if edk.ProviderID != hierarchyID {
			continue
		}
		if id == "" { // the first of ours
			var err error
			if id, err = p.branchKeyID(ctx, req); err != nil {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				return nil, &keyprovider.DecryptError{Causes: []error{err}}
			}
			if aad, err = newHierarchyAAD(id, req.EncryptionContext); err != nil {
				return nil, err
			}
		}
		if string(edk.ProviderInfo) != id {
			failed.skip(i, fmt.Errorf("%.200q is not the branch key, %.200q", edk.ProviderInfo, id))
			continue
		}
		if len(edk.Ciphertext) != want {
			failed.skip(i, fmt.Errorf("wrapped in %d bytes, a data key for %v in %d", len(edk.Ciphertext), req.Suite, want))
			continue
		}
		plaintext, err := p.unwrap(ctx, id, aad, edk.Ciphertext)
		if err == nil {
			return &keyprovider.DataKey{Plaintext: plaintext, Encrypted: *edk}, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed.try(i, err)
	}
	return nil, failed.failure(p.String(), nil)
}

func (p Hierarchical) unwrap(ctx context.Context, id string, aad hierarchyAAD, ciphertext []byte) ([]byte, error) {
	version := storedVersion(ciphertext)
	call := &branchKeyCall{h: p.h, id: id, version: &version}
	defer call.key.Clear()
	err := call.get(ctx)
	if err == nil {
		var plaintext []byte
		if plaintext, err = unwrap(&call.key, aad, ciphertext); err == nil {
			return plaintext, nil
		}
	}
	return nil, fmt.Errorf("branch key %.200q, version %v: %w", id, version, err)
}

var errNotHierarchical = errors.New("the Hierarchical was not made by NewHierarchical")

// branchKeyID returns the ID of the request's branch key.
func (p Hierarchical) branchKeyID(ctx context.Context, req *keyprovider.Request) (string, error) {
	if p.h == nil {
		return "", errNotHierarchical
	}
	if p.h.id != "" {
		return p.h.id, nil
	}
	id, err := p.h.idFor(ctx, req.EncryptionContext)
	if err == nil {
		err = checkBranchKeyID(id)
	}
	if err != nil {
		return "", fmt.Errorf("BranchKeyIDFor: %w", err)
	}
	return id, nil
}

// checkBranchKeyID reports whether messages can name the branch key.
func checkBranchKeyID(id string) error {
	const most = 1<<16 - 1
	switch {
	case id == "":
		return errors.New("empty branch key ID")
	case !utf8.ValidString(id):
		return fmt.Errorf("branch key ID %.200q: not UTF-8", id)
	case len(id) > most:
		return fmt.Errorf("branch key ID of %d bytes: at most %d", len(id), most)
	}
	return nil
}

// Purge removes the branch keys of the provider's partition from the cache and
// clears them, and in a shared CacheStore whatever else has that partition.
// Calls that are under way end as they would, but what they bring is not kept.
// The provider stays usable.
func (p Hierarchical) Purge() {
	if p.h != nil {
		p.h.view.Purge()
	}
}

// String names the branch key, if it is the same for all messages.
func (p Hierarchical) String() string {
	switch {
	case p.h == nil:
		return "hierarchical provider"
	case p.h.id == "":
		return "hierarchical provider of branch keys chosen by the encryption context"
	}
	return fmt.Sprintf("hierarchical provider of branch key %.200q", p.h.id)
}

// Format writes String, whatever the verb.
func (p Hierarchical) Format(s fmt.State, _ rune) { io.WriteString(s, p.String()) }

// MarshalText returns String: what encoding/json and log/slog show.
func (p Hierarchical) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
