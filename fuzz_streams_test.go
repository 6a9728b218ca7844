package esdk_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

var (
	errSource = errors.New("the source failed")
	errSink   = errors.New("the sink failed")
	errGiveUp = errors.New("given up")
)

// A fragileReader gives all in pieces of changing size, and fails after left
// bytes if there is more.
type fragileReader struct {
	r     io.Reader
	left  int
	piece int
}

func (f *fragileReader) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, errSource
	}
	f.piece = f.piece*5%8191 + 1
	n, err := f.r.Read(p[:min(len(p), f.left, f.piece)])
	f.left -= n
	return n, err
}

// A fragileWriter keeps left bytes and takes no more: with an error, or short.
type fragileWriter struct {
	bytes.Buffer
	left  int
	short bool
}

func (f *fragileWriter) Write(p []byte) (int, error) {
	n, _ := f.Buffer.Write(p[:min(len(p), f.left)])
	f.left -= n
	if n == len(p) {
		return n, nil
	} else if f.short {
		return n, nil
	}
	return n, errSink
}

// A callSequence is what a fuzz target does with a stream.
type callSequence struct {
	t     *testing.T
	calls []byte
	err   error // what the stream returned, and must return from now on
}

// next returns the next call, and a size for it; ok is false at the end.
func (s *callSequence) next() (call byte, size int, ok bool) {
	if len(s.calls) == 0 {
		return 0, 0, false
	}
	c := s.calls[0]
	s.calls = s.calls[1:]
	return c & 7, 1 << (c >> 3 & 15) >> 1, true
}

// note checks that an error stays: got is what the stream returned, done
// whether it had nothing else to return.
func (s *callSequence) note(got error, done bool) {
	s.t.Helper()
	if s.err != nil {
		require.Equal(s.t, s.err, got)
		require.True(s.t, done)
	}
	s.err = got
}

// FuzzStreams calls streams in any order, over sources and sinks that fail
// anywhere. Errors stay; what is decrypted is a beginning of the plaintext, and
// all of it before io.EOF; what was encrypted decrypts if, and only if, the
// stream was ended without an error.
func FuzzStreams(f *testing.F) {
	for i := range byte(40) {
		f.Add([]byte{i, 8 * i, 0x30, 0x41, 0x62 + i, 0x07, i}, uint16(i)*200, uint16(i)*3, uint32(i)*300, i)
		f.Add(bytes.Repeat([]byte{i * 8, i}, 10), uint16(i)*300, uint16(i)*30, uint32(1<<30), i)
	}
	p := rawAES(f)
	f.Fuzz(func(t *testing.T, calls []byte, length, frameLength uint16, failAt uint32, way uint8) {
		plaintext := text(int(length))
		id := suite.AES256GCMHKDFSHA512CommitKey
		if way&1 != 0 {
			id = suite.AES256GCMHKDFSHA512CommitKeyECDSAP384
		}
		c := &esdk.Client{Concurrency: 1 + int(way>>1&1)*3}
		opts := &esdk.EncryptOptions{Suite: id, FrameLength: max(int64(frameLength), int64(length)/2000)}
		at := int(failAt & 0x3fffffff)
		decryptCalls(t, c, plaintext, p, opts, callSequence{t: t, calls: calls}, at, way)
		encryptWriterCalls(t, c, plaintext, p, *opts, callSequence{t: t, calls: calls}, at, way)
		encryptReaderCalls(t, c, plaintext, p, opts, callSequence{t: t, calls: calls}, at)
	})
}

// decryptCalls reads a message whose source fails after at bytes.
func decryptCalls(t *testing.T, c *esdk.Client, plaintext []byte, p keyprovider.MasterKeyProvider, opts *esdk.EncryptOptions, s callSequence, at int, way uint8) {
	message, _, err := c.Encrypt(bg, plaintext, p, opts)
	require.NoError(t, err)
	d, err := c.NewDecryptReader(bg, &fragileReader{bytes.NewReader(message), at, 7}, p, nil)
	if err != nil {
		require.ErrorIs(t, err, errSource)
		require.Less(t, at, len(message))
		return
	}
	var out []byte
	for call, size, ok := s.next(); ok; call, size, ok = s.next() {
		before := len(out)
		switch call {
		case 0, 1, 2, 3:
			b := make([]byte, size)
			n, err := d.Read(b)
			out = append(out, b[:n]...)
			require.True(t, n == 0 || s.err == nil)
			if n == 0 || err != nil {
				s.note(err, n == 0)
			}
		case 4, 5:
			w := &fragileWriter{left: 1 << 30, short: way&4 != 0}
			if call == 5 {
				w.left = size
			}
			n, err := d.WriteTo(w)
			require.EqualValues(t, w.Len(), n)
			out = append(out, w.Bytes()...)
			if err == nil {
				err = io.EOF
			}
			s.note(err, n == 0)
		case 6:
			n, err := d.Read(nil)
			require.Zero(t, n)
			if err != nil {
				s.note(err, true)
			}
		case 7:
			err := d.Close()
			switch s.err {
			case nil:
				require.ErrorIs(t, err, esdk.ErrUnverified)
				_, s.err = d.Read(make([]byte, 1))
				require.ErrorIs(t, s.err, esdk.ErrClosed)
			case io.EOF:
				require.NoError(t, err)
			default:
				if !errors.Is(s.err, esdk.ErrClosed) {
					require.Equal(t, s.err, err)
				}
			}
			require.Equal(t, err, d.Close())
		}
		require.True(t, bytes.HasPrefix(plaintext, out))
		require.LessOrEqual(t, before, len(out))
		if s.err == io.EOF {
			require.Len(t, out, len(plaintext))
			require.GreaterOrEqual(t, at, len(message))
		}
	}
}

// encryptWriterCalls writes plaintext, and reads some of it from sources, to a
// sink that fails after at bytes.
func encryptWriterCalls(t *testing.T, c *esdk.Client, plaintext []byte, p keyprovider.MasterKeyProvider, opts esdk.EncryptOptions, s callSequence, at int, way uint8) {
	if way&8 != 0 {
		opts.MaxPlaintextLength = int64(len(plaintext)/2) + 1
	}
	sink := &fragileWriter{left: at, short: way&4 != 0}
	w, err := c.NewEncryptWriter(bg, sink, p, &opts)
	if err != nil {
		require.True(t, errors.Is(err, errSink) || errors.Is(err, io.ErrShortWrite), "%v", err)
		return
	}
	rest, whole, closed := plaintext, false, false
	for call, size, ok := s.next(); ok; call, size, ok = s.next() {
		part := rest[:min(size, len(rest))]
		written := sink.Len()
		switch call {
		case 0, 1, 2, 3:
			n, err := w.Write(part)
			if err == nil {
				require.Len(t, part, n)
				rest = rest[n:]
			}
			s.note(err, sink.Len() == written)
		case 4, 5:
			source := &fragileReader{bytes.NewReader(part), 1 << 30, 3}
			if call == 5 {
				source.left = len(part) / 2
			}
			n, err := w.ReadFrom(source)
			if err == nil {
				require.EqualValues(t, len(part), n)
				rest = rest[n:]
			}
			s.note(err, sink.Len() == written)
		case 6:
			err := w.CloseWithError(errGiveUp)
			require.Equal(t, s.err == nil, err == nil, "%v", err)
			if s.err == nil {
				_, s.err = w.Write([]byte{1})
				require.ErrorIs(t, s.err, errGiveUp)
			}
		case 7:
			err := w.Close()
			if s.err == nil && err == nil {
				whole = true
				_, s.err = w.Write([]byte{1})
				require.ErrorIs(t, s.err, esdk.ErrClosed)
			} else if !whole {
				s.note(err, sink.Len() == written)
			}
			require.Equal(t, err, w.Close())
			closed = true
		}
		require.False(t, s.err != nil && closed && call < 6 && sink.Len() != written, "written after the end")
	}
	got, _, err := c.Decrypt(bg, sink.Bytes(), p, nil)
	require.Equal(t, whole, err == nil, "%v", err)
	if whole {
		require.True(t, bytes.Equal(plaintext[:len(plaintext)-len(rest)], got))
	}
}

// encryptReaderCalls reads a message whose plaintext fails after at bytes.
func encryptReaderCalls(t *testing.T, c *esdk.Client, plaintext []byte, p keyprovider.MasterKeyProvider, opts *esdk.EncryptOptions, s callSequence, at int) {
	e, err := c.NewEncryptReader(bg, &fragileReader{bytes.NewReader(plaintext), at, 5}, p, opts)
	require.NoError(t, err)
	var message []byte
	for call, size, ok := s.next(); ok; call, size, ok = s.next() {
		if call < 6 {
			b := make([]byte, size)
			n, err := e.Read(b)
			message = append(message, b[:n]...)
			if size > 0 && n == 0 || err != nil {
				s.note(err, n == 0)
			}
			continue
		}
		sink := &fragileWriter{left: 1 << 30}
		if call == 7 {
			sink.left = size
		}
		n, err := e.WriteTo(sink)
		require.EqualValues(t, sink.Len(), n)
		message = append(message, sink.Bytes()...)
		if err == nil {
			err = io.EOF
		}
		s.note(err, n == 0)
	}
	got, _, err := c.Decrypt(bg, message, p, nil)
	require.False(t, s.err == io.EOF && err != nil, "%v", err)
	if err == nil { // the end may not have been asked for
		require.True(t, bytes.Equal(plaintext, got))
		require.GreaterOrEqual(t, at, len(plaintext))
	}
}
