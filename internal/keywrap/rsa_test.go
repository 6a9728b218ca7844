package keywrap

import (
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// A copy shares nothing with the key. It is precomputed: else each decryption would
// begin with that.
func TestCopyRSAPrivateKey(t *testing.T) {
	t.Parallel()
	want, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	clone := func(n *big.Int) *big.Int { return new(big.Int).Set(n) }
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: clone(want.N), E: want.E},
		D:         clone(want.D),
		Primes:    []*big.Int{clone(want.Primes[0]), clone(want.Primes[1])},
	}
	got, err := CopyRSAPrivateKey(key)
	require.NoError(t, err)
	for _, n := range append(key.Primes, key.N, key.D) {
		n.SetInt64(1)
	}
	key.Primes[0] = nil
	require.Equal(t, want, got)
}
