package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A progress has standard error: messages, and on a terminal a last line that says how
// far a run is: files, bytes, rate, time left. That is shown after the first second.
type progress struct {
	w        io.Writer
	terminal bool // the line is shown

	files     int
	filesDone atomic.Int64
	total     int64 // bytes of input; negative: unknown
	bytes     atomic.Int64
	start     time.Time

	mu    sync.Mutex
	shown bool
	ended bool
	stop  chan struct{}
}

const (
	progressDelay    = time.Second
	progressInterval = 200 * time.Millisecond
)

func newProgress(f *os.File) *progress {
	info, err := f.Stat()
	return &progress{w: f, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// begin starts the line for the tasks.
func (p *progress) begin(tasks []*task) {
	for _, t := range tasks {
		if t.info == nil || !t.info.Mode().IsRegular() {
			if t.err == nil {
				p.total = -1
			}
			continue
		}
		if p.total >= 0 {
			p.total += t.info.Size()
		}
	}
	p.files = len(tasks)
	p.start = time.Now()
	if !p.terminal {
		return
	}
	p.stop = make(chan struct{})
	go func() {
		ticks := time.NewTicker(progressInterval)
		defer ticks.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-ticks.C:
				p.show()
			}
		}
	}()
}

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	elapsed := time.Since(p.start)
	if p.ended || elapsed < progressDelay {
		return
	}
	fmt.Fprint(p.w, "\r"+p.line(elapsed)+"\x1b[K")
	p.shown = true
}

// line returns the text: short enough for any terminal.
func (p *progress) line(elapsed time.Duration) string {
	done, rate := p.bytes.Load(), float64(p.bytes.Load())/elapsed.Seconds()
	line := fmt.Sprintf("%d/%d files  %s", p.filesDone.Load(), p.files, size(float64(done)))
	if p.total >= 0 {
		line += " of " + size(float64(p.total))
	}
	line += "  " + size(rate) + "/s"
	if p.total >= 0 && rate > 0 && done <= p.total {
		left := time.Duration(float64(p.total-done) / rate * float64(time.Second)).Round(time.Second)
		line += fmt.Sprintf("  %s left", left)
	}
	return line
}

// size returns a number of bytes as people read it.
func size(n float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	for n >= 1024 && len(units) > 1 {
		n /= 1024
		units = units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%.0f B", n)
	}
	return fmt.Sprintf("%.1f %s", n, units[0])
}

// message writes a text in the place of the line, which comes back by itself.
func (p *progress) message(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	io.WriteString(p.w, text)
}

// clear removes the line. The progress is locked.
func (p *progress) clear() {
	if p.shown {
		io.WriteString(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// end removes the line for good.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.ended = true
	if p.stop != nil {
		close(p.stop)
	}
}

func (p *progress) fileDone() { p.filesDone.Add(1) }

// reader counts what is read from r.
func (p *progress) reader(r io.Reader) io.Reader { return &countedReader{r, &p.bytes} }

type countedReader struct {
	r     io.Reader
	bytes *atomic.Int64
}

func (c *countedReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.bytes.Add(int64(n))
	return n, err
}
