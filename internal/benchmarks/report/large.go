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
		base, text, limit := m.floorOf(op), "two cores, unsigned, times the floor on one: reader and decrypt", op.two
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
		"Pieces of 64 KiB, unsigned, through io.Copy; some lines are of pieces or buffers of 1 MiB. age uses ChaCha20-Poly1305, the others AES-256-GCM. "+
			"All but the line that says so on one core. Each cell: speed, and ratio to sio's.", "", "writer", "encrypting reader", "decrypting reader")
	const pieces = 64 << 10
	m, err := newMaterial(peer.Unsigned, pieces, noise(l.size))
	if err != nil {
		return err
	}
	rows := [][]string{{"floor"}, {"esdk"}}
	if l.cores > 1 {
		rows = append(rows, []string{"esdk, two cores"})
	}
	ours := len(rows)
	var peers []*peer.Peer
	var messages [][]byte
	for _, made := range []struct {
		name   string
		buffer int
		peer   func() (*peer.Peer, error)
	}{
		{"sio", 0, peer.Sio},
		{"sio, read in 1 MiB", 1 << 20, peer.Sio},
		{"tink", 0, func() (*peer.Peer, error) { return peer.Tink(pieces) }},
		{"tink, 1 MiB", 1 << 20, func() (*peer.Peer, error) { return peer.Tink(1 << 20) }},
		{"age", 0, peer.Age},
	} {
		p, err := made.peer()
		if err != nil {
			return err
		}
		p.Buffer = made.buffer
		message, err := p.Seal(m.plaintext)
		if err != nil {
			return err
		}
		peers, messages, rows = append(peers, p), append(messages, message), append(rows, []string{made.name})
	}
	for _, name := range []string{"EncryptWriter", "EncryptReader", "DecryptReader"} {
		op := named(name)
		cs := []contestant{m.floorOf(op)}
		for cores := 1; cores < ours; cores++ {
			c, err := m.esdk(op, cores)
			if err != nil {
				return err
			}
			cs = append(cs, c)
		}
		at := make([]int, len(rows)) // where the outcome of a row is; 0: there is none
		for i := range cs {
			at[i] = i
		}
		for i, p := range peers {
			if name == "EncryptReader" && p.EncryptReader == nil || name == "EncryptWriter" && p.Buffer > 0 && p.Name == "sio" {
				continue
			}
			at[ours+i] = len(cs)
			cs = append(cs, contestant{p.Name, 1, l.size, func() error { return op.run(p, m.plaintext, messages[i]) }})
		}
		out, err := l.race(l.rounds, cs...)
		if err != nil {
			return err
		}
		for i := range rows {
			cell := "-"
			if at[i] > 0 || i == 0 {
				o := out[at[i]]
				cell = o.rate().number() + ", " + o.against(out[at[ours]]).spread()
			}
			rows[i] = append(rows[i], cell)
		}
		for i := ours; i < ours+2; i++ { // sio
			if at[i] == 0 {
				continue
			}
			which := name
			if i > ours {
				which += ", sio read in 1 MiB"
			}
			l.atLeast("64 KiB, one core, times sio", 1, which, out[1].against(out[at[i]]))
			if ours > 2 {
				l.atLeast("64 KiB, two cores, times sio", 1.5, which, out[2].against(out[at[i]]))
			}
		}
	}
	for _, row := range rows {
		t.add(row...)
	}
	return nil
}

// officialSDK compares with AWS's own module, which has no streams. It makes so
// much garbage that how often Go collects it shows: as Go does by default, with
// little else in the heap, and with much.
func officialSDK(l *lab) error {
	t := l.table("AWS's Go module, one-shot, "+length(l.size),
		"4 KiB frames. Last column: how many times as fast this module is. AWS's depends on how often garbage is collected: with a small heap, and as in the other tables with a large one.",
		"", "suite", "cores", "heap", "AWS Go", "esdk", "times")
	defer l.spareMemory(true)
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
		for _, name := range []string{"Encrypt", "Decrypt"} {
			op := named(name)
			for cores := 1; cores <= min(2, l.cores); cores++ {
				ours, err := m.esdk(op, cores)
				if err != nil {
					return err
				}
				official := contestant{"AWS Go", cores, l.size, func() error { return op.run(theirs, m.plaintext, m.message) }}
				for _, heap := range []string{"small", "large"} {
					l.spareMemory(heap == "large")
					out, err := l.race((l.rounds+1)/2, official, ours)
					if err != nil {
						return err
					}
					ratio := out[1].against(out[0])
					l.atLeast(text, limit, name+", "+coresName(cores)+", "+heap+" heap", ratio)
					t.add(name, number(id), fmt.Sprint(cores), heap, out[0].rate().number(), out[1].rate().number(), ratio.spread())
				}
			}
		}
	}
	return nil
}
