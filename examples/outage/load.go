package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

var (
	phases     = []string{"before", "during", "after"} // all of the same length
	directions = []string{"encrypt", "decrypt"}
)

// A load is many goroutines that encrypt messages, and decrypt these and an old one.
type load struct {
	writer, reader keyprovider.MasterKeyProvider
	goroutines     int
	pause, phase   time.Duration
	old            []byte // a message under all keys, which is read again and again

	began   time.Time
	mu      sync.Mutex
	samples []sample
}

// A sample is what one message cost in one direction.
type sample struct {
	direction int
	at        time.Duration // when it began
	took      time.Duration
	err       error
}

// run runs the load. It calls begin when a phase begins.
func (l *load) run(ctx context.Context, begin func(phase int)) error {
	var err error
	if l.old, err = encrypt(ctx, l.reader); err != nil {
		return err
	}
	l.each(func(int) { l.message(ctx) }) // opens connections
	l.samples, l.began = nil, time.Now()
	begin(0)
	var wg sync.WaitGroup
	wg.Go(func() {
		l.each(func(i int) {
			sleep(ctx, l.pause*time.Duration(i)/time.Duration(l.goroutines)) // not all at once
			for l.now() < time.Duration(len(phases))*l.phase && ctx.Err() == nil {
				l.message(ctx)
				sleep(ctx, l.pause)
			}
		})
	})
	for i := 1; i < len(phases); i++ {
		sleep(ctx, time.Duration(i)*l.phase-l.now())
		begin(i)
	}
	wg.Wait()
	return ctx.Err()
}

// each runs f on every goroutine.
func (l *load) each(f func(i int)) {
	var wg sync.WaitGroup
	for i := range l.goroutines {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

func (l *load) now() time.Duration { return time.Since(l.began) }

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// plaintext is that of every message.
var plaintext = []byte("a record")

func encrypt(ctx context.Context, p keyprovider.MasterKeyProvider) ([]byte, error) {
	message, _, err := esdk.Encrypt(ctx, plaintext, p, &esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey})
	return message, err
}

// message encrypts a message, and decrypts it and the old one.
func (l *load) message(ctx context.Context) {
	var message []byte
	if l.measure(0, func() (err error) {
		message, err = encrypt(ctx, l.writer)
		return err
	}) != nil {
		return
	}
	for _, m := range [][]byte{message, l.old} {
		l.measure(1, func() error {
			got, _, err := esdk.Decrypt(ctx, m, l.reader, nil)
			if err == nil && !bytes.Equal(got, plaintext) {
				err = errors.New("another plaintext")
			}
			return err
		})
	}
}

// measure adds a sample.
func (l *load) measure(direction int, f func() error) error {
	s := sample{direction: direction, at: l.now()}
	s.err = f()
	s.took = l.now() - s.at
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, s)
	return s.err
}

// between returns the times, in order, that messages took which began in a time,
// and the number of those that failed.
func (l *load) between(direction int, from, to time.Duration) (took []time.Duration, failed int) {
	for _, s := range l.samples {
		if s.direction != direction || s.at < from || s.at >= to {
			continue
		}
		if s.err != nil {
			failed++
			continue
		}
		took = append(took, s.took)
	}
	slices.Sort(took)
	return took, failed
}

// quantile returns a quantile of times in order, in milliseconds; of none: 0.
func quantile(took []time.Duration, q float64) float64 {
	if len(took) == 0 {
		return 0
	}
	return float64(took[int(q*float64(len(took)-1))]) / float64(time.Millisecond)
}

// table prints the latencies of each phase. A message is slow if it took longer than
// the given time.
func (l *load) table(w io.Writer, slow time.Duration) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\tmessages\tfailed\tmedian\t99 %%\tslowest\tover %v\t\n", slow)
	for d, direction := range directions {
		for i, phase := range phases {
			took, failed := l.between(d, time.Duration(i)*l.phase, time.Duration(i+1)*l.phase)
			first, _ := slices.BinarySearch(took, slow+1)
			fmt.Fprintf(t, "%s %s\t%d\t%d\t%.1f ms\t%.1f ms\t%.1f ms\t%d\t\n", direction, phase, len(took)+failed, failed,
				quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1), len(took)-first)
		}
	}
	return t.Flush()
}

// firstError returns the error of a message that failed, or nil.
func (l *load) firstError() error {
	for _, s := range l.samples {
		if s.err != nil {
			return fmt.Errorf("%s after %v: %w", directions[s.direction], s.at.Round(time.Millisecond), s.err)
		}
	}
	return nil
}

// save writes the samples, one a line: when the message began and what it took, in
// milliseconds.
func (l *load) save(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	number := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds()*1000, 'f', 3, 64) }
	w := csv.NewWriter(f)
	w.Write([]string{"direction", "began", "took", "failed"})
	for _, s := range l.samples {
		w.Write([]string{directions[s.direction], number(s.at), number(s.took), strconv.FormatBool(s.err != nil)})
	}
	w.Flush()
	return errors.Join(w.Error(), f.Close())
}
