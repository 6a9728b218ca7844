package format_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
)

// liveHeap returns the bytes of all objects that are in use.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // a second time, for what finalizers and sweeping left
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A meter measures the live heap while ReadHeader waits for more bytes.
type meter struct {
	t       *testing.T
	b       []byte
	given   int
	measure []int // how many bytes are given when it measures, ascending
	before  int64
}

// slack is what the measuring itself and small objects may take.
const slack = 16 << 10

func (m *meter) Read(p []byte) (int, error) {
	limit := len(m.b)
	for len(m.measure) > 0 && m.given >= m.measure[0] {
		m.check("while reading")
		m.measure = m.measure[1:]
	}
	if len(m.measure) > 0 {
		limit = m.measure[0]
	}
	if m.given == len(m.b) {
		return 0, io.EOF
	}
	n := copy(p, m.b[m.given:limit])
	m.given += n
	return n, nil
}

func (m *meter) check(when string) {
	m.t.Helper()
	live := liveHeap() - m.before
	require.LessOrEqual(m.t, live, int64(16*m.given+slack), "%s, after %d bytes", when, m.given)
	m.t.Logf("%s, after %d bytes: %d bytes live", when, m.given, live)
}

// Whatever a header claims, what it makes ReadHeader hold stays within 16
// times the bytes that arrived.
func TestMemoryStaysWithin16TimesTheBytesThatArrived(t *testing.T) {
	start := unhex(t, version2)[:35] // up to the context's length
	end := unhex(t, version2)[54:]   // from the content type on
	shortest := func(pairs int) []byte {
		section := binary.BigEndian.AppendUint16(nil, uint16(pairs))
		for i := range pairs { // two-byte keys, or one-byte ones, of characters of one byte
			section = append(section, 0, 2, byte(i>>7), byte(i&0x7f), 0, 0)
		}
		return section
	}
	largest := shortest(10922)
	require.Len(t, largest, 65534)
	for _, test := range []struct {
		name     string
		b        []byte
		complete bool
	}{
		{"65535 data keys claimed, none there", bytes.Join([][]byte{start, {0, 0, 0xff, 0xff}}, nil), false},
		{"65535 data keys claimed, one there", bytes.Join([][]byte{start, {0, 0, 0xff, 0xff}, make([]byte, 6)}, nil), false},
		{"65535 bytes of context claimed, none there", bytes.Join([][]byte{start, {0xff, 0xff}}, nil), false},
		{"65535 bytes of context claimed, some there", bytes.Join([][]byte{start, {0xff, 0xff}, largest[:1000]}, nil), false},
		{"65535 pairs claimed", bytes.Join([][]byte{start, {0xff, 0xfe}, {0xff, 0xff}, largest[2:]}, nil), false},
		{"65535 bytes of ciphertext claimed, none there", bytes.Join([][]byte{start, {0, 0, 0, 1, 0, 0, 0, 0, 0xff, 0xff}}, nil), false},
		{"context of the shortest pairs", bytes.Join([][]byte{start, {0xff, 0xfe}, largest, {0, 1}}, nil), false},
		{"data keys of empty fields, one missing", bytes.Join([][]byte{start, {0, 0, 0xff, 0xff}, make([]byte, 6*65534)}, nil), false},
		{"data keys of empty fields", bytes.Join([][]byte{start, {0, 0, 0xff, 0xff}, make([]byte, 6*65535), end}, nil), true},
		{"a few thousand data keys of empty fields", bytes.Join([][]byte{start, {0, 0, 0x0f, 0xff}, make([]byte, 6*0xfff), end}, nil), true},
		{"context of the shortest pairs and data keys of empty fields",
			bytes.Join([][]byte{start, {0xff, 0xfe}, largest, {0xff, 0xff}, make([]byte, 6*65535), end}, nil), true},
		{"frames of 4 GiB", bytes.Join([][]byte{start, {0, 0, 0, 1}, make([]byte, 6), {2, 0xff, 0xff, 0xff, 0xff}, end[5:]}, nil), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &meter{t: t, b: test.b}
			for i := 1; i <= 8; i++ {
				m.measure = append(m.measure, len(test.b)*i/8)
			}
			m.before = liveHeap()
			h, err := format.ReadHeader(m, 0)
			if !test.complete {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			m.check("at the end")
			runtime.KeepAlive(h)
		})
	}
}

// The map of a context is made only after its pairs were found to fit.
func TestClaimedPairsAllocateNothing(t *testing.T) {
	section := append([]byte{0xff, 0xff}, make([]byte, 100)...)
	b := withContext(t, section)
	allocated := testing.AllocsPerRun(10, func() {
		_, err := format.ReadHeader(bytes.NewReader(b), 0)
		require.ErrorContains(t, err, "65535 pairs do not fit in 102 bytes")
	})
	require.Less(t, allocated, 50.0)
}

func TestErrorsDoNotRepeatWhatTheHeaderHolds(t *testing.T) {
	key := strings.Repeat("k", 30000)
	pair := fmt.Sprintf("%04x%x%04x", len(key), key, 0)
	_, err := format.ReadHeader(bytes.NewReader(withContext(t, unhex(t, "0002"+pair+pair))), 0)
	require.ErrorContains(t, err, "stands twice")
	require.Less(t, len(err.Error()), 500)
}
