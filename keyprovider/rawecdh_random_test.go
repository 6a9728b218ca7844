//go:debug cryptocustomrand=0
//go:build go1.26

package keyprovider_test

import (
	"crypto/ecdh"
	"crypto/fips140"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
)

// Data keys, salts and ephemeral keys come from crypto/rand and from nothing
// else: the same if its bytes are the same, and others if not.
func TestRawECDHTakesAllRandomnessFromCryptoRand(t *testing.T) {
	if v := fips140.Version(); v != "latest" {
		t.Skipf("testing/cryptotest does not work with the FIPS 140-3 module %s", v)
	}
	recipient := ecdhKey(t, ecdh.P256(), "recipient")
	for _, p := range []*keyprovider.RawECDH{
		newStatic(t, ecdhKey(t, ecdh.P256(), "sender"), recipient.PublicKey()),
		newEphemeral(t, recipient.PublicKey()),
	} {
		draw := func(seed uint64) *keyprovider.DataKey {
			cryptotest.SetGlobalRandom(t, seed)
			return generate(t, p, request())
		}
		first, other := draw(1), draw(2)
		require.Equal(t, first, draw(1))
		require.NotEqual(t, first.Plaintext, other.Plaintext)
		require.NotEqual(t, first.Encrypted.Ciphertext[:32], other.Encrypted.Ciphertext[:32], "salt")
	}
}
