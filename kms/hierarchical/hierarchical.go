// Package hierarchical wraps data keys in the program, under branch keys that a
// [Store] keeps and a [Provider] caches. While a branch key is cached, a message
// costs no call to anybody.
//
// A branch key is 32 secret bytes with an ID, such as one for each tenant, and
// with versions. For each message the provider generates a data key of its own
// and wraps it under a key derived, with a random salt, from the active version
// of the branch key. The encryption context is bound to the wrapped data key.
//
//	store, err := keystore.New(ctx, keystore.Options{Table: "BranchKeys", LogicalName: "BranchKeys", KeyARN: keyARN})
//	...
//	provider, err := hierarchical.New(store, hierarchical.Options{
//		BranchKeyID: "orders",
//		MaxAge:      10 * time.Minute,
//	})
//	...
//	defer provider.Purge() // clears the branch keys from memory
//
// Package keystore has the store that all AWS Encryption SDKs share: a DynamoDB
// table of branch keys that AWS KMS encrypts. Its package doc says how to create
// the table and the keys, and which permissions programs need. Messages can be
// exchanged with any AWS Encryption SDK that uses the same table. This package
// calls neither DynamoDB nor KMS and links no AWS package.
//
// # When to use it
//
// It suits services with very many small messages, or with a key for each of
// many tenants. KMS checks and logs each use of a branch key that the store
// reads, not each message. If there are only a few messages each second, package kms
// is simpler: there KMS checks and logs every message. A cache over that
// (keyprovider.NewCache) also saves calls, but messages then share data keys, and
// only those with the same encryption context do.
//
// # What to know
//
// A branch key can be rotated at any time. Messages name the version that wrapped
// their data key, so old messages stay readable. A new version is used for new
// messages once the cached one has expired, at most Options.MaxAge later.
//
// A permission that was withdrawn works until MaxAge is over. Ten minutes is a
// usual value.
//
// Whoever can use a branch key can both wrap and unwrap with it, so a signature
// proves nothing about who wrote a message. Write with
// suite.AES256GCMHKDFSHA512CommitKey, which does not sign and is much faster for
// small messages.
//
// A message chooses among the versions of its branch key, and each version that
// is not cached costs a call to the store. Set esdk.Client.MaxEncryptedDataKeys
// for untrusted messages.
//
// # Surviving the loss of a Region
//
// While a branch key is cached, no message needs the store. In Options.GracePeriod one
// message at a time asks the store, and if that fails, all messages use the cached branch
// key until MaxAge. So an outage that is shorter than the GracePeriod fails no message
// whose branch key is cached. For example, with a MaxAge of an hour and a GracePeriod of
// 50 minutes, a branch key that is in use is read every ten minutes and lasts for 50
// minutes of an outage. After a rotation, the earlier version is used for ten minutes, or
// for an hour in an outage.
//
// Branch keys that are not cached, such as those of tenants that are seldom seen and those
// of old messages, and programs that start, need the store. For these, let the table be a
// DynamoDB global table and the KMS key a multi-Region key, with a replica of both in each
// Region. In each Region, run the program with a keystore.Store whose Options.KeyARN is the
// replica of that Region, with Options.MultiRegion, and with clients for that Region. Each
// program then depends on its own Region alone, and reads what programs in other Regions
// wrote. Create and rotate branch keys in one Region: see "Global tables" of package
// keystore.
//
// A program that must go on when its own Region is lost needs the store of another Region
// too. Give the provider a Store of your own that asks the second store if the first one
// fails, as in the example of [Store]. Set keystore.Options.Timeout to a second or two, so
// that it turns to the second store soon.
//
// Without a global table and a multi-Region key, use a table, a KMS key and a branch key of
// its own in each Region: one provider for each, in a keyprovider.Multi under a
// keyprovider.Quorum with Min 2. Every message is then wrapped under the branch keys of two
// Regions at least. Decryption asks the providers in the order of the Multi, so a message
// waits for the first store until its Timeout if that is down and has not cached the key.
//
// The package follows the specification's [aws-kms-hierarchical-keyring].
//
// [aws-kms-hierarchical-keyring]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/aws-kms/aws-kms-hierarchical-keyring.md
package hierarchical

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/esdk-go/esdk/internal/cache"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/uuid"
)

// Options are the settings of a [Provider]. MaxAge is required, and exactly one
// of BranchKeyID and BranchKeyIDFor.
type Options struct {
	// BranchKeyID is the ID of the branch key of all messages: 1 to 65,535
	// bytes of UTF-8.
	BranchKeyID string
	// BranchKeyIDFor returns the ID of a message's branch key, chosen by its
	// encryption context, such as one for each tenant. It is called on
	// encryption and again on decryption, and must return the same ID for the
	// same pairs.
	//
	// On decryption nothing in the map is authentic yet: it holds the pairs
	// stored in the message and those of DecryptOptions.EncryptionContext. In
	// both cases the map can hold pairs whose keys begin with "aws-crypto-".
	// The map is a copy. BranchKeyIDFor may be called concurrently.
	BranchKeyIDFor func(ctx context.Context, encryptionContext map[string]string) (string, error)
	// MaxAge is how long a branch key is used after the store returned it. It
	// must be positive and has no default.
	MaxAge time.Duration
	// GracePeriod is the last part of MaxAge. In it one message asks the store for the
	// branch key again while the others use the cached one, so that none of these waits
	// when it expires. If the store fails, that message uses the cached one too, even if
	// it expired meanwhile, and another message asks a tenth of GracePeriod later. It
	// must be less than MaxAge. Zero means 10 seconds, or a tenth of MaxAge if that is
	// less; negative means none. The longer it is, the longer an outage of the store
	// goes unnoticed.
	GracePeriod time.Duration
	// MaxFlight is how long a call to the store holds up other messages that need the
	// same branch key. After that, later messages and those that wait for the call make
	// a new one. Zero means 15 seconds; negative means that they wait until the call
	// returns or their own ctx is done. If the call returns later, the message that made
	// it still gets the branch key; MaxAge then counts from when MaxFlight was over.
	MaxFlight time.Duration
	// MaxEntries is how many versions of branch keys are cached. The least
	// recently used one makes room for another. A version that both encrypts and
	// decrypts takes two entries. Zero means 1000. It must be zero if CacheStore
	// is set, which has a size of its own.
	MaxEntries int
	// CacheStore holds the cached branch keys. It can be shared with other
	// providers and with caches of keyprovider.NewCache. Nil means a store of the
	// provider's own.
	CacheStore *keyprovider.CacheStore
	// Partition names the entries of CacheStore that the provider uses. Providers
	// with one CacheStore and equal Partitions use each other's branch keys: see
	// [New]. Empty means a random UUID: nothing is shared.
	Partition string
}

// A Provider protects data keys under branch keys: see [New]. It is a
// [keyprovider.MasterKeyProvider] and its own only [keyprovider.MasterKey], safe
// for concurrent use, and prints without keys.
type Provider struct {
	redacted
	store       Store
	logicalName string
	partition   string
	view        *cache.View
	counts      *counts
	id          string // if it is the same for all messages
	idFor       func(context.Context, map[string]string) (string, error)
}

// counts are the counters that the cache does not keep itself.
type counts struct{ hits, misses, inFlight atomic.Int64 }

// New returns a provider that takes its branch keys from the store. It calls
// nothing but the store's LogicalName. It fails if store is nil, or if an option
// is missing, out of range, or contradicts another.
//
// Encryption uses the branch key's active version, decryption the version that
// the message names.
//
// If several messages need a branch key that is not cached, one of them (the
// leader) asks the store, with its own ctx, and the others wait, each until its
// own ctx is done. If the leader's ctx ends, a waiter asks the store instead.
// Any other error goes to all waiters and is not cached. The error of a waiter says
// that it waited, and for which branch key. A call that takes longer than MaxFlight
// holds nobody else up: one of its waiters then makes a second call, and the others
// wait for that for at most MaxFlight. After that each makes its own.
//
// Branch keys are cleared from memory when they expire, when they make room for others,
// and by [Provider.Purge].
//
// Providers with one CacheStore and equal Partitions use each other's branch
// keys of the same ID, if the logical names of their stores are equal. What one
// of them has read, the others use without any permission of their own. The shortest
// MaxAge of all providers that have used a cached branch key holds for all of them.
// Two different stores must never have the same logical name.
func New(store Store, opts Options) (*Provider, error) {
	switch {
	case provider.IsNil(store):
		return nil, errors.New("hierarchical: nil Store")
	case (opts.BranchKeyID == "") == (opts.BranchKeyIDFor == nil):
		return nil, errors.New("hierarchical: exactly one of BranchKeyID and BranchKeyIDFor must be set")
	case opts.MaxAge <= 0:
		return nil, fmt.Errorf("hierarchical: MaxAge %v is not positive", opts.MaxAge)
	case opts.GracePeriod >= opts.MaxAge:
		return nil, fmt.Errorf("hierarchical: GracePeriod %v is not less than MaxAge %v", opts.GracePeriod, opts.MaxAge)
	case opts.MaxEntries < 0:
		return nil, fmt.Errorf("hierarchical: negative MaxEntries: %d", opts.MaxEntries)
	case opts.MaxEntries > 0 && opts.CacheStore != nil:
		return nil, errors.New("hierarchical: both MaxEntries and CacheStore are set; the CacheStore has a size of its own")
	case opts.CacheStore != nil && !(*cache.Store)(opts.CacheStore).Valid():
		return nil, errors.New("hierarchical: the CacheStore was not made by keyprovider.NewCacheStore")
	}
	if opts.BranchKeyID != "" {
		if err := checkID(opts.BranchKeyID); err != nil {
			return nil, fmt.Errorf("hierarchical: %w", err)
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
	text := provider.Redact("hierarchical provider of branch key %.200q", opts.BranchKeyID)
	if opts.BranchKeyID == "" {
		text = provider.Redact("hierarchical provider of branch keys chosen by the encryption context")
	}
	grace, interval := cache.GracePeriod(opts.GracePeriod, opts.MaxAge)
	return &Provider{
		redacted:    text,
		store:       store,
		logicalName: store.LogicalName(),
		partition:   opts.Partition,
		counts:      &counts{},
		id:          opts.BranchKeyID,
		idFor:       opts.BranchKeyIDFor,
		view: (*cache.Store)(opts.CacheStore).View(cache.Options{
			Partition: opts.Partition,
			MaxAge:    opts.MaxAge,
			Grace:     grace,
			Interval:  interval,
			MaxFlight: opts.MaxFlight,
		}),
	}, nil
}

// checkID reports whether messages can name the branch key.
func checkID(id string) error {
	const most = 1<<16 - 1
	switch {
	case id == "":
		return errors.New("empty branch key ID")
	case !utf8.ValidString(id):
		return fmt.Errorf("branch key ID %.200q is not UTF-8", id)
	case len(id) > most:
		return fmt.Errorf("branch key ID of %d bytes; at most %d", len(id), most)
	}
	return nil
}

// Purge removes the branch keys of the provider's partition from the cache and
// clears them; in a shared CacheStore it removes all entries of that partition,
// data keys included. Calls that are in flight return as they would, but their
// results are not cached. The provider stays usable.
func (p *Provider) Purge() {
	if p.view != nil {
		p.view.Purge()
	}
}

// Stats count what a [Provider] did since it was made. Each use of a branch key
// that did not fail is one hit or one miss.
type Stats struct {
	Hits            int64 // uses without a call to the store, those that waited for another's call included
	Misses          int64 // calls to the store, failed ones included
	InFlight        int   // calls to the store that have not returned yet
	RefreshFailures int64 // misses that failed in the grace period; the cached branch key was used
	Entries         int   // branch keys in the cache now; in a shared CacheStore, those that this provider put there
	Evictions       int64 // branch keys that were removed to make room for others
	Expirations     int64 // branch keys that were removed at MaxAge
}

// Stats returns the counts so far. It is cheap enough to be called whenever
// metrics are collected.
func (p *Provider) Stats() Stats {
	if p.view == nil {
		return Stats{}
	}
	s := p.view.Stats()
	return Stats{
		Hits:            p.counts.hits.Load(),
		Misses:          p.counts.misses.Load(),
		InFlight:        int(p.counts.inFlight.Load()),
		RefreshFailures: s.RefreshFailures,
		Entries:         s.Entries,
		Evictions:       s.Evictions,
		Expirations:     s.Expirations,
	}
}
