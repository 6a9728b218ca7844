// Package floor does the cryptography of messages and nothing else, with Go's
// standard library alone: what no implementation on it can be faster than. The
// benchmarks give every speed as a ratio to it.
//
// A floor runs on one core. What it seals is, byte for byte, what the library
// seals with the same keys, and it opens what the library sealed: the tests
// hold it to that, so that it does neither less nor more.
package floor

import (
	"crypto/cipher"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"hash"
	"slices"
)

const (
	ivSize   = 12
	tagSize  = 16
	overhead = 4 + ivSize + tagSize // of a regular frame
	kind     = "AWSKMSEncryptionClient Frame"
)

var errTag = errors.New("floor: a tag does not match")

// A Body seals and opens the regular frames of one message.
type Body struct {
	aead        cipher.AEAD
	frameLength int
	aad         []byte
	seqAt       int // where the sequence number stands in aad
	digest      hash.Hash

	in, out []byte // reused: a frame's source, a frame's result
	arena   []byte // where these are
	turn    int
}

// NewBody returns a Body of frames of frameLength bytes. If it is signed,
// SHA-384 runs over the frames too.
func NewBody(key, messageID []byte, frameLength int, signed bool) (*Body, error) {
	aead, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	b := &Body{
		aead:        aead,
		frameLength: frameLength,
		aad:         append([]byte(nil), messageID...),
		arena:       make([]byte, 2*(frameLength+overhead+places*pageSize)),
	}
	b.move()
	b.aad = append(b.aad, kind...)
	b.seqAt = len(b.aad)
	b.aad = binary.BigEndian.AppendUint32(b.aad, 0)
	b.aad = binary.BigEndian.AppendUint64(b.aad, uint64(frameLength))
	if signed {
		b.digest = sha512.New384()
	}
	return b, nil
}

const (
	pageSize = 4 << 10
	places   = 64
)

// move gives in and out another place in memory. How well a core's cache does
// depends on addresses, with short frames by a sixth, and a floor should have
// neither good nor bad luck with them for all of a process.
func (b *Body) move() {
	n := b.frameLength + overhead
	b.in = b.arena[b.turn%places*pageSize:][:n]
	b.out = b.arena[len(b.arena)/2+b.turn*5%places*pageSize:][:n]
	b.turn++
}

// seal appends frame i to dst, which has the room.
func (b *Body) seal(dst, plaintext []byte, i int) []byte {
	start := len(dst)
	dst = dst[:start+4+ivSize]
	header := dst[start:]
	clear(header)
	binary.BigEndian.PutUint32(header, uint32(i+1))
	binary.BigEndian.PutUint32(header[ivSize:], uint32(i+1))
	binary.BigEndian.PutUint32(b.aad[b.seqAt:], uint32(i+1))
	dst = b.aead.Seal(dst, header[4:], plaintext, b.aad)
	if b.digest != nil {
		b.digest.Write(dst[start:])
	}
	return dst
}

// open appends the plaintext of frame i to dst, which has the room.
func (b *Body) open(dst, frame []byte, i int) ([]byte, error) {
	if b.digest != nil {
		b.digest.Write(frame)
	}
	binary.BigEndian.PutUint32(b.aad[b.seqAt:], uint32(i+1))
	return b.aead.Open(dst, frame[4:4+ivSize], frame[4+ivSize:], b.aad)
}

// Writer seals plaintext, whose length must be a multiple of the frame length,
// frame by frame into one reused buffer: the floor of an encrypting writer.
func (b *Body) Writer(plaintext []byte) {
	b.move()
	for i := range len(plaintext) / b.frameLength {
		b.seal(b.out[:0], plaintext[i*b.frameLength:(i+1)*b.frameLength], i)
	}
}

// Reader does the same with each frame's plaintext copied to a reused buffer
// first, as a reader must have it from its source.
func (b *Body) Reader(plaintext []byte) {
	b.move()
	for i := range len(plaintext) / b.frameLength {
		n := copy(b.in, plaintext[i*b.frameLength:(i+1)*b.frameLength])
		b.seal(b.out[:0], b.in[:n], i)
	}
}

// DecryptReader opens the frames in body, each copied to a reused buffer first.
func (b *Body) DecryptReader(body []byte) error {
	b.move()
	stride := b.frameLength + overhead
	for i := range len(body) / stride {
		n := copy(b.in, body[i*stride:(i+1)*stride])
		if _, err := b.open(b.out[:0], b.in[:n], i); err != nil {
			return errTag
		}
	}
	return nil
}

// Frame opens frame i of those in body, copied to a reused buffer first if copied is
// set: the floor of a small read at a random place.
func (b *Body) Frame(body []byte, i int, copied bool) error {
	stride := b.frameLength + overhead
	frame := body[i*stride : (i+1)*stride]
	if copied {
		frame = b.in[:copy(b.in, frame)]
	}
	if _, err := b.open(b.out[:0], frame, i); err != nil {
		return errTag
	}
	return nil
}

// ReadAt opens the frames of body that p has room for, from frame first on, into p,
// each copied to a reused buffer first: the floor of a large read. The length of p
// must be a multiple of the frame length.
func (b *Body) ReadAt(p, body []byte, first int) error {
	b.move()
	stride := b.frameLength + overhead
	for i := range len(p) / b.frameLength {
		frame := body[(first+i)*stride:][:stride]
		copy(b.in, frame)
		if _, err := b.open(p[i*b.frameLength:i*b.frameLength], b.in[:stride], first+i); err != nil {
			return errTag
		}
	}
	return nil
}

// Encrypt returns the frames that hold plaintext, in memory of its own.
func (b *Body) Encrypt(plaintext []byte) []byte {
	n := len(plaintext) / b.frameLength
	body := slices.Grow([]byte(nil), n*(b.frameLength+overhead)) // faster than make
	for i := range n {
		body = b.seal(body, plaintext[i*b.frameLength:(i+1)*b.frameLength], i)
	}
	return body
}

// Decrypt returns the plaintext of the frames in body, in memory of its own.
func (b *Body) Decrypt(body []byte) ([]byte, error) {
	stride := b.frameLength + overhead
	n := len(body) / stride
	plaintext := slices.Grow([]byte(nil), n*b.frameLength)
	for i := range n {
		var err error
		if plaintext, err = b.open(plaintext, body[i*stride:(i+1)*stride], i); err != nil {
			return nil, errTag
		}
	}
	return plaintext, nil
}

// SHA384 hashes b in pieces that fit a core's cache: no signed message can be
// sealed or opened faster.
func SHA384(b []byte) {
	const piece = 64 << 10
	h := sha512.New384()
	for len(b) > 0 {
		n := min(piece, len(b))
		h.Write(b[:n])
		b = b[n:]
	}
	h.Sum(nil)
}
