package arn

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	singleARN  = "arn:aws:kms:us-east-1:2222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	replicaARN = "arn:aws:kms:us-west-2:2222222222222:key/mrk-4321abcd12ab34cd56ef1234567890ab"
	aliasARN   = "arn:aws:kms:us-west-2:111122223333:alias/mrk-test"
)

func TestValidARNsOfKeysAndAliasesParse(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		singleARN, replicaARN, aliasARN,
		"arn:aws-cn:kms:cn-north-1:1:key/a", "arn:p:kms:the-a-region-1:a:key/with/more/slashes", "arn:p:kms:the-b-region-1:a:alias/a/b",
	} {
		a, err := Parse(s)
		require.NoError(t, err, s)
		require.Equal(t, s, a.String())
	}
	a, err := Parse("arn:p:kms:the-b-region-1:a:key/with/more")
	require.NoError(t, err)
	require.Equal(t, ARN{"p", "the-b-region-1", "a", "key", "with/more"}, a)
}

func TestMalformedARNsFail(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "arn", ":::::", "arn:aws:kms:us-east-1:1", "arn:aws:kms:us-east-1:1:key/a:b", "arn:aws:kms:us-east-1:1:key/a:",
		"ARN:aws:kms:us-east-1:1:key/a", "aws:aws:kms:us-east-1:1:key/a", "arn::kms:us-east-1:1:key/a",
		"arn:aws:s3:us-east-1:1:key/a", "arn:aws:KMS:us-east-1:1:key/a", "arn:aws:kms::1:key/a", "arn:aws:kms:us-east-1::key/a",
		"arn:aws:kms:us-east-1:1:", "arn:aws:kms:us-east-1:1:key", "arn:aws:kms:us-east-1:1:key/", "arn:aws:kms:us-east-1:1:/a",
		"arn:aws:kms:us-east-1:1:keys/a", "arn:aws:kms:us-east-1:1:Key/a", "arn:aws:kms:us-east-1:1:key:a", "arn:aws:kms:us-east-1:1:mrk-a",
		"arn:aws:kms:US-EAST-1:1:key/a", "arn:aws:kms:us.east:1:key/a", "arn:aws:kms:us/east:1:key/a", "arn:aws:kms:us east:1:key/a",
		"arn:aws:kms:" + strings.Repeat("a", 64) + ":1:key/a", "arn:aws:kms:us-east-1:1:key/" + strings.Repeat("a", 2048),
		" " + singleARN, singleARN + " ", singleARN + "\n", singleARN + "\xff", "arn:aws:kms:us-east-1:1:key/\u00e4",
	} {
		_, err := Parse(s)
		require.Error(t, err, s)
		require.Less(t, len(err.Error()), 1500, "hostile text is cut")
	}
	_, err := ParseKey(aliasARN)
	require.ErrorContains(t, err, "alias")
}

func FuzzParseARN(f *testing.F) {
	f.Add(singleARN)
	f.Add(aliasARN)
	f.Add("arn:aws:kms:::key/")
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := Parse(s); err == nil {
			require.Equal(t, s, a.String())
			require.NoError(t, CheckRegion(a.Partition, a.Region))
		}
	})
}
