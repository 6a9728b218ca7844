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

// A Cache is a provider that uses each data key for several messages: see
// [NewCache]. It is a [MaterialsManager], safe for concurrent use. It prints without
// its keys and without the provider under it.
type Cache struct {
	ManagerOnly
	redacted
	c *caching // a pointer, which fmt does not follow in an unexported field
}

// caching is the state of a Cache.
type caching struct {
	inner     MaterialsManager
	view      *cache.View
	partition string
	options   CacheOptions

	hits, misses, bypasses, inFlight atomic.Int64
}

// CacheOptions are the settings of a [Cache]. Only MaxAge is required.
type CacheOptions struct {
	// MaxAge is how long a data key is used, counted from when the provider
	// returned it. It must be positive. With a shorter time less data is encrypted
	// under one key, and a permission that was withdrawn stops working sooner. A few
	// minutes save most calls.
	MaxAge time.Duration
	// MaxMessages is how many messages are encrypted under a data key, 1 to 2^32.
	// Zero means 2^32. With 1 no two messages share a data key, so only decryption
	// is cached.
	MaxMessages int64
	// MaxBytes is how many bytes of plaintext are encrypted under a data key. Zero
	// means no limit. If it is set, longer messages have a data key of their own, as
	// have streams without esdk.EncryptOptions.MaxPlaintextLength.
	MaxBytes int64
	// MaxEntries is how many data keys the cache holds. When it is full, the least
	// recently used one makes room. Zero means 1000. An entry takes about 2 KiB plus
	// its encryption context. MaxEntries must be zero if Store is set, because a
	// store has a size of its own.
	MaxEntries int
	// Partition names the entries of Store that this cache uses. Caches with the same
	// Store and Partition share entries, so one must accept what another's provider
	// returns. Empty means a random name, with which nothing is shared.
	Partition string
	// Store holds the entries. Nil means a store that no other cache uses.
	Store *CacheStore
	// GracePeriod is the last part of MaxAge. In it one message fetches the next data
	// key while the others use the old one, so that none has to wait when that
	// expires. Until a fetch succeeds the old data key stays in use, and another
	// message tries a tenth of GracePeriod later. A message whose fetch fails uses the
	// old data key, even if that expired meanwhile. Zero means 10 seconds, or a tenth of
	// MaxAge if that is less; negative means none. GracePeriod must be less than MaxAge.
	// The longer it is, the longer an outage of the provider goes unnoticed.
	GracePeriod time.Duration
	// MaxFlight is how long a call to the provider holds up other messages that need
	// the same data key. After that, later messages and those that wait for the call
	// make a new one. Zero means 15 seconds; negative means that they wait until the
	// call returns or their own ctx is done. If the call returns later, the message
	// that made it still gets the data key; MaxAge then counts from when MaxFlight was
	// over.
	MaxFlight time.Duration
}

const maxMessages = 1 << 32

// NewCache returns a provider that gets data keys from p and uses each for several
// messages. A service that encrypts many small records then rarely calls p, such as
// AWS KMS. p may be any provider or [MaterialsManager].
//
// Messages share a data key on encryption if they have the same encryption context,
// including required keys, and name the same suite. Each message still has an
// encryption key of its own, derived from the data key; the messages of signing
// suites also share the signing key. On decryption, messages share a data key if
// their headers have the same suite, encrypted data keys and encryption context, and
// the callers give the same pairs. Put into the encryption context what separates
// messages that must not share a key, such as the tenant, and nothing that differs
// for every message.
//
// Not cached are suites without key derivation, messages that MaxBytes excludes, and
// errors. A message that would exceed a limit gets a new data key. The commitment
// policy, the number of encrypted data keys, required keys and reproduced pairs are
// checked for every message. Other decisions of p hold until MaxAge, so a manager
// that must see every message belongs over the cache and not under it.
//
// If several messages need the same missing data key, one of them, the leader,
// calls p with its own ctx. The waiters stop waiting when their own ctx is done. If
// the leader fails because its ctx is done, a waiter takes over; any other error
// goes to all waiters. The error of a waiter says that it waited, and for which data
// key. The cache adds no timeout to the calls, but a call that takes longer than
// MaxFlight holds nobody else up: one of its waiters then makes a second call, and the
// others wait for that for at most MaxFlight. After that each makes its own.
//
// Data keys are cleared from memory when they expire, are used up, make room, or
// are purged ([Cache.Purge]). Messages get copies.
//
// Caches with the same Store and Partition use each other's data keys. All limits of
// all caches that use a data key hold for it: once a cache has used it, the MaxAge,
// MaxMessages and MaxBytes of that cache also hold for the others. A cache with
// MaxBytes does not use a data key under which another cache encrypted a stream of
// unknown length. Give such caches the same limits, as different ones cost calls.
//
// NewCache fails if p is nil; if p is a Cache or [RequireContext] over one, because the
// limits of two caches would multiply; if MaxAge is not positive; or if another option
// is out of range or contradicts one. It cannot see a Cache inside a manager of your
// own, which must not contain one either. If that has the same Store and Partition, a
// message that would wait for itself fails instead. If the manager does not pass on its
// ctx, that message waits for MaxFlight.
//
// It follows [caching-cmm] of the specification; the grace period and the waiting
// follow [storm-tracking-cache].
//
// [caching-cmm]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/caching-cmm.md
// [storm-tracking-cache]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/storm-tracking-cryptographic-materials-cache.md
func NewCache(p MasterKeyProvider, opts CacheOptions) (*Cache, error) {
	if provider.IsNil(p) {
		return nil, errors.New("keyprovider: NewCache of a nil provider")
	}
	if hasCache(p) {
		return nil, errors.New("keyprovider: NewCache of a Cache: one cache is enough, and two multiply their limits")
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
		return nil, errors.New("keyprovider: NewCache: both MaxEntries and Store are set; a Store has a size of its own")
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
			MaxFlight: opts.MaxFlight,
		}),
	}
	return &Cache{redacted: provider.RedactAs(func() string {
		return fmt.Sprintf("data key cache with %d entries", c.view.Stats().Entries)
	}), c: c}, nil
}

// isCache marks a Cache, also one that another type embeds.
func (c Cache) isCache() {}

// hasCache reports whether p is a Cache or over one, as far as that can be seen.
func hasCache(p any) bool {
	switch p := p.(type) {
	case interface{ isCache() }:
		return true
	case *requireContext:
		return hasCache(p.inner)
	}
	return false
}

// EncryptionMaterials returns materials from the cache, or from the provider or
// manager under it.
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
			key := cache.Key{ID: id, Cost: usage(req), Variant: req.MaxEncryptedDataKeys}
			if done, err := c.c.get(ctx, key, call); err != nil {
				call.discard()
				return nil, err
			} else if done {
				return call.result(), nil
			}
		}
	}
	c.c.bypasses.Add(1)
	return c.c.encryptionMaterials(ctx, req)
}

// DecryptionMaterials returns materials from the cache, or from the provider or
// manager under it.
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
				call.discard()
				return nil, err
			} else if done {
				return call.result(), nil
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

// usage returns what a message uses of a data key.
func usage(req *EncryptionRequest) cache.Usage {
	if req.MaxPlaintextLength < 0 {
		return cache.Usage{Messages: 1, Unknown: 1}
	}
	return cache.Usage{Messages: 1, Bytes: req.MaxPlaintextLength}
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

// encryptionMaterials asks the manager under the cache. It returns a copy, so that
// package esdk need not make one of what a Cache returns.
func (c *caching) encryptionMaterials(ctx context.Context, req *EncryptionRequest) (*EncryptionMaterials, error) {
	c.inFlight.Add(1)
	defer c.inFlight.Add(-1)
	m, err := encryptionMaterials(ctx, c.inner, req)
	if err != nil {
		return nil, err
	}
	defer clear(m.DataKey)
	own := m.clone()
	return &own, nil
}

// decryptionMaterials does the same for decryption. The encrypted data keys that it
// gives to the manager are copies, too.
func (c *caching) decryptionMaterials(ctx context.Context, req *DecryptionRequest) (*DecryptionMaterials, error) {
	c.inFlight.Add(1)
	defer c.inFlight.Add(-1)
	lent := *req
	if len(req.EncryptedDataKeys) <= provider.ManyDataKeys { // else package esdk reads its own again
		lent.EncryptedDataKeys = provider.CloneDataKeys(req.EncryptedDataKeys)
	}
	m, err := decryptionMaterials(ctx, c.inner, &lent)
	if err != nil {
		return nil, err
	}
	defer clear(m.DataKey)
	own := m.clone()
	return &own, nil
}

// Purge removes all entries of the cache's partition and clears their data keys.
// Calls in flight return as they would, but their results are not cached. The Cache
// stays usable.
func (c Cache) Purge() {
	if c.c != nil {
		c.c.view.Purge()
	}
}

// CacheStats count what a [Cache] did since it was made. Each request for materials
// that did not fail is one hit, one miss or one bypass.
type CacheStats struct {
	Hits            int64 // requests served without a call of their own, including those that waited for another's call
	Misses          int64 // calls to the provider, failed ones included, whose result can be cached
	Bypasses        int64 // calls to the provider, failed ones included, whose result cannot be cached
	InFlight        int   // calls to the provider that have not returned yet
	RefreshFailures int64 // misses that failed in the grace period; the old data key was used
	Entries         int   // data keys in the cache now; in a shared Store, those that this Cache put there
	Evictions       int64 // data keys that were removed to make room for others
	Expirations     int64 // data keys that were removed at MaxAge or MaxMessages
}

// Stats returns the counts so far. It is cheap enough to be called whenever metrics
// are collected.
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

// A CacheStore holds the entries of several caches, up to a number for all of them
// together. [NewCacheStore] makes it. It is safe for concurrent use and prints
// without keys.
//
// It follows [synchronized-local-cache] of the specification.
//
// [synchronized-local-cache]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/synchronized-local-cryptographic-materials-cache.md
type CacheStore cache.Store

// NewCacheStore returns a store for up to maxEntries data keys. If maxEntries is not
// positive, nothing is cached. Caches use it through CacheOptions.Store, and
// providers of package kms/hierarchical through Options.CacheStore; each of their
// branch keys counts as one entry.
func NewCacheStore(maxEntries int) *CacheStore { return (*CacheStore)(cache.New(maxEntries)) }

// Purge removes the entries of all caches and clears their keys. Calls in flight
// return as they would, but their results are not cached.
func (s *CacheStore) Purge() { (*cache.Store)(s).Purge() }
