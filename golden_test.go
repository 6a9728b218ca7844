//go:debug cryptocustomrand=0
//go:build go1.26

package esdk_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// Encrypt, EncryptReader and EncryptWriter give the same message, to the byte,
// when the randomness is the same.
func TestSameBytesFromEveryEntryPoint(t *testing.T) {
	for _, id := range suite.All() {
		for _, frameLength := range []int64{10, 4096} {
			for _, n := range []int{0, 9, 10, 25, 100_000} {
				for _, workers := range []int{1, 4} {
					c := clientFor(id)
					c.Concurrency = workers
					opts := &esdk.EncryptOptions{Suite: id, FrameLength: frameLength,
						EncryptionContext: map[string]string{"a": "1", "b": "2", "c": "3"}, RequiredContextKeys: []string{"b"}}
					var want []byte
					for _, e := range encryptors {
						cryptotest.SetGlobalRandom(t, 7)
						got, _, err := e.run(c, text(n), rawAES(t), opts)
						require.NoError(t, err)
						if want == nil {
							want = got
							continue
						}
						require.True(t, bytes.Equal(want, got), fmt.Sprintf("%v, %s, %d bytes", id, e.name, n))
					}
				}
			}
		}
	}
}

// Message IDs, data keys, signing keys and the IVs of wrapped keys are random
// bytes of crypto/rand and of nothing else: the same if those are the same, and
// each byte another if not.
func TestAllRandomnessIsThatOfCryptoRand(t *testing.T) {
	for _, id := range suite.All() {
		draw := func(seed uint64) (drawn [][]byte) {
			cryptotest.SetGlobalRandom(t, seed)
			p := &manager{inner: rawAES(t), encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
				info := m.EncryptedDataKeys[0].ProviderInfo
				drawn = append(drawn, bytes.Clone(m.DataKey), info[len(info)-suite.IVSize:])
				if m.SigningKey != nil {
					d, err := m.SigningKey.Bytes()
					require.NoError(t, err)
					drawn = append(drawn, d)
				}
				return m
			}}
			_, h, err := clientFor(id).Encrypt(bg, nil, p, &esdk.EncryptOptions{Suite: id})
			require.NoError(t, err)
			return append(drawn, h.MessageID)
		}
		first := draw(0)
		require.Equal(t, first, draw(0))
		var others [][][]byte
		for seed := range uint64(20) {
			others = append(others, draw(1+seed))
		}
		for i, b := range first {
			for at := range b {
				require.True(t, slices.ContainsFunc(others, func(o [][]byte) bool { return o[i][at] != b[at] }), "%v: byte %d of %d is fixed", id, at, i)
			}
		}
	}
}
