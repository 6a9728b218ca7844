package format_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
)

func TestNewHeaderOfVersion1(t *testing.T) {
	want := unhex(t, version1)
	h, err := format.NewHeader(*fields1(), func(body []byte) (iv, tag []byte, err error) {
		require.Equal(t, want[:75], body, "the IV and the tag are not part of the body")
		return make([]byte, 12), sequence(0xa0, 16), nil
	})
	require.NoError(t, err)
	requireFields(t, read(t, want), h)
	b, err := h.AppendBinary([]byte("before"))
	require.NoError(t, err)
	require.Equal(t, append([]byte("before"), want...), b)
}

func TestNewHeaderOfVersion2HasNoIV(t *testing.T) {
	want := unhex(t, version2)
	h, err := format.NewHeader(*fields2(), func(body []byte) (iv, tag []byte, err error) {
		require.Equal(t, want[:91], body)
		return make([]byte, 12), sequence(0xa0, 16), nil
	})
	require.NoError(t, err)
	requireFields(t, read(t, want), h)
	require.Empty(t, h.IV)
	b, err := h.AppendBinary(nil)
	require.NoError(t, err)
	require.Equal(t, want, b)
}

func TestNewHeaderCopiesBytes(t *testing.T) {
	fields, iv, tag := fields1(), make([]byte, 12), sequence(0xa0, 16)
	var kept []byte
	h, err := format.NewHeader(*fields, func(body []byte) ([]byte, []byte, error) {
		kept = append(body, 0xee) // cannot reach what follows the body
		return iv, tag, nil
	})
	require.NoError(t, err)
	clear(kept)
	clear(iv)
	clear(tag)
	clear(fields.MessageID)
	for i := range fields.EncryptedDataKeys {
		clear(fields.EncryptedDataKeys[i].ProviderInfo)
		clear(fields.EncryptedDataKeys[i].Ciphertext)
	}
	clear(fields.EncryptedDataKeys)
	requireFields(t, read(t, unhex(t, version1)), h)
	b, err := h.AppendBinary(nil)
	require.NoError(t, err)
	require.Equal(t, unhex(t, version1)[75:], b[75:], "the tag is what was returned")
}

func TestNewHeaderIgnoresWhatTheFieldsCannotHold(t *testing.T) {
	fields := read(t, unhex(t, version1)) // with bytes of its own
	fields.FrameLength = 1
	fields.IV, fields.Tag = []byte("other"), []byte("other")
	fields.OpenedBy = &fields.EncryptedDataKeys[0]
	h, err := format.NewHeader(*fields, authentication)
	require.NoError(t, err)
	require.Nil(t, h.OpenedBy)
	require.Equal(t, make([]byte, 12), h.IV)
	require.Equal(t, sequence(0xa0, 16), h.Tag)
	b, err := h.AppendBinary(nil)
	require.NoError(t, err)
	requireFields(t, h, read(t, b))
	require.Equal(t, uint32(1), h.FrameLength)
}

func TestUserContextLeavesOutReservedPairs(t *testing.T) {
	h := &format.Header{EncryptionContext: map[string]string{"a": "1", "aws-crypto-public-key": "x", "aws-crypto-": "y", "Aws-crypto-z": "z"}}
	ec := h.UserContext()
	require.Equal(t, map[string]string{"a": "1", "Aws-crypto-z": "z"}, ec)
	ec["a"] = "2"
	require.Equal(t, "1", h.EncryptionContext["a"])
	require.Equal(t, map[string]string{}, new(format.Header).UserContext())
}

func TestAppendBinaryGivesTheBytesAsReceived(t *testing.T) {
	unsorted := unhex(t, version1)
	copy(unsorted[24:], unhex(t, "0002 c3a9 0000 0001 61 0001 31"))
	emptyCount := unhex(t, version2)
	emptyCount = bytes.Join([][]byte{emptyCount[:35], {0, 2, 0, 0}, emptyCount[37:]}, nil)
	otherIV := unhex(t, version1)
	copy(otherIV[75:], sequence(1, 12))
	for _, b := range [][]byte{unhex(t, version1), unhex(t, version2), unsorted, emptyCount, otherIV} {
		h := read(t, b)
		got, err := h.AppendBinary([]byte{1, 2, 3})
		require.NoError(t, err)
		require.Equal(t, append([]byte{1, 2, 3}, b...), got)
	}
	require.Equal(t, map[string]string{"a": "1", "é": ""}, read(t, unsorted).EncryptionContext)
	require.Empty(t, read(t, emptyCount).EncryptionContext)
	require.Equal(t, sequence(1, 12), read(t, otherIV).IV)
}

func TestChangingFieldsDoesNotChangeTheBytes(t *testing.T) {
	for _, header := range []string{version1, version2} {
		b := unhex(t, header)
		h := read(t, b)
		clear(h.MessageID)
		clear(h.CommitKey)
		clear(h.IV)
		clear(h.Tag)
		clear(h.EncryptionContext)
		for i := range h.EncryptedDataKeys {
			clear(h.EncryptedDataKeys[i].ProviderInfo)
			clear(h.EncryptedDataKeys[i].Ciphertext)
		}
		h.Version, h.Suite, h.FrameLength, h.ContentType = 9, 9, 9, 9
		got, err := h.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, b, got)

		got[0] = 0xff // nor does changing the result
		again, err := h.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, b, again)
	}
}

func TestAppendingToAFieldDoesNotChangeTheNext(t *testing.T) {
	h := read(t, unhex(t, version1))
	want := read(t, unhex(t, version1))
	_ = append(h.MessageID, 0xee)
	_ = append(h.CommitKey, 0xee)
	_ = append(h.IV, 0xee)
	_ = append(h.Tag, 0xee)
	for i := range h.EncryptedDataKeys {
		_ = append(h.EncryptedDataKeys[i].ProviderInfo, 0xee, 0xee, 0xee)
		_ = append(h.EncryptedDataKeys[i].Ciphertext, 0xee, 0xee, 0xee)
	}
	require.Equal(t, want, h)
}

func TestNewHeaderRefusesAnAuthenticationOfWrongSize(t *testing.T) {
	for _, test := range []struct {
		fields        *format.Header
		ivLen, tagLen int
	}{{fields1(), 0, 16}, {fields1(), 13, 16}, {fields1(), 12, 15}, {fields1(), 12, 0}, {fields2(), 0, 17}} {
		_, err := format.NewHeader(*test.fields, func([]byte) ([]byte, []byte, error) {
			return make([]byte, test.ivLen), make([]byte, test.tagLen), nil
		})
		require.ErrorIs(t, err, format.ErrMalformed, "%d, %d", test.ivLen, test.tagLen)
	}
	_, err := format.NewHeader(*fields1(), func([]byte) ([]byte, []byte, error) {
		return make([]byte, 12), make([]byte, 16), io.ErrClosedPipe
	})
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestAHeaderOfNobodyHasNoBytes(t *testing.T) {
	for _, h := range []*format.Header{{}, fields1(), withTag(fields2())} {
		_, err := h.AppendBinary(nil)
		require.ErrorIs(t, err, format.ErrMalformed)
		_, err = h.MessageLength(1)
		require.ErrorIs(t, err, format.ErrMalformed)
		_, err = h.PlaintextLength(1000)
		require.ErrorIs(t, err, format.ErrMalformed)
	}
}

func TestFieldsThatMakeNoHeaderAreNotEncoded(t *testing.T) {
	const long = 1 << 16
	for _, test := range []struct {
		name   string
		fields *format.Header
		spoil  func(*format.Header)
		want   error
	}{
		{"no suite", fields1(), func(h *format.Header) { h.Suite = 0 }, format.ErrUnsupportedSuite},
		{"unknown suite", fields1(), func(h *format.Header) { h.Suite = 0x0072 }, format.ErrUnsupportedSuite},
		{"version 0", fields1(), func(h *format.Header) { h.Version = 0 }, format.ErrMalformed},
		{"version 2 with a suite of version 1", fields1(), func(h *format.Header) { h.Version = 2 }, format.ErrMalformed},
		{"version 1 with a suite of version 2", fields2(), func(h *format.Header) { h.Version = 1 }, format.ErrMalformed},
		{"no message ID", fields1(), func(h *format.Header) { h.MessageID = nil }, format.ErrMalformed},
		{"message ID of version 2", fields1(), func(h *format.Header) { h.MessageID = make([]byte, 32) }, format.ErrMalformed},
		{"message ID of version 1", fields2(), func(h *format.Header) { h.MessageID = make([]byte, 16) }, format.ErrMalformed},
		{"context not UTF-8", fields1(), func(h *format.Header) { h.EncryptionContext = map[string]string{"\xff": ""} }, format.ErrMalformed},
		{"context too long", fields1(), func(h *format.Header) { h.EncryptionContext = map[string]string{"": strings.Repeat("x", 65530)} }, format.ErrMalformed},
		{"no data keys", fields1(), func(h *format.Header) { h.EncryptedDataKeys = nil }, format.ErrMalformed},
		{"65536 data keys", fields1(), func(h *format.Header) { h.EncryptedDataKeys = make([]format.EncryptedDataKey, long) }, format.ErrMalformed},
		{"provider ID not UTF-8", fields1(), func(h *format.Header) { h.EncryptedDataKeys[1].ProviderID = "\xff" }, format.ErrMalformed},
		{"provider ID too long", fields1(), func(h *format.Header) { h.EncryptedDataKeys[1].ProviderID = strings.Repeat("x", long) }, format.ErrMalformed},
		{"provider info too long", fields1(), func(h *format.Header) { h.EncryptedDataKeys[1].ProviderInfo = make([]byte, long) }, format.ErrMalformed},
		{"ciphertext too long", fields1(), func(h *format.Header) { h.EncryptedDataKeys[1].Ciphertext = make([]byte, long) }, format.ErrMalformed},
		{"content type 0", fields1(), func(h *format.Header) { h.ContentType = 0 }, format.ErrMalformed},
		{"content type 3", fields1(), func(h *format.Header) { h.ContentType = 3 }, format.ErrMalformed},
		{"framed without a frame length", fields1(), func(h *format.Header) { h.FrameLength = 0 }, format.ErrMalformed},
		{"unframed with a frame length", fields1(), func(h *format.Header) { h.ContentType = format.Unframed }, format.ErrMalformed},
		{"commit key in version 1", fields1(), func(h *format.Header) { h.CommitKey = make([]byte, 32) }, format.ErrMalformed},
		{"no commit key", fields2(), func(h *format.Header) { h.CommitKey = nil }, format.ErrMalformed},
		{"commit key too long", fields2(), func(h *format.Header) { h.CommitKey = make([]byte, 33) }, format.ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.spoil(test.fields)
			_, err := format.NewHeader(*test.fields, authentication)
			require.ErrorIs(t, err, test.want)
		})
	}
}

func TestLargestFieldsReadAndEncode(t *testing.T) {
	h := withTag(fields1())
	h.EncryptedDataKeys[0] = format.EncryptedDataKey{
		ProviderID: strings.Repeat("x", 65535), ProviderInfo: make([]byte, 65535), Ciphertext: make([]byte, 65535),
	}
	h.EncryptionContext = map[string]string{"": strings.Repeat("x", 65529)}
	h.FrameLength = format.MaxFrameLength
	b := encoded(t, h)
	got := read(t, b)
	requireFields(t, h, got)
	require.Equal(t, b, encoded(t, got))
}

func TestMostDataKeysReadAndEncode(t *testing.T) {
	h := withTag(fields2())
	h.EncryptedDataKeys = make([]format.EncryptedDataKey, format.MaxEncryptedDataKeys)
	b := encoded(t, h)
	got := read(t, b)
	require.Len(t, got.EncryptedDataKeys, format.MaxEncryptedDataKeys)
	require.Equal(t, b, encoded(t, got))
}
