//go:debug cryptocustomrand=0
//go:build go1.26

package esdk_test

import (
	"bytes"
	"fmt"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
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
