//go:build go1.26 && !go1.27

package esdk_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/suite"
)

// golden are digests of messages that are made with fixed randomness. How the
// standard library uses its randomness is its own affair, and may change with
// its version: hence the constraint above.
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
	for _, id := range suite.All() {
		cryptotest.SetGlobalRandom(t, 1)
		message := encrypt(t, id, text(25), esdk.EncryptOptions{FrameLength: 10,
			EncryptionContext: map[string]string{"a": "1", "b": "2"}, RequiredContextKeys: []string{"b"}})
		digest := sha256.Sum256(message)
		require.Equal(t, golden[id], hex.EncodeToString(digest[:8]), "%v", id)
	}
}
