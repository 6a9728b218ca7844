package vectors_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/internal/test/vectors"
	"github.com/esdk-go/esdk/keyprovider"
)

// A stopped records how Dir ended the test it was given.
type stopped struct {
	testing.TB
	skipped, failed bool
}

func (s *stopped) Helper()               {}
func (s *stopped) Skip(...any)           { s.skipped = true; runtime.Goexit() }
func (s *stopped) Fatal(...any)          { s.failed = true; runtime.Goexit() }
func (s *stopped) Fatalf(string, ...any) { s.failed = true; runtime.Goexit() }

func dir(t *testing.T, value string) (dir string, s stopped) {
	t.Setenv("ESDK_VECTORS", value)
	done := make(chan struct{})
	go func() {
		defer close(done)
		dir = vectors.Dir(&s)
	}()
	<-done
	return dir, s
}

func TestDirOfRelativePathCountsFromTheModuleRoot(t *testing.T) {
	got, _ := dir(t, "internal/test/vectors")
	want, err := os.Getwd()
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestDirOfAbsolutePath(t *testing.T) {
	want := t.TempDir()
	got, _ := dir(t, want)
	require.Equal(t, want, got)
}

func TestDirUnsetSkips(t *testing.T) {
	_, s := dir(t, "")
	require.True(t, s.skipped)
	require.False(t, s.failed)
}

func TestDirSetButMissingFails(t *testing.T) {
	_, s := dir(t, "no/such/folder")
	require.True(t, s.failed)
	_, s = dir(t, filepath.Join("internal", "vectors", "vectors.go"))
	require.True(t, s.failed, "a file is no folder")
}

func TestNetMessages(t *testing.T) {
	kms, required := 0, 0
	for _, m := range vectors.NetMessages(t) {
		require.NotEmpty(t, m.Ciphertext, m.Name)
		require.NotEmpty(t, m.Plaintext, m.Name)
		require.NotEmpty(t, m.MasterKeys, m.Name)
		if m.CMM == "RequiredEncryptionContext" {
			required++
		}
		if m.KMS() {
			kms++
			continue
		}
		require.NotNil(t, m.Provider(t))
	}
	require.Equal(t, 33, kms)
	require.Equal(t, 44, required)
}

func TestPythonMessages(t *testing.T) {
	for _, m := range vectors.PythonMessages(t) {
		require.NotEmpty(t, m.Ciphertext, m.Name)
		require.NotEmpty(t, m.Plaintext, m.Name)
		require.True(t, m.KMS(), m.Name)
		require.Contains(t, m.MasterKeys[0].KeyID, "arn:aws:kms:us-west-2:", m.Name)
	}
}

func TestDafnyMessages(t *testing.T) {
	kms, required, types := 0, 0, map[string]int{}
	for _, m := range vectors.DafnyMessages(t) {
		require.NotEmpty(t, m.Ciphertext, m.Name)
		require.Len(t, m.Plaintext, 10240, m.Name)
		require.NotEmpty(t, m.MasterKeys, m.Name)
		if len(m.Required) > 0 {
			required++
			require.Equal(t, "RequiredEncryptionContext", m.CMM)
		}
		types[m.MasterKeys[0].Type]++
		if m.KMS() {
			kms++
			continue
		}
		if m.MasterKeys[0].BranchKey == nil {
			require.NotNil(t, m.Provider(t))
		}
	}
	require.Equal(t, 190, kms)
	require.Equal(t, 55, required)
	require.Equal(t, map[string]int{"raw": 187, "raw-ecdh": 99, "aws-kms-hierarchy": 11, "aws-kms": 22, "aws-kms-mrk-aware": 44,
		"aws-kms-mrk-aware-discovery": 44, "aws-kms-rsa": 14, "aws-kms-ecdh": 66}, types)
}

func TestCommitmentMessages(t *testing.T) {
	for _, m := range vectors.Commitment(t) {
		require.Len(t, m.DataKey, 32, m.Name)
		require.Len(t, m.CommitKey, 32, m.Name)
		require.Len(t, m.MessageID, 32, m.Name)
		require.Equal(t, m.Ciphertext[:len(m.Header)], m.Header, m.Name)
		require.Equal(t, m.BadCommitment, m.Plaintext == nil, m.Name)
	}
}

func TestProviderOfEveryPadding(t *testing.T) {
	for _, m := range vectors.NetMessages(t) {
		for _, k := range m.MasterKeys {
			if k.Algorithm != "rsa" || k.RSAPrivate == nil {
				continue
			}
			for _, padding := range [][2]string{{"pkcs1", ""}, {"oaep-mgf1", "sha1"}, {"oaep-mgf1", "sha256"}, {"oaep-mgf1", "sha384"}, {"oaep-mgf1", "sha512"}} {
				k.Padding, k.PaddingHash = padding[0], padding[1]
				require.IsType(t, &keyprovider.RawRSA{}, k.Provider(t))
			}
			return
		}
	}
	t.Fatal("no RSA key")
}
