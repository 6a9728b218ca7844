package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/esdk-go/esdk/internal/benchmarks/peer"
)

// overFrameLength measures the writer over frame lengths, beside peers' pieces.
func overFrameLength(l *lab) error {
	t := l.table("Writer over frame length, 0478, "+length(l.size),
		"One core, but for the column that says two. sio and age have pieces of 64 KiB only.", "frames", "floor", "esdk", "of esdk at 1 MiB", "esdk, two cores", "tink", "sio", "age")
	plaintext := noise(l.size)
	lengths := []int{1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20}
	op := named("EncryptWriter")
	var cs []contestant
	add := func(label string, n int, c contestant, err error) error {
		c.name = fmt.Sprint(label, n)
		if c.procs <= l.cores {
			cs = append(cs, c)
		}
		return err
	}
	writer := func(p *peer.Peer, err error) (contestant, error) {
		return contestant{"", 1, l.size, func() error { return op.run(p, plaintext, nil) }}, err
	}
	for _, n := range lengths {
		m, err := newMaterial(peer.Unsigned, n, plaintext)
		if err != nil {
			return err
		}
		if err := add("floor", n, m.floorOf(op), nil); err != nil {
			return err
		}
		for cores := 1; cores <= 2; cores++ {
			c, err := m.esdk(op, cores)
			if err := add(fmt.Sprint("esdk", cores), n, c, err); err != nil {
				return err
			}
		}
		c, err := writer(peer.Tink(n))
		if err := add("tink", n, c, err); err != nil {
			return err
		}
	}
	for label, make := range map[string]func() (*peer.Peer, error){"sio": peer.Sio, "age": peer.Age} {
		c, err := writer(make())
		if err := add(label, 64<<10, c, err); err != nil {
			return err
		}
	}
	out, err := l.race(l.rounds, cs...)
	if err != nil {
		return err
	}
	byName := map[string]outcome{}
	for _, o := range out {
		byName[o.name] = o
	}
	c := chart{file: "frame-length", title: "Writer: throughput over frame length", x: "frame length, or the peer's piece", y: "MB/s", bytes: true}
	for _, line := range []struct{ label, name string }{
		{"esdk2", "esdk, two cores"}, {"floor", "cryptography alone, one core"}, {"esdk1", "esdk, one core"}, {"tink", "tink"}, {"sio", "sio"}, {"age", "age"},
	} {
		for _, n := range lengths {
			if o, ok := byName[fmt.Sprint(line.label, n)]; ok {
				c.point(line.name, float64(n), o.rate().median)
			}
		}
	}
	l.charts = append(l.charts, c)
	for _, n := range lengths {
		ratio := byName[fmt.Sprint("esdk1", n)].against(byName[fmt.Sprint("esdk1", 1<<20)])
		row := []string{length(n)}
		for _, label := range []string{"floor", "esdk1", "", "esdk2", "tink", "sio", "age"} {
			cell := "-"
			if o, ok := byName[fmt.Sprint(label, n)]; ok {
				cell = o.rate().number()
			} else if label == "" {
				cell = ratio.spread()
			}
			row = append(row, cell)
		}
		t.add(row...)
		if n == 4<<10 {
			l.atLeast("writer, 4 KiB frames, of the speed at 1 MiB", 0.80, "one core", ratio)
			if two, ok := byName[fmt.Sprint("esdk2", n)]; ok {
				l.atLeast("writer, 4 KiB frames, of the speed at 1 MiB", 0.80, "two cores", two.against(byName[fmt.Sprint("esdk2", 1<<20)]))
			}
		}
	}
	return nil
}

// overMessageSize measures messages of all sizes, with the defaults and all
// cores: as programs use the libraries.
func overMessageSize(l *lab) error {
	type line struct {
		name string
		peer *peer.Peer
	}
	var lines []line
	for _, make := range []struct {
		name string
		peer func() (*peer.Peer, error)
	}{
		{"esdk 0478", func() (*peer.Peer, error) { return peer.Esdk(peer.Unsigned, 4<<10, 0) }},
		{"esdk 0478, stream", func() (*peer.Peer, error) { return streamsOnly(peer.Esdk(peer.Unsigned, 4<<10, 0)) }},
		{"esdk 0578, signed", func() (*peer.Peer, error) { return peer.Esdk(peer.Signed, 4<<10, 0) }},
		{"AWS Go 0478", func() (*peer.Peer, error) { return peer.Official(peer.Unsigned, 4<<10) }},
		{"AWS Go 0578, signed", func() (*peer.Peer, error) { return peer.Official(peer.Signed, 4<<10) }},
		{"sio", peer.Sio},
		{"tink", func() (*peer.Peer, error) { return peer.Tink(1 << 20) }},
		{"age", peer.Age},
	} {
		p, err := make.peer()
		if err != nil {
			return err
		}
		lines = append(lines, line{make.name, p})
	}
	head := []string{"size"}
	for _, line := range lines {
		head = append(head, line.name)
	}
	whole := noise(l.size)
	for _, direction := range []string{"Encrypt", "Decrypt"} {
		t := l.table(direction+"ion over message size", "GOMAXPROCS "+fmt.Sprint(l.cores)+", frames of 4 KiB, tink's segments of 1 MiB. esdk, but for the column that says so, and AWS Go one-shot, results allocated; the others as streams.", head...)
		c := chart{file: "message-size-" + map[string]string{"Encrypt": "encrypt", "Decrypt": "decrypt"}[direction],
			title: direction + "ion: throughput over message size", x: "message size", y: "MB/s", bytes: true, logY: true}
		for size := 1 << 10; size <= l.size; size *= 4 {
			var cs []contestant
			for _, line := range lines {
				plaintext := whole[:size]
				message, err := line.peer.Seal(plaintext)
				if err != nil {
					return err
				}
				op := named(direction)
				if line.peer.Encrypt == nil {
					op = named(direction + map[string]string{"Encrypt": "Writer", "Decrypt": "Reader"}[direction])
				}
				cs = append(cs, contestant{line.name, l.cores, size, func() error { return op.run(line.peer, plaintext, message) }})
			}
			out, err := l.race((l.rounds+1)/2, cs...)
			if err != nil {
				return err
			}
			row := []string{length(size)}
			for _, o := range out {
				row = append(row, o.rate().number())
				c.point(o.name, float64(size), o.rate().median)
			}
			t.add(row...)
		}
		l.charts = append(l.charts, c)
	}
	return nil
}

// overCores measures what further cores bring.
func overCores(l *lab) error {
	counts := []int{}
	for n := 1; n < l.cores; n *= 2 {
		counts = append(counts, n)
	}
	counts = append(counts, l.cores)
	head := []string{"", "suite", "floor, one core"}
	for _, n := range counts {
		head = append(head, coresName(n))
	}
	t := l.table("Over cores, "+length(l.size), "4 KiB frames, the default. Speed, and ratio to one core.", head...)
	plaintext := noise(l.size)
	bars := chart{file: "cores", title: "Throughput over cores, frames of 4 KiB", y: "GB/s"}
	for _, id := range suites {
		m, err := newMaterial(id, 4<<10, plaintext)
		if err != nil {
			return err
		}
		panel := panel{title: "suite " + number(id) + map[bool]string{false: ", unsigned", true: ", signed"}[id.Signing()]}
		for _, name := range []string{"EncryptWriter", "EncryptReader", "DecryptReader", "Encrypt", "Decrypt"} {
			op := named(name)
			cs := []contestant{m.floorOf(op)}
			for _, n := range counts {
				c, err := m.esdk(op, n)
				if err != nil {
					return err
				}
				cs = append(cs, c)
			}
			out, err := l.race((l.rounds+1)/2, cs...)
			if err != nil {
				return err
			}
			row := []string{name, number(id), out[0].rate().number()}
			panel.groups = append(panel.groups, strings.NewReplacer("Writer", "\nWriter", "Reader", "\nReader").Replace(name))
			panel.bar(0, "cryptography alone, one core", out[0].rate().median/1000)
			for i, o := range out[1:] {
				row = append(row, o.rate().number()+", "+o.against(out[1]).number())
				panel.bar(i+1, "esdk, "+coresName(counts[i]), o.rate().median/1000)
			}
			t.add(row...)
		}
		bars.panels = append(bars.panels, panel)
	}
	l.charts = append(l.charts, bars)
	return nil
}

func coresName(n int) string {
	switch n {
	case 1:
		return "one core"
	case 2:
		return "two cores"
	}
	return fmt.Sprintf("%d cores", n)
}

// longStreams compares the cost of a byte in a very long stream of unknown
// length with that in one of 16 MiB.
func longStreams(l *lab) error {
	long, short := 1<<30, 16<<20
	if l.size < 64<<20 {
		long = 4 * short
	}
	t := l.table("Long streams", "From a repeating source of unknown length, 4 KiB frames: cost of a byte in "+length(long)+" over that in "+length(short)+".",
		"", "suite", "cores", length(short), length(long), "cost")
	for _, id := range suites {
		for cores := 1; cores <= min(2, l.cores); cores++ {
			p, err := peer.Esdk(id, 4<<10, cores)
			if err != nil {
				return err
			}
			for _, op := range []struct {
				name string
				run  func(n int) error
			}{
				{"EncryptWriter", func(n int) error { return writeAll(p, repeated(n)) }},
				{"EncryptReader", func(n int) error { r, err := p.EncryptReader(repeated(n)); return readAll(r, err, 0, -1) }},
			} {
				out, err := l.race((l.rounds+2)/3, contestant{"short", cores, short, func() error { return op.run(short) }}, contestant{"long", cores, long, func() error { return op.run(long) }})
				if err != nil {
					return err
				}
				cost := out[1].costOver(out[0])
				t.add(op.name, number(id), fmt.Sprint(cores), out[0].rate().number(), out[1].rate().number(), cost.spread())
				if op.name == "EncryptWriter" {
					l.atMost("writer, cost of a byte in "+length(long)+" over "+length(short), 1.05, fmt.Sprintf("%s, %s", number(id), coresName(cores)), cost)
				}
			}
		}
	}
	return nil
}

// repeating gives its bytes over and over.
type repeating struct{ b []byte }

func (r repeating) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], r.b)
	}
	return n, nil
}

var pattern = noise(64 << 10)

// repeated is n bytes from a repeating source, which does not say how many.
func repeated(n int) io.Reader { return io.LimitReader(repeating{pattern}, int64(n)) }

// memoryReader reads b as a file is read.
func memoryReader(b []byte) io.Reader { return onlyReader{bytes.NewReader(b)} }

// readIn reads r to its end in calls with buf.
func readIn(r io.Reader, err error, buf []byte) error {
	for err == nil {
		_, err = r.Read(buf)
	}
	if err == io.EOF {
		return nil
	}
	return err
}
