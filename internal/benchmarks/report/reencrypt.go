package main

import (
	"bytes"
	"slices"

	"github.com/esdk-go/esdk/internal/benchmarks/peer"
)

// reencrypt compares Reencrypt on two cores with its halves, decryption and
// encryption, on one core each: at best it is as fast as the slower of them.
func reencrypt(l *lab) error {
	if l.cores < 2 {
		return nil
	}
	t := l.table("Reencrypt, messages of "+length(l.size),
		"Reencrypt has two cores. Its halves, DecryptReader and EncryptReader, have one each. Each cell of the former: speed, and ratio to the slower half.",
		"", "frames", "DecryptReader", "EncryptReader", "Reencrypt")
	plaintext := noise(l.size)
	for _, id := range suites {
		for _, n := range frameLengths {
			m, err := newMaterial(id, n, plaintext)
			if err != nil {
				return err
			}
			cs := make([]contestant, 3)
			for i, name := range []string{"DecryptReader", "EncryptReader"} {
				if cs[i], err = m.esdk(named(name), 1); err != nil {
					return err
				}
			}
			p, err := peer.Esdk(id, n, 2)
			if err != nil {
				return err
			}
			cs[2] = contestant{"Reencrypt", 2, l.size, func() error { return p.Reencrypt(sink{}, bytes.NewReader(m.message)) }}
			out, err := l.race(l.rounds, cs...)
			if err != nil {
				return err
			}
			slower := out[0]
			slower.seconds = slices.Clone(slower.seconds)
			for i, s := range out[1].seconds {
				slower.seconds[i] = max(slower.seconds[i], s)
			}
			ratio := out[2].against(slower)
			if id == peer.Unsigned {
				l.atLeast("Reencrypt, unsigned, two cores, of the slower half on one", 0.8, "frames of "+length(n), ratio)
			}
			t.add(number(id), length(n), out[0].rate().number(), out[1].rate().number(), out[2].rate().number()+", "+ratio.spread())
		}
	}
	return nil
}
