// Package reseal makes altered messages pass the checks that stand before the
// alteration: it wraps the data key anew, commits to it, and computes the tags
// and the signature again, over whatever the message now says. Fuzzing and
// comparisons with other SDKs thus get behind the header's tag, where an altered
// message would otherwise always end.
//
// It is for tests. The data keys and signing keys it uses are known to all.
package reseal

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/binary"
	"slices"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/byhand"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// Parts are the parts of a message that a Sealer makes again.
type Parts uint8

const (
	DataKey    Parts = 1 << iota // the first entry of the Sealer's key, unless it can be unwrapped
	PublicKey                    // the verification key in the encryption context, if it has the right length
	Commitment                   // the key commitment
	HeaderTag
	BodyTags        // of every whole frame, or of the unframed body; what stands for ciphertext is encrypted
	Signature       // over all up to the end of the body; needs PublicKey
	All       Parts = 1<<iota - 1
)

// A Sealer repairs messages for readers with a raw AES key, or with any whose
// data key is known.
type Sealer struct {
	Namespace, Name string
	Key             []byte // the wrapping key
	// Known, if set, is the data key of the message, however that is wrapped:
	// then no entry is looked at, and none made.
	Known []byte
	// Unstored are pairs of the encryption context that the reader gives.
	Unstored map[string]string
	Parts    Parts
	NET400   bool // seal as version 4.0.0 of the AWS Encryption SDK for .NET did
	// AlterSignature, if set, makes the footer's signature of a good one.
	AlterSignature func(der []byte) []byte
}

// Message returns the message with the Sealer's parts made again, and whether
// that could be done: it must have the outline of a header. Everything else
// stays as it is, right or wrong.
func (s *Sealer) Message(message []byte) ([]byte, bool) {
	h, ok := outline(message)
	if !ok {
		return message, false
	}
	signer := signingKey(h.suite)
	if s.Parts&PublicKey != 0 && signer != nil {
		message = slices.Clone(message)
		h.replacePublicKey(message)
	}
	dataKey, message := s.dataKey(message, &h)
	if dataKey == nil {
		return message, false
	}
	aead, commitKey := byhand.Keys(uint16(h.suite), dataKey, h.messageID.of(message))
	if s.NET400 {
		aead, _ = byhand.KeysNET400(uint16(h.suite), dataKey, h.messageID.of(message))
	}
	out := slices.Clone(message[:h.size])
	if s.Parts&Commitment != 0 {
		copy(h.commitKey.of(out), commitKey)
	}
	if s.Parts&HeaderTag != 0 {
		s.headerTag(out, &h, aead)
	}
	out, rest, whole := s.body(out, message[h.size:], &h, aead)
	if whole && s.Parts&Signature != 0 && signer != nil {
		out, rest = s.footer(out, signer, h.suite), afterFooter(rest)
	}
	return append(out, rest...), true
}

// dataKey returns the message's data key. If the message has none that the
// Sealer's key unwraps, it gets one.
func (s *Sealer) dataKey(message []byte, h *header) (dataKey, rewrapped []byte) {
	if s.Known != nil {
		if len(s.Known) != h.suite.KeySize() {
			return nil, message
		}
		return s.Known, message
	}
	ec := h.pairs(message)
	for k, v := range s.Unstored {
		ec[k] = v
	}
	aad, err := format.AppendEncryptionContext(nil, ec)
	if err != nil {
		return nil, message
	}
	wrapping := byhand.GCM(s.Key)
	for _, e := range h.dataKeys {
		info, ok := bytes.CutPrefix(e.info.of(message), []byte(s.Name))
		if string(e.id.of(message)) != s.Namespace || !ok || len(info) != 8+suite.IVSize {
			continue
		}
		key, err := wrapping.Open(nil, info[8:], e.ciphertext.of(message), aad)
		if err == nil && len(key) == h.suite.KeySize() {
			return key, message
		}
		if s.Parts&DataKey == 0 {
			return nil, message
		}
		key = bytes.Repeat([]byte("data key"), 4)[:h.suite.KeySize()]
		wrapped := wrapping.Seal(nil, info[8:], key, aad)
		size := binary.BigEndian.AppendUint16(nil, uint16(len(wrapped)))
		out := slices.Concat(message[:e.ciphertext.from-2], size, wrapped, message[e.ciphertext.to:])
		*h, _ = outline(out) // what follows has moved
		return key, out
	}
	return nil, message
}

// headerTag puts the header's tag into its place.
func (s *Sealer) headerTag(out []byte, h *header, aead cipher.AEAD) {
	unstored, err := format.AppendEncryptionContext(nil, s.Unstored)
	if err != nil {
		return
	}
	if s.NET400 {
		unstored = byhand.UnstoredNET400(unstored)
	}
	iv := make([]byte, suite.IVSize)
	if h.iv.from != h.iv.to {
		iv = h.iv.of(out)
	}
	aad := slices.Concat(out[:h.bodySize], unstored)
	aead.Seal(h.tag.of(out)[:0], iv, nil, aad)
}

// body appends the message's body to out, with the tags made again. It returns
// what is left, and whether that was a whole body. Numbers and lengths are taken
// as they are: they are authenticated, right or wrong.
func (s *Sealer) body(out, rest []byte, h *header, aead cipher.AEAD) (sealed, left []byte, whole bool) {
	id, frameLength := h.messageID.of(out), h.frameLength
	if h.contentType == format.Unframed {
		frameLength = 0
	}
	for {
		p, ok := byhand.ReadPartHeader(rest, frameLength)
		if !ok || p.Length > uint64(len(rest)) || uint64(len(rest)-p.Size) < p.Length+suite.TagSize {
			return out, rest, false
		}
		end := p.Size + int(p.Length)
		if s.Parts&BodyTags != 0 {
			out = append(out, rest[:p.Size]...)
			out = aead.Seal(out, p.IV, rest[p.Size:end], byhand.AAD(id, p.Content, p.Sequence, p.Length))
		} else {
			out = append(out, rest[:end+suite.TagSize]...)
		}
		rest = rest[end+suite.TagSize:]
		if p.Content != byhand.Frame {
			return out, rest, true
		}
	}
}

// footer appends a footer with the signature of out.
func (s *Sealer) footer(out []byte, key *ecdsa.PrivateKey, id suite.ID) []byte {
	digest := id.SignatureHash().New()
	digest.Write(out)
	der, err := key.Sign(nil, digest.Sum(nil), id.SignatureHash()) // without randomness: RFC 6979
	if err != nil {
		panic(err) // of a fixed key
	}
	if s.AlterSignature != nil {
		der = s.AlterSignature(der)
	}
	out, err = format.AppendFooter(out, der)
	if err != nil {
		panic(err) // AlterSignature made it too long
	}
	return out
}

// afterFooter returns what follows the footer that rest begins with, or nothing
// if it begins with none.
func afterFooter(rest []byte) []byte {
	_, size, err := format.ParseFooter(rest)
	if err != nil {
		return nil
	}
	return rest[size:]
}

// signingKey returns a fixed key on the suite's curve, nil if it does not sign.
func signingKey(id suite.ID) *ecdsa.PrivateKey {
	if !id.Signing() {
		return nil
	}
	size := 32
	if id.Curve() == elliptic.P384() {
		size = 48
	}
	key, err := ecdsa.ParseRawPrivateKey(id.Curve(), bytes.Repeat([]byte{0x5e}, size))
	if err != nil {
		panic(err)
	}
	return key
}

// VerificationKey returns the text under format.PublicKeyField of messages that
// a Sealer signs.
func VerificationKey(id suite.ID) string {
	text, err := keyprovider.EncodePublicKey(&signingKey(id).PublicKey)
	if err != nil {
		panic(err) // of a fixed key
	}
	return text
}

// replacePublicKey puts the key into the encryption context.
func (h *header) replacePublicKey(message []byte) {
	text := VerificationKey(h.suite)
	for _, p := range h.context {
		if v := p.value.of(message); string(p.key.of(message)) == format.PublicKeyField && len(v) == len(text) {
			copy(v, text)
		}
	}
}
