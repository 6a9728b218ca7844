package frame

import (
	"fmt"
	"io"
)

// A Window holds the bytes that a stream has taken in and not yet worked on.
// The zero value is ready. Its memory grows with what arrives.
type Window struct {
	buf        []byte
	start, end int
	full       bool // the last read filled all the room it was given
}

const (
	firstSize = 4 << 10
	maxEmpty  = 100 // reads in a row that return neither a byte nor an error
)

// Bytes returns what the Window holds, valid until the next call of another
// method than Discard.
func (w *Window) Bytes() []byte { return w.buf[w.start:w.end] }

// Len returns how many bytes the Window holds.
func (w *Window) Len() int { return w.end - w.start }

// Discard drops the first n bytes.
func (w *Window) Discard(n int) {
	if w.start += n; w.start == w.end {
		w.start, w.end = 0, 0
	}
}

// Append adds p. The Window grows to no more than limit bytes, which must be
// enough.
func (w *Window) Append(p []byte, limit int) {
	for len(p) > 0 {
		n := copy(w.room(limit), p)
		w.end += n
		p = p[n:]
	}
}

// Fill reads from r until the Window holds need bytes or r fails, and returns
// the error of r even if it came with enough of them. It does not read once it
// has enough, so that what arrived can be worked on; but while r has all that
// it is asked for, it is asked for more, up to chunk bytes at once.
func (w *Window) Fill(r io.Reader, need, chunk int) error {
	for empty := 0; w.Len() < need; {
		room := w.room(max(need, chunk))
		n, err := r.Read(room)
		if n < 0 || n > len(room) {
			return fmt.Errorf("%T.Read returned a count of %d for %d bytes", r, n, len(room))
		}
		w.end += n
		w.full = n == len(room)
		if err != nil {
			return err
		}
		if n > 0 {
			empty = 0
		} else if empty++; empty == maxEmpty {
			return io.ErrNoProgress
		}
	}
	return nil
}

// room returns the free bytes behind those that the Window holds, at least
// one. It grows by doubling, when it must or when reads fill it, to no more
// than limit bytes.
func (w *Window) room(limit int) []byte {
	have := w.Len()
	size := len(w.buf)
	if size < limit && (have == size || w.full) {
		size = min(limit, max(firstSize, size+min(size, limit-size))) // twice; 2*size may not fit an int
	}
	if size > len(w.buf) {
		buf := make([]byte, size)
		w.start, w.end = 0, copy(buf, w.Bytes())
		w.buf = buf
	} else if w.start > 0 {
		copy(w.buf, w.Bytes())
		w.start, w.end = 0, have
	}
	return w.buf[w.end:]
}
