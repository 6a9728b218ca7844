package hierarchical

import (
	"context"
	"crypto/sha512"
	"fmt"
	"time"

	"github.com/esdk-go/esdk/internal/cache"
	"github.com/esdk-go/esdk/kms/internal/uuid"
)

// A cache entry identifier is a hash of these bytes, the partition, the logical
// key store name, the branch key ID and, for a given version, the version's text,
// with zero bytes between them. See the specification's page, "Appendix A: Cache
// Entry Identifier Formulas".
const (
	activeScope  = "\x02\x00\x01\x00"
	versionScope = "\x02\x00\x02\x00"
)

// branchKeyEntry returns the identifier of the entry for a version of the branch
// key; nil means the active one.
func branchKeyEntry(partition, logicalName, id string, version *uuid.UUID) cache.ID {
	var scratch [512]byte // enough for most
	scope := activeScope
	if version != nil {
		scope = versionScope
	}
	b := append(append(scratch[:0], scope...), partition...)
	b = append(append(b, 0), logicalName...)
	b = append(append(b, 0), id...)
	if version != nil {
		b = version.Append(append(b, 0))
	}
	return cache.ID{Sum: sha512.Sum384(b), Parts: [3]uint32{uint32(len(partition)), uint32(len(logicalName)), uint32(len(id))}}
}

// A branchKey is a version of a branch key, checked.
type branchKey struct {
	version  uuid.UUID
	material [branchKeySize]byte
}

// Clear erases the key. The cache calls it when nothing will use the key again.
func (k *branchKey) Clear() { clear(k.material[:]) }

// MaxAge returns no limit.
func (k *branchKey) MaxAge() time.Duration { return 0 }

// A branchKeyCall is one use of a branch key. It is a [cache.Request].
type branchKeyCall struct {
	p       *Provider
	id      string
	version *uuid.UUID // nil: the active one
	key     branchKey  // the result, a copy of what is cached
}

// Take copies a cached branch key.
func (c *branchKeyCall) Take(v cache.Value) bool {
	cached, ok := v.(*branchKey)
	if !ok || c.version != nil && cached.version != *c.version {
		return false
	}
	c.key = *cached
	return true
}

// Load asks the store. It returns another copy, which the cache keeps.
func (c *branchKeyCall) Load(ctx context.Context) (cache.Value, error) {
	if err := c.load(ctx); err != nil {
		return nil, err
	}
	kept := c.key
	return &kept, nil
}

// What names the branch key in errors.
func (c *branchKeyCall) What() string {
	if c.version == nil {
		return fmt.Sprintf("the active version of branch key %.200q", c.id)
	}
	return fmt.Sprintf("version %v of branch key %.200q", c.version, c.id)
}

// load asks the store for the branch key and copies it into the call.
func (c *branchKeyCall) load(ctx context.Context) error {
	c.p.counts.misses.Add(1)
	c.p.counts.inFlight.Add(1)
	defer c.p.counts.inFlight.Add(-1)
	var key *BranchKey
	var err error
	if c.version == nil {
		key, err = c.p.store.ActiveBranchKey(ctx, c.id)
	} else {
		key, err = c.p.store.BranchKeyVersion(ctx, c.id, c.version.String())
	}
	if key != nil {
		defer clear(key.Material)
	}
	if err != nil {
		return err
	}
	version, err := key.check(c.id, c.version)
	if err != nil {
		return err
	}
	c.key.version = version
	copy(c.key.material[:], key.Material)
	return nil
}

// get brings the branch key into the call, from the cache or the store.
func (c *branchKeyCall) get(ctx context.Context) error {
	entry := branchKeyEntry(c.p.partition, c.p.logicalName, c.id, c.version)
	outcome, err := c.p.view.Get(ctx, cache.Key{ID: entry}, c)
	switch {
	case err != nil:
		return err
	case outcome == cache.Alone:
		return c.load(ctx)
	case outcome == cache.Hit:
		c.p.counts.hits.Add(1)
	}
	return nil
}
