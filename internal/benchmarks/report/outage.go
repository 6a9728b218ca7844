package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// outage measures what the loss of one of three Regions costs, with examples/outage: 64
// goroutines, 5 ms of latency, the Region cut off in the middle third.
func outage(l *lab) error {
	dir, err := os.MkdirTemp("", "esdk-outage-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "outage")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/esdk-go/esdk/examples/outage").CombinedOutput(); err != nil {
		return fmt.Errorf("examples/outage: %w: %s", err, out)
	}
	t := l.table("A Region is down", fmt.Sprintf("`examples/outage -phase %v`: keys in three Regions, 5 ms of latency, 64 goroutines that encrypt a message, decrypt it and an old one, and pause "+
		"for half a second. The first Region is cut off in the second phase. Times in milliseconds. A message is slow if it takes over 105 ms.", l.phase),
		"", "phase", "messages", "failed", "median", "over the first phase's", "99 %", "slowest", "slow")
	c := chart{file: "outage", title: "The slowest message of each second, while a Region is cut off", x: "seconds", y: "ms", logY: true}
	for _, run := range []struct{ hedge, decrypt, encrypt string }{
		{"50ms", "decrypt, HedgeAfter 50 ms", "encrypt, Quorum with Wait 50 ms"},
		{"0s", "decrypt, Timeout 1 s", ""}, // writing is the same
	} {
		l.waitForQuiet()
		file := filepath.Join(dir, "samples.csv")
		var stderr bytes.Buffer
		cmd := exec.Command(program, "-phase", l.phase.String(), "-hedge", run.hedge, "-wait", "50ms", "-timeout", "1s", "-csv", file)
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) { // messages that failed are in the table
			return fmt.Errorf("examples/outage: %w", err)
		}
		samples, err := readSamples(file)
		if err != nil {
			return fmt.Errorf("examples/outage: %w: %s", err, &stderr)
		}
		for _, line := range []struct{ direction, name string }{{"encrypt", run.encrypt}, {"decrypt", run.decrypt}} {
			if line.name == "" {
				continue
			}
			var median float64
			for i, during := range []string{"before", "during", "after"} {
				took, failed := samples[line.direction].between(time.Duration(i)*l.phase, time.Duration(i+1)*l.phase)
				if i == 0 {
					median = quantile(took, 0.5)
				}
				slow, _ := slices.BinarySearch(took, 105)
				t.add(line.name, during, strconv.Itoa(len(took)+failed), strconv.Itoa(failed), digits(quantile(took, 0.5)), digits(quantile(took, 0.5)/median),
					digits(quantile(took, 0.99)), digits(quantile(took, 1)), strconv.Itoa(len(took)-slow))
			}
			for second := time.Duration(0); second < 3*l.phase; second += time.Second {
				if took, _ := samples[line.direction].between(second, second+time.Second); len(took) > 0 {
					c.point(line.name, second.Seconds(), quantile(took, 1))
				}
			}
		}
	}
	l.charts = append(l.charts, c)
	return nil
}

// messages are what examples/outage wrote about those of one direction.
type messages []message

type message struct {
	began  time.Duration
	took   float64 // ms
	failed bool
}

func readSamples(file string) (map[string]messages, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, err
	}
	samples := make(map[string]messages)
	for _, row := range rows[1:] {
		began, err1 := strconv.ParseFloat(row[1], 64)
		took, err2 := strconv.ParseFloat(row[2], 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		samples[row[0]] = append(samples[row[0]], message{time.Duration(began * float64(time.Millisecond)), took, row[3] == "true"})
	}
	return samples, nil
}

// between returns what messages took that began in a time, in order, and how many
// failed.
func (m messages) between(from, to time.Duration) (took []float64, failed int) {
	for _, s := range m {
		switch {
		case s.began < from || s.began >= to:
		case s.failed:
			failed++
		default:
			took = append(took, s.took)
		}
	}
	slices.Sort(took)
	return took, failed
}

func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}
