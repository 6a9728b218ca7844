package byhand

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Header is the fields of a header as they stand in the message.
type Header struct {
	Version            byte
	Suite              uint16
	MessageID, Context []byte
	DataKeys           [][3][]byte
	ContentType        byte
	FrameLength        uint32
	CommitKey          []byte
	Body               []byte // all of the above, serialised
	IV, Tag            []byte
}

// A Part is a frame, or the unframed body, as it stands in the message.
type Part struct {
	PartHeader
	At     int    // where it starts
	Sealed []byte // content and tag
	Bytes  []byte // all of it
}

// A Message is a whole message.
type Message struct {
	Header    Header
	Parts     []Part
	Signed    []byte // what stands before the footer
	Signature []byte // nil: no footer
}

// Read takes a message apart to its last byte. The test fails unless it is one.
func Read(t testing.TB, message []byte) *Message {
	t.Helper()
	rest := message
	take := func(n int) []byte {
		t.Helper()
		require.GreaterOrEqual(t, len(rest), n)
		b := rest[:n]
		rest = rest[n:]
		return b
	}
	number := func(n int) (v int) {
		for _, b := range take(n) {
			v = v<<8 | int(b)
		}
		return v
	}
	m := new(Message)
	h := &m.Header
	h.Version = take(1)[0]
	if h.Version == 1 {
		require.Equal(t, []byte{0x80}, take(1), "type")
	} else {
		require.EqualValues(t, 2, h.Version)
	}
	h.Suite = uint16(number(2))
	s := SuiteOf(h.Suite)
	require.NotZero(t, s.KeySize, "unknown suite")
	require.EqualValues(t, s.Version(), h.Version)
	h.MessageID = take(16 * int(h.Version))
	h.Context = take(number(2))
	h.DataKeys = make([][3][]byte, number(2))
	for i := range h.DataKeys {
		for j := range 3 {
			h.DataKeys[i][j] = take(number(2))
		}
	}
	h.ContentType = take(1)[0]
	if h.Version == 1 {
		require.Equal(t, []byte{0, 0, 0, 0, 12}, take(5), "reserved field and IV length")
	}
	h.FrameLength = uint32(number(4))
	if h.Version == 2 {
		h.CommitKey = take(32)
	}
	h.Body = message[:len(message)-len(rest)]
	h.IV = make([]byte, 12)
	if h.Version == 1 {
		h.IV = take(12)
	}
	h.Tag = take(16)

	if h.ContentType == 1 {
		require.Zero(t, h.FrameLength)
	} else {
		require.EqualValues(t, 2, h.ContentType)
		require.NotZero(t, h.FrameLength)
	}
	for whole := false; !whole; {
		at := len(message) - len(rest)
		p, ok := ReadPartHeader(rest, h.FrameLength)
		require.True(t, ok, "cut short")
		require.LessOrEqual(t, p.Length, uint64(len(rest)))
		take(p.Size)
		sealed := take(int(p.Length) + 16)
		m.Parts = append(m.Parts, Part{p, at, sealed, message[at : len(message)-len(rest)]})
		whole = p.Content != Frame
	}
	m.Signed = message[:len(message)-len(rest)]
	if s.Curve != nil {
		m.Signature = take(number(2))
	}
	require.Empty(t, rest)
	return m
}

// Open verifies the header and opens the parts. unstored is the serialised
// context of the required keys.
func (m *Message) Open(t testing.TB, dataKey, unstored []byte) (plaintext []byte) {
	t.Helper()
	require.Len(t, dataKey, SuiteOf(m.Header.Suite).KeySize)
	aead, commitKey := Keys(m.Header.Suite, dataKey, m.Header.MessageID)
	require.Equal(t, commitKey, m.Header.CommitKey)
	_, err := aead.Open(nil, m.Header.IV, m.Header.Tag, slices.Concat(m.Header.Body, unstored))
	require.NoError(t, err, "header")
	plaintext = []byte{}
	for i, p := range m.Parts {
		require.EqualValues(t, i+1, p.Sequence)
		plaintext, err = aead.Open(plaintext, p.IV, p.Sealed, AAD(m.Header.MessageID, p.Content, p.Sequence, p.Length))
		require.NoError(t, err, "frame %d", i+1)
	}
	return plaintext
}

// Verify verifies the signature with the key in its encoded form.
func (m *Message) Verify(t testing.TB, public string) {
	t.Helper()
	s := SuiteOf(m.Header.Suite)
	key := PublicKey(s, public)
	require.NotNil(t, key)
	digest := s.Hash.New()
	digest.Write(m.Signed)
	require.True(t, ecdsa.VerifyASN1(key, digest.Sum(nil), m.Signature))
}

// PublicKey decodes the key in the encryption context of a signed message. It
// returns nil if that is none of the suite.
func PublicKey(s Suite, public string) *ecdsa.PublicKey {
	point, err := base64.StdEncoding.Strict().DecodeString(public)
	if err != nil || base64.StdEncoding.EncodeToString(point) != public {
		return nil
	}
	x, y := elliptic.UnmarshalCompressed(s.Curve, point)
	if x == nil {
		return nil
	}
	return &ecdsa.PublicKey{Curve: s.Curve, X: x, Y: y}
}
