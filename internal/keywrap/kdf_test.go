package keywrap

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"testing"

	"github.com/stretchr/testify/require"
)

// The blocks are HMACs of counter, label, zero byte, context and length in
// bits, written out here by hand; the last one is cut.
func TestCounterKDFIsHMACOfCounterLabelContextLength(t *testing.T) {
	key := []byte("a key of any length")
	block := func(input string) []byte {
		mac := hmac.New(sha512.New384, key)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
	want := append(block("\x00\x00\x00\x01label\x00context\x00\x00\x02\x00"), block("\x00\x00\x00\x02label\x00context\x00\x00\x02\x00")...)
	got := CounterKDF(sha512.New384, key, []byte("label"), []byte("context"), 64)
	require.Equal(t, want[:64], got)
	require.Equal(t, 64, cap(got), "nothing of the key is within reach behind it")
	require.False(t, bytes.HasPrefix(want, CounterKDF(sha512.New384, key, []byte("label"), []byte("context"), 32)), "the length is bound")
	require.Len(t, CounterKDF(sha256.New, key, nil, nil, 32), 32)
}
