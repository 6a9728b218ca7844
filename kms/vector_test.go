package kms_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/vectors"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

// The keys of the published messages. The second was meant for encryption only.
const (
	vectorKey  = "arn:aws:kms:us-west-2:658956600833:key/b3537ef1-d8dc-4780-9f5a-55776cbb2f7f"
	vectorKey2 = "arn:aws:kms:us-west-2:658956600833:key/590fd781-ddde-4036-abec-3e1ab5a5d2ad"
)

// A vectorCase is a provider and what it must do with the published messages,
// whose keys KMS answers for with any data key, or refuses.
type vectorCase struct {
	name     string
	provider keyprovider.MasterKeyProvider
	refused  string // this key KMS refuses
	rename   bool   // the entries name replicas of multi-Region keys
	// calls returns the keys that must be called for entries of the given keys.
	calls func(stored []string) []string
	why   string // within the error, if no entry opens
}

// only returns the calls for those of the keys that are stored, in order of
// the entries, ending with the first that is not refused.
func only(refused string, keys ...string) func([]string) []string {
	return func(stored []string) (calls []string) {
		for _, s := range stored {
			for _, k := range keys {
				if s == k {
					if calls = append(calls, k); k != refused {
						return calls
					}
				}
			}
		}
		return calls
	}
}

func none([]string) []string { return nil }

func multiRegionOf(arn, region string) string {
	arn = strings.Replace(arn, ":key/", ":key/mrk-", 1)
	return strings.Replace(arn, "us-west-2", region, 1)
}

func vectorCases(t *testing.T, s *kmstest.Server) []vectorCase {
	one := &kms.Options{Config: s.Config()}
	everywhere := &kms.Options{Config: s.Config(), MultiRegion: true, Region: "eu-west-1"}
	const account, other = "658956600833", "111122223333"
	filter := func(partition, account string, regions ...string) *kms.DiscoveryFilter {
		return &kms.DiscoveryFilter{Partition: partition, Accounts: []string{other, account}, Regions: regions}
	}
	replica := func(region string) func([]string) []string {
		return func(stored []string) []string { return []string{strings.Replace(stored[0], "us-west-2", region, 1)} }
	}
	elsewhere := strings.Replace(vectorKey, "us-west-2", "eu-west-1", 1)
	return []vectorCase{
		{name: "strict", provider: strict(t, one, vectorKey), calls: only("", vectorKey)},
		{name: "strict, refused", provider: strict(t, one, vectorKey), refused: vectorKey, calls: only(vectorKey, vectorKey), why: "DisabledException"},
		{name: "strict, the second key", provider: strict(t, one, vectorKey2), calls: only("", vectorKey2), why: vectorKey + " is not one of the provider's keys"},
		{name: "strict, both keys", provider: strict(t, one, vectorKey2, vectorKey), calls: only("", vectorKey, vectorKey2)},
		{name: "strict, both keys, the second refused", provider: strict(t, one, vectorKey, vectorKey2), refused: vectorKey2, calls: only(vectorKey2, vectorKey, vectorKey2)},
		{name: "strict, another Region", provider: strict(t, one, elsewhere), calls: none, why: vectorKey + " is not one of the provider's keys"},
		{name: "strict, alias and key ID", provider: strict(t, one, "alias/a", idOf(vectorKey)), calls: none, why: "only key ARNs decrypt, not alias/a, " + idOf(vectorKey)},
		{name: "strict, multi-Region, another Region", provider: strict(t, everywhere, elsewhere), calls: none, why: "is not one of the provider's keys"},
		{name: "strict, multi-Region", provider: strict(t, everywhere, vectorKey), calls: only("", vectorKey)},
		{name: "discovery", provider: discovery(t, nil, one), calls: only("", vectorKey, vectorKey2)},
		{name: "discovery, refused", provider: discovery(t, nil, one), refused: vectorKey, calls: only(vectorKey, vectorKey, vectorKey2), why: "DisabledException"},
		{name: "discovery, account", provider: discovery(t, filter("aws", account), one), calls: only("", vectorKey, vectorKey2)},
		{name: "discovery, Region", provider: discovery(t, filter("aws", account, "us-west-2"), one), calls: only("", vectorKey, vectorKey2)},
		{name: "discovery, other account", provider: discovery(t, filter("aws", account[1:]), one), calls: none, why: "does not allow the account of " + vectorKey},
		{name: "discovery, other partition", provider: discovery(t, filter("aws-cn", account), one), calls: none, why: "does not allow the partition of " + vectorKey},
		{name: "discovery, other Region", provider: discovery(t, filter("aws", account, "eu-west-1"), one), calls: none, why: "does not allow the Region of " + vectorKey},
		{name: "discovery, multi-Region", provider: discovery(t, nil, everywhere), calls: only("", vectorKey, vectorKey2)},

		{name: "replica, strict", rename: true, provider: strict(t, one, multiRegionOf(vectorKey, "eu-west-1")), calls: none, why: "Options.MultiRegion would let that decrypt"},
		{name: "replica, strict, multi-Region", rename: true, provider: strict(t, everywhere, multiRegionOf(vectorKey2, "ap-south-1"), multiRegionOf(vectorKey, "eu-west-1")),
			calls: func(stored []string) []string {
				if strings.HasSuffix(stored[0], idOf(vectorKey)) {
					return []string{multiRegionOf(vectorKey, "eu-west-1")}
				}
				return []string{multiRegionOf(vectorKey2, "ap-south-1")}
			}},
		{name: "replica, discovery", rename: true, provider: discovery(t, nil, one), calls: replica("us-west-2")},
		{name: "replica, discovery, multi-Region", rename: true, provider: discovery(t, filter("aws", account, "eu-west-1"), everywhere), calls: replica("eu-west-1")},
	}
}

// try runs one message through the case.
func (c *vectorCase) try(t *testing.T, s *kmstest.Server, m *vectors.Message) {
	header, err := format.ReadHeader(bytes.NewReader(m.Ciphertext), 0)
	require.NoError(t, err)
	var stored []string
	blobs := make(map[string][]byte) // by key ID
	for i := range header.EncryptedDataKeys {
		edk := &header.EncryptedDataKeys[i]
		if edk.ProviderID != "aws-kms" {
			continue
		}
		info := string(edk.ProviderInfo)
		require.Contains(t, []string{vectorKey, vectorKey2}, info)
		if c.rename {
			info = multiRegionOf(info, "us-west-2")
			edk.ProviderInfo = []byte(info)
		}
		stored = append(stored, info)
		blobs[idOf(info)] = edk.Ciphertext
	}
	require.NotEmpty(t, stored)

	s.ResetCalls()
	s.Intercept(func(_ context.Context, call kmstest.Call) *kmstest.Reply {
		if call.KeyID == c.refused {
			return &kmstest.Reply{Error: "DisabledException"}
		}
		return &kmstest.Reply{KeyID: call.KeyID, Plaintext: bytes.Repeat([]byte{1}, header.Suite.KeySize())}
	})
	materials, err := keyprovider.Materials(c.provider).DecryptionMaterials(t.Context(), &keyprovider.DecryptionRequest{
		Suite: header.Suite, CommitmentPolicy: suite.RequireEncryptAllowDecrypt,
		EncryptedDataKeys: header.EncryptedDataKeys, EncryptionContext: header.EncryptionContext, ReproducedContext: m.EncryptionContext,
	})

	want := c.calls(stored)
	opened := len(want) > 0 && want[len(want)-1] != c.refused
	var called []string
	for _, call := range s.Calls() {
		called = append(called, call.KeyID)
		require.Equal(t, "Decrypt", call.Op)
		require.Equal(t, regionOf(call.KeyID), call.Region)
		require.Equal(t, blobs[idOf(call.KeyID)], call.CiphertextBlob)
		require.Equal(t, header.Suite.Signing(), call.EncryptionContext[format.PublicKeyField] != "")
		if m.EncryptionContext != nil { // the manifest's, beside which there is but the public key
			sent := maps.Clone(call.EncryptionContext)
			delete(sent, format.PublicKeyField)
			require.Equal(t, len(m.EncryptionContext), len(sent))
			for k, v := range m.EncryptionContext {
				require.Equal(t, v, sent[k])
			}
		}
	}
	require.Equal(t, want, called)
	if opened {
		require.NoError(t, err)
		require.Len(t, materials.DataKey, header.Suite.KeySize())
		return
	}
	var failure *keyprovider.DecryptError
	require.ErrorAs(t, err, &failure)
	require.ErrorContains(t, err, c.why)
	require.Equal(t, len(want) == 0, errors.Is(err, keyprovider.ErrNoMatch))
}

func TestVectorEntriesAreChosenSkippedAndReported(t *testing.T) {
	t.Parallel()
	messages := vectors.PythonMessages(t)
	require.Len(t, messages, 360)
	for _, m := range vectors.NetMessages(t) {
		if m.KMS() {
			messages = append(messages, m)
		}
	}
	require.Len(t, messages, 360+33)
	s := newServer(t)
	for _, c := range vectorCases(t, s) {
		t.Run(c.name, func(t *testing.T) {
			for i := range messages {
				c.try(t, s, &messages[i])
				require.False(t, t.Failed(), messages[i].Name)
			}
		})
	}
}
