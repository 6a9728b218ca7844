package esdk_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

var update = flag.Bool("update", false, "add missing messages to testdata/messages.json")

// A storedMessage is an entry of testdata/messages.json; see the README there.
type storedMessage struct {
	Name        string            `json:"name"`
	Suite       string            `json:"suite"`
	FrameLength int64             `json:"frameLength"`
	Context     map[string]string `json:"context,omitempty"`
	Required    []string          `json:"required,omitempty"`
	Keys        int               `json:"keys"`
	Plaintext   []byte            `json:"plaintext"`
	Message     []byte            `json:"message"`
}

func storedKeys(t *testing.T, n int) []keyprovider.MasterKeyProvider {
	t.Helper()
	var keys []keyprovider.MasterKeyProvider
	for i := range n {
		p, err := keyprovider.NewRawAES("esdk testdata", fmt.Sprint("key ", i), bytes.Repeat([]byte{byte(i)}, 32))
		require.NoError(t, err)
		keys = append(keys, p)
	}
	return keys
}

// Messages that earlier versions of this module made still decrypt.
func TestStoredMessages(t *testing.T) {
	const name = "testdata/messages.json"
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	var messages []storedMessage
	require.NoError(t, json.Unmarshal(b, &messages))
	if *update {
		messages = addStored(t, messages)
		b, err := json.MarshalIndent(messages, "", "\t")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, append(b, '\n'), 0o644))
	}
	require.NotEmpty(t, messages)
	for _, m := range messages {
		t.Run(m.Name, func(t *testing.T) {
			id, err := suite.Parse(m.Suite)
			require.NoError(t, err)
			for _, p := range storedKeys(t, m.Keys) {
				for _, d := range decryptors {
					plaintext, err := d.run(clientFor(id), m.Message, p, &esdk.DecryptOptions{EncryptionContext: m.Context})
					require.NoError(t, err, d.name)
					require.Equal(t, string(m.Plaintext), string(plaintext))
				}
			}
			checkMessage(t, m.Message, id, len(m.Plaintext), uint32(m.FrameLength))
		})
	}
}

// addStored adds the messages that are missing.
func addStored(t *testing.T, messages []storedMessage) []storedMessage {
	t.Helper()
	have := map[string]bool{}
	for _, m := range messages {
		have[m.Name] = true
	}
	for i, id := range suite.All() {
		for _, frameLength := range []int64{0, 16, 4096} {
			for _, required := range [][]string{nil, {"tenant"}} {
				m := storedMessage{
					Name:        fmt.Sprintf("%04x/frame=%d/required=%d", uint16(id), frameLength, len(required)),
					Suite:       fmt.Sprintf("%04x", uint16(id)),
					FrameLength: frameLength, Required: required, Keys: 1 + i%3, Plaintext: text(8 * (i % 6)),
				}
				if required != nil || i%2 == 0 {
					m.Context = map[string]string{"tenant": "t-1", "größe": "ß"}
				}
				if have[m.Name] {
					continue
				}
				keys := storedKeys(t, m.Keys)
				p, err := keyprovider.Multi(keys[0], keys[1:]...)
				require.NoError(t, err)
				m.Message, _, err = clientFor(id).Encrypt(bg, m.Plaintext, p, &esdk.EncryptOptions{
					Suite: id, FrameLength: frameLength, Unframed: frameLength == 0, EncryptionContext: m.Context, RequiredContextKeys: required})
				require.NoError(t, err)
				messages = append(messages, m)
			}
		}
	}
	return messages
}
