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
func TestWidthOfHugeFrames(t *testing.T) {
	for _, frameLength := range []int{
		math.MaxInt32 - 64, math.MaxInt32 - 95, math.MaxInt32 - 100, math.MaxInt32 - 4<<20, math.MaxInt32 / 2, 8 << 20,
	} {
		o := NewOpener(config(t, frameLength, 64, nil), 0)
		o.Start(io.Discard, 2)
		require.Zero(t, o.width, frameLength)
		o.Stop()
		s := NewSealer(config(t, frameLength, 64, nil))
		s.Start(io.Discard, 1)
		require.Equal(t, 1, s.width, frameLength)
		s.Stop()
	}
}

// Streams make the bytes that one call of Frames makes, and give the digest the
// same, whatever their source is like and however many goroutines there are.
func TestPipelineMakesTheSameBytes(t *testing.T) {
	for _, frameLength := range []int{1000, 4096, 100_000, 1 << 20} {
		whole := max(1_500_000/frameLength, 3) * frameLength
		plaintext := text(whole)
		digest := sha512.New384()
		body, err := NewSealer(config(t, frameLength, 1, digest)).Frames(nil, plaintext)
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
					s := NewSealer(config(t, frameLength, workers, d))
					var got bytes.Buffer
					s.Start(&got, 2)
					pumpAll(t, &s.body, from(bytes.NewReader(plaintext)), s.Pump)
					s.Stop()
					require.True(t, bytes.Equal(body, got.Bytes()), name)
					checkDigest(t, want, d, name)

					d = digest()
					s = NewSealer(config(t, frameLength, workers, d))
					got.Reset()
					s.Start(&got, 1)
					require.NoError(t, s.Emit(plaintext[:frameLength]))
					require.NoError(t, s.Emit(plaintext[frameLength:]))
					s.Stop()
					require.True(t, bytes.Equal(body, got.Bytes()), name)
					checkDigest(t, want, d, name)

					d = digest()
					o := NewOpener(config(t, frameLength, workers, d), 100)
					got.Reset()
					o.Start(&got, 2)
					pumpAll(t, &o.body, from(bytes.NewReader(body)), o.Pump)
					o.Stop()
					require.True(t, bytes.Equal(plaintext, got.Bytes()), name)
					checkDigest(t, want, d, name)
					require.EqualValues(t, 100+len(body), o.Offset(), name)
				}
			}
		}
	}
}

// pumpAll has all of r pumped.
func pumpAll(t *testing.T, b *body, r io.Reader, pump func(*Window) error) {
	t.Helper()
	var w Window
	for ended := false; !ended || w.Len() > 0; {
		for !ended && w.Len() < b.inSize {
			if err := w.Fill(r, max(b.inSize, b.Room())); err != nil {
				require.Equal(t, io.EOF, err)
				ended = true
			}
		}
		require.NoError(t, pump(&w))
	}
	require.NoError(t, b.Flush())
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
		s := NewSealer(config(t, 4096, workers, nil))
		writes := 0
		s.Start(writerFunc(func(p []byte) (int, error) {
			if writes++; writes == 4 {
				return 0, broken
			}
			return len(p), nil
		}), 1)
		require.Equal(t, broken, s.Emit(text(1000*4096)))
		s.Stop()
		require.Equal(t, 4, writes)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A call starts no more goroutines than it has runs of frames to give out.
func TestNoMoreGoroutinesThanWork(t *testing.T) {
	const frameLength = 4096
	for _, of := range []struct{ size, most int }{{parallelSize + parallelSize/8, 3}, {1 << 20, 9}, {8 << 20, 63}} {
		plaintext := text(of.size / frameLength * frameLength)
		for _, buffers := range []int{0, 1} {
			c := config(t, frameLength, 64, nil)
			aead := &counting{AEAD: c.AEAD}
			c.AEAD = aead
			s := NewSealer(c)
			aead.helpers = func() int { return s.helpers } // not changed while they work
			var err error
			if buffers == 0 {
				_, err = s.Frames(nil, plaintext)
			} else {
				s.Start(io.Discard, buffers)
				err = s.Emit(plaintext)
				s.Stop()
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
