package kmstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/esdk-go/esdk/kms/hierarchical"
)

// A BranchKeyStore is a [hierarchical.Store] in memory, safe for concurrent use.
type BranchKeyStore struct {
	logicalName string

	mu        sync.Mutex
	keys      map[string]*branchKey // by ID
	intercept func(context.Context, BranchKeyCall) (*hierarchical.BranchKey, error)
	calls     []BranchKeyCall
}

// branchKey is all versions of a branch key.
type branchKey struct {
	active   string
	versions map[string]*hierarchical.BranchKey
}

// NewBranchKeyStore returns an empty store with this logical key store name.
func NewBranchKeyStore(logicalName string) *BranchKeyStore {
	return &BranchKeyStore{logicalName: logicalName, keys: make(map[string]*branchKey)}
}

// LogicalName returns the logical key store name.
func (s *BranchKeyStore) LogicalName() string { return s.logicalName }

// CreateKey creates a branch key of one version and returns its ID, a new UUID. The
// encryption context is bound to the key.
func (s *BranchKeyStore) CreateKey(encryptionContext map[string]string) (id string) {
	id = newUUID()
	s.Add(&hierarchical.BranchKey{ID: id, Version: newUUID(), EncryptionContext: encryptionContext, Material: newMaterial()})
	return id
}

// RotateKey makes a new version of the branch key, makes it the active one, and returns
// it. It panics if there is no such key.
func (s *BranchKeyStore) RotateKey(id string) (version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.keys[id]
	if key == nil {
		panic(fmt.Sprintf("kmstest: there is no branch key %q", id))
	}
	next := clone(key.versions[key.active])
	next.Version, next.Material = newUUID(), newMaterial()
	key.versions[next.Version], key.active = next, next.Version
	return next.Version
}

// Add copies the given version of a branch key into the store and makes it the active one.
// It checks nothing, so that tests can give providers keys that no store should return.
func (s *BranchKeyStore) Add(version *hierarchical.BranchKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.keys[version.ID]
	if key == nil {
		key = &branchKey{versions: make(map[string]*hierarchical.BranchKey)}
		s.keys[version.ID] = key
	}
	key.versions[version.Version], key.active = clone(version), version.Version
}

// ActiveBranchKey returns the version that was created or added last. It fails with [hierarchical.ErrBranchKeyNotFound] if there is no such key.
func (s *BranchKeyStore) ActiveBranchKey(ctx context.Context, id string) (*hierarchical.BranchKey, error) {
	return s.get(ctx, BranchKeyCall{ID: id})
}

// BranchKeyVersion returns a version of the branch key. It fails with
// [hierarchical.ErrBranchKeyNotFound] if there is none.
func (s *BranchKeyStore) BranchKeyVersion(ctx context.Context, id, version string) (*hierarchical.BranchKey, error) {
	return s.get(ctx, BranchKeyCall{id, version})
}

// A BranchKeyCall is a call of ActiveBranchKey or BranchKeyVersion.
type BranchKeyCall struct {
	ID      string
	Version string // empty: the active one
}

// Calls returns the calls made so far, in the order in which they began.
func (s *BranchKeyStore) Calls() []BranchKeyCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// ResetCalls forgets the calls made so far.
func (s *BranchKeyStore) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

// Intercept makes the store call f before it answers a call. If f returns a branch key or
// an error, that is the answer; if it returns nil and nil, the store answers itself. f must
// return a new key each time, because providers clear the keys that they get. f may block,
// and is called concurrently. A nil f ends it.
func (s *BranchKeyStore) Intercept(f func(context.Context, BranchKeyCall) (*hierarchical.BranchKey, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// get answers a call.
func (s *BranchKeyStore) get(ctx context.Context, call BranchKeyCall) (*hierarchical.BranchKey, error) {
	s.mu.Lock()
	s.calls = append(s.calls, call)
	intercept := s.intercept
	s.mu.Unlock()
	if intercept != nil {
		if key, err := intercept(ctx, call); key != nil || err != nil {
			return key, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.keys[call.ID]
	if key == nil {
		return nil, hierarchical.ErrBranchKeyNotFound
	}
	if call.Version == "" {
		call.Version = key.active
	}
	version := key.versions[call.Version]
	if version == nil {
		return nil, fmt.Errorf("version %q of %q: %w", call.Version, call.ID, hierarchical.ErrBranchKeyNotFound)
	}
	return clone(version), nil
}

func clone(k *hierarchical.BranchKey) *hierarchical.BranchKey {
	return &hierarchical.BranchKey{ID: k.ID, Version: k.Version, EncryptionContext: maps.Clone(k.EncryptionContext), Material: bytes.Clone(k.Material)}
}

func newMaterial() []byte {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return b
}
