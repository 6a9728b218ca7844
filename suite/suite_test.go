package suite_test

import (
	"crypto"
	"crypto/elliptic"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/suite"
)

// The suites as framework/algorithm-suites.md lists them.
var want = []struct {
	id             suite.ID
	value          uint16
	name           string
	keySize        int
	kdf            crypto.Hash
	committing     bool
	commitKeySize  int
	version        int
	messageIDSize  int
	curve          elliptic.Curve
	signatureHash  crypto.Hash
	signatureBytes int
}{
	{suite.AES128GCM, 0x0014, "ALG_AES_128_GCM_IV12_TAG16_NO_KDF", 16, 0, false, 0, 1, 16, nil, 0, 0},
	{suite.AES192GCM, 0x0046, "ALG_AES_192_GCM_IV12_TAG16_NO_KDF", 24, 0, false, 0, 1, 16, nil, 0, 0},
	{suite.AES256GCM, 0x0078, "ALG_AES_256_GCM_IV12_TAG16_NO_KDF", 32, 0, false, 0, 1, 16, nil, 0, 0},
	{suite.AES128GCMHKDFSHA256, 0x0114, "ALG_AES_128_GCM_IV12_TAG16_HKDF_SHA256", 16, crypto.SHA256, false, 0, 1, 16, nil, 0, 0},
	{suite.AES192GCMHKDFSHA256, 0x0146, "ALG_AES_192_GCM_IV12_TAG16_HKDF_SHA256", 24, crypto.SHA256, false, 0, 1, 16, nil, 0, 0},
	{suite.AES256GCMHKDFSHA256, 0x0178, "ALG_AES_256_GCM_IV12_TAG16_HKDF_SHA256", 32, crypto.SHA256, false, 0, 1, 16, nil, 0, 0},
	{suite.AES128GCMHKDFSHA256ECDSAP256, 0x0214, "ALG_AES_128_GCM_IV12_TAG16_HKDF_SHA256_ECDSA_P256", 16, crypto.SHA256, false, 0, 1, 16, elliptic.P256(), crypto.SHA256, 71},
	{suite.AES192GCMHKDFSHA384ECDSAP384, 0x0346, "ALG_AES_192_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384", 24, crypto.SHA384, false, 0, 1, 16, elliptic.P384(), crypto.SHA384, 103},
	{suite.AES256GCMHKDFSHA384ECDSAP384, 0x0378, "ALG_AES_256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384", 32, crypto.SHA384, false, 0, 1, 16, elliptic.P384(), crypto.SHA384, 103},
	{suite.AES256GCMHKDFSHA512CommitKey, 0x0478, "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY", 32, crypto.SHA512, true, 32, 2, 32, nil, 0, 0},
	{suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, 0x0578, "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384", 32, crypto.SHA512, true, 32, 2, 32, elliptic.P384(), crypto.SHA384, 103},
}

// invalid are IDs that the AWS Encryption SDK does not use: none, those of the
// S3 and the database encryption client, and neighbours of the valid ones.
var invalid = []suite.ID{0, 1, 0x0010, 0x0015, 0x0070, 0x0071, 0x0072, 0x0073, 0x0074, 0x0079, 0x0278, 0x0578 + 1, 0x6700, 0x6701, 0x1400, 0xffff}

func TestEverySuiteHasThePropertiesOfTheSpecification(t *testing.T) {
	require.Len(t, want, 11)
	for _, w := range want {
		t.Run(w.name, func(t *testing.T) {
			require.Equal(t, w.value, uint16(w.id))
			require.True(t, w.id.Valid())
			require.Equal(t, w.name, w.id.String())
			require.Equal(t, w.keySize, w.id.KeySize())
			require.Equal(t, w.kdf, w.id.KDF())
			require.Equal(t, w.committing, w.id.Committing())
			require.Equal(t, w.commitKeySize, w.id.CommitKeySize())
			require.Equal(t, w.version, w.id.MessageVersion())
			require.Equal(t, w.messageIDSize, w.id.MessageIDSize())
			require.Equal(t, w.curve != nil, w.id.Signing())
			require.Equal(t, w.curve, w.id.Curve())
			require.Equal(t, w.signatureHash, w.id.SignatureHash())
			require.Equal(t, w.signatureBytes, w.id.SignatureSize())
		})
	}
}

func TestIVAndTagSizes(t *testing.T) {
	require.Equal(t, 12, suite.IVSize)
	require.Equal(t, 16, suite.TagSize)
}

func TestAllIsEverySuiteInAscendingOrder(t *testing.T) {
	ids := suite.All()
	require.Len(t, ids, len(want))
	require.True(t, slices.IsSorted(ids))
	for i, w := range want {
		require.Equal(t, w.id, ids[i])
	}
}

func TestAllReturnsACopy(t *testing.T) {
	clear(suite.All())
	require.Equal(t, suite.AES128GCM, suite.All()[0])
	require.True(t, suite.AES128GCM.Valid())
}

func TestNoOtherIDIsValid(t *testing.T) {
	valid := 0
	for id := range suite.ID(0xffff) {
		if id.Valid() {
			valid++
			require.Contains(t, suite.All(), id)
		}
	}
	require.Equal(t, 11, valid)
}

func TestInvalidIDsHaveZeroProperties(t *testing.T) {
	for _, id := range invalid {
		require.False(t, id.Valid(), id)
		require.Equal(t, fmt.Sprintf("suite 0x%04x", uint16(id)), id.String())
		require.Zero(t, id.KeySize(), id)
		require.Zero(t, id.KDF(), id)
		require.False(t, id.Committing(), id)
		require.Zero(t, id.CommitKeySize(), id)
		require.Zero(t, id.MessageVersion(), id)
		require.Zero(t, id.MessageIDSize(), id)
		require.False(t, id.Signing(), id)
		require.Nil(t, id.Curve(), id)
		require.Zero(t, id.SignatureHash(), id)
		require.Zero(t, id.SignatureSize(), id)
	}
}

func TestParse(t *testing.T) {
	for _, w := range want {
		short := strings.TrimPrefix(w.name, "ALG_")
		hex := fmt.Sprintf("%04x", w.value)
		for _, s := range []string{
			w.name, strings.ToLower(w.name), short, strings.ToLower(short), "alg_" + short, strings.ToLower(short[:8]) + short[8:],
			hex, strings.ToUpper(hex), "0x" + hex, "0X" + hex,
		} {
			id, err := suite.Parse(s)
			require.NoError(t, err, s)
			require.Equal(t, w.id, id, s)
		}
		id, err := suite.Parse(w.id.String())
		require.NoError(t, err)
		require.Equal(t, w.id, id)
	}
}

func TestParseRefusesEverythingElse(t *testing.T) {
	for _, s := range []string{
		"", " ", "ALG_", "0x", "AES", "ALG_ALG_AES_128_GCM_IV12_TAG16_NO_KDF", "AES_128_GCM_IV12_TAG16_NO_KDF ", " 0014",
		"14", "0x14", "014", "00014", "0x00014", "x0014", "0x0x0014", "+014", "-014", "0_14", "20", "120",
		"0000", "0072", "6701", "ffff", "00FF", "suite 0x0014", "0578h", "0578 ", "AES_128_GCM_IV12_TAG16_NO_KDF\x00",
	} {
		id, err := suite.Parse(s)
		require.Error(t, err, "%q", s)
		require.Contains(t, err.Error(), fmt.Sprintf("%q", s))
		require.Zero(t, id, "%q", s)
	}
}
