package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

// A contestant does some work in its own way.
type contestant struct {
	name  string
	procs int // GOMAXPROCS meanwhile
	bytes int // of plaintext that one run takes
	run   func() error
}

// A lab races contestants.
type lab struct {
	rounds   int
	slice    time.Duration // least time for a contestant in each round
	size     int           // of large messages
	phase    time.Duration // of an outage
	records  int           // in a batch
	python   string        // the program, or "" to look for it
	cores    int
	patience time.Duration // left for rounds that other programs disturb

	ballast             []byte
	processes           []int // in which contestants run, beside this one
	measured, disturbed int   // rounds
	results
}

// race runs the contestants in turns. What it returns is in their order.
func (l *lab) race(rounds int, cs ...contestant) ([]outcome, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	out := make([]outcome, len(cs))
	for i, c := range cs {
		out[i].contestant = c
	}
	seconds := make([]float64, len(cs))
	turn := func(i, round int) error {
		runtime.GOMAXPROCS(cs[i].procs)
		runtime.GC() // each pays for its own garbage only
		start, runs := time.Now(), 0
		for runs == 0 || round >= 0 && time.Since(start) < l.slice {
			if err := deeper(round+1, cs[i].run); err != nil {
				return fmt.Errorf("%s: %w", cs[i].name, err)
			}
			runs++
		}
		seconds[i] = time.Since(start).Seconds() / float64(runs)
		return nil
	}
	return out, l.inTurns(rounds, len(cs), turn, func() {
		for i, s := range seconds {
			out[i].seconds = append(out[i].seconds, s)
		}
	})
}

// inTurns calls turn for each of n contestants in every round, so that whatever else the
// machine does meanwhile slows all of them and not one. Round -1 is there to warm up. After
// each of the others it calls count, unless the round was disturbed and is repeated.
func (l *lab) inTurns(rounds, n int, turn func(i, round int) error, count func()) error {
	for round := -1; round < rounds; round++ {
		before := currentUsage(l.processes...)
		for i := range n {
			if err := turn((i+round+n)%n, round); err != nil { // nobody always comes after the same
				return err
			}
		}
		if round < 0 {
			continue
		}
		disturbed := before.disturbed()
		if disturbed && l.patience > 0 {
			l.patience -= time.Since(before.at)
			l.waitForQuiet()
			round--
			continue
		}
		l.measured++
		if disturbed {
			l.disturbed++
		}
		count()
	}
	fmt.Fprint(os.Stderr, ".")
	return nil
}

// deeper calls f from further down the stack, so that no contestant has the
// luck of one position: at a few of them SHA-384 was seen to take nearly twice
// as long. Why was not shown; its scratch may lie across two pages there.
//
//go:noinline
func deeper(n int, f func() error) error {
	if n == 0 {
		return f()
	}
	err := deeper(n-1, f)
	if err != nil {
		return err // not a tail call
	}
	return nil
}

// spareMemory makes the heap look so large that Go collects hardly any garbage
// within a round and gives no memory back to the system, or undoes that. Go
// gives it back on another core, and so only where there is one, and fetching
// it again can cost a one-shot call more than its cryptography. Peers that make
// much garbage gain by it too.
func (l *lab) spareMemory(on bool) {
	l.ballast = nil
	if on {
		l.ballast = make([]byte, 1<<31-1) // never touched
	}
	runtime.GC()
}

// An outcome is how long one run of a contestant took in each round.
type outcome struct {
	contestant
	seconds []float64
}

// A stat is the median and the quartiles.
type stat struct{ low, median, high float64 }

func newStat(values []float64) stat {
	v := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 {
		x := q * float64(len(v)-1)
		i := int(x)
		j := min(i+1, len(v)-1)
		return v[i] + (x-float64(i))*(v[j]-v[i])
	}
	return stat{at(0.25), at(0.5), at(0.75)}
}

// rate is in MB/s.
func (o outcome) rate() stat {
	return o.stat(func(s float64) float64 { return float64(o.bytes) / s / 1e6 })
}

// micros is the time of one run.
func (o outcome) micros() stat {
	return o.stat(func(s float64) float64 { return s * 1e6 })
}

func (o outcome) stat(f func(float64) float64) stat {
	v := make([]float64, len(o.seconds))
	for i, s := range o.seconds {
		v[i] = f(s)
	}
	return newStat(v)
}

// against is how many times as fast as base o is, byte for byte, each round
// compared with itself.
func (o outcome) against(base outcome) stat {
	v := make([]float64, len(o.seconds))
	for i := range v {
		v[i] = base.seconds[i] / float64(base.bytes) * float64(o.bytes) / o.seconds[i]
	}
	return newStat(v)
}

// costOver is how many times as long as base o takes, byte for byte.
func (o outcome) costOver(base outcome) stat { return base.against(o) }
