package format_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/big"
	"os"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// peerHeaders returns a header that each peer wrote of each suite, with every
// number of data keys and with and without required keys, from the messages
// that testdata/README.md describes.
func peerHeaders(f *testing.F) (headers [][]byte) {
	f.Helper()
	b, err := os.ReadFile("../testdata/peers/messages.json")
	require.NoError(f, err)
	var messages []struct {
		Peer, Suite    string
		Keys, Required []string
		FrameLength    int64
		Message        []byte
	}
	require.NoError(f, json.Unmarshal(b, &messages))
	type class struct {
		peer, suite string
		keys        int
		framed      bool
	}
	seen := map[class]bool{}
	for _, m := range messages {
		c := class{m.Peer, m.Suite, len(m.Keys), m.FrameLength > 0}
		if seen[c] {
			continue
		}
		seen[c] = true
		h, err := read(f, m.Message).AppendBinary(nil)
		require.NoError(f, err)
		headers = append(headers, h)
	}
	return headers
}

// Whatever is read encodes to the same bytes again, but for the order of the
// pairs of the encryption context and the count of an empty one; what is cut
// short is truncated, and the reader that the bytes come from changes nothing.
func FuzzReadHeader(f *testing.F) {
	v1, v2 := unhex(f, version1), unhex(f, version2)
	f.Add(v1)
	f.Add(v2)
	f.Add(append(bytes.Clone(v1), "body"...))
	f.Add(v1[:50])
	f.Add(withContext(f, []byte{0, 0}))
	f.Add(withContext(f, unhex(f, "0002 0001 62 0000 0001 61 0000")))
	f.Add([]byte("AYADeA"))
	f.Add([]byte{})
	for _, h := range peerHeaders(f) {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := format.ReadHeader(r, 0)
		again, againErr := format.ReadHeader(iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(b))), 0)
		require.Equal(t, h, again)
		require.Equal(t, err, againErr)
		if err != nil {
			require.Nil(t, h)
			requireParseError(t, err, len(b))
			return
		}
		raw, err := h.AppendBinary([]byte("before"))
		require.NoError(t, err)
		raw, ok := bytes.CutPrefix(raw, []byte("before"))
		require.True(t, ok)
		require.Equal(t, b[:len(b)-r.Len()], raw)
		require.Equal(t, raw[len(raw)-len(h.IV)-len(h.Tag):], bytes.Join([][]byte{h.IV, h.Tag}, nil))

		for _, cut := range []int{0, len(raw) / 3, len(raw) / 2, len(raw) - len(h.Tag), len(raw) - 1} {
			_, err := format.ReadHeader(bytes.NewReader(raw[:cut]), 0)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			requireParseError(t, err, cut)
		}
		n := len(h.EncryptedDataKeys)
		limited, err := format.ReadHeader(bytes.NewReader(b), n)
		require.NoError(t, err)
		require.Equal(t, h, limited)
		if n > 1 {
			_, err := format.ReadHeader(bytes.NewReader(b), n-1)
			require.ErrorIs(t, err, format.ErrTooManyDataKeys)
			requireParseError(t, err, len(b))
		}

		at := 20 // of the context's length
		if h.Version == 2 {
			at = 35
		}
		size := int(binary.BigEndian.Uint16(raw[at:]))
		canonical, err := format.AppendEncryptionContext(nil, h.EncryptionContext)
		require.NoError(t, err)
		if size != 2 { // 2 is a count of no pairs
			require.Len(t, canonical, size)
		}
		length := binary.BigEndian.AppendUint16(nil, uint16(len(canonical)))
		want := bytes.Join([][]byte{raw[:at], length, canonical, raw[at+2+size:]}, nil)
		require.Equal(t, want, encoded(t, h))
	})
}

// requireParseError checks that err is of a kind that ReadHeader documents and
// points into the size bytes that there were.
func requireParseError(t *testing.T, err error, size int) {
	t.Helper()
	var parse *format.ParseError
	require.ErrorAs(t, err, &parse)
	require.NotEmpty(t, parse.Field)
	require.GreaterOrEqual(t, parse.Offset, int64(0))
	require.LessOrEqual(t, parse.Offset, int64(size))
	kinds := 0
	for _, kind := range []error{format.ErrMalformed, format.ErrUnsupportedSuite, format.ErrBase64, format.ErrTooManyDataKeys, io.ErrUnexpectedEOF} {
		if errors.Is(err, kind) {
			kinds++
		}
	}
	require.Equal(t, 1, kinds, "%v", err)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		require.EqualValues(t, size, parse.Offset)
	}
}

// naiveContext parses a context as data-format/message-header.md has it, byte
// after byte; ok says whether it is one.
func naiveContext(section []byte) (ec map[string]string, ok bool) {
	ec = map[string]string{}
	if len(section) == 0 {
		return ec, true
	}
	field := func() (string, bool) {
		if len(section) < 2 {
			return "", false
		}
		n := int(section[0])<<8 | int(section[1])
		if section = section[2:]; n > len(section) {
			return "", false
		}
		s := string(section[:n])
		section = section[n:]
		return s, utf8.ValidString(s)
	}
	if len(section) < 2 {
		return nil, false
	}
	count := int(section[0])<<8 | int(section[1])
	section = section[2:]
	for range count {
		k, good := field()
		v, fine := field()
		if _, dup := ec[k]; dup || !good || !fine {
			return nil, false
		}
		ec[k] = v
	}
	return ec, len(section) == 0
}

// The context of a header is what its grammar says, no more and no less, and
// what its canonical serialisation parses to.
func FuzzEncryptionContext(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0})
	f.Add([]byte{0, 0, 0})
	f.Add(unhex(f, "0001 0001 61 0001 62"))
	f.Add(unhex(f, "0002 0001 62 0000 0001 61 0000"))
	f.Add(unhex(f, "0002 0001 61 0000 0001 61 0000"))
	f.Add(unhex(f, "0002 0000 0000 0000 0000"))
	f.Add(unhex(f, "0001 0002 c328 0000"))
	f.Add(unhex(f, "0002 0003 efbd9e 0000 0004 f0908080 0000"))
	for _, b := range peerHeaders(f) {
		at := 20
		if b[0] == 2 {
			at = 35
		}
		f.Add(b[at+2 : at+2+int(binary.BigEndian.Uint16(b[at:]))])
	}
	f.Fuzz(func(t *testing.T, section []byte) {
		if len(section) > 65535 {
			return
		}
		want, ok := naiveContext(section)
		h, err := format.ReadHeader(bytes.NewReader(withContext(t, section)), 0)
		require.Equal(t, ok, err == nil, "%v", err)
		if err != nil {
			require.ErrorIs(t, err, format.ErrMalformed)
			return
		}
		require.Equal(t, want, h.EncryptionContext)
		canonical, err := format.AppendEncryptionContext(nil, h.EncryptionContext)
		require.NoError(t, err)
		again := read(t, withContext(t, canonical))
		require.Equal(t, h.EncryptionContext, again.EncryptionContext)
		twice, err := format.AppendEncryptionContext(nil, again.EncryptionContext)
		require.NoError(t, err)
		require.Equal(t, canonical, twice)
	})
}

// bigInt returns n as a big.Int, in which the sums below cannot overflow.
func bigInt(n int64) *big.Int { return big.NewInt(n) }

// MessageLength is the sum that the format makes of its parts, PlaintextLength
// inverts it, and whatever either accepts the other does too.
func FuzzLengths(f *testing.F) {
	for i := range suite.All() {
		for _, frameLength := range []uint32{0, 1, 16, 100, 4096, 1 << 31, 1<<32 - 1} {
			for _, n := range []int64{0, 1, 99, 100, 101, 4096, 1<<36 - 32, 1 << 40, 1<<63 - 1, -1} {
				f.Add(uint8(i), frameLength, n)
			}
		}
	}
	for i, id := range suite.All() { // round the longest message that an int64 counts
		whole, err := header(f, id, math.MaxUint32).MessageLength(0)
		require.NoError(f, err)
		longest := int64(math.MaxInt64)
		for range 5 { // it has so many frames that they take from its own length
			longest = math.MaxInt64 - whole - longest/math.MaxUint32*format.FrameOverhead
		}
		for d := int64(-1); d <= 1; d++ {
			f.Add(uint8(i), uint32(math.MaxUint32), longest+d)
		}
	}
	f.Fuzz(func(t *testing.T, id uint8, frameLength uint32, n int64) {
		h := header(t, suite.All()[int(id)%len(suite.All())], frameLength)
		requireMessageLength(t, h, n)
		requirePlaintextLength(t, h, n)
	})
}

// requireMessageLength compares h.MessageLength(n) with the sum of the parts.
func requireMessageLength(t *testing.T, h *format.Header, n int64) {
	t.Helper()
	raw, err := h.AppendBinary(nil)
	require.NoError(t, err)
	footer := int64(0)
	if h.Suite.Signing() {
		footer = 2 + int64(h.Suite.SignatureSize())
	}
	sum := bigInt(int64(len(raw)) + footer)
	sum.Add(sum, bigInt(n))
	fits := n >= 0
	if h.FrameLength == 0 {
		sum.Add(sum, bigInt(12+8+16))
		fits = fits && n <= 1<<36-32
	} else {
		regular := n / int64(h.FrameLength)
		sum.Add(sum, new(big.Int).Mul(bigInt(regular), bigInt(4+12+16)))
		sum.Add(sum, bigInt(4+4+12+4+16))
		fits = fits && regular < 1<<32-1
	}
	message, err := h.MessageLength(n)
	if require.Equal(t, fits && sum.IsInt64(), err == nil, "%v", err); err != nil {
		require.Zero(t, message)
		return
	}
	require.Equal(t, sum.Int64(), message)
	back, err := h.PlaintextLength(message)
	require.NoError(t, err)
	require.Equal(t, n, back)
	if !h.Suite.Signing() {
		return
	}
	for d := int64(-3); d <= 2; d++ { // as signatures vary
		if message > 1<<62 {
			break
		}
		near, err := h.PlaintextLength(message + d)
		if err != nil { // at the end of what is possible only
			require.True(t, n+d > 1<<36-32 || h.FrameLength > 0 && (n+d)/int64(h.FrameLength) >= 1<<32-2, "%v", err)
			continue
		}
		require.LessOrEqual(t, max(near-n, n-near), max(d, -d))
	}
}

// requirePlaintextLength checks what h.PlaintextLength says of a message of
// size bytes, whether or not there can be one.
func requirePlaintextLength(t *testing.T, h *format.Header, size int64) {
	t.Helper()
	n, err := h.PlaintextLength(size)
	if err != nil {
		require.Zero(t, n)
		return
	}
	require.GreaterOrEqual(t, n, int64(0))
	require.Less(t, n, size)
	if h.Suite.Signing() {
		return
	}
	message, err := h.MessageLength(n)
	if f := int64(h.FrameLength); err == nil && f > 0 && n > 0 && n%f == 0 && message != size {
		message -= format.FrameOverhead // others make the last frame a full one
	} else if err != nil { // with a full last frame alone does it fit: of all frames, or all that can be counted
		require.True(t, f > 0 && n%f == 0 && (n == f*format.MaxFrames || size > math.MaxInt64-format.FrameOverhead), "%v", err)
		return
	}
	require.Equal(t, size, message)
}
