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

// Filled reports whether the last read filled all the room that it was given.
func (w *Window) Filled() bool { return w.full }

// Exchange moves what the Window holds to buf, or to new memory if that is too
// small, and returns the memory it was in, where what was discarded stays as it
// was.
func (w *Window) Exchange(buf []byte) []byte {
	if len(buf) < len(w.buf) {
		buf = make([]byte, len(w.buf)) // cleared: a reader may claim what it did not write
	}
	n := copy(buf, w.Bytes())
	buf, w.buf = w.buf, buf
	w.start, w.end = 0, n
	return buf
}

// Shrink gives back memory over size bytes, unless the Window holds more.
func (w *Window) Shrink(size int) {
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
		n := copy(w.room(limit), p)
		w.end += n
		p = p[n:]
	}
}

// Fill reads from r once, up to where the Window holds limit bytes, which must
// be more than it does.
func (w *Window) Fill(r io.Reader, limit int) error {
	for range maxEmpty {
		room := w.room(limit)
		n, err := r.Read(room)
		if n < 0 || n > len(room) {
			return fmt.Errorf("%T.Read returned a count of %d for %d bytes", r, n, len(room))
		}
		w.end += n
		w.full = n == len(room)
		if n > 0 || err != nil {
			return err
		}
	}
	return io.ErrNoProgress
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
	return w.buf[w.end:max(have+1, min(len(w.buf), limit))]
}
