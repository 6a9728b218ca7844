//go:debug cryptocustomrand=0
//go:build go1.26

package esdk_test

import (
	"bytes"
	"crypto/fips140"
	"crypto/sha256"
	"encoding/hex"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// setRandom makes crypto/rand give bytes that follow from the seed.
func setRandom(t *testing.T, seed uint64) {
	if v := fips140.Version(); v != "latest" {
		t.Skipf("testing/cryptotest does not work with the FIPS 140-3 module %s", v)
	}
	cryptotest.SetGlobalRandom(t, seed)
}

// Encrypt, EncryptReader and EncryptWriter give the same message, to the byte,
// when the randomness is the same.
func TestSameBytesFromEveryEntryPoint(t *testing.T) {
	for s, id := range suite.All() {
		for f, frameLength := range []int64{10, 4096} {
			for l, n := range []int{0, 9, 10, 25, 100_000} {
				for w, workers := range []int{1, 4} {
					if !full() && ((s+f+l+w)%2 != 0 || n > 1000*int(frameLength)) {
						continue
					}
					c := clientFor(id)
					c.Concurrency = workers
					opts := &esdk.EncryptOptions{Suite: id, FrameLength: frameLength,
						EncryptionContext: map[string]string{"a": "1", "b": "2", "c": "3"}, RequiredContextKeys: []string{"b"}}
					var want []byte
					for _, e := range encryptors {
						setRandom(t, 7)
						got, _, err := e.run(c, text(n), rawAES(t), opts)
						require.NoError(t, err)
						if want == nil {
							want = got
							continue
						}
						require.True(t, bytes.Equal(want, got), "%v, %s, %d bytes", id, e.name, n)
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
			setRandom(t, seed)
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

// golden are digests of messages that are made with fixed randomness by Go
// 1.26. How the standard library uses its randomness is its own affair, and may
// change with its version.
var golden = map[suite.ID]string{
	0x0014: "7ccf8109f4b43406",
	0x0046: "286702a53666aad7",
	0x0078: "0f21cf895180cea5",
	0x0114: "7f010539e5d92844",
	0x0146: "a2f6433f41b26943",
	0x0178: "832be5ce90fe4097",
	0x0214: "05d6d1303ffa0c27",
	0x0346: "7c18f9321f7e4e60",
	0x0378: "d0cc90535a138852",
	0x0478: "a2917a98baad2b2b",
	0x0578: "48fd648af565a0da",
}

// Messages are what they were, to the byte.
func TestGoldenMessages(t *testing.T) {
	if !strings.HasPrefix(runtime.Version(), "go1.26") {
		t.Skip("the digests are of messages that Go 1.26 makes")
	}
	for _, id := range suite.All() {
		setRandom(t, 1)
		message := encrypt(t, id, text(25), esdk.EncryptOptions{FrameLength: 10,
			EncryptionContext: map[string]string{"a": "1", "b": "2"}, RequiredContextKeys: []string{"b"}})
		digest := sha256.Sum256(message)
		require.Equal(t, golden[id], hex.EncodeToString(digest[:8]), "%v", id)
	}
}
