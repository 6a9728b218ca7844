package esdk_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
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
	"github.com/esdk-go/esdk/internal/test/reseal"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

type readerAtFunc func(p []byte, off int64) (int, error)

func (f readerAtFunc) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

// A counted source notes what it was asked for.
type counted struct {
	r     io.ReaderAt
	mu    sync.Mutex
	calls [][2]int64 // offset and length of each call
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	c.calls = append(c.calls, [2]int64{off, int64(len(p))})
	c.mu.Unlock()
	return c.r.ReadAt(p, off)
}

// bytes returns how many bytes were asked for, and forgets the calls.
func (c *counted) take() (calls [][2]int64, bytes int64) {
	for _, call := range c.calls {
		bytes += call[1]
	}
	calls, c.calls = c.calls, nil
	return calls, bytes
}

// signaturePolicies are those under which a good message, signed or not, is read.
var signaturePolicies = []esdk.SignaturePolicy{esdk.VerifySignature, esdk.IgnoreSignature}

// openAt opens a message for random access.
func openAt(t testing.TB, message []byte, opts *esdk.DecryptOptions) *esdk.DecryptReaderAt {
	t.Helper()
	d, err := allowAll.NewDecryptReaderAt(bg, bytes.NewReader(message), int64(len(message)), rawAES(t), opts)
	require.NoError(t, err)
	return d
}

// requireRange checks that a read gives what it should.
func requireRange(t testing.TB, d *esdk.DecryptReaderAt, plaintext []byte, off, length int) {
	t.Helper()
	p := bytes.Repeat([]byte{0xEE}, length)
	n, err := d.ReadAt(p, int64(off))
	want := plaintext[off:min(off+length, len(plaintext))]
	if n != len(want) || !bytes.Equal(want, p[:n]) {
		t.Fatalf("%d bytes at %d: got %d, %.20x, want %d, %.20x (%v)", length, off, n, p[:n], len(want), want, err)
	}
	if n < length {
		require.Equal(t, io.EOF, err, "%d bytes at %d", length, off)
	} else if err != nil && !(err == io.EOF && off+length == len(plaintext)) {
		t.Fatalf("%d bytes at %d: %v", length, off, err)
	}
}

// Every range of small messages of every suite can be read: whatever the frame
// length, and whether the last frame is empty, partly full or, as others write it,
// full. Some are as .NET 4.0.0 wrote them.
func TestReadAtEveryRange(t *testing.T) {
	for s, id := range suite.All() {
		t.Run(id.String(), func(t *testing.T) {
			t.Parallel()
			key := dataKey(bytes.Repeat([]byte{3}, id.KeySize()))
			for i, frames := range [][]string{
				{""}, {"a"}, {"abcdefg"}, {"abcdefg", ""}, {"abcdefg", "h"}, {"abcdefg", "hijklmn"},
				{"abcdefg", "hijklmn", ""}, {"abcdefg", "hijklmn", "opq"}, {"abcdefg", "hijklmn", "opqrstu"},
			} {
				for j, f := range []int{7, 1} {
					if f == 1 { // the same text
						frames = append(strings.Split(strings.Join(frames, ""), ""), "")[:max(1, len(strings.Join(frames, ""))+i%2)]
					}
					message := byhand.Writing{Suite: uint16(id), DataKey: key, FrameLength: f, Frames: frames, IV: byhand.SequenceIV,
						NET400: i%2 == 1}.Message(t)
					plaintext := []byte(strings.Join(frames, ""))
					for _, policy := range turn(signaturePolicies, s+i+j) {
						d, err := allowAll.NewDecryptReaderAt(bg, bytes.NewReader(message), int64(len(message)), key, &esdk.DecryptOptions{Signature: policy})
						require.NoError(t, err, "%q", frames)
						require.EqualValues(t, len(plaintext), d.Size())
						require.Equal(t, id, d.Header().Suite)
						for off := range len(plaintext) + 1 {
							for length := range len(plaintext) - off + 3 {
								requireRange(t, d, plaintext, off, length)
							}
						}
					}
				}
			}
		})
	}
}

// Large ranges can be read with any number of goroutines: those that take several
// calls of the source, or have a frame longer than such a call.
func TestReadAtLargeRanges(t *testing.T) {
	for i, frameLength := range []int64{1000, 4096, 64 << 10, 1 << 20, 5 << 20} {
		for j, workers := range turn([]int{1, 2, 7}, i) {
			t.Run(fmt.Sprintf("%d/%d", frameLength, workers), func(t *testing.T) {
				t.Parallel()
				plaintext := text(8<<20 + 77)
				id := parallelSuites[(i+j)%2]
				message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: frameLength})
				c := &esdk.Client{Concurrency: workers}
				d, err := c.NewDecryptReaderAt(bg, bytes.NewReader(message), int64(len(message)), rawAES(t), nil)
				require.NoError(t, err)
				requireRange(t, d, plaintext, 0, len(plaintext))
				requireRange(t, d, plaintext, 0, len(plaintext)+1)
				random := rand.New(rand.NewPCG(1, 2))
				for i := range 20 {
					off := random.IntN(len(plaintext))
					if i < 5 {
						requireRange(t, d, plaintext, off, random.IntN(len(plaintext)))
					}
					requireRange(t, d, plaintext, off, random.IntN(3*int(min(frameLength, 1<<20))))
				}
			})
		}
	}
}

// What package iotest checks of an io.ReaderAt holds.
func TestReadAtAsAFile(t *testing.T) {
	for _, n := range []int{0, 1, 9, 10, 11, 1234} {
		for _, id := range parallelSuites {
			plaintext := text(n)
			d := openAt(t, encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: 10}), nil)
			require.NoError(t, iotest.TestReader(io.NewSectionReader(d, 0, d.Size()), plaintext))
		}
	}
}

// Offsets that are no place in the plaintext, and reads of nothing.
func TestReadAtTheEdges(t *testing.T) {
	plaintext := text(25)
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, plaintext, esdk.EncryptOptions{FrameLength: 10})
	source := &counted{r: bytes.NewReader(message)}
	d, err := esdk.NewDecryptReaderAt(bg, source, int64(len(message)), rawAES(t), nil)
	require.NoError(t, err)
	source.take()
	p := bytes.Repeat([]byte{1}, 5)
	for _, off := range []int64{-1, math.MinInt64, 26, 1 << 33, math.MaxInt64} {
		for _, p := range [][]byte{nil, p} {
			n, err := d.ReadAt(p, off)
			require.Zero(t, n)
			require.EqualError(t, err, fmt.Sprintf("esdk: offset %d in a plaintext of 25 bytes", off))
		}
		require.Equal(t, make([]byte, 5), p)
	}
	for _, off := range []int64{0, 9, 10, 24, 25} {
		for _, p := range [][]byte{nil, {}} {
			n, err := d.ReadAt(p, off)
			require.NoError(t, err)
			require.Zero(t, n)
		}
	}
	n, err := d.ReadAt(p, 25)
	require.Zero(t, n)
	require.Equal(t, io.EOF, err)
	require.Empty(t, source.calls)

	var zero esdk.DecryptReaderAt
	for _, p := range [][]byte{nil, p} {
		n, err = zero.ReadAt(p, 0)
		require.Zero(t, n)
		require.EqualError(t, err, "esdk: the DecryptReaderAt was not made by its constructor")
	}
	require.Zero(t, zero.Size())
	require.Nil(t, zero.Header())
}

// The source is asked for the header and the end, in one call each, and by ReadAt
// for the frames of its range, all within what Header.MessageRange says.
func TestReadAtReadsWhatItNeeds(t *testing.T) {
	t.Parallel()
	for frameLength, size := range map[int64]int64{4096: 64 << 20, 16 << 10: 16 << 20} {
		if math.MaxInt == math.MaxInt32 { // AES is slow there
			size = 9 << 20
		}
		message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, make([]byte, size), esdk.EncryptOptions{FrameLength: frameLength})
		source := &counted{r: bytes.NewReader(message)}
		d, err := esdk.NewDecryptReaderAt(bg, source, int64(len(message)), rawAES(t), &esdk.DecryptOptions{Signature: esdk.IgnoreSignature})
		require.NoError(t, err)
		require.Len(t, source.calls, 2)
		_, err = d.ReadAt(make([]byte, 100), size/7)
		require.NoError(t, err)
		calls, read := source.take()
		require.Len(t, calls, 3)
		require.Less(t, read, int64(64<<10))

		for _, of := range []struct{ off, length, calls int64 }{
			{0, 1, 1}, {0, size, (size+size/64)/(7<<19-frameLength) + 1}, {1, frameLength, 1}, {frameLength, frameLength, 1}, {size - 1, 1, 1}, {size - 100, 100, 1},
			{size / 2, 3 << 19, 1}, {size/2 - 1, 3<<20 + 2, 1}, {size - 7<<20, 7 << 20, 3},
		} {
			source.take()
			_, err = d.ReadAt(make([]byte, of.length), of.off)
			require.NoError(t, err)
			start, end, err := d.Header().MessageRange(of.off, of.length)
			require.NoError(t, err)
			calls, _ := source.take()
			require.LessOrEqual(t, int64(len(calls)), of.calls, "%+v", of)
			at := start
			for _, call := range calls {
				require.LessOrEqual(t, at, call[0], "%+v", of) // equal but for a frame that was kept
				at = call[0] + call[1]
			}
			require.LessOrEqual(t, at, end, "%+v", of)
			require.LessOrEqual(t, at, int64(len(message)))
		}
	}
}

// A message of up to 4 KiB takes one call, and a header of any size few.
func TestOpeningTakesFewCalls(t *testing.T) {
	for _, of := range []struct{ context, plaintext, calls int }{
		{0, 100, 1}, {0, 3000, 1}, {0, 10_000, 2}, {3000, 100, 1}, {5000, 10_000, 3}, {60_000, 10_000, 6},
	} {
		ec := map[string]string{"k": strings.Repeat("v", of.context)}
		for _, id := range parallelSuites {
			message := encrypt(t, id, text(of.plaintext), esdk.EncryptOptions{EncryptionContext: ec})
			source := &counted{r: bytes.NewReader(message)}
			d, err := esdk.NewDecryptReaderAt(bg, source, int64(len(message)), rawAES(t), &esdk.DecryptOptions{Signature: esdk.IgnoreSignature})
			require.NoError(t, err)
			require.LessOrEqual(t, len(source.calls), of.calls, "%+v", of)
			require.Equal(t, ec["k"], d.Header().EncryptionContext["k"])
			requireRange(t, d, text(of.plaintext), 0, of.plaintext)
		}
	}
}

// VerifySignature reads each byte between header and end once.
func TestVerifyingReadsTheMessageOnce(t *testing.T) {
	plaintext := text(9 << 20)
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, plaintext, esdk.EncryptOptions{})
	header, err := format.ReadHeader(bytes.NewReader(message), 0)
	require.NoError(t, err)
	raw, err := header.AppendBinary(nil)
	require.NoError(t, err)
	for _, workers := range []int{1, 2} {
		source := &counted{r: bytes.NewReader(message)}
		_, err := (&esdk.Client{Concurrency: workers}).NewDecryptReaderAt(bg, source, int64(len(message)), rawAES(t), nil)
		require.NoError(t, err)
		calls := source.calls
		end, at := calls[1], int64(len(raw))
		require.EqualValues(t, len(message), end[0]+end[1])
		require.LessOrEqual(t, len(calls), 2+6)
		for _, call := range calls[2:] {
			require.Equal(t, at, call[0])
			require.LessOrEqual(t, call[1], int64(7<<19))
			at += call[1]
		}
		require.Equal(t, end[0], at)
	}
}

// Small reads in a row read each frame once, and so do those of several callers who
// have each their own place.
func TestSmallReadsOpenAFrameOnce(t *testing.T) {
	const frames, frameLength, step = 8, 100, 7
	plaintext := text(frames * frameLength * 4)
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, plaintext, esdk.EncryptOptions{FrameLength: frameLength})
	source := &counted{r: bytes.NewReader(message)}
	d, err := esdk.NewDecryptReaderAt(bg, source, int64(len(message)), rawAES(t), nil)
	require.NoError(t, err)
	source.take()
	for off := 0; off < frames*frameLength; off += step {
		requireRange(t, d, plaintext, off, min(step, frames*frameLength-off))
	}
	require.Len(t, source.calls, frames)
	source.take()
	// Backwards, from the middle of frames.
	for off := frames*frameLength - 1; off >= 0; off -= step {
		requireRange(t, d, plaintext, off, 1)
	}
	require.LessOrEqual(t, len(source.calls), frames)

	// A call during another leaves a frame of its own.
	inside := func() {}
	d, err = esdk.NewDecryptReaderAt(bg, readerAtFunc(func(p []byte, off int64) (int, error) {
		inside()
		return source.ReadAt(p, off)
	}), int64(len(message)), rawAES(t), nil)
	require.NoError(t, err)
	inside = func() {
		inside = func() {}
		requireRange(t, d, plaintext, 10*frameLength, step)
	}
	requireRange(t, d, plaintext, 2*frameLength, step)
	source.take()
	for i := range frameLength / step {
		requireRange(t, d, plaintext, 10*frameLength+i*step, step)
		requireRange(t, d, plaintext, 2*frameLength+i*step, step)
	}
	require.Empty(t, source.calls)
}

// Reads that go on at the same time have a frame each, and the last 16 of these are
// kept, so that each of 16 goroutines can read its own part in small pieces.
func TestReadAtKeepsAFrameForEachOfSixteen(t *testing.T) {
	const frameLength, atOnce, kept = 4096, 20, 16
	plaintext := text((atOnce + 5) * frameLength)
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, plaintext, esdk.EncryptOptions{FrameLength: frameLength})
	calls, inside := 0, atOnce // how many reads are under way, one inside the source of the other
	var d *esdk.DecryptReaderAt
	d, err := esdk.NewDecryptReaderAt(bg, readerAtFunc(func(p []byte, off int64) (int, error) {
		calls++
		if inside++; inside < atOnce {
			requireRange(t, d, plaintext, inside*frameLength, 1)
		}
		return bytes.NewReader(message).ReadAt(p, off)
	}), int64(len(message)), rawAES(t), nil)
	require.NoError(t, err)
	inside = 0
	requireRange(t, d, plaintext, 0, 1)
	calls = 0
	for range 60 { // more reads than there is memory for frames
		for i := range kept {
			requireRange(t, d, plaintext, i*frameLength+5, 2)
		}
	}
	require.Zero(t, calls)
	for i := kept; i < atOnce; i++ {
		requireRange(t, d, plaintext, i*frameLength+5, 2)
	}
	require.Equal(t, atOnce-kept, calls)
}

// Hostile and careless sources give errors that say what happened. What stands
// before the place that could not be read is given out, the rest of p is zero, and
// the next read succeeds.
func TestReadAtOfBadSources(t *testing.T) {
	plaintext := text(95)
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, plaintext, esdk.EncryptOptions{FrameLength: 10})
	good := bytes.NewReader(message)
	// Reads of the frames from 2 to 5 that fail, after as many bytes as cut says.
	for name, of := range map[string]struct {
		source func(p []byte, off int64, cut int) (int, error)
		is     error
		says   string
		none   bool // no byte of the source is used
	}{
		"EOF": {func(p []byte, off int64, cut int) (int, error) {
			n, _ := good.ReadAt(p[:cut], off)
			return n, io.EOF
		}, io.ErrUnexpectedEOF, "before the end of the message", false},
		"an error that wraps EOF": {func(p []byte, off int64, cut int) (int, error) {
			n, _ := good.ReadAt(p[:cut], off)
			return n, fmt.Errorf("the line is dead: %w", io.EOF)
		}, io.ErrUnexpectedEOF, "the line is dead", false},
		"an error": {func(p []byte, off int64, cut int) (int, error) {
			n, _ := good.ReadAt(p[:cut], off)
			return n, errBroken
		}, errBroken, "read: broken", false},
		"short without an error": {func(p []byte, off int64, cut int) (int, error) {
			return good.ReadAt(p[:cut], off)
		}, nil, "and no error", false},
		"too many": {func(p []byte, off int64, cut int) (int, error) {
			good.ReadAt(p, off)
			return len(p) + 1, nil
		}, nil, "count of", true},
		"too many and an error": {func(p []byte, off int64, cut int) (int, error) {
			return math.MaxInt, io.EOF
		}, nil, "count of", true},
		"fewer than none": {func(p []byte, off int64, cut int) (int, error) {
			good.ReadAt(p, off)
			return -1, nil
		}, nil, "count of -1", true},
		"fewer than none and EOF": {func(p []byte, off int64, cut int) (int, error) {
			return math.MinInt, io.EOF
		}, nil, "count of", true},
	} {
		for cut := range 4 * 42 {
			failing := false
			d, err := esdk.NewDecryptReaderAt(bg, readerAtFunc(func(p []byte, off int64) (int, error) {
				if failing {
					return of.source(p, off, cut)
				}
				return good.ReadAt(p, off)
			}), int64(len(message)), rawAES(t), nil)
			require.NoError(t, err)
			for _, from := range []int{20, 23} {
				p := bytes.Repeat([]byte{0xEE}, 57-from)
				whole := cut / 42
				if of.none {
					whole = 0
				}
				want := max(0, whole*10-(from-20))
				for range 2 { // errors of the same read are the same
					failing = true
					n, err := d.ReadAt(p, int64(from))
					failing = false
					require.Error(t, err, name)
					require.False(t, errors.Is(err, io.EOF), "%s: %v", name, err)
					require.Regexp(t, "^esdk: ", err.Error())
					require.ErrorContains(t, err, of.says, name)
					if of.is != nil {
						require.ErrorIs(t, err, of.is, name)
					}
					require.Equal(t, want, n, "%s, cut at %d", name, cut)
					require.Equal(t, plaintext[from:from+n], p[:n], name)
					require.Equal(t, make([]byte, len(p)-n), p[n:], name)
				}
				requireRange(t, d, plaintext, from, len(p))
			}
			// The constructor fails in the same way.
			failing = true
			_, err = esdk.NewDecryptReaderAt(bg, readerAtFunc(func(p []byte, off int64) (int, error) {
				return of.source(p, off, min(cut, len(p)-1))
			}), int64(len(message)), rawAES(t), nil)
			require.ErrorContains(t, err, of.says, name)
			require.False(t, errors.Is(err, io.EOF), "%s: %v", name, err)
		}
	}
}

// A source may return io.EOF, or any other error, with all that it was asked for.
func TestReadAtOfFullReadsWithAnError(t *testing.T) {
	plaintext := text(95)
	for _, of := range []error{io.EOF, errBroken, fmt.Errorf("%w", io.EOF)} {
		for _, id := range parallelSuites {
			message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: 10})
			d, err := esdk.NewDecryptReaderAt(bg, readerAtFunc(func(p []byte, off int64) (int, error) {
				n, _ := bytes.NewReader(message).ReadAt(p, off)
				return n, of
			}), int64(len(message)), rawAES(t), nil)
			require.NoError(t, err)
			for off := range plaintext {
				requireRange(t, d, plaintext, off, 30)
			}
		}
	}
}

// A panic of the source, and the end of its goroutine, are the caller's. Neither
// leaves a goroutine or a lock behind.
func TestReadAtOfSourcesThatDoNotReturn(t *testing.T) {
	plaintext := text(9 << 20)
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, plaintext, esdk.EncryptOptions{})
	calls, at := 0, -1
	leave := func() { panic(errBroken) }
	source := readerAtFunc(func(p []byte, off int64) (int, error) {
		if calls++; calls == at {
			leave()
		}
		return bytes.NewReader(message).ReadAt(p, off)
	})
	c := &esdk.Client{Concurrency: 4}
	open := func() (*esdk.DecryptReaderAt, error) {
		return c.NewDecryptReaderAt(bg, source, int64(len(message)), rawAES(t), nil)
	}
	for at = range 6 {
		calls = -1
		require.PanicsWithError(t, errBroken.Error(), func() { open() })
	}
	at = -1
	d, err := open()
	require.NoError(t, err)
	p := make([]byte, len(plaintext))
	for at = range 3 {
		calls = -1
		require.PanicsWithError(t, errBroken.Error(), func() { d.ReadAt(p, 0) })
		at = -1
		requireRange(t, d, plaintext, 5, 100)
	}
	leave = runtime.Goexit
	calls, at = 0, 2
	returned := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.ReadAt(p, 0)
		returned = true
	}()
	<-done
	require.False(t, returned)
	requireRange(t, d, plaintext, 5, 100)
}

// A source may use the DecryptReaderAt that reads from it: no lock is held.
func TestReadAtFromInsideItsSource(t *testing.T) {
	plaintext := text(95)
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, plaintext, esdk.EncryptOptions{FrameLength: 10})
	var d *esdk.DecryptReaderAt
	inside := false
	d, err := esdk.NewDecryptReaderAt(bg, readerAtFunc(func(p []byte, off int64) (int, error) {
		if d != nil && !inside {
			inside = true
			requireRange(t, d, plaintext, 3, 60)
			inside = false
		}
		return bytes.NewReader(message).ReadAt(p, off)
	}), int64(len(message)), rawAES(t), nil)
	require.NoError(t, err)
	requireRange(t, d, plaintext, 20, 40)
}

// p is never handed to the source, which can keep what it gets. And it can be the
// source's own memory.
func TestReadAtKeepsPToItself(t *testing.T) {
	plaintext := text(100_000)
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, plaintext, esdk.EncryptOptions{FrameLength: 1000})
	var given [][]byte
	source := readerAtFunc(func(p []byte, off int64) (int, error) {
		given = append(given, p)
		return bytes.NewReader(message).ReadAt(p, off)
	})
	d, err := esdk.NewDecryptReaderAt(bg, source, int64(len(message)), rawAES(t), nil)
	require.NoError(t, err)
	for _, length := range []int{1, 999, 1000, 1001, 5000, 50_000} {
		p := make([]byte, length)
		_, err := d.ReadAt(p, 10_000)
		require.NoError(t, err)
		for _, g := range given {
			g = g[:cap(g)]
			for i := range g {
				g[i] = 0x55
			}
		}
		require.True(t, bytes.Equal(plaintext[10_000:10_000+length], p))
	}
	requireRange(t, d, plaintext, 0, len(plaintext))

	own := slices.Clone(message)
	d, err = esdk.NewDecryptReaderAt(bg, bytes.NewReader(own), int64(len(own)), rawAES(t), nil)
	require.NoError(t, err)
	n, err := d.ReadAt(own[:len(plaintext)], 0)
	require.NoError(t, err)
	require.True(t, bytes.Equal(plaintext, own[:n]))
}

// An io.ReaderAt is for any number of goroutines.
func TestReadAtByManyGoroutines(t *testing.T) {
	t.Parallel()
	for _, of := range []struct {
		frameLength int64
		size        int
	}{{100, 10_000}, {4096, 200_000}, {64 << 10, 700_000}} {
		plaintext := text(of.size)
		d := openAt(t, encrypt(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, plaintext, esdk.EncryptOptions{FrameLength: of.frameLength}), nil)
		var all sync.WaitGroup
		for g := range 16 {
			all.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(g)))
				p := make([]byte, of.size)
				for i := range 60 {
					off, length := random.IntN(of.size), random.IntN(300)
					if i%10 == 0 {
						length = random.IntN(of.size)
					}
					for range 3 {
						off = min(off, of.size)
						n, err := d.ReadAt(p[:length], int64(off))
						if err == io.EOF && off+n == of.size {
							err = nil
						}
						if err != nil || !bytes.Equal(plaintext[off:off+n], p[:n]) || n < min(length, of.size-off) {
							t.Errorf("%d bytes at %d: %d, %v", length, off, n, err)
							return
						}
						off += n
					}
				}
			})
		}
		all.Wait()
	}
}

// ctx ends the opening before each call of the source, also when the provider has
// answered, and no later read.
func TestContextEndsTheOpening(t *testing.T) {
	long := encrypt(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, text(9<<20), esdk.EncryptOptions{})
	ofLongHeader := encrypt(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, text(10_000),
		esdk.EncryptOptions{EncryptionContext: map[string]string{"k": strings.Repeat("v", 60_000)}})
	for i, message := range [][]byte{long, long, ofLongHeader} {
		c := &esdk.Client{Concurrency: 1 + i%2}
		// open cancels ctx in the call of that number, and returns how many there were.
		open := func(after int) (d *esdk.DecryptReaderAt, calls int, err error) {
			ctx, cancel := context.WithCancel(bg)
			defer cancel()
			d, err = c.NewDecryptReaderAt(ctx, readerAtFunc(func(p []byte, off int64) (int, error) {
				if calls++; calls == after {
					cancel()
				}
				return bytes.NewReader(message).ReadAt(p, off)
			}), int64(len(message)), rawAES(t), nil)
			return d, calls, err
		}
		_, all, err := open(0)
		require.NoError(t, err)
		require.Greater(t, all, 4)
		for after := 1; after < all; after++ {
			_, calls, err := open(after)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, after, calls)
		}
		d, _, err := open(all)
		require.NoError(t, err)
		_, err = d.ReadAt(make([]byte, 10), 5000)
		require.NoError(t, err)
	}
}

// It ends it, too, if it is done when the provider has answered.
func TestContextEndsTheOpeningAfterTheProvider(t *testing.T) {
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(10_000), esdk.EncryptOptions{})
	ctx, cancel := context.WithCancel(bg)
	m := &manager{inner: rawAES(t), decrypt: func(m *keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials {
		cancel()
		return m
	}}
	source := &counted{r: bytes.NewReader(message)}
	_, err := esdk.NewDecryptReaderAt(ctx, source, int64(len(message)), m, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, source.calls, 1)
}

// Options and settings hold as they do for a DecryptReader.
func TestOpeningAtKeepsToItsOptions(t *testing.T) {
	p := keyprovider.MasterKeyProvider(rawAES(t))
	two, err := keyprovider.Multi(p, p)
	require.NoError(t, err)
	ec := map[string]string{"a": "1", "b": "2"}
	message, _, err := esdk.Encrypt(bg, text(5000), two, &esdk.EncryptOptions{EncryptionContext: ec, RequiredContextKeys: []string{"b"}})
	require.NoError(t, err)
	unsigned, _, err := esdk.Encrypt(bg, text(5000), p, &esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey})
	require.NoError(t, err)
	unframed := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(5000), esdk.EncryptOptions{Unframed: true})
	old := encrypt(t, suite.AES256GCM, text(5000), esdk.EncryptOptions{})
	given := map[string]string{"b": "2"}
	untouched := failing{errors.New("the provider was called")}
	for name, test := range map[string]struct {
		client  esdk.Client
		message []byte
		p       keyprovider.MasterKeyProvider
		opts    esdk.DecryptOptions
		is      error
		says    string
	}{
		"good":                     {message: message, p: p, opts: esdk.DecryptOptions{EncryptionContext: given}},
		"signature ignored":        {message: message, p: p, opts: esdk.DecryptOptions{EncryptionContext: given, Signature: esdk.IgnoreSignature}},
		"unsigned, ignored":        {message: unsigned, p: p, opts: esdk.DecryptOptions{Signature: esdk.IgnoreSignature}},
		"unsigned, none allowed":   {message: unsigned, p: p, opts: esdk.DecryptOptions{Signature: esdk.RejectSigned}},
		"frame of the limit":       {message: unsigned, p: p, opts: esdk.DecryptOptions{MaxFrameLength: 4096}},
		"keys of the limit":        {client: esdk.Client{MaxEncryptedDataKeys: 2}, message: message, p: p, opts: esdk.DecryptOptions{EncryptionContext: given}},
		"old suite, allowed":       {client: *allowAll, message: old, p: p},
		"signed, none allowed":     {message: message, p: untouched, opts: esdk.DecryptOptions{Signature: esdk.RejectSigned}, is: esdk.ErrSignedMessage},
		"frame over the limit":     {message: message, p: untouched, opts: esdk.DecryptOptions{MaxFrameLength: 4095}, is: esdk.ErrFrameTooLong},
		"keys over the limit":      {client: esdk.Client{MaxEncryptedDataKeys: 1}, message: message, p: untouched, is: esdk.ErrTooManyDataKeys},
		"old suite":                {message: old, p: untouched, is: esdk.ErrCommitmentPolicy},
		"unframed":                 {message: unframed, p: untouched, is: esdk.ErrUnframed, says: "unframed"},
		"required pair not given":  {message: message, p: p, says: "not wrapped under this key and encryption context"},
		"another pair":             {message: message, p: p, opts: esdk.DecryptOptions{EncryptionContext: map[string]string{"a": "2"}}, is: esdk.ErrEncryptionContext},
		"unknown signature policy": {message: message, p: p, opts: esdk.DecryptOptions{Signature: esdk.IgnoreSignature + 1}, says: "unknown signature policy 3"},
		"negative frame limit":     {message: message, p: p, opts: esdk.DecryptOptions{MaxFrameLength: -1}, says: "negative"},
		"negative concurrency":     {client: esdk.Client{Concurrency: -1}, message: message, p: p, says: "negative"},
		"nil provider":             {message: message, says: "nil MasterKeyProvider"},
		"provider's error":         {message: message, p: untouched, opts: esdk.DecryptOptions{EncryptionContext: given}, is: untouched.err},
	} {
		d, err := test.client.NewDecryptReaderAt(bg, bytes.NewReader(test.message), int64(len(test.message)), test.p, &test.opts)
		if test.is == nil && test.says == "" {
			require.NoError(t, err, name)
			require.EqualValues(t, 5000, d.Size())
			requireRange(t, d, text(5000), 4000, 1000)
			continue
		}
		require.Nil(t, d)
		require.Error(t, err, name)
		require.ErrorContains(t, err, test.says, name)
		require.Equal(t, 1, strings.Count(err.Error(), "esdk: "), err)
		if test.is != nil {
			require.ErrorIs(t, err, test.is, name)
		}
	}
	_, err = esdk.NewDecryptReaderAt(bg, nil, 1, p, nil)
	require.EqualError(t, err, "esdk: nil io.ReaderAt")
	_, err = esdk.NewDecryptReaderAt(bg, bytes.NewReader(message), -1, p, nil)
	require.EqualError(t, err, "esdk: negative message size: -1")
	var none context.Context
	_, err = esdk.NewDecryptReaderAt(none, bytes.NewReader(message), 1, p, nil)
	require.EqualError(t, err, "esdk: nil context.Context")
	d, err := (*esdk.Client)(nil).NewDecryptReaderAt(bg, bytes.NewReader(unsigned), int64(len(unsigned)), p, nil)
	require.NoError(t, err)
	require.EqualValues(t, 5000, d.Size())

	// The other operations refuse to ignore a signature.
	opts := &esdk.DecryptOptions{Signature: esdk.IgnoreSignature}
	for _, m := range [][]byte{message, unsigned} {
		_, _, err = esdk.Decrypt(bg, m, untouched, opts)
		require.EqualError(t, err, "esdk: DecryptOptions.Signature is IgnoreSignature, which only NewDecryptReaderAt allows")
		_, err = esdk.NewDecryptReader(bg, bytes.NewReader(m), untouched, opts)
		require.EqualError(t, err, "esdk: DecryptOptions.Signature is IgnoreSignature, which only NewDecryptReaderAt allows")
		_, err = esdk.Reencrypt(bg, io.Discard, bytes.NewReader(m), untouched, untouched, &esdk.ReencryptOptions{Decrypt: *opts})
		require.EqualError(t, err, "esdk: DecryptOptions.Signature is IgnoreSignature, which only NewDecryptReaderAt allows")
	}
}

// The signature is verified before anything can be read, and not looked at if it is
// to be ignored. Either way, no frame that was altered can be read.
func TestReadAtOfSignedMessages(t *testing.T) {
	for _, id := range suite.All() {
		if !id.Signing() {
			continue
		}
		plaintext := text(95)
		message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: 10})
		of := byhand.Read(t, message)
		forged := slices.Clone(message)
		forged[len(forged)-1] ^= 1
		_, err := allowAll.NewDecryptReaderAt(bg, bytes.NewReader(forged), int64(len(forged)), rawAES(t), nil)
		require.ErrorIs(t, err, esdk.ErrSignature)
		requireRange(t, openAt(t, forged, &esdk.DecryptOptions{Signature: esdk.IgnoreSignature}), plaintext, 0, 95)

		// What stands for the signature, of any length that one can have.
		for n := range id.SignatureSize() + 2 {
			other, err := format.AppendFooter(slices.Clone(of.Signed), make([]byte, n))
			require.NoError(t, err)
			requireRange(t, openAt(t, other, &esdk.DecryptOptions{Signature: esdk.IgnoreSignature}), plaintext, 0, 95)
			_, err = allowAll.NewDecryptReaderAt(bg, bytes.NewReader(other), int64(len(other)), rawAES(t), nil)
			require.ErrorIs(t, err, esdk.ErrSignature)
		}

		// A footer that is cut short or missing, or that bytes follow.
		for cut := len(of.Signed); cut < len(message); cut++ {
			_, err := allowAll.NewDecryptReaderAt(bg, bytes.NewReader(message), int64(cut), rawAES(t), &esdk.DecryptOptions{Signature: esdk.IgnoreSignature})
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}
		_, err = allowAll.NewDecryptReaderAt(bg, bytes.NewReader(append(message, 0)), int64(len(message)+1), rawAES(t), &esdk.DecryptOptions{Signature: esdk.IgnoreSignature})
		require.ErrorIs(t, err, esdk.ErrTrailingData)

		altered := slices.Clone(message)
		altered[of.Parts[4].At+20] ^= 1
		_, err = allowAll.NewDecryptReaderAt(bg, bytes.NewReader(altered), int64(len(altered)), rawAES(t), nil)
		require.ErrorIs(t, err, esdk.ErrSignature)
		d := openAt(t, altered, &esdk.DecryptOptions{Signature: esdk.IgnoreSignature})
		p := bytes.Repeat([]byte{1}, 60)
		n, err := d.ReadAt(p, 5)
		require.ErrorIs(t, err, esdk.ErrAuthentication)
		require.ErrorContains(t, err, "frame 5")
		require.Equal(t, append(plaintext[5:40:40], make([]byte, 25)...), p)
		require.Equal(t, 35, n)
	}
}

// Signatures of every length that is not rare verify, wherever the frames end.
func TestReadAtFindsTheEndBeforeAnySignature(t *testing.T) {
	t.Parallel()
	for _, id := range suite.All() {
		if !id.Signing() {
			continue
		}
		key := dataKey(bytes.Repeat([]byte{3}, id.KeySize()))
		for _, frameLength := range []int{1, 40, 150, 1000} {
			seen := map[int]bool{}
			for try := 0; len(seen) < 3 && try < 100; try++ {
				frames := make([]string, 1+try%5)
				for i := range frames {
					frames[i] = string(text(frameLength))
				}
				frames[len(frames)-1] = string(text(max(0, frameLength-try%3*frameLength/2)))
				message := byhand.Writing{Suite: uint16(id), DataKey: key, FrameLength: frameLength, Frames: frames, IV: byhand.SequenceIV}.Message(t)
				seen[len(byhand.Read(t, message).Signature)] = true
				for _, policy := range signaturePolicies {
					d, err := allowAll.NewDecryptReaderAt(bg, bytes.NewReader(message), int64(len(message)), key, &esdk.DecryptOptions{Signature: policy})
					require.NoError(t, err)
					plaintext := []byte(strings.Join(frames, ""))
					require.EqualValues(t, len(plaintext), d.Size())
					requireRange(t, d, plaintext, 0, len(plaintext))
				}
			}
			require.GreaterOrEqual(t, len(seen), 3, "%v, frame length %d", id, frameLength)
		}
	}
}

// Whichever bit of a message is flipped, one in each byte, it cannot be opened, or the
// frame with that bit cannot be read and all others can. The footer of a
// signed message matters only if the signature is to be verified.
func TestEveryFlippedByteFailsAtRandom(t *testing.T) {
	eachSmallMessage(t, func(t *testing.T, m int, id suite.ID, message, plaintext []byte) {
		of := byhand.Read(t, message)
		if of.Header.FrameLength == 0 {
			return
		}
		for i := range message {
			altered := slices.Clone(message)
			altered[i] ^= 1 << (i % 8)
			for _, policy := range turn(signaturePolicies, m+i) {
				where := fmt.Sprintf("%v, byte %d", policy, i)
				d, err := allowAll.NewDecryptReaderAt(bg, bytes.NewReader(altered), int64(len(altered)), rawAES(t), &esdk.DecryptOptions{Signature: policy})
				if err != nil {
					require.Nil(t, d)
					require.Regexp(t, "^esdk: ", err.Error(), where)
					continue
				}
				require.False(t, id.Signing() && policy == esdk.VerifySignature, where)
				require.EqualValues(t, 25, d.Size(), where)
				got, err := readAll(d, 5)
				if i >= len(of.Signed)+2 { // of the signature, which is ignored
					require.NoError(t, err, where)
					require.Equal(t, plaintext, got, where)
					continue
				}
				require.Error(t, err, where)
				require.GreaterOrEqual(t, i, of.Parts[0].At, where)
				frame := (i - of.Parts[0].At) / 42
				require.Less(t, frame, 2, where) // the last one is opened by the constructor
				want := slices.Clone(plaintext)
				clear(want[10*frame : 10*frame+10])
				require.Equal(t, want, got, where)
			}
		}
	})
}

// A message that is cut short anywhere cannot be opened, whether the size tells of
// it or not, and neither can one that is longer than it should be.
func TestEveryCutFailsAtRandom(t *testing.T) {
	eachSmallMessage(t, func(t *testing.T, m int, id suite.ID, message, plaintext []byte) {
		if byhand.Read(t, message).Header.FrameLength == 0 {
			return
		}
		for i := range message {
			for j, size := range turn([]int{i, len(message)}, m+i) {
				for _, policy := range turn(signaturePolicies, m+i+j) {
					where := fmt.Sprintf("%v, cut to %d bytes, said to have %d", policy, i, size)
					_, err := allowAll.NewDecryptReaderAt(bg, bytes.NewReader(message[:i]), int64(size), rawAES(t), &esdk.DecryptOptions{Signature: policy})
					require.ErrorIs(t, err, io.ErrUnexpectedEOF, where)
					var parse *format.ParseError
					if size == i {
						require.ErrorAs(t, err, &parse, where)
						require.EqualValues(t, i, parse.Offset, where)
					}
				}
			}
		}
		for n := range 300 {
			for _, policy := range turn(signaturePolicies, m+n) {
				grown := append(slices.Clone(message), make([]byte, n+1)...)
				_, err := allowAll.NewDecryptReaderAt(bg, bytes.NewReader(grown), int64(len(grown)), rawAES(t), &esdk.DecryptOptions{Signature: policy})
				require.Error(t, err, n)
				if n < 5 { // so much shorter than a full one is the final frame
					require.ErrorIs(t, err, esdk.ErrTrailingData, n)
				}
				require.False(t, errors.Is(err, esdk.ErrSignature), n)
			}
		}
	})
}

// Frames that are left out, given twice, exchanged, renumbered or taken from another
// message are refused: by the constructor, where it sees them, or by the reads of
// them.
func TestFramesOutOfPlaceFailAtRandom(t *testing.T) {
	t.Parallel()
	const frames, f = 60, 10
	plaintext := text(frames*f + 5)
	for _, id := range parallelSuites {
		message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: f})
		of := byhand.Read(t, message)
		other := byhand.Read(t, encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: f}))
		cut := byhand.Read(t, encrypt(t, id, plaintext[:3*f+5], esdk.EncryptOptions{FrameLength: f}))
		build := func(change func(parts [][]byte) [][]byte) []byte {
			var parts [][]byte
			for _, p := range of.Parts {
				parts = append(parts, slices.Clone(p.Bytes))
			}
			return slices.Concat(message[:of.Parts[0].At], slices.Concat(change(parts)...), message[len(of.Signed):])
		}
		number := func(part []byte, n uint32) []byte {
			part = slices.Clone(part)
			at := 0
			if binary.BigEndian.Uint32(part) == math.MaxUint32 {
				at = 4
			}
			binary.BigEndian.PutUint32(part[at:], n)
			return part
		}
		for name, test := range map[string]struct {
			message []byte
			bad     []int // frames that cannot be read; nil: it is not opened
		}{
			"one left out":        {build(func(p [][]byte) [][]byte { return slices.Delete(p, 3, 4) }), nil},
			"one twice":           {build(func(p [][]byte) [][]byte { return slices.Insert(p, 3, p[3]) }), nil},
			"exchanged":           {build(func(p [][]byte) [][]byte { p[3], p[5] = p[5], p[3]; return p }), []int{3, 5}},
			"exchanged, numbered": {build(func(p [][]byte) [][]byte { p[3], p[5] = number(p[5], 4), number(p[3], 6); return p }), []int{3, 5}},
			"replayed":            {build(func(p [][]byte) [][]byte { p[7] = p[6]; return p }), []int{7}},
			"replayed, numbered":  {build(func(p [][]byte) [][]byte { p[7] = number(p[6], 8); return p }), []int{7}},
			"renumbered":          {build(func(p [][]byte) [][]byte { p[7] = number(p[7], 9); return p }), []int{7}},
			"number 0":            {build(func(p [][]byte) [][]byte { p[0] = number(p[0], 0); return p }), []int{0}},
			"marked as final":     {build(func(p [][]byte) [][]byte { p[9] = number(p[9], math.MaxUint32); return p }), []int{9}},
			"of another message":  {build(func(p [][]byte) [][]byte { p[2] = other.Parts[2].Bytes; return p }), []int{2}},
			"all of another":      {build(func(p [][]byte) [][]byte { return append(partsOf(other)[:frames], p[frames]) }), allFrames(frames)},
			"final of another":    {build(func(p [][]byte) [][]byte { p[frames] = other.Parts[frames].Bytes; return p }), nil},
			"final renumbered":    {build(func(p [][]byte) [][]byte { p[frames] = number(p[frames], 7); return p }), nil},
			"an end in between":   {build(func(p [][]byte) [][]byte { p[3] = cut.Parts[3].Bytes; return p }), nil},
			"cut, with an end":    {build(func(p [][]byte) [][]byte { return append(p[:3], number(p[frames], 4)) }), nil},
			"no final":            {build(func(p [][]byte) [][]byte { return p[:frames] }), nil},
			"final twice":         {build(func(p [][]byte) [][]byte { return append(p, p[frames]) }), nil},
			"nothing":             {build(func(p [][]byte) [][]byte { return nil }), nil},
			"final alone":         {build(func(p [][]byte) [][]byte { return p[frames:] }), nil},
			"one more":            {build(func(p [][]byte) [][]byte { return slices.Insert(p, frames, number(p[0], frames+1)) }), nil},
		} {
			d, err := esdk.NewDecryptReaderAt(bg, bytes.NewReader(test.message), int64(len(test.message)), rawAES(t), &esdk.DecryptOptions{Signature: esdk.IgnoreSignature})
			if test.bad == nil {
				require.Error(t, err, name)
				continue
			}
			require.NoError(t, err, name)
			require.EqualValues(t, len(plaintext), d.Size())
			_, err = d.ReadAt(make([]byte, 1), int64(test.bad[0]*f)) // right after the last frame was opened
			var parse *format.ParseError
			if errors.As(err, &parse) { // in the header of the frame
				place := int64(of.Parts[0].At + test.bad[0]*(f+32))
				require.GreaterOrEqual(t, parse.Offset, place, name)
				require.Less(t, parse.Offset, place+24, name)
			}
			want := slices.Clone(plaintext)
			for _, bad := range test.bad {
				clear(want[bad*f : bad*f+f])
			}
			for _, step := range []int{1, 5, f} {
				got, err := readAll(d, step)
				require.Error(t, err, name)
				require.Equal(t, want, got, "%s, %d at a time", name, step)
			}
			p := bytes.Repeat([]byte{1}, len(plaintext))
			n, err := d.ReadAt(p, 0)
			require.Error(t, err, name)
			require.Equal(t, test.bad[0]*f, n, name)
			require.Equal(t, plaintext[:n], p[:n])
			require.Equal(t, make([]byte, len(p)-n), p[n:])
			if id.Signing() {
				_, err := esdk.NewDecryptReaderAt(bg, bytes.NewReader(test.message), int64(len(test.message)), rawAES(t), nil)
				require.ErrorIs(t, err, esdk.ErrSignature, name)
			}
		}
	}
}

func partsOf(m *byhand.Message) (parts [][]byte) {
	for _, p := range m.Parts {
		parts = append(parts, p.Bytes)
	}
	return parts
}

func allFrames(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// A message that was replaced after it was opened, by whatever the same key made,
// gives errors and never other bytes.
func TestReadAtOfAnotherMessage(t *testing.T) {
	t.Parallel()
	const f = 10
	plaintext := text(45)
	key := dataKey(bytes.Repeat([]byte{3}, 32))
	write := func(frames ...string) []byte {
		return byhand.Writing{Suite: uint16(suite.AES256GCMHKDFSHA512CommitKey), DataKey: key, FrameLength: f, Frames: frames, IV: byhand.SequenceIV}.Message(t)
	}
	cutUp := func(b []byte) (frames []string) {
		for len(b) > f {
			frames, b = append(frames, string(b[:f])), b[f:]
		}
		return append(frames, string(b))
	}
	message := write(cutUp(plaintext)...)
	for name, other := range map[string][]byte{
		"another of the same length": write(cutUp(make([]byte, 45))...),
		"a shorter one":              write(cutUp(make([]byte, 20))...),
		"a longer one":               write(cutUp(make([]byte, 450))...),
		"nothing":                    nil,
		"zeros":                      make([]byte, len(message)),
	} {
		current := message
		d, err := esdk.NewDecryptReaderAt(bg, readerAtFunc(func(p []byte, off int64) (int, error) {
			return bytes.NewReader(current).ReadAt(p, off)
		}), int64(len(message)), key, nil)
		require.NoError(t, err)
		requireRange(t, d, plaintext, 12, 3)
		current = other
		for off := range plaintext {
			for length := 1; length <= len(plaintext)-off; length++ {
				p := make([]byte, length)
				n, err := d.ReadAt(p, int64(off))
				require.Equal(t, plaintext[off:off+n], p[:n], name)
				require.Equal(t, make([]byte, length-n), p[n:], name)
				if n < length {
					require.Error(t, err)
					require.NotEqual(t, io.EOF, err)
				}
			}
		}
		current = message
		requireRange(t, d, plaintext, 0, 45)
	}
}

// Who has the data key can end the message elsewhere after it was opened. The
// length stays what it was when it was opened.
func TestReadAtOfAnEndThatMoved(t *testing.T) {
	sealer := reseal.Sealer{Namespace: "esdk test", Name: "key", Key: bytes.Repeat([]byte{7}, 32), Parts: reseal.All}
	plaintext := text(45)
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, plaintext, esdk.EncryptOptions{FrameLength: 10})
	of := byhand.Read(t, message)
	final := func(sequence, length int) []byte {
		b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, math.MaxUint32), uint32(sequence))
		b = binary.BigEndian.AppendUint32(append(b, make([]byte, 12)...), uint32(length))
		return append(b, make([]byte, length+16)...)
	}
	regular := append(binary.BigEndian.AppendUint32(nil, 5), make([]byte, 12+10+16)...)
	for name, test := range map[string]struct {
		other []byte
		good  int
		is    error
	}{
		"earlier":         {slices.Concat(message[:of.Parts[2].At], final(3, 10), make([]byte, 100)), 20, format.ErrMalformed},
		"later":           {slices.Concat(message[:of.Parts[4].At], regular, final(6, 5)), 40, format.ErrMalformed},
		"a shorter frame": {slices.Concat(message[:of.Parts[4].At], final(5, 4), []byte{1}), 40, format.ErrMalformed},
		"a longer frame":  {slices.Concat(message[:of.Parts[4].At], final(5, 6)), 40, format.ErrMalformed},
		"other bytes":     {slices.Concat(message[:of.Parts[4].At], final(5, 5)), 40, nil}, // which only its signature could tell
	} {
		other, ok := sealer.Message(test.other)
		require.True(t, ok)
		copy(other, message[:of.Parts[test.good/10].At]) // whose content was encrypted again
		current := message
		d, err := esdk.NewDecryptReaderAt(bg, readerAtFunc(func(p []byte, off int64) (int, error) {
			return bytes.NewReader(current).ReadAt(p, off)
		}), int64(len(message)), rawAES(t), nil)
		require.NoError(t, err)
		requireRange(t, d, plaintext, 0, 5) // so that the last frame is not the one that is kept
		current = other
		p := bytes.Repeat([]byte{1}, 45)
		n, err := d.ReadAt(p, 0)
		if test.is == nil {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, test.is, name)
		require.Equal(t, test.good, n, name)
		require.Equal(t, plaintext[:n], p[:n], name)
		require.Equal(t, make([]byte, 45-n), p[n:], name)
		require.EqualValues(t, 45, d.Size())
	}
}

// Sizes that no message has, up to those that only an int64 counts, are errors.
func TestReadAtOfImpossibleSizes(t *testing.T) {
	for _, frameLength := range []int64{1, 10, 1 << 20} {
		for _, id := range parallelSuites {
			message := encrypt(t, id, text(20), esdk.EncryptOptions{FrameLength: frameLength})
			for _, size := range []int64{1 << 31, 1 << 32, 33 << 32, 1 << 40, 1 << 62, math.MaxInt64} {
				_, err := esdk.NewDecryptReaderAt(bg, bytes.NewReader(message), size, rawAES(t), nil)
				require.Error(t, err, "frame length %d, size %d", frameLength, size)
				require.Regexp(t, "^esdk: ", err.Error())
			}
		}
	}
}

// place copies to p, which is read from off on, what it should have of part, which
// begins at at.
func place(p []byte, off int64, part []byte, at int64) {
	if from, to := max(at, off), min(at+int64(len(part)), off+int64(len(p))); from < to {
		copy(p[from-off:], part[from-at:to-at])
	}
}

// A final frame does not pass for one that is 2^32 frames further on, where its
// number would be the same.
func TestReadAtDoesNotCountPastTheLastFrame(t *testing.T) {
	for _, frameLength := range []int{1, 10} {
		message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(2*frameLength), esdk.EncryptOptions{FrameLength: int64(frameLength)})
		of := byhand.Read(t, message)
		last := of.Parts[2]
		for _, further := range []int64{0, 1, 1<<32 - 3, 1<<32 - 2, 1<<32 - 1, 1 << 32, 1 << 33} {
			away := further * int64(frameLength+32)
			source := readerAtFunc(func(p []byte, off int64) (int, error) {
				clear(p)
				place(p, off, message[:last.At], 0)
				place(p, off, last.Bytes, int64(last.At)+away)
				return len(p), nil
			})
			d, err := esdk.NewDecryptReaderAt(bg, source, int64(len(message))+away, rawAES(t), nil)
			if further == 0 {
				require.NoError(t, err)
				require.EqualValues(t, 2*frameLength, d.Size())
				continue
			}
			require.ErrorIs(t, err, format.ErrMalformed, "%d frames further", further)
		}
	}
}

// Ranges far behind 4 GiB are read, on 32-bit systems too. The message is made of
// its header, zeros and the frames round the ranges.
func TestReadAtOfAHugeMessage(t *testing.T) {
	t.Parallel()
	const f, frames = 1 << 20, 1 << 30 // 1 PiB
	start := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, nil, esdk.EncryptOptions{FrameLength: f})
	of := byhand.Read(t, start)
	plaintext, header, err := esdk.Decrypt(bg, start, &spying{MasterKeyProvider: rawAES(t)}, nil)
	require.NoError(t, err)
	require.Empty(t, plaintext)
	spy := &spying{MasterKeyProvider: rawAES(t)}
	_, _, err = esdk.Decrypt(bg, start, spy, nil)
	require.NoError(t, err)
	aead, _ := byhand.Keys(uint16(header.Suite), spy.key, header.MessageID)
	frame := func(index int64, final bool, plaintext []byte) []byte {
		n := uint32(index + 1)
		iv := byhand.SequenceIV(n)
		if final {
			b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, math.MaxUint32), n)
			b = binary.BigEndian.AppendUint32(append(b, iv...), uint32(len(plaintext)))
			return aead.Seal(b, iv, plaintext, byhand.AAD(header.MessageID, byhand.FinalFrame, n, uint64(len(plaintext))))
		}
		b := append(binary.BigEndian.AppendUint32(nil, n), iv...)
		return aead.Seal(b, iv, plaintext, byhand.AAD(header.MessageID, byhand.Frame, n, f))
	}
	body := int64(of.Parts[0].At)
	parts := map[int64][]byte{0: start[:body]}
	for _, index := range []int64{0, 1, 4095, 4096, 4097, frames/2 - 1, frames / 2, frames - 1} {
		parts[body+index*(f+32)] = frame(index, false, bytes.Repeat([]byte{byte(index)}, f))
	}
	parts[body+frames*(f+32)] = frame(frames, true, []byte("the end"))
	size := body + frames*(f+32) + 40 + 7
	source := readerAtFunc(func(p []byte, off int64) (int, error) {
		clear(p)
		for at, part := range parts {
			place(p, off, part, at)
		}
		return int(min(int64(len(p)), size-off)), nil
	})
	d, err := esdk.NewDecryptReaderAt(bg, source, size, rawAES(t), nil)
	require.NoError(t, err)
	require.EqualValues(t, int64(frames)*f+7, d.Size())
	p := make([]byte, 2*f)
	for _, index := range []int64{0, 4095, 4096, frames/2 - 1} {
		n, err := d.ReadAt(p, index*f)
		require.NoError(t, err)
		require.Equal(t, len(p), n)
		require.Equal(t, byte(index), p[0])
		require.Equal(t, byte(index+1), p[f])
	}
	n, err := d.ReadAt(p, d.Size()-10)
	require.Equal(t, io.EOF, err)
	require.Equal(t, append(bytes.Repeat([]byte{255}, 3), "the end"...), p[:n])
	n, err = d.ReadAt(p, 5000*f-7)
	require.Error(t, err)
	require.Zero(t, n)
}

// spying is a provider that keeps the data key it unwrapped.
type spying struct {
	keyprovider.MasterKeyProvider
	key []byte
}

func (s *spying) DecryptDataKey(ctx context.Context, req *keyprovider.Request, edks []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	k, err := s.MasterKeyProvider.DecryptDataKey(ctx, req, edks)
	if err == nil {
		s.key = bytes.Clone(k.Plaintext)
	}
	return k, err
}

// What the caller does with the header changes nothing.
func TestReadAtDoesNotUseTheCallersHeader(t *testing.T) {
	plaintext := text(95)
	d := openAt(t, encrypt(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, plaintext, esdk.EncryptOptions{FrameLength: 10}), nil)
	clear(d.Header().MessageID)
	d.Header().FrameLength = 3
	d.Header().Suite = suite.AES256GCM
	requireRange(t, d, plaintext, 5, 80)
}

// Printing a DecryptReaderAt shows nothing of what it holds.
func TestDecryptReaderAtIsRedacted(t *testing.T) {
	d := openAt(t, encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, []byte("topsecret"), esdk.EncryptOptions{}), nil)
	requireRange(t, d, []byte("topsecret"), 0, 5)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "d", d)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "d", d)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
		fmt.Fprintf(&log, verb+"\n", d)
	}
	inside := struct{ d *esdk.DecryptReaderAt }{d}
	fmt.Fprintf(&log, "%v %+v\n", inside, inside)
	require.NotContains(t, log.String(), "topsecret")
	require.NotContains(t, log.String(), fmt.Sprintf("%x", "topsecret"))
	require.NotContains(t, log.String(), fmt.Sprint([]byte("topsecret"))[1:20])
	require.Contains(t, log.String(), "esdk.DecryptReaderAt")
}
