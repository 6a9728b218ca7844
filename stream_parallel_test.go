package esdk_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

var parallelSuites = []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384}

// workersAt returns the stacks of all goroutines, and whether one of them works
// on frames.
func workersAt(buf []byte) (all string, working bool) {
	all = string(buf[:runtime.Stack(buf, true)])
	return all, strings.Contains(all, "esdk/internal/frame.(*Pipeline).hire.func")
}

// noWorkers checks that no goroutine works on frames any more.
func noWorkers(t *testing.T, after string) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for wait := time.Microsecond; ; wait *= 2 { // one that is done takes a moment to be gone
		all, working := workersAt(buf)
		if !working {
			return
		}
		require.Less(t, wait, time.Second, "%s:\n%s", after, all)
		time.Sleep(wait)
	}
}

// noWorkers sees the goroutines that it looks for while there are some.
func TestNoWorkersSeesWorkers(t *testing.T) {
	buf := make([]byte, 1<<20)
	for _, id := range parallelSuites {
		seen := false
		w, err := (&esdk.Client{Concurrency: 3}).NewEncryptWriter(bg, writerFunc(func(p []byte) (int, error) {
			for wait := time.Microsecond; len(p) >= 64<<10 && !seen && wait < time.Second; wait *= 2 { // they take a moment to start
				time.Sleep(wait)
				_, seen = workersAt(buf)
			}
			return len(p), nil
		}), rawAES(t), &esdk.EncryptOptions{Suite: id})
		require.NoError(t, err)
		_, err = w.Write(text(3 << 20))
		require.NoError(t, err)
		require.True(t, seen, "%v", id)
		noWorkers(t, "Write")
	}
}

// A reader or writer that ends its goroutine, as t.FailNow does, leaves no others
// behind, and a stream that is of no use.
func TestGoexitIsSticky(t *testing.T) {
	const size = 3 << 20
	for _, id := range parallelSuites {
		opts := &esdk.EncryptOptions{Suite: id}
		message := encrypt(t, id, text(size), *opts)
		for _, workers := range []int{1, 2, 8} {
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
			}
		}
	}
}

// No goroutine outlives the call that started it, whatever ends the call, and a
// panic of the caller's reader or writer reaches the caller.
func TestNoGoroutineOutlivesTheCall(t *testing.T) {
	const size = 3 << 19
	plaintext := text(size)
	for _, id := range parallelSuites {
		for _, frameLength := range []int64{4096, 300_000} {
			message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: frameLength})
			altered := slices.Clone(message)
			altered[size*2/3] ^= 1
			for name, of := range map[string]struct {
				source func(r io.Reader) io.Reader
				sink   func() io.Writer
				fails  bool
			}{
				"nothing":      {asIs, func() io.Writer { return io.Discard }, false},
				"source error": {func(r io.Reader) io.Reader { return breakingWithDataAfter(r, size/2) }, func() io.Writer { return io.Discard }, true},
				"sink error":   {asIs, func() io.Writer { return &limitedWriter{n: size / 2, err: errBroken} }, true},
				"short write":  {asIs, func() io.Writer { return &limitedWriter{n: size / 2} }, true},
				"source panic": {func(r io.Reader) io.Reader { return &panicking{r: r, left: size / 2} }, func() io.Writer { return io.Discard }, true},
				"sink panic":   {asIs, func() io.Writer { return &panicking{left: size / 2} }, true},
			} {
				for _, workers := range []int{2, 3, 8} {
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
						"DecryptReader.WriteTo, altered": func() error {
							d, err := c.NewDecryptReader(bg, of.source(bytes.NewReader(altered)), rawAES(t), nil)
							require.NoError(t, err)
							n, err := d.WriteTo(of.sink())
							require.Less(t, n, int64(size))
							require.Error(t, err)
							return err
						},
					} {
						where := fmt.Sprintf("%v, frames of %d, %s, %d goroutines, %s", id, frameLength, name, workers, call)
						var err error
						func() {
							defer func() {
								if p := recover(); p != nil {
									err = p.(error)
								}
							}()
							err = f()
						}()
						source := strings.HasPrefix(name, "source") && call == "EncryptWriter.Write" // it has none
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

// The same plaintext is given out before an error, through Read and WriteTo,
// with any number of goroutines, wherever the frame is that fails.
func TestSamePlaintextBeforeAnError(t *testing.T) {
	for _, id := range parallelSuites {
		for _, of := range []struct{ frameLength, frames int }{{4096, 150}, {100_000, 12}} {
			plaintext := text(of.frameLength*of.frames + 5)
			message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: int64(of.frameLength)})
			for i, at := range layoutOf(t, message).frames {
				if place := i % 31; of.frames > 31 && place != 0 && place != 1 && place != 15 && place != 30 && i < of.frames-1 {
					continue // a goroutine works on 31 of them: both ends and the middle do
				}
				for kind, alter := range map[string]func(m []byte) []byte{
					"tag":      func(m []byte) []byte { m[at+30] ^= 1; return m },
					"sequence": func(m []byte) []byte { m[at+3] ^= 1; return m },
					"cut":      func(m []byte) []byte { return m[:at+20] },
				} {
					altered := alter(slices.Clone(message))
					var first error
					for _, workers := range []int{1, 2, 5} {
						for _, d := range []decryptor{
							reader("Read", asIs, 10_000), reader("large Read", asIs, 1<<20), writerTo("WriteTo", asIs),
							writerTo("WriteTo from short reads", func(r io.Reader) io.Reader { return &atMost{r, 5000} }),
						} {
							where := fmt.Sprintf("%s, frame %d, %s, %d goroutines", kind, i, d.name, workers)
							released, err := d.run(&esdk.Client{Concurrency: workers}, altered, rawAES(t), nil)
							require.Error(t, err, where)
							require.Equal(t, i*of.frameLength, len(released), where)
							require.True(t, bytes.Equal(plaintext[:len(released)], released), where)
							if first == nil {
								first = err
							}
							require.Equal(t, first.Error(), err.Error(), where)
						}
					}
				}
			}
		}
	}
}

// atMost gives at most n bytes at once.
type atMost struct {
	r io.Reader
	n int
}

func (a *atMost) Read(p []byte) (int, error) { return a.r.Read(p[:min(len(p), a.n)]) }

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
	frames := []int{1, 2, 15, 16, 30, 31, 1, 120, 60, 15, 1, 200, 15, 15, 15, 45, 16, 7}
	const length = 4096
	total := 0
	for _, n := range frames {
		total += n
	}
	plaintext := text(total * length)
	for _, id := range parallelSuites {
		message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: length})
		head, _, _ := bytes.Cut(message, message[layoutBody(t, message):])
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
