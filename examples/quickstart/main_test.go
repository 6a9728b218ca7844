package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
)

// quickstart runs the program and returns what it printed. Afterwards the
// temporary folder must be empty.
func quickstart(t *testing.T, ctx context.Context, args ...string) (string, error) {
	t.Helper()
	temp := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, temp)
	}
	var out strings.Builder
	err := run(ctx, args, &out)
	require.Empty(t, names(t, temp))
	return out.String(), err
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// newFile makes a file of n bytes in a folder of its own.
func newFile(t *testing.T, n int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, bytes.Repeat([]byte("plaintext "), n/10+1)[:n], 0o600))
	return name
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return b
}

func provider(t *testing.T) keyprovider.MasterKeyProvider {
	t.Helper()
	p, err := keyprovider.NewRawAES("test", "key", make([]byte, 32))
	require.NoError(t, err)
	return p
}

func TestFilesOfAllSizes(t *testing.T) {
	for _, n := range []int{0, 1, 4096, 1 << 20} {
		name := newFile(t, n)
		before := read(t, name)
		out, err := quickstart(t, t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, 2, strings.Count(out, fmt.Sprintf(" %d bytes, SHA-256", n)), out)
		require.Contains(t, out, "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384")
		require.Equal(t, []string{"file"}, names(t, filepath.Dir(name)), "nothing is left beside the file")
		require.Equal(t, before, read(t, name))
	}
}

func TestMistakesAreNamed(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for want, args := range map[string][]string{
		"usage: quickstart FILE": {},
		"usage: quickstart":      {"a", "b"},
		"open " + missing:        {missing},
	} {
		out, err := quickstart(t, t.Context(), args...)
		require.ErrorContains(t, err, want)
		require.Empty(t, out)
	}
	_, err := quickstart(t, t.Context(), t.TempDir()) // a folder
	require.Error(t, err)
}

func TestInterruptLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := quickstart(t, ctx, newFile(t, 100_000))
	require.ErrorIs(t, err, context.Canceled)
}

// The stream itself goes on after its ctx is done.
func TestInterruptEndsTheConversion(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	from := newFile(t, 10)
	to := from + ".to"
	err := writeFile(ctx, to, from, func(w io.Writer, r io.Reader) error {
		cancel()
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"file"}, names(t, filepath.Dir(from)))
}

// What somebody has is replaced by a whole, verified file or not at all.
func TestAFileIsReplacedOnlyIfAllWentWell(t *testing.T) {
	ctx, p, about := t.Context(), provider(t), map[string]string{"tenant": "42"}
	plain := newFile(t, 50_000)
	message, output := plain+".esdk", plain+".decrypted"
	require.NoError(t, encryptFile(ctx, message, plain, p, about))
	require.NoError(t, os.WriteFile(output, []byte("precious"), 0o600))
	whole := read(t, message)

	for _, broken := range [][]byte{whole[:len(whole)-1], whole[:30_000], append(bytes.Clone(whole), 0), nil} {
		require.NoError(t, os.WriteFile(message, broken, 0o600))
		_, err := decryptFile(ctx, output, message, p, about)
		require.Error(t, err)
		require.Equal(t, "precious", string(read(t, output)))
		require.Len(t, names(t, filepath.Dir(plain)), 3, "no temporary file is left")
	}

	require.NoError(t, os.WriteFile(message, whole, 0o600))
	_, err := decryptFile(ctx, output, message, p, map[string]string{"tenant": "43"})
	require.ErrorIs(t, err, esdk.ErrEncryptionContext)
	require.Equal(t, "precious", string(read(t, output)))
	require.Error(t, encryptFile(ctx, message, plain+".missing", p, about))
	require.Equal(t, whole, read(t, message))

	_, err = decryptFile(ctx, output, message, p, about)
	require.NoError(t, err)
	require.Equal(t, read(t, plain), read(t, output))
	require.Len(t, names(t, filepath.Dir(plain)), 3)
}
