package byhand

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Writing says how a message is put together, which may be otherwise than
// this module does it.
type Writing struct {
	Suite       uint16
	DataKey     []byte
	Stored      [][2]string // in this order; the public key comes last
	Unstored    []byte      // serialised
	FrameLength int         // 0: unframed
	Frames      []string    // the plaintext of each; the last is the final one
	HeaderIV    []byte      // of version 1; nil: zeros
	IV          func(sequence uint32) []byte
	NET400      bool // as version 4.0.0 of the AWS Encryption SDK for .NET did
}

// Message puts the message together. It has one encrypted data key, whose
// fields are "p", "i" and "c".
func (w Writing) Message(t testing.TB) []byte {
	t.Helper()
	s := SuiteOf(w.Suite)
	messageID := make([]byte, 16*s.Version())
	rand.Read(messageID)
	aead, commitKey := Keys(w.Suite, w.DataKey, messageID)
	unstored := w.Unstored
	if w.NET400 {
		aead, _ = KeysNET400(w.Suite, w.DataKey, messageID)
		unstored = UnstoredNET400(unstored)
	}
	stored := w.Stored
	var key *ecdsa.PrivateKey
	if s.Curve != nil {
		var err error
		key, err = ecdsa.GenerateKey(s.Curve, rand.Reader)
		require.NoError(t, err)
		public := elliptic.MarshalCompressed(s.Curve, key.X, key.Y)
		stored = append(slices.Clone(stored), [2]string{"aws-crypto-public-key", base64.StdEncoding.EncodeToString(public)})
	}
	b := []byte{byte(s.Version())}
	if s.Version() == 1 {
		b = append(b, 0x80)
	}
	b = binary.BigEndian.AppendUint16(b, w.Suite)
	b = append(append(b, messageID...), field(Context(stored))...)
	b = append(b, 0, 1, 0, 1, 'p', 0, 1, 'i', 0, 1, 'c')
	if w.FrameLength == 0 {
		b = append(b, 1)
	} else {
		b = append(b, 2)
	}
	if s.Version() == 1 {
		b = append(b, 0, 0, 0, 0, 12)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(w.FrameLength))
	b = append(b, commitKey...)
	iv := make([]byte, 12)
	if w.HeaderIV != nil {
		iv = w.HeaderIV
	}
	tag := aead.Seal(nil, iv, nil, slices.Concat(b, unstored))
	if s.Version() == 1 {
		b = append(b, iv...)
	}
	b = append(b, tag...)

	for i, plaintext := range w.Frames {
		sequence, final := uint32(i+1), i == len(w.Frames)-1
		iv := w.IV(sequence)
		content := Frame
		switch {
		case w.FrameLength == 0:
			content = SingleBlock
			b = binary.BigEndian.AppendUint64(append(b, iv...), uint64(len(plaintext)))
		case final:
			content = FinalFrame
			b = binary.BigEndian.AppendUint32(append(b, 0xFF, 0xFF, 0xFF, 0xFF), sequence)
			b = binary.BigEndian.AppendUint32(append(b, iv...), uint32(len(plaintext)))
		default:
			b = append(binary.BigEndian.AppendUint32(b, sequence), iv...)
		}
		b = aead.Seal(b, iv, []byte(plaintext), AAD(messageID, content, sequence, uint64(len(plaintext))))
	}
	if key == nil {
		return b
	}
	digest := s.Hash.New()
	digest.Write(b)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest.Sum(nil))
	require.NoError(t, err)
	return append(b, field(signature)...)
}
