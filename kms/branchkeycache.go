package kms

import (
	"context"
	"crypto/sha512"

	"github.com/esdk-go/esdk/internal/cache"
	"github.com/esdk-go/esdk/kms/internal/uuid"
)

// The formulas of cache entry identifiers begin with these bytes and go on with
// the partition, the logical key store name, the branch key ID and, for a given
// version, the version's text; zero bytes stand between them.
//
// They follow framework/aws-kms/aws-kms-hierarchical-keyring.md, "Appendix A:
// Cache Entry Identifier Formulas", of the specification.
const (
	activeScope  = "\x02\x00\x01\x00"
	versionScope = "\x02\x00\x02\x00"
)

// branchKeyEntry returns the identifier of the entry for the version of the branch
// key that encrypts now, if version is nil, or for the given one.
func branchKeyEntry(partition, logicalName, id string, version *uuid.UUID) cache.ID {
	var scratch [512]byte // room for most
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

// A branchKey is a branch key as data keys are wrapped under it.
type branchKey struct {
	version  uuid.UUID
	material [branchKeySize]byte
}

// Clear erases the key: what internal/cache calls when nothing will use it.
func (k *branchKey) Clear() { clear(k.material[:]) }

// A branchKeyCall is a request for a branch key: what internal/cache calls a
// request.
type branchKeyCall struct {
	h       *hierarchy
	id      string
	version *uuid.UUID // nil: the one that encrypts now
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

// Load asks the store. Its result is another copy, which is the cache's.
func (c *branchKeyCall) Load(ctx context.Context) (cache.Value, error) {
	if err := c.load(ctx); err != nil {
		return nil, err
	}
	kept := c.key
	return &kept, nil
}

func (c *branchKeyCall) load(ctx context.Context) error {
	var key *BranchKey
	var err error
	if c.version == nil {
		key, err = c.h.store.ActiveBranchKey(ctx, c.id)
	} else {
		key, err = c.h.store.BranchKeyVersion(ctx, c.id, c.version.String())
	}
	if key != nil {
		defer clear(key.Material)
	}
	if err != nil {
		return err
	}
	if c.key.version, err = key.check(c.id, c.version); err != nil {
		return err
	}
	copy(c.key.material[:], key.Material)
	return nil
}

// get brings the branch key into the call, from the cache or the store.
func (c *branchKeyCall) get(ctx context.Context) error {
	entry := branchKeyEntry(c.h.partition, c.h.logicalName, c.id, c.version)
	outcome, err := c.h.view.Get(ctx, cache.Key{ID: entry}, c)
	if err == nil && outcome == cache.Alone {
		err = c.load(ctx)
	}
	return err
}
