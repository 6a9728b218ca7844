package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/esdk-go/esdk/internal/benchmarks/peer"
)

// ranges measures reads of parts of a message, beside the cryptography of the
// frames that they need and beside reading from the start.
func ranges(l *lab) error {
	if err := readsAt(l); err != nil {
		return err
	}
	return rangeOrStart(l)
}

// readsAt measures ReadAt in a row, with large and with small buffers, and at
// random places.
func readsAt(l *lab) error {
	t := l.table("ReadAt, 0478, "+length(l.size),
		"Speed, or microseconds for a read, and ratios to the cryptography on one core: to copying each frame out of the source and opening it, "+
			"into the place where it belongs or into one buffer, and to opening each frame once, or the one frame of a read at random, which in the last column is copied first, too.",
		"frames", "cores", "1 MiB in a row", "to its place", "to one buffer", "512 bytes in a row, opening", "100 bytes at random, µs", "opening", "copying too")
	plaintext, buf := noise(l.size), make([]byte, 1<<20)
	random := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{4 << 10, 64 << 10} {
		m, err := newMaterial(peer.Unsigned, n, plaintext)
		if err != nil {
			return err
		}
		copying := m.floorOf(named("DecryptReader"))
		frames := l.size / n
		opening := contestant{"floor", 1, l.size, func() error {
			for i := range frames {
				if err := m.floor.Frame(m.body, i, false); err != nil {
					return err
				}
			}
			return nil
		}}
		placing := contestant{"floor", 1, l.size, func() error {
			for i := 0; i < frames; i += len(buf) / n {
				if err := m.floor.ReadAt(buf, m.body, i); err != nil {
					return err
				}
			}
			return nil
		}}
		for cores := 1; cores <= min(2, l.cores); cores++ {
			p, err := peer.Esdk(m.id, n, cores)
			if err != nil {
				return err
			}
			d, err := p.DecryptReaderAt(bytes.NewReader(m.message), int64(len(m.message)))
			if err != nil {
				return err
			}
			inARow := func(size int) contestant {
				return contestant{"esdk", cores, l.size, func() error {
					for off := 0; off < l.size; off += size {
						if _, err := d.ReadAt(buf[:size], int64(off)); err != nil && err != io.EOF {
							return err
						}
					}
					return nil
				}}
			}
			const reads = 100 // in one run
			atRandom := func(read func() error) contestant {
				return contestant{"", cores, reads, func() error {
					for range reads {
						if err := read(); err != nil {
							return err
						}
					}
					return nil
				}}
			}
			large, err := l.race(l.rounds, placing, copying, inARow(1<<20))
			if err != nil {
				return err
			}
			small, err := l.race(l.rounds, opening, inARow(512))
			if err != nil {
				return err
			}
			few, err := l.race(l.rounds,
				atRandom(func() error { return m.floor.Frame(m.body, random.IntN(frames), false) }),
				atRandom(func() error { return m.floor.Frame(m.body, random.IntN(frames), true) }),
				atRandom(func() error {
					_, err := d.ReadAt(buf[:100], int64(random.IntN(frames)*n+random.IntN(n-100)))
					return err
				}))
			if err != nil {
				return err
			}
			name := length(n) + ", " + coresName(cores)
			fast, slow, single := large[2].against(large[0]), small[1].against(small[0]), few[2].against(few[0])
			if cores == 1 {
				l.atLeast("ReadAt of 1 MiB in a row, one core, of copying and opening each frame", 0.92, length(n), fast)
			} else {
				l.atLeast("ReadAt of 1 MiB in a row, two cores, times copying and opening each frame on one", 1.1, length(n), fast)
			}
			l.atLeast("ReadAt of 512 bytes in a row, of opening each frame once", 0.60, name, slow)
			l.atLeast("ReadAt of 100 bytes at random, of opening one frame", 0.80, name, single)
			each := few[2].stat(func(s float64) float64 { return s / reads * 1e6 })
			t.add(length(n), fmt.Sprint(cores), large[2].rate().number(), fast.spread(), large[2].against(large[1]).spread(), slow.spread(),
				each.number(), single.spread(), few[2].against(few[1]).spread())
		}
	}
	return nil
}

// rangeOrStart compares how long it takes to get 100 bytes at some place: by opening
// the message for random access and reading them, and by reading all before them.
func rangeOrStart(l *lab) error {
	const size = 100
	t := l.table("100 bytes at a place in a message of "+length(l.size),
		"Microseconds, from the call that opens the message on, its data key unwrapped included; 0478, 4 KiB frames, "+coresName(l.cores)+".", "place", "NewDecryptReaderAt and ReadAt", "DecryptReader up to there")
	c := chart{file: "ranges", title: fmt.Sprintf("Time to read %d bytes of a message of %s", size, length(l.size)), x: "where they are in the plaintext", y: "microseconds, less is better", bytes: true, logY: true}
	m, err := newMaterial(peer.Unsigned, 4<<10, noise(l.size))
	if err != nil {
		return err
	}
	p, err := peer.Esdk(m.id, 4<<10, l.cores)
	if err != nil {
		return err
	}
	buf := make([]byte, size)
	for place := 4 << 10; place <= l.size; place *= 4 {
		off := place - size
		check := func(err error) error {
			if err == nil && !bytes.Equal(buf, m.plaintext[off:place]) {
				err = fmt.Errorf("other bytes at %d", off)
			}
			clear(buf)
			return err
		}
		out, err := l.race((l.rounds+1)/2,
			contestant{"esdk, random access", l.cores, size, func() error {
				d, err := p.DecryptReaderAt(bytes.NewReader(m.message), int64(len(m.message)))
				if err == nil {
					_, err = d.ReadAt(buf, int64(off))
				}
				return check(err)
			}},
			contestant{"esdk, from the start", l.cores, size, func() error {
				r, err := p.DecryptReader(bytes.NewReader(m.message))
				if err == nil {
					err = skip(r, off)
				}
				if err == nil {
					_, err = io.ReadFull(r, buf)
				}
				return check(err)
			}})
		if err != nil {
			return err
		}
		row := []string{length(place)}
		for _, o := range out {
			row = append(row, o.micros().number())
			c.point(o.name, float64(place), o.micros().median)
		}
		t.add(row...)
	}
	l.charts = append(l.charts, c)
	return nil
}

// skip reads n bytes in large pieces.
func skip(r io.Reader, n int) error {
	piece := make([]byte, min(n, 1<<20))
	for n > 0 {
		k, err := r.Read(piece[:min(n, len(piece))])
		if n -= k; err != nil {
			return err
		}
	}
	return nil
}
