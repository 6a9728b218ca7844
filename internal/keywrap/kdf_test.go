package keywrap

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
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

// A watchedHash keeps what it returned.
type watchedHash struct {
	hash.Hash
	sums *[][]byte
}

func (h watchedHash) Sum(b []byte) []byte {
	b = h.Hash.Sum(b)
	*h.sums = append(*h.sums, b)
	return b
}

func TestCounterKDFLeavesNoCopyOfTheKeys(t *testing.T) {
	for _, size := range []int{1, 32, 48, 49, 64, 96, 97} {
		var sums [][]byte
		got := CounterKDF(func() hash.Hash { return watchedHash{sha512.New384(), &sums} }, []byte("key"), []byte("label"), nil, size)
		require.Equal(t, CounterKDF(sha512.New384, []byte("key"), []byte("label"), nil, size), got)
		clear(got)
		require.NotEmpty(t, sums)
		for _, sum := range sums {
			require.Equal(t, make([]byte, len(sum)), sum, "of %d bytes", size)
		}
	}
}

func TestGCMClearsTheKey(t *testing.T) {
	key := []byte("0123456789ABCDEF0123456789ABCDEF")
	same, err := aes.NewCipher(key)
	require.NoError(t, err)
	aead, err := GCM(key)
	require.NoError(t, err)
	require.Equal(t, make([]byte, 32), key)
	want, err := cipher.NewGCM(same)
	require.NoError(t, err)
	require.Equal(t, want.Seal(nil, make([]byte, 12), []byte("data key"), []byte("aad")), aead.Seal(nil, make([]byte, 12), []byte("data key"), []byte("aad")))

	key = []byte("of no length that AES has")
	aead, err = GCM(key)
	require.Nil(t, aead)
	require.Error(t, err)
	require.Equal(t, make([]byte, len(key)), key)
}
