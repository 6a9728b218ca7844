package esdk_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// maxFuzzPlaintext lets a message be several batches of what works in parallel.
const maxFuzzPlaintext = 3 << 19

// gusts is a source whose reads return sizes that change all the time, so that
// frames arrive alone and by the hundred.
type gusts struct {
	r     *bytes.Reader
	state uint32
}

func (b *gusts) Read(p []byte) (int, error) {
	b.state = b.state*1664525 + 1013904223
	n := 1 << (b.state >> 27 % 21) // 1 byte to 1 MiB
	return b.r.Read(p[:min(n, len(p))])
}

// FuzzParallel damages messages that are long enough for several goroutines, at
// one place. Every way to decrypt gives out the frames before that place, and
// nothing else, before the error, whatever the number of goroutines.
func FuzzParallel(f *testing.F) {
	for i, length := range []uint32{0, 1000, 300_000, 1 << 20, 1_500_000} {
		for j, frameLength := range []uint32{100, 1000, 4096, 65536, 200_000} {
			f.Add(length, frameLength, uint32(i*100_000+j), byte(j), uint8(i+j))
		}
	}
	p := rawAES(f)
	plaintexts := text(maxFuzzPlaintext)
	f.Fuzz(func(t *testing.T, length, frameLength, at uint32, xor byte, way uint8) {
		plaintext := plaintexts[:length%maxFuzzPlaintext]
		frame := max(int(frameLength%300_000), len(plaintext)/20_000, 1)
		id := suite.AES256GCMHKDFSHA512CommitKey
		if way&1 != 0 {
			id = suite.AES256GCMHKDFSHA512CommitKeyECDSAP384
		}
		c := &esdk.Client{Concurrency: 1 + int(way>>1&3)*2}
		e := encryptors[int(way)%len(encryptors)]
		if frame < 1000 && way&2 != 0 { // single bytes take long
			e = encryptors[0]
		}
		message, h, err := e.run(c, plaintext, p, &esdk.EncryptOptions{Suite: id, FrameLength: int64(frame)})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := h.AppendBinary(nil)
		if err != nil || !bytes.HasPrefix(message, raw) {
			t.Fatal("the message does not begin with its header", err)
		}
		body := message[len(raw):]
		bodySize := len(plaintext)/frame*(frame+format.FrameOverhead) + format.FinalFrameOverhead + len(plaintext)%frame
		if id.Signing() {
			bodySize += 2 + id.SignatureSize()
		}
		if len(body) != bodySize {
			t.Fatalf("%s: %d bytes after the header, want %d", e.name, len(body), bodySize)
		}

		// What is damaged, and how many bytes of plaintext stand before it.
		place := int(at) % len(body)
		good := min(place/(frame+format.FrameOverhead)*frame, len(plaintext)/frame*frame)
		switch {
		case xor == 0: // nothing
			good = len(plaintext)
		case xor == 0xff:
			message = message[:len(raw)+place]
		default:
			message = slices.Clone(message)
			message[len(raw)+place] ^= xor
		}
		readerOf := func(r io.Reader) io.Reader {
			all, _ := io.ReadAll(r)
			return &gusts{bytes.NewReader(all), at}
		}
		for _, d := range []decryptor{
			oneShot,
			reader("reads of 4096", asIs, 4096),
			reader("reads of 600 KiB from gusts", readerOf, 600<<10),
			writerTo("WriteTo", asIs),
			writerTo("WriteTo from gusts", readerOf),
		} {
			var first string
			for _, workers := range []int{1, 2, 5} {
				released, err := d.run(&esdk.Client{Concurrency: workers}, message, p, nil)
				where := fmt.Sprintf("%s, %d goroutines, %d bytes in frames of %d, byte %d ^ %#x: %v", d.name, workers, len(plaintext), frame, place, xor, err)
				if (err == nil) != (xor == 0) {
					t.Fatal(where)
				}
				if want := plaintext[:good]; d.name == oneShot.name && err != nil {
					if released != nil {
						t.Fatal("released: ", where)
					}
				} else if !bytes.Equal(released, want) {
					t.Fatalf("released %d bytes, want %d: %s", len(released), len(want), where)
				}
				if workers == 1 {
					first = fmt.Sprint(err)
				} else if fmt.Sprint(err) != first {
					t.Fatalf("with one goroutine %s: %s", first, where)
				}
			}
		}
	})
}
