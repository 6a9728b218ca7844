package main

import (
	"fmt"

	"github.com/esdk-go/esdk/internal/benchmarks/peer"
)

// calls measures plain Read and Write of several sizes.
func calls(l *lab) error {
	sizes := []int{4 << 10, 32 << 10, 1 << 20}
	t := l.table("Plain Read and Write calls, 0478, "+length(l.size),
		"Speed, and ratio to the floor of the same operation on one core.", "", "frames", "cores", "calls of 4 KiB", "32 KiB", "1 MiB")
	plaintext, buf := noise(l.size), make([]byte, 1<<20)
	kinds := []struct {
		op  operation
		run func(p *peer.Peer, m *material, size int) error
	}{
		{named("EncryptWriter"), func(p *peer.Peer, m *material, size int) error {
			w, err := p.EncryptWriter(sink{})
			if err != nil {
				return err
			}
			for b := m.plaintext; len(b) > 0; b = b[min(size, len(b)):] {
				if _, err := w.Write(b[:min(size, len(b))]); err != nil {
					return err
				}
			}
			return w.Close()
		}},
		{named("EncryptReader"), func(p *peer.Peer, m *material, size int) error {
			r, err := p.EncryptReader(memoryReader(m.plaintext))
			return readIn(r, err, buf[:size])
		}},
		{named("DecryptReader"), func(p *peer.Peer, m *material, size int) error {
			r, err := p.DecryptReader(memoryReader(m.message))
			return readIn(r, err, buf[:size])
		}},
	}
	for _, kind := range kinds {
		for _, n := range frameLengths {
			m, err := newMaterial(peer.Unsigned, n, plaintext)
			if err != nil {
				return err
			}
			for cores := 1; cores <= min(2, l.cores); cores++ {
				p, err := peer.Esdk(m.id, n, cores)
				if err != nil {
					return err
				}
				cs := []contestant{m.floorOf(kind.op)}
				for _, size := range sizes {
					cs = append(cs, contestant{"esdk", cores, l.size, func() error { return kind.run(p, m, size) }})
				}
				out, err := l.race((l.rounds+1)/2, cs...)
				if err != nil {
					return err
				}
				row := []string{kind.op.name, length(n), fmt.Sprint(cores)}
				for _, o := range out[1:] {
					row = append(row, o.rate().number()+", "+o.against(out[0]).spread())
				}
				t.add(row...)
			}
		}
	}
	return nil
}
