package main

import (
	"fmt"

	"github.com/esdk-go/esdk/internal/benchmarks/peer"
	"github.com/esdk-go/esdk/suite"
)

// oneCore compares every way to encrypt and decrypt with its floor.
func oneCore(l *lab) error {
	t := l.table("One core, messages of "+length(l.size),
		"`Client.Concurrency` and GOMAXPROCS 1. Each cell: speed, and ratio to the floor of the same operation.", "", "suite", "4 KiB frames", "64 KiB", "1 MiB")
	return l.overOperations(t, func(m *material, op operation) (string, error) {
		ours, err := m.esdk(op, 1)
		if err != nil {
			return "", err
		}
		out, err := l.race(l.rounds, m.floorOf(op), ours)
		if err != nil {
			return "", err
		}
		ratio := out[1].against(out[0])
		l.atLeast("one core, of the floor", 0.93, m.caseName(op), ratio)
		return out[1].rate().number() + ", " + ratio.spread(), nil
	})
}

// twoCores compares the same on two cores: with the floor on one, and if the
// suite signs with the hash, which no number of cores makes faster.
func twoCores(l *lab) error {
	if l.cores < 2 {
		return nil
	}
	t := l.table("Two cores, messages of "+length(l.size),
		"`Client.Concurrency` and GOMAXPROCS 2. Each cell: speed, and ratio to the floor on one core (0478) or to SHA-384 alone (0578).", "", "suite", "4 KiB frames", "64 KiB", "1 MiB")
	return l.overOperations(t, func(m *material, op operation) (string, error) {
		base, text, limit := m.floorOf(op), fmt.Sprintf("two cores, unsigned, times the floor on one: %s", "reader and decrypt"), op.two
		if op.two == 1.6 {
			text = "two cores, unsigned, times the floor on one: writer and one-shot encrypt"
		}
		if m.id.Signing() {
			base, text, limit = m.sha384(), "two cores, signed, of the SHA-384 rate", 0.92
		}
		ours, err := m.esdk(op, 2)
		if err != nil {
			return "", err
		}
		out, err := l.race(l.rounds, base, ours)
		if err != nil {
			return "", err
		}
		ratio := out[1].against(out[0])
		l.atLeast(text, limit, m.caseName(op), ratio)
		return out[1].rate().number() + ", " + ratio.spread(), nil
	})
}

func (m *material) caseName(op operation) string {
	return fmt.Sprintf("%s %s %s", op.name, number(m.id), length(m.frameLength))
}

// overOperations fills t: a row for each operation and suite, a column for
// each frame length.
func (l *lab) overOperations(t *table, cell func(*material, operation) (string, error)) error {
	plaintext := noise(l.size)
	cells := map[string]string{}
	key := func(op operation, id suite.ID, n int) string { return fmt.Sprint(op.name, id, n) }
	for _, id := range suites {
		for _, n := range frameLengths {
			m, err := newMaterial(id, n, plaintext)
			if err != nil {
				return err
			}
			for _, op := range operations {
				if cells[key(op, id, n)], err = cell(m, op); err != nil {
					return fmt.Errorf("%s: %w", m.caseName(op), err)
				}
			}
		}
	}
	for _, id := range suites {
		for _, op := range operations {
			row := []string{op.name, number(id)}
			for _, n := range frameLengths {
				row = append(row, cells[key(op, id, n)])
			}
			t.add(row...)
		}
	}
	return nil
}

// streamingPeers compares streams with those of sio, tink and age.
func streamingPeers(l *lab) error {
	t := l.table("Streams of the peers, "+length(l.size),
		"Pieces of 64 KiB, unsigned; tink's second line has its template of 1 MiB. age uses ChaCha20-Poly1305, the others AES-256-GCM. "+
			"All but the line that says so on one core. Each cell: speed, and ratio to sio's.", "", "writer", "encrypting reader", "decrypting reader")
	const pieces = 64 << 10
	m, err := newMaterial(peer.Unsigned, pieces, noise(l.size))
	if err != nil {
		return err
	}
	sio, err := peer.Sio()
	if err != nil {
		return err
	}
	tink, err := peer.Tink(pieces)
	if err != nil {
		return err
	}
	tinkLarge, err := peer.Tink(1 << 20)
	if err != nil {
		return err
	}
	age, err := peer.Age()
	if err != nil {
		return err
	}
	rows := [][]string{{"floor"}, {"esdk"}, {"esdk, two cores"}, {"sio"}, {"tink"}, {"tink, 1 MiB"}, {"age"}}
	for _, i := range []int{0, 2, 3} { // the operations that streams have
		op := operations[i]
		one, err := m.esdk(op, 1)
		if err != nil {
			return err
		}
		two, err := m.esdk(op, 2)
		if err != nil {
			return err
		}
		cs := []contestant{m.floorOf(op), one, two}
		for _, p := range []*peer.Peer{sio, tink, tinkLarge, age} {
			message, err := p.Seal(m.plaintext)
			if err != nil {
				return err
			}
			c := contestant{p.Name, 1, l.size, func() error { return op.run(p, m.plaintext, message) }}
			if op.name == "EncryptReader" && p.EncryptReader == nil {
				c.run = nil
			}
			cs = append(cs, c)
		}
		raced := []contestant{}
		for _, c := range cs {
			if c.run != nil && c.procs <= l.cores {
				raced = append(raced, c)
			}
		}
		out, err := l.race(l.rounds, raced...)
		if err != nil {
			return err
		}
		var base outcome
		for _, o := range out {
			if o.name == "sio" {
				base = o
			}
		}
		next := 0
		for k, c := range cs {
			if c.run == nil || c.procs > l.cores {
				rows[k] = append(rows[k], "-")
				continue
			}
			o := out[next]
			next++
			rows[k] = append(rows[k], o.rate().number()+", "+o.against(base).spread())
			if o.name == "esdk" && o.procs == 1 {
				l.atLeast("64 KiB, one core, times sio", 1, op.name, o.against(base))
			} else if o.name == "esdk" {
				l.atLeast("64 KiB, two cores, times sio", 1.5, op.name, o.against(base))
			}
		}
	}
	for _, row := range rows {
		t.add(row...)
	}
	return nil
}

// officialSDK compares with AWS's own module, which has no streams.
func officialSDK(l *lab) error {
	t := l.table("AWS's Go module, one-shot, "+length(l.size),
		"4 KiB frames. Last column: how many times as fast this module is.", "", "suite", "cores", "AWS Go", "esdk", "times")
	plaintext := noise(l.size)
	for _, id := range suites {
		m, err := newMaterial(id, 4<<10, plaintext)
		if err != nil {
			return err
		}
		theirs, err := peer.Official(id, 4<<10)
		if err != nil {
			return err
		}
		limit, text := 10.0, "4 KiB frames, times AWS's Go module, unsigned"
		if id.Signing() {
			limit, text = 4, "4 KiB frames, times AWS's Go module, signed"
		}
		for _, op := range operations[4:] {
			for _, cores := range []int{1, 2} {
				if cores > l.cores {
					continue
				}
				ours, err := m.esdk(op, cores)
				if err != nil {
					return err
				}
				official := contestant{"AWS Go", cores, l.size, func() error { return op.run(theirs, m.plaintext, m.message) }}
				out, err := l.race((l.rounds+1)/2, official, ours)
				if err != nil {
					return err
				}
				ratio := out[1].against(out[0])
				l.atLeast(text, limit, fmt.Sprintf("%s, %d cores", op.name, cores), ratio)
				t.add(op.name, number(id), fmt.Sprint(cores), out[0].rate().number(), out[1].rate().number(), ratio.spread())
			}
		}
	}
	return nil
}
