package format_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// unhex decodes the hexadecimal digits of lines; what follows # is a comment.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	require.NoError(t, err)
	return b
}

// Two headers written by hand from data-format/message-header.md. Offsets in
// the comments are those of the bytes at the start of the line.
const (
	version1 = `
		01                                                # 0: version
		80                                                # 1: type
		0178                                              # 2: suite
		000102030405060708090a0b0c0d0e0f                  # 4: message ID
		000e                                              # 20: length of the context
		0002                                              # 22: two pairs
		0001 61 0001 31                                   # 24: a, 1
		0002 c3a9 0000                                    # 30: e with an acute accent, empty
		0002                                              # 36: two encrypted data keys
		0007 6177732d6b6d73 0003 61726e 0002 dead         # 38: aws-kms, arn
		0002 6e73 0000 0001 ff                            # 56: ns, no info
		02                                                # 65: framed
		00000000                                          # 66: reserved
		0c                                                # 70: IV length
		00001000                                          # 71: frame length
		000000000000000000000000                          # 75: IV
		a0a1a2a3a4a5a6a7a8a9aaabacadaeaf                  # 87: tag
	`
	version2 = `
		02                                                # 0: version
		0478                                              # 1: suite
		000102030405060708090a0b0c0d0e0f                  # 3: message ID
		101112131415161718191a1b1c1d1e1f
		0000                                              # 35: no context
		0001                                              # 37: one encrypted data key
		0002 6e73 0003 6b6579 0004 cafebabe               # 39: ns, key
		02                                                # 54: framed
		00000100                                          # 55: frame length
		c0c1c2c3c4c5c6c7c8c9cacbcccdcecf                  # 59: commit key
		d0d1d2d3d4d5d6d7d8d9dadbdcdddedf
		a0a1a2a3a4a5a6a7a8a9aaabacadaeaf                  # 91: tag
	`
	version1Size, version2Size = 103, 107
)

func sequence(from byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

// read reads a header that must be good.
func read(t testing.TB, b []byte) *format.Header {
	t.Helper()
	h, err := format.ReadHeader(bytes.NewReader(b), 0)
	require.NoError(t, err)
	return h
}

// fields1 and fields2 return headers with the fields of version1 and version2.
func fields1() *format.Header {
	return &format.Header{
		Version:           1,
		Suite:             suite.AES256GCMHKDFSHA256,
		MessageID:         sequence(0, 16),
		EncryptionContext: map[string]string{"a": "1", "é": ""},
		EncryptedDataKeys: []format.EncryptedDataKey{
			{ProviderID: "aws-kms", ProviderInfo: []byte("arn"), Ciphertext: []byte{0xde, 0xad}},
			{ProviderID: "ns", ProviderInfo: []byte{}, Ciphertext: []byte{0xff}},
		},
		ContentType: format.Framed,
		FrameLength: 4096,
	}
}

func fields2() *format.Header {
	return &format.Header{
		Version:           2,
		Suite:             suite.AES256GCMHKDFSHA512CommitKey,
		MessageID:         sequence(0, 32),
		EncryptedDataKeys: []format.EncryptedDataKey{{ProviderID: "ns", ProviderInfo: []byte("key"), Ciphertext: []byte{0xca, 0xfe, 0xba, 0xbe}}},
		ContentType:       format.Framed,
		FrameLength:       256,
		CommitKey:         sequence(0xc0, 32),
	}
}

func requireFields(t *testing.T, want, got *format.Header) {
	t.Helper()
	require.Equal(t, want.Version, got.Version)
	require.Equal(t, want.Suite, got.Suite)
	require.Equal(t, want.MessageID, got.MessageID)
	require.Equal(t, want.EncryptionContext, got.EncryptionContext)
	require.Equal(t, want.EncryptedDataKeys, got.EncryptedDataKeys)
	require.Equal(t, want.ContentType, got.ContentType)
	require.Equal(t, want.FrameLength, got.FrameLength)
	require.Equal(t, len(want.CommitKey), len(got.CommitKey))
	require.True(t, bytes.Equal(want.CommitKey, got.CommitKey))
	require.True(t, bytes.Equal(want.IV, got.IV))
	require.Equal(t, want.Tag, got.Tag)
}

func TestReadHeaderVersion1(t *testing.T) {
	b := unhex(t, version1)
	require.Len(t, b, version1Size)
	want := fields1()
	want.IV, want.Tag = make([]byte, 12), sequence(0xa0, 16)
	requireFields(t, want, read(t, b))
}

func TestReadHeaderVersion2(t *testing.T) {
	b := unhex(t, version2)
	require.Len(t, b, version2Size)
	want := fields2()
	want.EncryptionContext, want.Tag = map[string]string{}, sequence(0xa0, 16)
	requireFields(t, want, read(t, b))
}

func TestReadHeaderUnframedHasFrameLengthZero(t *testing.T) {
	for _, test := range []struct {
		header              string
		contentType, length int // offsets
	}{{version1, 65, 71}, {version2, 54, 55}} {
		b := unhex(t, test.header)
		b[test.contentType] = 1
		clear(b[test.length : test.length+4])
		h := read(t, b)
		require.Equal(t, format.Unframed, h.ContentType)
		require.Zero(t, h.FrameLength)
		require.Equal(t, b, encoded(t, h))
	}
}

// encoded returns the bytes that the fields of h encode to.
func encoded(t testing.TB, h *format.Header) []byte {
	t.Helper()
	b, err := rebuilt(t, h).AppendBinary(nil)
	require.NoError(t, err)
	return b
}

func TestEverySuiteReadsAndEncodes(t *testing.T) {
	for _, id := range suite.All() {
		t.Run(id.String(), func(t *testing.T) {
			h := fields1()
			if id.Committing() {
				h = fields2()
			}
			h.Suite = id
			b := encoded(t, withTag(h))
			got := read(t, b)
			require.Equal(t, id, got.Suite)
			require.Equal(t, b, encoded(t, got))
		})
	}
}

func withTag(h *format.Header) *format.Header {
	h.IV, h.Tag, _ = authentication(nil)
	if h.Version == 2 {
		h.IV = nil
	}
	return h
}

// authentication is that of all headers of these tests.
func authentication([]byte) (iv, tag []byte, err error) {
	return make([]byte, 12), sequence(0xa0, 16), nil
}

func TestMalformedHeaderFails(t *testing.T) {
	malformed, unsupported, tooShort := format.ErrMalformed, format.ErrUnsupportedSuite, io.ErrUnexpectedEOF
	for _, test := range []struct {
		name   string
		header string
		at     int    // where bytes are replaced
		with   string // by these
		offset int64  // where the error is
		field  string
		want   error
	}{
		{"version 0", version1, 0, "00", 0, "version", malformed},
		{"version 3", version1, 0, "03", 0, "version", malformed},
		{"version 255", version2, 0, "ff", 0, "version", malformed},
		{"A that is no Base64", version1, 0, "4142", 0, "version", malformed},
		{"Base64 of version 1", version1, 0, "4159", 0, "version", format.ErrBase64},
		{"Base64 of version 2", version2, 0, "4167", 0, "version", format.ErrBase64},
		{"type 0", version1, 1, "00", 1, "message type", malformed},
		{"type 81", version1, 1, "81", 1, "message type", malformed},

		{"suite 0", version1, 2, "0000", 2, "algorithm suite", unsupported},
		{"suite 0 in version 2", version2, 1, "0000", 1, "algorithm suite", unsupported},
		{"suite unknown", version1, 2, "0179", 2, "algorithm suite", unsupported},
		{"suite with bytes swapped", version1, 2, "7801", 2, "algorithm suite", unsupported},
		{"suite of the S3 client 0070", version1, 2, "0070", 2, "algorithm suite", unsupported},
		{"suite of the S3 client 0072", version1, 2, "0072", 2, "algorithm suite", unsupported},
		{"suite of the S3 client 0073", version1, 2, "0073", 2, "algorithm suite", unsupported},
		{"suite of the S3 client 0074", version2, 1, "0074", 1, "algorithm suite", unsupported},
		{"suite of the database client 6700", version2, 1, "6700", 1, "algorithm suite", unsupported},
		{"suite of the database client 6701", version2, 1, "6701", 1, "algorithm suite", unsupported},
		{"committing suite in version 1", version1, 2, "0478", 2, "algorithm suite", malformed},
		{"uncommitting suite in version 2", version2, 1, "0178", 1, "algorithm suite", malformed},

		{"context of one byte", version1, 20, "0001", 22, "encryption context", malformed},
		{"context length too small", version1, 20, "000d", 30, "encryption context", malformed},
		{"context length too large", version1, 20, "000f", 36, "encryption context", malformed},
		{"context longer than the message", version1, 20, "ffff", version1Size, "encryption context", tooShort},
		{"count 0 with bytes after it", version1, 22, "0000", 22, "encryption context", malformed},
		{"count too small", version1, 22, "0001", 30, "encryption context", malformed},
		{"count too large by one", version1, 22, "0003", 36, "encryption context", malformed},
		{"count that never fits", version1, 22, "0004", 22, "encryption context", malformed},
		{"count 65535", version1, 22, "ffff", 22, "encryption context", malformed},
		{"key longer than the section", version1, 24, "ffff", 24, "encryption context", malformed},
		{"value longer than the section", version1, 27, "000a", 24, "encryption context", malformed},
		{"last value longer than the section", version1, 34, "0001", 30, "encryption context", malformed},
		{"key that is not UTF-8", version1, 26, "ff", 24, "encryption context", malformed},
		{"value that is not UTF-8", version1, 29, "80", 24, "encryption context", malformed},
		{"key cut within a character", version1, 30, "0001 c3 0001 61", 30, "encryption context", malformed},
		{"surrogate as a key", version1, 22, "0002 0003 eda080 0000 0001 61 0000", 24, "encryption context", malformed},
		{"key that stands twice", version1, 30, "0001 61 0001 31", 30, "encryption context", malformed},
		{"key that stands twice with another value", version1, 30, "0001 61 0001 32", 30, "encryption context", malformed},
		{"empty key that stands twice", version1, 22, "0002 0000 0002 6161 0000 0002 6262", 30, "encryption context", malformed},

		{"no encrypted data keys", version1, 36, "0000", 36, "number of encrypted data keys", malformed},
		{"no encrypted data keys in version 2", version2, 37, "0000", 37, "number of encrypted data keys", malformed},
		{"65535 encrypted data keys", version2, 37, "ffff", version2Size, "key provider ID", tooShort},
		{"provider ID too long", version2, 39, "ffff", version2Size, "key provider ID", tooShort},
		{"provider info too long", version2, 43, "ffff", version2Size, "key provider info", tooShort},
		{"ciphertext too long", version2, 48, "ffff", version2Size, "encrypted data key", tooShort},
		{"provider ID that is not UTF-8", version1, 40, "ff", 40, "key provider ID", malformed},
		{"second provider ID that is not UTF-8", version1, 59, "c3", 58, "key provider ID", malformed},

		{"content type 0", version1, 65, "00", 65, "content type", malformed},
		{"content type 3", version1, 65, "03", 65, "content type", malformed},
		{"content type 255", version2, 54, "ff", 54, "content type", malformed},
		{"reserved byte 1", version1, 66, "01", 66, "reserved field", malformed},
		{"reserved byte 2", version1, 67, "01", 66, "reserved field", malformed},
		{"reserved byte 3", version1, 68, "01", 66, "reserved field", malformed},
		{"reserved byte 4", version1, 69, "80", 66, "reserved field", malformed},
		{"IV length 0", version1, 70, "00", 70, "IV length", malformed},
		{"IV length 11", version1, 70, "0b", 70, "IV length", malformed},
		{"IV length 16", version1, 70, "10", 70, "IV length", malformed},
		{"framed with frame length 0", version1, 71, "00000000", 71, "frame length", malformed},
		{"framed with frame length 0 in version 2", version2, 55, "00000000", 55, "frame length", malformed},
		{"unframed with a frame length", version1, 65, "01", 71, "frame length", malformed},
		{"unframed with a frame length in version 2", version2, 54, "01", 55, "frame length", malformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := unhex(t, test.header)
			copy(b[test.at:], unhex(t, test.with))
			h, err := format.ReadHeader(bytes.NewReader(b), 0)
			require.Nil(t, h)
			require.ErrorIs(t, err, test.want)
			var parseError *format.ParseError
			require.ErrorAs(t, err, &parseError)
			require.Equal(t, test.field, parseError.Field)
			require.Equal(t, test.offset, parseError.Offset)
			require.Contains(t, err.Error(), fmt.Sprintf("%s at byte %d: ", test.field, test.offset))
		})
	}
}

func TestBase64MessageFailsWithErrBase64(t *testing.T) {
	for _, header := range []string{version1, version2} {
		text := base64.StdEncoding.EncodeToString(unhex(t, header))
		_, err := format.ReadHeader(strings.NewReader(text), 0)
		require.ErrorIs(t, err, format.ErrBase64)
		require.ErrorContains(t, err, "decode it first")
	}
}

func TestKeyLimitIsCheckedAtTheCount(t *testing.T) {
	b := unhex(t, version1)
	for _, limit := range []int{0, 2, 3, 1 << 20} {
		_, err := format.ReadHeader(bytes.NewReader(b), limit)
		require.NoError(t, err, limit)
	}
	r := bytes.NewReader(b)
	h, err := format.ReadHeader(r, 1)
	require.Nil(t, h)
	require.ErrorIs(t, err, format.ErrTooManyDataKeys)
	var parseError *format.ParseError
	require.ErrorAs(t, err, &parseError)
	require.Equal(t, "number of encrypted data keys", parseError.Field)
	require.EqualValues(t, 36, parseError.Offset)
	require.Equal(t, version1Size-38, r.Len(), "no key was read")

	copy(b[36:], []byte{0xff, 0xff})
	_, err = format.ReadHeader(bytes.NewReader(b[:38]), 65534)
	require.ErrorIs(t, err, format.ErrTooManyDataKeys)
}

func TestReadHeaderRefusesNilReaderAndNegativeLimit(t *testing.T) {
	_, err := format.ReadHeader(nil, 0)
	require.ErrorContains(t, err, "nil reader")
	_, err = format.ReadHeader(bytes.NewReader(unhex(t, version1)), -1)
	require.ErrorContains(t, err, "negative limit")
}

func TestEveryPrefixOfAHeaderIsTruncated(t *testing.T) {
	for _, header := range []string{version1, version2} {
		b := unhex(t, header)
		for n := range b {
			h, err := format.ReadHeader(bytes.NewReader(b[:n]), 0)
			require.Nil(t, h)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, n)
			var parseError *format.ParseError
			require.ErrorAs(t, err, &parseError)
			require.EqualValues(t, n, parseError.Offset)
			require.NotEmpty(t, parseError.Field)
		}
	}
}

func TestReadHeaderReturnsTheErrorOfItsReader(t *testing.T) {
	broken := errors.New("broken")
	for _, header := range []string{version1, version2} {
		b := unhex(t, header)
		for n := range b {
			h, err := format.ReadHeader(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(broken)), 0)
			require.Nil(t, h)
			require.ErrorIs(t, err, broken, n)
			require.NotErrorIs(t, err, io.ErrUnexpectedEOF)
			var parseError *format.ParseError
			require.ErrorAs(t, err, &parseError)
			require.EqualValues(t, n, parseError.Offset)
		}
	}
	_, err := format.ReadHeader(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(unhex(t, version1)))), 0)
	require.ErrorIs(t, err, iotest.ErrTimeout)
}

// A greedy reader fails the test if it is asked for more than it may give.
type greedy struct {
	t *testing.T
	b []byte
}

func (r *greedy) Read(p []byte) (int, error) {
	require.LessOrEqual(r.t, len(p), len(r.b), "ReadHeader asked for bytes beyond the header")
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

func TestReadHeaderNeverReadsAByteTooMany(t *testing.T) {
	large := fields1()
	large.EncryptionContext = map[string]string{"key": strings.Repeat("x", 60000)}
	large.EncryptedDataKeys[1].Ciphertext = make([]byte, 65535)
	for _, b := range [][]byte{unhex(t, version1), unhex(t, version2), encoded(t, withTag(large))} {
		_, err := format.ReadHeader(&greedy{t, b}, 0)
		require.NoError(t, err)

		r := bytes.NewReader(append(bytes.Clone(b), "body"...))
		_, err = format.ReadHeader(r, 0)
		require.NoError(t, err)
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "body", string(rest))
	}
}

func TestReadHeaderFromAnyReader(t *testing.T) {
	for _, header := range []string{version1, version2} {
		b := unhex(t, header)
		want := read(t, b)
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"one byte":        iotest.OneByteReader,
			"half":            iotest.HalfReader,
			"data with EOF":   iotest.DataErrReader,
			"one byte to EOF": func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.OneByteReader(r)) },
		} {
			h, err := format.ReadHeader(wrap(bytes.NewReader(b)), 0)
			require.NoError(t, err, name)
			require.Equal(t, want, h, name)
		}
	}
}

func TestParseErrorUnwraps(t *testing.T) {
	err := error(&format.ParseError{Offset: 7, Field: "content type", Err: format.ErrMalformed})
	require.ErrorIs(t, err, format.ErrMalformed)
	require.Equal(t, "content type at byte 7: malformed message", err.Error())
}

func TestContentTypeString(t *testing.T) {
	require.Equal(t, "unframed", format.Unframed.String())
	require.Equal(t, "framed", format.Framed.String())
	require.Equal(t, "content type 0", format.ContentType(0).String())
	require.Equal(t, "content type 255", format.ContentType(255).String())
}

// What is no message is called what it looks like.
func TestReadHeaderOfSomethingElse(t *testing.T) {
	for name, test := range map[string]struct{ data, says string }{
		"KMS ciphertext":          {"\x01\x02\x02\x00\x78" + strings.Repeat("\xee", 100), "AWS KMS"},
		"KMS ciphertext, newer":   {"\x01\x02\x03\x00\x78" + strings.Repeat("\xee", 100), "AWS KMS"},
		"gzip":                    {"\x1f\x8b\x08\x00" + strings.Repeat("\x00", 30), "gzip"},
		"age":                     {"age-encryption.org/v1\n-> X25519 ", "an age file"},
		"PEM":                     {"-----BEGIN AGE ENCRYPTED FILE-----\n", "PEM"},
		"JSON":                    {`{"a": 1}`, "JSON"},
		"text":                    {"Dear reader, this is a text", "text"},
		"short text":              {"hi\n", "text"},
		"a byte":                  {"\x03", "not an AWS Encryption SDK message"},
		"version 1, another type": {"\x01\x81" + strings.Repeat("\x00", 30), "not an AWS Encryption SDK message"},
	} {
		_, err := format.ReadHeader(strings.NewReader(test.data), 0)
		require.ErrorIs(t, err, format.ErrMalformed, name)
		require.ErrorContains(t, err, "not an AWS Encryption SDK message", name)
		require.ErrorContains(t, err, test.says, name)
	}
	_, err := format.ReadHeader(strings.NewReader("\x03\x04\x05"), 0)
	require.NotContains(t, err.Error(), "looks like")
}

// What is refused already waits for no more bytes, which may never come.
func TestReadHeaderOfSomethingElseReadsNoFurtherThanNeeded(t *testing.T) {
	for _, data := range []string{"{", "\x1f\x8b", "\x03abc", "abcd", "age!", "\x01\x81\x00\x00", "\x01\x02\x02\x00"} {
		_, err := format.ReadHeader(io.MultiReader(strings.NewReader(data), iotest.ErrReader(errors.New("read on"))), 0)
		require.ErrorIs(t, err, format.ErrMalformed, "%q", data)
		require.NotContains(t, err.Error(), "read on", "%q", data)
	}
	r := strings.NewReader("{}, and more")
	_, err := format.ReadHeader(r, 0)
	require.Error(t, err)
	require.Equal(t, 11, r.Len())
	r = strings.NewReader("abcdefgh")
	_, err = format.ReadHeader(r, 0)
	require.Error(t, err)
	require.Equal(t, 4, r.Len())
}
