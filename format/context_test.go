package format_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
)

// withContext returns a header of version 2 whose AAD section is section.
func withContext(t testing.TB, section []byte) []byte {
	t.Helper()
	b := unhex(t, version2)
	size := binary.BigEndian.AppendUint16(nil, uint16(len(section)))
	return bytes.Join([][]byte{b[:35], size, section, b[37:]}, nil)
}

func TestEmptyContextSerializesToNothing(t *testing.T) {
	for _, ec := range []map[string]string{nil, {}} {
		b, err := format.AppendEncryptionContext(nil, ec)
		require.NoError(t, err)
		require.Empty(t, b)
		b, err = format.AppendEncryptionContext([]byte("before"), ec)
		require.NoError(t, err)
		require.Equal(t, "before", string(b))
	}
}

func TestContextSerialization(t *testing.T) {
	for _, test := range []struct {
		name string
		ec   map[string]string
		want string
	}{
		{"one pair", map[string]string{"key": "value"}, "0001 0003 6b6579 0005 76616c7565"},
		{"empty key and value", map[string]string{"": ""}, "0001 0000 0000"},
		{"sorted", map[string]string{"b": "1", "a": "2", "": "3", "aa": "4"},
			"0004 0000 0001 33 0001 61 0001 32 0002 6161 0001 34 0001 62 0001 31"},
		{"values do not sort", map[string]string{"a": "z", "b": "a"}, "0002 0001 61 0001 7a 0001 62 0001 61"},
		{"capitals before small letters", map[string]string{"a": "", "B": ""}, "0002 0001 42 0000 0001 61 0000"},
		// U+FF5E stands after U+10000 in UTF-16 and before it in UTF-8.
		{"by UTF-8 and not by UTF-16", map[string]string{"\U00010000": "", "\uff5e": ""},
			"0002 0003 efbd9e 0000 0004 f0908080 0000"},
		{"not normalized", map[string]string{"é": "1", "e\u0301": "2"}, "0002 0003 65cc81 0001 32 0002 c3a9 0001 31"},
		{"NUL is a character", map[string]string{"\x00": "\x00"}, "0001 0001 00 0001 00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := unhex(t, test.want)
			b, err := format.AppendEncryptionContext([]byte("before"), test.ec)
			require.NoError(t, err)
			require.Equal(t, append([]byte("before"), want...), b)
			require.Equal(t, test.ec, read(t, withContext(t, want)).EncryptionContext)
		})
	}
}

func TestContextPairsInAnyOrderAreRead(t *testing.T) {
	want := map[string]string{"a": "1", "b": "2", "c": "3"}
	pairs := [][]byte{unhex(t, "0001 61 0001 31"), unhex(t, "0001 62 0001 32"), unhex(t, "0001 63 0001 33")}
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		section := bytes.Join([][]byte{{0, 3}, pairs[order[0]], pairs[order[1]], pairs[order[2]]}, nil)
		require.Equal(t, want, read(t, withContext(t, section)).EncryptionContext)
	}
}

func TestCountOfNoPairsIsReadAsEmptyContext(t *testing.T) {
	h := read(t, withContext(t, []byte{0, 0}))
	require.NotNil(t, h.EncryptionContext)
	require.Empty(t, h.EncryptionContext)
	require.Equal(t, unhex(t, version2), encoded(t, h), "it is never written")
}

func TestContextBeyondItsLimitsIsRefused(t *testing.T) {
	many := func(pairs int) map[string]string { // of six bytes each
		ec := make(map[string]string)
		for i := range pairs {
			ec[fmt.Sprintf("%02x", i)] = ""
		}
		require.Len(t, ec, pairs)
		return ec
	}
	for _, test := range []struct {
		name string
		ec   map[string]string
		size int // 0: an error
	}{
		{"65535 bytes in a value", map[string]string{"": strings.Repeat("x", 65529)}, 65535},
		{"65536 bytes in a value", map[string]string{"": strings.Repeat("x", 65530)}, 0},
		{"65535 bytes in a key", map[string]string{strings.Repeat("x", 65529): ""}, 65535},
		{"65536 bytes in a key", map[string]string{strings.Repeat("x", 65530): ""}, 0},
		{"key longer than its length can say", map[string]string{strings.Repeat("x", 1<<16): ""}, 0},
		{"value longer than its length can say", map[string]string{"": strings.Repeat("x", 1<<16+3)}, 0},
		{"65535 bytes in two pairs", map[string]string{"a": strings.Repeat("x", 32767), "b": strings.Repeat("x", 65535-2-8-2-32767)}, 65535},
		{"65536 bytes in two pairs", map[string]string{"a": strings.Repeat("x", 32767), "b": strings.Repeat("x", 65536-2-8-2-32767)}, 0},
		{"not UTF-8 key", map[string]string{"\xc3": ""}, 0},
		{"not UTF-8 value", map[string]string{"": "\xc3"}, 0},
		{"encoded surrogate", map[string]string{"": "\xed\xa0\x80"}, 0},
		{"overlong encoding", map[string]string{"": "\xc0\x80"}, 0},
		{"256 pairs", many(256), 2 + 256*6},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := format.AppendEncryptionContext(nil, test.ec)
			if test.size == 0 {
				require.ErrorIs(t, err, format.ErrMalformed)
				require.Nil(t, b)
				require.Less(t, len(err.Error()), 500, "the error does not print all of it")
				return
			}
			require.NoError(t, err)
			require.Len(t, b, test.size)
			require.Equal(t, test.ec, read(t, withContext(t, b)).EncryptionContext)
		})
	}
}

func TestMoreThan65535PairsAreRefused(t *testing.T) {
	ec := make(map[string]string)
	for i := range 1 << 16 {
		ec[fmt.Sprint(i)] = ""
	}
	_, err := format.AppendEncryptionContext(nil, ec)
	require.ErrorIs(t, err, format.ErrMalformed)
}

func TestSerializingDoesNotChangeTheContext(t *testing.T) {
	ec := map[string]string{"b": "1", "a": "2"}
	_, err := format.AppendEncryptionContext(nil, ec)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"b": "1", "a": "2"}, ec)
}

func TestReservedNames(t *testing.T) {
	require.Equal(t, "aws-crypto-", format.ReservedPrefix)
	require.Equal(t, "aws-crypto-public-key", format.PublicKeyField)
}
