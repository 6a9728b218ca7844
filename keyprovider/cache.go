package keyprovider

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/esdk-go/esdk/internal/cache"
	"github.com/esdk-go/esdk/internal/provider"
)

// A Cache is a provider that uses data keys for more than one message: see
// [NewCache]. It is a [MaterialsManager], safe for concurrent use. It prints
// without its keys and without the provider.
type Cache struct {
	ManagerOnly
	redacted
	c *caching // a pointer, so that a Cache shows nothing even if its methods are not found
}

// caching is what a Cache is.
type caching struct {
	inner     MaterialsManager
	view      *cache.View
	partition string
	options   CacheOptions

	hits, misses, bypasses, inFlight atomic.Int64
}

// CacheOptions are the settings of a [Cache]. Only MaxAge is required.
type CacheOptions struct {
	// MaxAge is how long a data key is used, from when the provider returned
	// it. It must be positive. A shorter time means that less is encrypted
	// under one key, and that a permission that was withdrawn stops to work
	// sooner; some minutes save most calls.
	MaxAge time.Duration
	// MaxMessages is how many messages are encrypted under a data key, at
	// most 2^32, which zero means too. One means that no data key is used for
	// two messages: then only decryption is cached.
	MaxMessages int64
	// MaxBytes is how many bytes of plaintext are encrypted under a data key.
	// Zero means no limit. If it is set, messages that are longer, and streams
	// that do not say their length (esdk.EncryptOptions.MaxPlaintextLength),
	// have a data key of their own.
	MaxBytes int64
	// MaxEntries is how many data keys are held; the one that was not used
	// for the longest time makes room. Zero means 1000. An entry takes about
	// 2 KiB and what its encryption context needs. It must be zero if there is
	// a Store, which has a size of its own.
	MaxEntries int
	// Partition names the entries in a Store that this cache can use. Caches
	// with the same Store and Partition share them, so they must be over
	// providers that may be exchanged for one another. Empty means a random
	// name that no other cache has.
	Partition string
	// Store holds the entries. Nil means a store that this cache has alone.
	Store *CacheStore
	// GracePeriod is the last part of MaxAge, in which one message gets a new
	// data key from the provider while others go on with the old one, so that
	// none need wait when it expires. If the provider fails, the old one is
	// used on, and a tenth of the GracePeriod later another message tries.
	// Zero means 10 seconds, or a tenth of MaxAge if that is less; negative
	// means none. It must be less than MaxAge.
	GracePeriod time.Duration
}

const maxMessages = 1 << 32

// NewCache returns a provider that gets data keys from p and uses each for
// several messages: a service that encrypts many small records then calls p,
// such as AWS KMS, seldom. p can be any provider or [MaterialsManager].
//
// Messages are encrypted under the same data key if they have the same
// encryption context, required keys included, and ask for the same suite; each
// still has an encryption key of its own, derived from the data key. On
// decryption a data key is found by all that the header says of it and by the
// reproduced encryption context. The pair of signing keys is cached with the
// data key that it belongs to. Put into the encryption context what separates
// messages whose keys should differ, such as the tenant, and nothing that
// differs for each message.
//
// These are never cached: suites without key derivation, messages to which
// MaxBytes does not allow it, and errors. What would exceed a limit gets a new
// data key. The commitment policy, the number of encrypted data keys, the
// required keys and the reproduced context are checked for each message; what
// else the provider or manager decides holds for MaxAge, so a manager that must
// see every message belongs over the cache, not under it.
//
// If several messages need the same data key and it is not there, one makes
// the call to p, with its own ctx, and the others wait, each until its own ctx
// is done. If the call fails because of the ctx it was made with, the next one
// calls; any other error is that of all who waited for it. The Cache itself
// sets no timeout.
//
// Data keys are cleared from memory when they expire, are used up, make room,
// or by [Cache.Purge]. Those handed out are copies.
//
// NewCache fails if p is nil, or if an option is negative that may not be or
// contradicts another.
//
// It follows framework/caching-cmm.md of the specification and, for the grace
// period, framework/storm-tracking-cryptographic-materials-cache.md.
func NewCache(p MasterKeyProvider, opts CacheOptions) (*Cache, error) {
	if provider.IsNil(p) {
		return nil, errors.New("keyprovider: NewCache of a nil provider")
	}
	switch {
	case opts.MaxAge <= 0:
		return nil, fmt.Errorf("keyprovider: NewCache: MaxAge %v is not positive", opts.MaxAge)
	case opts.MaxMessages < 0 || opts.MaxMessages > maxMessages:
		return nil, fmt.Errorf("keyprovider: NewCache: MaxMessages %d is not from 1 to 2^32", opts.MaxMessages)
	case opts.MaxBytes < 0:
		return nil, fmt.Errorf("keyprovider: NewCache: negative MaxBytes: %d", opts.MaxBytes)
	case opts.MaxEntries < 0:
		return nil, fmt.Errorf("keyprovider: NewCache: negative MaxEntries: %d", opts.MaxEntries)
	case opts.MaxEntries > 0 && opts.Store != nil:
		return nil, errors.New("keyprovider: NewCache: MaxEntries for a Store that has its own")
	case opts.Store != nil && !(*cache.Store)(opts.Store).Valid():
		return nil, errors.New("keyprovider: NewCache: the Store was not made by NewCacheStore")
	case opts.GracePeriod >= opts.MaxAge:
		return nil, fmt.Errorf("keyprovider: NewCache: GracePeriod %v is not less than MaxAge %v", opts.GracePeriod, opts.MaxAge)
	}
	if opts.MaxMessages == 0 {
		opts.MaxMessages = maxMessages
	}
	if opts.MaxEntries == 0 {
		opts.MaxEntries = cache.DefaultCapacity
	}
	if opts.Partition == "" {
		opts.Partition = rand.Text()
	}
	if opts.Store == nil {
		opts.Store = NewCacheStore(opts.MaxEntries)
	}
	grace, interval := cache.GracePeriod(opts.GracePeriod, opts.MaxAge)
	c := &caching{
		inner:     Materials(p),
		partition: opts.Partition,
		options:   opts,
		view: (*cache.Store)(opts.Store).View(cache.Options{
			Partition: opts.Partition,
			MaxAge:    opts.MaxAge,
			Grace:     grace,
			Interval:  interval,
			Limit:     cache.Usage{Messages: opts.MaxMessages, Bytes: opts.MaxBytes},
		}),
	}
	return &Cache{redacted: provider.RedactAs(func() string {
		return fmt.Sprintf("data key cache with %d entries", c.view.Stats().Entries)
	}), c: c}, nil
}

// EncryptionMaterials returns materials from the cache, or from the manager
// under it.
func (c Cache) EncryptionMaterials(ctx context.Context, req *EncryptionRequest) (*EncryptionMaterials, error) {
	if err := c.check(ctx, req != nil); err != nil {
		return nil, err
	}
	if req.Suite != 0 && !req.CommitmentPolicy.AllowsEncrypt(req.Suite) {
		return nil, fmt.Errorf("%v does not allow encryption with %v", req.CommitmentPolicy, req.Suite)
	}
	call := &encryptionCall{cache: c.c, req: req}
	if c.c.caches(req) {
		if id, ok := encryptionID(c.c.partition, req); ok {
			key := cache.Key{ID: id, Cost: cache.Usage{Messages: 1, Bytes: max(req.MaxPlaintextLength, 0)}, Variant: req.MaxEncryptedDataKeys}
			if done, err := c.c.get(ctx, key, call); err != nil {
				return nil, err
			} else if done {
				return call.materials, nil
			}
		}
	}
	c.c.bypasses.Add(1)
	return c.c.encryptionMaterials(ctx, req)
}

// DecryptionMaterials returns materials from the cache, or from the manager
// under it.
func (c Cache) DecryptionMaterials(ctx context.Context, req *DecryptionRequest) (*DecryptionMaterials, error) {
	if err := c.check(ctx, req != nil); err != nil {
		return nil, err
	}
	if !req.CommitmentPolicy.AllowsDecrypt(req.Suite) {
		return nil, fmt.Errorf("%v does not allow decryption of %v", req.CommitmentPolicy, req.Suite)
	}
	call := &decryptionCall{cache: c.c, req: req}
	if req.Suite.KDF() != 0 {
		if id, ok := decryptionID(c.c.partition, req); ok {
			if done, err := c.c.get(ctx, cache.Key{ID: id}, call); err != nil {
				return nil, err
			} else if done {
				return call.materials, nil
			}
		}
	}
	c.c.bypasses.Add(1)
	return c.c.decryptionMaterials(ctx, req)
}

// check refuses what there can be no answer to.
func (c Cache) check(ctx context.Context, request bool) error {
	switch {
	case c.c == nil:
		return errors.New("the Cache was not made by NewCache")
	case ctx == nil:
		return errors.New("nil context.Context")
	case !request:
		return errors.New("nil request for materials")
	}
	return ctx.Err()
}

// caches reports whether the request's data key can be used for others.
func (c *caching) caches(req *EncryptionRequest) bool {
	if req.Suite != 0 && req.Suite.KDF() == 0 {
		return false
	}
	limit := c.options.MaxBytes
	return limit == 0 || req.MaxPlaintextLength >= 0 && req.MaxPlaintextLength <= limit
}

// get reports whether the call has its result, from the cache or from the
// manager under it. If not, the manager must be asked, for this call alone.
func (c *caching) get(ctx context.Context, key cache.Key, call cache.Request) (bool, error) {
	outcome, err := c.view.Get(ctx, key, call)
	if err == nil && outcome == cache.Hit {
		c.hits.Add(1)
	}
	return outcome != cache.Alone, err
}

// encryptionMaterials asks the manager under the cache.
func (c *caching) encryptionMaterials(ctx context.Context, req *EncryptionRequest) (*EncryptionMaterials, error) {
	c.inFlight.Add(1)
	defer c.inFlight.Add(-1)
	return encryptionMaterials(ctx, c.inner, req)
}

// decryptionMaterials asks the manager under the cache.
func (c *caching) decryptionMaterials(ctx context.Context, req *DecryptionRequest) (*DecryptionMaterials, error) {
	c.inFlight.Add(1)
	defer c.inFlight.Add(-1)
	return decryptionMaterials(ctx, c.inner, req)
}

// Purge removes the entries of the cache's partition and clears their data
// keys. Calls that are under way end as they would, but what they bring is not
// kept. The Cache stays usable.
func (c Cache) Purge() {
	if c.c != nil {
		c.c.view.Purge()
	}
}

// CacheStats count what a [Cache] did since it was made. Each request for
// materials that did not fail is one hit, miss or bypass.
type CacheStats struct {
	Hits            int64 // requests that made no call to the provider, those that waited for another's included
	Misses          int64 // calls to the provider, failed ones included, for what can be cached
	Bypasses        int64 // calls to the provider, failed ones included, for what cannot
	InFlight        int   // calls to the provider that are under way
	RefreshFailures int64 // misses that failed in the grace period; the old data key was used
	Entries         int   // data keys in the cache now; in a shared store, those that this Cache brought
	Evictions       int64 // data keys that were removed to make room for others
	Expirations     int64 // data keys that were removed at MaxAge or MaxMessages
}

// Stats returns the counts so far. It is cheap enough to be called whenever
// metrics are collected.
func (c Cache) Stats() CacheStats {
	if c.c == nil {
		return CacheStats{}
	}
	s := c.c.view.Stats()
	return CacheStats{
		Hits:            c.c.hits.Load(),
		Misses:          c.c.misses.Load(),
		Bypasses:        c.c.bypasses.Load(),
		InFlight:        int(c.c.inFlight.Load()),
		RefreshFailures: s.RefreshFailures,
		Entries:         s.Entries,
		Evictions:       s.Evictions,
		Expirations:     s.Expirations,
	}
}

// A CacheStore holds the entries of one or more caches, which share its room.
// [NewCacheStore] makes it. It is safe for concurrent use and prints without
// keys.
//
// It follows framework/synchronized-local-cryptographic-materials-cache.md of
// the specification.
type CacheStore cache.Store // so that this module's other caches can convert it

// NewCacheStore returns a store for up to maxEntries data keys. If that is not
// positive it keeps none. Give it to caches by CacheOptions.Store, and to
// hierarchical providers, each of whose branch keys takes the room of a data
// key, by hierarchical.Options.CacheStore.
func NewCacheStore(maxEntries int) *CacheStore { return (*CacheStore)(cache.New(maxEntries)) }

// Purge removes the entries of all caches and clears their data keys. Calls
// that are under way end as they would, but what they bring is not kept.
func (s *CacheStore) Purge() { (*cache.Store)(s).Purge() }
