package format_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
)

// Whatever is read encodes to the same bytes again, but for the order of the
// pairs of the encryption context and the count of an empty one.
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
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, err := format.ReadHeader(r, 0)
		if err != nil {
			require.Nil(t, h)
			var parseError *format.ParseError
			require.ErrorAs(t, err, &parseError)
			require.LessOrEqual(t, parseError.Offset, int64(len(b)))
			return
		}
		raw, err := h.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, b[:len(b)-r.Len()], raw)

		again, err := format.ReadHeader(iotest.OneByteReader(bytes.NewReader(b)), 0)
		require.NoError(t, err)
		require.Equal(t, h, again)

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

		n, err := h.MessageLength(12345)
		if err == nil {
			plaintext, err := h.PlaintextLength(n)
			require.NoError(t, err)
			require.EqualValues(t, 12345, plaintext)
		}
	})
}

// The context of a header is what its canonical serialisation parses to.
func FuzzEncryptionContext(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0})
	f.Add([]byte{0, 0, 0})
	f.Add(unhex(f, "0001 0001 61 0001 62"))
	f.Add(unhex(f, "0002 0001 62 0000 0001 61 0000"))
	f.Add(unhex(f, "0002 0001 61 0000 0001 61 0000"))
	f.Add(unhex(f, "0001 0002 c328 0000"))
	f.Add(unhex(f, "0002 0003 efbd9e 0000 0004 f0908080 0000"))
	f.Fuzz(func(t *testing.T, section []byte) {
		if len(section) > 65535 {
			return
		}
		h, err := format.ReadHeader(bytes.NewReader(withContext(t, section)), 0)
		if err != nil {
			require.ErrorIs(t, err, format.ErrMalformed)
			return
		}
		canonical, err := format.AppendEncryptionContext(nil, h.EncryptionContext)
		require.NoError(t, err)
		again := read(t, withContext(t, canonical))
		require.Equal(t, h.EncryptionContext, again.EncryptionContext)
		twice, err := format.AppendEncryptionContext(nil, again.EncryptionContext)
		require.NoError(t, err)
		require.Equal(t, canonical, twice)
	})
}
