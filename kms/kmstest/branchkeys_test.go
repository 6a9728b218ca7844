package kmstest_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/kmstest"
)

var _ hierarchical.Store = (*kmstest.BranchKeyStore)(nil)

func TestBranchKeysKeepAllTheirVersions(t *testing.T) {
	t.Parallel()
	s := kmstest.NewBranchKeyStore("orders")
	require.Equal(t, "orders", s.LogicalName())
	ec := map[string]string{"tenant": "one"}
	id := s.CreateKey(ec)
	ec["tenant"] = "two"
	first, err := s.ActiveBranchKey(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, id, first.ID)
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, first.Version)
	require.Equal(t, map[string]string{"tenant": "one"}, first.EncryptionContext)
	require.Len(t, first.Material, 32)

	version := s.RotateKey(id)
	second, err := s.ActiveBranchKey(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, version, second.Version)
	require.NotEqual(t, first.Version, second.Version)
	require.NotEqual(t, first.Material, second.Material)
	require.Equal(t, first.EncryptionContext, second.EncryptionContext)

	again, err := s.BranchKeyVersion(t.Context(), id, first.Version)
	require.NoError(t, err)
	require.Equal(t, first, again)
	clear(again.Material)
	again.EncryptionContext["tenant"] = "three"
	untouched, err := s.BranchKeyVersion(t.Context(), id, first.Version)
	require.NoError(t, err)
	require.Equal(t, first, untouched, "each call returns memory of its own")
	require.Equal(t, []kmstest.BranchKeyCall{{ID: id}, {ID: id}, {id, first.Version}, {id, first.Version}}, s.Calls())
	s.ResetCalls()
	require.Empty(t, s.Calls())
}

func TestBranchKeysThatAreNotThereAreNotFound(t *testing.T) {
	t.Parallel()
	s := kmstest.NewBranchKeyStore("orders")
	id := s.CreateKey(nil)
	for _, call := range []kmstest.BranchKeyCall{{ID: "other"}, {id, "other"}, {"other", "other"}} {
		var key *hierarchical.BranchKey
		var err error
		if call.Version == "" {
			key, err = s.ActiveBranchKey(t.Context(), call.ID)
		} else {
			key, err = s.BranchKeyVersion(t.Context(), call.ID, call.Version)
		}
		require.Nil(t, key)
		require.ErrorIs(t, err, hierarchical.ErrBranchKeyNotFound)
	}
	require.Panics(t, func() { s.RotateKey("other") })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.ActiveBranchKey(ctx, id)
	require.ErrorIs(t, err, context.Canceled)
}

func TestBranchKeysCanBeGivenAndCallsIntercepted(t *testing.T) {
	t.Parallel()
	s := kmstest.NewBranchKeyStore("orders")
	given := &hierarchical.BranchKey{ID: "id", Version: "v", Material: []byte("short")}
	s.Add(given)
	given.Material[0] = 'S'
	got, err := s.ActiveBranchKey(t.Context(), "id")
	require.NoError(t, err)
	require.Equal(t, "short", string(got.Material))

	broken := errors.New("broken")
	s.Intercept(func(_ context.Context, call kmstest.BranchKeyCall) (*hierarchical.BranchKey, error) {
		switch call.Version {
		case "":
			return nil, broken
		case "other":
			return given, nil
		}
		return nil, nil
	})
	_, err = s.ActiveBranchKey(t.Context(), "id")
	require.ErrorIs(t, err, broken)
	got, err = s.BranchKeyVersion(t.Context(), "id", "other")
	require.NoError(t, err)
	require.Same(t, given, got)
	got, err = s.BranchKeyVersion(t.Context(), "id", "v")
	require.NoError(t, err)
	require.Equal(t, "short", string(got.Material))
	s.Intercept(nil)
	_, err = s.ActiveBranchKey(t.Context(), "id")
	require.NoError(t, err)
}

func TestBranchKeysCanBeRotatedWhileTheyAreRead(t *testing.T) {
	t.Parallel()
	s := kmstest.NewBranchKeyStore("orders")
	id := s.CreateKey(nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				s.RotateKey(id)
			}
		})
		wg.Go(func() {
			for range 100 {
				active, err := s.ActiveBranchKey(t.Context(), id)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.BranchKeyVersion(t.Context(), id, active.Version); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
