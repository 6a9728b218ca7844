package format_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

func iv(from byte) (iv [suite.IVSize]byte) {
	copy(iv[:], sequence(from, suite.IVSize))
	return iv
}

func TestFrameHeaders(t *testing.T) {
	for _, test := range []struct {
		name   string
		header format.FrameHeader
		want   string
	}{
		{"regular", format.FrameHeader{Sequence: 1, IV: iv(0x10), Length: 4096},
			"00000001 101112131415161718191a1b"},
		{"regular, like half the mark of a final frame", format.FrameHeader{Sequence: 0xffff, IV: iv(0), Length: 4096},
			"0000ffff 000102030405060708090a0b"},
		{"regular, like the other half", format.FrameHeader{Sequence: 0xffff0000, IV: iv(0), Length: 4096},
			"ffff0000 000102030405060708090a0b"},
		{"regular, largest number", format.FrameHeader{Sequence: 0xfffffffe, IV: iv(0), Length: 4096},
			"fffffffe 000102030405060708090a0b"},
		{"final", format.FrameHeader{Final: true, Sequence: 2, IV: iv(0x10), Length: 0x102},
			"ffffffff 00000002 101112131415161718191a1b 00000102"},
		{"final and empty", format.FrameHeader{Final: true, Sequence: 1, IV: iv(0)},
			"ffffffff 00000001 000102030405060708090a0b 00000000"},
		{"final and full", format.FrameHeader{Final: true, Sequence: 1, IV: iv(0), Length: 4096},
			"ffffffff 00000001 000102030405060708090a0b 00001000"},
		{"final, largest number", format.FrameHeader{Final: true, Sequence: 0xffffffff, IV: iv(0), Length: 1},
			"ffffffff ffffffff 000102030405060708090a0b 00000001"},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := unhex(t, test.want)
			require.Equal(t, append([]byte("before"), want...), format.AppendFrameHeader([]byte("before"), test.header))
			require.Equal(t, len(want), test.header.Size())
			for _, b := range [][]byte{want, append(bytes.Clone(want), "content"...)} {
				got, err := format.ParseFrameHeader(b, 4096)
				require.NoError(t, err)
				require.Equal(t, test.header, got)
			}
			for n := range want {
				got, err := format.ParseFrameHeader(want[:n], 4096)
				requireTruncated(t, err, n)
				require.Zero(t, got)
			}
		})
	}
}

func requireTruncated(t *testing.T, err error, offset int) {
	t.Helper()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	var parseError *format.ParseError
	require.ErrorAs(t, err, &parseError)
	require.EqualValues(t, offset, parseError.Offset)
	require.NotEmpty(t, parseError.Field)
}

func TestFinalFrameLongerThanTheFrameLengthFails(t *testing.T) {
	b := format.AppendFrameHeader(nil, format.FrameHeader{Final: true, Sequence: 1, Length: 4097})
	f, err := format.ParseFrameHeader(b, 4096)
	require.Zero(t, f)
	require.ErrorIs(t, err, format.ErrMalformed)
	var parseError *format.ParseError
	require.ErrorAs(t, err, &parseError)
	require.EqualValues(t, 20, parseError.Offset)
	require.Equal(t, "final frame", parseError.Field)
	_, err = format.ParseFrameHeader(b, 4097)
	require.NoError(t, err)
}

func TestFrameOfTheLargestLength(t *testing.T) {
	f := format.FrameHeader{Final: true, Sequence: 1, Length: format.MaxFrameLength}
	got, err := format.ParseFrameHeader(format.AppendFrameHeader(nil, f), format.MaxFrameLength)
	require.NoError(t, err)
	require.Equal(t, f, got)
}

func TestOverheads(t *testing.T) {
	require.Equal(t, format.FrameOverhead, format.FrameHeader{}.Size()+suite.TagSize)
	require.Equal(t, format.FinalFrameOverhead, format.FrameHeader{Final: true}.Size()+suite.TagSize)
	require.Equal(t, 32, format.FrameOverhead)
	require.Equal(t, 40, format.FinalFrameOverhead)
	require.Equal(t, 36, format.UnframedOverhead)
}

func TestUnframedHeader(t *testing.T) {
	u := format.UnframedHeader{IV: iv(0x10), Length: 0x10203}
	want := unhex(t, "101112131415161718191a1b 0000000000010203")
	require.Equal(t, append([]byte("before"), want...), format.AppendUnframedHeader([]byte("before"), u))
	got, err := format.ParseUnframedHeader(append(bytes.Clone(want), "content"...))
	require.NoError(t, err)
	require.Equal(t, u, got)
	for n := range want {
		got, err := format.ParseUnframedHeader(want[:n])
		requireTruncated(t, err, n)
		require.Zero(t, got)
	}
}

func TestUnframedContentBeyondItsLimitFails(t *testing.T) {
	require.Equal(t, int64(68719476704), int64(format.MaxUnframedLength))
	for _, test := range []struct {
		length string
		ok     bool
	}{
		{"0000000000000000", true},
		{"0000000fffffffe0", true},
		{"0000000fffffffe1", false},
		{"8000000000000000", false},
		{"ffffffffffffffff", false},
	} {
		u, err := format.ParseUnframedHeader(unhex(t, "000102030405060708090a0b"+test.length))
		if test.ok {
			require.NoError(t, err)
			continue
		}
		require.Zero(t, u)
		require.ErrorIs(t, err, format.ErrMalformed)
		var parseError *format.ParseError
		require.ErrorAs(t, err, &parseError)
		require.EqualValues(t, 12, parseError.Offset)
		require.Equal(t, "unframed body", parseError.Field)
	}
}

func TestBodyAAD(t *testing.T) {
	id1, id2 := sequence(0, 16), sequence(0, 32)
	for _, test := range []struct {
		name     string
		id       []byte
		kind     format.BodyKind
		sequence uint32
		length   uint64
		text     string
		numbers  string
	}{
		{"regular frame of version 1", id1, format.RegularFrame, 1, 4096, "AWSKMSEncryptionClient Frame", "00000001 0000000000001000"},
		{"regular frame of version 2", id2, format.RegularFrame, 0x1020304, 4096, "AWSKMSEncryptionClient Frame", "01020304 0000000000001000"},
		{"final frame", id2, format.FinalFrame, 3, 17, "AWSKMSEncryptionClient Final Frame", "00000003 0000000000000011"},
		{"empty final frame", id1, format.FinalFrame, 1, 0, "AWSKMSEncryptionClient Final Frame", "00000001 0000000000000000"},
		{"single block", id1, format.SingleBlock, 1, 1<<36 - 32, "AWSKMSEncryptionClient Single Block", "00000001 0000000fffffffe0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := append(bytes.Clone(test.id), test.text...)
			want = append(want, unhex(t, test.numbers)...)
			got := format.AppendBodyAAD([]byte("before"), test.id, test.kind, test.sequence, test.length)
			require.Equal(t, append([]byte("before"), want...), got)

			format.SetBodyAADSequence(got, 0xa1a2a3a4)
			require.Equal(t, format.AppendBodyAAD([]byte("before"), test.id, test.kind, 0xa1a2a3a4, test.length), got)
		})
	}
}

func TestFooter(t *testing.T) {
	for _, size := range []int{0, 1, 71, 103, 256, 65535} {
		signature := bytes.Repeat([]byte{0x30}, size)
		b, err := format.AppendFooter([]byte("before"), signature)
		require.NoError(t, err)
		require.Equal(t, append([]byte{'b', 'e', 'f', 'o', 'r', 'e', byte(size >> 8), byte(size)}, signature...), b)
		footer := b[len("before"):]
		got, n, err := format.ParseFooter(append(bytes.Clone(footer), "more"...))
		require.NoError(t, err)
		require.Equal(t, 2+size, n)
		require.Equal(t, signature, got)
		for _, n := range []int{0, 1, 2, size, size + 1} {
			if n < len(footer) {
				got, _, err := format.ParseFooter(footer[:n])
				requireTruncated(t, err, n)
				require.Nil(t, got)
			}
		}
	}
	b, err := format.AppendFooter(nil, make([]byte, 65536))
	require.ErrorIs(t, err, format.ErrMalformed)
	require.Nil(t, b)
}
