package frame

import (
	"fmt"
	"io"
)

// A Window holds the bytes that a stream has read and not yet processed.
// The zero value is ready. Its memory grows with what arrives.
type Window struct {
	buf        []byte
	start, end int
	full       bool // the last read returned all that it was asked for
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

// LastReadFull reports whether the last read returned all that it was asked for.
func (w *Window) LastReadFull() bool { return w.full }

// exchange moves what the Window holds to buf, or to new memory if that is too
// small, and returns the memory it was in, where what was discarded stays as it
// was.
func (w *Window) exchange(buf []byte) []byte {
	if len(buf) < len(w.buf) {
		buf = make([]byte, len(w.buf)) // cleared: a reader may claim what it did not write
	}
	n := copy(buf, w.Bytes())
	buf, w.buf = w.buf, buf
	w.start, w.end = 0, n
	return buf
}

// shrink gives back memory over size bytes, unless the Window holds more.
func (w *Window) shrink(size int) {
	if len(w.buf) > size && w.Len() <= size {
		buf := make([]byte, size)
		w.start, w.end = 0, copy(buf, w.Bytes())
		w.buf = buf
	}
}

// Append adds p. The Window grows to no more than limit bytes, which must be
// enough.
func (w *Window) Append(p []byte, limit int) {
	for len(p) > 0 {
		n := copy(w.free(limit), p)
		w.end += n
		p = p[n:]
	}
}

// ReadOnce reads from r, up to where the Window holds limit bytes, which must be
// more than it does. It returns after the first read that gives a byte or an
// error.
func (w *Window) ReadOnce(r io.Reader, limit int) error {
	for range maxEmpty {
		free := w.free(limit)
		n, err := r.Read(free)
		if n < 0 || n > len(free) {
			return fmt.Errorf("%T.Read returned a count of %d for %d bytes", r, n, len(free))
		}
		w.end += n
		w.full = n == len(free)
		if n > 0 || err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// free returns the free bytes behind those that the Window holds, at least one.
// The Window grows by doubling, when it must or when the last read was full, to
// no more than limit bytes.
func (w *Window) free(limit int) []byte {
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
	return w.buf[w.end:max(have+1, min(len(w.buf), limit))]
}
