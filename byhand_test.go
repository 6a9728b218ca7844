package esdk_test

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/suite"
)

// Messages taken apart and put together by hand, from the pages of the
// specification and with nothing of this module but the numbers of the suites:
// what both sides of the module got wrong alike shows here.

// A handSuite is a row of the tables of framework/algorithm-suites.md.
type handSuite struct {
	keySize    int
	kdf        crypto.Hash // 0: identity
	committing bool
	curve      elliptic.Curve // nil: unsigned
	hash       crypto.Hash    // of the signature
}

var handSuites = map[uint16]handSuite{
	0x0014: {16, 0, false, nil, 0},
	0x0046: {24, 0, false, nil, 0},
	0x0078: {32, 0, false, nil, 0},
	0x0114: {16, crypto.SHA256, false, nil, 0},
	0x0146: {24, crypto.SHA256, false, nil, 0},
	0x0178: {32, crypto.SHA256, false, nil, 0},
	0x0214: {16, crypto.SHA256, false, elliptic.P256(), crypto.SHA256},
	0x0346: {24, crypto.SHA384, false, elliptic.P384(), crypto.SHA384},
	0x0378: {32, crypto.SHA384, false, elliptic.P384(), crypto.SHA384},
	0x0478: {32, crypto.SHA512, true, nil, 0},
	0x0578: {32, crypto.SHA512, true, elliptic.P384(), crypto.SHA384},
}

// handHKDF is RFC 5869.
func handHKDF(h crypto.Hash, salt, key, info []byte, size int) (out []byte) {
	mac := func(key []byte, parts ...[]byte) []byte {
		m := hmac.New(h.New, key)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	prk := mac(salt, key)
	var block []byte
	for i := byte(1); len(out) < size; i++ {
		block = mac(prk, block, info, []byte{i})
		out = append(out, block...)
	}
	return out[:size]
}

// handKeys derives the key of the content and the one that is committed to,
// as framework/transitive-requirements.md says.
func handKeys(t testing.TB, id uint16, dataKey, messageID []byte) (aead cipher.AEAD, commitKey []byte) {
	t.Helper()
	s := handSuites[id]
	require.Len(t, dataKey, s.keySize)
	key, idBytes := dataKey, binary.BigEndian.AppendUint16(nil, id)
	switch {
	case s.committing:
		key = handHKDF(s.kdf, messageID, dataKey, append(idBytes, "DERIVEKEY"...), s.keySize)
		commitKey = handHKDF(s.kdf, messageID, dataKey, []byte("COMMITKEY"), 32)
	case s.kdf != 0:
		key = handHKDF(s.kdf, make([]byte, s.kdf.Size()), dataKey, append(idBytes, messageID...), s.keySize)
	}
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	aead, err = cipher.NewGCM(block)
	require.NoError(t, err)
	return aead, commitKey
}

// field is bytes behind their two-byte length.
func field(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// handContext serialises pairs in the order in which they are given.
func handContext(pairs [][2]string) []byte {
	if len(pairs) == 0 {
		return nil
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(len(pairs)))
	for _, p := range pairs {
		b = append(append(b, field([]byte(p[0]))...), field([]byte(p[1]))...)
	}
	return b
}

// handPairs returns the pairs of these keys in canonical order.
func handPairs(ec map[string]string, keep func(key string) bool) (pairs [][2]string) {
	for k, v := range ec {
		if keep(k) {
			pairs = append(pairs, [2]string{k, v})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return cmp.Compare(a[0], b[0]) }) // by bytes
	return pairs
}

// handAAD is data-format/message-body-aad.md.
func handAAD(messageID []byte, content string, sequence uint32, length int) []byte {
	b := append(bytes.Clone(messageID), "AWSKMSEncryptionClient "+content...)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, sequence), uint64(length))
}

// A handHeader is the fields of a header as they stand in the message.
type handHeader struct {
	version            byte
	suite              uint16
	messageID, context []byte
	dataKeys           [][3][]byte
	contentType        byte
	frameLength        uint32
	commitKey          []byte
	body               []byte // all of the above, serialised
	iv, tag            []byte
}

// A handFrame is a frame, or the unframed body, as it stands in the message.
type handFrame struct {
	final        bool
	sequence     uint32
	iv           []byte
	content, tag []byte
}

// A handMessage is a whole message.
type handMessage struct {
	header    handHeader
	frames    []handFrame
	signed    []byte // what stands before the footer
	signature []byte // nil: no footer
}

// takeApart reads a message to its last byte.
func takeApart(t testing.TB, message []byte) handMessage {
	t.Helper()
	rest := message
	take := func(n int) []byte {
		t.Helper()
		require.GreaterOrEqual(t, len(rest), n)
		b := rest[:n]
		rest = rest[n:]
		return b
	}
	number := func(n int) (v uint64) {
		for _, b := range take(n) {
			v = v<<8 | uint64(b)
		}
		return v
	}
	var m handMessage
	h := &m.header
	h.version = take(1)[0]
	if h.version == 1 {
		require.Equal(t, []byte{0x80}, take(1), "type")
	} else {
		require.EqualValues(t, 2, h.version)
	}
	h.suite = uint16(number(2))
	s, known := handSuites[h.suite]
	require.True(t, known)
	require.Equal(t, s.committing, h.version == 2)
	h.messageID = take(16 * int(h.version))
	h.context = take(int(number(2)))
	h.dataKeys = make([][3][]byte, number(2))
	for i := range h.dataKeys {
		for j := range 3 {
			h.dataKeys[i][j] = take(int(number(2)))
		}
	}
	h.contentType = take(1)[0]
	if h.version == 1 {
		require.Equal(t, []byte{0, 0, 0, 0, 12}, take(5), "reserved field and IV length")
	}
	h.frameLength = uint32(number(4))
	if h.version == 2 {
		h.commitKey = take(32)
	}
	h.body = message[:len(message)-len(rest)]
	h.iv = make([]byte, 12)
	if h.version == 1 {
		h.iv = take(12)
	}
	h.tag = take(16)

	if h.contentType == 1 {
		require.Zero(t, h.frameLength)
		f := handFrame{final: true, sequence: 1, iv: take(12)}
		f.content = take(int(number(8)))
		f.tag = take(16)
		m.frames = []handFrame{f}
	} else {
		require.EqualValues(t, 2, h.contentType)
		for final := false; !final; {
			f := handFrame{sequence: uint32(number(4))}
			size := int(h.frameLength)
			if final = f.sequence == 0xFFFFFFFF; final {
				f.final, f.sequence, f.iv = true, uint32(number(4)), take(12)
				size = int(number(4))
			} else {
				f.iv = take(12)
			}
			f.content = take(size)
			f.tag = take(16)
			m.frames = append(m.frames, f)
		}
	}
	m.signed = message[:len(message)-len(rest)]
	if s.curve != nil {
		m.signature = take(int(number(2)))
	}
	require.Empty(t, rest)
	return m
}

// content returns the string of the frame's AAD.
func (m *handMessage) contentString(i int) string {
	switch {
	case m.header.contentType == 1:
		return "Single Block"
	case m.frames[i].final:
		return "Final Frame"
	}
	return "Frame"
}

// open verifies the header and opens the frames. unstored is the serialised
// context of the required keys.
func (m *handMessage) open(t testing.TB, dataKey, unstored []byte) (plaintext []byte) {
	t.Helper()
	aead, commitKey := handKeys(t, m.header.suite, dataKey, m.header.messageID)
	require.Equal(t, commitKey, m.header.commitKey)
	_, err := aead.Open(nil, m.header.iv, m.header.tag, slices.Concat(m.header.body, unstored))
	require.NoError(t, err, "header")
	plaintext = []byte{}
	for i, f := range m.frames {
		require.EqualValues(t, i+1, f.sequence)
		aad := handAAD(m.header.messageID, m.contentString(i), f.sequence, len(f.content))
		plaintext, err = aead.Open(plaintext, f.iv, slices.Concat(f.content, f.tag), aad)
		require.NoError(t, err, "frame %d", i+1)
	}
	return plaintext
}

// verify verifies the signature with the key in its encoded form.
func (m *handMessage) verify(t testing.TB, public string) {
	t.Helper()
	s := handSuites[m.header.suite]
	point, err := base64.StdEncoding.DecodeString(public)
	require.NoError(t, err)
	x, y := elliptic.UnmarshalCompressed(s.curve, point)
	require.NotNil(t, x)
	digest := s.hash.New()
	digest.Write(m.signed)
	require.True(t, ecdsa.VerifyASN1(&ecdsa.PublicKey{Curve: s.curve, X: x, Y: y}, digest.Sum(nil), m.signature))
}

// A handWriting says how a message is put together.
type handWriting struct {
	suite       suite.ID
	dataKey     []byte
	stored      [][2]string // in this order; the public key comes last
	unstored    []byte      // serialised
	frameLength int         // 0: unframed
	frames      []string    // the plaintext of each; the last is the final one
	headerIV    []byte      // of version 1; nil: zeros
	iv          func(sequence uint32) []byte
}

// sequenceIV is the IV that the specification gives a frame.
func sequenceIV(sequence uint32) []byte {
	return binary.BigEndian.AppendUint32(make([]byte, 8), sequence)
}

// put puts a message together.
func (w handWriting) put(t testing.TB) []byte {
	t.Helper()
	s := handSuites[uint16(w.suite)]
	version := 1
	if s.committing {
		version = 2
	}
	messageID := make([]byte, 16*version)
	rand.Read(messageID)
	aead, commitKey := handKeys(t, uint16(w.suite), w.dataKey, messageID)
	stored := w.stored
	var key *ecdsa.PrivateKey
	if s.curve != nil {
		var err error
		key, err = ecdsa.GenerateKey(s.curve, rand.Reader)
		require.NoError(t, err)
		public := elliptic.MarshalCompressed(s.curve, key.X, key.Y)
		stored = append(slices.Clone(stored), [2]string{"aws-crypto-public-key", base64.StdEncoding.EncodeToString(public)})
	}
	b := []byte{byte(version)}
	if version == 1 {
		b = append(b, 0x80)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(w.suite))
	b = append(append(b, messageID...), field(handContext(stored))...)
	b = append(b, 0, 1, 0, 1, 'p', 0, 1, 'i', 0, 1, 'c')
	if w.frameLength == 0 {
		b = append(b, 1)
	} else {
		b = append(b, 2)
	}
	if version == 1 {
		b = append(b, 0, 0, 0, 0, 12)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(w.frameLength))
	b = append(b, commitKey...)
	iv := make([]byte, 12)
	if w.headerIV != nil {
		iv = w.headerIV
	}
	tag := aead.Seal(nil, iv, nil, slices.Concat(b, w.unstored))
	if version == 1 {
		b = append(b, iv...)
	}
	b = append(b, tag...)

	for i, plaintext := range w.frames {
		sequence, final := uint32(i+1), i == len(w.frames)-1
		iv := w.iv(sequence)
		content := "Frame"
		switch {
		case w.frameLength == 0:
			content = "Single Block"
			b = binary.BigEndian.AppendUint64(append(b, iv...), uint64(len(plaintext)))
		case final:
			content = "Final Frame"
			b = binary.BigEndian.AppendUint32(append(b, 0xFF, 0xFF, 0xFF, 0xFF), sequence)
			b = binary.BigEndian.AppendUint32(append(b, iv...), uint32(len(plaintext)))
		default:
			b = append(binary.BigEndian.AppendUint32(b, sequence), iv...)
		}
		b = aead.Seal(b, iv, []byte(plaintext), handAAD(messageID, content, sequence, len(plaintext)))
	}
	if key == nil {
		return b
	}
	digest := s.hash.New()
	digest.Write(b)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest.Sum(nil))
	require.NoError(t, err)
	return append(b, field(signature)...)
}
