package esdk_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/byhand"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// What each step gives out, and when.

// A writer gives out the header once the materials are there, each frame once
// it is complete and not before, and the final frame and the footer at Close.
func TestEncryptWriterGivesOutEachStepWhenItIsComplete(t *testing.T) {
	t.Parallel()
	for _, id := range suite.All() {
		var out bytes.Buffer
		p := &manager{inner: rawAES(t), encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
			require.Zero(t, out.Len(), "nothing before the materials")
			return m
		}}
		w, err := clientFor(id).NewEncryptWriter(bg, &out, p, &esdk.EncryptOptions{Suite: id, FrameLength: 10})
		require.NoError(t, err)
		header, err := w.Header().AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, header, out.Bytes())
		want := len(header)
		for _, step := range []struct{ plaintext, frames int }{{9, 0}, {0, 0}, {1, 1}, {25, 2}, {4, 0}, {1, 1}} {
			_, err = w.Write(text(step.plaintext))
			require.NoError(t, err)
			want += step.frames * (10 + format.FrameOverhead)
			require.Equal(t, want, out.Len())
		}
		require.NoError(t, w.Close())
		want += format.FinalFrameOverhead
		if id.Signing() {
			want += 2 + id.SignatureSize()
		}
		require.Equal(t, want, out.Len())
		require.Equal(t, header, out.Bytes()[:len(header)])
	}
}

// A reader gives out the whole header before it touches the plaintext.
func TestEncryptReaderGivesOutTheHeaderFirst(t *testing.T) {
	t.Parallel()
	touched := false
	source := readerFunc(func(p []byte) (int, error) {
		touched = true
		return 0, errBroken
	})
	r, err := esdk.NewEncryptReader(bg, source, rawAES(t), nil)
	require.NoError(t, err)
	header, err := r.Header().AppendBinary(nil)
	require.NoError(t, err)
	got := make([]byte, len(header))
	for i := range got {
		n, err := r.Read(got[i : i+1])
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.False(t, touched)
	}
	require.Equal(t, header, got)
	_, err = r.Read(make([]byte, 1))
	require.ErrorIs(t, err, errBroken)
	require.True(t, touched)
}

// Without materials nothing is written, and no plaintext is asked for.
func TestEncryptWithoutMaterialsWritesNothing(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	_, err := esdk.NewEncryptWriter(bg, &out, failing{errBroken}, nil)
	require.ErrorIs(t, err, errBroken)
	require.Zero(t, out.Len())
	_, err = esdk.NewEncryptReader(bg, readerFunc(func([]byte) (int, error) {
		t.Error("the source was read")
		return 0, errBroken
	}), failing{errBroken}, nil)
	require.ErrorIs(t, err, errBroken)
}

// What has arrived is given out before more is asked for, so that two sides of
// a conversation can talk through streams.
func TestStreamsDoNotReadAhead(t *testing.T) {
	t.Parallel()
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

// bursts gives what it has in bursts that end with a frame, and checks that all
// of a burst was written before it is asked for the next.
type bursts struct {
	b       []byte
	sizes   []int // of the bursts
	checked func(burst int)
	n       int
}

func (s *bursts) Read(p []byte) (int, error) {
	if len(s.sizes) > 0 && s.sizes[0] == 0 {
		s.n, s.sizes = s.n+1, s.sizes[1:]
		s.checked(s.n)
	}
	if len(s.sizes) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.b[:s.sizes[0]])
	s.b, s.sizes[0] = s.b[n:], s.sizes[0]-n
	return n, nil
}

// Whole frames that have arrived are written before the source is asked for
// more, however many they are and however fast they came.
func TestNothingWaitsForASlowSource(t *testing.T) {
	t.Parallel()
	frames := []int{1, 2, 15, 16, 30, 31, 1, 120, 60, 15, 1, 200, 15, 15, 15, 45, 16, 7}
	const length = 4096
	total := 0
	for _, n := range frames {
		total += n
	}
	plaintext := text(total * length)
	for _, id := range parallelSuites {
		message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: length})
		head := message[:byhand.Read(t, message).Parts[0].At]
		for _, workers := range []int{1, 2, 4} {
			c := &esdk.Client{Concurrency: workers}
			var out *bytes.Buffer
			source := func(b []byte, head, size, outHead, outSize, tail int) *bursts {
				out = new(bytes.Buffer)
				s := &bursts{b: b}
				for _, n := range frames {
					s.sizes = append(s.sizes, n*size)
				}
				s.sizes[0] += head
				if tail > 0 {
					s.sizes = append(s.sizes, tail)
				}
				s.checked = func(burst int) {
					done := 0
					for _, n := range frames[:min(burst, len(frames))] {
						done += n
					}
					require.GreaterOrEqual(t, out.Len(), outHead+done*outSize, "%v, burst %d, %d goroutines", id, burst, workers)
				}
				return s
			}
			opts := &esdk.EncryptOptions{Suite: id, FrameLength: length}
			e, err := c.NewEncryptReader(bg, source(plaintext, 0, length, len(head), length+format.FrameOverhead, 0), rawAES(t), opts)
			require.NoError(t, err)
			_, err = e.WriteTo(out)
			require.NoError(t, err)

			from := source(plaintext, 0, length, len(head), length+format.FrameOverhead, 0)
			w, err := c.NewEncryptWriter(bg, out, rawAES(t), opts)
			require.NoError(t, err)
			_, err = w.ReadFrom(from)
			require.NoError(t, err)

			d, err := c.NewDecryptReader(bg, source(message, len(head), length+format.FrameOverhead, 0, length, len(message)-len(head)-total*(length+format.FrameOverhead)), rawAES(t), nil)
			require.NoError(t, err)
			_, err = d.WriteTo(out)
			require.NoError(t, err)
			require.True(t, bytes.Equal(plaintext, out.Bytes()))
		}
	}
}

// A stream fails at the byte that is too much, not at the end.
func TestPlaintextTooLongFailsAtOnce(t *testing.T) {
	t.Parallel()
	opts := &esdk.EncryptOptions{MaxPlaintextLength: 100_000}
	r, err := esdk.NewEncryptReader(bg, repeating("abc"), rawAES(t), opts)
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, r)
	require.ErrorIs(t, err, esdk.ErrPlaintextTooLong)
	require.Less(t, n, int64(110_000))
	_, again := r.Read(make([]byte, 1))
	require.Equal(t, err, again)

	var out bytes.Buffer
	w, err := esdk.NewEncryptWriter(bg, &out, rawAES(t), opts)
	require.NoError(t, err)
	_, err = w.Write(make([]byte, 100_000))
	require.NoError(t, err)
	_, err = w.Write([]byte{0})
	require.ErrorIs(t, err, esdk.ErrPlaintextTooLong)
	require.Equal(t, err, w.Close())
	_, _, err = esdk.Decrypt(bg, out.Bytes(), rawAES(t), nil)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// Frames that were whole before the limit was met are written before the error,
// with any number of goroutines.
func TestFramesBeforeTheLimitAreWritten(t *testing.T) {
	t.Parallel()
	const length = 4096
	for _, id := range streamSuites {
		for _, workers := range []int{1, 2, 4, 8} {
			c := clientFor(id)
			c.Concurrency = workers
			opts := &esdk.EncryptOptions{Suite: id, FrameLength: length, MaxPlaintextLength: 300*length + 100}
			plaintext := text(301 * length)
			for name, run := range map[string]func(r io.Reader, out *bytes.Buffer) (int64, error){
				"WriteTo": func(r io.Reader, out *bytes.Buffer) (int64, error) {
					e, err := c.NewEncryptReader(bg, r, rawAES(t), opts)
					require.NoError(t, err)
					return e.WriteTo(out)
				},
				"ReadFrom": func(r io.Reader, out *bytes.Buffer) (int64, error) {
					w, err := c.NewEncryptWriter(bg, out, rawAES(t), opts)
					require.NoError(t, err)
					n, err := w.ReadFrom(r)
					require.Equal(t, err, w.Close())
					return n, err
				},
			} {
				source, before := bytes.NewReader(plaintext), 0
				var out bytes.Buffer
				_, err := run(readerFunc(func(p []byte) (int, error) {
					before = len(plaintext) - source.Len()
					return source.Read(p)
				}), &out)
				where := fmt.Sprintf("%v, %d goroutines, %s", id, workers, name)
				require.ErrorIs(t, err, esdk.ErrPlaintextTooLong, where)
				require.Greater(t, before, 200*length, where)
				released, err := writerTo("WriteTo", asIs).run(c, out.Bytes(), rawAES(t), nil)
				require.ErrorIs(t, err, io.ErrUnexpectedEOF, where)
				require.GreaterOrEqual(t, len(released), before/length*length, where)
				require.True(t, bytes.HasPrefix(plaintext, released), where)
			}
		}
	}
}

// Ends.

// CloseWithError gives a message up: what was written never passes for a whole
// one, and later calls return the error as it is.
func TestCloseWithError(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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

// Empty reads and writes do nothing and hide nothing.
func TestEmptyReadsAndWrites(t *testing.T) {
	t.Parallel()
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

// The standard test of readers holds for both.
func TestReadersPassIotest(t *testing.T) {
	t.Parallel()
	plaintext := text(1000)
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, plaintext, esdk.EncryptOptions{FrameLength: 64})
	d, err := esdk.NewDecryptReader(bg, bytes.NewReader(message), rawAES(t), nil)
	require.NoError(t, err)
	require.NoError(t, iotest.TestReader(d, plaintext))
}

// The reader's and writer's underlying streams are never closed.
func TestUnderlyingStreamsStayOpen(t *testing.T) {
	t.Parallel()
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

func (c *closeCounter) Close() error { c.closed++; return nil }

// Sources that fail.

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

// notWhole checks that message never passes for a whole one.
func notWhole(t *testing.T, id suite.ID, message []byte) {
	t.Helper()
	for _, d := range fewDecryptors {
		_, err := d.run(clientFor(id), message, rawAES(t), nil)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, d.name)
	}
}

// A source that breaks ends the message without its final frame, and the
// error stays: also if the source would then say io.EOF.
func TestEncryptSourceBreaks(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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

// A source that breaks does not end a message, whatever it gave before: all
// whole frames are given out first.
func TestDecryptSourceBreaks(t *testing.T) {
	t.Parallel()
	for _, id := range streamSuites {
		plaintext := text(45)
		message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: 10})
		of := byhand.Read(t, message)
		for n := range len(message) + 1 {
			for _, d := range turn([]decryptor{
				reader("Read", func(r io.Reader) io.Reader { return &breaking{r: r} }, 7),
				reader("large Read", func(r io.Reader) io.Reader { return &breaking{r: r} }, 10_000),
				writerTo("WriteTo", func(r io.Reader) io.Reader { return &breaking{r: r} }),
			}, n) {
				released, err := d.run(clientFor(id), message[:n], rawAES(t), nil)
				require.ErrorIs(t, err, errBroken, d.name)
				want := 0
				for i := range of.Parts[:4] {
					if n >= of.Parts[i+1].At {
						want = 10 * (i + 1)
					}
				}
				if n == len(message) {
					want = 45 // and only the probe for what follows failed
				} else if !id.Signing() && n >= len(of.Signed) {
					want = 45
				}
				require.Equal(t, string(plaintext[:want]), string(released), "%s, %d bytes", d.name, n)
			}
		}
	}
}

// Readers that break the rules of io.Reader give an error, not a panic or an
// endless loop.
func TestSourcesThatBreakTheRules(t *testing.T) {
	t.Parallel()
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

// Writers that fail.

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

// A writer that fails, or writes short, ends the message; the error stays and
// nothing that it took passes for a whole message.
func TestEncryptWriterFails(t *testing.T) {
	for s, id := range streamSuites {
		t.Run(id.String(), func(t *testing.T) {
			t.Parallel()
			plaintext := text(45)
			whole := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: 10})
			opts := &esdk.EncryptOptions{Suite: id, FrameLength: 10}
			write := func(out io.Writer) error {
				w, err := clientFor(id).NewEncryptWriter(bg, out, rawAES(t), opts)
				if err != nil {
					require.Nil(t, w)
					return err
				}
				_, err = w.Write(plaintext)
				closed := w.Close()
				require.Error(t, closed)
				if err != nil {
					require.Equal(t, err, closed)
				}
				_, again := w.Write([]byte("more"))
				require.Equal(t, closed, again)
				require.Equal(t, closed, w.Close())
				return closed
			}
			writeTo := func(out io.Writer) error {
				e, err := clientFor(id).NewEncryptReader(bg, bytes.NewReader(plaintext), rawAES(t), opts)
				require.NoError(t, err)
				n, err := e.WriteTo(out)
				require.EqualValues(t, out.(*limitedWriter).Len(), n)
				_, again := e.Read(make([]byte, 100))
				require.Equal(t, err, again)
				return err
			}
			for n := range whole {
				for i, run := range turn([]func(io.Writer) error{write, writeTo}, s+n) {
					for j, fault := range turn([]error{errBroken, nil}, s+n/2) {
						out := &limitedWriter{n: n, err: fault}
						err := run(out)
						if fault == nil {
							fault = io.ErrShortWrite
						}
						require.ErrorIs(t, err, fault)
						require.Equal(t, n, out.Len())
						for _, d := range turn(fewDecryptors, n+i+j) {
							_, err := d.run(clientFor(id), out.Bytes(), rawAES(t), nil)
							require.ErrorIs(t, err, io.ErrUnexpectedEOF, d.name)
						}
					}
				}
			}
		})
	}
}

// A writer that fails on the last bytes leaves its error, not the end.
func TestEncryptReaderWriteToFailsAtTheEnd(t *testing.T) {
	t.Parallel()
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

// A writer that fails ends the reading of a message; the error stays.
func TestDecryptWriteToFails(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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

// A writer that says it wrote more than it was given is broken.
func TestWriterThatCountsTooMuch(t *testing.T) {
	t.Parallel()
	tooMuch := writerFunc(func(p []byte) (int, error) { return len(p) + 1, nil })
	_, err := esdk.NewEncryptWriter(bg, tooMuch, rawAES(t), nil)
	require.ErrorIs(t, err, io.ErrShortWrite)
	d, err := esdk.NewDecryptReader(bg, bytes.NewReader(encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(5), esdk.EncryptOptions{})), rawAES(t), nil)
	require.NoError(t, err)
	_, err = d.WriteTo(tooMuch)
	require.ErrorIs(t, err, io.ErrShortWrite)
}

// Streams refuse what only Encrypt can do, and nil readers and writers.
func TestCarelessStreams(t *testing.T) {
	t.Parallel()
	p := rawAES(t)
	_, err := esdk.NewEncryptReader(bg, strings.NewReader(""), p, &esdk.EncryptOptions{Unframed: true})
	require.ErrorContains(t, err, "unframed")
	_, err = esdk.NewEncryptWriter(bg, io.Discard, p, &esdk.EncryptOptions{Unframed: true})
	require.ErrorContains(t, err, "unframed")
	_, err = esdk.NewEncryptReader(bg, nil, p, nil)
	require.EqualError(t, err, "esdk: nil io.Reader")
	_, err = esdk.NewEncryptWriter(bg, nil, p, nil)
	require.EqualError(t, err, "esdk: nil io.Writer")
	_, err = esdk.NewDecryptReader(bg, nil, p, nil)
	require.EqualError(t, err, "esdk: nil io.Reader")
	_, err = esdk.Reencrypt(bg, nil, strings.NewReader(""), p, p, nil)
	require.EqualError(t, err, "esdk: nil io.Writer")
	_, err = esdk.Reencrypt(bg, io.Discard, nil, p, p, nil)
	require.EqualError(t, err, "esdk: nil io.Reader")

	r, err := esdk.NewEncryptReader(bg, strings.NewReader("x"), p, nil)
	require.NoError(t, err)
	_, err = r.WriteTo(nil)
	require.EqualError(t, err, "esdk: nil io.Writer")
	w, err := esdk.NewEncryptWriter(bg, io.Discard, p, nil)
	require.NoError(t, err)
	_, err = w.ReadFrom(nil)
	require.EqualError(t, err, "esdk: nil io.Reader")
	d, err := esdk.NewDecryptReader(bg, r, p, nil)
	require.NoError(t, err)
	_, err = d.WriteTo(nil)
	require.EqualError(t, err, "esdk: nil io.Writer")
}

// Goroutines.

// Several goroutines write messages that one reads, and the other way round,
// also at lengths where the work is split in uneven pieces.
func TestRoundTripConcurrency(t *testing.T) {
	for s, id := range parallelSuites {
		for f, frameLength := range []int64{100, 4096, 300_000} {
			t.Run(fmt.Sprintf("%v/%d", id, frameLength), func(t *testing.T) {
				t.Parallel()
				for _, n := range turn([]int{256 << 10, 2_100_000}, s+f) {
					plaintext := text(n)
					for w, writers := range []int{1, 2, 5} {
						for i, e := range encryptors {
							if !full() && (i+s+f)%3 != w {
								continue // the others are for the other numbers
							}
							c := &esdk.Client{Concurrency: writers}
							message, _, err := e.run(c, plaintext, rawAES(t), &esdk.EncryptOptions{Suite: id, FrameLength: frameLength})
							require.NoError(t, err, e.name)
							d := decryptors[(i+writers)%len(decryptors)]
							if d.name == "reads of 1" || d.name == "reads of 7 from single bytes" {
								d = oneShot
							}
							got, err := d.run(&esdk.Client{Concurrency: 6 - writers}, message, rawAES(t), nil)
							require.NoError(t, err, "%s, %s", e.name, d.name)
							require.True(t, bytes.Equal(plaintext, got), "%s, %s", e.name, d.name)
						}
					}
				}
			})
		}
	}
}

// workers returns the stacks of the goroutines that work on frames, those that
// are about to end left out: whether they are gone is a matter of scheduling.
func workers() (stacks []string) {
	buf := make([]byte, 1<<20)
	for ending := true; ending; runtime.Gosched() {
		ending, stacks = false, nil
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if !strings.Contains(g, "created by sync.(*WaitGroup).Go ") {
				continue
			}
			state, _, _ := strings.Cut(g, "\n")
			if strings.Contains(state, "[run") { // running or runnable
				ending = true
			}
			stacks = append(stacks, g)
		}
	}
	return stacks
}

// noWorkers checks that no goroutine works on frames any more. It is of no use
// in tests that run in parallel to others.
func noWorkers(t *testing.T, after string) {
	t.Helper()
	require.Empty(t, workers(), after)
}

// noWorkers sees the goroutines that it looks for while there are some.
func TestNoWorkersSeesWorkers(t *testing.T) {
	for _, id := range parallelSuites {
		most := 0
		w, err := (&esdk.Client{Concurrency: 3}).NewEncryptWriter(bg, writerFunc(func(p []byte) (int, error) {
			most = max(most, len(workers()))
			return len(p), nil
		}), rawAES(t), &esdk.EncryptOptions{Suite: id})
		require.NoError(t, err)
		_, err = w.Write(text(3 << 20))
		require.NoError(t, err)
		require.Equal(t, 2, most, "%v", id)
		noWorkers(t, "Write")
	}
}

// A reader or writer that ends its goroutine, as t.FailNow does, leaves no others
// behind, and a stream that is of no use.
func TestGoexitIsSticky(t *testing.T) {
	const size = 3 << 20
	for s, id := range parallelSuites {
		opts := &esdk.EncryptOptions{Suite: id}
		message := encrypt(t, id, text(size), *opts)
		for _, workers := range turn([]int{8, 2, 1}, s) {
			c := &esdk.Client{Concurrency: workers}
			exited := func(f func(r io.Reader, w io.Writer), b []byte, inSource bool) {
				n := 0
				exit := func(p []byte) (int, error) {
					if n += len(p); n > size/2 {
						runtime.Goexit()
					}
					return len(p), nil
				}
				source := bytes.NewReader(b)
				done := make(chan struct{})
				go func() {
					defer close(done)
					f(readerFunc(func(p []byte) (int, error) {
						if inSource {
							exit(p)
						}
						return source.Read(p)
					}), writerFunc(func(p []byte) (int, error) {
						if inSource {
							return len(p), nil
						}
						return exit(p)
					}))
					t.Error("the call returned")
				}()
				<-done
				noWorkers(t, "Goexit")
			}
			for _, inSource := range []bool{false, true} {
				var e *esdk.EncryptReader
				exited(func(r io.Reader, w io.Writer) {
					e, _ = c.NewEncryptReader(bg, r, rawAES(t), opts)
					e.WriteTo(w)
				}, text(size), inSource)
				_, err := e.Read(make([]byte, 10))
				require.Error(t, err)

				var d *esdk.DecryptReader
				exited(func(r io.Reader, w io.Writer) {
					d, _ = c.NewDecryptReader(bg, r, rawAES(t), nil)
					d.WriteTo(w)
				}, message, inSource)
				_, err = d.Read(make([]byte, 10))
				require.Error(t, err)
				require.NotErrorIs(t, err, io.EOF)

				var w *esdk.EncryptWriter
				exited(func(r io.Reader, to io.Writer) {
					w, _ = c.NewEncryptWriter(bg, to, rawAES(t), opts)
					w.ReadFrom(r)
				}, text(size), inSource)
				require.Error(t, w.Close())

				exited(func(r io.Reader, w io.Writer) {
					c.Reencrypt(bg, w, r, rawAES(t), rawAES(t), &esdk.ReencryptOptions{Encrypt: *opts})
				}, message, inSource)
			}
		}
	}
}

// No goroutine outlives the call that started it, whatever ends the call, and a
// panic of the caller's reader or writer reaches the caller.
func TestNoGoroutineOutlivesTheCall(t *testing.T) {
	const size = 3 << 19
	plaintext := text(size)
	for s, id := range parallelSuites {
		for f, frameLength := range []int64{4096, 300_000} {
			message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: frameLength})
			altered := slices.Clone(message)
			altered[size*2/3] ^= 1
			for i, of := range []struct {
				name   string
				source func(r io.Reader) io.Reader
				sink   func() io.Writer
				fails  bool
			}{
				{"nothing", asIs, func() io.Writer { return io.Discard }, false},
				{"source error", func(r io.Reader) io.Reader { return breakingWithDataAfter(r, size/2) }, func() io.Writer { return io.Discard }, true},
				{"sink error", asIs, func() io.Writer { return &limitedWriter{n: size / 2, err: errBroken} }, true},
				{"short write", asIs, func() io.Writer { return &limitedWriter{n: size / 2} }, true},
				{"source panic", func(r io.Reader) io.Reader { return &panicking{r: r, left: size / 2} }, func() io.Writer { return io.Discard }, true},
				{"sink panic", asIs, func() io.Writer { return &panicking{left: size / 2} }, true},
			} {
				for _, workers := range turn([]int{2, 3, 8}, s+f+i) {
					c := &esdk.Client{Concurrency: workers}
					opts := &esdk.EncryptOptions{Suite: id, FrameLength: frameLength}
					for call, f := range map[string]func() error{
						"EncryptReader.WriteTo": func() error {
							e, err := c.NewEncryptReader(bg, of.source(bytes.NewReader(plaintext)), rawAES(t), opts)
							require.NoError(t, err)
							_, err = e.WriteTo(of.sink())
							return err
						},
						"EncryptWriter.ReadFrom": func() error {
							w, err := c.NewEncryptWriter(bg, of.sink(), rawAES(t), opts)
							require.NoError(t, err)
							_, err = w.ReadFrom(of.source(bytes.NewReader(plaintext)))
							return err
						},
						"EncryptWriter.Write": func() error {
							w, err := c.NewEncryptWriter(bg, of.sink(), rawAES(t), opts)
							require.NoError(t, err)
							_, err = w.Write(plaintext)
							return err
						},
						"DecryptReader.WriteTo": func() error {
							d, err := c.NewDecryptReader(bg, of.source(bytes.NewReader(message)), rawAES(t), nil)
							require.NoError(t, err)
							_, err = d.WriteTo(of.sink())
							return err
						},
						"Reencrypt": func() error {
							_, err := c.Reencrypt(bg, of.sink(), of.source(bytes.NewReader(message)), rawAES(t), rawAES(t), &esdk.ReencryptOptions{Encrypt: *opts})
							return err
						},
						"Reencrypt, altered": func() error {
							_, err := c.Reencrypt(bg, of.sink(), of.source(bytes.NewReader(altered)), rawAES(t), rawAES(t), &esdk.ReencryptOptions{Encrypt: *opts})
							require.Error(t, err)
							return err
						},
						"DecryptReader.WriteTo, altered": func() error {
							d, err := c.NewDecryptReader(bg, of.source(bytes.NewReader(altered)), rawAES(t), nil)
							require.NoError(t, err)
							n, err := d.WriteTo(of.sink())
							require.Less(t, n, int64(size))
							require.Error(t, err)
							return err
						},
					} {
						where := fmt.Sprintf("%v, frames of %d, %s, %d goroutines, %s", id, frameLength, of.name, workers, call)
						var err error
						func() {
							defer func() {
								if p := recover(); p != nil {
									err = p.(error)
								}
							}()
							err = f()
						}()
						source := strings.HasPrefix(of.name, "source") && call == "EncryptWriter.Write" // it has none
						if of.fails && !source {
							require.Error(t, err, where)
						} else if !strings.HasSuffix(call, "altered") {
							require.NoError(t, err, where)
						}
						noWorkers(t, where)
					}
				}
			}
		}
	}
}

// breakingWithDataAfter breaks after n bytes.
func breakingWithDataAfter(r io.Reader, n int64) io.Reader {
	return io.MultiReader(io.LimitReader(r, n), readerFunc(func([]byte) (int, error) { return 0, errBroken }))
}

// panicking panics after some bytes.
type panicking struct {
	r    io.Reader
	left int
}

func (p *panicking) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.left -= n; p.left < 0 {
		panic(errBroken)
	}
	return n, err
}

func (p *panicking) Write(b []byte) (int, error) {
	if p.left -= len(b); p.left < 0 {
		panic(errBroken)
	}
	return len(b), nil
}

// After a panic of the caller's reader or writer a stream is of no use: what was
// in work is lost, so the rest must not pass for all.
func TestPanicIsSticky(t *testing.T) {
	t.Parallel()
	const size = 3 << 20
	plaintext := text(size)
	recovered := func(f func()) {
		defer func() { require.Equal(t, errBroken, recover()) }()
		f()
	}
	for _, id := range parallelSuites {
		opts := &esdk.EncryptOptions{Suite: id}
		message := encrypt(t, id, plaintext, *opts)
		for _, workers := range []int{1, 2, 8} {
			c := &esdk.Client{Concurrency: workers}
			for _, left := range []int{size / 2, size - 1} { // the second is met by what comes last
				d, err := c.NewDecryptReader(bg, bytes.NewReader(message), rawAES(t), nil)
				require.NoError(t, err)
				recovered(func() { d.WriteTo(&panicking{left: left}) })
				_, err = d.Read(make([]byte, 10))
				require.ErrorContains(t, err, "panicked")
				require.Equal(t, err, d.Close())

				e, err := c.NewEncryptReader(bg, bytes.NewReader(plaintext), rawAES(t), opts)
				require.NoError(t, err)
				recovered(func() { e.WriteTo(&panicking{left: left}) })
				_, err = e.Read(make([]byte, 10))
				require.ErrorContains(t, err, "panicked")
			}
			for name, f := range map[string]func(w *esdk.EncryptWriter){
				"ReadFrom": func(w *esdk.EncryptWriter) {
					w.ReadFrom(&panicking{r: bytes.NewReader(plaintext), left: size / 2})
				},
				"Write": func(w *esdk.EncryptWriter) { w.Write(plaintext) },
				"Close": func(w *esdk.EncryptWriter) { w.Write([]byte("in the final frame")); w.Close() },
			} {
				var out bytes.Buffer
				calls := 0
				w, err := c.NewEncryptWriter(bg, writerFunc(func(p []byte) (int, error) {
					if calls++; name != "ReadFrom" && calls == 2 { // the first is for the header
						panic(errBroken)
					}
					return out.Write(p)
				}), rawAES(t), opts)
				require.NoError(t, err)
				recovered(func() { f(w) })
				written := out.Len()
				_, err = w.Write([]byte("more")) // after Close it had the nonce of the final frame
				require.ErrorContains(t, err, "panicked", name)
				require.Equal(t, err, w.Close(), name)
				require.Equal(t, written, out.Len(), name)
			}
		}
	}
}

// So it is through Read: what the reader took before its panic is missing, and
// the rest must not make a whole message.
func TestPanicInReadIsSticky(t *testing.T) {
	t.Parallel()
	for _, id := range parallelSuites {
		for _, room := range []int{100, 64 << 10} {
			calls := 0
			r := readerFunc(func(p []byte) (int, error) {
				switch calls++; {
				case calls == 2:
					panic(errBroken)
				case calls > 3:
					return 0, io.EOF
				}
				return copy(p, text(5000)), nil
			})
			e, err := esdk.NewEncryptReader(bg, r, rawAES(t), &esdk.EncryptOptions{Suite: id})
			require.NoError(t, err)
			buf := make([]byte, room)
			func() {
				defer func() { require.Equal(t, errBroken, recover()) }()
				for err == nil {
					_, err = e.Read(buf)
				}
			}()
			_, err = e.Read(buf)
			require.ErrorContains(t, err, "panicked")
			_, again := e.WriteTo(io.Discard)
			require.Equal(t, err, again)
		}
	}
}

// spoilt checks that a stream's error says that it was used by two.
func spoilt(t *testing.T, err error) {
	t.Helper()
	require.ErrorContains(t, err, "esdk: the stream was used by two goroutines at once")
}

// An EncryptWriter that is used from inside its own source or sink says so to
// both calls, and its message never ends.
func TestAWriterUsedFromInsideItself(t *testing.T) {
	t.Parallel()
	calls := map[string]func(w *esdk.EncryptWriter) error{
		"Write":           func(w *esdk.EncryptWriter) error { _, err := w.Write([]byte("inside")); return err },
		"Write nothing":   func(w *esdk.EncryptWriter) error { _, err := w.Write(nil); return err },
		"ReadFrom":        func(w *esdk.EncryptWriter) error { _, err := w.ReadFrom(strings.NewReader("inside")); return err },
		"Close":           func(w *esdk.EncryptWriter) error { return w.Close() },
		"CloseWithError":  func(w *esdk.EncryptWriter) error { return w.CloseWithError(errors.New("given up")) },
		"CloseWithError0": func(w *esdk.EncryptWriter) error { return w.CloseWithError(nil) },
	}
	for name, inside := range calls {
		for _, where := range []string{"source of ReadFrom", "sink of Write", "sink of ReadFrom", "sink of Close"} {
			t.Run(name+" in "+where, func(t *testing.T) {
				t.Parallel()
				var out bytes.Buffer
				var w *esdk.EncryptWriter
				var err error
				var innerErr error
				meddle := func() {
					if w != nil && innerErr == nil {
						innerErr = inside(w)
					}
				}
				w2, err := esdk.NewEncryptWriter(bg, writerFunc(func(p []byte) (int, error) {
					if strings.HasPrefix(where, "sink") {
						meddle()
					}
					return out.Write(p)
				}), rawAES(t), nil)
				require.NoError(t, err)
				w = w2
				var outer error
				switch where {
				case "sink of Write":
					_, outer = w.Write(text(100_000))
				case "sink of Close":
					outer = w.Close()
				default:
					source := bytes.NewReader(text(4 << 20))
					_, outer = w.ReadFrom(readerFunc(func(p []byte) (int, error) {
						if where == "source of ReadFrom" {
							meddle()
						}
						return source.Read(p)
					}))
				}
				spoilt(t, innerErr)
				spoilt(t, outer)
				spoilt(t, w.Close())
				spoilt(t, w.Close())
				spoilt(t, w.CloseWithError(nil))
				_, err = w.Write([]byte("x"))
				spoilt(t, err)
				if where != "sink of Close" { // which had the whole message in its hands
					_, _, err = esdk.Decrypt(bg, out.Bytes(), rawAES(t), nil)
					require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				}
			})
		}
	}
}

// Readers that are used from inside their own source or sink likewise.
func TestAReaderUsedFromInsideItself(t *testing.T) {
	t.Parallel()
	type stream interface {
		io.Reader
		io.WriterTo
	}
	plaintext := text(1 << 20)
	message, _, err := esdk.Encrypt(bg, plaintext, rawAES(t), nil)
	require.NoError(t, err)
	open := map[string]func(source io.Reader) (stream, error){
		"EncryptReader": func(source io.Reader) (stream, error) { return esdk.NewEncryptReader(bg, source, rawAES(t), nil) },
		"DecryptReader": func(source io.Reader) (stream, error) { return esdk.NewDecryptReader(bg, source, rawAES(t), nil) },
	}
	inside := map[string]func(s stream) error{
		"Read":    func(s stream) error { _, err := s.Read(make([]byte, 10)); return err },
		"WriteTo": func(s stream) error { _, err := s.WriteTo(io.Discard); return err },
		"Close": func(s stream) error {
			if d, ok := s.(*esdk.DecryptReader); ok {
				return d.Close()
			}
			_, err := s.Read(nil)
			return err
		},
	}
	for kind, open := range open {
		for name, inside := range inside {
			for _, where := range []string{"source of Read", "source of WriteTo", "sink of WriteTo"} {
				t.Run(kind+", "+name+" in "+where, func(t *testing.T) {
					t.Parallel()
					var s stream
					var innerErr error
					meddle := func() {
						if s != nil && innerErr == nil {
							innerErr = inside(s)
						}
					}
					source := bytes.NewReader(message)
					if kind == "EncryptReader" {
						source = bytes.NewReader(plaintext)
					}
					opened, err := open(readerFunc(func(p []byte) (int, error) {
						if strings.HasPrefix(where, "source") {
							meddle()
						}
						return source.Read(p)
					}))
					require.NoError(t, err)
					s = opened
					var outer error
					if where == "source of Read" {
						_, outer = io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s})
					} else {
						_, outer = s.WriteTo(writerFunc(func(p []byte) (int, error) {
							if where == "sink of WriteTo" {
								meddle()
							}
							return len(p), nil
						}))
					}
					spoilt(t, innerErr)
					spoilt(t, outer)
					_, err = s.Read(make([]byte, 1))
					spoilt(t, err)
					if d, ok := s.(*esdk.DecryptReader); ok {
						spoilt(t, d.Close())
					}
				})
			}
		}
	}
}

// Goroutines that write at once lose: no frame is sealed under a nonce that
// another has, and the message never passes for whole. Where the calls happen
// not to meet, it is whole, with all that was written.
func TestAWriterUsedByTwoGoroutines(t *testing.T) {
	t.Parallel()
	for range 20 {
		var out bytes.Buffer
		w, err := esdk.NewEncryptWriter(bg, &out, rawAES(t), &esdk.EncryptOptions{FrameLength: 16})
		require.NoError(t, err)
		var group sync.WaitGroup
		written := make([]int, 3)
		for i := range written {
			group.Go(func() {
				for range 50 {
					n, err := w.Write(text(40))
					written[i] += n
					if err != nil {
						return
					}
				}
			})
		}
		group.Wait()
		err = w.Close()
		plaintext, _, decryptErr := esdk.Decrypt(bg, out.Bytes(), rawAES(t), nil)
		if err == nil {
			require.NoError(t, decryptErr)
			require.Len(t, plaintext, written[0]+written[1]+written[2])
			require.Equal(t, 3*50*40, len(plaintext), "no call failed")
			continue
		}
		spoilt(t, err)
		require.ErrorIs(t, decryptErr, io.ErrUnexpectedEOF)
		requireUniqueFrames(t, out.Bytes())
	}
}

// requireUniqueFrames checks that the frames of a cut message follow each other.
func requireUniqueFrames(t *testing.T, message []byte) {
	t.Helper()
	r := bytes.NewReader(message)
	h, err := format.ReadHeader(r, 0)
	require.NoError(t, err)
	body := message[len(message)-r.Len():]
	for sequence := uint32(1); len(body) > 0; sequence++ {
		f, err := format.ParseFrameHeader(body, h.FrameLength)
		require.NoError(t, err)
		require.Equal(t, sequence, f.Sequence)
		body = body[min(len(body), format.FrameOverhead+int(f.Length)):]
	}
}

// A call that comes while another changes nothing any more spoils nothing.
func TestAFinishedStreamIsNotSpoilt(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := esdk.NewEncryptWriter(bg, &out, rawAES(t), nil)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 100 {
				w.Close()
			}
		})
	}
	group.Wait()
	require.NoError(t, w.Close())
}

// Streams of no constructor say so.
func TestZeroValueStreams(t *testing.T) {
	t.Parallel()
	const says = "not made by its constructor"
	var r esdk.EncryptReader
	var w esdk.EncryptWriter
	var d esdk.DecryptReader
	require.Nil(t, r.Header())
	require.Nil(t, w.Header())
	require.Nil(t, d.Header())
	for name, err := range map[string]error{
		"EncryptReader.Read":           second(r.Read(make([]byte, 1))),
		"EncryptReader.WriteTo":        second(r.WriteTo(io.Discard)),
		"EncryptWriter.Write":          second(w.Write([]byte("x"))),
		"EncryptWriter.ReadFrom":       second(w.ReadFrom(strings.NewReader("x"))),
		"EncryptWriter.Close":          w.Close(),
		"EncryptWriter.CloseWithError": w.CloseWithError(nil),
		"DecryptReader.Read":           second(d.Read(make([]byte, 1))),
		"DecryptReader.WriteTo":        second(d.WriteTo(io.Discard)),
		"DecryptReader.Close":          d.Close(),
	} {
		require.ErrorContains(t, err, says, name)
		require.True(t, strings.HasPrefix(err.Error(), "esdk: "), name)
	}
}

func second[T any](_ T, err error) error { return err }

// What a stream holds, plaintext among it, is printed by no verb and no logger.
func TestStreamsPrintNothingOfWhatTheyHold(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("plaintext ", 1000)
	message, _, err := esdk.Encrypt(bg, []byte(secret), rawAES(t), nil)
	require.NoError(t, err)
	r, err := esdk.NewEncryptReader(bg, strings.NewReader(secret), rawAES(t), nil)
	require.NoError(t, err)
	w, err := esdk.NewEncryptWriter(bg, io.Discard, rawAES(t), nil)
	require.NoError(t, err)
	_, err = w.Write([]byte("plaintext "))
	require.NoError(t, err)
	d, err := esdk.NewDecryptReader(bg, bytes.NewReader(message), rawAES(t), nil)
	require.NoError(t, err)
	for name, stream := range map[string]io.Reader{"EncryptReader": r, "DecryptReader": d} {
		_, err := stream.Read(make([]byte, 1))
		require.NoError(t, err, name)
	}
	for name, stream := range map[string]any{"EncryptReader": r, "EncryptWriter": w, "DecryptReader": d} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			require.Equal(t, "esdk."+name, fmt.Sprintf(verb, stream))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("", "stream", stream)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("", "stream", stream)
		require.Equal(t, 2, strings.Count(log.String(), "esdk."+name))
	}
}

// A manager that keeps the keys of a signature and changes them later spoils no
// message, and lets nobody else's pass.
func TestKeysOfASignatureThatAManagerChangesLater(t *testing.T) {
	t.Parallel()
	var signing *ecdsa.PrivateKey
	var verification *ecdsa.PublicKey
	m := &manager{inner: rawAES(t), encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
		signing = m.SigningKey
		return m
	}, decrypt: func(m *keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials {
		verification = m.VerificationKey
		return m
	}}
	for name, p := range map[string]keyprovider.MasterKeyProvider{"manager": m, "under a cache": newCache(t, m)} {
		for range 2 { // a miss and a hit
			var out bytes.Buffer
			w, err := esdk.NewEncryptWriter(bg, &out, p, nil)
			require.NoError(t, err, name)
			signing.D.SetInt64(1)
			require.NoError(t, w.Close(), name)
			d, err := esdk.NewDecryptReader(bg, bytes.NewReader(out.Bytes()), p, nil)
			require.NoError(t, err, name)
			verification.X.SetInt64(1)
			_, err = io.Copy(io.Discard, d)
			require.NoError(t, err, name)
		}
	}
}

// Reencryption.

// anotherAES returns a provider with another key than rawAES.
func anotherAES(t testing.TB) *keyprovider.RawAES {
	t.Helper()
	p, err := keyprovider.NewRawAES("esdk test", "another key", bytes.Repeat([]byte{8}, 32))
	require.NoError(t, err)
	return p
}

// A message of any suite becomes one of any other with the same plaintext,
// encryption context and frame length, under the new key and no more the old one.
func TestReencrypt(t *testing.T) {
	t.Parallel()
	const f = 10
	ec := map[string]string{"k": "v", "": "empty key", "ключ": "значение"}
	lengths := []int{0, 1, f - 1, f, f + 1, 2 * f, 2*f + 5}
	for i, old := range suite.All() {
		for j, id := range turn(append(suite.All(), 0), i) {
			for k, n := range turn(lengths, i+j) {
				for _, frameLength := range turn([]int64{f, 0, -1}, i+j+k) {
					plaintext := text(n)
					opts := esdk.EncryptOptions{EncryptionContext: ec, FrameLength: frameLength}
					if frameLength < 0 {
						opts.Unframed, opts.FrameLength = true, 0
					}
					message := encrypt(t, old, plaintext, opts)
					c := &esdk.Client{CommitmentPolicy: suite.RequireEncryptAllowDecrypt}
					if id != 0 && !id.Committing() {
						c.CommitmentPolicy = suite.ForbidEncryptAllowDecrypt
					}
					where := fmt.Sprintf("%v to %v, %d bytes, frame length %d", old, id, n, frameLength)

					var out bytes.Buffer
					h, err := c.Reencrypt(bg, &out, bytes.NewReader(message), rawAES(t), anotherAES(t), &esdk.ReencryptOptions{Encrypt: esdk.EncryptOptions{Suite: id}})
					require.NoError(t, err, where)
					want := id
					if id == 0 {
						want = suite.AES256GCMHKDFSHA512CommitKeyECDSAP384
					}
					length := uint32(esdk.DefaultFrameLength)
					if frameLength > 0 {
						length = uint32(frameLength)
					}
					checkMessage(t, out.Bytes(), want, n, length)
					got, read, err := c.Decrypt(bg, out.Bytes(), anotherAES(t), nil)
					require.NoError(t, err, where)
					require.Equal(t, plaintext, got, where)
					require.Equal(t, ec, read.UserContext(), where)
					require.Equal(t, read.EncryptionContext, h.EncryptionContext, where)
					require.NotEqual(t, h.MessageID[:8], byhand.Read(t, message).Header.MessageID[:8], where)
					require.Nil(t, h.OpenedBy)
					_, _, err = c.Decrypt(bg, out.Bytes(), rawAES(t), nil)
					require.ErrorIs(t, err, keyprovider.ErrNoMatch, where)
				}
			}
		}
	}
}

// A long message is the same through any number of goroutines, from sources that
// are fast and slow, and with any two frame lengths.
func TestReencryptConcurrency(t *testing.T) {
	t.Parallel()
	plaintext := text(1_500_005)
	for i, old := range parallelSuites {
		for j, from := range []int64{1000, 4096, 100_000, 1 << 20, 4 << 20} {
			message := encrypt(t, old, plaintext, esdk.EncryptOptions{FrameLength: from})
			for k, id := range parallelSuites {
				for l, to := range turn([]int64{0, 1000, 64 << 10, 1 << 20, 4 << 20}, i+j+k) {
					for m, workers := range turn([]int{1, 2, 3, 8}, j+k+l) {
						where := fmt.Sprintf("%v to %v, frames of %d to %d, %d goroutines", old, id, from, to, workers)
						source := []func(io.Reader) io.Reader{asIs, iotest.HalfReader, iotest.DataErrReader}[(i+j+k+l+m)%3]
						c := &esdk.Client{Concurrency: workers}
						var out bytes.Buffer
						_, err := c.Reencrypt(bg, &out, source(bytes.NewReader(message)), rawAES(t), anotherAES(t),
							&esdk.ReencryptOptions{Encrypt: esdk.EncryptOptions{Suite: id, FrameLength: to}})
						require.NoError(t, err, where)
						got, h, err := esdk.Decrypt(bg, out.Bytes(), anotherAES(t), nil)
						require.NoError(t, err, where)
						require.True(t, bytes.Equal(plaintext, got), where)
						if to == 0 {
							to = from
						}
						require.EqualValues(t, to, h.FrameLength, where)
					}
				}
			}
		}
	}
}

// Several keys can open the new message, and the limit of encrypted data keys
// holds for both messages.
func TestReencryptToSeveralKeys(t *testing.T) {
	t.Parallel()
	both, err := keyprovider.Multi(rawAES(t), anotherAES(t))
	require.NoError(t, err)
	one := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(10), esdk.EncryptOptions{})
	var two bytes.Buffer
	_, err = esdk.Reencrypt(bg, &two, bytes.NewReader(one), rawAES(t), both, nil)
	require.NoError(t, err)
	for _, p := range []keyprovider.MasterKeyProvider{rawAES(t), anotherAES(t), both} {
		plaintext, _, err := esdk.Decrypt(bg, two.Bytes(), p, nil)
		require.NoError(t, err)
		require.Equal(t, text(10), plaintext)
	}

	c := &esdk.Client{MaxEncryptedDataKeys: 1}
	var out bytes.Buffer
	_, err = c.Reencrypt(bg, &out, bytes.NewReader(one), rawAES(t), both, nil)
	require.ErrorIs(t, err, esdk.ErrTooManyDataKeys)
	_, err = c.Reencrypt(bg, &out, bytes.NewReader(two.Bytes()), both, failing{errBroken}, nil)
	require.ErrorIs(t, err, esdk.ErrTooManyDataKeys)
	require.Zero(t, out.Len())
}

// What cannot work is refused before anything is written, and what the old
// message must satisfy before a new data key is asked for.
func TestReencryptRefuses(t *testing.T) {
	t.Parallel()
	signed := encrypt(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, text(25), esdk.EncryptOptions{FrameLength: 10})
	old := encrypt(t, suite.AES256GCM, text(25), esdk.EncryptOptions{FrameLength: 10})
	done, cancel := context.WithCancel(bg)
	cancel()
	type opts = esdk.ReencryptOptions
	for name, test := range map[string]struct {
		ctx      context.Context
		message  []byte
		from, to keyprovider.MasterKeyProvider
		opts     opts
		want     error
		says     string
	}{
		"no ctx":             {nil, signed, rawAES(t), failing{}, opts{}, nil, "nil context.Context"},
		"ctx is done":        {done, signed, rawAES(t), failing{}, opts{}, context.Canceled, ""},
		"no from":            {bg, signed, nil, failing{}, opts{}, nil, "nil MasterKeyProvider to decrypt with"},
		"no to":              {bg, signed, rawAES(t), nil, opts{}, nil, "nil MasterKeyProvider to encrypt with"},
		"encryption context": {bg, signed, failing{}, failing{}, opts{Encrypt: esdk.EncryptOptions{EncryptionContext: map[string]string{"k": "v"}}}, esdk.ErrEncryptionContext, "that of the old one"},
		"from fails":         {bg, signed, failing{errBroken}, failing{}, opts{}, errBroken, ""},
		"another key":        {bg, signed, anotherAES(t), failing{}, opts{}, keyprovider.ErrNoMatch, ""},
		"to fails":           {bg, signed, rawAES(t), failing{errBroken}, opts{}, errBroken, ""},
		"no commitment":      {bg, old, rawAES(t), failing{}, opts{}, esdk.ErrCommitmentPolicy, ""},
		"suite":              {bg, signed, rawAES(t), failing{}, opts{Encrypt: esdk.EncryptOptions{Suite: suite.AES256GCM}}, esdk.ErrCommitmentPolicy, ""},
		"unframed":           {bg, signed, rawAES(t), failing{}, opts{Encrypt: esdk.EncryptOptions{Unframed: true}}, nil, "a stream cannot be written unframed"},
		"frame length":       {bg, signed, rawAES(t), failing{}, opts{Encrypt: esdk.EncryptOptions{FrameLength: -1}}, nil, "frame length -1"},
		"signed":             {bg, signed, rawAES(t), failing{}, opts{Decrypt: esdk.DecryptOptions{Signature: esdk.RejectSigned}}, esdk.ErrSignedMessage, ""},
		"ignored signature":  {bg, signed, rawAES(t), failing{}, opts{Decrypt: esdk.DecryptOptions{Signature: esdk.IgnoreSignature}}, nil, "IgnoreSignature"},
		"long frames":        {bg, signed, rawAES(t), failing{}, opts{Decrypt: esdk.DecryptOptions{MaxFrameLength: 9}}, esdk.ErrFrameTooLong, ""},
		"another context":    {bg, signed, rawAES(t), failing{}, opts{Decrypt: esdk.DecryptOptions{EncryptionContext: map[string]string{"k": "v"}}}, esdk.ErrEncryptionContext, ""},
		"required key":       {bg, signed, rawAES(t), failing{}, opts{Encrypt: esdk.EncryptOptions{RequiredContextKeys: []string{"k"}}}, esdk.ErrEncryptionContext, "the required key \"k\" is missing"},
		"no message":         {bg, []byte("no message"), rawAES(t), failing{}, opts{}, format.ErrMalformed, ""},
	} {
		var out bytes.Buffer
		h, err := esdk.Reencrypt(test.ctx, &out, bytes.NewReader(test.message), test.from, test.to, &test.opts)
		require.Error(t, err, name)
		require.Regexp(t, "^esdk: ", err.Error(), name)
		require.NotContains(t, err.Error()[1:], "esdk: ", name)
		require.ErrorContains(t, err, test.says, name)
		if test.want != nil {
			require.ErrorIs(t, err, test.want, name)
		}
		require.Nil(t, h, name)
		require.Zero(t, out.Len(), name)
	}

	var out bytes.Buffer
	_, err := esdk.Reencrypt(bg, &out, bytes.NewReader(signed), rawAES(t), anotherAES(t), &opts{Encrypt: esdk.EncryptOptions{MaxPlaintextLength: 24}})
	require.ErrorIs(t, err, esdk.ErrPlaintextTooLong)
	require.NotContains(t, err.Error(), "write", "it is not dst's")
	_, _, err = esdk.Decrypt(bg, out.Bytes(), anotherAES(t), nil)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// The caller's slice of required keys stays as it is, also behind its end.
func TestReencryptDoesNotWriteToItsOptions(t *testing.T) {
	t.Parallel()
	ec := map[string]string{"a": "1", "b": "2"}
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(10), esdk.EncryptOptions{EncryptionContext: ec, RequiredContextKeys: []string{"b"}})
	keys := []string{"a", "behind the end"}
	opts := &esdk.ReencryptOptions{Decrypt: esdk.DecryptOptions{EncryptionContext: map[string]string{"b": "2"}}, Encrypt: esdk.EncryptOptions{RequiredContextKeys: keys[:1]}}
	var out bytes.Buffer
	_, err := esdk.Reencrypt(bg, &out, bytes.NewReader(message), rawAES(t), anotherAES(t), opts)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "behind the end"}, keys)
	require.Nil(t, opts.Encrypt.EncryptionContext)
	stored, err := format.ReadHeader(&out, 0)
	require.NoError(t, err)
	require.Empty(t, stored.UserContext())
}

// ctx governs the calls to the providers and not what is read afterwards.
func TestReencryptNeedsTheContextForKeysOnly(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	to := &manager{inner: anotherAES(t), encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
		cancel()
		return m
	}}
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(10), esdk.EncryptOptions{})
	_, err := esdk.Reencrypt(ctx, io.Discard, bytes.NewReader(message), rawAES(t), to, nil)
	require.NoError(t, err)
	require.Error(t, ctx.Err())
}

// Whatever source or destination do, what was written never passes for a whole
// message unless there is no error.
func TestReencryptSourceOrDestinationFails(t *testing.T) {
	for s, id := range parallelSuites {
		t.Run(id.String(), func(t *testing.T) {
			t.Parallel()
			message := encrypt(t, id, text(45), esdk.EncryptOptions{FrameLength: 10})
			opts := &esdk.ReencryptOptions{Encrypt: esdk.EncryptOptions{Suite: id}}
			reencrypt := func(dst io.Writer, src io.Reader) (err error) {
				defer func() {
					if p := recover(); p != nil {
						err = p.(error)
					}
				}()
				h, err := esdk.Reencrypt(bg, dst, src, rawAES(t), rawAES(t), opts)
				require.Equal(t, err == nil, h != nil)
				return err
			}
			cutShort := func(i int, message []byte) {
				for _, d := range turn(fewDecryptors, i) {
					_, err := d.run(clientFor(id), message, rawAES(t), nil)
					require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%s, %d", d.name, i)
				}
			}
			var whole bytes.Buffer
			require.NoError(t, reencrypt(&whole, bytes.NewReader(message)))
			for n := range whole.Len() {
				for i, fault := range turn([]struct {
					err    error
					says   string
					panics bool
				}{
					{errBroken, "esdk: write: broken", false},
					{nil, "esdk: write: short write", false},
					{io.EOF, "esdk: write: EOF", false},
					{errBroken, "broken", true},
				}, s+n) {
					out := &limitedWriter{n: n, err: fault.err}
					err := reencrypt(writerFunc(func(p []byte) (int, error) {
						k, err := out.Write(p)
						if k < len(p) && fault.panics {
							panic(err)
						}
						return k, err
					}), bytes.NewReader(message))
					require.EqualError(t, err, fault.says)
					require.NotErrorIs(t, err, io.EOF, "it must not pass for the end")
					require.Equal(t, n, out.Len())
					cutShort(n+i, out.Bytes())
				}
			}
			for n := range message {
				for i, source := range turn([]io.Reader{
					breakingAfter(message[:n]),
					io.MultiReader(bytes.NewReader(message[:n]), readerFunc(func([]byte) (int, error) { panic(errBroken) })),
					io.MultiReader(bytes.NewReader(message[:n]), readerFunc(func([]byte) (int, error) { return 0, fmt.Errorf("%w and %w", errBroken, io.EOF) })),
				}, s+n) {
					var out bytes.Buffer
					err := reencrypt(&out, source)
					require.Error(t, err)
					require.NotErrorIs(t, err, io.EOF)
					require.ErrorContains(t, err, "broken")
					cutShort(n+i, out.Bytes())
				}
			}
		})
	}
}
