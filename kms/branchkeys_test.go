package kms_test

import (
	"bytes"
	"context"
	"crypto/fips140"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/suite"
)

// branchKeys is a store of branch keys that is far away: its calls are counted,
// take time and can fail or lie.
type branchKeys struct {
	name    string
	latency time.Duration

	mu    sync.Mutex
	keys  map[string][]*kms.BranchKey // by ID, the active version last
	calls []string                    // operation, ID and version
	err   error
	alter func(*kms.BranchKey) *kms.BranchKey // what is returned instead; nil: that
	given []*kms.BranchKey                    // what was returned
}

func newBranchKeys(ids ...string) *branchKeys {
	s := &branchKeys{name: "store", keys: map[string][]*kms.BranchKey{}}
	for _, id := range ids {
		s.rotate(id)
	}
	return s
}

var errNoBranchKey = errors.New("no such branch key")

// text returns the text form of a UUID.
func text(u []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// newVersion returns a random UUID.
func newVersion() string {
	u := make([]byte, 16)
	rand.Read(u)
	return text(u)
}

// rotate makes a new version the active one.
func (s *branchKeys) rotate(id string) (version string) {
	key := &kms.BranchKey{ID: id, Version: newVersion(), Material: make([]byte, 32)}
	rand.Read(key.Material)
	s.add(key)
	return key.Version
}

func (s *branchKeys) add(key *kms.BranchKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[key.ID] = append(s.keys[key.ID], key)
}

func (s *branchKeys) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *branchKeys) LogicalName() string { return s.name }

func (s *branchKeys) ActiveBranchKey(ctx context.Context, id string) (*kms.BranchKey, error) {
	return s.answer(ctx, "active "+id, func() *kms.BranchKey {
		if all := s.keys[id]; len(all) > 0 {
			return all[len(all)-1]
		}
		return nil
	})
}

func (s *branchKeys) BranchKeyVersion(ctx context.Context, id, version string) (*kms.BranchKey, error) {
	return s.answer(ctx, "version "+id+" "+version, func() *kms.BranchKey {
		for _, key := range s.keys[id] {
			if key.Version == version {
				return key
			}
		}
		return nil
	})
}

func (s *branchKeys) answer(ctx context.Context, call string, find func() *kms.BranchKey) (*kms.BranchKey, error) {
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	select {
	case <-time.After(s.latency):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	key := find()
	if key == nil {
		return nil, errNoBranchKey
	}
	own := *key
	own.Material = bytes.Clone(key.Material)
	result := &own
	if s.alter != nil {
		result = s.alter(result)
	}
	s.given = append(s.given, result)
	return result, nil
}

// countCalls returns how often the store was called since the last count.
func (s *branchKeys) countCalls() int { return len(s.takeCalls()) }

func (s *branchKeys) takeCalls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// hierarchical is a provider of the branch key "key" unless opts say otherwise.
func hierarchical(t testing.TB, s kms.BranchKeyStore, opts kms.HierarchicalOptions) *kms.Hierarchical {
	t.Helper()
	if opts.BranchKeyID == "" && opts.BranchKeyIDFor == nil {
		opts.BranchKeyID = "key"
	}
	if opts.MaxAge == 0 {
		opts.MaxAge = time.Hour
	}
	p, err := kms.NewHierarchical(s, opts)
	require.NoError(t, err)
	return p
}

const committing = suite.AES256GCMHKDFSHA512CommitKey

func requestFor(ec map[string]string) *keyprovider.Request {
	return &keyprovider.Request{Suite: committing, EncryptionContext: maps.Clone(ec)}
}

// generated returns a new data key of the provider.
func generated(t testing.TB, p *kms.Hierarchical, ec map[string]string) *keyprovider.DataKey {
	t.Helper()
	key, err := p.GenerateDataKey(t.Context(), requestFor(ec))
	require.NoError(t, err)
	return key
}

// opens checks that the provider gets the data key back.
func opens(t testing.TB, p *kms.Hierarchical, key *keyprovider.DataKey, ec map[string]string) {
	t.Helper()
	got, err := p.DecryptDataKey(t.Context(), requestFor(ec), []keyprovider.EncryptedDataKey{key.Encrypted})
	require.NoError(t, err)
	require.Equal(t, key.Plaintext, got.Plaintext)
}

// refused returns the causes of a failed decryption.
func refused(t testing.TB, p keyprovider.MasterKeyProvider, req *keyprovider.Request, keys ...keyprovider.EncryptedDataKey) *keyprovider.DecryptError {
	t.Helper()
	key, err := p.DecryptDataKey(t.Context(), req, keys)
	require.Nil(t, key)
	var failure *keyprovider.DecryptError
	require.ErrorAs(t, err, &failure)
	return failure
}

// versionOf returns the version of the branch key that the entry names.
func versionOf(edk keyprovider.EncryptedDataKey) string {
	return text(edk.Ciphertext[28:44])
}

// bubble runs f with the clock of testing/synctest.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if fips140.Enabled() {
		t.Skip("crypto/rand in FIPS 140 mode does not work with the clock of testing/synctest")
	}
	synctest.Test(t, f)
}

func sorted(all []string) []string {
	slices.Sort(all)
	return all
}

// printed returns what programs make of v.
func printed(t testing.TB, v any) (all []string) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		all = append(all, fmt.Sprintf(verb, v))
	}
	b, err := json.Marshal(v)
	require.NoError(t, err)
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	return append(all, string(b), out.String())
}
