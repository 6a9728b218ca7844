package esdk_test

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// Every encryption context that the format can hold works: nil, empty,
// non-ASCII, many pairs, and 65,535 bytes.
func TestEncryptionContexts(t *testing.T) {
	many := map[string]string{}
	for i := range 5000 {
		many[fmt.Sprint("key", i)] = "v"
	}
	for name, ec := range map[string]map[string]string{
		"nil":       nil,
		"empty":     {},
		"empty key": {"": ""},
		"non-ASCII": {"größe": "ß", "\U00010000": "after U+FFFD in UTF-8", "\uFFFD": "but before it in UTF-16", "鍵": "値"},
		"many":      many,
		"longest":   {"k": strings.Repeat("v", 65_535-2-4-1)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES128GCM} {
				message := encrypt(t, id, text(10), esdk.EncryptOptions{EncryptionContext: ec})
				_, h, err := clientFor(id).Decrypt(bg, message, rawAES(t), &esdk.DecryptOptions{EncryptionContext: ec})
				require.NoError(t, err)
				require.NotNil(t, h.EncryptionContext)
				require.True(t, maps.Equal(ec, h.EncryptionContext))
				stored, err := format.ReadHeader(bytes.NewReader(message), 0)
				require.NoError(t, err)
				require.True(t, maps.Equal(ec, stored.EncryptionContext))
			}
		})
	}
}

// Required pairs are not stored, and the message opens only with them.
func TestRequiredContext(t *testing.T) {
	for _, id := range suite.All() {
		ec := map[string]string{"stored": "s", "tenant": "t-1", "user": "u-1"}
		opts := esdk.EncryptOptions{EncryptionContext: ec, RequiredContextKeys: []string{"tenant", "user", "tenant"}}
		message := encrypt(t, id, text(10), opts)
		require.NotContains(t, string(message), "tenant")
		require.NotContains(t, string(message), "u-1")
		for name, test := range map[string]struct {
			reproduced map[string]string
			ok         bool
		}{
			"both":           {map[string]string{"tenant": "t-1", "user": "u-1"}, true},
			"all":            {ec, true},
			"none":           {nil, false},
			"one":            {map[string]string{"tenant": "t-1"}, false},
			"other value":    {map[string]string{"tenant": "t-2", "user": "u-1"}, false},
			"one more":       {map[string]string{"tenant": "t-1", "user": "u-1", "more": ""}, false},
			"stored differs": {map[string]string{"tenant": "t-1", "user": "u-1", "stored": "x"}, false},
		} {
			for _, d := range fewDecryptors {
				_, err := d.run(clientFor(id), message, rawAES(t), &esdk.DecryptOptions{EncryptionContext: test.reproduced})
				require.Equal(t, test.ok, err == nil, "%v, %s: %v", id, name, err)
			}
		}
		_, h, err := clientFor(id).Decrypt(bg, message, rawAES(t), &esdk.DecryptOptions{EncryptionContext: ec})
		require.NoError(t, err)
		for k, v := range ec {
			require.Equal(t, v, h.EncryptionContext[k])
		}
	}
}

// Required pairs are authenticated by the header even where the key provider
// does not bind them.
func TestRequiredContextIsBoundByTheHeader(t *testing.T) {
	ec := map[string]string{"tenant": "t-1"}
	var key []byte
	p := &manager{inner: rawAES(t), encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
		key = bytes.Clone(m.DataKey)
		return m
	}}
	for _, id := range suite.All() {
		message, _, err := clientFor(id).Encrypt(bg, text(10), p, &esdk.EncryptOptions{Suite: id, EncryptionContext: ec, RequiredContextKeys: []string{"tenant"}})
		require.NoError(t, err)
		_, _, err = clientFor(id).Decrypt(bg, message, dataKey(key), &esdk.DecryptOptions{EncryptionContext: ec})
		require.NoError(t, err)
		for _, wrong := range []map[string]string{nil, {"tenant": "t-2"}, {"tenant": "t-1", "more": ""}} {
			_, _, err = clientFor(id).Decrypt(bg, message, dataKey(key), &esdk.DecryptOptions{EncryptionContext: wrong})
			require.ErrorIs(t, err, esdk.ErrAuthentication)
			for k := range wrong {
				require.ErrorContains(t, err, fmt.Sprintf("%q", k), "the added keys are named")
			}
			require.NotContains(t, err.Error(), "t-2")
		}
	}
}

// RequireContext demands the keys on both sides, also over itself.
func TestRequireContextProvider(t *testing.T) {
	inner, err := keyprovider.RequireContext(rawAES(t), "tenant")
	require.NoError(t, err)
	p, err := keyprovider.RequireContext(inner, "user", "tenant")
	require.NoError(t, err)
	ec := map[string]string{"tenant": "t-1", "user": "u-1", "open": "o"}
	message, h, err := esdk.Encrypt(bg, text(10), p, &esdk.EncryptOptions{EncryptionContext: ec})
	require.NoError(t, err)
	require.Equal(t, "t-1", h.EncryptionContext["tenant"])
	require.NotContains(t, string(message), "t-1")
	require.NotContains(t, string(message), "u-1")
	require.Contains(t, string(message), "open")

	_, _, err = esdk.Decrypt(bg, message, p, &esdk.DecryptOptions{EncryptionContext: map[string]string{"tenant": "t-1", "user": "u-1"}})
	require.NoError(t, err)
	for _, missing := range []string{"tenant", "user"} {
		less := map[string]string{"tenant": "t-1", "user": "u-1"}
		delete(less, missing)
		_, _, err = esdk.Decrypt(bg, message, p, &esdk.DecryptOptions{EncryptionContext: less})
		require.ErrorIs(t, err, esdk.ErrEncryptionContext)
		require.ErrorContains(t, err, missing)
		_, _, err = esdk.Encrypt(bg, nil, p, &esdk.EncryptOptions{EncryptionContext: less})
		require.ErrorIs(t, err, esdk.ErrEncryptionContext)
		require.ErrorContains(t, err, missing)
	}
}

// A reserved key can be checked on decrypt as any other.
func TestReservedKeyOnDecrypt(t *testing.T) {
	message, h, err := esdk.Encrypt(bg, nil, rawAES(t), nil)
	require.NoError(t, err)
	public := h.EncryptionContext[format.PublicKeyField]
	require.Len(t, public, 68)
	_, _, err = esdk.Decrypt(bg, message, rawAES(t), &esdk.DecryptOptions{EncryptionContext: map[string]string{format.PublicKeyField: public}})
	require.NoError(t, err)
	_, _, err = esdk.Decrypt(bg, message, rawAES(t), &esdk.DecryptOptions{EncryptionContext: map[string]string{format.PublicKeyField: "B" + public[1:]}})
	require.ErrorIs(t, err, esdk.ErrEncryptionContext)
}
