package frame

import (
	"crypto/sha512"
	"fmt"
	"hash"
	"testing"
)

// bench runs over frame lengths, with and without a digest, on one goroutine
// and on two, with 1 MiB a call as streams have it.
func bench(b *testing.B, run func(b *testing.B, c Config, plaintext []byte)) {
	for _, frameLength := range []int{4 << 10, 64 << 10, 1 << 20} {
		for _, signed := range []bool{false, true} {
			for _, workers := range []int{1, 2} {
				b.Run(fmt.Sprintf("frame=%dKiB/signed=%v/workers=%d", frameLength>>10, signed, workers), func(b *testing.B) {
					var digest hash.Hash
					if signed {
						digest = sha512.New384()
					}
					plaintext := text(1 << 20)
					b.SetBytes(int64(len(plaintext)))
					b.ReportAllocs()
					run(b, config(b, frameLength, workers, digest), plaintext)
				})
			}
		}
	}
}

func BenchmarkSealer(b *testing.B) {
	bench(b, func(b *testing.B, c Config, plaintext []byte) {
		s := newSealer(c)
		var dst []byte
		for b.Loop() {
			var err error
			s.next = 1 // else a long run would be out of frames
			if dst, err = s.Frames(dst[:0], plaintext); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpener(b *testing.B) {
	bench(b, func(b *testing.B, c Config, plaintext []byte) {
		body, err := newSealer(c).Frames(nil, plaintext)
		if err != nil {
			b.Fatal(err)
		}
		o := newOpener(c, 0)
		dst := make([]byte, 0, len(plaintext))
		for b.Loop() {
			o.next = 1
			if _, used, err := o.Frames(dst, body); err != nil || used != len(body) {
				b.Fatal(used, err)
			}
		}
	})
}
