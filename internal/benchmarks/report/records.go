package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/esdk-go/esdk/internal/benchmarks/peer"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

const (
	recordFrames  = 4 << 10
	recordTenants = 100
)

// recordContexts returns the encryption contexts that records have by turns. There are as
// many as tenants and not as records, as a cache needs contexts that come again.
func recordContexts() []peer.Context {
	contexts := make([]peer.Context, recordTenants)
	for i := range contexts {
		contexts[i] = peer.NewContext(map[string]string{"table": "orders", "tenant": fmt.Sprintf("tenant-%03d", i)})
	}
	return contexts
}

// A batch is what many records cost, to encrypt and to decrypt.
type batch [2]cost

// A cost is what many calls came to. Times are in seconds. A pause is how long one
// collection of garbage stopped the program, in all its steps.
type cost struct {
	Seconds                      float64
	Allocations, Bytes           float64
	Collections, Longest, Pauses float64
}

// costOf runs what is to be measured, after a collection of garbage.
func costOf(run func() error) (cost, error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	err := run()
	c := cost{Seconds: time.Since(start).Seconds()}
	runtime.ReadMemStats(&after)
	c.Allocations = float64(after.Mallocs - before.Mallocs)
	c.Bytes = float64(after.TotalAlloc - before.TotalAlloc)
	c.Collections = float64(after.NumGC - before.NumGC)
	c.Pauses = float64(after.PauseTotalNs-before.PauseTotalNs) / 1e9
	latest := uint32(len(after.PauseNs)) // collections that it remembers
	for n := max(before.NumGC, after.NumGC-min(after.NumGC, latest)); n < after.NumGC; n++ {
		c.Longest = max(c.Longest, float64(after.PauseNs[n%latest])/1e9)
	}
	return c, err
}

// A recorder is a contestant in batches of records.
type recorder struct {
	name  string
	every int // its turn is in each round that this divides
	batch func(records int) (batch, error)
	costs []batch
}

// A series is batches of records of some sizes, under one suite.
type series struct {
	id              suite.ID
	sizes           []int
	records, rounds int
	slow            int // recorder.every of the slow ones

	raced [][]*recorder // the contestants with their costs, for each size
}

// records measures batches of small records, one after the other on one core. The heap is as
// Go makes it. All records of a batch, their messages and what these decrypt to are held.
func records(l *lab) error {
	python, missing := findPython(l.python)
	if missing != nil && l.python != "" {
		return missing
	}
	about := "Python was left out: none with AWS's SDK was found. Install `aws-encryption-sdk` in a virtual environment, and name the Python there with `-python`."
	if python != nil {
		defer python.stop()
		l.processes = append(l.processes, python.cmd.Process.Pid)
		defer func() { l.processes = nil }()
		about = "Python: " + python.version + "."
	}
	l.spareMemory(false)
	defer l.spareMemory(true)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))

	unsigned := &series{id: peer.Unsigned, sizes: []int{200, 1 << 10, 16 << 10}, records: l.records, rounds: l.rounds, slow: 5}
	// P-384 takes long, and as long for each size.
	signed := &series{id: peer.Signed, sizes: unsigned.sizes[1:2], records: l.records / 10, rounds: (l.rounds + 2) / 3, slow: 1}
	for _, s := range []*series{unsigned, signed} {
		for _, size := range s.sizes {
			cs, err := s.recorders(size, python)
			if err == nil {
				err = l.raceRecords(s, cs)
			}
			if err != nil {
				return err
			}
			for _, c := range cs {
				c.batch = nil // and so the records, which would make the heap of the next ones larger
			}
			s.raced = append(s.raced, cs)
		}
	}
	l.recordsInShort(unsigned, about)
	for _, s := range []*series{unsigned, signed} {
		l.recordTable(s, 0, "encrypt")
		l.recordTable(s, 1, "decrypt")
	}
	return nil
}

// recordsInShort makes a table and a chart of the throughput.
func (l *lab) recordsInShort(s *series, about string) {
	t := l.table("Many records", fmt.Sprintf("Thousands of records a second that one core encrypts / decrypts, suite %s, batches of %s. %s",
		number(s.id), thousands(float64(s.records)), about), "")
	c := chart{file: "records", title: "Records encrypted and decrypted again on one core, suite " + number(s.id),
		x: "size of a record", y: "records a second", bytes: true, logY: true}
	for i, recorder := range s.raced[0] {
		t.add(recorder.name)
		for k, size := range s.sizes {
			r := s.raced[k][i]
			if i == 0 {
				t.rows[0] = append(t.rows[0], length(size))
			}
			t.rows[i+1] = append(t.rows[i+1], r.thousands(0, s).number()+" / "+r.thousands(1, s).number())
			both := make([]float64, len(r.costs))
			for j, b := range r.costs {
				both[j] = float64(s.records) / (b[0].Seconds + b[1].Seconds)
			}
			c.point(r.name, float64(size), newStat(both).median)
		}
	}
	l.charts = append(l.charts, c)
}

// recordTable makes the table of one direction.
func (l *lab) recordTable(s *series, direction int, name string) {
	t := l.table(fmt.Sprintf("%s records, %s, %s", thousands(float64(s.records)), number(s.id), name),
		"On one core, with Go's default heap. Allocations and KB are those of a record, the columns after them of the batch. A pause is how long one collection stopped the program.",
		"size", "", "thousands a second", "MB/s", "times esdk", "allocations", "KB", "collections", "longest pause, µs", "all pauses, ms")
	for k, size := range s.sizes {
		for i, r := range s.raced[k] {
			rate, times := r.thousands(direction, s), ""
			if i > 0 {
				times = r.times(s.raced[k][0], direction).spread()
			}
			t.add(length(size), r.name, rate.spread(), digits(rate.median*float64(size)/1000), times,
				known("%.0f", r.stat(direction, func(c cost) float64 { return c.Allocations / float64(s.records) })),
				known("%.1f", r.stat(direction, func(c cost) float64 { return c.Bytes / float64(s.records) / 1000 })),
				known("%.0f", r.stat(direction, func(c cost) float64 { return c.Collections })),
				r.stat(direction, func(c cost) float64 { return c.Longest * 1e6 }).spread(),
				r.stat(direction, func(c cost) float64 { return c.Pauses * 1e3 }).number())
		}
	}
}

// known is a figure that not every contestant tells.
func known(format string, s stat) string {
	if math.IsNaN(s.median) {
		return "n/a"
	}
	return fmt.Sprintf(format, s.median)
}

// recorders returns the contestants, this module under a raw AES key first.
func (s *series) recorders(size int, python *python) ([]*recorder, error) {
	raw, err := peer.RawAES()
	if err != nil {
		return nil, err
	}
	cache, err := keyprovider.NewCache(raw, keyprovider.CacheOptions{MaxAge: 1000 * time.Hour})
	if err != nil {
		return nil, err
	}
	warm := peer.EsdkUnder(cache, s.id, recordFrames, 1)
	warm.Name = "esdk, warm cache"
	tink, err := peer.TinkEnvelope()
	if err != nil {
		return nil, err
	}
	chainifynet, err := peer.Chainifynet(s.id, recordFrames)
	if err != nil {
		return nil, err
	}
	official, err := peer.Official(s.id, recordFrames)
	if err != nil {
		return nil, err
	}
	all, contexts := split(noise(size*s.records), size), recordContexts()
	var cs []*recorder
	for _, p := range []*peer.Peer{peer.EsdkUnder(raw, s.id, recordFrames, 1), warm, tink, chainifynet, official} {
		if p == tink && s.id.Signing() {
			continue
		}
		c := &recorder{name: p.Name, every: 1, batch: func(n int) (batch, error) { return encryptAndDecrypt(p, all[:n], contexts) }}
		if p == official {
			c.every = s.slow
		}
		cs = append(cs, c)
	}
	if python != nil {
		cs = append(cs, &recorder{name: "Python", every: s.slow, batch: func(n int) (batch, error) { return python.batch(s.id, size, n) }})
	}
	return cs, nil
}

func split(b []byte, size int) (pieces [][]byte) {
	for ; len(b) >= size; b = b[size:] {
		pieces = append(pieces, b[:size:size])
	}
	return pieces
}

// encryptAndDecrypt measures p with one batch.
func encryptAndDecrypt(p *peer.Peer, records [][]byte, contexts []peer.Context) (b batch, err error) {
	messages, decrypted := make([][]byte, len(records)), make([][]byte, len(records))
	for d, work := range []struct {
		do       func([]byte, peer.Context) ([]byte, error)
		from, to [][]byte
	}{{p.EncryptRecord, records, messages}, {p.DecryptRecord, messages, decrypted}} {
		b[d], err = costOf(func() error {
			for i, from := range work.from {
				to, err := work.do(from, contexts[i%len(contexts)])
				if err != nil {
					return err
				}
				work.to[i] = to
			}
			return nil
		})
		if err != nil {
			return b, err
		}
	}
	for i, r := range records {
		if !bytes.Equal(r, decrypted[i]) {
			return b, errors.New("a record decrypts to another")
		}
	}
	return b, nil
}

// raceRecords has the contestants do their batches in turns, and keeps the costs.
func (l *lab) raceRecords(s *series, cs []*recorder) error {
	latest := make([]*batch, len(cs))
	turn := func(i, round int) error {
		c, n := cs[i], s.records
		latest[i] = nil
		if round < 0 {
			n = min(n, max(n/10, recordTenants)) // all of the cache's entries
		} else if round%c.every != 0 {
			return nil
		}
		return deeper(round+1, func() error {
			b, err := c.batch(n)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			latest[i] = &b
			return nil
		})
	}
	return l.inTurns(s.rounds, len(cs), turn, func() {
		for i, b := range latest {
			if b != nil {
				cs[i].costs = append(cs[i].costs, *b)
			}
		}
	})
}

// stat is over r's turns in one direction.
func (r *recorder) stat(direction int, f func(cost) float64) stat {
	v := make([]float64, len(r.costs))
	for i, b := range r.costs {
		v[i] = f(b[direction])
	}
	return newStat(v)
}

// thousands is how many thousands of records r did in a second.
func (r *recorder) thousands(direction int, s *series) stat {
	return r.stat(direction, func(c cost) float64 { return float64(s.records) / c.Seconds / 1000 })
}

// times is how many times as long as base r took, each of its turns compared with the turn
// of base in the same round; base has one in every round.
func (r *recorder) times(base *recorder, direction int) stat {
	v := make([]float64, len(r.costs))
	for i, b := range r.costs {
		v[i] = b[direction].Seconds / base.costs[i*r.every][direction].Seconds
	}
	return newStat(v)
}
