package floor

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/esdk-go/esdk/format"
)

// A Message is a short message, of one frame, under a raw AES key: all that
// encrypting it and decrypting it again computes. Where its parts stand, and
// what they are authenticated with, was worked out before.
type Message struct {
	wrap   cipher.AEAD // of the wrapping key
	signed bool

	message             []byte
	header, tag, body   int    // where each ends
	id                  []byte // what follows are parts of message
	commitKey           []byte
	wrapIV, wrapped     []byte
	dataKey             []byte // what is wrapped
	context             []byte // what the data key is wrapped with
	frame               []byte
	publicKey           string
	signature           []byte
	deriveInfo, bodyAAD []byte
	sealedID, openedID  []byte // as long as what a cache hashes to find the data key
	plaintextLength     int
}

// NewMessage takes a message of suite 0478 or 0578 apart that holds no more
// than one frame.
func NewMessage(wrappingKey, message []byte) (*Message, error) {
	m := &Message{message: message}
	var err error
	if m.wrap, err = newGCM(wrappingKey); err != nil {
		return nil, err
	}
	h, err := format.ReadHeader(bytes.NewReader(message), 0)
	if err != nil {
		return nil, err
	}
	raw, err := h.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	m.header, m.tag = len(raw)-len(h.IV)-len(h.Tag), len(raw)
	f, err := format.ParseFrameHeader(message[m.tag:], h.FrameLength)
	if err != nil {
		return nil, err
	}
	if !f.Final || len(h.EncryptedDataKeys) != 1 || h.Version != 2 {
		return nil, errors.New("floor: not a message that this is for")
	}
	m.signed = h.Suite.Signing()
	m.id, m.commitKey = h.MessageID, h.CommitKey
	edk := h.EncryptedDataKeys[0]
	m.wrapIV, m.wrapped = edk.ProviderInfo[len(edk.ProviderInfo)-ivSize:], edk.Ciphertext
	if m.context, err = format.AppendEncryptionContext(nil, h.EncryptionContext); err != nil {
		return nil, err
	}
	if m.dataKey, err = m.wrap.Open(nil, m.wrapIV, m.wrapped, m.context); err != nil {
		return nil, err
	}
	const sealedSize, openedSize = 36, 35 // but for the context and the encrypted data key
	m.sealedID = append(make([]byte, sealedSize), m.context...)
	m.openedID = append(make([]byte, openedSize+6+len(edk.ProviderID)+len(edk.ProviderInfo)+len(edk.Ciphertext)), m.context...)
	m.publicKey = h.EncryptionContext[format.PublicKeyField]
	m.body = m.tag + f.Size() + int(f.Length) + tagSize
	m.frame = message[m.tag:m.body]
	m.plaintextLength = int(f.Length)
	m.bodyAAD = format.AppendBodyAAD(nil, m.id, format.FinalFrame, f.Sequence, uint64(f.Length))
	m.deriveInfo = append(binary.BigEndian.AppendUint16(nil, uint16(h.Suite)), "DERIVEKEY"...)
	if m.signed {
		if m.signature, _, err = format.ParseFooter(message[m.body:]); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// derive returns the AEAD of the message and the key that it commits to.
func (m *Message) derive(dataKey, id []byte) (cipher.AEAD, []byte, error) {
	prk, err := hkdf.Extract(sha512.New, dataKey, id)
	if err != nil {
		return nil, nil, err
	}
	commitKey, err := hkdf.Expand(sha512.New, prk, "COMMITKEY", 32)
	if err != nil {
		return nil, nil, err
	}
	key, err := hkdf.Expand(sha512.New, prk, string(m.deriveInfo), 32)
	if err != nil {
		return nil, nil, err
	}
	aead, err := newGCM(key)
	return aead, commitKey, err
}

var zeroIV [ivSize]byte

// Encrypt does the cryptography of a new message like m and returns the bytes
// of it: what else stands in messages is m's, so that it cannot be read.
func (m *Message) Encrypt(plaintext []byte) ([]byte, error) {
	dataKey, iv := make([]byte, 32), make([]byte, ivSize)
	rand.Read(dataKey)
	rand.Read(iv)
	m.wrap.Seal(nil, iv, dataKey, m.context)
	return m.encrypt(dataKey, plaintext)
}

// EncryptCached is Encrypt with a data key that is at hand, as in a cache: the
// specification finds it there by a SHA-384. It is meant for suites that do not sign:
// a cache has the signing key, too.
func (m *Message) EncryptCached(plaintext []byte) ([]byte, error) {
	sha512.Sum384(m.sealedID)
	return m.encrypt(m.dataKey, plaintext)
}

func (m *Message) encrypt(dataKey, plaintext []byte) ([]byte, error) {
	if len(plaintext) != m.plaintextLength {
		return nil, errors.New("floor: a plaintext of another length")
	}
	id := make([]byte, len(m.id))
	rand.Read(id)
	var signingKey *ecdsa.PrivateKey
	if m.signed {
		var err error
		if signingKey, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
			return nil, err
		}
	}
	aead, _, err := m.derive(dataKey, id)
	if err != nil {
		return nil, err
	}
	out := make([]byte, m.header, len(m.message))
	copy(out, m.message[:m.header])
	out = aead.Seal(out, zeroIV[:], nil, out)
	out = append(out, m.frame[:len(m.frame)-tagSize-len(plaintext)]...)
	out = aead.Seal(out, m.frame[8:8+ivSize], plaintext, m.bodyAAD)
	if m.signed {
		digest := sha512.Sum384(out)
		signature, err := ecdsa.SignASN1(rand.Reader, signingKey, digest[:])
		if err != nil {
			return nil, err
		}
		out = append(out, signature...)
	}
	return out, nil
}

// Decrypt decrypts m and verifies all that it is authenticated by.
func (m *Message) Decrypt() ([]byte, error) {
	dataKey, err := m.wrap.Open(nil, m.wrapIV, m.wrapped, m.context)
	if err != nil {
		return nil, err
	}
	return m.decrypt(dataKey)
}

// DecryptCached is Decrypt with a data key that is at hand, as in a cache.
func (m *Message) DecryptCached() ([]byte, error) {
	sha512.Sum384(m.openedID)
	return m.decrypt(m.dataKey)
}

func (m *Message) decrypt(dataKey []byte) ([]byte, error) {
	aead, commitKey, err := m.derive(dataKey, m.id)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(commitKey, m.commitKey) {
		return nil, errors.New("floor: another key than the message commits to")
	}
	if _, err := aead.Open(nil, zeroIV[:], m.message[m.header:m.tag], m.message[:m.header]); err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, m.frame[8:8+ivSize], m.frame[len(m.frame)-tagSize-m.plaintextLength:], m.bodyAAD)
	if err != nil {
		return nil, err
	}
	if m.signed {
		point, err := base64.StdEncoding.DecodeString(m.publicKey)
		if err != nil {
			return nil, err
		}
		x, y := elliptic.UnmarshalCompressed(elliptic.P384(), point)
		if x == nil {
			return nil, errors.New("floor: the public key is no point")
		}
		digest := sha512.Sum384(m.message[:m.body])
		if !ecdsa.VerifyASN1(&ecdsa.PublicKey{Curve: elliptic.P384(), X: x, Y: y}, digest[:], m.signature) {
			return nil, errors.New("floor: the signature does not match")
		}
	}
	return plaintext, nil
}
