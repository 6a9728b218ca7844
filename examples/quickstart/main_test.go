package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

// quickstart runs the program and returns what it printed.
func quickstart(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp) // Windows
	var out, errOut bytes.Buffer
	err = run(t.Context(), args, &out, &errOut)
	left, globErr := filepath.Glob(filepath.Join(os.TempDir(), ".quickstart-*"))
	require.NoError(t, globErr)
	require.Empty(t, left, "the temporary folder is removed")
	return out.String(), errOut.String(), err
}

// file makes a file of n bytes and returns its name and what it holds.
func file(t *testing.T, n int) (string, []byte) {
	t.Helper()
	data := bytes.Repeat([]byte("quickstart "), n/11+1)[:n]
	name := filepath.Join(t.TempDir(), fmt.Sprintf("file-%d", n))
	require.NoError(t, os.WriteFile(name, data, 0o600))
	return name, data
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestFilesOfAllSizes(t *testing.T) {
	for _, n := range []int{0, 1, 4096, 1 << 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			name, _ := file(t, n)
			out, _, err := quickstart(t, name)
			require.NoError(t, err)
			require.Contains(t, out, fmt.Sprintf("%s, %d bytes", name, n))
			require.Contains(t, out, fmt.Sprintf("%d of up to 4096 bytes", n/4096+1))
			require.Contains(t, out, "equal to the file")
			require.Len(t, names(t, filepath.Dir(name)), 1, "nothing is left beside the file")
		})
	}
}

func TestEverySuite(t *testing.T) {
	name, _ := file(t, 10_000)
	for _, id := range suite.All() {
		out, _, err := quickstart(t, "-suite", strings.ToLower(id.String()), "-frame", "1000", name)
		require.NoError(t, err, id)
		require.Contains(t, out, id.String())
		require.Equal(t, !id.Committing(), strings.Contains(out, "chosen for this run"))
		require.Contains(t, out, "11 of up to 1000 bytes")
	}
}

func TestOutputIsKeptAndNothingOverwritten(t *testing.T) {
	name, data := file(t, 4097)
	dir := filepath.Join(t.TempDir(), "new", "folder")
	out, _, err := quickstart(t, "-o", dir, name)
	require.NoError(t, err)
	require.Equal(t, []string{"file-4097.decrypted", "file-4097.esdk"}, names(t, dir))
	require.Contains(t, out, filepath.Join(dir, "file-4097.esdk"))

	decrypted, err := os.ReadFile(filepath.Join(dir, "file-4097.decrypted"))
	require.NoError(t, err)
	require.Equal(t, data, decrypted)
	message, err := os.ReadFile(filepath.Join(dir, "file-4097.esdk"))
	require.NoError(t, err)
	header, err := format.ReadHeader(bytes.NewReader(message), 0)
	require.NoError(t, err)
	require.Equal(t, "file-4097", header.EncryptionContext["file"])
	length, err := header.MessageLength(4097)
	require.NoError(t, err)
	require.EqualValues(t, length, len(message))

	_, _, err = quickstart(t, "-o", dir, name)
	require.ErrorContains(t, err, "already")
	again, err := os.ReadFile(filepath.Join(dir, "file-4097.esdk"))
	require.NoError(t, err)
	require.Equal(t, message, again)
	unchanged, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, data, unchanged)
}

func TestREADMEIsTheDefault(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	_, _, err := quickstart(t)
	require.ErrorContains(t, err, "no README.md in this folder")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README.md"), []byte("# esdk\n"), 0o600))
	out, _, err := quickstart(t)
	require.NoError(t, err)
	require.Contains(t, out, "README.md, 7 bytes")
}

func TestMistakesAreNamed(t *testing.T) {
	name, _ := file(t, 1)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384", []string{"-suite", "rot13", name}},
		{"rot13", []string{"-suite", "rot13", name}},
		{"at least one byte", []string{"-frame", "0", name}},
		{"at least one byte", []string{"-frame", "-1", name}},
		{"frame length 4294967296", []string{"-frame", "4294967296", name}},
		{"-frame", []string{"-frame", "4k", name}},
		{"-x", []string{"-x", name}},
		{"one FILE at most", []string{name, name}},
		{"the options before it", []string{name, "-o", t.TempDir()}},
		{"missing", []string{filepath.Join(t.TempDir(), "missing")}},
		{"not a regular file", []string{t.TempDir()}},
		{filepath.Base(name), []string{"-o", name, name}}, // no folder
	} {
		out, _, err := quickstart(t, c.args...)
		require.ErrorContains(t, err, c.want, "%q", c.args)
		require.Empty(t, out)
	}
}

func TestHelp(t *testing.T) {
	_, stderr, err := quickstart(t, "-h")
	require.Error(t, err)
	require.Contains(t, stderr, "usage: quickstart")
	require.Contains(t, stderr, "-suite")
}

func TestFailureLeavesNothing(t *testing.T) {
	name, _ := file(t, 100_000)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	d := demo{ctx: ctx, stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
	cancel()
	require.ErrorIs(t, d.run(name, dir), context.Canceled)
	require.Empty(t, names(t, dir))
}

func TestComparisonSeesEveryDifference(t *testing.T) {
	a, data := file(t, 200_000)
	b := filepath.Join(t.TempDir(), "b")
	d := demo{ctx: t.Context()}
	for name, other := range map[string][]byte{
		"shorter": data[:len(data)-1],
		"longer":  append(bytes.Clone(data), 0),
		"empty":   nil,
		"altered": append(bytes.Clone(data[:len(data)-1]), 0),
	} {
		require.NoError(t, os.WriteFile(b, other, 0o600))
		require.Error(t, d.compare(a, b), name)
		require.Error(t, d.compare(b, a), name)
	}
	require.NoError(t, os.WriteFile(b, data, 0o600))
	require.NoError(t, d.compare(a, b))
}
