package esdk_test

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A written message, and what it was made with.
type written struct {
	message   []byte
	header    *format.Header // as Encrypt returned it
	dataKey   []byte
	materials *keyprovider.EncryptionMaterials
	plaintext []byte
	frame     int // 0: unframed
	parts     handMessage
	unstored  []byte // the serialised pairs of required keys
}

// eachWritten runs f with messages of every suite, framed and unframed, of
// several lengths and with several keys, some with required context keys, that
// Encrypt and the streams wrote.
func eachWritten(t *testing.T, f func(t *testing.T, w written)) {
	other, err := keyprovider.NewRawAES("esdk test", "other", make([]byte, 16))
	require.NoError(t, err)
	for _, id := range suite.All() {
		for _, frame := range []int{10, 0} {
			for i, n := range []int{0, 1, 9, 10, 11, 20, 25, 0, 1, 9, 10, 11, 20, 25} {
				e := encryptors[0]
				if i >= 7 && frame > 0 {
					e = encryptors[1+i%(len(encryptors)-1)]
				}
				t.Run(fmt.Sprintf("%v/%d/%d/%s", id, frame, n, e.name), func(t *testing.T) {
					w := written{plaintext: text(n), frame: frame}
					keys := []keyprovider.MasterKeyProvider{rawAES(t), other}[:1+i%2]
					all, err := keyprovider.Multi(keys[0], keys[1:]...)
					require.NoError(t, err)
					p := &manager{inner: all, encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
						w.dataKey, w.materials = bytes.Clone(m.DataKey), m
						return m
					}}
					opts := &esdk.EncryptOptions{Suite: id, FrameLength: int64(frame), Unframed: frame == 0}
					if i > 0 {
						opts.EncryptionContext = map[string]string{"tenant": "t-1", "b": "1", "größe": "ß", "\U00010000": "", "\uff5e": ""}
					}
					if i > 1 {
						opts.RequiredContextKeys = []string{"tenant", "größe"}
					}
					w.message, w.header, err = e.run(clientFor(id), w.plaintext, p, opts)
					require.NoError(t, err)
					w.parts = takeApart(t, w.message)
					w.unstored = handContext(handPairs(opts.EncryptionContext, func(k string) bool { return slices.Contains(opts.RequiredContextKeys, k) }))
					f(t, w)
				})
			}
		}
	}
}

// Every field of the header is what the materials and the options say; the
// context is the materials' without the required keys, in canonical order.
func TestWrittenHeaderFieldsAreThoseOfTheMaterials(t *testing.T) {
	eachWritten(t, func(t *testing.T, w written) {
		h := w.parts.header
		require.EqualValues(t, w.materials.Suite, h.suite)
		require.Equal(t, w.header.MessageID, h.messageID)
		stored := handPairs(w.materials.EncryptionContext, func(k string) bool { return !slices.Contains(w.materials.RequiredContextKeys, k) })
		require.Equal(t, string(handContext(stored)), string(h.context))
		require.Len(t, h.dataKeys, len(w.materials.EncryptedDataKeys))
		for i, edk := range w.materials.EncryptedDataKeys {
			require.Equal(t, edk.ProviderID, string(h.dataKeys[i][0]))
			require.Equal(t, edk.ProviderInfo, h.dataKeys[i][1])
			require.Equal(t, edk.Ciphertext, h.dataKeys[i][2])
		}
		require.EqualValues(t, w.frame, h.frameLength)
		require.Equal(t, w.frame == 0, h.contentType == 1)
		require.Equal(t, make([]byte, 12), h.iv)
	})
}

// The header's tag, the commit key and every frame are what keys derived by
// hand from the materials' data key give.
func TestWrittenMessagesOpenByHand(t *testing.T) {
	eachWritten(t, func(t *testing.T, w written) {
		require.Equal(t, w.plaintext, w.parts.open(t, w.dataKey, w.unstored))
	})
}

// All frames but the last are full, the last is not, and the IV of each is its
// number, so that none is the header's. An unframed body has the IV 1.
func TestWrittenFramesAreFullAndNumbered(t *testing.T) {
	eachWritten(t, func(t *testing.T, w written) {
		last := len(w.parts.frames) - 1
		if w.frame > 0 {
			require.Equal(t, len(w.plaintext)/w.frame, last)
		}
		for i, f := range w.parts.frames {
			require.EqualValues(t, i+1, f.sequence)
			require.Equal(t, sequenceIV(f.sequence), f.iv)
			require.Equal(t, i == last, f.final)
			if i < last {
				require.Len(t, f.content, w.frame)
			}
		}
		require.Equal(t, len(w.plaintext)-last*w.frame, len(w.parts.frames[last].content))
	})
}

// The signature is a DER sequence of two integers, made with the key pair of
// the materials over all that stands before the footer; unsigned suites have
// no footer.
func TestWrittenSignatureCoversHeaderAndBody(t *testing.T) {
	eachWritten(t, func(t *testing.T, w written) {
		if w.materials.SigningKey == nil {
			require.Nil(t, w.parts.signature)
			return
		}
		w.parts.verify(t, w.materials.EncryptionContext["aws-crypto-public-key"])
		var sig struct{ R, S *big.Int }
		rest, err := asn1.Unmarshal(w.parts.signature, &sig)
		require.NoError(t, err)
		require.Empty(t, rest)
		public, err := keyprovider.EncodePublicKey(&w.materials.SigningKey.PublicKey)
		require.NoError(t, err)
		require.Equal(t, public, w.materials.EncryptionContext["aws-crypto-public-key"])
	})
}

// Messages that another writer made by the specification decrypt, whatever it
// was free to choose: IVs, the order of the context's pairs, a full final frame
// or an empty one, unframed bodies, signatures of any length.
func TestMessagesMadeByHandDecrypt(t *testing.T) {
	stored := [][2]string{{"zz", "1"}, {"a", ""}, {"größe", "ß"}} // unsorted
	unstored := handContext([][2]string{{"tenant", "t-1"}, {"user", "u-1"}})
	randomIV := func(uint32) []byte { iv := make([]byte, 12); copy(iv, text(12)); return iv }
	for _, id := range suite.All() {
		for name, w := range map[string]handWriting{
			"empty":                     {frameLength: 10, frames: []string{""}},
			"one frame":                 {frameLength: 10, frames: []string{"abc"}},
			"full final frame":          {frameLength: 3, frames: []string{"abc", "def"}},
			"empty final frame":         {frameLength: 3, frames: []string{"abc", "def", ""}},
			"some frames":               {frameLength: 3, frames: []string{"abc", "def", "g"}},
			"unframed":                  {frames: []string{"abcdefg"}},
			"unframed and empty":        {frames: []string{""}},
			"other IVs":                 {frameLength: 3, frames: []string{"abc", "def", "g"}, headerIV: []byte("header's own")},
			"another IV, unframed":      {frames: []string{"abcdefg"}, headerIV: []byte("header's own"), iv: randomIV},
			"unsorted context":          {frameLength: 3, frames: []string{"abc", "d"}, stored: stored},
			"required context":          {frameLength: 3, frames: []string{"abc", "d"}, stored: stored, unstored: unstored},
			"required, unframed":        {frames: []string{"abc"}, unstored: unstored},
			"frame length over a frame": {frameLength: 1 << 30, frames: []string{"abc"}},
		} {
			w.suite, w.dataKey = id, text(handSuites[uint16(id)].keySize)
			if handSuites[uint16(id)].committing {
				w.headerIV = nil // always zero
			}
			if w.iv == nil {
				w.iv = sequenceIV
			}
			if name == "other IVs" {
				w.iv = func(sequence uint32) []byte { return append([]byte("8 bytes."), sequenceIV(^sequence)[8:]...) }
			}
			message := w.put(t)
			opts := &esdk.DecryptOptions{}
			if w.unstored != nil {
				opts.EncryptionContext = map[string]string{"tenant": "t-1", "user": "u-1"}
			}
			for _, d := range decryptors {
				got, err := d.run(allowAll, message, dataKey(w.dataKey), opts)
				require.NoError(t, err, "%v, %s, %s", id, name, d.name)
				require.Equal(t, strings.Join(w.frames, ""), string(got), "%v, %s, %s", id, name, d.name)
			}
			if w.unstored != nil {
				_, _, err := allowAll.Decrypt(bg, message, dataKey(w.dataKey), nil)
				require.ErrorIs(t, err, esdk.ErrAuthentication)
			}
		}
	}
}
