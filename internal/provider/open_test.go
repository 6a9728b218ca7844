package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// entries returns encrypted data keys whose provider IDs are the given ones.
func entries(ids ...string) []format.EncryptedDataKey {
	keys := make([]format.EncryptedDataKey, len(ids))
	for i, id := range ids {
		keys[i] = format.EncryptedDataKey{ProviderID: id, Ciphertext: []byte{byte(i)}}
	}
	return keys
}

var errWrong = errors.New("wrong key")

// unwrap does what the provider ID of an entry says, and counts in calls.
func unwrap(calls map[string]int) Unwrap {
	return func(_ context.Context, edk *format.EncryptedDataKey) ([]byte, error) {
		calls[edk.ProviderID]++
		switch edk.ProviderID {
		case "foreign":
			return nil, nil
		case "malformed":
			return nil, Skip(errors.New("no IV"))
		case "wrong":
			return nil, errWrong
		}
		return []byte("key"), nil
	}
}

func TestOpenReturnsTheFirstDataKeyThatOpens(t *testing.T) {
	calls := map[string]int{}
	keys := entries("foreign", "malformed", "wrong", "good", "wrong", "good")
	plaintext, edk, err := Open(t.Context(), "name", keys, unwrap(calls))
	require.NoError(t, err)
	require.Equal(t, "key", string(plaintext))
	require.Equal(t, keys[3], edk)
	require.Equal(t, map[string]int{"foreign": 1, "malformed": 1, "wrong": 1, "good": 1}, calls)
}

func TestFailureNamesEachEntryThatWasTriedAndTheFirstSkipped(t *testing.T) {
	var failure *Failure
	plaintext, edk, err := Open(t.Context(), "name", entries("foreign", "malformed", "wrong", "wrong"), unwrap(map[string]int{}))
	require.ErrorAs(t, err, &failure)
	require.Nil(t, plaintext)
	require.Zero(t, edk)
	require.Len(t, failure.Causes, 3)
	require.EqualError(t, failure.Causes[0], `encrypted data key 3 ("wrong"): wrong key`)
	require.ErrorIs(t, failure.Causes[0], errWrong)
	require.EqualError(t, failure.Causes[1], `encrypted data key 4 ("wrong"): wrong key`)
	require.EqualError(t, failure.Causes[2], `encrypted data key 2 ("malformed"): skipped: no IV`)
	require.EqualError(t, err, `no data key could be decrypted: encrypted data key 3 ("wrong"): wrong key; encrypted data key 4 ("wrong"): wrong key; encrypted data key 2 ("malformed"): skipped: no IV`)
}

func TestFailureWhereNothingWasTriedIsNoMatch(t *testing.T) {
	for _, keys := range [][]format.EncryptedDataKey{nil, entries("foreign"), entries("malformed")} {
		var failure *Failure
		_, _, err := Open(t.Context(), "name", keys, unwrap(map[string]int{}))
		require.ErrorAs(t, err, &failure)
		require.ErrorIs(t, failure.Causes[0], ErrNoMatch)
		require.ErrorContains(t, failure.Causes[0], "name: ")
	}
}

// A done ctx is the error, whether it ends before an entry or while one is
// being opened, and no other entry is looked at.
func TestOpenEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, _, err := Open(ctx, "name", entries("a", "b"), func(got context.Context, _ *format.EncryptedDataKey) ([]byte, error) {
		calls++
		require.Equal(t, ctx, got)
		cancel()
		return nil, errors.New("the call was given up")
	})
	require.ErrorIs(t, err, context.Canceled)
	require.EqualError(t, err, `encrypted data key 1 ("a"): context canceled`, "which entry it came to")
	require.Equal(t, 1, calls)

	foreign := 0
	ctx, cancel = context.WithCancel(t.Context())
	_, _, err = Open(ctx, "name", entries("a", "b"), func(context.Context, *format.EncryptedDataKey) ([]byte, error) {
		foreign++
		cancel()
		return nil, nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, foreign)
}

func TestGenerateClearsADataKeyThatCannotBeWrapped(t *testing.T) {
	var given []byte
	plaintext, edk, err := Generate(suite.AES192GCM, func(plaintext []byte) (format.EncryptedDataKey, error) {
		require.NotEqual(t, make([]byte, 24), plaintext)
		given = plaintext
		return format.EncryptedDataKey{ProviderID: "half"}, errWrong
	})
	require.Equal(t, errWrong, err)
	require.Nil(t, plaintext)
	require.Zero(t, edk)
	require.Equal(t, make([]byte, 24), given)
}

func TestIsNilSeesPointersThatAreNil(t *testing.T) {
	require.True(t, IsNil(nil))
	require.True(t, IsNil((*int)(nil)))
	require.True(t, IsNil((func())(nil)))
	require.True(t, IsNil(map[string]int(nil)))
	require.False(t, IsNil(new(int)))
	require.False(t, IsNil(struct{}{}))
}

// Who looks for the right key is told what the message has: the first entries of
// others, by provider ID and info.
func TestNoMatchNamesTheEntriesOfOthers(t *testing.T) {
	none := func(context.Context, *format.EncryptedDataKey) ([]byte, error) { return nil, nil }
	point := bytes.Repeat([]byte{0xAB}, 33)
	agreement := append([]byte{1, 0, 0, 0, 33}, append(append(bytes.Clone(point), 0, 0, 0, 33), bytes.Repeat([]byte{0xCD}, 33)...)...)
	aes := append([]byte("DataKey"), append([]byte{0, 0, 0, 128, 0, 0, 0, 12}, make([]byte, 12)...)...)
	for want, keys := range map[string][]format.EncryptedDataKey{
		`"BC" "DataKey"`: {{ProviderID: "BC", ProviderInfo: aes}},
		`"aws-kms" "arn:aws:kms:us-east-1:1:key/a"`:            {{ProviderID: "aws-kms", ProviderInfo: []byte("arn:aws:kms:us-east-1:1:key/a")}},
		`"größe" "schlüssel \"1\""`:                            {{ProviderID: "größe", ProviderInfo: []byte(`schlüssel "1"`)}},
		`"raw-ecdh" from cdcdcdcdcdcdcdcd to abababababababab`: {{ProviderID: "raw-ecdh", ProviderInfo: agreement}},
		`"a\n" with 0 bytes of provider info`:                  {{ProviderID: "a\n"}},
		`"a" with 2 bytes of provider info`:                    {{ProviderID: "a", ProviderInfo: []byte{'b', '\n'}}},
		`"a" with 1 bytes of provider info`:                    {{ProviderID: "a", ProviderInfo: []byte{0xFF}}},
		`"a" with 71 bytes of provider info`:                   {{ProviderID: "a", ProviderInfo: agreement[:71]}},
		`"a" with 5 bytes of provider info`:                    {{ProviderID: "a", ProviderInfo: []byte{1, 0xFF, 0xFF, 0xFF, 0xFF}}},
		`"" with 20 bytes of provider info`:                    {{ProviderInfo: aes[len("DataKey"):]}},
		`"a" "a", "b" "b", "c" "c" and 2 more`: {
			{ProviderID: "a", ProviderInfo: []byte("a")}, {ProviderID: "b", ProviderInfo: []byte("b")}, {ProviderID: "c", ProviderInfo: []byte("c")}, {}, {},
		},
		`"` + strings.Repeat("i", 100) + `" "` + strings.Repeat("n", 150) + `"`: {
			{ProviderID: strings.Repeat("i", 65535), ProviderInfo: bytes.Repeat([]byte("n"), 65535)},
		},
	} {
		for i := range keys {
			keys[i].Ciphertext = []byte("ciphertext")
		}
		_, _, err := Open(t.Context(), "name", keys, none)
		require.ErrorIs(t, err.(*Failure).Causes[0], ErrNoMatch)
		require.EqualError(t, err, "no data key could be decrypted: name: no matching encrypted data key; the message has "+want)
	}
	_, _, err := Open(t.Context(), "name", nil, none)
	require.EqualError(t, err, "no data key could be decrypted: name: no matching encrypted data key")
	_, _, err = Open(t.Context(), "name", entries("foreign", "wrong"), unwrap(map[string]int{}))
	require.NotContains(t, err.Error(), "the message has", "the right one was there")
}

func TestContextKeysNamesNoValues(t *testing.T) {
	require.Equal(t, "no pairs", ContextKeys(nil))
	require.Equal(t, `keys "", "a", "b\n"`, ContextKeys(map[string]string{"b\n": "secret", "a": "secret", "": "secret"}))
	many := make(map[string]string)
	for i := range 12 {
		many[fmt.Sprintf("%02d", i)+strings.Repeat("k", 200)] = "secret"
	}
	got := ContextKeys(many)
	require.True(t, strings.HasPrefix(got, `keys "00kk`))
	require.True(t, strings.HasSuffix(got, `k" and 2 more`))
	require.Less(t, len(got), 1100)
}
