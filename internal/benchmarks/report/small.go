package main

import (
	"fmt"

	"github.com/esdk-go/esdk/internal/benchmarks/floor"
	"github.com/esdk-go/esdk/internal/benchmarks/peer"
)

// smallMessages compares messages of 1 KiB with all the cryptography that they
// need, key generation, wrapping and signature included.
func smallMessages(l *lab) error {
	const size = 1 << 10
	t := l.table("Messages of 1 KiB",
		"Microseconds for one message under a raw AES key, on one core. The floor does all the cryptography of the message and nothing else.",
		"", "suite", "floor", "esdk", "times the floor", "AWS Go", "times esdk")
	plaintext := noise(size)
	bars := chart{file: "latency", title: "Latency of 1 KiB messages", y: "microseconds, less is better"}
	for _, id := range suites {
		ours, err := peer.Esdk(id, 4<<10, 1)
		if err != nil {
			return err
		}
		theirs, err := peer.Official(id, 4<<10)
		if err != nil {
			return err
		}
		message, err := ours.Encrypt(plaintext)
		if err != nil {
			return err
		}
		base, err := floor.NewMessage(peer.Key, message)
		if err != nil {
			return err
		}
		limit := 1.5
		if id.Signing() {
			limit = 1.08
		}
		panel := panel{title: "suite " + number(id) + map[bool]string{false: ", unsigned", true: ", signed"}[id.Signing()]}
		for _, op := range []struct {
			name string
			run  [3]func() error
		}{
			{"Encrypt", [3]func() error{
				func() error { _, err := base.Encrypt(plaintext); return err },
				func() error { _, err := ours.Encrypt(plaintext); return err },
				func() error { _, err := theirs.Encrypt(plaintext); return err },
			}},
			{"Decrypt", [3]func() error{
				func() error { _, err := base.Decrypt(); return err },
				func() error { _, err := ours.Decrypt(message); return err },
				func() error { _, err := theirs.Decrypt(message); return err },
			}},
		} {
			out, err := l.race(2*l.rounds,
				contestant{"cryptography alone", 1, size, op.run[0]}, contestant{"esdk", 1, size, op.run[1]}, contestant{"AWS Go", 1, size, op.run[2]})
			if err != nil {
				return err
			}
			cost := out[1].costOver(out[0])
			l.atMost("1 KiB, "+number(id)+", cost over the cryptography's", limit, op.name, cost)
			t.add(op.name, number(id), out[0].micros().number(), out[1].micros().number(), cost.spread(),
				out[2].micros().number(), out[2].costOver(out[1]).spread())
			panel.groups = append(panel.groups, op.name)
			for i, o := range out {
				panel.bar(i, o.name, o.micros().median)
			}
		}
		bars.panels = append(bars.panels, panel)
	}
	l.charts = append(l.charts, bars)
	return nil
}

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
