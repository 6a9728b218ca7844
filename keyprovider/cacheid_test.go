package keyprovider

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/internal/cache"
	"github.com/esdk-go/esdk/suite"
)

const testPartition = "c15b9079-6d0e-42b6-8784-5e804b025692"

// The identifiers are those of the specification's formulas (caching-cmm.md,
// Appendix A), which publishes no values; these two were computed apart from
// this package.
func TestCacheIdentifiersFollowTheFormulas(t *testing.T) {
	id, ok := encryptionID(testPartition, &EncryptionRequest{})
	require.True(t, ok)
	require.Equal(t, "a9458b764db543ddf62e2341130afc6693a90d1fcabf31d374de92d15f02b8f3aacf44f0687ef191603544156ea7526c", hex.EncodeToString(id.Sum[:]))

	id, ok = encryptionID(testPartition, &EncryptionRequest{
		Suite:             suite.AES256GCMHKDFSHA512CommitKeyECDSAP384,
		EncryptionContext: map[string]string{"this": "is", "a": "non-empty", "encryption": "context"},
	})
	require.True(t, ok)
	require.Equal(t, "6bc68ab69d233f50096b607edf2c13370f809b72d31930f2cf422249590d6559051d634358bc106ab1152bd09ff85b44", hex.EncodeToString(id.Sum[:]))

	// SHA-384 of 01 00 02 00, "p" 00, 0578 00, the entries "a","b","c" and
	// "a","b","d" 00, {"k":"v"}.
	id, ok = decryptionID("p", &DecryptionRequest{
		Suite:             suite.AES256GCMHKDFSHA512CommitKeyECDSAP384,
		EncryptedDataKeys: []EncryptedDataKey{edk("a", "b", "d"), edk("a", "b", "c")},
		EncryptionContext: map[string]string{"k": "v"},
	})
	require.True(t, ok)
	require.Equal(t, "6074e76d1ded7b0c9d62d422629a361b82bf672d929bfb2c71204a38f1101cc8614a3f1a0af517a30ada3aee2ac9200f", hex.EncodeToString(id.Sum[:]))
}

func edk(id, info, ciphertext string) EncryptedDataKey {
	return EncryptedDataKey{ProviderID: id, ProviderInfo: []byte(info), Ciphertext: []byte(ciphertext)}
}

// Requests have the same identifier if and only if their materials can be the
// same.
func TestCacheIdentifiersSeparateRequests(t *testing.T) {
	ec := map[string]string{"a": "1", "b": "2"}
	forbid := suite.ForbidEncryptAllowDecrypt
	encryptions := map[string]struct {
		partition string
		req       EncryptionRequest
	}{
		"empty":                {"p", EncryptionRequest{}},
		"partition":            {"q", EncryptionRequest{}},
		"suite":                {"p", EncryptionRequest{Suite: suite.AES256GCMHKDFSHA512CommitKey}},
		"other suite":          {"p", EncryptionRequest{Suite: suite.AES256GCMHKDFSHA512CommitKeyECDSAP384}},
		"context":              {"p", EncryptionRequest{EncryptionContext: ec}},
		"other value":          {"p", EncryptionRequest{EncryptionContext: map[string]string{"a": "1", "b": "3"}}},
		"required":             {"p", EncryptionRequest{EncryptionContext: ec, RequiredContextKeys: []string{"a"}}},
		"other required":       {"p", EncryptionRequest{EncryptionContext: ec, RequiredContextKeys: []string{"b"}}},
		"all required":         {"p", EncryptionRequest{EncryptionContext: ec, RequiredContextKeys: []string{"a", "b"}}},
		"policy":               {"p", EncryptionRequest{CommitmentPolicy: forbid}},
		"policy and context":   {"p", EncryptionRequest{EncryptionContext: ec, CommitmentPolicy: forbid}},
		"policy and required":  {"p", EncryptionRequest{EncryptionContext: ec, RequiredContextKeys: []string{"a"}, CommitmentPolicy: forbid}},
		"suite and context":    {"p", EncryptionRequest{EncryptionContext: ec, Suite: suite.AES256GCMHKDFSHA512CommitKey}},
		"end of the partition": {"p\x00\x00\x00\x00\x02\x00\x01a\x00\x011\x00\x01b\x00\x012", EncryptionRequest{}},
	}
	keys := []EncryptedDataKey{edk("a", "b", "c")}
	id := suite.AES256GCMHKDFSHA512CommitKey
	decryptions := map[string]struct {
		partition string
		req       DecryptionRequest
	}{
		"one key":              {"p", DecryptionRequest{Suite: id, EncryptedDataKeys: keys}},
		"partition":            {"q", DecryptionRequest{Suite: id, EncryptedDataKeys: keys}},
		"suite":                {"p", DecryptionRequest{Suite: suite.AES256GCMHKDFSHA256, EncryptedDataKeys: keys}},
		"ciphertext":           {"p", DecryptionRequest{Suite: id, EncryptedDataKeys: []EncryptedDataKey{edk("a", "b", "d")}}},
		"two keys":             {"p", DecryptionRequest{Suite: id, EncryptedDataKeys: append(slices.Clone(keys), keys...)}},
		"context":              {"p", DecryptionRequest{Suite: id, EncryptedDataKeys: keys, EncryptionContext: ec}},
		"reproduced":           {"p", DecryptionRequest{Suite: id, EncryptedDataKeys: keys, ReproducedContext: ec}},
		"both":                 {"p", DecryptionRequest{Suite: id, EncryptedDataKeys: keys, EncryptionContext: ec, ReproducedContext: ec}},
		"reproduced in stored": {"p", DecryptionRequest{Suite: id, EncryptedDataKeys: keys, EncryptionContext: map[string]string{"\x00\x01a\x00": "1"}}},
	}
	seen := map[cache.ID]string{}
	for name, r := range encryptions {
		id, ok := encryptionID(r.partition, &r.req)
		require.True(t, ok)
		require.Empty(t, seen[id], name)
		seen[id] = "encryption: " + name
		r.req.MaxPlaintextLength, r.req.MaxEncryptedDataKeys = 9, 9
		again, _ := encryptionID(r.partition, &r.req)
		require.Equal(t, id, again)
	}
	for name, r := range decryptions {
		id, ok := decryptionID(r.partition, &r.req)
		require.True(t, ok)
		require.Empty(t, seen[id], name)
		seen[id] = "decryption: " + name
	}
	// The order of required keys does not matter, nor (above) that of
	// encrypted data keys.
	a, _ := encryptionID("p", &EncryptionRequest{EncryptionContext: ec, RequiredContextKeys: []string{"b", "a"}})
	require.Equal(t, "encryption: all required", seen[a])
}

// What would be hashed alike, as the formulas do not say where each part ends,
// is not the same entry.
func TestCacheIdentifiersDelimitWhatTheFormulaDoesNot(t *testing.T) {
	id := suite.AES256GCMHKDFSHA512CommitKey
	// The formula does not say where the encrypted data keys end. The separator
	// and the context {key: value} of one are
	//   00 0001 0102 key 0001 00
	// and the same bytes are another encrypted data key of two,
	//   0000 0101 (02 key[:256]) 0002 (00 01), the separator 00, and no context.
	first, key := edk("", "", ""), strings.Repeat("k", 256)+"\x00\x02"
	one := &DecryptionRequest{Suite: id, EncryptedDataKeys: []EncryptedDataKey{first}, EncryptionContext: map[string]string{key: "\x00"}}
	two := &DecryptionRequest{Suite: id, EncryptedDataKeys: []EncryptedDataKey{first, edk("", "\x02"+key[:256], "\x00\x01")}}
	a, ok := decryptionID("p", one)
	require.True(t, ok)
	b, ok := decryptionID("p", two)
	require.True(t, ok)
	require.Equal(t, a.Sum, b.Sum)
	require.NotEqual(t, a, b)

	// Nor does it say where the partition ends: no suite, 00 00 00, and the
	// context {a: 00 00 00} of one are another partition and no suite of two.
	a, ok = encryptionID("p", &EncryptionRequest{EncryptionContext: map[string]string{"a": "\x00\x00\x00"}})
	require.True(t, ok)
	b, ok = encryptionID("p\x00\x00\x00\x00\x01\x00\x01a\x00\x03", &EncryptionRequest{})
	require.True(t, ok)
	require.Equal(t, a.Sum, b.Sum)
	require.NotEqual(t, a, b)
}

// What cannot be serialised has no identifier.
func TestCacheIdentifiersNeedSerialisableRequests(t *testing.T) {
	long := strings.Repeat("x", 65_536)
	for _, req := range []EncryptionRequest{
		{EncryptionContext: map[string]string{"\xff": ""}},
		{EncryptionContext: map[string]string{"k": long}},
		{RequiredContextKeys: []string{long}},
	} {
		_, ok := encryptionID("p", &req)
		require.False(t, ok)
	}
	for _, req := range []DecryptionRequest{
		{EncryptionContext: map[string]string{"\xff": ""}},
		{ReproducedContext: map[string]string{"k": long}},
		{EncryptedDataKeys: []EncryptedDataKey{edk(long, "", "")}},
		{EncryptedDataKeys: []EncryptedDataKey{edk("", long, ""), edk("", "", "")}},
		{EncryptedDataKeys: []EncryptedDataKey{edk("", "", ""), edk("", "", long)}},
	} {
		_, ok := decryptionID("p", &req)
		require.False(t, ok)
	}
}

// Entries that leave the cache leave no data key.
func TestClearedEntriesHoldNoKeys(t *testing.T) {
	m, err := defaultManager{testKey(t)}.EncryptionMaterials(t.Context(), &EncryptionRequest{})
	require.NoError(t, err)
	e := &cachedEncryption{m.clone()}
	key := e.DataKey
	require.Equal(t, m.DataKey, key)
	e.Clear()
	require.Equal(t, make([]byte, 32), key)
	require.Nil(t, e.SigningKey)
	require.NotNil(t, m.SigningKey)
	require.NotEqual(t, key, m.DataKey)

	d := &cachedDecryption{(&DecryptionMaterials{DataKey: m.DataKey}).clone()}
	key = d.DataKey
	require.Equal(t, m.DataKey, key)
	d.Clear()
	require.Equal(t, make([]byte, 32), key)
	require.NotEqual(t, key, m.DataKey)
}

func testKey(t *testing.T) *RawAES {
	p, err := NewRawAES("namespace", "name", make([]byte, 32))
	require.NoError(t, err)
	return p
}

// What is not set is what the specification has: 2^32 messages under a data
// key, and in the grace period of 10 seconds one attempt a second.
func TestCacheDefaults(t *testing.T) {
	c, err := NewCache(testKey(t), CacheOptions{MaxAge: time.Hour})
	require.NoError(t, err)
	require.Equal(t, int64(1<<32), c.c.options.MaxMessages)
	require.Zero(t, c.c.options.MaxBytes, "no limit")
	for _, test := range []struct{ asked, maxAge, grace time.Duration }{
		{0, time.Hour, 10 * time.Second}, {0, 50 * time.Second, 5 * time.Second}, {-1, time.Hour, 0}, {time.Minute, time.Hour, time.Minute},
	} {
		grace, interval := cache.GracePeriod(test.asked, test.maxAge)
		require.Equal(t, test.grace, grace)
		require.Equal(t, test.grace/10, interval)
	}
}
