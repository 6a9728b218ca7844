package format_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// header returns a complete header; frameLength 0 means unframed.
func header(t testing.TB, id suite.ID, frameLength uint32) *format.Header {
	t.Helper()
	h := fields1()
	if id.Committing() {
		h = fields2()
	}
	h.Suite, h.FrameLength = id, frameLength
	if frameLength == 0 {
		h.ContentType = format.Unframed
	}
	return rebuilt(t, withTag(h))
}

func TestLengthsByHand(t *testing.T) {
	for _, test := range []struct {
		suite              suite.ID
		frameLength        uint32
		plaintext, message int64
	}{
		{suite.AES256GCMHKDFSHA256, 4096, 0, version1Size + 40},
		{suite.AES256GCMHKDFSHA512CommitKey, 256, 0, version2Size + 40},
		{suite.AES256GCMHKDFSHA512CommitKey, 256, 1, version2Size + 40 + 1},
		{suite.AES256GCMHKDFSHA512CommitKey, 256, 255, version2Size + 40 + 255},
		{suite.AES256GCMHKDFSHA512CommitKey, 256, 256, version2Size + 256 + 32 + 40},
		{suite.AES256GCMHKDFSHA512CommitKey, 256, 257, version2Size + 256 + 32 + 40 + 1},
		{suite.AES256GCMHKDFSHA512CommitKey, 256, 1000, version2Size + 3*(256+32) + 40 + 232},
		{suite.AES256GCMHKDFSHA512CommitKey, 0, 0, version2Size + 36},
		{suite.AES256GCMHKDFSHA512CommitKey, 0, 1000, version2Size + 36 + 1000},
		{suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, 256, 0, version2Size + 40 + 2 + 103},
		{suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, 256, 256, version2Size + 256 + 32 + 40 + 2 + 103},
		{suite.AES256GCMHKDFSHA384ECDSAP384, 0, 7, version1Size + 36 + 7 + 2 + 103},
		{suite.AES128GCMHKDFSHA256ECDSAP256, 1, 3, version1Size + 3*33 + 40 + 2 + 71},
		{suite.AES256GCM, 1, 1<<32 - 2, version1Size + (1<<32-2)*33 + 40},
		{suite.AES256GCM, 0, 1<<36 - 32, version1Size + 36 + 1<<36 - 32},
		{suite.AES256GCM, math.MaxUint32, math.MaxUint32, version1Size + math.MaxUint32 + 32 + 40},
	} {
		h := header(t, test.suite, test.frameLength)
		message, err := h.MessageLength(test.plaintext)
		require.NoError(t, err)
		require.Equal(t, test.message, message, "%v, frame length %d, plaintext of %d", test.suite, test.frameLength, test.plaintext)
		plaintext, err := h.PlaintextLength(test.message)
		require.NoError(t, err)
		require.Equal(t, test.plaintext, plaintext, "%v, frame length %d, message of %d", test.suite, test.frameLength, test.message)
	}
}

var lengthSuites = []suite.ID{
	suite.AES256GCM, suite.AES128GCMHKDFSHA256ECDSAP256, suite.AES256GCMHKDFSHA384ECDSAP384,
	suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384,
}

// plaintextLengths returns lengths round the ends of frames.
func plaintextLengths(frameLength uint32) []int64 {
	lengths := []int64{0, 1, 2, 15, 16, 31, 32, 33, 35, 36, 39, 40, 41, 100, 103, 105, 4095, 4096, 1e6, 1 << 31, 1 << 32}
	f := int64(frameLength)
	for _, frames := range []int64{1, 2, 3, 100} {
		for d := int64(-2); d <= 2; d++ {
			if n := frames*f + d; n >= 0 {
				lengths = append(lengths, n)
			}
		}
	}
	if f > 1000 {
		lengths = append(lengths, f*(1<<32-2), f*(1<<32-2)+f-1)
	}
	return lengths
}

func TestPlaintextLengthInvertsMessageLength(t *testing.T) {
	for _, id := range lengthSuites {
		for _, frameLength := range []uint32{0, 1, 2, 31, 32, 33, 40, 256, 4096, 1 << 20, 1 << 30} {
			h := header(t, id, frameLength)
			for _, n := range plaintextLengths(frameLength) {
				message, err := h.MessageLength(n)
				if frameLength == 0 && n > format.MaxUnframedLength || frameLength == 1 && n == 1<<32 {
					require.Error(t, err)
					continue
				}
				require.NoError(t, err, "%v, frame length %d, plaintext of %d", id, frameLength, n)
				got, err := h.PlaintextLength(message)
				require.NoError(t, err)
				require.Equal(t, n, got, "%v, frame length %d, message of %d", id, frameLength, message)
			}
		}
	}
}

// A full final frame is what other SDKs write where this one writes a regular
// frame and an empty final one.
func TestPlaintextLengthOfAFullFinalFrame(t *testing.T) {
	for _, id := range lengthSuites {
		for _, frameLength := range []uint32{1, 16, 4096} {
			h := header(t, id, frameLength)
			for _, frames := range []int64{1, 2, 5} {
				n := frames * int64(frameLength)
				message, err := h.MessageLength(n)
				require.NoError(t, err)
				got, err := h.PlaintextLength(message - format.FrameOverhead)
				require.NoError(t, err)
				require.Equal(t, n, got)
			}
		}
	}
}

func TestPlaintextLengthWithOtherSignaturesIsOffByTheirVariationAtMost(t *testing.T) {
	for _, id := range lengthSuites {
		if !id.Signing() {
			continue
		}
		for _, frameLength := range []uint32{0, 1, 2, 40, 256, 4096} {
			h := header(t, id, frameLength)
			for _, n := range plaintextLengths(frameLength)[:20] {
				message, err := h.MessageLength(n)
				if err != nil {
					continue
				}
				for variation := int64(-8); variation <= 8; variation++ {
					got, err := h.PlaintextLength(message + variation)
					require.NoError(t, err)
					require.LessOrEqual(t, max(got-n, n-got), max(variation, -variation),
						"%v, frame length %d, plaintext of %d, signature %+d", id, frameLength, n, variation)
				}
			}
		}
	}
}

func TestMessageLengthBeyondTheFormatFails(t *testing.T) {
	for _, test := range []struct {
		frameLength uint32
		plaintext   int64
	}{
		{4096, -1},
		{0, -1},
		{4096, math.MinInt64},
		{0, format.MaxUnframedLength + 1},
		{0, math.MaxInt64},
		{1, 1<<32 - 1},
		{4096, 4096 * (1<<32 - 1)},
		{4096, math.MaxInt64},
		{math.MaxUint32, math.MaxInt64},
	} {
		h := header(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, test.frameLength)
		n, err := h.MessageLength(test.plaintext)
		require.Error(t, err, "frame length %d, plaintext of %d", test.frameLength, test.plaintext)
		require.Zero(t, n)
	}
	h := header(t, suite.AES256GCM, 4096)
	_, err := h.MessageLength(4096*(1<<32-1) - 1)
	require.NoError(t, err, "the most that fits")
}

func TestPlaintextLengthOfImpossibleMessagesFails(t *testing.T) {
	for _, id := range lengthSuites {
		for _, frameLength := range []uint32{0, 1, 4096} {
			h := header(t, id, frameLength)
			least, err := h.MessageLength(0)
			require.NoError(t, err)
			if id.Signing() {
				least -= 2 + int64(id.SignatureSize())
			}
			for _, n := range []int64{math.MinInt64, -1, 0, 1, least - 1} {
				got, err := h.PlaintextLength(n)
				require.Error(t, err, fmt.Sprintf("%v, frame length %d, message of %d", id, frameLength, n))
				require.Zero(t, got)
			}
			_, err = h.PlaintextLength(least)
			require.NoError(t, err)
		}
	}
	unframed := header(t, suite.AES256GCM, 0)
	for _, n := range []int64{math.MaxInt64, version1Size + 36 + format.MaxUnframedLength + 1} {
		_, err := unframed.PlaintextLength(n)
		require.Error(t, err)
	}
	h := header(t, suite.AES256GCM, 4096)
	for rest := int64(4097); rest < 4096+32; rest++ { // a frame and a part of an overhead
		_, err := h.PlaintextLength(version1Size + 40 + rest)
		require.Error(t, err, rest)
	}
	for _, frameLength := range []uint32{1, 4096} {
		_, err := header(t, suite.AES256GCM, frameLength).PlaintextLength(math.MaxInt64)
		require.Error(t, err)
	}
}

func TestLengthsOfAHeaderWithChangedFieldsDoNotPanic(t *testing.T) {
	h := header(t, suite.AES256GCM, 4096)
	h.FrameLength = 0
	_, err := h.MessageLength(1000)
	require.ErrorIs(t, err, format.ErrMalformed)
	_, err = h.PlaintextLength(1000)
	require.ErrorIs(t, err, format.ErrMalformed)
}

func TestMessageRangesByHand(t *testing.T) {
	const v2 = version2Size
	for _, test := range []struct {
		frameLength    uint32
		offset, length int64
		start, end     int64
	}{
		{256, 0, 0, v2, v2},
		{256, 0, 1, v2, v2 + 288 + 8},
		{256, 0, 256, v2, v2 + 288 + 8},
		{256, 0, 257, v2, v2 + 2*288 + 8},
		{256, 255, 1, v2, v2 + 288 + 8},
		{256, 255, 2, v2, v2 + 2*288 + 8},
		{256, 256, 0, v2 + 288, v2 + 288},
		{256, 256, 1, v2 + 288, v2 + 2*288 + 8},
		{256, 1000, 1000, v2 + 3*288, v2 + 8*288 + 8},
		{1, 5, 3, v2 + 5*33, v2 + 8*33 + 8},
		{1, 1<<32 - 2, 1, v2 + (1<<32-2)*33, v2 + (1<<32-1)*33 + 8},
		{1 << 30, 1<<62 - 1<<31 - 1, 1, v2 + (1<<32-3)*(1<<30+32), v2 + (1<<32-2)*(1<<30+32) + 8},
		{math.MaxUint32, math.MaxUint32, 1, v2 + math.MaxUint32 + 32, v2 + 2*(math.MaxUint32+32) + 8},
	} {
		for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
			start, end, err := header(t, id, test.frameLength).MessageRange(test.offset, test.length)
			require.NoError(t, err)
			require.Equal(t, test.start, start, "%+v", test)
			require.Equal(t, test.end, end, "%+v", test)
		}
	}
}

// A range that no message can have is an error, and never a wrong number.
func TestMessageRangeRefuses(t *testing.T) {
	id := suite.AES256GCMHKDFSHA512CommitKey
	for _, test := range []struct {
		frameLength    uint32
		offset, length int64
		says           string
	}{
		{0, 0, 1, "unframed"},
		{10, -1, 1, "negative"},
		{10, 1, -1, "negative"},
		{10, math.MinInt64, math.MinInt64, "negative"},
		{10, math.MaxInt64, 1, "too long"},
		{math.MaxUint32, 1, math.MaxInt64, "too long"},
		{1, 1<<32 - 1, 1, "cannot have"},
		{1, 0, 1 << 32, "cannot have"},
		{10, math.MaxInt64, 0, "cannot have"},
		{math.MaxUint32, 0, math.MaxInt64, "cannot have"},
	} {
		start, end, err := header(t, id, test.frameLength).MessageRange(test.offset, test.length)
		require.ErrorContains(t, err, test.says, "%+v", test)
		require.Zero(t, start)
		require.Zero(t, end)
	}
	_, _, err := new(format.Header).MessageRange(0, 1)
	require.ErrorIs(t, err, format.ErrMalformed)
}
