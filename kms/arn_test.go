package kms

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms/internal/arn"
)

const (
	singleARN  = "arn:aws:kms:us-east-1:2222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	replicaARN = "arn:aws:kms:us-west-2:2222222222222:key/mrk-4321abcd12ab34cd56ef1234567890ab"
	otherARN   = "arn:aws:kms:us-east-1:2222222222222:key/mrk-4321abcd12ab34cd56ef1234567890ab"
	aliasARN   = "arn:aws:kms:us-west-2:111122223333:alias/mrk-test"
)

func TestKeyIdentifiersNameTheirRegion(t *testing.T) {
	t.Parallel()
	for s, region := range map[string]string{
		singleARN: "us-east-1", aliasARN: "us-west-2", "alias/test": "home", "alias/a/b": "home",
		"1234abcd-12ab-34cd-56ef-1234567890ab": "home", "mrk-4321abcd": "home",
	} {
		id, err := parseKeyID(s, "home")
		require.NoError(t, err, s)
		require.Equal(t, region, id.region)
		require.Equal(t, s, id.text)
	}
	for _, s := range []string{"", "alias/", "key/1234", "arn:aws:kms", "a:b", "a b", "a\tb", "alias/a b", "\xff", "alias/\u00e4", strings.Repeat("a", 2049)} {
		_, err := parseKeyID(s, "home")
		require.Error(t, err, s)
	}
	_, err := parseKeyID("alias/test", "")
	require.ErrorContains(t, err, `"alias/test" names no Region`)
}

func TestOnlyKeyIDsThatBeginWithMRKDashAreMultiRegion(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		replicaARN: true, "mrk-4321": true,
		singleARN: false, aliasARN: false, "alias/mrk-test": false, "4321-mrk-": false, "mrk4321": false, "mrk": false,
		"arn:aws:kms:us-east-1:1:key/mrk4321": false, "arn:aws:kms:us-east-1:1:key/a-mrk-1": false,
	} {
		id, err := parseKeyID(s, "home")
		require.NoError(t, err)
		require.Equal(t, want, id.multiRegion(), s)
	}
}

func TestMultiRegionKeysMatchWhateverTheirRegion(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		configured, stored string
		want, wantExact    bool
	}{
		{singleARN, singleARN, true, true},
		{replicaARN, replicaARN, true, true},
		{replicaARN, otherARN, true, false},
		{otherARN, replicaARN, true, false},
		{singleARN, strings.Replace(singleARN, "us-east-1", "us-west-2", 1), false, false},
		{singleARN, otherARN, false, false},
		{replicaARN, strings.Replace(otherARN, "aws:kms:us-east-1", "aws-cn:kms:cn-north-1", 1), false, false},
		{replicaARN, strings.Replace(otherARN, "2222222222222", "1", 1), false, false},
		{replicaARN, otherARN + "0", false, false},
		{"mrk-4321abcd12ab34cd56ef1234567890ab", otherARN, false, false},
		{"1234abcd-12ab-34cd-56ef-1234567890ab", singleARN, false, false},
		{aliasARN, otherARN, false, false},
		{"alias/test", singleARN, false, false},
	} {
		id, err := parseKeyID(test.configured, "us-east-1")
		require.NoError(t, err)
		stored, err := arn.ParseKey(test.stored)
		require.NoError(t, err)
		require.Equal(t, test.want, id.matches(stored, true), "%v", test)
		require.Equal(t, test.wantExact, id.matches(stored, false), "%v", test)
	}
}

func TestUniquenessNamesAllReplicasOfOneKey(t *testing.T) {
	t.Parallel()
	check := func(texts ...string) error {
		var ids []keyID
		for _, s := range texts {
			id, err := parseKeyID(s, "home")
			require.NoError(t, err)
			ids = append(ids, id)
		}
		return checkUnique(ids)
	}
	require.NoError(t, check())
	require.NoError(t, check(singleARN, singleARN), "no multi-Region keys")
	require.NoError(t, check(replicaARN, "mrk-other", singleARN, "alias/mrk-4321abcd12ab34cd56ef1234567890ab"))

	const bare = "mrk-4321abcd12ab34cd56ef1234567890ab"
	err := check(replicaARN, singleARN, otherARN, "mrk-a", bare, "mrk-b", "mrk-a")
	for _, s := range []string{replicaARN, otherARN, bare, "mrk-a"} {
		require.ErrorContains(t, err, s)
	}
	require.NotContains(t, err.Error(), "mrk-b")
	require.NotContains(t, err.Error(), singleARN)
}

// An identifier that is accepted can go to KMS as it is: it names a Region that
// can be part of a host name, has nothing unprintable, and an ARN is what it was
// parsed from. It matches itself and no other key.
func FuzzParseKeyID(f *testing.F) {
	for _, s := range []string{singleARN, replicaARN, otherARN, aliasARN, "arn:aws:kms:::key/", "alias/a", "1234abcd-12ab", "mrk-1", "arn:p:kms:r:a:key/a/b"} {
		f.Add(s, "us-east-1")
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		a, err := arn.Parse(s)
		if err == nil {
			require.Equal(t, s, a.String())
			require.True(t, arn.ValidRegion(a.Region))
			require.True(t, arn.Printable(s))
			again, err := a.Replica(a.Region)
			require.NoError(t, err)
			require.Equal(t, a, again)
		} else {
			require.Zero(t, a)
		}
		key, keyErr := arn.ParseKey(s)
		require.Equal(t, err == nil && a.Kind == "key", keyErr == nil)

		id, idErr := parseKeyID(s, "us-east-1")
		require.False(t, err == nil && idErr != nil, "an ARN is an identifier: %v", idErr)
		if idErr != nil {
			return
		}
		require.Equal(t, s, id.text)
		require.True(t, arn.Printable(s))
		require.True(t, arn.ValidRegion(id.region))
		if keyErr != nil {
			return
		}
		require.True(t, id.matches(key, false))
		require.True(t, id.matches(key, true))
		if b, err := arn.ParseKey(other); err == nil && b != key {
			require.False(t, id.matches(b, false))
			require.Equal(t, key.MultiRegion() && sameBut(b, key.Region) == key, id.matches(b, true))
		}
	})
}

// sameBut returns a with another Region.
func sameBut(a arn.ARN, region string) arn.ARN {
	a.Region = region
	return a
}
