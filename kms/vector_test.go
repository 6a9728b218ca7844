package kms_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
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
		{name: "discovery, other account", provider: discovery(t, filter("aws", "000000000001"), one), calls: none, why: "does not allow the account of " + vectorKey},
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

// Entries of AWS's cores under keys of AWS KMS, one of each kind of keyring and suite,
// are sent to the key that the manifest wants to decrypt with, in its Region, and not
// to another.
func TestVectorDafnyEntriesAreSentToTheirKeys(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	seen := 0
	for _, m := range vectors.DafnyMessages(t) {
		if !m.KMS() {
			continue
		}
		seen++
		k := m.MasterKeys[0]
		h, err := format.ReadHeader(bytes.NewReader(m.Ciphertext), 0)
		require.NoError(t, err)
		require.Len(t, h.EncryptedDataKeys, 1)
		plaintext := bytes.Repeat([]byte{1}, h.Suite.KeySize())
		if k.Type == "aws-kms-rsa" { // there the data key stands behind a digest
			ec, err := format.AppendEncryptionContext(nil, h.EncryptionContext)
			require.NoError(t, err)
			digest := sha512.Sum384(ec)
			plaintext = append(digest[:], plaintext...)
		}
		s.Intercept(func(_ context.Context, call kmstest.Call) *kmstest.Reply {
			return &kmstest.Reply{KeyID: call.KeyID, Plaintext: bytes.Clone(plaintext), EncryptionAlgorithm: call.EncryptionAlgorithm,
				SharedSecret: bytes.Repeat([]byte{1}, 32), KeyAgreementAlgorithm: call.KeyAgreementAlgorithm}
		})
		for _, c := range dafnyCases(t, s, &k, string(h.EncryptedDataKeys[0].ProviderInfo)) {
			s.ResetCalls()
			materials, err := keyprovider.Materials(c.provider).DecryptionMaterials(t.Context(), &keyprovider.DecryptionRequest{
				Suite: h.Suite, CommitmentPolicy: suite.RequireEncryptAllowDecrypt,
				EncryptedDataKeys: h.EncryptedDataKeys, EncryptionContext: h.EncryptionContext,
			})
			calls := s.Calls()
			if c.key == "" {
				require.ErrorIs(t, err, keyprovider.ErrNoMatch, m.Name)
				require.Empty(t, calls, m.Name)
				continue
			}
			require.Len(t, calls, 1, m.Name)
			require.Equal(t, c.key, calls[0].KeyID, m.Name)
			require.Equal(t, regionOf(c.key), calls[0].Region, m.Name)
			if k.Schema != "" {
				require.Equal(t, "DeriveSharedSecret", calls[0].Op)
				if c.other != nil {
					require.Equal(t, c.other, calls[0].PublicKey)
				}
				var failure *keyprovider.DecryptError
				require.ErrorAs(t, err, &failure, "the secret is not the right one")
				require.NotErrorIs(t, err, keyprovider.ErrNoMatch)
				continue
			}
			require.NoError(t, err, m.Name)
			require.Len(t, materials.DataKey, h.Suite.KeySize())
			require.Equal(t, "Decrypt", calls[0].Op)
			require.Equal(t, h.EncryptedDataKeys[0].Ciphertext, calls[0].CiphertextBlob)
			if k.Type == "aws-kms-rsa" {
				require.Equal(t, k.Algorithm, calls[0].EncryptionAlgorithm)
			} else {
				require.Equal(t, len(h.EncryptionContext), len(calls[0].EncryptionContext))
			}
		}
	}
	require.Equal(t, 190, seen)
}

// A dafnyCase is a provider, and the key that it must call; empty: none.
type dafnyCase struct {
	provider keyprovider.MasterKeyProvider
	key      string
	other    []byte // the other party's public key, DER, if that is fixed
}

// dafnyCases returns the provider that the manifest names, and others that differ in
// one thing. stored is the entry's key.
func dafnyCases(t *testing.T, s *kmstest.Server, k *vectors.MasterKey, stored string) []dafnyCase {
	t.Helper()
	one := &kms.Options{Config: s.Config(), Region: k.Region}
	replicas := &kms.Options{Config: s.Config(), Region: k.Region, MultiRegion: true}
	another := strings.TrimSuffix(k.KeyID, "7") + "0"
	switch k.Type {
	case "aws-kms":
		return []dafnyCase{
			{provider: strict(t, one, k.KeyID), key: k.KeyID},
			{provider: strict(t, one, another)},
			{provider: strict(t, one, strings.Replace(k.KeyID, "us-west-2", "eu-west-1", 1))},
		}
	case "aws-kms-mrk-aware":
		cases := []dafnyCase{{provider: strict(t, replicas, k.KeyID), key: k.KeyID}, {provider: strict(t, replicas, another)}}
		if stored != k.KeyID {
			cases = append(cases, dafnyCase{provider: strict(t, one, k.KeyID)})
		}
		return cases
	case "aws-kms-mrk-aware-discovery":
		filter := &kms.DiscoveryFilter{AnyAccount: true}
		if k.Accounts != nil {
			filter = &kms.DiscoveryFilter{Partition: k.Partition, Accounts: k.Accounts}
		}
		there := strings.Replace(stored, regionOf(stored), k.Region, 1)
		return []dafnyCase{
			{provider: discovery(t, filter, replicas), key: there},
			{provider: discovery(t, filter, one), key: stored},
			{provider: discovery(t, &kms.DiscoveryFilter{Partition: "aws", Accounts: []string{kmstest.Account}}, replicas)},
		}
	case "aws-kms-rsa":
		algorithms := map[string]kms.RSAAlgorithm{"RSAES_OAEP_SHA_1": kms.OAEPSHA1, "RSAES_OAEP_SHA_256": kms.OAEPSHA256}
		under := func(arn string) keyprovider.MasterKeyProvider {
			p, err := kms.NewRSA(t.Context(), arn, k.RSAPublic, algorithms[k.Algorithm], one)
			require.NoError(t, err)
			return p
		}
		return []dafnyCase{{provider: under(k.KeyID), key: k.KeyID}, {provider: under(another)}}
	case "aws-kms-ecdh":
		der := func(pub *ecdh.PublicKey) []byte {
			b, err := x509.MarshalPKIXPublicKey(pub)
			require.NoError(t, err)
			return b
		}
		side := func(own, other vectors.Party) dafnyCase {
			opts := &kms.ECDHOptions{Options: *one, PublicKey: own.Public}
			if k.Schema == "discovery" {
				p, err := kms.NewECDHDiscovery(t.Context(), own.ARN, opts)
				require.NoError(t, err)
				return dafnyCase{provider: p, key: own.ARN}
			}
			p, err := kms.NewECDHStatic(t.Context(), own.ARN, other.Public, opts)
			require.NoError(t, err)
			return dafnyCase{provider: p, key: own.ARN, other: der(other.Public)}
		}
		cases := []dafnyCase{side(k.Recipient, k.Sender)}
		// The public key says which messages are for the key.
		stranger, err := k.Recipient.Public.Curve().GenerateKey(rand.Reader)
		require.NoError(t, err)
		none := side(vectors.Party{ARN: k.Recipient.ARN, Public: stranger.PublicKey()}, k.Sender)
		none.key = ""
		if k.Schema == "static" {
			cases = append(cases, side(k.Sender, k.Recipient))
		}
		return append(cases, none)
	}
	t.Fatalf("unknown keyring %s", k.Type)
	return nil
}
