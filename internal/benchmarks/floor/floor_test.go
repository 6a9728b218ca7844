package floor_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha512"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/internal/benchmarks/floor"
	"github.com/esdk-go/esdk/internal/benchmarks/peer"
	"github.com/esdk-go/esdk/internal/frame"
	"github.com/esdk-go/esdk/suite"
)

// The floor seals what the library seals, and opens it.
func TestBodyIsTheLibrarys(t *testing.T) {
	key, id := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	aead, err := cipher.NewGCM(block)
	require.NoError(t, err)
	plaintext := bytes.Repeat([]byte("plaintext"), 5000)
	var sealer frame.Sealer
	sealer.Init(frame.Config{AEAD: aead, MessageID: id, FrameLength: 1000, Digest: sha512.New384(), Workers: 1})
	want, err := sealer.Frames(nil, plaintext)
	require.NoError(t, err)

	for _, signed := range []bool{false, true} {
		b, err := floor.NewBody(key, id, 1000, signed)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, b.Encrypt(plaintext)))
		got, err := b.Decrypt(want)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plaintext, got))
		require.NoError(t, b.DecryptReader(want))
		part := make([]byte, 5000)
		require.NoError(t, b.ReadAt(part, want, 7))
		require.True(t, bytes.Equal(plaintext[7000:12_000], part))
		for i := range len(plaintext) / 1000 {
			require.NoError(t, b.Frame(want, i, i%2 == 0))
		}
		want[len(want)-1]++
		require.Error(t, b.DecryptReader(want))
		require.Error(t, b.ReadAt(part[:1000], want, len(plaintext)/1000-1))
		require.Error(t, b.Frame(want, len(plaintext)/1000-1, true))
		want[len(want)-1]--
	}
}

// The floor of a short message opens what the library made, with everything
// verified, and makes messages of the same size.
func TestMessageIsTheLibrarys(t *testing.T) {
	plaintext := bytes.Repeat([]byte("plaintext"), 100)
	for _, id := range []suite.ID{peer.Signed, peer.Unsigned} {
		p, err := peer.Esdk(id, 4096, 1)
		require.NoError(t, err)
		message, err := p.Encrypt(plaintext)
		require.NoError(t, err)
		m, err := floor.NewMessage(peer.Key, message)
		require.NoError(t, err)
		got, err := m.Decrypt()
		require.NoError(t, err)
		require.Equal(t, plaintext, got)
		again, err := m.Encrypt(plaintext)
		require.NoError(t, err)
		require.InDelta(t, len(message), len(again), 6) // signatures vary
		got, err = m.DecryptCached()
		require.NoError(t, err)
		require.Equal(t, plaintext, got)
		again, err = m.EncryptCached(plaintext)
		require.NoError(t, err)
		require.InDelta(t, len(message), len(again), 6)
	}
}
