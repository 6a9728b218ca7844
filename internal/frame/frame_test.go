package frame

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
)

func config(t testing.TB, frameLength, workers int, digest hash.Hash) Config {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	require.NoError(t, err)
	aead, err := cipher.NewGCM(block)
	require.NoError(t, err)
	return Config{AEAD: aead, MessageID: make([]byte, 32), FrameLength: frameLength, Digest: digest, Workers: workers}
}

func newSealer(c Config) *Sealer {
	s := new(Sealer)
	s.Init(c)
	return s
}

func newOpener(c Config, offset int64) *Opener {
	o := new(Opener)
	o.Init(c, offset)
	return o
}

func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8)
	}
	return b
}

// Frames and digests are the same with any number of goroutines and however
// the plaintext and the message are cut into calls.
func TestFramesDoNotDependOnWorkers(t *testing.T) {
	t.Parallel()
	for _, frameLength := range []int{1000, 4096, 64 << 10, 100_000} {
		whole := 1_200_000 / frameLength * frameLength
		plaintext := text(whole + 7)
		want := sha512.New384()
		s := newSealer(config(t, frameLength, 1, want))
		body, err := s.Frames(nil, plaintext[:whole])
		require.NoError(t, err)
		body = s.Final(body, plaintext[whole:])
		for _, workers := range []int{1, 2, 3, 16} {
			for _, signed := range []bool{false, true} {
				for _, step := range []int{1, 3, whole / frameLength} {
					var digest hash.Hash
					if signed {
						digest = sha512.New384()
					}
					s := newSealer(config(t, frameLength, workers, digest))
					var got []byte
					for at := 0; at < whole; at += step * frameLength {
						got, err = s.Frames(got, plaintext[at:min(at+step*frameLength, whole)])
						require.NoError(t, err)
					}
					got = s.Final(got, plaintext[whole:])
					name := fmt.Sprintf("%d, %d workers, %d frames", frameLength, workers, step)
					require.True(t, bytes.Equal(body, got), name)
					if signed {
						require.Equal(t, want.Sum(nil), digest.Sum(nil), name)
						digest.Reset()
					}

					o := newOpener(config(t, frameLength, workers, digest), 100)
					opened := make([]byte, 0, len(plaintext))
					rest := got
					for {
						var used int
						limited := opened[:len(opened):min(cap(opened), len(opened)+step*frameLength)]
						limited, used, err = o.Frames(limited, rest)
						require.NoError(t, err)
						opened, rest = opened[:len(limited)], rest[used:]
						part, err := o.Next(rest)
						require.NoError(t, err)
						if part.Last {
							opened, used, err = o.Last(opened, rest, part)
							require.NoError(t, err)
							require.Equal(t, len(rest), used)
							break
						}
					}
					require.True(t, bytes.Equal(plaintext, opened), name)
					require.EqualValues(t, 100+len(body), o.Offset())
					if signed {
						require.Equal(t, want.Sum(nil), digest.Sum(nil), name)
					}
				}
			}
		}
	}
}

// A message has at most 2^32-1 frames, and no regular one has the number that
// marks the final one.
func TestFrameNumbersEnd(t *testing.T) {
	s := newSealer(config(t, 1, 1, nil))
	s.next = math.MaxUint32 - 2
	_, err := s.Frames(nil, text(3))
	require.ErrorIs(t, err, ErrTooLong)
	body, err := s.Frames(nil, text(2))
	require.NoError(t, err)
	_, err = s.Frames(nil, text(1))
	require.ErrorIs(t, err, ErrTooLong)
	body = s.Final(body, nil)

	o := newOpener(config(t, 1, 1, nil), 0)
	o.next = math.MaxUint32 - 2
	out, used, err := o.Frames(make([]byte, 0, 10), body)
	require.NoError(t, err)
	require.Equal(t, text(2), out)
	part, err := o.Next(body[used:])
	require.NoError(t, err)
	require.True(t, part.Last)
	_, _, err = o.Last(nil, body[used:], part)
	require.NoError(t, err)

	// A frame that counts on is refused.
	forged := append(format.AppendFrameHeader(nil, format.FrameHeader{Sequence: math.MaxUint32}), make([]byte, 17)...)
	o = newOpener(config(t, 1, 1, nil), 0)
	o.next = math.MaxUint32
	out, _, err = o.Frames(make([]byte, 0, 10), append(forged, make([]byte, 100)...))
	require.NoError(t, err)
	require.Empty(t, out)
}

// An unframed body larger than the format allows, or than the caller, or than
// this system, is refused when its length is read.
func TestUnframedLimits(t *testing.T) {
	header := func(n uint64) []byte { return format.AppendUnframedHeader(nil, format.UnframedHeader{Length: n}) }
	c := config(t, 0, 1, nil)
	o := newOpener(c, 70)
	_, err := o.Next(header(format.MaxUnframedLength + 1))
	require.ErrorIs(t, err, format.ErrMalformed)
	var parse *format.ParseError
	require.ErrorAs(t, err, &parse)
	require.EqualValues(t, 82, parse.Offset)
	_, err = o.Next(header(format.MaxUnframedLength))
	if math.MaxInt > math.MaxInt32 {
		require.NoError(t, err)
	} else {
		require.ErrorIs(t, err, ErrLimit)
	}
	_, err = o.Next(header(5)[:19])
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	c.MaxUnframed = 5
	o = newOpener(c, 70)
	_, err = o.Next(header(6))
	require.ErrorIs(t, err, ErrLimit)
	_, err = o.Next(header(5))
	require.NoError(t, err)
}

// What an Opener did not open stays out of the caller's slice, even if
// another goroutine opened it after a frame that failed.
func TestNothingAfterABadFrameStays(t *testing.T) {
	const frameLength = 4096
	plaintext := bytes.Repeat([]byte{0xAA}, 200*frameLength)
	s := newSealer(config(t, frameLength, 1, nil))
	body, err := s.Frames(nil, plaintext)
	require.NoError(t, err)
	stride := frameLength + format.FrameOverhead
	for _, bad := range []int{0, 20, 199} {
		altered := bytes.Clone(body)
		altered[bad*stride+100] ^= 1
		for _, workers := range []int{1, 4} {
			o := newOpener(config(t, frameLength, workers, nil), 0)
			dst := make([]byte, len(plaintext))
			out, used, err := o.Frames(dst[:0], altered)
			require.ErrorIs(t, err, ErrAuthentication)
			require.ErrorContains(t, err, fmt.Sprintf("frame %d:", bad+1))
			require.Equal(t, bad*frameLength, len(out))
			require.Equal(t, bad*stride, used)
			require.Zero(t, len(bytes.Trim(dst[len(out):], "\x00")))
		}
	}
}

// slow is an AEAD that keeps the one frame that fails back until later ones are
// done, and these until that one has come. It knows how many were at work at once.
type slow struct {
	cipher.AEAD
	bad     uint32        // sequence number of the frame that fails
	came    chan struct{} // closed when that one is to be opened
	wait    chan struct{} // closed when enough later ones were opened
	others  atomic.Int64
	enough  int64
	mu      sync.Mutex
	working int
	most    int
}

func (s *slow) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.working++
	s.most = max(s.most, s.working)
}

func (s *slow) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.working--
}

func (s *slow) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	s.enter()
	defer s.leave()
	switch sequence := binary.BigEndian.Uint32(aad[len(aad)-12:]); {
	case sequence == s.bad:
		close(s.came)
		select {
		case <-s.wait:
		case <-time.After(10 * time.Second): // the test fails then
		}
	case sequence > s.bad:
		<-s.came
		if s.others.Add(1) == s.enough {
			close(s.wait)
		}
	}
	return s.AEAD.Open(dst, nonce, ciphertext, aad)
}

// Later frames that were opened before an earlier one failed are cleared, and
// several goroutines do open frames at once.
func TestFramesOpenedAheadOfABadOneAreCleared(t *testing.T) {
	const frameLength, frames, bad = 4096, 400, 3
	s := newSealer(config(t, frameLength, 1, nil))
	body, err := s.Frames(nil, bytes.Repeat([]byte{0xAA}, frames*frameLength))
	require.NoError(t, err)
	body[bad*(frameLength+format.FrameOverhead)+16] ^= 1
	c := config(t, frameLength, 4, nil)
	aead := &slow{AEAD: c.AEAD, bad: bad + 1, came: make(chan struct{}), wait: make(chan struct{}), enough: 100}
	c.AEAD = aead
	dst := make([]byte, frames*frameLength)
	out, _, err := newOpener(c, 0).Frames(dst[:0], body)
	require.ErrorIs(t, err, ErrAuthentication)
	require.Len(t, out, bad*frameLength)
	require.GreaterOrEqual(t, aead.others.Load(), aead.enough, "frames were opened ahead")
	require.Greater(t, aead.most, 1)
	require.Zero(t, len(bytes.Trim(dst[len(out):], "\x00")))
}

// A Window grows with what arrives and keeps what was not discarded.
func TestWindow(t *testing.T) {
	var w Window
	source := bytes.NewReader(text(1 << 20))
	var got []byte
	for need := 1; ; need = need*3%70_000 + 1 {
		var err error
		for err == nil && w.Len() < need {
			err = w.ReadOnce(source, max(need, 32<<10))
		}
		if err != nil {
			require.Equal(t, io.EOF, err)
			require.Less(t, w.Len(), need)
			got = append(got, w.Bytes()...)
			break
		}
		require.GreaterOrEqual(t, w.Len(), need)
		require.LessOrEqual(t, len(w.buf), 70_000)
		got = append(got, w.Bytes()[:need]...)
		w.Discard(need)
	}
	require.True(t, bytes.Equal(text(1<<20), got))

	w = Window{}
	require.NoError(t, w.ReadOnce(bytes.NewReader(text(100)), 1<<20))
	require.LessOrEqual(t, len(w.buf), firstSize)
	require.NoError(t, w.ReadOnce(bytes.NewReader(text(100)), 1<<30))
	require.LessOrEqual(t, len(w.buf), firstSize, "what was asked for did not arrive")

	w = Window{}
	for range 100 {
		w.Append(text(99), 9900)
	}
	require.Equal(t, 9900, w.Len())
	require.LessOrEqual(t, len(w.buf), 9900)
	require.Equal(t, bytes.Repeat(text(99), 100), w.Bytes())
}

// Sealing and opening a frame allocates nothing.
func TestNoAllocationPerFrame(t *testing.T) {
	for _, digest := range []hash.Hash{nil, sha512.New384()} {
		s := newSealer(config(t, 1000, 1, digest))
		plaintext, out := text(16_000), make([]byte, 0, 20_000)
		require.Zero(t, testing.AllocsPerRun(20, func() {
			var err error
			if out, err = s.Frames(out[:0], plaintext); err != nil {
				panic(err)
			}
		}))
		s = newSealer(config(t, 1000, 1, nil))
		body, err := s.Frames(nil, text(1_000_000))
		require.NoError(t, err)
		o := newOpener(config(t, 1000, 1, digest), 0)
		require.Zero(t, testing.AllocsPerRun(20, func() {
			var used int
			if out, used, err = o.Frames(out[:0], body[:16*1032]); err != nil || used != 16*1032 {
				panic(err)
			}
			if _, err := o.Next(body[used:]); err != nil {
				panic(err)
			}
			body = body[used:]
		}))
	}
}
