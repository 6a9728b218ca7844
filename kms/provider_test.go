package kms_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/keyprovider/providertest"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/suite"
)

// The tests of this file run against every endpoint, see newEndpoint.

func TestProviderKeepsTheContractOfProviders(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	p := strict(t, e.options(), e.createKey(t, "us-east-1"), e.createKey(t, "eu-west-1"))
	t.Run("strict", func(t *testing.T) {
		providertest.Test(t, providertest.Config{Provider: p})
	})
	t.Run("discovery", func(t *testing.T) {
		providertest.Test(t, providertest.Config{Provider: p, Decrypter: discovery(t, nil, e.options())})
	})
}

func TestProviderOfReplicasKeepsTheContractOfProviders(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	arns := e.createMultiRegionKey(t, "us-east-1", "eu-west-1")
	single := e.createKey(t, "ap-south-1")
	there := strict(t, e.multiRegion(""), arns[0], single)
	for name, here := range map[string]keyprovider.MasterKeyProvider{
		"strict":    strict(t, e.multiRegion(""), single, arns[1]),
		"discovery": discovery(t, nil, e.multiRegion("eu-west-1")),
	} {
		t.Run(name, func(t *testing.T) {
			providertest.Test(t, providertest.Config{Provider: there, Decrypter: here})
		})
	}
}

func TestProviderOpensMessagesOfEverySuiteWithAnyOfItsKeys(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	keys := []string{e.createKey(t, "us-east-1"), e.createKey(t, "eu-west-1"), e.createKey(t, "eu-west-1")}
	both := strict(t, e.options(), keys...)
	plaintext := []byte("several Regions, one message")
	for _, id := range suite.All() {
		c := esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt}
		if id.Committing() {
			c.CommitmentPolicy = suite.RequireEncryptRequireDecrypt
		}
		message, header, err := c.Encrypt(t.Context(), plaintext, both, &esdk.EncryptOptions{
			Suite: id, EncryptionContext: map[string]string{"purpose": "test", "größe": "一"},
		})
		require.NoError(t, err, id)
		require.Len(t, header.EncryptedDataKeys, 3)
		for i, key := range keys {
			require.Equal(t, "aws-kms", header.EncryptedDataKeys[i].ProviderID)
			require.Equal(t, key, string(header.EncryptedDataKeys[i].ProviderInfo))
			got, _, err := c.Decrypt(t.Context(), message, strict(t, e.options(), key), nil)
			require.NoError(t, err, id)
			require.Equal(t, plaintext, got)
		}
		got, _, err := c.Decrypt(t.Context(), message, discovery(t, nil, e.options()), nil)
		require.NoError(t, err, id)
		require.Equal(t, plaintext, got)
	}
}

func TestProviderEncryptsUnderAnyIdentifierButDecryptsByKeyARNOnly(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	key := e.createKey(t, "eu-west-1")
	name, alias := e.createAlias(t, key)
	opts := e.options()
	opts.Region = "eu-west-1"
	for _, id := range []string{name, alias, idOf(key)} {
		p := strict(t, opts, id)
		m := encrypt(t, p)
		require.Equal(t, key, string(m.EncryptedDataKeys[0].ProviderInfo), id)
		requireOpens(t, strict(t, e.options(), key), m, 0)

		err := refusal(t, p, m)
		require.ErrorIs(t, err, keyprovider.ErrNoMatch)
		require.ErrorContains(t, err, "only key ARNs decrypt, not "+id)
		require.ErrorContains(t, err, key, "the key that the message is under")
	}
	requireOpens(t, strict(t, opts, name, key), encrypt(t, strict(t, opts, name, alias, key)), 0)
}

func TestProviderOfAnotherKeyDoesNotOpen(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	key, other := e.createKey(t, "us-east-1"), e.createKey(t, "us-east-1")
	m := encrypt(t, strict(t, e.options(), key))
	err := refusal(t, strict(t, e.options(), other), m)
	require.ErrorIs(t, err, keyprovider.ErrNoMatch)
	require.ErrorContains(t, err, key+" is not one of the provider's keys")

	// An entry that names the provider's key but is under another one.
	m.EncryptedDataKeys[0].ProviderInfo = []byte(other)
	err = refusal(t, strict(t, e.options(), other), m)
	require.NotErrorIs(t, err, keyprovider.ErrNoMatch)
	requireCause(t, err, &kms.KeyError{Op: "Decrypt", KeyID: other}, new(smithy.APIError))
	if e.server != nil { // others answer AccessDeniedException
		require.ErrorAs(t, err, new(*types.IncorrectKeyException))
	}
}

// requireCause checks that err wraps a KeyError like want and an AWS error of
// the type that target points to.
func requireCause(t testing.TB, err error, want *kms.KeyError, target any) {
	t.Helper()
	var failure *kms.KeyError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, want.Op, failure.Op)
	require.Equal(t, want.KeyID, failure.KeyID)
	require.ErrorAs(t, failure, target)
	require.ErrorContains(t, err, "KMS "+want.Op+" with "+want.KeyID)
}

func TestProviderBindsTheEncryptionContext(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	key := e.createKey(t, "us-east-1")
	for _, p := range []keyprovider.MasterKeyProvider{strict(t, e.options(), key), discovery(t, nil, e.options())} {
		m := encrypt(t, strict(t, e.options(), key))
		requireOpens(t, p, m, 0)
		m.EncryptionContext = maps.Clone(m.EncryptionContext)
		m.EncryptionContext["tenant"] = "2"
		requireCause(t, refusal(t, p, m), &kms.KeyError{Op: "Decrypt", KeyID: key}, new(*types.InvalidCiphertextException))
	}
}

func TestProviderOfADisabledKeyUsesTheNext(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	keys := []string{e.createKey(t, "us-east-1"), e.createKey(t, "eu-west-1")}
	p := strict(t, e.options(), keys...)
	m := encrypt(t, p)
	e.disableKey(t, keys[0])
	requireOpens(t, p, m, 1)
	requireOpens(t, discovery(t, nil, e.options()), m, 1)

	_, err := keyprovider.Materials(p).EncryptionMaterials(t.Context(), &keyprovider.EncryptionRequest{})
	requireCause(t, err, &kms.KeyError{Op: "GenerateDataKey", KeyID: keys[0]}, new(*types.DisabledException))
	_, err = keyprovider.Materials(strict(t, e.options(), keys[1], keys[0])).EncryptionMaterials(t.Context(), &keyprovider.EncryptionRequest{})
	requireCause(t, err, &kms.KeyError{Op: "Encrypt", KeyID: keys[0]}, new(*types.DisabledException))

	e.disableKey(t, keys[1])
	failure := refusal(t, p, m)
	require.Len(t, failure.Causes, 2, "one for each key")
	for i, cause := range failure.Causes {
		requireCause(t, cause, &kms.KeyError{Op: "Decrypt", KeyID: keys[i]}, new(*types.DisabledException))
		require.ErrorContains(t, cause, fmt.Sprintf("encrypted data key %d", i+1))
	}
}

func TestProviderForAMissingKeyFails(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	missing := e.createKey(t, "us-east-1")
	missing = missing[:len(missing)-12] + "000000000000"
	_, err := keyprovider.Materials(strict(t, e.options(), missing)).EncryptionMaterials(t.Context(), &keyprovider.EncryptionRequest{})
	requireCause(t, err, &kms.KeyError{Op: "GenerateDataKey", KeyID: missing}, new(*types.NotFoundException))
	requireCause(t, refusal(t, discovery(t, nil, e.options()), entries(entryOf(missing))),
		&kms.KeyError{Op: "Decrypt", KeyID: missing}, new(*types.NotFoundException))
}

func TestProviderSkipsMalformedAndForeignEntries(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	key := e.createKey(t, "us-east-1")
	p := strict(t, e.options(), key)
	m := encrypt(t, p)
	good := m.EncryptedDataKeys[0]
	var before []keyprovider.EncryptedDataKey
	for _, info := range []string{"", "not an ARN", key[1:], key + ":", strings.Replace(key, "key/", "alias/", 1), idOf(key), "arn:aws:kms:US_EAST:1:key/a", "\xff"} {
		edk := entryOf(info)
		edk.Ciphertext = good.Ciphertext
		before = append(before, edk)
	}
	for _, id := range []string{"", "aws-kms-hierarchy", "AWS-KMS", "aws-kms ", "raw"} {
		before = append(before, keyprovider.EncryptedDataKey{ProviderID: id, ProviderInfo: good.ProviderInfo, Ciphertext: good.Ciphertext})
	}
	m.EncryptedDataKeys = append(before, good)
	requireOpens(t, p, m, len(before))
	requireOpens(t, discovery(t, nil, e.options()), m, len(before))

	m.EncryptedDataKeys = before
	for _, p := range []keyprovider.MasterKeyProvider{p, discovery(t, nil, e.options())} {
		err := refusal(t, p, m)
		require.ErrorIs(t, err, keyprovider.ErrNoMatch)
		require.ErrorContains(t, err, `encrypted data key 2 ("aws-kms"): skipped: "not an ARN" is not an ARN`)
		require.Len(t, err.Causes, 1+8, "those of other providers give no cause")
	}
}

func TestProviderOfDiscoveryCannotEncrypt(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	p := discovery(t, nil, e.options())
	keys, err := p.MasterKeys(t.Context(), &keyprovider.Request{})
	require.Empty(t, keys)
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
	_, _, err = esdk.Encrypt(t.Context(), nil, p, nil)
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
}

func TestProviderOfDiscoveryIsLimitedByItsFilter(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	key := e.createKey(t, "us-east-1")
	m := encrypt(t, strict(t, e.options(), key))
	account := accountOf(key)
	for _, allowed := range []*kms.DiscoveryFilter{
		{Partition: "aws", Accounts: []string{account}},
		{Partition: "aws", Accounts: []string{"000000000001", account}},
		{Partition: "aws", Accounts: []string{account}, Regions: []string{"eu-west-1", "us-east-1"}},
		{AnyAccount: true},
		{AnyAccount: true, Regions: []string{"eu-west-1", "us-east-1"}},
	} {
		requireOpens(t, discovery(t, allowed, e.options()), m, 0)
	}
	for _, test := range []struct {
		what      string
		forbidden kms.DiscoveryFilter
	}{
		{"partition", kms.DiscoveryFilter{Partition: "aws-cn", Accounts: []string{account}}},
		{"account", kms.DiscoveryFilter{Partition: "aws", Accounts: []string{"000000000001", "000000000002"}}},
		{"Region", kms.DiscoveryFilter{Partition: "aws", Accounts: []string{account}, Regions: []string{"eu-west-1"}}},
		{"Region", kms.DiscoveryFilter{AnyAccount: true, Regions: []string{"eu-west-1"}}},
	} {
		err := refusal(t, discovery(t, &test.forbidden, e.options()), m)
		require.ErrorIs(t, err, keyprovider.ErrNoMatch)
		require.ErrorContains(t, err, "the filter does not allow the "+test.what+" of "+key)
	}
}

func TestProviderOfOneReplicaOpensWhatAnotherEncrypted(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	arns := e.createMultiRegionKey(t, "us-east-1", "eu-west-1")
	require.Equal(t, idOf(arns[0]), idOf(arns[1]))
	m := encrypt(t, strict(t, e.options(), arns[0]))
	requireOpens(t, strict(t, e.multiRegion(""), arns[1]), m, 0)
	requireOpens(t, strict(t, e.multiRegion(""), arns[0]), m, 0)
	requireOpens(t, discovery(t, nil, e.multiRegion("eu-west-1")), m, 0)
	requireOpens(t, discovery(t, nil, e.options()), m, 0)

	err := refusal(t, strict(t, e.options(), arns[1]), m)
	require.ErrorIs(t, err, keyprovider.ErrNoMatch)
	require.ErrorContains(t, err, "Options.MultiRegion would let that decrypt")

	// In a Region without a replica.
	err = refusal(t, discovery(t, nil, e.multiRegion("ap-south-1")), m)
	requireCause(t, err, &kms.KeyError{Op: "Decrypt", KeyID: strings.Replace(arns[0], "us-east-1", "ap-south-1", 1)}, new(*types.NotFoundException))

	// A key of one Region is asked for there by multi-Region discovery.
	single := e.createKey(t, "us-east-1")
	requireOpens(t, discovery(t, nil, e.multiRegion("eu-west-1")), encrypt(t, strict(t, e.options(), single)), 0)
}
