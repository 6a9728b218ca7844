package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// programs are the programs of program/ whose builds are compared. The others are measured
// against the first two.
var programs = []struct{ name, title string }{
	{"aes", "crypto/aes alone"},
	{"floor", "the format's cryptography"},
	{"rawaes", "esdk, raw AES"},
}

// binary measures what the module adds to a program: to its size, to the time that the
// first build takes, and to what is done before main.
func binary(l *lab) error {
	dir, err := os.MkdirTemp("", "esdk-binary-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var cs []contestant
	cpu := make([]outcome, len(programs))
	for i, p := range programs {
		cpu[i].bytes = 1
		cs = append(cs, contestant{p.name, l.cores, 1, func() error {
			used, err := coldBuild(dir, p.name)
			cpu[i].seconds = append(cpu[i].seconds, used.Seconds())
			return err
		}})
	}
	rounds := min(l.rounds, 5)
	if l.size < 64<<20 {
		rounds = 1
	}
	wall, err := l.race(rounds, cs...)
	if err != nil {
		return err
	}
	t := l.table("What the module adds to a program",
		"Programs that encrypt and decrypt a few bytes, stripped: `go build -trimpath -ldflags '-s -w'`. The first build is one with an empty GOCACHE: the seconds that it takes, then those of processor time. Before main: the initialisation of all packages, the runtime's included.",
		"", "MB", "first build, s", "times crypto/aes", "times the floor", "processor, s", "times crypto/aes", "times the floor", "before main, µs", "bytes")
	for i := range cpu {
		cpu[i].seconds = cpu[i].seconds[1:] // without the round to warm up
	}
	inits := make([][]initialised, len(programs))
	for i, p := range programs {
		mb, err := megabytes(filepath.Join(dir, p.name))
		if err == nil {
			inits[i], err = traceInit(filepath.Join(dir, p.name))
		}
		if err != nil {
			return err
		}
		elapsed, processor := wall[i].costOver(wall[0]), cpu[i].costOver(cpu[0])
		if p.name == "rawaes" {
			l.atMost("program with a raw AES key, stripped, MB", 3.5, p.name, stat{mb, mb, mb})
			l.atMost("its first build, over that of one with crypto/aes alone", 1.1, "time", elapsed)
			l.atMost("its first build, over that of one with crypto/aes alone", 1.1, "processor time", processor)
		}
		all := sum(inits[i])
		t.add(p.title, digits(mb), newStat(wall[i].seconds).number(), elapsed.spread(), wall[i].costOver(wall[1]).spread(),
			newStat(cpu[i].seconds).number(), processor.spread(), cpu[i].costOver(cpu[1]).spread(), digits(all.micros), fmt.Sprint(all.bytes))
	}
	if _, err := build(dir, "kms", nil); err != nil {
		return err
	}
	mb, err := megabytes(filepath.Join(dir, "kms"))
	if err != nil {
		return err
	}
	t.add("esdk, package kms", digits(mb))
	l.beforeMain(inits[0], inits[1], inits[2])
	return nil
}

// beforeMain lists what the module's program initialises and the one with crypto/aes
// alone does not.
func (l *lab) beforeMain(aes, floor, ours []initialised) {
	t := l.table("Before main",
		"Package initialisation in the program with a raw AES key that the one with crypto/aes alone does not have (`GODEBUG=inittrace=1`, medians).",
		"package", "µs", "bytes", "allocations", "in the floor")
	for _, p := range ours {
		if !slices.ContainsFunc(aes, p.same) {
			t.add(p.name, digits(p.micros), fmt.Sprint(p.bytes), fmt.Sprint(p.allocations), map[bool]string{true: "yes"}[slices.ContainsFunc(floor, p.same)])
		}
	}
}

func megabytes(file string) (float64, error) {
	info, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	return float64(info.Size()) / 1e6, nil
}

// coldBuild builds a program into dir with nothing built before, and returns the
// processor time of all that took part.
func coldBuild(dir, name string) (time.Duration, error) {
	cache := filepath.Join(dir, "cache")
	defer os.RemoveAll(cache)
	return build(dir, name, []string{"GOCACHE=" + cache})
}

// build builds a program into dir. The modules must be there already, as they are where
// this program was built.
func build(dir, name string, env []string) (time.Duration, error) {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, name), "github.com/esdk-go/esdk/internal/benchmarks/program/"+name)
	cmd.Env = append(append(os.Environ(), "GOFLAGS=", "GOPROXY=off"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w: %s", err, bytes.TrimSpace(out))
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// initialised is what the initialisation of a package took.
type initialised struct {
	name               string
	micros             float64
	bytes, allocations int
}

func (p initialised) same(other initialised) bool { return p.name == other.name }

func sum(all []initialised) (total initialised) {
	for _, p := range all {
		total.micros += p.micros
		total.bytes += p.bytes
		total.allocations += p.allocations
	}
	return total
}

// traceInit starts the program several times and returns what its packages took to
// initialise, in their order.
func traceInit(program string) ([]initialised, error) {
	var order []string
	runs := map[string][]initialised{}
	for range 21 {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
		var trace bytes.Buffer
		cmd.Stderr = &trace
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", program, err, &trace)
		}
		for line := range strings.Lines(trace.String()) {
			var p initialised
			var at, millis float64
			if n, _ := fmt.Sscanf(line, "init %s @%f ms, %f ms clock, %d bytes, %d allocs", &p.name, &at, &millis, &p.bytes, &p.allocations); n < 5 {
				continue
			}
			p.micros = millis * 1000
			if runs[p.name] == nil {
				order = append(order, p.name)
			}
			runs[p.name] = append(runs[p.name], p)
		}
	}
	if order == nil {
		return nil, errors.New("GODEBUG=inittrace=1 printed nothing that is known")
	}
	var all []initialised
	for _, name := range order {
		median := func(value func(initialised) float64) float64 {
			var v []float64
			for _, p := range runs[name] {
				v = append(v, value(p))
			}
			return newStat(v).median
		}
		all = append(all, initialised{
			name:        name,
			micros:      median(func(p initialised) float64 { return p.micros }),
			bytes:       int(median(func(p initialised) float64 { return float64(p.bytes) })),
			allocations: int(median(func(p initialised) float64 { return float64(p.allocations) })),
		})
	}
	return all, nil
}
