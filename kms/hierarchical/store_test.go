package hierarchical_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// What is wrong with the answer of a store is an error, and not used.
func TestNoStoreIsTrusted(t *testing.T) {
	t.Parallel()
	wrong := map[string]func(*hierarchical.BranchKey) *hierarchical.BranchKey{
		"neither a branch key nor an error": func(*hierarchical.BranchKey) *hierarchical.BranchKey { return nil },
		`another branch key, "key2"`:        func(k *hierarchical.BranchKey) *hierarchical.BranchKey { k.ID = "key2"; return k },
		`another branch key, ""`:            func(k *hierarchical.BranchKey) *hierarchical.BranchKey { k.ID = ""; return k },
		`no UUID in lower case: ""`:         func(k *hierarchical.BranchKey) *hierarchical.BranchKey { k.Version = ""; return k },
		"no UUID in lower case: \"0123": func(k *hierarchical.BranchKey) *hierarchical.BranchKey {
			k.Version = "0123456789ab-cdef-0123-456789abcdef-"
			return k
		},
		"no UUID in lower case: \"ABCDEF": func(k *hierarchical.BranchKey) *hierarchical.BranchKey {
			k.Version = "ABCDEF01-89ab-cdef-0123-456789abcdef"
			return k
		},
		"no UUID in lower case: \"branch:": func(k *hierarchical.BranchKey) *hierarchical.BranchKey {
			k.Version = "branch:version:" + k.Version
			return k
		},
		"no UUID in lower case: \"01234567+": func(k *hierarchical.BranchKey) *hierarchical.BranchKey {
			k.Version = "01234567+89ab-cdef-0123-456789abcdef"
			return k
		},
		"a branch key of 0 bytes, need 32":  func(k *hierarchical.BranchKey) *hierarchical.BranchKey { k.Material = nil; return k },
		"a branch key of 16 bytes, need 32": func(k *hierarchical.BranchKey) *hierarchical.BranchKey { k.Material = k.Material[:16]; return k },
		"a branch key of 33 bytes, need 32": func(k *hierarchical.BranchKey) *hierarchical.BranchKey { k.Material = append(k.Material, 0); return k },
	}
	for want, alter := range wrong {
		t.Run(want, func(t *testing.T) {
			s := newBranchKeys("key")
			p := newProvider(t, s, hierarchical.Options{})
			good := generated(t, p, nil)
			p.Purge()
			s.set(func() { s.alter = alter })
			for range 2 {
				key, err := p.GenerateDataKey(t.Context(), requestFor(nil))
				require.Nil(t, key)
				require.ErrorContains(t, err, `branch key "key": the store returned `)
				require.ErrorContains(t, err, want)
				require.ErrorContains(t, refused(t, p, requestFor(nil), good.Encrypted), want)
			}
			require.Equal(t, 1+4, len(s.takeCalls()), "nothing wrong is cached")
			s.set(func() { s.alter = nil })
			opens(t, p, good, nil)
		})
	}
	t.Run("another version", func(t *testing.T) {
		s := newBranchKeys("key")
		p := newProvider(t, s, hierarchical.Options{})
		good := generated(t, p, nil)
		s.set(func() {
			s.alter = func(k *hierarchical.BranchKey) *hierarchical.BranchKey { k.Version = knownKey.Version; return k }
		})
		require.ErrorContains(t, refused(t, p, requestFor(nil), good.Encrypted), "the store returned another version, "+knownKey.Version)
	})
}

// A store that keeps what it returned, which was cleared, would have data keys
// wrapped under zeros, that is under a key that everybody knows.
func TestProviderRefusesClearedBranchKeys(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("key")
	kept, err := s.BranchKeyStore.ActiveBranchKey(t.Context(), "key")
	require.NoError(t, err)
	s.Intercept(func(context.Context, kmstest.BranchKeyCall) (*hierarchical.BranchKey, error) { return kept, nil })
	p := newProvider(t, s, hierarchical.Options{})
	good := generated(t, p, nil)
	for range 2 {
		p.Purge()
		key, err := p.GenerateDataKey(t.Context(), requestFor(nil))
		require.Nil(t, key)
		require.ErrorContains(t, err, "a branch key of zeros; each call must return memory of its own")
		require.ErrorContains(t, refused(t, p, requestFor(nil), good.Encrypted), "a branch key of zeros")
	}
	s.Intercept(nil)
	opens(t, p, good, nil)
}

// What the store gave is cleared, whether it was good or not.
func TestProviderClearsBranchKeys(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("key")
	p := newProvider(t, s, hierarchical.Options{})
	key := generated(t, p, nil)
	opens(t, p, key, nil)
	p.Purge()
	s.set(func() { s.alter = func(k *hierarchical.BranchKey) *hierarchical.BranchKey { k.ID = "x"; return k } })
	refused(t, p, requestFor(nil), key.Encrypted)
	require.Len(t, s.given, 3)
	for _, given := range s.given {
		require.Equal(t, make([]byte, 32), given.Material)
	}
}

func TestProviderKeepsTheErrorsOfStores(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("key")
	p := newProvider(t, s, hierarchical.Options{})
	good := generated(t, p, nil)
	p.Purge()
	down := errors.New("down")
	s.set(func() { s.err = down })
	key, err := p.GenerateDataKey(t.Context(), requestFor(nil))
	require.Nil(t, key)
	require.ErrorIs(t, err, down)
	require.EqualError(t, err, `branch key "key": down`)
	edk, err := p.EncryptDataKey(t.Context(), requestFor(nil), make([]byte, 32))
	require.ErrorIs(t, err, down)
	require.Equal(t, keyprovider.EncryptedDataKey{}, edk)
	require.ErrorIs(t, refused(t, p, requestFor(nil), good.Encrypted), down)

	done, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.GenerateDataKey(done, requestFor(nil))
	require.ErrorIs(t, err, context.Canceled)
	_, err = p.DecryptDataKey(done, requestFor(nil), []keyprovider.EncryptedDataKey{good.Encrypted})
	require.ErrorIs(t, err, context.Canceled)
	var failure *keyprovider.DecryptError
	require.False(t, errors.As(err, &failure))
}

// A ctx that ends while the store is asked is no fault of the message.
func TestProviderEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("key")
	p := newProvider(t, s, hierarchical.Options{})
	good := generated(t, p, nil)
	ctx, cancel := context.WithCancel(t.Context())
	s.Intercept(func(context.Context, kmstest.BranchKeyCall) (*hierarchical.BranchKey, error) {
		cancel()
		return nil, errors.New("gone")
	})
	key, err := p.DecryptDataKey(ctx, requestFor(nil), []keyprovider.EncryptedDataKey{good.Encrypted})
	require.Nil(t, key)
	require.ErrorIs(t, err, context.Canceled)
	require.NotContains(t, err.Error(), "gone")

	// One that is done opens nothing, also if the branch key is cached.
	s.Intercept(nil)
	opens(t, p, good, nil)
	s.takeCalls()
	key, err = p.DecryptDataKey(ctx, requestFor(nil), []keyprovider.EncryptedDataKey{good.Encrypted})
	require.Nil(t, key)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, s.takeCalls())
}

func TestBranchKeysPrintNowhere(t *testing.T) {
	t.Parallel()
	s := newBranchKeys()
	s.Add(knownKey)
	p := newProvider(t, s, hierarchical.Options{BranchKeyID: "größe"})
	generated(t, p, nil)
	for _, v := range []any{knownKey, *knownKey, p, *p, []hierarchical.BranchKey{*knownKey}, struct{ K any }{*knownKey}, struct{ P any }{p}} {
		for _, out := range printed(t, v) {
			for _, secret := range []string{"0123456789ABCDEF", hex.EncodeToString(knownKey.Material[:8]), "48 49 50 51 52", "48,49,50,51", "MDEyMzQ1Njc4", "0xc0"} {
				require.NotContains(t, out, secret)
			}
		}
	}
	require.Equal(t, "(redacted)", fmt.Sprint(knownKey))
	require.Equal(t, `hierarchical provider of branch key "größe"`, fmt.Sprintf("%x", p))
}
