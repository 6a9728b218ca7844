package esdk

import (
	"errors"
	"fmt"
	"io"

	"github.com/esdk-go/esdk/internal/frame"
)

// How many bytes Read works on at a time, if it is given that much room.
const (
	smallChunk = 32 << 10
	largeChunk = 1 << 20
)

// A source is a reader that is not read again after an error.
type source struct {
	r   io.Reader
	err error
}

// fill reads until w holds n bytes, and more, up to limit, if it gets them with
// these. If the source ends before, the error is io.EOF.
//
// It calls flush before it reads from the source, unless the source gave all
// that it was asked for last and that ended within a frame: nobody waits for an
// answer to half a frame, so the source is going to give more.
func (s *source) fill(w *frame.Window, n, limit int, flush func() error) error {
	for w.Len() < n {
		if s.err != nil || !w.Filled() || w.Len() == 0 {
			if err := flush(); err != nil {
				return err
			}
		}
		if s.err == io.EOF {
			return io.EOF
		}
		if errors.Is(s.err, io.EOF) { // an error must not pass for the end
			return fmt.Errorf("read: %w: %v", io.ErrUnexpectedEOF, s.err)
		}
		if s.err != nil {
			return fmt.Errorf("read: %w", s.err)
		}
		s.err = errPanicked // unless it returns
		s.err = w.Fill(s.r, max(n, limit))
	}
	return nil
}

// A sink counts what is written to w, and takes no short writes.
type sink struct {
	w io.Writer
	n int64
}

// Write writes all of b.
func (s *sink) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := s.w.Write(b)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		n = max(0, min(n, len(b)))
		if errors.Is(err, io.EOF) { // a writer's error must not pass for the reader's end
			err = errors.New(err.Error())
		}
		err = fmt.Errorf("write: %w", err)
	}
	s.n += int64(n)
	return n, err
}

// A sticky error is what all later calls return.
type sticky struct{ err error }

// fail makes err, if there is one, the sticky error. Only an error replaces
// the end of the stream, and nothing an error.
func (s *sticky) fail(err error) error {
	switch {
	case err == nil || s.err != nil && s.err != io.EOF:
	case err == io.EOF:
		s.err = err
	default:
		s.err = prefixed(err)
	}
	return s.err
}

// errPanicked is the sticky error after a panic of a reader or writer.
var errPanicked = errors.New("a reader or writer panicked before")

// run calls f and makes its error sticky. If f does not return, because a reader
// or writer panics, the stream has lost its place: frames are missing, and going
// on might pass for the rest or use a nonce twice.
func (s *sticky) run(f func() error) error {
	err := errPanicked
	defer func() { s.fail(err) }()
	err = f()
	return s.fail(err)
}
