package hierarchical_test

import (
	"bytes"
	"context"
	"crypto/fips140"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

// branchKeys is a store of branch keys that is far away: its calls take time and
// can fail or lie.
type branchKeys struct {
	*kmstest.BranchKeyStore
	latency time.Duration

	mu    sync.Mutex
	err   error
	alter func(*hierarchical.BranchKey) *hierarchical.BranchKey // what is returned instead; nil: that
	given []*hierarchical.BranchKey                             // what was returned
}

// newBranchKeys returns a store, with the logical name "store", of these keys.
func newBranchKeys(ids ...string) *branchKeys { return newNamedBranchKeys("store", ids...) }

func newNamedBranchKeys(logicalName string, ids ...string) *branchKeys {
	s := &branchKeys{BranchKeyStore: kmstest.NewBranchKeyStore(logicalName)}
	s.Intercept(func(ctx context.Context, _ kmstest.BranchKeyCall) (*hierarchical.BranchKey, error) {
		if s.latency > 0 {
			select {
			case <-time.After(s.latency):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, s.err
	})
	for i, id := range ids {
		key := &hierarchical.BranchKey{ID: id, Version: fmt.Sprintf("%08x-0000-4000-8000-%012x", i, i), Material: make([]byte, 32)}
		rand.Read(key.Material)
		s.Add(key)
	}
	return s
}

// active returns the version of the branch key that encrypts.
func (s *branchKeys) active(id string) string {
	key, err := s.BranchKeyStore.ActiveBranchKey(context.Background(), id)
	if err != nil {
		panic(err)
	}
	return key.Version
}

func (s *branchKeys) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *branchKeys) ActiveBranchKey(ctx context.Context, id string) (*hierarchical.BranchKey, error) {
	return s.altered(s.BranchKeyStore.ActiveBranchKey(ctx, id))
}

func (s *branchKeys) BranchKeyVersion(ctx context.Context, id, version string) (*hierarchical.BranchKey, error) {
	return s.altered(s.BranchKeyStore.BranchKeyVersion(ctx, id, version))
}

func (s *branchKeys) altered(key *hierarchical.BranchKey, err error) (*hierarchical.BranchKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.alter != nil {
		key = s.alter(key)
	}
	s.given = append(s.given, key)
	return key, err
}

// takeCalls returns the calls of the store since it was last asked.
func (s *branchKeys) takeCalls() []kmstest.BranchKeyCall {
	defer s.ResetCalls()
	return s.Calls()
}

// calls of stores, as takeCalls returns them.
func calls(all ...kmstest.BranchKeyCall) []kmstest.BranchKeyCall { return all }

// hierarchical is a provider of the branch key "key" unless opts say otherwise.
func newProvider(t testing.TB, s hierarchical.Store, opts hierarchical.Options) *hierarchical.Provider {
	t.Helper()
	if opts.BranchKeyID == "" && opts.BranchKeyIDFor == nil {
		opts.BranchKeyID = "key"
	}
	if opts.MaxAge == 0 {
		opts.MaxAge = time.Hour
	}
	p, err := hierarchical.New(s, opts)
	require.NoError(t, err)
	return p
}

const committing = suite.AES256GCMHKDFSHA512CommitKey

func requestFor(ec map[string]string) *keyprovider.Request {
	return &keyprovider.Request{Suite: committing, EncryptionContext: maps.Clone(ec)}
}

// generated returns a new data key of the provider.
func generated(t testing.TB, p *hierarchical.Provider, ec map[string]string) *keyprovider.DataKey {
	t.Helper()
	key, err := p.GenerateDataKey(t.Context(), requestFor(ec))
	require.NoError(t, err)
	return key
}

// opens checks that the provider gets the data key back.
func opens(t testing.TB, p *hierarchical.Provider, key *keyprovider.DataKey, ec map[string]string) {
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
	u := edk.Ciphertext[28:44]
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// bubble runs f with the clock of testing/synctest.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if fips140.Enabled() {
		t.Skip("crypto/rand in FIPS 140 mode does not work with the clock of testing/synctest")
	}
	synctest.Test(t, f)
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
