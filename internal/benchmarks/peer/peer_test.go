package peer_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/internal/benchmarks/peer"
)

// Each peer decrypts what it encrypted, in all its ways; the official module
// and this one decrypt each other's.
func TestPeers(t *testing.T) {
	made := func(p *peer.Peer, err error) *peer.Peer {
		require.NoError(t, err)
		return p
	}
	plaintext := bytes.Repeat([]byte("plaintext"), 30_000)
	for _, p := range []*peer.Peer{
		made(peer.Esdk(peer.Signed, 4096, 1)), made(peer.Esdk(peer.Unsigned, 64<<10, 2)),
		made(peer.Official(peer.Signed, 4096)), made(peer.Official(peer.Unsigned, 64<<10)),
		made(peer.Sio()), made(peer.Tink(4096)), made(peer.Tink(1 << 20)), made(peer.Age()),
	} {
		message, err := p.Seal(plaintext)
		require.NoError(t, err, p.Name)
		got, err := p.Open(message)
		require.NoError(t, err, p.Name)
		require.True(t, bytes.Equal(plaintext, got), p.Name)
		if p.EncryptReader != nil {
			r, err := p.EncryptReader(bytes.NewReader(plaintext))
			require.NoError(t, err, p.Name)
			message, err = io.ReadAll(r)
			require.NoError(t, err, p.Name)
			got, err = p.Open(message)
			require.NoError(t, err, p.Name)
			require.True(t, bytes.Equal(plaintext, got), p.Name)
		}
	}
	ours, theirs := made(peer.Esdk(peer.Signed, 4096, 1)), made(peer.Official(peer.Signed, 4096))
	for _, pair := range [][2]*peer.Peer{{ours, theirs}, {theirs, ours}} {
		message, err := pair[0].Encrypt(plaintext)
		require.NoError(t, err)
		got, err := pair[1].Decrypt(message)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plaintext, got))
	}
}
