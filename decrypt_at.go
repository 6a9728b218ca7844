package esdk

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"sync"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/frame"
	"github.com/esdk-go/esdk/keyprovider"
)

// A DecryptReaderAt decrypts any part of a framed message. [NewDecryptReaderAt]
// makes it. Use [io.NewSectionReader] to read or seek in the plaintext, or to
// serve it with net/http.ServeContent. It is safe for concurrent use if its source
// is. It has no Close method and never closes its source.
//
// Each byte that ReadAt returns has been authenticated under the message's data
// key, together with its place in the plaintext. If the source now has another
// message, or has been altered, ReadAt returns an error and no other bytes. There
// is one exception: those who have the data key, which includes everybody who can
// decrypt the message, can write other frames that pass for the message's. With
// IgnoreSignature, that is not noticed. With VerifySignature, it is not noticed if
// it is done after NewDecryptReaderAt has returned.
type DecryptReaderAt struct {
	redacted
	source sourceAt
	header *format.Header
	frames frame.Config // of every Opener
	body   int64        // where in the message the frames begin
	final  int64        // index of the final frame, which is the number of regular ones
	length int          // of the final frame's plaintext, in bytes

	mu       sync.Mutex
	idle     []*cursor // the last one was used last
	idleSize int       // of them, in bytes
}

// NewDecryptReaderAt opens a message for random access. The message is the first
// size bytes of r, and size must be its exact length.
//
// NewDecryptReaderAt reads the header of the message, calls p with ctx for the
// data key, and verifies the header. Then it reads the end of the message and
// decrypts its last frame, which authenticates the number of frames and the length
// of the plaintext. It calls r once for the header, or a few times if that is
// longer than 4 KiB, and once for the end. It uses the zero [Client].
//
// DecryptOptions.Signature says what happens if the message is signed. With
// VerifySignature, the default, NewDecryptReaderAt also reads everything between
// header and end, once, to verify the signature. With IgnoreSignature, it does not.
// With RejectSigned, it fails.
//
// An unframed message is [ErrUnframed]. If the message is cut short, the error
// wraps [io.ErrUnexpectedEOF]. If bytes follow the message, the error is
// [ErrTrailingData] if NewDecryptReaderAt can see that; else it wraps
// [format.ErrMalformed] or another, because the last frame is not where size
// says that it is. ctx governs all this and is not kept: it does not end later
// calls of ReadAt.
//
// ReadAt decrypts whole frames, so small reads cost least if the message has
// short frames; 4 KiB is the default. NewDecryptReaderAt needs memory for two
// frames, and if size is too large also for one that is not there: see
// DecryptOptions.MaxFrameLength.
//
// It follows the specification's [decrypt], which has no random access. A message
// with a frame that is not authentic can still be opened: only reads of that frame
// fail.
//
// [decrypt]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/client-apis/decrypt.md
func NewDecryptReaderAt(ctx context.Context, r io.ReaderAt, size int64, p keyprovider.MasterKeyProvider, opts *DecryptOptions) (*DecryptReaderAt, error) {
	return defaults.NewDecryptReaderAt(ctx, r, size, p, opts)
}

// NewDecryptReaderAt is like the function [NewDecryptReaderAt], with the Client's
// settings.
func (c *Client) NewDecryptReaderAt(ctx context.Context, r io.ReaderAt, size int64, p keyprovider.MasterKeyProvider, opts *DecryptOptions) (*DecryptReaderAt, error) {
	d, err := c.openAt(ctx, r, size, p, opts)
	if err != nil {
		return nil, prefixed(err)
	}
	return d, nil
}

func (c *Client) openAt(ctx context.Context, r io.ReaderAt, size int64, p keyprovider.MasterKeyProvider, opts *DecryptOptions) (*DecryptReaderAt, error) {
	switch {
	case r == nil:
		return nil, errors.New("nil io.ReaderAt")
	case size < 0:
		return nil, fmt.Errorf("negative message size: %d", size)
	}
	d := &DecryptReaderAt{redacted: named("DecryptReaderAt"), source: sourceAt{r}}
	var in frame.Window
	start := source{r: io.NewSectionReader(untilDone{ctx, d.source}, 0, size)}
	var m opening
	if err := c.open(ctx, &m, headerSource{&start, &in, largeChunk}, p, opts, true); err != nil {
		return nil, err
	}
	d.header, d.frames, d.body = m.header, m.Config, m.Offset()
	d.frames.Digest = nil
	if err := d.openEnd(ctx, &m, size, in.Bytes()); err != nil {
		return nil, err
	}
	return d, nil
}

// openEnd opens the final frame, which says how long the message is, and
// verifies the signature. known is what has been read behind the header.
//
// The footer of a signed message varies in length, so size does not tell where the
// final frame begins. It tells the earliest place where that can be. If a regular
// frame is there, the final one follows within a few frames.
func (d *DecryptReaderAt) openEnd(ctx context.Context, m *opening, size int64, known []byte) error {
	signed := d.header.Suite.Signing()
	most := int64(d.frames.FrameLength) + format.FinalFrameOverhead
	if signed {
		most += 2 + int64(d.header.Suite.SignatureSize()) + 1 // DER has at most one byte more than that
	}
	index := max(0, (size-d.body-most+d.stride()-1)/d.stride())
	if index >= format.MaxFrames {
		return fmt.Errorf("%w: %d bytes are more than the frames of %d bytes can be", format.ErrMalformed, size, d.frames.FrameLength)
	}
	at := d.place(index)
	if size-at > math.MaxInt {
		return fmt.Errorf("%w: the last %d bytes of the message are needed at once", ErrFrameTooLong, size-at)
	}
	cur := d.newCursor()
	cur.in = make([]byte, size-at)
	if d.body+int64(len(known)) == size {
		copy(cur.in, known[at-d.body:])
	} else if err := d.read(ctx, cur.in, at); err != nil {
		return err
	}

	end, rest, err := d.openFinal(cur, index)
	if err != nil {
		return fmt.Errorf("end of the message of %d bytes: %w", size, err)
	}
	var signature []byte
	if signed {
		var footer int
		if signature, footer, err = parseFooter(rest, cur.opener.Offset()); err != nil {
			return err
		}
		rest = rest[footer:]
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: %d", ErrTrailingData, len(rest))
	}
	if m.digest != nil {
		if err := d.hash(ctx, m.digest, d.body, at); err != nil {
			return err
		}
		m.digest.Write(cur.in[:end])
		if err := m.verify(signature); err != nil {
			return err
		}
	}
	d.put(cur)
	return nil
}

// openFinal finds the final frame in cur.in, which begins with the frame of this
// index, and opens it. It returns where in cur.in it ends, and what follows it.
func (d *DecryptReaderAt) openFinal(cur *cursor, index int64) (end int, rest []byte, err error) {
	for rest = cur.in; ; rest, index = rest[d.stride():], index+1 {
		cur.opener.Seek(uint32(index + 1))
		part, err := cur.opener.Next(rest)
		switch {
		case err != nil:
			return 0, nil, err
		case part.Last:
			var used int
			if cur.plaintext, used, err = cur.opener.Last(nil, rest, part); err != nil {
				return 0, nil, err
			}
			rest = rest[used:]
			cur.frame, d.final, d.length = index, index, part.Length
			return len(cur.in) - len(rest), rest, nil
		case len(rest) < part.Size:
			return 0, nil, cur.opener.Truncated(len(rest))
		}
	}
}

// hash adds what the source has in [from, to) to the digest. If it may use two
// goroutines, it reads while the last piece is being hashed.
func (d *DecryptReaderAt) hash(ctx context.Context, digest hash.Hash, from, to int64) error {
	if d.frames.Workers == 1 || to-from <= pieceSize/2 {
		buf := make([]byte, min(pieceSize, to-from))
		for from < to {
			b := buf[:min(pieceSize, to-from)]
			if err := d.read(ctx, b, from); err != nil {
				return err
			}
			digest.Write(b)
			from += int64(len(b))
		}
		return nil
	}
	const half = pieceSize / 2
	free, work := make(chan []byte, 2), make(chan []byte, 2)
	free <- make([]byte, half)
	free <- make([]byte, half)
	var hashing sync.WaitGroup
	hashing.Go(func() {
		for b := range work {
			digest.Write(b)
			free <- b[:half]
		}
	})
	defer hashing.Wait()
	defer close(work) // also if the source panics
	for from < to {
		b := (<-free)[:min(half, to-from)]
		if err := d.read(ctx, b, from); err != nil {
			return err
		}
		work <- b
		from += int64(len(b))
	}
	return nil
}

// read fills b from the source, unless ctx is done.
func (d *DecryptReaderAt) read(ctx context.Context, b []byte, off int64) error {
	if _, err := (untilDone{ctx, d.source}).ReadAt(b, off); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	return nil
}

func (d *DecryptReaderAt) stride() int64 { return int64(d.frames.FrameLength) + format.FrameOverhead }

// place returns where in the message the frame of that index begins.
func (d *DecryptReaderAt) place(index int64) int64 { return d.body + index*d.stride() }

// Header returns the header of the message. Its encryption context is authentic.
func (d *DecryptReaderAt) Header() *format.Header { return d.header }

// Size returns the length of the plaintext in bytes. It is authentic.
func (d *DecryptReaderAt) Size() int64 {
	return d.final*int64(d.frames.FrameLength) + int64(d.length)
}

// ReadAt decrypts the len(p) bytes of the plaintext that begin at off. It follows
// the contract of [io.ReaderAt]: if fewer bytes follow off, it returns them and
// io.EOF. An off that is negative or greater than Size is another error.
//
// ReadAt reads only the frames that hold these bytes, into memory of its own. It
// calls the source on the caller's goroutine, once for each 3.5 MiB, and several
// goroutines decrypt large reads. It keeps the frame that was used last, so that small
// reads in a row decrypt each frame once.
//
// If a frame is not authentic, or the source fails, n is the number of bytes before
// that place, and the rest of p is zero. Errors are not sticky.
func (d *DecryptReaderAt) ReadAt(p []byte, off int64) (n int, err error) {
	size := d.Size()
	switch {
	case d.header == nil:
		err = errors.New("the DecryptReaderAt was not made by its constructor")
	case off < 0 || off > size:
		err = fmt.Errorf("offset %d in a plaintext of %d bytes", off, size)
	case int64(len(p)) > size-off:
		if n, err = d.readAt(p[:size-off], off); err == nil {
			return n, io.EOF
		}
	default:
		n, err = d.readAt(p, off)
	}
	if err != nil {
		clear(p[n:])
		err = prefixed(err)
	}
	return n, err
}

// pieceSize is how many bytes of the message are read at a time, unless a frame is
// longer.
const pieceSize = 7 << 19

// readAt is ReadAt for a p within the plaintext.
func (d *DecryptReaderAt) readAt(p []byte, off int64) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	f := int64(d.frames.FrameLength)
	index, skip := off/f, int(off%f)
	if len(p) <= maxLocked && d.copyKept(p, index, skip) {
		return len(p), nil
	}
	cur := d.take(index)
	if cur.frame == index {
		n = copy(p, cur.plaintext[skip:])
		index, skip = index+1, 0
	}
	for n < len(p) {
		count := min((int64(skip)+int64(len(p)-n)+f-1)/f, int64(cur.opener.Fit(pieceSize)))
		at, end := d.place(index), d.place(index+count)
		if index+count > d.final {
			end = d.place(d.final) + format.FinalFrameOverhead + int64(d.length)
		}
		if int64(cap(cur.in)) < end-at {
			cur.in = make([]byte, end-at) // cleared: the source may claim what it did not write
		}
		got, sourceErr := d.source.ReadAt(cur.in[:end-at], at)
		opened, err := d.open(cur, p[n:], cur.in[:got], index, skip)
		n += opened
		if err == nil && sourceErr != nil { // so that a frame is missing
			err = fmt.Errorf("read: %w", sourceErr)
		}
		if err != nil {
			return n, err // an Opener is of no use after an error: cur is dropped
		}
		index, skip = index+count, 0
	}
	d.put(cur)
	return n, nil
}

// open decrypts frames to p, without their first skip bytes, until p is full, and
// returns how many bytes it wrote. in begins with the frame of this index. open
// stops before a frame that in does not hold as a whole.
func (d *DecryptReaderAt) open(cur *cursor, p, in []byte, index int64, skip int) (n int, err error) {
	f, stride := d.frames.FrameLength, int(d.stride())
	cur.opener.Seek(uint32(index + 1))
	for used := 0; n < len(p); in = in[used:] {
		var out []byte
		switch {
		case index == d.final && len(in) < format.FinalFrameOverhead+d.length, index < d.final && len(in) < stride:
			return n, nil
		case index < d.final && skip == 0 && len(p)-n >= f:
			most := int(min(int64((len(p)-n)/f), d.final-index))
			out, used, err = cur.opener.Frames(p[n:n:n+most*f], in)
			n += len(out)
			index += int64(used / stride)
		default:
			if index == d.final {
				out, used, err = d.openLast(cur, in)
			} else {
				if cap(cur.plaintext) < f {
					cur.plaintext = make([]byte, f)
				}
				out, used, err = cur.opener.Frames(cur.plaintext[:0:f], in)
			}
			if err == nil && used > 0 {
				cur.plaintext, cur.frame = out, index
				n += copy(p[n:], out[skip:])
				skip = 0
				index++
			}
		}
		if err == nil && used == 0 {
			err = d.notDue(cur, in)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// openLast opens the final frame. If another frame is there, used is 0.
func (d *DecryptReaderAt) openLast(cur *cursor, in []byte) (out []byte, used int, err error) {
	part, err := cur.opener.Next(in)
	if err != nil || !part.Last || part.Length != d.length {
		return nil, 0, err
	}
	return cur.opener.Last(cur.plaintext[:0], in, part)
}

// notDue returns the error for a frame that is not the one which was at its
// place when the message was opened.
func (d *DecryptReaderAt) notDue(cur *cursor, in []byte) error {
	if _, err := cur.opener.Next(in); err != nil {
		return err
	}
	return &format.ParseError{Offset: cur.opener.Offset(), Field: "frame",
		Err: fmt.Errorf("%w: the end of the message is not where it was", format.ErrMalformed)}
}
