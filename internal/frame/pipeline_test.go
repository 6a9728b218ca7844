package frame

import (
	"bytes"
	"crypto/cipher"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// Whatever its frame length, on a 32-bit system too, a stream has as many slots
// as memory holds.
func TestSlotsOfHugeFrames(t *testing.T) {
	for _, frameLength := range []int{
		math.MaxInt32 - 64, math.MaxInt32 - 95, math.MaxInt32 - 100, math.MaxInt32 - 4<<20, math.MaxInt32 / 2, 8 << 20,
	} {
		o := newOpener(config(t, frameLength, 64, nil), 0)
		p := o.start(io.Discard, 2)
		require.Zero(t, p.maxSlots, frameLength)
		p.Stop()
		s := newSealer(config(t, frameLength, 64, nil))
		p = s.start(io.Discard, 1)
		require.Equal(t, 1, p.maxSlots, frameLength)
		p.Stop()
	}
}

// Streams make the bytes that one call of Frames makes, and give the digest the
// same, whatever their source is like and however many goroutines there are.
func TestPipelineMakesTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, frameLength := range []int{1000, 4096, 100_000, 1 << 20} {
		whole := max(1_500_000/frameLength, 3) * frameLength
		plaintext := text(whole)
		digest := sha512.New384()
		body, err := newSealer(config(t, frameLength, 1, digest)).Frames(nil, plaintext)
		require.NoError(t, err)
		want := digest.Sum(nil)
		for _, workers := range []int{1, 2, 3, 8} {
			for _, signed := range []bool{false, true} {
				for source, from := range map[string]func(io.Reader) io.Reader{
					"all": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader,
				} {
					name := fmt.Sprintf("%d, %d workers, signed %v, %s", frameLength, workers, signed, source)
					digest := func() hash.Hash {
						if signed {
							return sha512.New384()
						}
						return nil
					}
					d := digest()
					s := newSealer(config(t, frameLength, workers, d))
					var got bytes.Buffer
					pumpAll(t, &s.body, &got, from(bytes.NewReader(plaintext)))
					require.True(t, bytes.Equal(body, got.Bytes()), name)
					checkDigest(t, want, d, name)

					d = digest()
					s = newSealer(config(t, frameLength, workers, d))
					got.Reset()
					require.NoError(t, s.WriteFrames(&got, plaintext[:frameLength]))
					require.NoError(t, s.WriteFrames(&got, plaintext[frameLength:]))
					require.True(t, bytes.Equal(body, got.Bytes()), name)
					checkDigest(t, want, d, name)

					d = digest()
					s = newSealer(config(t, frameLength, workers, d))
					got.Reset()
					writeAll(t, s, &got, plaintext)
					require.True(t, bytes.Equal(body, got.Bytes()), name)
					checkDigest(t, want, d, name)

					d = digest()
					o := newOpener(config(t, frameLength, workers, d), 100)
					got.Reset()
					pumpAll(t, &o.body, &got, from(bytes.NewReader(body)))
					require.True(t, bytes.Equal(plaintext, got.Bytes()), name)
					checkDigest(t, want, d, name)
					require.EqualValues(t, 100+len(body), o.Offset(), name)
				}
			}
		}
	}
}

// pumpAll has all of r pumped to sink.
func pumpAll(t *testing.T, b *body, sink io.Writer, r io.Reader) {
	t.Helper()
	var w Window
	p := b.Start(sink, &w)
	defer p.Stop()
	for ended := false; !ended || w.Len() > 0; {
		for !ended && w.Len() < b.inSize {
			if err := w.ReadOnce(r, max(b.inSize, b.ReadSize())); err != nil {
				require.Equal(t, io.EOF, err)
				ended = true
			}
		}
		require.NoError(t, p.Pump())
	}
	require.NoError(t, p.Flush())
}

// writeAll has plaintext written to the pipeline of s in pieces of many sizes.
func writeAll(t *testing.T, s *Sealer, sink io.Writer, plaintext []byte) {
	t.Helper()
	var w Window
	p := s.Start(sink, &w)
	defer p.Stop()
	for size := 1; len(plaintext) > 0; size = size*3 + 1 {
		k := min(size%1_000_000, len(plaintext))
		n, err := p.Write(plaintext[:k])
		require.NoError(t, err)
		require.Equal(t, k, n)
		plaintext = plaintext[k:]
	}
	require.NoError(t, p.Pump())
	require.NoError(t, p.Flush())
	require.Zero(t, w.Len())
}

func checkDigest(t *testing.T, want []byte, d hash.Hash, name string) {
	t.Helper()
	if d != nil {
		require.Equal(t, want, d.Sum(nil), name)
	}
}

// After a writer failed nothing more is written to it, though more is made.
func TestPipelineStopsAtAnErrorOfItsWriter(t *testing.T) {
	broken := errors.New("broken")
	for _, workers := range []int{1, 2, 5} {
		s := newSealer(config(t, 4096, workers, nil))
		writes := 0
		sink := writerFunc(func(p []byte) (int, error) {
			if writes++; writes == 4 {
				return 0, broken
			}
			return len(p), nil
		})
		require.Equal(t, broken, s.WriteFrames(sink, text(1000*4096)))
		require.Equal(t, 4, writes)
	}
}

// Whoever uses a Sealer from inside its own sink is stopped before a nonce is
// taken, and after Stop it goes on.
func TestOnePipelineAtATime(t *testing.T) {
	for _, workers := range []int{1, 3} {
		s := newSealer(config(t, 4096, workers, nil))
		plaintext := text(200 * 4096)
		require.NoError(t, s.WriteFrames(writerFunc(func(p []byte) (int, error) {
			before := s.next
			require.Panics(t, func() { s.WriteFrames(io.Discard, plaintext) })
			require.Panics(t, func() { s.Frames(nil, plaintext) })
			require.Panics(t, func() { s.Start(io.Discard, new(Window)) })
			require.Equal(t, before, s.next)
			return len(p), nil
		}), plaintext))
		require.NoError(t, s.WriteFrames(io.Discard, plaintext))
		require.EqualValues(t, 401, s.next)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A call starts no more goroutines than it has batches to give out.
func TestNoMoreGoroutinesThanWork(t *testing.T) {
	const frameLength = 4096
	for _, of := range []struct{ size, most int }{{parallelSize + parallelSize/8, 3}, {1 << 20, 9}, {8 << 20, 63}} {
		plaintext := text(of.size / frameLength * frameLength)
		for _, buffers := range []int{0, 1} {
			c := config(t, frameLength, 64, nil)
			aead := &counting{AEAD: c.AEAD}
			c.AEAD = aead
			s := newSealer(c)
			aead.helpers = func() int { return s.pipeline.helpers } // not changed while they work
			var err error
			if buffers == 0 {
				_, err = s.Frames(nil, plaintext)
			} else {
				err = s.WriteFrames(io.Discard, plaintext)
			}
			require.NoError(t, err)
			require.Positive(t, aead.most.Load())
			require.LessOrEqual(t, aead.most.Load(), int64(of.most), "%d bytes, %d buffers", of.size, buffers)
		}
	}
}

// counting notes how many goroutines there are to help.
type counting struct {
	cipher.AEAD
	helpers func() int
	most    atomic.Int64
}

func (c *counting) Seal(dst, nonce, plaintext, aad []byte) []byte {
	c.most.Store(int64(c.helpers()))
	return c.AEAD.Seal(dst, nonce, plaintext, aad)
}
