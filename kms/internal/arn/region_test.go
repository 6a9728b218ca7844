package arn

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// All Regions of November 2026, by partition.
var regions = map[string]string{
	"aws": "af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1 ap-southeast-2 " +
		"ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7 ca-central-1 ca-west-1 eu-central-1 eu-central-2 eu-north-1 " +
		"eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3 il-central-1 me-central-1 me-south-1 mx-central-1 sa-east-1 us-east-1 us-east-2 " +
		"us-west-1 us-west-2",
	"aws-cn":     "cn-north-1 cn-northwest-1",
	"aws-us-gov": "us-gov-east-1 us-gov-west-1",
	"aws-iso":    "us-iso-east-1 us-iso-west-1",
	"aws-iso-b":  "us-isob-east-1 us-isob-west-1",
	"aws-iso-e":  "eu-isoe-west-1",
	"aws-iso-f":  "us-isof-east-1 us-isof-south-1",
	"aws-eusc":   "eusc-de-east-1",
}

func TestEveryRegionIsOfItsPartitionAndNoOther(t *testing.T) {
	for partition, names := range regions {
		for region := range strings.FieldsSeq(names) {
			require.Equal(t, partition, PartitionOf(region))
			for other := range regions {
				_, err := ParseKey("arn:" + other + ":kms:" + region + ":111122223333:key/a")
				if other == partition {
					require.NoError(t, err, region)
				} else {
					require.ErrorContains(t, err, "Region "+region+" is of partition "+partition+", not of ")
				}
			}
			_, err := ParseKey("arn:aws-new:kms:" + region + ":111122223333:key/a")
			require.Error(t, err, "a partition that is not known has no Region of another")
		}
	}
}

func TestRegionsOfTheFuture(t *testing.T) {
	require.NoError(t, CheckRegion("aws", "nz-south-12"))
	require.NoError(t, CheckRegion("aws-cn", "cn-south-1"))
	require.NoError(t, CheckRegion("aws-new", "us-new-east-1"))
	require.NoError(t, CheckRegion("aws-new", "newcloud-east-1"))
	for partition := range regions {
		require.Error(t, CheckRegion(partition, "us-new-east-1"), partition)
		require.Error(t, CheckRegion(partition, "newcloud-east-1"), partition)
	}
}

func TestWhatDoesNotLookLikeARegionIsNone(t *testing.T) {
	for _, s := range []string{
		"", "-", "--", "---", "localhost", "local", "us", "us-east", "us-east-", "-east-1", "us--1", "us-east-1-", "-us-east-1", "us-east-1a", "us-1-east",
		"us-east-x", "u-east-1", "US-east-1", "us-east-1.evil.com", "us.east.1", "us_east_1", "us-east-1\n", " us-east-1", "us-éast-1", "hostile-1",
		"us-ea5t-1", "127-0-0-1", "aws-global", "us-east-1/", "us-" + strings.Repeat("a", 60) + "-1",
	} {
		require.False(t, ValidRegion(s), s)
		require.Empty(t, PartitionOf(s), s)
		for _, partition := range []string{"aws", "aws-cn", "aws-new"} {
			require.Error(t, CheckRegion(partition, s), s)
			_, err := Parse("arn:" + partition + ":kms:" + s + ":111122223333:key/a")
			require.Error(t, err, s)
		}
	}
}

func TestAReplicaIsInTheSamePartition(t *testing.T) {
	a, err := Parse(replicaARN)
	require.NoError(t, err)
	b, err := a.Replica("eu-west-1")
	require.NoError(t, err)
	require.Equal(t, strings.Replace(replicaARN, "us-west-2", "eu-west-1", 1), b.String())
	for _, region := range []string{"cn-north-1", "us-gov-west-1", "local", ""} {
		_, err = a.Replica(region)
		require.Error(t, err, region)
	}
}
