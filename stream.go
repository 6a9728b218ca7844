package esdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/esdk-go/esdk/internal/frame"
	"github.com/esdk-go/esdk/internal/provider"
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

// readAtLeast reads until w holds n bytes, and more, up to limit, if it gets them
// with these. If the source ends before, the error is io.EOF.
//
// It calls flush before it reads from the source, unless the source gave all
// that it was asked for last and that ended within a frame: nobody waits for an
// answer to half a frame, so the source is going to give more.
func (s *source) readAtLeast(w *frame.Window, n, limit int, flush func() error) error {
	for w.Len() < n {
		if s.err != nil || !w.LastReadFull() || w.Len() == 0 {
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
		s.err = w.ReadOnce(s.r, max(n, limit))
	}
	return nil
}

// A headerSource lets a header be read from r by way of in, where what was read
// beyond it stays. It asks r for up to limit bytes at a time.
type headerSource struct {
	r     *source
	in    *frame.Window
	limit int
}

func (s headerSource) Read(p []byte) (int, error) {
	if err := s.r.readAtLeast(s.in, 1, s.limit, noFlush); err != nil {
		return 0, err
	}
	n := copy(p, s.in.Bytes())
	s.in.Discard(n)
	return n, nil
}

// noFlush is for reading while nothing waits to be written.
func noFlush() error { return nil }

// A sourceAt is an io.ReaderAt that must fill its buffer. The error is nil if, and
// only if, it did, and it never wraps io.EOF.
type sourceAt struct{ r io.ReaderAt }

func (s sourceAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.r.ReadAt(p, off)
	switch {
	case n < 0 || n > len(p):
		return 0, fmt.Errorf("%T.ReadAt returned a count of %d for %d bytes", s.r, n, len(p))
	case n == len(p):
		return n, nil
	case err == nil:
		return n, fmt.Errorf("%T.ReadAt returned a count of %d for %d bytes and no error", s.r, n, len(p))
	case err == io.EOF:
		return n, fmt.Errorf("the source has no byte %d, which is before the end of the message: it is cut short, or its size is wrong: %w", off+int64(n), io.ErrUnexpectedEOF)
	case errors.Is(err, io.EOF):
		return n, fmt.Errorf("%w: %v", io.ErrUnexpectedEOF, err)
	}
	return n, err
}

// An untilDone is a sourceAt that is not called once ctx is done.
type untilDone struct {
	ctx context.Context
	sourceAt
}

func (u untilDone) ReadAt(p []byte, off int64) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.sourceAt.ReadAt(p, off)
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

// redacted keeps fmt and loggers from printing what a stream holds: plaintext.
type redacted = provider.Redacted

// named returns what a stream prints.
func named(name string) redacted {
	return provider.RedactAs(func() string { return "esdk." + name })
}

// A state says whether a stream can be used. Its methods admit one call at a
// time: two at once would use a nonce twice or lose bytes.
type state struct {
	made bool // by a constructor
	// The rest is only for the call that is under way, but for use.
	err  error // sticky: what all later calls return
	live bool  // the call began without err
	use  atomic.Uint32
}

// Values of state.use.
const (
	idle     = iota
	busy     // a call is under way
	disputed // another came meanwhile; no call is admitted any more
)

var (
	errNotMade  = errors.New("the stream was not made by its constructor")
	errDisputed = errors.New("the stream was used by two goroutines at once, or from inside its own reader or writer")
	errPanicked = errors.New("a reader or writer did not return before: it panicked or ended its goroutine")
)

// begin admits a call, which ends with end. If one is under way already the new
// call fails, and so do that one and all later ones: whatever the new call was
// to do is missing.
func (s *state) begin() error {
	if !s.made {
		return prefixed(errNotMade)
	}
	for !s.use.CompareAndSwap(idle, busy) {
		if s.disputed() || s.use.CompareAndSwap(busy, disputed) {
			return prefixed(errDisputed)
		} // else the other call has just ended
	}
	s.live = s.err == nil
	return nil
}

// disputed reports whether the call that is under way has been disputed.
func (s *state) disputed() bool { return s.use.Load() == disputed }

// end ends the call that began and reports whether another one spoilt it.
func (s *state) end() (spoilt bool) {
	if s.use.CompareAndSwap(busy, idle) {
		return false
	}
	if !s.live { // it changed nothing
		s.use.Store(idle)
		return false
	}
	s.err = prefixed(errDisputed)
	return true
}

// run calls f between begin and end and makes its error sticky. If f does not
// return, because a reader or writer panics, the stream has lost its place:
// frames are missing, and going on might pass for the rest or use a nonce twice.
func (s *state) run(f func() error) (err error) {
	if err := s.begin(); err != nil {
		return err
	}
	err = errPanicked
	defer func() {
		s.fail(err)
		err = s.err
		if s.end() {
			err = s.err
		}
	}()
	err = f()
	return err
}

// fail makes err, if there is one, the sticky error. Only an error replaces
// the end of the stream, and nothing an error.
func (s *state) fail(err error) {
	switch {
	case err == nil || s.err != nil && s.err != io.EOF:
	case err == io.EOF:
		s.err = err
	default:
		s.err = prefixed(err)
	}
}
