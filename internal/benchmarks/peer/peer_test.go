package peer_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha512"
	"encoding/binary"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/internal/benchmarks/peer"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
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

// Each peer for records decrypts what it encrypted, and not under another context. This
// module reads the records of the other SDKs.
func TestRecords(t *testing.T) {
	made := func(p *peer.Peer, err error) *peer.Peer {
		require.NoError(t, err)
		return p
	}
	key, err := peer.RawAES()
	require.NoError(t, err)
	right := peer.NewContext(map[string]string{"table": "orders", "tenant": "1"})
	wrong := peer.NewContext(map[string]string{"table": "orders", "tenant": "2"})
	for _, id := range []suite.ID{peer.Unsigned, peer.Signed} {
		ours := peer.EsdkUnder(key, id, 4096, 1)
		for _, c := range []struct{ peer, reader *peer.Peer }{
			{ours, made(peer.Official(id, 4096))},
			{made(peer.Official(id, 4096)), ours},
			{made(peer.Chainifynet(id, 4096)), peer.EsdkUnder(chainifynetKey{}, id, 4096, 1)},
			{made(peer.TinkEnvelope()), nil},
		} {
			for _, size := range []int{1, 200, 4096, 16 << 10} {
				record := bytes.Repeat([]byte{1}, size)
				message, err := c.peer.EncryptRecord(record, right)
				require.NoError(t, err, c.peer.Name)
				got, err := c.peer.DecryptRecord(message, right)
				require.NoError(t, err, c.peer.Name)
				require.Equal(t, record, got, c.peer.Name)
				_, err = c.peer.DecryptRecord(message, wrong)
				require.Error(t, err, c.peer.Name)
				if c.reader != nil {
					got, err = c.reader.DecryptRecord(message, right)
					require.NoError(t, err, c.peer.Name)
					require.Equal(t, record, got, c.peer.Name)
				}
			}
		}
	}
}

// chainifynetKey decrypts data keys of chainifynet's module. That derives the key that wraps
// them, writes the IV behind them, and leaves the number of pairs out of what it binds.
type chainifynetKey struct{ keyprovider.MasterKeyProvider }

func (chainifynetKey) DecryptDataKey(_ context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	derived, err := hkdf.Key(sha512.New, peer.Key, nil, "\x05\x78DERIVEKEY", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	var bound []byte
	for _, key := range slices.Sorted(maps.Keys(req.EncryptionContext)) {
		for _, s := range []string{key, req.EncryptionContext[key]} {
			bound = append(binary.BigEndian.AppendUint16(bound, uint16(len(s))), s...)
		}
	}
	wrapped := keys[0].Ciphertext
	iv := len(wrapped) - gcm.NonceSize()
	plaintext, err := gcm.Open(nil, wrapped[iv:], wrapped[:iv], bound)
	return &keyprovider.DataKey{Plaintext: plaintext, Encrypted: keys[0]}, err
}
