package keystore_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/keystore"
)

// collected returns what the iterator yields, by the version.
func collected(t *testing.T, seq iter.Seq2[keystore.KeyInfo, error]) map[string]keystore.KeyInfo {
	t.Helper()
	all := make(map[string]keystore.KeyInfo)
	for info, err := range seq {
		require.NoError(t, err)
		require.NotContains(t, all, info.Version)
		all[info.Version] = info
	}
	return all
}

func TestKeysAndVersionsListWhatTheTableHas(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		s := e.created(t)
		require.Empty(t, collected(t, s.Keys(t.Context())))
		began := time.Now().UTC().Truncate(time.Microsecond)
		ec := map[string]string{"tenant": "größe 1"}
		wantKeys := make(map[string]keystore.KeyInfo)
		versions := make(map[string][]string) // by ID, the active one last
		for range 3 {
			id := createKey(t, s, ec)
			for range len(versions) { // no, one or two rotations
				versions[id] = append(versions[id], activeVersion(t, s, id))
				require.NoError(t, s.RotateKey(t.Context(), id))
			}
			active := activeVersion(t, s, id)
			versions[id] = append(versions[id], active)
			wantKeys[active] = keystore.KeyInfo{ID: id, Version: active, Active: true, KMSKeyARN: e.key, EncryptionContext: ec}
		}
		check := func(want, got keystore.KeyInfo) {
			t.Helper()
			require.WithinRange(t, got.Created, began, time.Now())
			got.Created = time.Time{}
			require.Equal(t, want, got)
		}
		for _, page := range []int{0, 1, 2, 3} {
			if e.fake != nil {
				e.fake.page = page
			} else if page > 0 {
				break
			}
			e.kms.ResetCalls()
			keys := collected(t, s.Keys(t.Context()))
			require.Len(t, keys, 3)
			for version, info := range keys {
				check(wantKeys[version], info)
			}
			for id, want := range versions {
				got := collected(t, s.Versions(t.Context(), id))
				require.Len(t, got, len(want))
				for i, version := range want {
					active := i == len(want)-1
					check(keystore.KeyInfo{ID: id, Version: version, Active: active, KMSKeyARN: e.key, EncryptionContext: ec}, got[version])
				}
			}
			require.Empty(t, e.kms.Calls())
		}
		for range 2 { // each iteration starts anew
			seq := s.Versions(t.Context(), "none")
			for info, err := range seq {
				require.ErrorIs(t, err, hierarchical.ErrBranchKeyNotFound)
				require.Equal(t, keystore.KeyInfo{ID: "none"}, info)
				require.ErrorContains(t, err, "branch key table "+e.table+`: Versions of "none": `)
			}
		}
	})
}

// activeVersion returns the branch key's active version.
func activeVersion(t *testing.T, s *keystore.Store, id string) string {
	t.Helper()
	key, err := s.ActiveBranchKey(t.Context(), id)
	require.NoError(t, err)
	return key.Version
}

func TestBreakingOffEndsTheReadingOfPages(t *testing.T) {
	e := newEndpoint(t)
	s := e.created(t)
	id := createKey(t, s, nil)
	createKey(t, s, nil)
	require.NoError(t, s.RotateKey(t.Context(), id))
	e.fake.page = 1
	for name, seq := range map[string]iter.Seq2[keystore.KeyInfo, error]{"Keys": s.Keys(t.Context()), "Versions": s.Versions(t.Context(), id)} {
		e.fake.calls = nil
		for info, err := range seq {
			require.NoError(t, err)
			require.NotEmpty(t, info.Version)
			break
		}
		require.NotEmpty(t, e.fake.calls)
		require.Less(t, len(e.fake.calls), 4, "%s: there are more pages", name)
	}
}

// A malformed item is an error of its own, and the others are listed all the same.
func TestMalformedItemsAreListedAsErrors(t *testing.T) {
	e := newEndpoint(t)
	s := e.created(t)
	good, bad := createKey(t, s, nil), createKey(t, s, nil)
	i := e.item(t, bad, "branch:ACTIVE")
	delete(i, "version")
	e.put(t, i)
	var got []string
	failures := 0
	for info, err := range s.Keys(t.Context()) {
		got = append(got, info.ID)
		if err != nil {
			failures++
			require.ErrorIs(t, err, keystore.ErrRecord)
			require.ErrorContains(t, err, `Keys of "`+bad+`": `)
			require.Equal(t, keystore.KeyInfo{ID: bad}, info)
		}
	}
	require.ElementsMatch(t, []string{good, bad}, got)
	require.Equal(t, 1, failures)
	listed := 0
	for info, err := range s.Versions(t.Context(), bad) {
		if err != nil {
			require.ErrorIs(t, err, keystore.ErrRecord)
			continue
		}
		require.False(t, info.Active, "nobody knows")
		listed++
	}
	require.Equal(t, 1, listed)
	for _, err := range s.Keys(t.Context()) { // also after an error
		if err != nil {
			break
		}
	}

	// A time of another form is none.
	i = e.item(t, good, "branch:ACTIVE")
	i["create-time"] = str("yesterday")
	e.put(t, i)
	for info, err := range s.Keys(t.Context()) {
		if info.ID == good {
			require.NoError(t, err)
			require.Zero(t, info.Created)
		}
	}
}

// Which version is active is known as long as the item of the active one names it; else
// there is an error before the versions.
func TestVersionsOfAKeyWhoseActiveItemIsBroken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		breaks func(item) item
		active int
		want   string
	}{
		"malformed":         {func(i item) item { delete(i, "kms-arn"); return i }, 1, "malformed record"},
		"without a version": {func(i item) item { delete(i, "version"); return i }, 0, "malformed record"},
		"missing":           {func(item) item { return nil }, 0, "malformed record: there is no item of type branch:ACTIVE: no version is active"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t)
			s := e.created(t)
			id := createKey(t, s, nil)
			require.NoError(t, s.RotateKey(t.Context(), id))
			active := activeVersion(t, s, id)
			i := e.item(t, id, "branch:ACTIVE")
			e.fake.remove(e.table, i)
			if i = test.breaks(i); i != nil {
				e.put(t, i)
			}
			for _, page := range []int{0, 1} {
				e.fake.page = page
				versions, actives := 0, 0
				failed := false
				for info, err := range s.Versions(t.Context(), id) {
					if err != nil {
						require.Zero(t, versions, "first")
						require.False(t, failed, "once")
						failed = true
						require.ErrorIs(t, err, keystore.ErrRecord)
						require.ErrorContains(t, err, test.want)
						require.Equal(t, keystore.KeyInfo{ID: id}, info)
						continue
					}
					versions++
					if info.Active {
						actives++
						require.Equal(t, active, info.Version)
					}
				}
				require.True(t, failed)
				require.Equal(t, 2, versions)
				require.Equal(t, test.active, actives)
			}
			for _, err := range s.Versions(t.Context(), id) {
				require.Error(t, err)
				break
			}
		})
	}
}

// Pages that go round in a circle end, whatever its length.
func TestPagesThatGoRoundInACircleEnd(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := e.created(t)
	id := createKey(t, s, nil)
	for straight := range 3 {
		for length := 1; length <= 5; length++ {
			c := &circle{fake: e.fake, straight: straight, length: length}
			opts := e.options()
			opts.DynamoDB = c
			s = store(t, opts)
			for name, seq := range map[string]iter.Seq2[keystore.KeyInfo, error]{"Keys": s.Keys(t.Context()), "Versions": s.Versions(t.Context(), id)} {
				c.calls = 0
				var errs []error
				for _, err := range seq {
					errs = append(errs, err)
				}
				require.Len(t, errs, 1, name)
				require.ErrorContains(t, errs[0], "the pages go round in a circle")
				require.LessOrEqual(t, c.calls, 3*(straight+length)+1)
			}
		}
	}
}

// A circle is a DynamoDB whose pages are empty and repeat.
type circle struct {
	*fake
	straight, length int
	calls            int
}

func (c *circle) next() item {
	n := c.calls
	c.calls++
	if n > c.straight {
		n = c.straight + (n-c.straight)%c.length
	}
	return item{"branch-key-id": str(string(rune('a' + n)))}
}

func (c *circle) Scan(context.Context, *dynamodb.ScanInput, ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error) {
	return &dynamodb.ScanOutput{LastEvaluatedKey: c.next()}, nil
}

func (c *circle) Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	return &dynamodb.QueryOutput{LastEvaluatedKey: c.next()}, nil
}

func TestErrorsEndTheList(t *testing.T) {
	e := newEndpoint(t)
	s := e.created(t)
	id := createKey(t, s, nil)
	e.fake.page = 1
	list := func(ctx context.Context, s *keystore.Store) (all [2][]error) {
		for _, err := range s.Keys(ctx) {
			all[0] = append(all[0], err)
		}
		for _, err := range s.Versions(ctx, id) {
			all[1] = append(all[1], err)
		}
		return all
	}
	check := func(errs [2][]error, is error, want string) {
		t.Helper()
		for _, errs := range errs {
			require.Len(t, errs, 1)
			var failure *keystore.Error
			require.ErrorAs(t, errs[0], &failure)
			require.Equal(t, e.table, failure.Table)
			require.ErrorContains(t, errs[0], want)
			if is != nil {
				require.ErrorIs(t, errs[0], is)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check(list(ctx, s), context.Canceled, "")

	opts := e.options()
	opts.Timeout = 20 * time.Millisecond
	opts.DynamoDB = &silentLists{fake: e.fake}
	check(list(t.Context(), store(t, opts)), context.DeadlineExceeded, "timed out after 20ms")

	opts.DynamoDB = struct{ keystore.DynamoDBAPI }{e.fake}
	check(list(t.Context(), store(t, opts)), nil, "has no method ")

	broken := errors.New("broken")
	calls := 0
	e.fake.before = func(any) error {
		if calls++; calls > 2 {
			return broken
		}
		return nil
	}
	for _, seq := range []iter.Seq2[keystore.KeyInfo, error]{s.Keys(t.Context()), s.Versions(t.Context(), id)} {
		calls = 0
		var errs []error
		for _, err := range seq {
			errs = append(errs, err)
		}
		require.ErrorIs(t, errs[len(errs)-1], broken, "the third page")
		require.False(t, slices.ContainsFunc(errs[:len(errs)-1], func(err error) bool { return err != nil }))
	}

	e.fake.before = func(any) error { return &types.ResourceNotFoundException{} }
	var missing *types.ResourceNotFoundException
	for _, errs := range list(t.Context(), s) {
		require.Len(t, errs, 1)
		require.ErrorAs(t, errs[0], &missing)
	}
	var zero keystore.Store
	for _, errs := range list(t.Context(), &zero) {
		require.ErrorContains(t, errs[0], "the store was not made by New")
	}
	for _, err := range s.Versions(t.Context(), "") {
		require.ErrorContains(t, err, "the branch key ID is empty")
	}
}

// silentLists is a DynamoDB that answers neither Scan nor Query.
type silentLists struct{ *fake }

func (*silentLists) Scan(ctx context.Context, _ *dynamodb.ScanInput, _ ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (*silentLists) Query(ctx context.Context, _ *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
