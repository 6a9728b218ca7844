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
	"github.com/esdk-go/esdk/internal/test/byhand"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A message of every suite, framed and unframed, of several lengths and with
// several keys, some with required context keys, that Encrypt and the streams
// wrote, is what a reader that was written from the specification takes it for.
func TestWrittenMessagesOpenByHand(t *testing.T) {
	other, err := keyprovider.NewRawAES("esdk test", "other", make([]byte, 16))
	require.NoError(t, err)
	for s, id := range suite.All() {
		for _, frame := range []int{10, 0} {
			t.Run(fmt.Sprintf("%v/%d", id, frame), func(t *testing.T) {
				t.Parallel()
				for i, n := range []int{0, 1, 9, 10, 11, 20, 25, 0, 1, 9, 10, 11, 20, 25} {
					e := encryptors[0]
					if i >= 7 && frame > 0 {
						e = encryptors[1+(s+i)%(len(encryptors)-1)]
					}
					p := keyprovider.MasterKeyProvider(rawAES(t))
					if i%2 == 1 {
						both, err := keyprovider.Multi(p, other)
						require.NoError(t, err)
						p = both
					}
					opts := &esdk.EncryptOptions{Suite: id, FrameLength: int64(frame), Unframed: frame == 0}
					if i > 0 {
						opts.EncryptionContext = map[string]string{"tenant": "t-1", "b": "1", "größe": "ß", "\U00010000": "", "\uff5e": ""}
					}
					if i > 1 {
						opts.RequiredContextKeys = []string{"tenant", "größe"}
					}
					checkWritten(t, e, text(n), p, opts)
				}
			})
		}
	}
}

func checkWritten(t *testing.T, e encryptor, plaintext []byte, p keyprovider.MasterKeyProvider, opts *esdk.EncryptOptions) {
	t.Helper()
	var dataKey []byte
	var materials *keyprovider.EncryptionMaterials
	p = &manager{inner: p, encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
		dataKey, materials = bytes.Clone(m.DataKey), m
		return m
	}}
	message, header, err := e.run(clientFor(opts.Suite), plaintext, p, opts)
	require.NoError(t, err)
	// All frames but the last are full, the last is not, and the IV of each is its
	// number, so that none is the header's. An unframed body has the IV 1.
	checkMessage(t, message, opts.Suite, len(plaintext), uint32(opts.FrameLength))
	m := byhand.Read(t, message)

	// Every field of the header is what the materials and the options say; the
	// context is the materials' without the required keys, in canonical order.
	h := m.Header
	require.EqualValues(t, materials.Suite, h.Suite)
	require.Equal(t, header.MessageID, h.MessageID)
	stored := byhand.Pairs(materials.EncryptionContext, func(k string) bool { return !slices.Contains(materials.RequiredContextKeys, k) })
	require.Equal(t, string(byhand.Context(stored)), string(h.Context))
	require.Len(t, h.DataKeys, len(materials.EncryptedDataKeys))
	for i, edk := range materials.EncryptedDataKeys {
		require.Equal(t, edk.ProviderID, string(h.DataKeys[i][0]))
		require.Equal(t, edk.ProviderInfo, h.DataKeys[i][1])
		require.Equal(t, edk.Ciphertext, h.DataKeys[i][2])
	}
	require.Equal(t, opts.Unframed, h.ContentType == 1)

	// The header's tag, the commit key and every frame are what keys derived from
	// the materials' data key give.
	unstored := byhand.Pairs(opts.EncryptionContext, func(k string) bool { return slices.Contains(opts.RequiredContextKeys, k) })
	require.Equal(t, plaintext, m.Open(t, dataKey, byhand.Context(unstored)))

	// The signature is a DER sequence of two integers, made with the key pair of
	// the materials over all that stands before the footer; unsigned suites have no
	// footer.
	if materials.SigningKey == nil {
		require.Nil(t, m.Signature)
		return
	}
	m.Verify(t, materials.EncryptionContext["aws-crypto-public-key"])
	var sig struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(m.Signature, &sig)
	require.NoError(t, err)
	require.Empty(t, rest)
	public, err := keyprovider.EncodePublicKey(&materials.SigningKey.PublicKey)
	require.NoError(t, err)
	require.Equal(t, public, materials.EncryptionContext["aws-crypto-public-key"])
}

// Messages that another writer made by the specification decrypt, whatever it
// was free to choose: IVs, the order of the context's pairs, a full final frame
// or an empty one, unframed bodies, signatures of any length.
func TestMessagesMadeByHandDecrypt(t *testing.T) {
	stored := [][2]string{{"zz", "1"}, {"a", ""}, {"größe", "ß"}} // unsorted
	unstored := byhand.Context([][2]string{{"tenant", "t-1"}, {"user", "u-1"}})
	otherIV := func(sequence uint32) []byte { return append([]byte("8 bytes."), byhand.SequenceIV(^sequence)[8:]...) }
	for s, id := range suite.All() {
		t.Run(id.String(), func(t *testing.T) {
			t.Parallel()
			for i, w := range []byhand.Writing{
				{FrameLength: 10, Frames: []string{""}},
				{FrameLength: 10, Frames: []string{"abc"}},
				{FrameLength: 3, Frames: []string{"abc", "def"}},     // the final frame is full
				{FrameLength: 3, Frames: []string{"abc", "def", ""}}, // or empty
				{FrameLength: 3, Frames: []string{"abc", "def", "g"}},
				{FrameLength: 1 << 30, Frames: []string{"abc"}},
				{Frames: []string{"abcdefg"}},
				{Frames: []string{""}},
				{FrameLength: 3, Frames: []string{"abc", "def", "g"}, HeaderIV: []byte("header's own"), IV: otherIV},
				{Frames: []string{"abcdefg"}, HeaderIV: []byte("header's own"), IV: otherIV},
				{FrameLength: 3, Frames: []string{"abc", "d"}, Stored: stored},
				{FrameLength: 3, Frames: []string{"abc", "d"}, Stored: stored, Unstored: unstored},
				{Frames: []string{"abc"}, Unstored: unstored},
				// As .NET 4.0.0 wrote them:
				{FrameLength: 3, Frames: []string{"abc", "def", "g"}, NET400: true},
				{FrameLength: 3, Frames: []string{"abc", "d"}, Stored: stored, NET400: true},
				{FrameLength: 3, Frames: []string{"abc", "d"}, Stored: stored, Unstored: unstored, NET400: true},
				{Frames: []string{"abc"}, NET400: true},
			} {
				w.Suite, w.DataKey = uint16(id), text(byhand.SuiteOf(uint16(id)).KeySize)
				if byhand.SuiteOf(w.Suite).Committing {
					w.HeaderIV = nil // always zero
				}
				if w.IV == nil {
					w.IV = byhand.SequenceIV
				}
				message := w.Message(t)
				opts := &esdk.DecryptOptions{}
				if w.Unstored != nil {
					opts.EncryptionContext = map[string]string{"tenant": "t-1", "user": "u-1"}
				}
				for _, d := range turn(decryptors, s+i) {
					got, err := d.run(allowAll, message, dataKey(w.DataKey), opts)
					require.NoError(t, err, "%+v, %s", w, d.name)
					require.Equal(t, strings.Join(w.Frames, ""), string(got), "%+v, %s", w, d.name)
				}
				if w.Unstored != nil {
					_, _, err := allowAll.Decrypt(bg, message, dataKey(w.DataKey), nil)
					require.ErrorIs(t, err, esdk.ErrAuthentication)
				}
			}
		})
	}
}
