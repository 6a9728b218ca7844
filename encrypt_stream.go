package esdk

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/frame"
	"github.com/esdk-go/esdk/keyprovider"
)

// encryptStream is what EncryptReader, EncryptWriter and Reencrypt have in common.
type encryptStream struct {
	state
	m     *sealing
	in    frame.Window // plaintext that is not sealed yet
	out   []byte       // scratch for what is sealed
	taken int64        // plaintext bytes so far
}

// sealStream is like seal, and also returns the start of the message.
func (c *Client) sealStream(ctx context.Context, p keyprovider.MasterKeyProvider, opts *EncryptOptions) (m *sealing, start []byte, err error) {
	m = new(sealing)
	if err = c.seal(ctx, m, p, opts, streamed); err == nil {
		start, err = m.start(nil)
	}
	return m, start, err
}

// header returns the message's header, nil if no constructor made the stream.
func (s *encryptStream) header() *format.Header {
	if s.m == nil {
		return nil
	}
	return s.m.header
}

// take counts n more bytes of plaintext.
func (s *encryptStream) take(n int) error {
	s.taken += int64(n)
	return checkPlaintextLength(s.taken, s.m.limit)
}

// readFrame reads at least one frame of plaintext, and up to limit bytes.
func (s *encryptStream) readFrame(r *source, limit int, flush func() error) error {
	have := s.in.Len()
	err := r.readAtLeast(&s.in, s.m.FrameLength, limit, flush)
	if tooLong := s.take(s.in.Len() - have); tooLong != nil {
		if err := flush(); err != nil {
			return err
		}
		return tooLong
	}
	return err
}

// sealTo seals what r gives and has it written to w, until an error, which is
// io.EOF if r ends.
func (s *encryptStream) sealTo(w *sink, r *source) error {
	s.out = nil
	pipeline := s.m.Start(w, &s.in)
	defer pipeline.Stop()
	for {
		if err := s.readFrame(r, s.m.ReadSize(), pipeline.Flush); err != nil {
			return err
		}
		if err := pipeline.Pump(); err != nil {
			return err
		}
	}
}

// finish appends the end of the message to dst.
func (s *encryptStream) finish(dst []byte) ([]byte, error) {
	return s.m.finish(slices.Grow(dst, s.m.finalSize(s.in.Len())), s.in.Bytes())
}

// finishTo writes the end of the message to w.
func (s *encryptStream) finishTo(w *sink) error {
	end, err := s.m.finish(s.m.Scratch(s.m.finalSize(s.in.Len()))[:0], s.in.Bytes())
	if err != nil {
		return err
	}
	if s.disputed() { // while it was signed, which takes long
		return errDisputed
	}
	_, err = w.Write(end)
	return err
}

// An EncryptReader encrypts what it reads from its source: its Read method gives
// the bytes of the message. [NewEncryptReader] makes it. It is not safe for
// concurrent use: if a call is made while another is under way, also from inside
// the source, both fail and so do all later ones.
type EncryptReader struct {
	redacted
	s       encryptStream
	r       source
	pending []byte // of the message, not given out yet
}

// NewEncryptReader returns a reader of the message whose plaintext is what r
// gives until io.EOF. The message is the same as that of [Encrypt] with the same
// data key and options. NewEncryptReader calls p with ctx. It does not read from
// r, which the first Read does; r is never closed. It uses the zero [Client].
//
// After an error, including one from r, the message has no final frame, so that
// nobody can take what was read for a whole message.
//
// It follows the specification's [encrypt] and [streaming].
//
// [encrypt]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/client-apis/encrypt.md
// [streaming]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/client-apis/streaming.md
func NewEncryptReader(ctx context.Context, r io.Reader, p keyprovider.MasterKeyProvider, opts *EncryptOptions) (*EncryptReader, error) {
	return defaults.NewEncryptReader(ctx, r, p, opts)
}

// NewEncryptReader is like the function [NewEncryptReader], with the Client's
// settings.
func (c *Client) NewEncryptReader(ctx context.Context, r io.Reader, p keyprovider.MasterKeyProvider, opts *EncryptOptions) (*EncryptReader, error) {
	if r == nil {
		return nil, prefixed(errors.New("nil io.Reader"))
	}
	m, start, err := c.sealStream(ctx, p, opts)
	if err != nil {
		return nil, prefixed(err)
	}
	return &EncryptReader{redacted: named("EncryptReader"), s: encryptStream{state: state{made: true}, m: m}, r: source{r: r}, pending: start}, nil
}

// Header returns the header of the message.
func (e *EncryptReader) Header() *format.Header { return e.s.header() }

// Read reads the next bytes of the message. It returns io.EOF at the end of a
// whole message and nowhere else. Errors are sticky.
func (e *EncryptReader) Read(p []byte) (n int, err error) {
	if err := e.s.begin(); err != nil {
		return 0, err
	}
	defer func() {
		if e.s.end() {
			n, err, e.pending = 0, e.s.err, nil
		}
	}()
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
	n = copy(p, e.pending)
	e.pending = e.pending[n:]
	return n, nil
}

// WriteTo writes the rest of the message to w. [io.Copy] calls it. It writes
// large pieces and lets several goroutines encrypt if the source is fast. An
// error of w ends the message.
//
// WriteTo calls the source and w on the caller's goroutine only. It reads ahead
// while the source fills its buffer. When the source gives less, or stops at the
// end of a frame, WriteTo writes all whole frames before it reads again.
func (e *EncryptReader) WriteTo(w io.Writer) (n int64, err error) {
	if w == nil {
		return 0, prefixed(errors.New("nil io.Writer"))
	}
	to := &sink{w: w}
	err = e.s.run(func() error {
		_, err := to.Write(e.pending)
		e.pending = nil
		if err != nil || e.s.err != nil {
			return err
		}
		if err := e.s.sealTo(to, &e.r); err != io.EOF {
			return err
		}
		if err := e.s.finishTo(to); err != nil {
			return err
		}
		return io.EOF
	})
	if err == io.EOF {
		err = nil
	}
	return to.n, err
}

// more appends the next part of the message to dst: about chunk bytes.
func (e *EncryptReader) more(dst []byte, chunk int) ([]byte, error) {
	length := e.s.m.FrameLength
	limit := e.s.m.Fit(chunk) * length
	err := e.s.readFrame(&e.r, limit, noFlush)
	if err == nil {
		whole := min(limit, e.s.in.Len()/length*length)
		dst, err = e.s.m.Frames(dst, e.s.in.Bytes()[:whole])
		e.s.in.Discard(whole)
	} else if err == io.EOF {
		if dst, err = e.s.finish(dst); err == nil {
			err = io.EOF
		}
	}
	return dst, err
}

// An EncryptWriter encrypts what is written to it and writes the message to
// another writer. [NewEncryptWriter] makes it. It is not safe for concurrent use:
// if a call is made while another is under way, also from inside the other
// writer, both fail and so do all later ones. The message then stays without its
// end, unless Close was writing that already.
type EncryptWriter struct {
	redacted
	s      encryptStream
	to     sink
	closed bool // by Close, with the whole message written
}

// NewEncryptWriter returns a writer that encrypts what is written to it and
// writes the message to w. The message is the same as that of [Encrypt] with the
// same data key and options. NewEncryptWriter calls p with ctx and writes the
// header to w. It uses the zero [Client].
//
// The message is whole only if [EncryptWriter.Close] returned nil. To give the
// message up, call [EncryptWriter.CloseWithError]: a deferred Close would make a
// whole message of what was written before something else failed. Neither of
// them closes w.
//
// It follows the specification's [encrypt] and [streaming].
//
// [encrypt]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/client-apis/encrypt.md
// [streaming]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/client-apis/streaming.md
func NewEncryptWriter(ctx context.Context, w io.Writer, p keyprovider.MasterKeyProvider, opts *EncryptOptions) (*EncryptWriter, error) {
	return defaults.NewEncryptWriter(ctx, w, p, opts)
}

// NewEncryptWriter is like the function [NewEncryptWriter], with the Client's
// settings.
func (c *Client) NewEncryptWriter(ctx context.Context, w io.Writer, p keyprovider.MasterKeyProvider, opts *EncryptOptions) (*EncryptWriter, error) {
	if w == nil {
		return nil, prefixed(errors.New("nil io.Writer"))
	}
	m, start, err := c.sealStream(ctx, p, opts)
	if err != nil {
		return nil, prefixed(err)
	}
	e := &EncryptWriter{redacted: named("EncryptWriter"), s: encryptStream{state: state{made: true}, m: m}, to: sink{w: w}}
	if _, err = e.to.Write(start); err != nil {
		return nil, prefixed(err)
	}
	return e, nil
}

// Header returns the header of the message.
func (e *EncryptWriter) Header() *format.Header { return e.s.header() }

// Write encrypts p. It writes whole frames at once and keeps the rest for the
// next call. Errors are sticky: they come from the underlying writer or wrap
// [ErrPlaintextTooLong]. After Close the error wraps [ErrClosed].
func (e *EncryptWriter) Write(p []byte) (int, error) {
	err := e.s.run(func() error {
		if e.s.err != nil {
			return e.s.err
		}
		return e.write(p)
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (e *EncryptWriter) write(p []byte) error {
	if err := e.s.take(len(p)); err != nil {
		return err
	}
	length := e.s.m.FrameLength
	if have := e.s.in.Len(); have > 0 {
		n := min(length-have, len(p))
		e.s.in.Append(p[:n], length)
		if p = p[n:]; e.s.in.Len() < length {
			return nil
		}
		if err := e.s.m.WriteFrames(&e.to, e.s.in.Bytes()); err != nil {
			return err
		}
		e.s.in.Discard(length)
	}
	whole := len(p) - len(p)%length
	if err := e.s.m.WriteFrames(&e.to, p[:whole]); err != nil {
		return err
	}
	e.s.in.Append(p[whole:], length)
	return nil
}

// ReadFrom encrypts what r gives until io.EOF. It lets several goroutines
// encrypt if r is fast, as [EncryptReader.WriteTo] does. An error of r ends the
// message: nothing more is written, and all later calls, including Close, return
// that error.
//
// [io.Copy] calls ReadFrom unless r has a WriteTo method, as a *[DecryptReader] or
// a *bytes.Reader has. The EncryptWriter then does not see an error of r: call
// [EncryptWriter.CloseWithError] when io.Copy fails.
func (e *EncryptWriter) ReadFrom(r io.Reader) (n int64, err error) {
	if r == nil {
		return 0, prefixed(errors.New("nil io.Reader"))
	}
	err = e.s.run(func() error {
		if e.s.err != nil {
			return e.s.err
		}
		start := e.s.taken
		err := e.s.sealTo(&e.to, &source{r: r})
		n = e.s.taken - start
		if err == io.EOF {
			return nil
		}
		return err
	})
	return n, err
}

// Close writes the end of the message: the final frame, and the signature if the
// suite signs. After an error it writes nothing and returns that error. Further
// calls return the same result. Close does not close the underlying writer.
func (e *EncryptWriter) Close() error {
	whole := false
	err := e.s.run(func() error {
		if e.s.err == nil {
			if err := e.s.finishTo(&e.to); err != nil {
				return err
			}
			e.closed = true
			e.s.in, e.s.m.Sealer = frame.Window{}, frame.Sealer{}
			e.s.fail(ErrClosed)
		}
		whole = e.closed
		return e.s.err
	})
	if whole && errors.Is(err, ErrClosed) {
		return nil
	}
	return err
}

// CloseWithError gives the message up. The message ends without a final frame, so
// that nobody can take what was written for a whole message. All later calls
// return err or, if err is nil, an error that wraps [ErrClosed].
//
// CloseWithError returns nil, unless it comes too late: after Close it returns an
// error that wraps [ErrClosed], after another error that error.
func (e *EncryptWriter) CloseWithError(err error) error {
	if err == nil {
		err = prefixed(ErrClosed)
	}
	if err := e.s.begin(); err != nil {
		return err
	}
	defer e.s.end()
	if e.s.err != nil {
		return e.s.err
	}
	e.s.err = err
	return nil
}
