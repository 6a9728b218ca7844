package esdk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/suite"
)

var errBroken = errors.New("broken")

// breaking gives n bytes of plaintext and then fails, and would go on if asked
// again.
type breaking struct {
	r      io.Reader
	failed bool
}

func breakingAfter(b []byte) *breaking { return &breaking{r: bytes.NewReader(b)} }

func (b *breaking) Read(p []byte) (int, error) {
	if b.failed {
		return 0, io.EOF
	}
	n, err := b.r.Read(p)
	if err == io.EOF {
		b.failed = true
		return n, errBroken
	}
	return n, err
}

// breakingWithData gives its last bytes together with its error.
func breakingWithData(b []byte) io.Reader {
	done := false
	r := bytes.NewReader(b)
	return readerFunc(func(p []byte) (int, error) {
		if done {
			return 0, io.EOF // asking again would pass for the end
		}
		n, _ := r.Read(p)
		if r.Len() == 0 {
			done = true
			return n, errBroken
		}
		return n, nil
	})
}

// A limitedWriter fails once it has taken n bytes, with err or by a short write.
type limitedWriter struct {
	bytes.Buffer
	n   int
	err error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	n := min(w.n, len(p))
	w.n -= n
	w.Buffer.Write(p[:n])
	if n < len(p) {
		return n, w.err
	}
	return n, nil
}

// notWhole checks that message never passes for a whole one.
func notWhole(t *testing.T, id suite.ID, message []byte) {
	t.Helper()
	for _, d := range fewDecryptors {
		_, err := d.run(clientFor(id), message, rawAES(t), nil)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, d.name)
	}
}

var streamSuites = []suite.ID{suite.AES256GCM, suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384}

// A source that breaks ends the message without its final frame, and the
// error stays: also if the source would then say io.EOF.
func TestEncryptSourceBreaks(t *testing.T) {
	for _, id := range streamSuites {
		for _, n := range []int{0, 1, 10, 25, 100_000} {
			opts := &esdk.EncryptOptions{Suite: id, FrameLength: 10}
			for name, drain := range map[string]func(e *esdk.EncryptReader, out *bytes.Buffer) error{
				"Read": func(e *esdk.EncryptReader, out *bytes.Buffer) error {
					b, err := io.ReadAll(e)
					out.Write(b)
					return err
				},
				"WriteTo": func(e *esdk.EncryptReader, out *bytes.Buffer) error { _, err := e.WriteTo(out); return err },
			} {
				e, err := clientFor(id).NewEncryptReader(bg, breakingAfter(text(n)), rawAES(t), opts)
				require.NoError(t, err)
				var out bytes.Buffer
				err = drain(e, &out)
				require.ErrorIs(t, err, errBroken, name)
				require.EqualError(t, err, "esdk: read: broken")
				for range 2 {
					n, again := e.Read(make([]byte, 100))
					require.Zero(t, n)
					require.Equal(t, err, again)
					_, again = e.WriteTo(io.Discard)
					require.Equal(t, err, again)
				}
				notWhole(t, id, out.Bytes())
			}

			var out bytes.Buffer
			w, err := clientFor(id).NewEncryptWriter(bg, &out, rawAES(t), opts)
			require.NoError(t, err)
			m, err := w.ReadFrom(breakingAfter(text(n)))
			require.ErrorIs(t, err, errBroken)
			require.EqualValues(t, n, m)
			size := out.Len()
			_, again := w.Write([]byte("more"))
			require.Equal(t, err, again)
			_, again = w.ReadFrom(strings.NewReader("more"))
			require.Equal(t, err, again)
			require.Equal(t, err, w.Close())
			require.Equal(t, err, w.Close())
			require.Equal(t, err, w.CloseWithError(io.ErrClosedPipe))
			require.Equal(t, size, out.Len(), "nothing more is written")
			notWhole(t, id, out.Bytes())
		}
	}
}

// An error that comes together with data is not lost, and one that wraps io.EOF
// does not pass for the end.
func TestSourceErrorsWithDataAndWrappedEOF(t *testing.T) {
	id := suite.AES256GCMHKDFSHA512CommitKey
	opts := &esdk.EncryptOptions{Suite: id, FrameLength: 10}
	wrapped := func(b []byte) io.Reader {
		return io.MultiReader(bytes.NewReader(b), iotest.ErrReader(fmt.Errorf("connection lost: %w", io.EOF)))
	}
	for _, n := range []int{1, 10, 20, 25} {
		for name, source := range map[string]func([]byte) io.Reader{"with data": breakingWithData, "wrapped EOF": wrapped} {
			e, err := esdk.NewEncryptReader(bg, source(text(n)), rawAES(t), opts)
			require.NoError(t, err)
			message, err := io.ReadAll(e)
			require.Error(t, err, name)
			require.NotErrorIs(t, err, io.EOF, name)
			notWhole(t, id, message)

			var out bytes.Buffer
			w, err := esdk.NewEncryptWriter(bg, &out, rawAES(t), opts)
			require.NoError(t, err)
			_, err = w.ReadFrom(source(text(n)))
			require.Error(t, err, name)
			require.NotErrorIs(t, err, io.EOF, name)
			require.Equal(t, err, w.Close())
			notWhole(t, id, out.Bytes())
		}
	}
	message := encrypt(t, id, text(25), esdk.EncryptOptions{FrameLength: 10})
	for n := range message {
		d, err := esdk.NewDecryptReader(bg, wrapped(message[:n]), rawAES(t), nil)
		if err == nil {
			_, err = io.ReadAll(d)
			require.ErrorContains(t, err, "connection lost")
		}
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.NotErrorIs(t, err, io.EOF)
	}
}

// A writer that fails on the last bytes leaves its error, not the end.
func TestEncryptReaderWriteToFailsAtTheEnd(t *testing.T) {
	e, err := esdk.NewEncryptReader(bg, strings.NewReader("x"), rawAES(t), nil)
	require.NoError(t, err)
	size, err := e.Header().MessageLength(1)
	require.NoError(t, err)
	_, err = io.ReadFull(e, make([]byte, size-5))
	require.NoError(t, err)
	_, err = e.WriteTo(&limitedWriter{n: 2, err: errBroken})
	require.ErrorIs(t, err, errBroken)
	_, again := e.Read(make([]byte, 1))
	require.Equal(t, err, again)
}

// A writer that says it wrote more than it was given is broken.
func TestWriterThatCountsTooMuch(t *testing.T) {
	tooMuch := writerFunc(func(p []byte) (int, error) { return len(p) + 1, nil })
	_, err := esdk.NewEncryptWriter(bg, tooMuch, rawAES(t), nil)
	require.ErrorIs(t, err, io.ErrShortWrite)
	d, err := esdk.NewDecryptReader(bg, bytes.NewReader(encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(5), esdk.EncryptOptions{})), rawAES(t), nil)
	require.NoError(t, err)
	_, err = d.WriteTo(tooMuch)
	require.ErrorIs(t, err, io.ErrShortWrite)
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A writer that fails, or writes short, ends the message; the error stays and
// nothing that it took passes for a whole message.
func TestEncryptWriterFails(t *testing.T) {
	for _, id := range streamSuites {
		plaintext := text(45)
		whole := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: 10})
		opts := &esdk.EncryptOptions{Suite: id, FrameLength: 10}
		for n := range whole {
			for want, fault := range map[error]error{errBroken: errBroken, io.ErrShortWrite: nil} {
				out := &limitedWriter{n: n, err: fault}
				w, err := clientFor(id).NewEncryptWriter(bg, out, rawAES(t), opts)
				if err != nil {
					require.Nil(t, w)
				} else {
					_, err = w.Write(plaintext)
					closed := w.Close()
					require.Error(t, closed)
					if err != nil {
						require.Equal(t, err, closed)
					}
					err = closed
					_, again := w.Write([]byte("more"))
					require.Equal(t, err, again)
					require.Equal(t, err, w.Close())
				}
				require.ErrorIs(t, err, want)
				require.Equal(t, n, out.Len())
				notWhole(t, id, out.Bytes())

				out = &limitedWriter{n: n, err: fault}
				e, err := clientFor(id).NewEncryptReader(bg, bytes.NewReader(plaintext), rawAES(t), opts)
				require.NoError(t, err)
				m, err := e.WriteTo(out)
				require.ErrorIs(t, err, want)
				require.EqualValues(t, n, m)
				_, again := e.Read(make([]byte, 100))
				require.Equal(t, err, again)
				notWhole(t, id, out.Bytes())
			}
		}
	}
}

// CloseWithError gives a message up: what was written never passes for a whole
// one, and later calls return the error as it is.
func TestCloseWithError(t *testing.T) {
	id := suite.AES256GCMHKDFSHA512CommitKeyECDSAP384
	for _, n := range []int{0, 5, 10, 25} {
		var out bytes.Buffer
		w, err := esdk.NewEncryptWriter(bg, &out, rawAES(t), &esdk.EncryptOptions{FrameLength: 10})
		require.NoError(t, err)
		_, err = w.Write(text(n))
		require.NoError(t, err)
		size := out.Len()
		require.NoError(t, w.CloseWithError(errBroken))
		_, err = w.Write([]byte("x"))
		require.Equal(t, errBroken, err)
		_, err = w.ReadFrom(strings.NewReader("x"))
		require.Equal(t, errBroken, err)
		require.Equal(t, errBroken, w.Close())
		require.Equal(t, errBroken, w.CloseWithError(io.EOF))
		require.Equal(t, errBroken, w.Close())
		require.Equal(t, size, out.Len())
		notWhole(t, id, out.Bytes())
	}

	w, err := esdk.NewEncryptWriter(bg, io.Discard, rawAES(t), nil)
	require.NoError(t, err)
	require.NoError(t, w.CloseWithError(nil))
	require.ErrorIs(t, w.Close(), esdk.ErrClosed)

	w, err = esdk.NewEncryptWriter(bg, io.Discard, rawAES(t), nil)
	require.NoError(t, err)
	require.NoError(t, w.CloseWithError(io.EOF))
	require.Equal(t, io.EOF, w.Close(), "not taken for the end of a source")
}

// After Close, writing is an error, and closing again is not.
func TestWriteAfterClose(t *testing.T) {
	var out bytes.Buffer
	w, err := esdk.NewEncryptWriter(bg, &out, rawAES(t), nil)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	size := out.Len()
	_, err = w.Write([]byte("x"))
	require.ErrorIs(t, err, esdk.ErrClosed)
	_, err = w.Write(nil)
	require.ErrorIs(t, err, esdk.ErrClosed)
	_, err = w.ReadFrom(strings.NewReader("x"))
	require.ErrorIs(t, err, esdk.ErrClosed)
	require.ErrorIs(t, w.CloseWithError(errBroken), esdk.ErrClosed, "too late")
	require.NoError(t, w.Close())
	require.Equal(t, size, out.Len())
}

// Closing a DecryptReader before io.EOF is an error, wherever it stands.
func TestDecryptCloseBeforeTheEnd(t *testing.T) {
	for _, id := range streamSuites {
		message := encrypt(t, id, text(25), esdk.EncryptOptions{FrameLength: 10})
		for n := range 26 {
			d, err := clientFor(id).NewDecryptReader(bg, bytes.NewReader(message), rawAES(t), nil)
			require.NoError(t, err)
			_, err = io.ReadFull(d, make([]byte, n))
			require.NoError(t, err)
			for range 2 {
				require.ErrorIs(t, d.Close(), esdk.ErrUnverified)
			}
			m, err := d.Read(make([]byte, 1))
			require.Zero(t, m)
			require.ErrorIs(t, err, esdk.ErrClosed)
			_, err = d.WriteTo(io.Discard)
			require.ErrorIs(t, err, esdk.ErrClosed)
			require.ErrorIs(t, d.Close(), esdk.ErrUnverified)
		}
	}
}

// A source that breaks does not end a message, whatever it gave before: all
// whole frames are given out first.
func TestDecryptSourceBreaks(t *testing.T) {
	for _, id := range streamSuites {
		plaintext := text(45)
		message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: 10})
		l := layoutOf(t, message)
		for n := range len(message) + 1 {
			for _, d := range []decryptor{
				reader("Read", func(r io.Reader) io.Reader { return &breaking{r: r} }, 7),
				reader("large Read", func(r io.Reader) io.Reader { return &breaking{r: r} }, 10_000),
				writerTo("WriteTo", func(r io.Reader) io.Reader { return &breaking{r: r} }),
			} {
				released, err := d.run(clientFor(id), message[:n], rawAES(t), nil)
				require.ErrorIs(t, err, errBroken, d.name)
				want := 0
				for i := range l.frames[:4] {
					if n >= l.frames[i+1] {
						want = 10 * (i + 1)
					}
				}
				if n == len(message) {
					want = 45 // and only the probe for what follows failed
				} else if !id.Signing() && n >= l.footer {
					want = 45
				}
				require.Equal(t, string(plaintext[:want]), string(released), "%s, %d bytes", d.name, n)
			}
		}
	}
}

// A writer that fails ends the reading of a message; the error stays.
func TestDecryptWriteToFails(t *testing.T) {
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(45), esdk.EncryptOptions{FrameLength: 10})
	for n := range 45 {
		for want, fault := range map[error]error{errBroken: errBroken, io.ErrShortWrite: nil} {
			d, err := esdk.NewDecryptReader(bg, bytes.NewReader(message), rawAES(t), nil)
			require.NoError(t, err)
			out := &limitedWriter{n: n, err: fault}
			m, err := d.WriteTo(out)
			require.ErrorIs(t, err, want)
			require.EqualValues(t, n, m)
			_, again := d.Read(make([]byte, 1))
			require.Equal(t, err, again)
			require.Equal(t, err, d.Close())
		}
	}
}

// A writer whose error is io.EOF, or wraps it, as those of some connections do,
// gives a stream no end.
func TestWriterErrorEOFIsNoEnd(t *testing.T) {
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(45), esdk.EncryptOptions{FrameLength: 10})
	for _, fault := range []error{io.EOF, fmt.Errorf("connection lost: %w", io.EOF)} {
		d, err := esdk.NewDecryptReader(bg, bytes.NewReader(message), rawAES(t), nil)
		require.NoError(t, err)
		e, err := esdk.NewEncryptReader(bg, bytes.NewReader(text(45)), rawAES(t), nil)
		require.NoError(t, err)
		for _, r := range []interface {
			io.Reader
			io.WriterTo
		}{d, e} {
			_, err := r.WriteTo(&limitedWriter{n: 12, err: fault})
			require.ErrorContains(t, err, "write: "+fault.Error())
			require.NotErrorIs(t, err, io.EOF)
			_, again := r.Read(make([]byte, 1))
			require.Equal(t, err, again)
		}
		require.Error(t, d.Close())
	}
}

// Readers that break the rules of io.Reader give an error, not a panic or an
// endless loop.
func TestSourcesThatBreakTheRules(t *testing.T) {
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(45), esdk.EncryptOptions{FrameLength: 10})
	for name, count := range map[string]func(p []byte) int{
		"negative": func(p []byte) int { return -1 },
		"too much": func(p []byte) int { return len(p) + 1 },
		"nothing":  func(p []byte) int { return 0 },
	} {
		bad := readerFunc(func(p []byte) (int, error) { return count(p), nil })
		e, err := esdk.NewEncryptReader(bg, bad, rawAES(t), nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, e)
		require.Error(t, err, name)
		w, err := esdk.NewEncryptWriter(bg, io.Discard, rawAES(t), nil)
		require.NoError(t, err)
		_, err = w.ReadFrom(bad)
		require.Error(t, err, name)
		_, err = esdk.NewDecryptReader(bg, bad, rawAES(t), nil)
		require.Error(t, err, name)
		d, err := esdk.NewDecryptReader(bg, io.MultiReader(bytes.NewReader(message[:len(message)-5]), bad), rawAES(t), nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, d)
		require.Error(t, err, name)
		if name == "nothing" {
			require.ErrorIs(t, err, io.ErrNoProgress)
		}
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// What has arrived is given out before more is asked for, so that two sides of
// a conversation can talk through streams.
func TestStreamsDoNotReadAhead(t *testing.T) {
	for _, id := range streamSuites {
		pr, pw := io.Pipe()
		d := make(chan *esdk.DecryptReader)
		go func() {
			r, err := clientFor(id).NewDecryptReader(bg, pr, rawAES(t), nil)
			if err != nil {
				panic(err)
			}
			d <- r
		}()
		w, err := clientFor(id).NewEncryptWriter(bg, pw, rawAES(t), &esdk.EncryptOptions{Suite: id, FrameLength: 10})
		require.NoError(t, err)
		r := <-d
		for range 50 {
			written := make(chan error)
			go func() {
				_, err := w.Write(text(10))
				written <- err
			}()
			got := make([]byte, 10)
			_, err = io.ReadFull(r, got)
			require.NoError(t, err)
			require.Equal(t, text(10), got)
			require.NoError(t, <-written)
		}
		go func() {
			pw.CloseWithError(w.Close())
		}()
		_, err = r.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		require.NoError(t, r.Close())
	}
}

// The standard test of readers holds for both.
func TestReadersPassIotest(t *testing.T) {
	plaintext := text(1000)
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, plaintext, esdk.EncryptOptions{FrameLength: 64})
	d, err := esdk.NewDecryptReader(bg, bytes.NewReader(message), rawAES(t), nil)
	require.NoError(t, err)
	require.NoError(t, iotest.TestReader(d, plaintext))
}

// Empty reads and writes do nothing and hide nothing.
func TestEmptyReadsAndWrites(t *testing.T) {
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(5), esdk.EncryptOptions{})
	d, err := esdk.NewDecryptReader(bg, bytes.NewReader(message), rawAES(t), nil)
	require.NoError(t, err)
	for range 3 {
		n, err := d.Read(nil)
		require.Zero(t, n)
		require.NoError(t, err)
	}
	got, err := io.ReadAll(d)
	require.NoError(t, err)
	require.Equal(t, text(5), got)
	_, err = d.Read(nil)
	require.Equal(t, io.EOF, err)

	var out bytes.Buffer
	w, err := esdk.NewEncryptWriter(bg, &out, rawAES(t), nil)
	require.NoError(t, err)
	size := out.Len()
	n, err := w.Write(nil)
	require.Zero(t, n)
	require.NoError(t, err)
	require.Equal(t, size, out.Len())
}

// The reader's and writer's underlying streams are never closed.
func TestUnderlyingStreamsStayOpen(t *testing.T) {
	c := &closeCounter{Reader: bytes.NewReader(text(100))}
	e, err := esdk.NewEncryptReader(bg, c, rawAES(t), nil)
	require.NoError(t, err)
	message, err := io.ReadAll(e)
	require.NoError(t, err)
	w, err := esdk.NewEncryptWriter(bg, c, rawAES(t), nil)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	c.Reader = bytes.NewReader(slices.Clone(message))
	d, err := esdk.NewDecryptReader(bg, c, rawAES(t), nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, d)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	require.Zero(t, c.closed)
}

type closeCounter struct {
	io.Reader
	closed int
}

func (c *closeCounter) Write(p []byte) (int, error) { return len(p), nil }
func (c *closeCounter) Close() error                { c.closed++; return nil }
