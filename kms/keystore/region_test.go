package keystore_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/keystore"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// use returns the ARNs and Regions that KMS was called with, once each.
func use(s *kmstest.Server) (keys, regions []string) {
	seen := make(map[string]bool)
	for _, call := range s.Calls() {
		for _, key := range []string{call.KeyID, call.SourceKeyID} {
			if key != "" && !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
		if !seen[call.Region] {
			seen[call.Region] = true
			regions = append(regions, call.Region)
		}
	}
	return keys, regions
}

func TestReplicasAreOneKeyOnlyWithMultiRegion(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		replicas := e.kms.CreateMultiRegionKey("us-east-1", "eu-west-1")
		e.key = replicas[0]
		id := createKey(t, e.created(t), nil)
		want, err := e.created(t).ActiveBranchKey(t.Context(), id)
		require.NoError(t, err)

		opts := e.options()
		opts.KeyARN = replicas[1]
		strict := store(t, opts)
		opts.MultiRegion = true
		replica := store(t, opts)
		e.kms.ResetCalls()
		_, err = strict.ActiveBranchKey(t.Context(), id)
		require.ErrorContains(t, err, "it is under "+replicas[0]+", a replica of the store's "+replicas[1]+"; Options.MultiRegion would let that decrypt")
		require.ErrorContains(t, strict.RotateKey(t.Context(), id), "Options.MultiRegion would")
		require.Empty(t, e.kms.Calls())

		got, err := replica.ActiveBranchKey(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.NoError(t, replica.RotateKey(t.Context(), id))
		keys, regions := use(e.kms)
		require.Equal(t, []string{replicas[1]}, keys)
		require.Equal(t, []string{"eu-west-1"}, regions)
		for _, i := range e.items(t, id) {
			require.Equal(t, replicas[0], text(i, "kms-arn"), "it stays, so that stores of that key alone go on")
		}
		_, err = e.created(t).ActiveBranchKey(t.Context(), id)
		require.NoError(t, err)
		_, err = e.created(t).BranchKeyVersion(t.Context(), id, want.Version)
		require.NoError(t, err)

		theirs := createKey(t, replica, nil)
		require.Equal(t, replicas[1], text(e.item(t, theirs, "branch:ACTIVE"), "kms-arn"))
		_, err = e.created(t).ActiveBranchKey(t.Context(), theirs)
		require.ErrorContains(t, err, "a replica of the store's")
	})
}

func TestItemsUnderOtherKeysAreRefused(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		id := createKey(t, e.created(t), nil)
		for _, multiRegion := range []bool{false, true} {
			opts := e.options()
			opts.KeyARN, opts.MultiRegion = e.kms.CreateKey("us-east-1"), multiRegion
			s := store(t, opts)
			e.kms.ResetCalls()
			_, err := s.ActiveBranchKey(t.Context(), id)
			require.ErrorContains(t, err, "it is under "+e.key+", not under the store's "+opts.KeyARN)
			require.ErrorContains(t, second(s.BeaconKey(t.Context(), id)), "it is under")
			require.ErrorContains(t, s.RotateKey(t.Context(), id), "it is under")
			require.Empty(t, e.kms.Calls())
		}
		// A key of one Region works in a store of replicas all the same.
		opts := e.options()
		opts.MultiRegion = true
		s := store(t, opts)
		require.NoError(t, s.RotateKey(t.Context(), id))
		_, err := s.ActiveBranchKey(t.Context(), id)
		require.NoError(t, err)
	})
}

func TestDiscoveryReadsWithTheKeysThatItemsName(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		replicas := e.kms.CreateMultiRegionKey("us-east-1", "eu-west-1")
		single := e.key
		one := createKey(t, e.created(t), nil)
		e.key = replicas[0]
		multi := createKey(t, e.created(t), nil)
		e.key = e.kms.CreateKey("eu-west-1")
		there := createKey(t, e.created(t), nil)

		discovery := func(multiRegion bool, region string) *keystore.Store {
			opts := e.options()
			opts.KeyARN, opts.Discovery, opts.MultiRegion, opts.Region = "", true, multiRegion, region
			return store(t, opts)
		}
		for _, test := range []struct {
			s      *keystore.Store
			id     string
			region string
			asked  string
			reads  bool
		}{
			{discovery(false, ""), one, "us-east-1", single, true},
			{discovery(false, "us-east-1"), multi, "us-east-1", replicas[0], true},
			{discovery(false, "us-east-1"), there, "us-east-1", e.key, false},
			{discovery(false, "eu-west-1"), there, "eu-west-1", e.key, true},
			{discovery(false, "eu-west-1"), multi, "eu-west-1", replicas[0], false},
			{discovery(true, "eu-west-1"), multi, "eu-west-1", replicas[1], true},
			{discovery(true, ""), multi, "us-east-1", replicas[0], true},
			{discovery(true, "eu-west-1"), there, "eu-west-1", e.key, true},
			{discovery(true, "eu-west-1"), one, "eu-west-1", single, false},
		} {
			e.kms.ResetCalls()
			active, err := test.s.ActiveBranchKey(t.Context(), test.id)
			keys, regions := use(e.kms)
			require.Equal(t, []string{test.asked}, keys)
			require.Equal(t, []string{test.region}, regions)
			if !test.reads {
				var failure *kms.KeyError
				require.ErrorAs(t, err, &failure)
				require.Equal(t, test.asked, failure.KeyID)
				continue
			}
			require.NoError(t, err)
			_, err = test.s.BranchKeyVersion(t.Context(), test.id, active.Version)
			require.NoError(t, err)
			_, err = test.s.BeaconKey(t.Context(), test.id)
			require.NoError(t, err)
		}
	})
}

// What the doc of Options.Discovery warns of, and KeyARN prevents.
func TestDiscoveryTakesKeysOfAnybody(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		ours := e.created(t)
		e.key = e.kms.CreateKeyIn("999999999999", "us-east-1")
		id := createKey(t, e.created(t), nil)
		opts := e.options()
		opts.KeyARN, opts.Discovery = "", true
		_, err := store(t, opts).ActiveBranchKey(t.Context(), id)
		require.NoError(t, err)
		_, err = ours.ActiveBranchKey(t.Context(), id)
		require.ErrorContains(t, err, "not under the store's")
	})
}

func TestDiscoveryWritesNothing(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		id := createKey(t, e.created(t), nil)
		before := e.items(t, id)
		for _, multiRegion := range []bool{false, true} {
			opts := e.options()
			opts.KeyARN, opts.Discovery, opts.MultiRegion = "", true, multiRegion
			s := store(t, opts)
			e.kms.ResetCalls()
			created, err := s.CreateKey(t.Context(), "", nil)
			require.ErrorIs(t, err, keystore.ErrReadOnly)
			require.Empty(t, created)
			require.ErrorIs(t, s.RotateKey(t.Context(), id), keystore.ErrReadOnly)
			require.Empty(t, e.kms.Calls())
			require.Equal(t, before, e.items(t, id))
			_, err = s.CreateTable(t.Context())
			require.NoError(t, err)
		}
	})
}

func TestDiscoveryRefusesAliases(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		s := e.created(t)
		id := createKey(t, s, nil)
		alias, err := e.kms.CreateAlias("alias/orders", e.key)
		require.NoError(t, err)
		i := e.item(t, id, "branch:ACTIVE")
		i["kms-arn"] = str(alias)
		e.put(t, i)
		opts := e.options()
		opts.KeyARN, opts.Discovery = "", true
		e.kms.ResetCalls()
		_, err = store(t, opts).ActiveBranchKey(t.Context(), id)
		require.ErrorIs(t, err, keystore.ErrRecord)
		require.ErrorContains(t, err, "is the ARN of an alias, not of a key")
		require.Empty(t, e.kms.Calls())
		require.True(t, strings.HasPrefix(alias, "arn:"))
	})
}
