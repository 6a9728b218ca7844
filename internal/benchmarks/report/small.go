package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/esdk-go/esdk/internal/benchmarks/floor"
	"github.com/esdk-go/esdk/internal/benchmarks/peer"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/suite"
)

// twoPairs are messages with an encryption context, which decryption checks.
const twoPairs = "raw AES, two pairs"

// smallMessages compares messages of 1 KiB with all the cryptography that they
// need, key generation, wrapping and signature included. With a warm cache there is
// nothing to wrap, and the floor does not either. The encryption context is empty,
// except where a row says so.
func smallMessages(l *lab) error {
	const size = 1 << 10
	t := l.table("Messages of 1 KiB",
		"Microseconds and allocations for one message, on one core. The floor does all the cryptography of the message and nothing else.",
		"", "suite", "key", "floor", "esdk", "times the floor", "allocations: floor", "esdk", "AWS Go", "times esdk")
	plaintext := noise(size)
	bars := chart{file: "latency", title: "Latency of 1 KiB messages", y: "microseconds, less is better"}
	for _, id := range suites {
		s, err := newSmall(id, plaintext)
		if err != nil {
			return err
		}
		theirs, err := peer.Official(id, 4<<10)
		if err != nil {
			return err
		}
		context := peer.NewContext(map[string]string{"table": "orders", "tenant": "tenant-017"})
		inContext, err := s.raw.EncryptRecord(plaintext, context)
		if err != nil {
			return err
		}
		floorInContext, err := floor.NewMessage(peer.Key, inContext)
		if err != nil {
			return err
		}
		limit := 1.2
		if id.Signing() {
			limit = 1.03
		}
		panel := panel{title: "suite " + number(id) + map[bool]string{false: ", unsigned", true: ", signed"}[id.Signing()]}
		for _, op := range []struct {
			name, key string
			runs      []func() error
		}{
			{"Encrypt", "raw AES", []func() error{s.encryptFloor, s.encrypt(s.raw), func() error { _, err := theirs.Encrypt(plaintext); return err }}},
			{"Decrypt", "raw AES", []func() error{s.decryptFloor, s.decrypt(s.raw), func() error { _, err := theirs.Decrypt(s.raw.message); return err }}},
			{"Encrypt", twoPairs, []func() error{
				func() error { _, err := floorInContext.Encrypt(plaintext); return err },
				func() error { _, err := s.raw.EncryptRecord(plaintext, context); return err },
			}},
			{"Decrypt", twoPairs, []func() error{
				func() error { _, err := floorInContext.Decrypt(); return err },
				func() error { _, err := s.raw.DecryptRecord(inContext, context); return err },
			}},
			{"Encrypt", "warm cache", []func() error{func() error { _, err := s.floor.EncryptCached(plaintext); return err }, s.encrypt(s.cached)}},
			{"Decrypt", "warm cache", []func() error{func() error { _, err := s.floor.DecryptCached(); return err }, s.decrypt(s.cached)}},
		} {
			if op.key == "warm cache" && id.Signing() {
				continue // the floor makes a signing key
			}
			var cs []contestant
			for i, run := range op.runs {
				cs = append(cs, contestant{[]string{"cryptography alone", "esdk", "AWS Go"}[i], 1, size, run})
			}
			out, err := l.race(2*l.rounds, cs...)
			if err != nil {
				return err
			}
			cost := out[1].costOver(out[0])
			if op.key != twoPairs { // the bar is without an encryption context
				l.atMost("1 KiB, "+number(id)+", cost over the cryptography's", limit, op.name+", "+op.key, cost)
			}
			row := []string{op.name, number(id), op.key, out[0].micros().number(), out[1].micros().number(), cost.spread(),
				fmt.Sprint(allocations(op.runs[0])), fmt.Sprint(allocations(op.runs[1])), "", ""}
			if len(out) == 3 {
				row[8], row[9] = out[2].micros().number(), out[2].costOver(out[1]).spread()
				panel.groups = append(panel.groups, op.name)
				for i, o := range out {
					panel.bar(i, o.name, o.micros().median)
				}
			}
			t.add(row...)
		}
		bars.panels = append(bars.panels, panel)
	}
	l.charts = append(l.charts, bars)
	return nil
}

// small is messages of 1 KiB under several keys, and the floor of one under a raw AES
// key.
type small struct {
	plaintext                 []byte
	floor                     *floor.Message
	raw, cached, hierarchical keyed
}

// keyed is this module with a provider, and a message under its key.
type keyed struct {
	*peer.Peer
	message []byte
}

func newSmall(id suite.ID, plaintext []byte) (*small, error) {
	s := &small{plaintext: plaintext}
	aes, err := peer.RawAES()
	if err != nil {
		return nil, err
	}
	cache, err := keyprovider.NewCache(aes, keyprovider.CacheOptions{MaxAge: 1000 * time.Hour})
	if err != nil {
		return nil, err
	}
	tree, err := hierarchical.New(branchKeys{}, hierarchical.Options{BranchKeyID: "branch", MaxAge: 1000 * time.Hour})
	if err != nil {
		return nil, err
	}
	for p, k := range map[keyprovider.MasterKeyProvider]*keyed{aes: &s.raw, cache: &s.cached, tree: &s.hierarchical} {
		k.Peer = peer.EsdkUnder(p, id, 4<<10, 1)
		if k.message, err = k.Encrypt(plaintext); err != nil {
			return nil, err
		}
		if _, err = k.Decrypt(k.message); err != nil { // which warms the cache
			return nil, err
		}
	}
	s.floor, err = floor.NewMessage(peer.Key, s.raw.message)
	return s, err
}

func (s *small) encryptFloor() error { _, err := s.floor.Encrypt(s.plaintext); return err }
func (s *small) decryptFloor() error { _, err := s.floor.Decrypt(); return err }

func (s *small) encrypt(k keyed) func() error {
	return func() error { _, err := k.Encrypt(s.plaintext); return err }
}

func (s *small) decrypt(k keyed) func() error {
	return func() error { _, err := k.Decrypt(k.message); return err }
}

// branchKeys is a store with one branch key.
type branchKeys struct{}

func (branchKeys) LogicalName() string { return "benchmarks" }

func (branchKeys) ActiveBranchKey(_ context.Context, id string) (*hierarchical.BranchKey, error) {
	return &hierarchical.BranchKey{ID: id, Version: "8a2a3a4a-1111-4111-8111-111111111111", Material: bytes.Repeat([]byte{9}, 32)}, nil
}

func (k branchKeys) BranchKeyVersion(ctx context.Context, id, _ string) (*hierarchical.BranchKey, error) {
	return k.ActiveBranchKey(ctx, id)
}

// allocations returns how many allocations run makes.
func allocations(run func() error) uint64 {
	const n = 200
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		run() // which did not fail in the race
	}
	runtime.ReadMemStats(&after)
	return (after.Mallocs - before.Mallocs + n/2) / n
}

// smallTwoCores measures what a second goroutine on a second core gains. The heap is as
// Go makes it, as the collector is what the two share.
func smallTwoCores(l *lab) error {
	if l.cores < 2 {
		return nil
	}
	const size, batch = 1 << 10, 100
	l.spareMemory(false)
	defer l.spareMemory(true)
	t := l.table("Messages of 1 KiB on two cores",
		"How many times as many messages two goroutines on two cores make as one on one core, suite "+number(peer.Unsigned)+"; after the slash, as part of what the cryptography gains.",
		"", "cryptography alone", "raw AES", "warm cache", "hierarchical, warm cache")
	s, err := newSmall(peer.Unsigned, noise(size))
	if err != nil {
		return err
	}
	for _, op := range []struct {
		name string
		runs []func() error
	}{
		{"Encrypt", []func() error{s.encryptFloor, s.encrypt(s.raw), s.encrypt(s.cached), s.encrypt(s.hierarchical)}},
		{"Decrypt", []func() error{s.decryptFloor, s.decrypt(s.raw), s.decrypt(s.cached), s.decrypt(s.hierarchical)}},
	} {
		var cs []contestant
		for _, run := range op.runs {
			for n := 1; n <= 2; n++ {
				cs = append(cs, contestant{"", n, n * batch * size, func() error { return together(n, batch, run) }})
			}
		}
		out, err := l.race(2*l.rounds, cs...)
		if err != nil {
			return err
		}
		row := []string{op.name, out[1].against(out[0]).spread()}
		for i := 2; i < len(out); i += 2 {
			part := make([]float64, len(out[0].seconds))
			for r := range part {
				part[r] = out[i].seconds[r] / out[i+1].seconds[r] * out[1].seconds[r] / out[0].seconds[r]
			}
			name := op.name + ", " + []string{"raw AES", "warm cache", "hierarchical"}[i/2-1]
			l.atLeast("1 KiB, two cores, gain as part of the cryptography's", 0.92, name, newStat(part))
			row = append(row, out[i+1].against(out[i]).number()+" / "+newStat(part).spread())
		}
		t.add(row...)
	}
	return nil
}

// together runs n times run on each of several goroutines.
func together(goroutines, n int, run func() error) error {
	results := make(chan error, goroutines)
	for range goroutines {
		go func() {
			var err error
			for i := 0; i < n && err == nil; i++ {
				err = run()
			}
			results <- err
		}()
	}
	var err error
	for range goroutines {
		err = cmp.Or(err, <-results)
	}
	return err
}
