package main

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEncryptsUnderTwoKeysAndDecryptsWithEach(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("plaintext ", 10_000)), 0o600))
	temp := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, temp)
	}
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{file}, &out, io.Discard))
	for text, n := range map[string]int{
		"encrypted " + file: 1, " alone\n": 2, "partition aws and account": 1,
		"  GenerateDataKey  arn:aws:kms:us-east-1:": 1, "  Encrypt          arn:aws:kms:eu-west-1:": 1, "  Decrypt          arn:": 3,
	} {
		require.Equal(t, n, strings.Count(out.String(), text), "%q in\n%s", text, &out)
	}
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestMistakesAreNamed(t *testing.T) {
	const key = "arn:aws:kms:us-east-1:111122223333:key/1"
	none := filepath.Join(t.TempDir(), "none")
	for want, args := range map[string][]string{
		"name one FILE":           {},
		"open " + none:            {none},
		"-h shows the options":    {"-x"},
		"-key alias/a":            {"-key", "alias/a", "file"},
		"is in partition aws-cn,": {"-key", key, "-key", strings.Replace(key, "aws", "aws-cn", 1), "file"},
	} {
		require.ErrorContains(t, run(t.Context(), args, io.Discard, io.Discard), want)
	}
	var help strings.Builder
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, io.Discard, &help), flag.ErrHelp)
	require.Contains(t, help.String(), "-key ARN")
}
