// Package byhand reads and writes messages from the pages of the specification,
// with nothing of this module: a fault that the module's two sides share, so
// that they still understand each other, shows in tests that use it.
//
// It is for tests, and slow.
package byhand

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/elliptic"
	"crypto/hmac"
	"encoding/binary"
	"slices"
)

// A Suite is a row of the tables of framework/algorithm-suites.md.
type Suite struct {
	KeySize    int
	KDF        crypto.Hash // 0: identity
	Committing bool
	Curve      elliptic.Curve // nil: unsigned
	Hash       crypto.Hash    // of the signature
}

// Version is that of the message format.
func (s Suite) Version() int {
	if s.Committing {
		return 2
	}
	return 1
}

// SuiteOf returns the suite with the number, the zero Suite if there is none.
func SuiteOf(id uint16) Suite {
	switch id {
	case 0x0014:
		return Suite{16, 0, false, nil, 0}
	case 0x0046:
		return Suite{24, 0, false, nil, 0}
	case 0x0078:
		return Suite{32, 0, false, nil, 0}
	case 0x0114:
		return Suite{16, crypto.SHA256, false, nil, 0}
	case 0x0146:
		return Suite{24, crypto.SHA256, false, nil, 0}
	case 0x0178:
		return Suite{32, crypto.SHA256, false, nil, 0}
	case 0x0214:
		return Suite{16, crypto.SHA256, false, elliptic.P256(), crypto.SHA256}
	case 0x0346:
		return Suite{24, crypto.SHA384, false, elliptic.P384(), crypto.SHA384}
	case 0x0378:
		return Suite{32, crypto.SHA384, false, elliptic.P384(), crypto.SHA384}
	case 0x0478:
		return Suite{32, crypto.SHA512, true, nil, 0}
	case 0x0578:
		return Suite{32, crypto.SHA512, true, elliptic.P384(), crypto.SHA384}
	}
	return Suite{}
}

// hkdf is RFC 5869.
func hkdf(h crypto.Hash, salt, key, info []byte, size int) (out []byte) {
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

// Keys derives the key of the content, as the cipher that uses it, and the key
// that is committed to, as framework/transitive-requirements.md says. dataKey
// must have the length that the suite wants.
func Keys(id uint16, dataKey, messageID []byte) (aead cipher.AEAD, commitKey []byte) {
	s := SuiteOf(id)
	key, idBytes := dataKey, binary.BigEndian.AppendUint16(nil, id)
	switch {
	case s.Committing:
		key = hkdf(s.KDF, messageID, dataKey, append(idBytes, "DERIVEKEY"...), s.KeySize)
		commitKey = hkdf(s.KDF, messageID, dataKey, []byte("COMMITKEY"), 32)
	case s.KDF != 0:
		key = hkdf(s.KDF, make([]byte, s.KDF.Size()), dataKey, append(idBytes, messageID...), s.KeySize)
	}
	return GCM(key), commitKey
}

// KeysNET400 is Keys as version 4.0.0 of the AWS Encryption SDK for .NET derived
// them: without the message ID, unless the suite commits.
func KeysNET400(id uint16, dataKey, messageID []byte) (aead cipher.AEAD, commitKey []byte) {
	if s := SuiteOf(id); s.Committing || s.KDF == 0 {
		return Keys(id, dataKey, messageID)
	}
	return Keys(id, dataKey, nil)
}

// UnstoredNET400 is the serialised context of the required keys as that version
// authenticated it: two zero bytes if there are none.
func UnstoredNET400(unstored []byte) []byte {
	if len(unstored) == 0 {
		return []byte{0, 0}
	}
	return unstored
}

// GCM returns AES-GCM with a key of 16, 24 or 32 bytes.
func GCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the length is the test's
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// field is bytes behind their two-byte length.
func field(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// Context serialises pairs in the order in which they are given.
func Context(pairs [][2]string) []byte {
	if len(pairs) == 0 {
		return nil
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(len(pairs)))
	for _, p := range pairs {
		b = append(append(b, field([]byte(p[0]))...), field([]byte(p[1]))...)
	}
	return b
}

// Pairs returns the pairs whose keys keep accepts, all if it is nil, in
// canonical order: by the keys' bytes.
func Pairs(ec map[string]string, keep func(key string) bool) (pairs [][2]string) {
	for k, v := range ec {
		if keep == nil || keep(k) {
			pairs = append(pairs, [2]string{k, v})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return cmp.Compare(a[0], b[0]) })
	return pairs
}

// The content strings of data-format/message-body-aad.md.
const (
	Frame       = "Frame"
	FinalFrame  = "Final Frame"
	SingleBlock = "Single Block"
)

// AAD is data-format/message-body-aad.md.
func AAD(messageID []byte, content string, sequence uint32, length uint64) []byte {
	b := append(bytes.Clone(messageID), "AWSKMSEncryptionClient "+content...)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, sequence), length)
}

// SequenceIV is the IV that the specification gives a frame.
func SequenceIV(sequence uint32) []byte {
	return binary.BigEndian.AppendUint32(make([]byte, 8), sequence)
}

// A PartHeader is what stands before the content of a frame or unframed body.
type PartHeader struct {
	Content  string // Frame, FinalFrame or SingleBlock
	Sequence uint32 // 1 of an unframed body
	IV       []byte
	Length   uint64 // of the content
	Size     int    // of this header
}

// ReadPartHeader reads the header at the start of b, in a message with that
// frame length, 0 if it is unframed. ok is false if b is too short.
func ReadPartHeader(b []byte, frameLength uint32) (p PartHeader, ok bool) {
	switch {
	case frameLength == 0:
		if len(b) < 20 {
			return p, false
		}
		return PartHeader{SingleBlock, 1, b[:12], binary.BigEndian.Uint64(b[12:]), 20}, true
	case len(b) < 16:
		return p, false
	case binary.BigEndian.Uint32(b) != 0xFFFFFFFF:
		return PartHeader{Frame, binary.BigEndian.Uint32(b), b[4:16], uint64(frameLength), 16}, true
	case len(b) < 24:
		return p, false
	}
	return PartHeader{FinalFrame, binary.BigEndian.Uint32(b[4:]), b[8:20], uint64(binary.BigEndian.Uint32(b[20:])), 24}, true
}
