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

// A DecryptReader decrypts the message that it reads from its source: its Read
// method gives the plaintext. [NewDecryptReader] makes it. It is not safe for
// concurrent use: if a call is made while another is under way, also from inside
// the source, both fail and so do all later ones.
//
// Treat the plaintext as tentative until io.EOF. On any other error discard it
// and undo what was done with it; for example, write it to a temporary file that
// gets its name when io.Copy has returned nil. Before io.EOF each byte is
// authentic and in its place, but two things are not known yet: that the message
// was not cut short, and, if it is signed, that its author can sign and not only
// read.
type DecryptReader struct {
	redacted
	state
	m       *opening
	r       source
	in      frame.Window // of the message, not opened yet
	out     []byte       // scratch for plaintext
	pending []byte       // plaintext that was not given out yet
	last    bool         // the body, and the footer, were read and verified
	closed  bool
	result  error // of Close
}

// NewDecryptReader reads the header of a message from r, calls p with ctx for the
// data key, verifies the header, and returns a reader of the plaintext. It may
// read from r beyond the header. The DecryptReader consumes r to io.EOF: trailing
// data is an error. It never closes r. It uses the zero [Client].
//
// A frame is released after its tag has been verified. The last frame of a signed
// message, and a signed unframed body, are released after the signature has been
// verified.
//
// It follows the specification's [decrypt] and [streaming].
//
// [decrypt]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/client-apis/decrypt.md
// [streaming]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/client-apis/streaming.md
func NewDecryptReader(ctx context.Context, r io.Reader, p keyprovider.MasterKeyProvider, opts *DecryptOptions) (*DecryptReader, error) {
	return defaults.NewDecryptReader(ctx, r, p, opts)
}

// NewDecryptReader is like the function [NewDecryptReader], with the Client's
// settings.
func (c *Client) NewDecryptReader(ctx context.Context, r io.Reader, p keyprovider.MasterKeyProvider, opts *DecryptOptions) (*DecryptReader, error) {
	if r == nil {
		return nil, prefixed(errors.New("nil io.Reader"))
	}
	d := &DecryptReader{redacted: named("DecryptReader"), state: state{made: true}, r: source{r: r}}
	m := new(opening)
	err := c.open(ctx, m, headerSource{&d.r, &d.in, smallChunk}, p, opts, false)
	if err != nil {
		return nil, prefixed(err)
	}
	d.m = m
	return d, nil
}

// Header returns the header of the message. Its encryption context is authentic,
// but for a signed message it is tentative like the plaintext.
func (d *DecryptReader) Header() *format.Header {
	if d.m == nil { // no constructor made it
		return nil
	}
	return d.m.header
}

// Read reads the next bytes of the plaintext. It returns io.EOF when the whole
// message has been verified, and nowhere else. Errors are sticky.
func (d *DecryptReader) Read(p []byte) (n int, err error) {
	if err := d.begin(); err != nil {
		return 0, err
	}
	defer func() {
		if d.end() {
			n, err, d.pending = 0, d.err, nil
		}
	}()
	for len(d.pending) == 0 {
		if d.err != nil || len(p) == 0 {
			return 0, d.err
		}
		out, err := d.more(p[:0:len(p)], min(max(len(p), smallChunk), largeChunk))
		d.fail(err)
		if len(out) > 0 && &out[0] == &p[0] {
			return len(out), nil
		}
		d.pending = out
	}
	n = copy(p, d.pending)
	d.pending = d.pending[n:]
	return n, nil
}

// WriteTo writes the rest of the plaintext to w. [io.Copy] calls it. It writes
// large pieces and lets several goroutines decrypt if the source is fast. It
// reads ahead, and calls the source and w, under the same rules as
// [EncryptReader.WriteTo].
//
// WriteTo returns nil if, and only if, the whole message has been verified. An
// error of w is sticky.
func (d *DecryptReader) WriteTo(w io.Writer) (n int64, err error) {
	if w == nil {
		return 0, prefixed(errors.New("nil io.Writer"))
	}
	to := &sink{w: w}
	err = d.run(func() error {
		_, err := to.Write(d.pending)
		d.pending = nil
		if err != nil || d.err != nil {
			return err
		}
		return d.openTo(to)
	})
	if err == io.EOF {
		err = nil
	}
	return to.n, err
}

// openTo opens the message and has the plaintext written to w, until an error,
// which is io.EOF at its end. w must not write short.
func (d *DecryptReader) openTo(w io.Writer) error {
	d.out = nil
	if !d.last {
		part, err := d.openRegularTo(w)
		if err != nil {
			return err
		}
		out, err := d.final(d.m.Scratch(part.Length)[:0], part)
		if err != nil {
			return err
		}
		if _, err := w.Write(out); err != nil {
			return err
		}
	}
	return d.trailing()
}

// openRegularTo opens the regular frames and has their plaintext written to w. It
// returns what follows them: the final frame, or an unframed body.
func (d *DecryptReader) openRegularTo(w io.Writer) (frame.Part, error) {
	pipeline := d.m.Start(w, &d.in)
	defer pipeline.Stop()
	for {
		part, err := d.next(d.m.ReadSize(), pipeline.Flush)
		if err != nil || part.Last {
			return part, err
		}
		if err := pipeline.Pump(); err != nil {
			return part, err
		}
	}
}

// next reads at least one frame, and up to limit bytes.
func (d *DecryptReader) next(limit int, flush func() error) (part frame.Part, err error) {
	if err := d.r.readAtLeast(&d.in, d.m.NeedHeader(), limit, flush); err != nil {
		return part, d.truncated(err)
	}
	part, err = d.m.Next(d.in.Bytes())
	if err != nil || part.Last {
		if err := flush(); err != nil {
			return part, err
		}
	}
	if err != nil {
		return part, err
	}
	if err := d.r.readAtLeast(&d.in, part.Size, limit, flush); err != nil {
		return part, d.truncated(err)
	}
	return part, nil
}

// more opens at least one frame, and more as they have arrived and fit, and
// returns their plaintext: in dst, which is empty, or, if a frame does not fit
// there, in d.out. There can be plaintext even if there is an error. At the end
// of the message the error is io.EOF.
func (d *DecryptReader) more(dst []byte, chunk int) ([]byte, error) {
	if d.last {
		return nil, d.trailing()
	}
	part, err := d.next(d.m.Fit(chunk)*(d.m.FrameLength+format.FrameOverhead), noFlush)
	if err != nil {
		return nil, err
	}
	if part.Last {
		d.out = slices.Grow(d.out[:0], part.Length)
		return d.final(d.out, part)
	}
	if cap(dst) < part.Length {
		d.out = slices.Grow(d.out[:0], max(part.Length, min(d.in.Len(), chunk)))
		dst = d.out
	}
	out, used, err := d.m.Frames(dst, d.in.Bytes())
	d.in.Discard(used)
	return out, err
}

// truncated gives the end of the message in the wrong place its name.
func (d *DecryptReader) truncated(err error) error {
	if err == io.EOF {
		return d.m.Truncated(d.in.Len())
	}
	return err
}

// final opens the final frame, or the unframed body, and verifies the
// signature before it returns the plaintext.
func (d *DecryptReader) final(dst []byte, part frame.Part) ([]byte, error) {
	out, used, err := d.m.Last(dst, d.in.Bytes(), part)
	if err != nil {
		return nil, err
	}
	d.in.Discard(used)
	if d.m.digest != nil {
		if err := d.signature(); err != nil {
			return nil, err
		}
	}
	d.last = true
	return out, nil
}

// signature reads the footer and verifies it.
func (d *DecryptReader) signature() error {
	for need := 2; ; {
		err := d.r.readAtLeast(&d.in, need, smallChunk, noFlush)
		if err != nil && err != io.EOF {
			return err
		}
		signature, size, parseErr := parseFooter(d.in.Bytes(), d.m.Offset())
		if parseErr == nil {
			err := d.m.verify(signature)
			d.in.Discard(size)
			return err
		}
		if err == io.EOF {
			return parseErr
		}
		need = d.in.Len() + 1
	}
}

// trailing makes sure that nothing follows the message; then it returns io.EOF.
func (d *DecryptReader) trailing() error {
	if err := d.r.readAtLeast(&d.in, 1, smallChunk, noFlush); err != nil {
		return err
	}
	return ErrTrailingData
}

// Close ends the reading. It returns nil if the whole message was read and
// verified, which is when Read returned io.EOF or WriteTo returned nil. Otherwise
// it returns the error that ended the reading, or one that wraps [ErrUnverified].
// Call it if you stop reading early: later reads then fail with [ErrClosed].
// Further calls return the same result. Close does not close the source.
func (d *DecryptReader) Close() error {
	if err := d.begin(); err != nil {
		return err
	}
	defer d.end()
	if d.closed {
		return d.result
	}
	d.closed = true
	d.in, d.out, d.pending = frame.Window{}, nil, nil
	d.m.Opener = frame.Opener{} // and its buffers
	switch d.err {
	case io.EOF:
	case nil:
		d.result = prefixed(ErrUnverified)
		d.fail(ErrClosed)
	default:
		d.result = d.err
	}
	return d.result
}
