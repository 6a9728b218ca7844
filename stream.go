package esdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/frame"
	"github.com/esdk-go/esdk/keyprovider"
)

// How many bytes streams take in, and give out, at a time.
const (
	smallChunk = 32 << 10 // in Read and Write of small slices, or with one goroutine
	largeChunk = 1 << 20  // where several goroutines can share the work
)

// chunk returns the one that fits an operation that can move as much as it likes.
func chunk(workers int) int {
	if workers > 1 {
		return largeChunk
	}
	return smallChunk
}

// A source is a reader that is not read again after an error.
type source struct {
	r   io.Reader
	err error
}

// fill reads until w holds n bytes. If the source ends before, the error is
// io.EOF.
func (s *source) fill(w *frame.Window, n, chunk int) error {
	if s.err == nil && w.Len() < n {
		s.err = w.Fill(s.r, n, chunk)
	}
	if w.Len() >= n {
		return nil
	}
	if s.err == io.EOF {
		return io.EOF
	}
	if errors.Is(s.err, io.EOF) { // an error must not pass for the end
		return fmt.Errorf("read: %w: %v", io.ErrUnexpectedEOF, s.err)
	}
	return fmt.Errorf("read: %w", s.err)
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

// encryptStream is what EncryptReader and EncryptWriter have in common.
type encryptStream struct {
	sticky
	m     *sealing
	in    frame.Window // plaintext that is not sealed yet
	out   []byte       // scratch for what is sealed
	taken int64        // plaintext bytes so far
}

// take counts n more bytes of plaintext.
func (s *encryptStream) take(n int) error {
	s.taken += int64(n)
	if limit := s.m.limit; limit > 0 && s.taken > limit {
		return fmt.Errorf("%w: more than %d bytes", ErrPlaintextTooLong, limit)
	}
	return nil
}

// frames appends whole frames to dst: at least one, and more up to about chunk
// bytes if r has the plaintext for them at once. If r ends before that, what is
// left stays in s.in, and the error is io.EOF.
func (s *encryptStream) frames(dst []byte, r *source, chunk int) ([]byte, error) {
	length, have := s.m.FrameLength, s.in.Len()
	err := r.fill(&s.in, length, chunk)
	if tooLong := s.take(s.in.Len() - have); tooLong != nil {
		return dst, tooLong
	}
	if err != nil {
		return dst, err
	}
	n := min(s.in.Len()/length, max(1, chunk/(length+format.FrameOverhead)))
	dst, err = s.m.Frames(dst, s.in.Bytes()[:n*length])
	s.in.Discard(n * length)
	return dst, err
}

// finish appends the end of the message to dst.
func (s *encryptStream) finish(dst []byte) ([]byte, error) {
	return s.m.finish(slices.Grow(dst, s.m.finalSize(s.in.Len())), s.in.Bytes())
}

// An EncryptReader encrypts what it reads: reading from it gives the message.
// It is made by [NewEncryptReader], and not safe for concurrent use.
type EncryptReader struct {
	s       encryptStream
	r       source
	pending []byte // of the message, not given out yet
}

// NewEncryptReader returns a reader of the message that holds what r gives
// until io.EOF. The message is the same as that of [Encrypt] for the same keys
// and options. The keys are asked for before NewEncryptReader returns, with
// ctx; r is not touched before the first Read, and never closed. It uses the
// zero [Client].
//
// Any error, of r too, ends the message without its final frame, so that what
// was read can never pass for a whole one.
//
// It follows client-apis/encrypt.md and client-apis/streaming.md of the
// specification.
func NewEncryptReader(ctx context.Context, r io.Reader, p keyprovider.MasterKeyProvider, opts *EncryptOptions) (*EncryptReader, error) {
	return defaults.NewEncryptReader(ctx, r, p, opts)
}

// NewEncryptReader is like the function [NewEncryptReader], with the Client's
// settings.
func (c *Client) NewEncryptReader(ctx context.Context, r io.Reader, p keyprovider.MasterKeyProvider, opts *EncryptOptions) (*EncryptReader, error) {
	if r == nil {
		return nil, prefixed(errors.New("nil io.Reader"))
	}
	m, err := c.seal(ctx, p, opts, streamed)
	if err != nil {
		return nil, prefixed(err)
	}
	return &EncryptReader{s: encryptStream{m: m}, r: source{r: r}, pending: m.raw}, nil
}

// Header returns the header of the message, complete from the start.
func (e *EncryptReader) Header() *format.Header { return e.s.m.header }

// Read reads the next bytes of the message. At its end, and only there, the
// error is io.EOF. Once it returned an error it always does.
func (e *EncryptReader) Read(p []byte) (int, error) {
	for len(e.pending) == 0 {
		if e.s.err != nil || len(p) == 0 {
			return 0, e.s.err
		}
		if len(p) < e.s.m.FrameLength+format.FrameOverhead {
			out, err := e.more(e.s.out[:0], smallChunk)
			e.s.out, e.pending = out, out
			e.s.fail(err)
			continue
		}
		out, err := e.more(p[:0:len(p)], min(len(p), largeChunk))
		e.s.fail(err)
		if len(out) > 0 && &out[0] == &p[0] {
			return len(out), nil
		}
		e.pending = out // the end of the message, which was too long for p
	}
	n := copy(p, e.pending)
	e.pending = e.pending[n:]
	return n, nil
}

// WriteTo writes the rest of the message to w, in large pieces and on several
// goroutines if the plaintext comes fast enough; io.Copy calls it. An error of
// w ends the message.
func (e *EncryptReader) WriteTo(w io.Writer) (n int64, err error) {
	if w == nil {
		return 0, prefixed(errors.New("nil io.Writer"))
	}
	for {
		out := append(e.s.out[:0], e.pending...)
		e.pending, err = nil, e.s.err
		if err == nil {
			out, err = e.more(out, chunk(e.s.m.Workers))
			e.s.out = out
		}
		written, failed := write(w, out)
		n += int64(written)
		if failed != nil {
			return n, e.s.fail(failed)
		}
		if err = e.s.fail(err); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// more appends the next part of the message to dst.
func (e *EncryptReader) more(dst []byte, chunk int) ([]byte, error) {
	dst, err := e.s.frames(dst, &e.r, chunk)
	if err == io.EOF {
		if dst, err = e.s.finish(dst); err == nil {
			err = io.EOF
		}
	}
	return dst, err
}

// write writes all of b to w.
func write(w io.Writer, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := w.Write(b)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return max(0, min(n, len(b))), fmt.Errorf("write: %w", err)
	}
	return n, nil
}

// An EncryptWriter encrypts what is written to it and writes the message to
// another writer. It is made by [NewEncryptWriter], and not safe for concurrent
// use.
type EncryptWriter struct {
	s      encryptStream
	w      io.Writer
	closed bool // by Close, with the whole message written
}

// NewEncryptWriter returns a writer that writes the message that holds what is
// written to it to w. The message is the same as that of [Encrypt] for the same
// keys and options. The keys are asked for, with ctx, and the message's header
// is written before NewEncryptWriter returns.
//
// The message is whole only after [EncryptWriter.Close] returned nil. Use
// [EncryptWriter.CloseWithError] to give it up: a deferred Close would make a
// whole message of what was written before something else failed. Neither
// closes w. It uses the zero [Client].
//
// It follows client-apis/encrypt.md and client-apis/streaming.md of the
// specification.
func NewEncryptWriter(ctx context.Context, w io.Writer, p keyprovider.MasterKeyProvider, opts *EncryptOptions) (*EncryptWriter, error) {
	return defaults.NewEncryptWriter(ctx, w, p, opts)
}

// NewEncryptWriter is like the function [NewEncryptWriter], with the Client's
// settings.
func (c *Client) NewEncryptWriter(ctx context.Context, w io.Writer, p keyprovider.MasterKeyProvider, opts *EncryptOptions) (*EncryptWriter, error) {
	if w == nil {
		return nil, prefixed(errors.New("nil io.Writer"))
	}
	m, err := c.seal(ctx, p, opts, streamed)
	if err == nil {
		_, err = write(w, m.raw)
	}
	if err != nil {
		return nil, prefixed(err)
	}
	return &EncryptWriter{s: encryptStream{m: m}, w: w}, nil
}

// Header returns the header of the message, complete from the start.
func (e *EncryptWriter) Header() *format.Header { return e.s.m.header }

// Write encrypts p. Whole frames are written at once; what is over waits for
// the next call. After an error, which is of the underlying writer or
// [ErrPlaintextTooLong], all later calls return it. After Close the error
// wraps [ErrClosed].
func (e *EncryptWriter) Write(p []byte) (int, error) {
	if e.s.err != nil {
		return 0, e.s.err
	}
	if err := e.write(p); err != nil {
		return 0, e.s.fail(err)
	}
	return len(p), nil
}

func (e *EncryptWriter) write(p []byte) error {
	if err := e.s.take(len(p)); err != nil {
		return err
	}
	length := e.s.m.FrameLength
	out := e.s.out[:0]
	var err error
	if have := e.s.in.Len(); have > 0 {
		n := min(length-have, len(p))
		e.s.in.Append(p[:n], length)
		if p = p[n:]; e.s.in.Len() == length {
			out, err = e.s.m.Frames(out, e.s.in.Bytes())
			e.s.in.Discard(length)
		}
	}
	perChunk := max(1, chunk(e.s.m.Workers)/(length+format.FrameOverhead))
	for err == nil {
		n := min(len(p)/length, perChunk)
		if out, err = e.s.m.Frames(out, p[:n*length]); err != nil {
			break
		}
		_, err = write(e.w, out)
		e.s.out, out = out, out[:0]
		if p = p[n*length:]; len(p) < length {
			e.s.in.Append(p, length)
			break
		}
	}
	return err
}

// ReadFrom encrypts what r gives until io.EOF, in large pieces and on several
// goroutines if it comes fast enough. An error of r ends the message: all later
// calls return it, Close too, and nothing more is written.
//
// io.Copy calls it unless r has a WriteTo method, as a *[DecryptReader] or a
// bytes.Reader has. What fails inside that is between r and io.Copy: whoever
// sees an error there calls [EncryptWriter.CloseWithError].
func (e *EncryptWriter) ReadFrom(r io.Reader) (n int64, err error) {
	if e.s.err != nil {
		return 0, e.s.err
	}
	if r == nil {
		return 0, prefixed(errors.New("nil io.Reader"))
	}
	from, start := source{r: r}, e.s.taken
	for err == nil {
		e.s.out, err = e.s.frames(e.s.out[:0], &from, chunk(e.s.m.Workers))
		if err == nil {
			_, err = write(e.w, e.s.out)
		}
	}
	n = e.s.taken - start
	if err == io.EOF {
		return n, nil
	}
	return n, e.s.fail(err)
}

// Close writes the rest of the message: the final frame, and the signature if
// the suite signs. If an error came before it writes nothing and returns that.
// Further calls return the same. It does not close the underlying writer.
func (e *EncryptWriter) Close() error {
	if e.closed {
		return nil
	}
	if e.s.err != nil {
		return e.s.err
	}
	out, err := e.s.finish(e.s.out[:0])
	if err == nil {
		_, err = write(e.w, out)
	}
	if err != nil {
		return e.s.fail(err)
	}
	e.closed = true
	e.s.fail(ErrClosed)
	e.s.in, e.s.out = frame.Window{}, nil
	return nil
}

// CloseWithError gives the message up: it ends without a final frame, so that
// what was written can never pass for a whole one. All later calls return err,
// or, if err is nil, an error that wraps [ErrClosed]. It fails only if it comes
// too late: with [ErrClosed] after Close, else with the error that came before.
func (e *EncryptWriter) CloseWithError(err error) error {
	if e.s.err != nil {
		return e.s.err
	}
	if err == nil {
		err = prefixed(ErrClosed)
	}
	e.s.err = err
	return nil
}
