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
	"github.com/esdk-go/esdk/internal/test/byhand"
	"github.com/esdk-go/esdk/suite"
)

// eachSmallMessage runs f with messages of every suite, framed, unframed and as
// .NET 4.0.0 wrote them, whose plaintext is two frames and a half. i is another
// in each.
func eachSmallMessage(t *testing.T, f func(t *testing.T, i int, id suite.ID, message, plaintext []byte)) {
	for i, id := range suite.All() {
		for j, kind := range []string{"framed", "unframed", "NET400"} {
			t.Run(fmt.Sprintf("%v/%s", id, kind), func(t *testing.T) {
				t.Parallel()
				plaintext := text(25)
				opts := esdk.EncryptOptions{EncryptionContext: map[string]string{"k": "v"}, Unframed: kind == "unframed"}
				if !opts.Unframed {
					opts.FrameLength = 10
				}
				message := encrypt(t, id, plaintext, opts)
				if kind == "NET400" {
					message = net400(t, message, plaintext)
				}
				f(t, i+j, id, message, plaintext)
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
	eachSmallMessage(t, func(t *testing.T, m int, id suite.ID, message, plaintext []byte) {
		for i := range message {
			altered := slices.Clone(message)
			altered[i] ^= 1 << (i % 8)
			for _, d := range turn(fewDecryptors, m+i) {
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
	eachSmallMessage(t, func(t *testing.T, m int, id suite.ID, message, plaintext []byte) {
		for i := range message {
			for _, d := range turn(fewDecryptors, m+i) {
				where := fmt.Sprintf("%s, cut to %d bytes", d.name, i)
				released, err := d.run(allowAll, message[:i], rawAES(t), nil)
				require.ErrorIs(t, err, io.ErrUnexpectedEOF, where)
				var parse *format.ParseError
				require.ErrorAs(t, err, &parse, where)
				require.EqualValues(t, i, parse.Offset, where)
				checkReleased(t, id, message, plaintext, released, err, where)
			}
		}
	})
}

// Bytes after the message fail, and only after an unsigned or verified message
// has been given out.
func TestTrailingBytesFail(t *testing.T) {
	eachSmallMessage(t, func(t *testing.T, m int, id suite.ID, message, plaintext []byte) {
		for i, tail := range [][]byte{{0}, message, make([]byte, 100_000)} {
			for _, d := range append([]decryptor{oneShot}, turn(decryptors[1:], m+i)...) {
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

// Frames that are left out, given twice, exchanged or taken from another
// message fail at their place, as does a final frame that claims more than a
// frame.
func TestFramesOutOfPlaceFail(t *testing.T) {
	t.Parallel()
	for _, id := range parallelSuites {
		plaintext := text(45)
		message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: 10})
		of := byhand.Read(t, message)
		other := byhand.Read(t, encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: 10}))
		frame := func(i int) []byte { return of.Parts[i].Bytes }
		build := func(frames ...[]byte) []byte {
			return slices.Concat(message[:of.Parts[0].At], slices.Concat(frames...), message[len(of.Signed):])
		}
		tooLong := slices.Clone(frame(4))
		binary.BigEndian.PutUint32(tooLong[20:], 11)
		for name, test := range map[string]struct {
			message []byte
			good    int // frames that may be released before
			want    error
			says    string
		}{
			"left out":        {build(frame(0), frame(2), frame(3), frame(4)), 1, format.ErrMalformed, "sequence number 3 where 2 is due"},
			"first left out":  {build(frame(1), frame(2), frame(3), frame(4)), 0, format.ErrMalformed, "sequence number 2 where 1 is due"},
			"twice":           {build(frame(0), frame(1), frame(1), frame(2), frame(3), frame(4)), 2, format.ErrMalformed, "sequence number 2 where 3 is due"},
			"exchanged":       {build(frame(0), frame(2), frame(1), frame(3), frame(4)), 1, format.ErrMalformed, "sequence number 3 where 2 is due"},
			"of another":      {build(frame(0), frame(1), other.Parts[2].Bytes, frame(3), frame(4)), 2, esdk.ErrAuthentication, "frame 3"},
			"final too early": {build(frame(0), frame(1), frame(4)), 2, format.ErrMalformed, "sequence number 5 where 3 is due"},
			"final too long":  {build(frame(0), frame(1), frame(2), frame(3), tooLong), 4, format.ErrMalformed, "more than the frame length 10"},
			"no final":        {build(frame(0), frame(1), frame(2), frame(3)), 4, nil, ""},
			"final twice":     {build(frame(0), frame(1), frame(2), frame(3), frame(4), frame(4)), 5, nil, ""},
		} {
			for _, d := range decryptors {
				released, err := d.run(allowAll, test.message, rawAES(t), nil)
				require.Error(t, err, "%s, %s", name, d.name)
				require.ErrorContains(t, err, test.says, "%s, %s", name, d.name)
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

// A stream of a signed message gives out all frames but the last before the
// signature, and the last, or an unframed body, only if it verifies.
func TestSignedFinalFrameIsHeld(t *testing.T) {
	for s, id := range suite.All() {
		if !id.Signing() {
			continue
		}
		for i, n := range []int{0, 5, 10, 25, 30, -100} {
			t.Run(fmt.Sprintf("%v/%d", id, n), func(t *testing.T) {
				t.Parallel()
				opts := esdk.EncryptOptions{FrameLength: 10}
				if n < 0 {
					n, opts = -n, esdk.EncryptOptions{Unframed: true}
				}
				plaintext := text(n)
				message := encrypt(t, id, plaintext, opts)
				of := byhand.Read(t, message)
				early := n - int(of.Parts[len(of.Parts)-1].Length)
				footer := len(of.Signed)
				for at := footer + 2; at < len(message); at += 9 {
					altered := slices.Clone(message)
					altered[at] ^= 0x10
					for _, d := range turn(decryptors, s+i+at/9) {
						released, err := d.run(allowAll, altered, rawAES(t), nil)
						require.ErrorIs(t, err, esdk.ErrSignature, d.name)
						if d.name == oneShot.name {
							require.Empty(t, released)
						} else {
							require.Equal(t, string(plaintext[:early]), string(released), d.name)
						}
					}
				}
				// The footer has not arrived: all but the last frame is there.
				r, w := io.Pipe()
				go w.Write(message[:footer])
				d, err := clientFor(id).NewDecryptReader(bg, r, rawAES(t), nil)
				require.NoError(t, err)
				got := make([]byte, early)
				_, err = io.ReadFull(d, got)
				require.NoError(t, err)
				require.Equal(t, plaintext[:early], got)
				w.CloseWithError(io.ErrClosedPipe)
				m, err := d.Read(make([]byte, 10))
				require.Zero(t, m)
				require.ErrorIs(t, err, io.ErrClosedPipe)
			})
		}
	}
}

// What is given out before an error, and the error, are the same through Read
// and through WriteTo and with any number of goroutines: all frames before the
// bad one.
func TestReleasedBytesDoNotDependOnConcurrency(t *testing.T) {
	for s, id := range parallelSuites {
		for _, of := range []struct {
			frameLength, frames int
			bad                 []int // places round those where goroutines work on frames: 123, 31 or one at a time
		}{
			{1000, 1500, []int{0, 1, 63, 64, 65, 122, 123, 124, 246, 700, 1499, 1500}},
			{4096, 150, []int{0, 1, 15, 30, 31, 32, 46, 61, 62, 63, 77, 92, 93, 94, 108, 123, 124, 125, 139, 149, 150}},
			{100_000, 12, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		} {
			t.Run(fmt.Sprintf("%v/%d", id, of.frameLength), func(t *testing.T) {
				t.Parallel()
				plaintext := text(of.frameLength*of.frames + 5)
				message := encrypt(t, id, plaintext, esdk.EncryptOptions{FrameLength: int64(of.frameLength)})
				parts := byhand.Read(t, message).Parts
				alterations := []struct {
					name  string
					alter func(m []byte, at int) []byte
				}{
					{"tag", func(m []byte, at int) []byte { m[at+30] ^= 1; return m }},
					{"sequence", func(m []byte, at int) []byte { m[at+3] ^= 1; m[at+7] ^= 1; return m }}, // of a final frame as well
					{"cut", func(m []byte, at int) []byte { return m[:at+20] }},
				}
				for i, bad := range of.bad {
					for j, a := range turn(alterations, s+i) {
						altered := a.alter(slices.Clone(message), parts[bad].At)
						var first error
						for k, workers := range []int{1, 2, 7} {
							for _, d := range turn([]decryptor{
								reader("Read", asIs, 4096), writerTo("WriteTo", asIs), oneShot, reader("large Read", asIs, 1<<20),
								writerTo("WriteTo from short reads", func(r io.Reader) io.Reader { return &atMost{r, 5000} }),
							}, i+j+k) {
								where := fmt.Sprintf("%s of frame %d, %s, %d goroutines", a.name, bad, d.name, workers)
								released, err := d.run(&esdk.Client{Concurrency: workers}, altered, rawAES(t), nil)
								require.Error(t, err, where)
								if first == nil {
									first = err
								}
								require.Equal(t, first.Error(), err.Error(), where)
								if d.name == oneShot.name {
									require.Empty(t, released, where)
									continue
								}
								require.Equal(t, bad*of.frameLength, len(released), where)
								require.True(t, bytes.Equal(plaintext[:len(released)], released), where)
							}
						}
					}
				}
			})
		}
	}
}

// atMost gives at most n bytes at once.
type atMost struct {
	r io.Reader
	n int
}

func (a *atMost) Read(p []byte) (int, error) { return a.r.Read(p[:min(len(p), a.n)]) }

// A message that was altered or cut at any byte, or that others follow, is not
// reencrypted: what was written never decrypts to more than whole frames from its
// start. Nor does it while the old message is not verified.
func TestReencryptOfAlteredMessages(t *testing.T) {
	eachSmallMessage(t, func(t *testing.T, m int, id suite.ID, message, plaintext []byte) {
		opts := &esdk.ReencryptOptions{Encrypt: esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey, FrameLength: 10}}
		// decrypted checks that what was written is cut short, and returns what it holds.
		decrypted := func(i int, written []byte, where string) []byte {
			_, err := oneShot.run(allowAll, written, rawAES(t), nil)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, where)
			released, err := fewDecryptors[1+(m+i)%2].run(allowAll, written, rawAES(t), nil)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, where)
			return released
		}
		fails := func(i int, altered []byte, where string) error {
			var out bytes.Buffer
			h, err := allowAll.Reencrypt(bg, &out, bytes.NewReader(altered), rawAES(t), rawAES(t), opts)
			require.Error(t, err, where)
			require.Nil(t, h, where)
			require.Regexp(t, "^esdk: ", err.Error(), where)
			released := decrypted(i, out.Bytes(), where)
			require.True(t, bytes.HasPrefix(plaintext, released), where)
			require.LessOrEqual(t, len(released), 20, where)
			return err
		}
		every := 4 // bytes, of which one is looked at
		if full() {
			every = 1
		}
		for i := m % every; i < len(message); i += every {
			for _, cut := range turn([]bool{false, true}, m+i/every) {
				if cut {
					require.ErrorIs(t, fails(i, message[:i], fmt.Sprintf("cut to %d bytes", i)), io.ErrUnexpectedEOF)
					continue
				}
				altered := slices.Clone(message)
				altered[i] ^= 1 << (i % 8)
				fails(i, altered, fmt.Sprintf("byte %d", i))
			}
		}
		for i, tail := range turn([][]byte{{0}, message, make([]byte, 100_000)}, m) {
			require.ErrorIs(t, fails(i, slices.Concat(message, tail), "trailing bytes"), esdk.ErrTrailingData)
		}

		opts.Encrypt.Suite = suite.AES256GCMHKDFSHA512CommitKeyECDSAP384
		var out bytes.Buffer
		rest, read := message, 0
		_, err := allowAll.Reencrypt(bg, &out, readerFunc(func(p []byte) (int, error) {
			if read%every == 0 {
				decrypted(read/every, out.Bytes(), fmt.Sprintf("after %d bytes", read))
			}
			if len(rest) == 0 {
				return 0, io.EOF
			}
			n := copy(p[:1], rest)
			rest, read = rest[n:], read+n
			return n, nil
		}), rawAES(t), rawAES(t), opts)
		require.NoError(t, err)
		got, _, err := allowAll.Decrypt(bg, out.Bytes(), rawAES(t), nil)
		require.NoError(t, err)
		require.Equal(t, plaintext, got)
	})
}
