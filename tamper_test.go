package esdk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// fewDecryptors are enough where each byte of many messages is changed.
var fewDecryptors = []decryptor{oneShot, reader("reads of 7", asIs, 7), writerTo("WriteTo", asIs)}

// eachSmallMessage runs f with a message of every suite, framed and unframed,
// whose plaintext is two frames and a half.
func eachSmallMessage(t *testing.T, f func(t *testing.T, id suite.ID, message, plaintext []byte)) {
	for _, id := range suite.All() {
		for _, unframed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/unframed=%v", id, unframed), func(t *testing.T) {
				t.Parallel()
				plaintext := text(25)
				opts := esdk.EncryptOptions{EncryptionContext: map[string]string{"k": "v"}, Unframed: unframed}
				if !unframed {
					opts.FrameLength = 10
				}
				f(t, id, encrypt(t, id, plaintext, opts), plaintext)
			})
		}
	}
}

// checkReleased checks what a stream gave out of a message that failed: whole
// frames from the start, and nothing of the last frame of a signed one.
func checkReleased(t *testing.T, id suite.ID, message, plaintext, released []byte, err error, where string) {
	t.Helper()
	require.Truef(t, bytes.HasPrefix(plaintext, released), "%s: released %q", where, released)
	limit := len(plaintext)
	if id.Signing() || !errors.Is(err, esdk.ErrTrailingData) {
		h, headerErr := format.ReadHeader(bytes.NewReader(message), 0)
		require.NoError(t, headerErr)
		limit = 0
		if h.FrameLength > 0 {
			limit = 20
		}
	}
	require.LessOrEqualf(t, len(released), limit, "%s: released %q", where, released)
}

// Every flipped bit position, one in each byte, makes every way to decrypt
// fail.
func TestEveryFlippedByteFails(t *testing.T) {
	eachSmallMessage(t, func(t *testing.T, id suite.ID, message, plaintext []byte) {
		for i := range message {
			altered := slices.Clone(message)
			altered[i] ^= 1 << (i % 8)
			for _, d := range fewDecryptors {
				where := fmt.Sprintf("%s, byte %d", d.name, i)
				released, err := d.run(allowAll, altered, rawAES(t), nil)
				require.Error(t, err, where)
				require.Regexp(t, "^esdk: ", err.Error(), where)
				checkReleased(t, id, message, plaintext, released, err, where)
			}
		}
	})
}

// A message that is cut short anywhere fails with io.ErrUnexpectedEOF.
func TestEveryCutFails(t *testing.T) {
	eachSmallMessage(t, func(t *testing.T, id suite.ID, message, plaintext []byte) {
		for i := range message {
			for _, d := range fewDecryptors {
				where := fmt.Sprintf("%s, cut to %d bytes", d.name, i)
				released, err := d.run(allowAll, message[:i], rawAES(t), nil)
				require.ErrorIs(t, err, io.ErrUnexpectedEOF, where)
				var parse *format.ParseError
				require.ErrorAs(t, err, &parse, where)
				require.EqualValues(t, i, parse.Offset, where)
				if !id.Signing() && i >= len(message) {
					continue
				}
				checkReleased(t, id, message, plaintext, released, err, where)
			}
		}
	})
}

// Bytes after the message fail, and only after an unsigned or verified message
// has been given out.
func TestTrailingBytesFail(t *testing.T) {
	eachSmallMessage(t, func(t *testing.T, id suite.ID, message, plaintext []byte) {
		for _, tail := range [][]byte{{0}, message, make([]byte, 100_000)} {
			for _, d := range decryptors {
				released, err := d.run(allowAll, slices.Concat(message, tail), rawAES(t), nil)
				require.ErrorIs(t, err, esdk.ErrTrailingData, d.name)
				if d.name == oneShot.name {
					require.Empty(t, released)
				} else {
					require.Equal(t, plaintext, released, d.name)
				}
			}
		}
	})
}

// layout is where things stand in a message.
type layout struct {
	header         *format.Header
	frames         []int // where each starts, the final one last
	footer         int   // where it starts, or the message ends
	message        []byte
	frameLength    int
	finalPlaintext int
}

func layoutOf(t *testing.T, message []byte) layout {
	t.Helper()
	r := bytes.NewReader(message)
	h, err := format.ReadHeader(r, 0)
	require.NoError(t, err)
	l := layout{header: h, message: message, frameLength: int(h.FrameLength)}
	for at := len(message) - r.Len(); ; {
		f, err := format.ParseFrameHeader(message[at:], h.FrameLength)
		require.NoError(t, err)
		l.frames = append(l.frames, at)
		at += f.Size() + int(f.Length) + suite.TagSize
		if f.Final {
			l.footer, l.finalPlaintext = at, int(f.Length)
			return l
		}
	}
}

// frame returns the bytes of frame i, from 0.
func (l layout) frame(i int) []byte {
	end := l.footer
	if i+1 < len(l.frames) {
		end = l.frames[i+1]
	}
	return l.message[l.frames[i]:end]
}

// Frames that are left out, given twice, exchanged or taken from another
// message fail at their place.
func TestFramesOutOfPlaceFail(t *testing.T) {
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
		plaintext := text(45)
		l := layoutOf(t, encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: 10}))
		other := layoutOf(t, encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: 10}))
		build := func(frames ...[]byte) []byte {
			return slices.Concat(l.message[:l.frames[0]], slices.Concat(frames...), l.message[l.footer:])
		}
		for name, test := range map[string]struct {
			message []byte
			good    int // frames that may be released before
			want    error
		}{
			"left out":        {build(l.frame(0), l.frame(2), l.frame(3), l.frame(4)), 1, format.ErrMalformed},
			"first left out":  {build(l.frame(1), l.frame(2), l.frame(3), l.frame(4)), 0, format.ErrMalformed},
			"twice":           {build(l.frame(0), l.frame(1), l.frame(1), l.frame(2), l.frame(3), l.frame(4)), 2, format.ErrMalformed},
			"exchanged":       {build(l.frame(0), l.frame(2), l.frame(1), l.frame(3), l.frame(4)), 1, format.ErrMalformed},
			"of another":      {build(l.frame(0), l.frame(1), other.frame(2), l.frame(3), l.frame(4)), 2, esdk.ErrAuthentication},
			"final too early": {build(l.frame(0), l.frame(1), l.frame(4)), 2, format.ErrMalformed},
			"no final":        {build(l.frame(0), l.frame(1), l.frame(2), l.frame(3)), 4, nil},
			"final twice":     {build(l.frame(0), l.frame(1), l.frame(2), l.frame(3), l.frame(4), l.frame(4)), 5, nil},
		} {
			for _, d := range decryptors {
				released, err := d.run(allowAll, test.message, rawAES(t), nil)
				require.Error(t, err, "%s, %s", name, d.name)
				if test.want != nil {
					require.ErrorIs(t, err, test.want, "%s, %s", name, d.name)
				}
				if d.name == oneShot.name {
					require.Empty(t, released)
					continue
				}
				good := min(test.good*10, 45)
				if id.Signing() {
					good = min(good, 40)
				}
				require.Equal(t, string(plaintext[:good]), string(released), "%s, %s", name, d.name)
			}
		}
	}
}

// A final frame as long as a frame, which other SDKs write, and an empty one
// decrypt; one that claims more than a frame fails.
func TestFinalFrameLengths(t *testing.T) {
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(20), esdk.EncryptOptions{FrameLength: 10})
	l := layoutOf(t, message)
	require.Equal(t, 0, l.finalPlaintext)
	altered := slices.Clone(message)
	binary.BigEndian.PutUint32(altered[l.frames[2]+20:], 11)
	for _, d := range decryptors {
		_, err := d.run(allowAll, altered, rawAES(t), nil)
		require.ErrorIs(t, err, format.ErrMalformed, d.name)
		require.ErrorContains(t, err, "more than the frame length 10", d.name)
	}
}

// A stream of a signed message gives out all frames but the last before the
// signature, and the last only if it verifies.
func TestSignedFinalFrameIsHeld(t *testing.T) {
	for _, id := range suite.All() {
		if !id.Signing() {
			continue
		}
		for _, n := range []int{0, 5, 10, 25, 30} {
			plaintext := text(n)
			message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: 10})
			l := layoutOf(t, message)
			for at := l.footer + 2; at < len(message); at += 9 {
				altered := slices.Clone(message)
				altered[at] ^= 0x10
				for _, d := range fewDecryptors {
					released, err := d.run(allowAll, altered, rawAES(t), nil)
					require.ErrorIs(t, err, esdk.ErrSignature, d.name)
					if d.name == oneShot.name {
						require.Empty(t, released)
					} else {
						require.Equal(t, string(plaintext[:n-l.finalPlaintext]), string(released), d.name)
					}
				}
			}
			// The footer has not arrived: all but the last frame is there.
			r, w := io.Pipe()
			go w.Write(message[:l.footer])
			d, err := clientFor(id).NewDecryptReader(bg, r, rawAES(t), nil)
			require.NoError(t, err)
			got := make([]byte, n-l.finalPlaintext)
			_, err = io.ReadFull(d, got)
			require.NoError(t, err)
			require.Equal(t, plaintext[:len(got)], got)
			w.CloseWithError(io.ErrClosedPipe)
			m, err := d.Read(make([]byte, 10))
			require.Zero(t, m)
			require.ErrorIs(t, err, io.ErrClosedPipe)
		}
	}
}

// Unframed bodies of signed messages are held likewise.
func TestSignedUnframedBodyIsHeld(t *testing.T) {
	message := encrypt(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, text(100), esdk.EncryptOptions{Unframed: true})
	message[len(message)-1] ^= 1
	for _, d := range decryptors {
		released, err := d.run(allowAll, message, rawAES(t), nil)
		require.ErrorIs(t, err, esdk.ErrSignature)
		require.Empty(t, released)
	}
}

// The bytes that are given out before an error are the same with any number of
// goroutines, through Read and through WriteTo: all frames before the bad one.
func TestReleasedBytesDoNotDependOnConcurrency(t *testing.T) {
	const frame = 1000
	plaintext := text(1_500_500)
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
		l := layoutOf(t, encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: frame}))
		for _, bad := range []int{0, 1, 63, 64, 65, 700, 1499, 1500} {
			for name, alter := range map[string]func(m []byte) []byte{
				"content":  func(m []byte) []byte { m[l.frames[bad]+30] ^= 1; return m },
				"sequence": func(m []byte) []byte { m[l.frames[bad]+7] ^= 1; m[l.frames[bad]+3] ^= 1; return m },
				"cut":      func(m []byte) []byte { return m[:l.frames[bad]+20] },
			} {
				message := alter(slices.Clone(l.message))
				for _, workers := range []int{1, 2, 7} {
					for _, d := range []decryptor{oneShot, reader("Read", asIs, 4096), reader("large Read", asIs, 1<<20), writerTo("WriteTo", asIs)} {
						released, err := d.run(&esdk.Client{Concurrency: workers}, message, rawAES(t), nil)
						require.Error(t, err)
						if d.name == oneShot.name {
							require.Empty(t, released)
							continue
						}
						require.Equal(t, bad*frame, len(released), "%s of frame %d, %s, %d goroutines: %v", name, bad, d.name, workers, err)
						require.True(t, bytes.Equal(plaintext[:bad*frame], released))
					}
				}
			}
		}
	}
}

// Messages that look like Base64 fail with an error that says so.
func TestBase64InputIsNamed(t *testing.T) {
	for _, prefix := range []string{"AYADeA==", "AgV4"} {
		for _, d := range decryptors {
			_, err := d.run(allowAll, []byte(prefix+"somethingthatislongenough"), rawAES(t), nil)
			require.ErrorIs(t, err, format.ErrBase64, d.name)
		}
	}
}
