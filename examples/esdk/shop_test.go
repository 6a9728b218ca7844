package main

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms/kmstest"
)

// The tests run the built binary. KMS is kmstest in a process of its own.

var update = flag.Bool("update", false, "write the table in README.md anew")

// When the test binary is run with this variable, it is the KMS server.
const kmsVariable = "ESDK_TEST_SERVE_KMS"

// binary is the built program.
var binary string

func TestMain(m *testing.M) {
	if os.Getenv(kmsVariable) != "" {
		serveKMS()
		return
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "esdk-test-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "esdk")
	arguments := []string{"build", "-o", binary}
	if raceDetector {
		arguments = append(arguments, "-race")
	}
	if out, err := exec.Command("go", append(arguments, ".")...).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, out))
	}
	defer stopKMS()
	return m.Run()
}

// serveKMS serves KMS until its standard input ends. It prints a line of JSON that
// says where, and what keys there are.
func serveKMS() {
	server := kmstest.NewServer()
	defer server.Close()
	replicas := server.CreateMultiRegionKey("us-east-1", "eu-west-1")
	rsa, ecc := server.CreateRSAKey("us-east-1", 2048), server.CreateECCKey("us-east-1", ecdh.P256())
	public := func(arn string) string {
		out, err := awskms.NewFromConfig(*server.Config()).GetPublicKey(context.Background(), &awskms.GetPublicKeyInput{KeyId: &arn})
		if err != nil {
			panic(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: out.PublicKey}))
	}
	json.NewEncoder(os.Stdout).Encode(kmsServer{
		URL: server.URL(), East: server.CreateKey("us-east-1"), West: server.CreateKey("us-west-2"), Replicas: replicas,
		RSA: rsa, ECC: ecc, RSAPublic: public(rsa), ECCPublic: public(ecc),
	})
	io.Copy(io.Discard, os.Stdin)
}

type kmsServer struct {
	URL, East, West      string
	Replicas             []string
	RSA, ECC             string
	RSAPublic, ECCPublic string // PEM
	process              *exec.Cmd
	stdin                io.Closer
}

// kms is started by the first test that needs it.
var (
	kmsMu      sync.Mutex
	kmsRunning *kmsServer
)

func kms(t *testing.T) *kmsServer {
	kmsMu.Lock()
	defer kmsMu.Unlock()
	if kmsRunning == nil {
		self, err := os.Executable()
		require.NoError(t, err)
		s := &kmsServer{process: exec.Command(self)}
		s.process.Env = append(os.Environ(), kmsVariable+"=1")
		s.process.Stderr = os.Stderr
		s.stdin, err = s.process.StdinPipe()
		require.NoError(t, err)
		out, err := s.process.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, s.process.Start())
		require.NoError(t, json.NewDecoder(out).Decode(s))
		kmsRunning = s
	}
	return kmsRunning
}

func stopKMS() {
	if kmsRunning != nil {
		kmsRunning.stdin.Close()
		kmsRunning.process.Wait()
	}
}

// A shop is a folder in which command lines run.
type shop struct {
	t     *testing.T
	dir   string
	env   []string
	stdin string
}

func newShop(t *testing.T) *shop {
	t.Parallel()
	return newShopInSequence(t)
}

// newShopInSequence is newShop for tests that need several.
func newShopInSequence(t *testing.T) *shop {
	s := &shop{t: t, dir: t.TempDir()}
	s.env = []string{"HOME=" + s.dir, "PATH=" + os.Getenv("PATH"), "AWS_EC2_METADATA_DISABLED=true"}
	s.write("key.bin", strings.Repeat("k\x00", 16))
	return s
}

// key names the raw key of each shop, as one argument; keyWords as several.
const key = "provider=raw-aes namespace=test name=1 file=key.bin"

func keyWords() []string { return strings.Fields(key) }

// withKMS adds what AWS programs need to find the server.
func (s *shop) withKMS() *kmsServer {
	server := kms(s.t)
	s.env = append(s.env, "AWS_ENDPOINT_URL_KMS="+server.URL, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b")
	return server
}

func (s *shop) path(name string) string { return filepath.Join(s.dir, name) }

func (s *shop) write(name, contents string) {
	s.t.Helper()
	require.NoError(s.t, os.MkdirAll(filepath.Dir(s.path(name)), 0o755))
	require.NoError(s.t, os.WriteFile(s.path(name), []byte(contents), 0o644))
}

func (s *shop) read(name string) string {
	s.t.Helper()
	data, err := os.ReadFile(s.path(name))
	require.NoError(s.t, err)
	return string(data)
}

// files returns all files of the shop but the key, with their lengths left out.
func (s *shop) files() []string {
	var names []string
	require.NoError(s.t, filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if name, _ := filepath.Rel(s.dir, path); err == nil && !entry.IsDir() && name != "key.bin" {
			names = append(names, filepath.ToSlash(name))
		}
		return err
	}))
	return names
}

func (s *shop) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	s.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = s.dir, s.env, strings.NewReader(s.stdin)
	return cmd
}

// run runs a command line, and returns what it printed and its exit status.
func (s *shop) run(args ...string) (stdout, stderr string, status int) {
	s.t.Helper()
	cmd := s.command(args...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	failed := cmd.Run()
	if cmd.ProcessState == nil {
		require.NoError(s.t, failed)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// ok runs a command line that must succeed, and returns its output.
func (s *shop) ok(args ...string) string {
	s.t.Helper()
	out, stderr, status := s.run(args...)
	require.Equal(s.t, 0, status, "%q: %s", args, stderr)
	return out
}

// fails runs a command line that must fail with the status, and say why.
func (s *shop) fails(status int, why string, args ...string) string {
	s.t.Helper()
	out, stderr, got := s.run(args...)
	require.Equal(s.t, status, got, "%q: %s", args, stderr)
	require.Contains(s.t, stderr, why, "%q", args)
	return out
}

// model returns a command line of aws-encryption-cli with the raw key.
func modelArgs(mode, in, out string, more ...string) []string {
	return append(append([]string{mode, "-i", in, "-o", out, "-w"}, keyWords()...), append([]string{"-S"}, more...)...)
}
