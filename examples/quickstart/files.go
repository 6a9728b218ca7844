package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/esdk-go/esdk/format"
)

// A result is what a step did.
type result struct {
	header  *format.Header
	written int64
	took    time.Duration
}

// step opens the file named from, makes the one named to, and lets work copy.
func (d *demo) step(name, from, to string, work func(io.Writer, io.Reader) (*format.Header, error)) (res result, err error) {
	in, err := os.Open(from)
	if err != nil {
		return res, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return res, err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return res, err
	}
	start := time.Now()
	r := &source{ctx: d.ctx, r: in, name: name, size: info.Size(), next: start}
	if info.Size() > 64<<20 && terminal(d.stderr) {
		r.progress = d.stderr
	}
	res.header, err = work(out, r)
	r.clear()
	if written, errInfo := out.Stat(); errInfo == nil {
		res.written = written.Size()
	}
	err = errors.Join(err, out.Close())
	res.took = time.Since(start)
	return res, err
}

// A source is a file that is read until the context is done, and that shows
// how far it was read.
type source struct {
	ctx      context.Context
	r        io.Reader
	name     string
	done     int64
	size     int64
	progress io.Writer // nil: none
	next     time.Time // when to show it again
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	s.done += int64(n)
	if now := time.Now(); s.progress != nil && now.After(s.next) {
		fmt.Fprintf(s.progress, "\r%s %3d %% of %d MB", s.name, 100*s.done/max(s.size, 1), s.size/1e6)
		s.next = now.Add(100 * time.Millisecond)
	}
	return n, err
}

// clear removes the progress line.
func (s *source) clear() {
	if s.progress != nil {
		fmt.Fprintf(s.progress, "\r%60s\r", "")
	}
}

// terminal reports whether somebody is likely to look at what is written to w.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// compare fails unless both files hold the same bytes. It reads them side by side.
func (d *demo) compare(a, b string) error {
	first, err := os.Open(a)
	if err != nil {
		return err
	}
	defer first.Close()
	second, err := os.Open(b)
	if err != nil {
		return err
	}
	defer second.Close()

	buf1, buf2 := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n1, err1 := io.ReadFull(first, buf1)
		n2, err2 := io.ReadFull(second, buf2)
		if !bytes.Equal(buf1[:n1], buf2[:n2]) {
			return fmt.Errorf("what was decrypted is not what %s holds: did it change meanwhile?", a)
		}
		if err := errors.Join(ended(err1), ended(err2), d.ctx.Err()); err != nil {
			return err
		}
		if err1 != nil {
			return nil
		}
	}
}

// ended returns nil if err says no more than that the file has ended.
func ended(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}
