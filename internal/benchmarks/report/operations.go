package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/esdk-go/esdk/internal/benchmarks/floor"
	"github.com/esdk-go/esdk/internal/benchmarks/peer"
	"github.com/esdk-go/esdk/suite"
)

var (
	frameLengths = []int{4 << 10, 64 << 10, 1 << 20}
	suites       = []suite.ID{peer.Unsigned, peer.Signed}
)

// number is how the tables name a suite.
func number(id suite.ID) string { return fmt.Sprintf("%04X", uint16(id)) }

// An operation is one way to encrypt or decrypt, and its floor.
type operation struct {
	name  string
	run   func(p *peer.Peer, plaintext, message []byte) error
	floor func(b *floor.Body, plaintext, body []byte) error
	two   float64 // what the project set itself on two cores: times the floor
}

var operations = []operation{
	{"EncryptWriter", func(p *peer.Peer, plaintext, _ []byte) error {
		return writeAll(p, bytes.NewReader(plaintext)) // io.Copy has it write everything at once
	}, writerFloor, 1.6},
	{"EncryptWriter.ReadFrom", func(p *peer.Peer, plaintext, _ []byte) error {
		return writeAll(p, onlyReader{bytes.NewReader(plaintext)})
	}, readerFloor, 1.4},
	{"EncryptReader", func(p *peer.Peer, plaintext, _ []byte) error {
		r, err := p.EncryptReader(bytes.NewReader(plaintext))
		return readAll(r, err, p.Buffer, -1)
	}, readerFloor, 1.4},
	{"DecryptReader", func(p *peer.Peer, plaintext, message []byte) error {
		r, err := p.DecryptReader(bytes.NewReader(message))
		return readAll(r, err, p.Buffer, len(plaintext))
	}, decryptReaderFloor, 1.4},
	{"Encrypt", func(p *peer.Peer, plaintext, _ []byte) error {
		_, err := p.Encrypt(plaintext)
		return err
	}, func(b *floor.Body, plaintext, _ []byte) error {
		b.Encrypt(plaintext)
		return nil
	}, 1.6},
	{"Decrypt", func(p *peer.Peer, plaintext, message []byte) error {
		out, err := p.Decrypt(message)
		if err == nil && len(out) != len(plaintext) {
			err = fmt.Errorf("%d bytes decrypted to %d", len(plaintext), len(out))
		}
		return err
	}, func(b *floor.Body, _, body []byte) error {
		_, err := b.Decrypt(body)
		return err
	}, 1.4},
}

func writerFloor(b *floor.Body, plaintext, _ []byte) error { b.Writer(plaintext); return nil }
func readerFloor(b *floor.Body, plaintext, _ []byte) error { b.Reader(plaintext); return nil }
func decryptReaderFloor(b *floor.Body, _, body []byte) error {
	return b.DecryptReader(body)
}

// sink takes writes and nothing else, so that io.Copy leaves the size of the
// pieces to the reader if that has WriteTo, and has a buffer of 32 KiB if not.
type sink struct{}

func (sink) Write(p []byte) (int, error) { return len(p), nil }

// onlyReader hides the WriteTo of a reader, so that it is read piece by piece
// as a file or a connection is.
type onlyReader struct{ io.Reader }

func writeAll(p *peer.Peer, r io.Reader) error {
	w, err := p.EncryptWriter(sink{})
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

// readAll reads r to its end, with a buffer of that size if it is not 0 and r
// has no WriteTo. If size is not negative it must give that many bytes.
func readAll(r io.Reader, err error, buffer, size int) error {
	if err != nil {
		return err
	}
	var buf []byte
	if buffer > 0 {
		buf = make([]byte, buffer)
	}
	n, err := io.CopyBuffer(sink{}, r, buf)
	if err == nil && size >= 0 && n != int64(size) {
		err = fmt.Errorf("%d bytes decrypted to %d", size, n)
	}
	return err
}

// noise returns n bytes that nothing can compress.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// material is messages of one kind: all that the operations need.
type material struct {
	id              suite.ID
	frameLength     int
	plaintext, body []byte
	floor           *floor.Body
	message         []byte // of this module
}

// newMaterial prepares messages of plaintext, whose length is a multiple of
// frameLength.
func newMaterial(id suite.ID, frameLength int, plaintext []byte) (*material, error) {
	b, err := floor.NewBody(peer.Key, make([]byte, 32), frameLength, id.Signing())
	if err != nil {
		return nil, err
	}
	p, err := peer.Esdk(id, frameLength, 0)
	if err != nil {
		return nil, err
	}
	m := &material{id: id, frameLength: frameLength, plaintext: plaintext, body: b.Encrypt(plaintext), floor: b}
	m.message, err = p.Encrypt(plaintext)
	return m, err
}

// floorOf is the floor of op: always one core.
func (m *material) floorOf(op operation) contestant {
	return contestant{"floor", 1, len(m.plaintext), func() error { return op.floor(m.floor, m.plaintext, m.body) }}
}

// esdk is this module at op on that many cores.
func (m *material) esdk(op operation, cores int) (contestant, error) {
	p, err := peer.Esdk(m.id, m.frameLength, cores)
	return contestant{"esdk", cores, len(m.plaintext), func() error { return op.run(p, m.plaintext, m.message) }}, err
}

// sha384 hashes what is to be signed.
func (m *material) sha384() contestant {
	return contestant{"SHA-384", 1, len(m.plaintext), func() error { floor.SHA384(m.plaintext); return nil }}
}

// named returns the operation of that name.
func named(name string) operation {
	for _, op := range operations {
		if op.name == name {
			return op
		}
	}
	panic("no operation is called " + name)
}
