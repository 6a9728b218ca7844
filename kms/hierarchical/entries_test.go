package hierarchical

import (
	"context"
	"crypto/sha512"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/internal/cache"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/uuid"
)

// The identifiers are hashes of bytes that are written out here.
func TestBranchKeyIdentifiersFollowTheFormulas(t *testing.T) {
	t.Parallel()
	version, err := uuid.Parse("01234567-89ab-cdef-0123-456789abcdef")
	require.NoError(t, err)
	for _, test := range []struct {
		partition, name, id string
		version             *uuid.UUID
		hashed              string
		parts               [3]uint32
	}{
		{"partition", "störe", "kéy", nil, "\x02\x00\x01\x00partition\x00st\xC3\xB6re\x00k\xC3\xA9y", [3]uint32{9, 6, 4}},
		{"partition", "störe", "kéy", &version, "\x02\x00\x02\x00partition\x00st\xC3\xB6re\x00k\xC3\xA9y\x0001234567-89ab-cdef-0123-456789abcdef", [3]uint32{9, 6, 4}},
		{"", "", "k", nil, "\x02\x00\x01\x00\x00\x00k", [3]uint32{0, 0, 1}},
		{string(version[:]), "s", "k", nil, "\x02\x00\x01\x00\x01\x23\x45\x67\x89\xAB\xCD\xEF\x01\x23\x45\x67\x89\xAB\xCD\xEF\x00s\x00k", [3]uint32{16, 1, 1}},
	} {
		require.Equal(t, cache.ID{Sum: sha512.Sum384([]byte(test.hashed)), Parts: test.parts}, branchKeyEntry(test.partition, test.name, test.id, test.version))
	}
}

// The formulas do not delimit all their parts: the lengths do.
func TestBranchKeyIdentifiersKeepPartsApart(t *testing.T) {
	t.Parallel()
	var version uuid.UUID
	ids := map[cache.ID]string{}
	for _, parts := range [][3]string{{"a", "b", "c"}, {"a\x00b", "", "c"}, {"a", "b\x00c", ""}, {"", "a\x00b", "c"}, {"a", "", "b\x00c"}, {"a", "b", "c\x00" + version.String()}} {
		for _, v := range []*uuid.UUID{nil, &version} {
			id := branchKeyEntry(parts[0], parts[1], parts[2], v)
			name := fmt.Sprintf("%q %v", parts, v)
			require.NotContains(t, ids, id, "%s and %s", ids[id], name)
			ids[id] = name
		}
	}
	require.Len(t, ids, 12)
}

// The partition is what the caller named, or 16 bytes of a random UUID.
func TestPartitions(t *testing.T) {
	t.Parallel()
	create := func(partition string) *Provider {
		p, err := New(nameOnly{}, Options{BranchKeyID: "key", MaxAge: time.Hour, Partition: partition})
		require.NoError(t, err)
		return p
	}
	require.Equal(t, "größe", create("größe").partition)
	random := map[string]bool{}
	for range 100 {
		partition := create("").partition
		require.Len(t, partition, 16)
		require.EqualValues(t, 4, partition[6]>>4, "the version of the UUID")
		require.EqualValues(t, 2, partition[8]>>6, "its variant")
		random[partition] = true
	}
	require.Len(t, random, 100)
}

type nameOnly struct{ Store }

func (nameOnly) LogicalName() string { return "store" }

// What is not set is what the specification has.
func TestDefaults(t *testing.T) {
	t.Parallel()
	require.Equal(t, 1000, cache.DefaultCapacity)
	for set, want := range map[time.Duration]time.Duration{0: 10 * time.Second, -1: 0, time.Minute: time.Minute} {
		p, err := New(nameOnly{}, Options{BranchKeyID: "key", MaxAge: time.Hour, GracePeriod: set})
		require.NoError(t, err)
		view := (*cache.Store)(keyprovider.NewCacheStore(1)).View(cache.Options{Partition: p.partition, MaxAge: time.Hour, Grace: want, Interval: want / 10})
		require.Equal(t, settings(view), settings(p.view))
	}
}

// settings returns those of a view, without the store and what it counted.
func settings(v *cache.View) string {
	r := reflect.ValueOf(v).Elem()
	var all []any
	for _, name := range []string{"partition", "maxAge", "grace", "interval", "limit"} {
		all = append(all, r.FieldByName(name))
	}
	return fmt.Sprint(all...)
}

func TestCachedBranchKeysAreCleared(t *testing.T) {
	t.Parallel()
	k := &branchKey{material: [branchKeySize]byte{1, 31: 2}}
	call := &branchKeyCall{}
	require.True(t, call.Take(k))
	require.Equal(t, *k, call.key)
	k.Clear()
	require.Equal(t, [branchKeySize]byte{}, k.material)
	require.Equal(t, [branchKeySize]byte{1, 31: 2}, call.key.material, "whoever took it has a copy")
}

// Entries that are no branch keys, or of another version, are not for a call.
func TestBranchKeyCallsTakeOnlyTheirs(t *testing.T) {
	t.Parallel()
	require.False(t, (&branchKeyCall{}).Take(other{}))
	require.False(t, (&branchKeyCall{version: &uuid.UUID{1}}).Take(&branchKey{version: uuid.UUID{2}}))
	require.True(t, (&branchKeyCall{version: &uuid.UUID{1}}).Take(&branchKey{version: uuid.UUID{1}}))
}

type other struct{}

func (other) Clear()                {}
func (other) MaxAge() time.Duration { return 0 }

// If the entry is not for the call, the store is asked: nothing is wrapped
// under a key that was not found.
func TestProviderAsksTheStoreIfTheEntryIsOfAnotherKind(t *testing.T) {
	t.Parallel()
	shared := keyprovider.NewCacheStore(10)
	p, err := New(oneKey{}, Options{BranchKeyID: "key", MaxAge: time.Hour, Partition: "p", CacheStore: shared})
	require.NoError(t, err)
	defer p.Purge()
	view := (*cache.Store)(shared).View(cache.Options{Partition: "p", MaxAge: time.Hour})
	_, err = view.Get(t.Context(), cache.Key{ID: branchKeyEntry("p", "store", "key", nil)}, bringsOther{})
	require.NoError(t, err)
	call := &branchKeyCall{p: p, id: "key"}
	require.NoError(t, call.get(t.Context()))
	require.Equal(t, branchKey{material: [branchKeySize]byte{1}}, call.key)
}

// oneKey is a store of one version of one branch key.
type oneKey struct{ nameOnly }

func (oneKey) ActiveBranchKey(context.Context, string) (*BranchKey, error) {
	return &BranchKey{ID: "key", Version: uuid.UUID{}.String(), Material: append([]byte{1}, make([]byte, branchKeySize-1)...)}, nil
}

// bringsOther is a request whose value is no branch key.
type bringsOther struct{}

func (bringsOther) Take(cache.Value) bool                     { return true }
func (bringsOther) Load(context.Context) (cache.Value, error) { return other{}, nil }
func (bringsOther) What() string                              { return "another" }
