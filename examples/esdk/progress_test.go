package main

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/examples/esdk/internal/files"
)

func TestProgressLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/a", make([]byte, 3<<20), 0o600))
	info, err := os.Stat(dir + "/a")
	require.NoError(t, err)
	p := new(progress)
	p.begin([]*task{{info: info}, {info: info, place: files.Place{}}, {err: os.ErrNotExist}})
	p.bytes.Add(2 << 20)
	p.fileDone()
	require.Equal(t, "1/3 files  2.0 MiB of 6.0 MiB  1.0 MiB/s  4s left", p.line(2*time.Second))
	p.begin([]*task{{input: "-"}})
	require.Equal(t, "1/1 files  2.0 MiB  1.0 MiB/s", p.line(2*time.Second))
	for n, want := range map[float64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 60: "1024.0 PiB"} {
		require.Equal(t, want, size(n))
	}

	// Another line takes its place, and it comes back until the end.
	var terminal bytes.Buffer
	p.w, p.start = &terminal, time.Now().Add(-time.Hour)
	p.message("first\n")
	p.show()
	p.message("second\n")
	require.Regexp(t, "^first\n\r1/1 files .*\x1b\\[K\r\x1b\\[Ksecond\n$", terminal.String())
	p.end()
	terminal.Reset()
	p.show()
	require.Empty(t, terminal.String())
}
