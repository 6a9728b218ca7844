package main

import (
	"encoding/csv"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever the times are, no message fails.
func TestNoMessageFailsDuringAnOutage(t *testing.T) {
	for _, hedge := range []string{"100ms", "0s"} {
		file := filepath.Join(t.TempDir(), "samples.csv")
		var out strings.Builder
		args := []string{"-phase", "300ms", "-goroutines", "4", "-pause", "20ms", "-wait", "2s", "-timeout", "2s", "-hedge", hedge, "-csv", file}
		require.NoError(t, run(t.Context(), args, &out, io.Discard))
		for _, want := range []string{"us-east-1 is cut off after 300ms, for 300ms", "encrypt before", "decrypt after", "over 105ms"} {
			require.Contains(t, out.String(), want)
		}
		f, err := os.Open(file)
		require.NoError(t, err)
		rows, err := csv.NewReader(f).ReadAll()
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.Greater(t, len(rows), 1)
		for _, row := range rows[1:] {
			require.Equal(t, "false", row[3])
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for want, args := range map[string][]string{
		"flags only":    {"file"},
		"-h shows them": {"-goroutines", "0"},
		"a phase":       {"-phase", "0s"},
		"HedgeAfter":    {"-hedge", "2s", "-timeout", "1s"},
		"negative Wait": {"-wait", "-1s"},
	} {
		require.ErrorContains(t, run(t.Context(), args, io.Discard, io.Discard), want)
	}
	var help strings.Builder
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &help), flag.ErrHelp)
	require.Contains(t, help.String(), "-goroutines")
}
