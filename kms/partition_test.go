package kms_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
)

// With the partition aws and the account allowed, all of these were called.
func TestDiscoveryCallsNothingOutsideOfThePartition(t *testing.T) {
	m := entries()
	for _, region := range []string{
		"cn-north-1", "us-gov-west-1", "us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1", "eusc-de-east-1", "us-new-east-1",
		"localhost", "-", "local", "hostile-1", "127-0-0-1", "us-east-1-evil",
	} {
		m.EncryptedDataKeys = append(m.EncryptedDataKeys, entryOf(inRegion(key1, region)), entryOf(inRegion(mrk1, region)))
	}
	for _, filter := range []*kms.DiscoveryFilter{{Partition: "aws", Accounts: []string{accountOf(key1)}}, {AnyAccount: true}} {
		for _, region := range []string{"", "eu-west-1"} {
			p := discovery(t, filter, &kms.Options{MultiRegion: region != "", Region: region, ClientFor: func(_ context.Context, region string) (kms.API, error) {
				t.Errorf("a client for Region %s", region)
				return willing, nil
			}})
			err := refusal(t, p, m)
			require.ErrorIs(t, err, keyprovider.ErrNoMatch)
			require.ErrorContains(t, err, "Region cn-north-1 is of partition aws-cn, not of \"aws\"")
			require.Len(t, err.Causes, 1+8+1)
		}
	}
}

// A multi-Region key of another partition has no replica in the Region of the
// program, whoever the filter allows.
func TestMultiRegionDiscoveryLeavesNoPartition(t *testing.T) {
	p := discovery(t, nil, &kms.Options{MultiRegion: true, Region: "eu-west-1", ClientFor: func(_ context.Context, region string) (kms.API, error) {
		t.Errorf("a client for Region %s", region)
		return willing, nil
	}})
	err := refusal(t, p, entries(entryOf("arn:aws-cn:kms:cn-north-1:111122223333:key/mrk-1")))
	require.ErrorIs(t, err, keyprovider.ErrNoMatch)
	require.ErrorContains(t, err, "no replica of arn:aws-cn:kms:cn-north-1:111122223333:key/mrk-1: the Region eu-west-1 is of partition aws, not of \"aws-cn\"")
}
