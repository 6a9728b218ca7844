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

func TestFilesGoThereAndBack(t *testing.T) {
	for _, c := range []struct{ name, contents string }{
		{"file", "contents"},
		{"empty", ""},
		{"-leading dash", "x"},
		{"new\nline", "x"},
		{"blank in name ", "x"},
		{"Ünïcode…", "x"},
		{"[a]*?", "x"},
		{"@file", "x"},
		{"long", strings.Repeat("0123456789", 100_000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShop(t)
			s.write(c.name, c.contents)
			past := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
			require.NoError(t, os.Chmod(s.path(c.name), 0o640))
			require.NoError(t, os.Chtimes(s.path(c.name), past, past))
			same := func(name string) {
				info, err := os.Stat(s.path(name))
				require.NoError(t, err)
				require.Equal(t, fs.FileMode(0o640), info.Mode())
				require.True(t, past.Equal(info.ModTime()), "%s", info.ModTime())
			}

			s.ok("encrypt", "-k", key, "--", c.name)
			same(c.name + ".encrypted")
			require.NotContains(t, s.read(c.name+".encrypted"), "0123456789")
			require.NoError(t, os.Rename(s.path(c.name), s.path("original")))
			s.ok("decrypt", "-k", key, "--", c.name+".encrypted")
			same(c.name)
			require.Equal(t, c.contents, s.read(c.name))

			s.ok(modelArgs("-e", "./"+c.name, "message")...)
			same("message")
			s.ok(modelArgs("-d", "message", "back")...)
			same("back")
			require.Equal(t, c.contents, s.read("back"))
			require.Equal(t, "message: ok\n", s.ok("verify", "-k", key, "message"))
			require.ElementsMatch(t, []string{c.name, c.name + ".encrypted", "original", "message", "back"}, s.files())
		})
	}
}

func TestStandardInputAndOutput(t *testing.T) {
	s := newShop(t)
	s.stdin = strings.Repeat("from standard input ", 10_000)
	message := s.ok("encrypt", "-k", key)
	base64 := s.ok(modelArgs("-e", "-", "-", "--encode")...)
	plaintext := s.stdin
	for _, m := range []string{message, base64, " \n" + base64[:100] + "\r\n\t" + base64[100:] + "\n"} {
		s.stdin = m
		require.Equal(t, plaintext, s.ok("decrypt", "-k", key))
		require.Equal(t, plaintext, s.ok("decrypt", "-k", key, "--decode", "-b", "-"))
		require.Equal(t, plaintext, s.ok(modelArgs("-d", "-", "-")...))
		require.Equal(t, plaintext, s.ok(modelArgs("-d", "-", "-", "--decode", "--buffer")...))
		require.Equal(t, "<stdin>: ok\n", s.ok("verify", "-k", key))
		require.Contains(t, s.ok("inspect"), "AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384")
		s.ok("decrypt", "-k", key, "-o", "named")
		require.Equal(t, plaintext, s.read("named"))
		require.NoError(t, os.Remove(s.path("named")))
	}
	s.stdin = "cGxhaW4=\n"
	s.stdin = s.ok("encrypt", "-k", key, "--decode", "--encode")
	require.Equal(t, "plain", s.ok("decrypt", "-k", key))
	require.Equal(t, "cGxhaW4=", s.ok("decrypt", "-k", key, "--encode"))
	for _, bad := range []string{"cGxhaW4=cGxhaW4=", "cGxhaW4", "cGx*aW4="} {
		s.stdin = bad
		s.fails(1, "ase64", "encrypt", "-k", key, "--decode")
	}
	require.Empty(t, s.files())
}

// What standard output got before an error cannot be taken back: that is said, and -b
// is the way round it.
func TestStandardOutputOfABrokenMessage(t *testing.T) {
	s := newShop(t)
	s.stdin = strings.Repeat("0123456789", 20_000)
	message := s.ok(modelArgs("-e", "-", "-")...)
	s.stdin = message[:len(message)-1]
	out := s.fails(1, "discard what was written", "decrypt", "-k", key)
	require.NotEmpty(t, out)
	require.Empty(t, s.fails(1, "EOF", "decrypt", "-k", key, "--buffer"))
	s.stdin = message + "x"
	require.Empty(t, s.fails(1, "follow", modelArgs("-d", "-", "-", "-b")...))
}

func TestNothingButVerifiedFilesAppears(t *testing.T) {
	s := newShop(t)
	s.write("a", strings.Repeat("0123456789", 20_000))
	s.ok(modelArgs("-e", "a", "good")...)
	message := s.read("good")
	altered := []byte(message)
	altered[len(altered)/2] ^= 1
	for name, c := range map[string]struct{ message, why string }{
		"cut":       {message[:len(message)-10], "EOF"},
		"trailing":  {message + "x", "bytes follow the end of the message"},
		"altered":   {string(altered), "authentication failed"},
		"signature": {message[:len(message)-1] + string([]byte{message[len(message)-1] ^ 1}), "signature"},
		"text":      {"nothing of the kind", ""},
		"empty":     {"", "EOF"},
	} {
		s.write(name+".encrypted", c.message)
		s.write(name, "was there")
		s.fails(1, c.why, "decrypt", "-k", key, "--overwrite", name+".encrypted")
		require.Equal(t, "was there", s.read(name), name)
		s.fails(1, c.why, modelArgs("-d", name+".encrypted", name)...)
		require.Equal(t, "was there", s.read(name), name)
		s.fails(1, c.why, "verify", "-k", key, name+".encrypted")
		s.fails(1, c.why, "reencrypt", "--in-place", "--from", key, "--to", strings.Replace(key, "name=1", "name=2", 1), name+".encrypted")
		require.Equal(t, c.message, s.read(name+".encrypted"), name)
	}
	for _, name := range s.files() {
		require.NotContains(t, name, ".tmp")
	}
}

func TestOneBadFileStopsNoOther(t *testing.T) {
	s := newShop(t)
	for i := range 20 {
		s.write(fmt.Sprintf("in/%02d", i), fmt.Sprint("contents of ", i))
	}
	require.NoError(t, os.Mkdir(s.path("messages"), 0o755))
	require.NoError(t, os.Mkdir(s.path("out"), 0o755))
	s.ok(modelArgs("-e", "in/*", "messages")...)
	s.write("messages/03.encrypted", "broken")
	s.write("messages/17.encrypted", "broken")
	for _, args := range [][]string{
		{"decrypt", "-k", key, "-o", "out", "-r", "messages"},
		{"decrypt", "-k", key, "-o", "out", "--overwrite", "-r", "-j1", "messages"},
		modelArgs("-d", "messages", "out", "-r"),
		modelArgs("-d", "messages/*", "out"),
	} {
		_, stderr, status := s.run(args...)
		require.Equal(t, 1, status)
		for i := range 20 {
			name := fmt.Sprintf("messages/%02d.encrypted", i)
			require.Equal(t, i == 3 || i == 17, strings.Contains(stderr, filepath.FromSlash(name)), "%q: %s", args, stderr)
			if i != 3 && i != 17 {
				require.Equal(t, fmt.Sprint("contents of ", i), s.read(fmt.Sprintf("out/%02d", i)))
			}
		}
		require.Contains(t, stderr, "2 of 20 failed")
	}
}

func TestEncryptionContext(t *testing.T) {
	s := newShop(t)
	s.write("a", "contents")
	s.write("old", "was there")
	s.ok("encrypt", "-k", key, "-c", "tenant=4=2", "-c", "blank key=ü", "a")
	for _, c := range [][]string{{"tenant=4=2"}, {"tenant"}, {"tenant", "blank key=ü"}} {
		s.ok(append(modelArgs("-d", "a.encrypted", "back", "-c"), c...)...)
		require.Equal(t, "contents", s.read("back"))
		args := []string{"decrypt", "-k", key, "-o", "back", "--overwrite", "a.encrypted"}
		for _, pair := range c {
			args = append(args, "-c", pair)
		}
		s.ok(args...)
	}
	for missing, c := range map[string][]string{
		`"tenant"="43"`:   {"tenant=43"},
		`"record"`:        {"record", "tenant"},
		"context":         {"other=x", "tenant"}, // it could have been authenticated without being stored
		`"blank key"="u"`: {"blank key=u"},
	} {
		s.fails(1, missing, append(modelArgs("-d", "a.encrypted", "old", "-c"), c...)...)
		require.Equal(t, "was there", s.read("old"))
		args := []string{"verify", "-k", key, "a.encrypted"}
		for _, pair := range c {
			args = append(args, "-c", pair)
		}
		s.fails(1, missing, args...)
	}
	s.fails(2, "not of the form", append(modelArgs("-e", "a", "b", "-c"), "x")...)
	s.fails(2, "given twice", "encrypt", "-k", key, "-c", "x=1", "-c", "x=2", "a")
}

// The fields are those of aws-encryption-cli; TestModelTool compares them.
func TestMetadata(t *testing.T) {
	s := newShop(t)
	for _, name := range []string{"in/a", "in/b", "in/c"} {
		s.write(name, "contents")
	}
	require.NoError(t, os.Mkdir(s.path("out"), 0o755))
	args := append([]string{"-e", "-r", "-i", "in", "-o", "out", "--metadata-output", "m", "-c", "x=1", "-w"}, keyWords()...)
	s.ok(args...)
	s.write("out/b.encrypted", "broken")
	s.fails(1, "b.encrypted", append([]string{"-d", "-r", "-i", "out", "-o", "in", "--metadata-output", "m", "-w"}, keyWords()...)...)
	s.fails(1, `"x"="2"`, append([]string{"-d", "-i", "out/a.encrypted", "-o", "x", "--metadata-output", "m", "-c", "x=2", "y", "-w"}, keyWords()...)...)
	records := func(text string) (all []map[string]any) {
		for line := range strings.Lines(text) {
			var record map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &record))
			all = append(all, record)
		}
		return all
	}
	all := records(s.read("m"))
	require.Len(t, all, 6, "three encrypted, two decrypted, one skipped")
	for i, name := range []string{"in/a", "in/b", "in/c", "out/a.encrypted", "out/c.encrypted", "out/a.encrypted"} {
		require.Equal(t, s.path(name), all[i]["input"])
		header := all[i]["header"].(map[string]any)
		require.Equal(t, "1", header["encryption_context"].(map[string]any)["x"])
		require.Equal(t, "2.0", header["version"])
		require.Equal(t, float64(2), header["content_type"])
		require.Equal(t, float64(4096), header["frame_length"])
		_, has := all[i]["header_auth"]
		require.Equal(t, i >= 3, has)
		_, has = all[i]["skipped"]
		require.Equal(t, i == 5, has)
	}
	require.Equal(t, "encrypt", all[0]["mode"])
	require.Equal(t, s.path("out/a.encrypted"), all[0]["output"])
	require.Equal(t, []any{"y"}, all[5]["missing_encryption_context_keys"])
	require.Equal(t, []any{[]any{"x", "2"}}, all[5]["missing_encryption_context_pairs"])

	was := s.read("m")
	s.write("broken", "broken")
	s.fails(1, "broken", append([]string{"-d", "-i", "broken", "-o", "x", "--metadata-output", "m", "--overwrite-metadata", "-w"}, keyWords()...)...)
	require.Equal(t, was, s.read("m"), "nothing succeeded, so there is nothing to write")
	s.stdin = "x"
	out := s.ok("encrypt", "-k", key, "-o", "y", "--metadata-output", "-")
	require.Equal(t, "<stdin>", records(out)[0]["input"])
	s.ok("encrypt", "-k", key, "--metadata-output=m", "--overwrite-metadata")
	require.Len(t, records(s.read("m")), 1)
	require.Equal(t, "<stdout>", records(s.read("m"))[0]["output"])

	for why, args := range map[string][]string{
		"standard output":             append([]string{"-e", "-i", "in/a", "-o", "-", "--metadata-output", "-", "-w"}, keyWords()...),
		"which is an input":           append([]string{"-e", "-i", "in/a", "-o", "x", "--metadata-output", "in/../in/a", "-w"}, keyWords()...),
		"which is in the folder out":  append([]string{"-e", "-i", "in/a", "-o", "out", "--metadata-output", "out/m", "-w"}, keyWords()...),
		"which is in the folder in ":  append([]string{"-e", "-r", "-i", "in", "-o", "out", "--metadata-output", "in/m", "-w"}, keyWords()...),
		"which is a folder":           append([]string{"-e", "-i", "in/a", "-o", "x", "--metadata-output", "out", "-w"}, keyWords()...),
		"the folder of the metadata":  append([]string{"-e", "-i", "in/a", "-o", "x", "--metadata-output", "none/m", "-w"}, keyWords()...),
		"the following arguments are": {"-e", "-S"},
	} {
		status := 1
		if strings.HasPrefix(why, "standard") || strings.HasPrefix(why, "the following") {
			status = 2
		}
		s.fails(status, why, args...)
	}
}

func TestKMSKeys(t *testing.T) {
	s := newShop(t)
	server := s.withKMS()
	s.write("a", "contents")
	s.write("other", "contents")
	both := "key=" + server.East + " key=" + server.West
	s.ok("encrypt", "-k", both, "-c", "tenant=42", "a")
	for _, k := range []string{
		server.East, server.West, both, "discovery=true",
		"discovery=true discovery-partition=aws discovery-account=" + kmstest.Account,
		"discovery=true discovery-region=us-west-2",
		"provider=aws-encryption-sdk-cli::aws-kms key=" + server.East + " region=eu-west-1",
	} {
		s.ok("decrypt", "-k", k, "-o", "back", "--overwrite", "a.encrypted")
		require.Equal(t, "contents", s.read("back"))
		if !strings.Contains(k, "=") {
			k = "key=" + k
		}
		s.ok(append([]string{"-d", "-i", "a.encrypted", "-o", "back", "-S", "-w"}, strings.Fields(k)...)...)
	}
	// The Region that is near is asked first.
	_, stderr, status := s.run("decrypt", "-vv", "-k", both+" near=us-west-2 hedge-after=9s", "-o", "back", "--overwrite", "a.encrypted")
	require.Equal(t, 0, status, stderr)
	require.Contains(t, stderr, "opened by aws-kms "+server.West)
	s.fails(1, "Region", "verify", "-k", both+" near=nowhere!", "a.encrypted")

	s.ok("encrypt", "-k", server.Replicas[0], "-o", "replica", "a")
	s.ok("verify", "-k", server.Replicas[1], "replica")
	s.ok("verify", "-k", "discovery=true region=eu-west-1", "replica")
	s.fails(1, "replica", "verify", "-k", "multi-region=false key="+server.Replicas[1], "replica")
	s.fails(2, "discovery-account", "verify", "-k", "discovery=true discovery-account=1", "a.encrypted")
	for _, k := range []string{"discovery=true discovery-partition=aws discovery-account=999999999999", "discovery=true discovery-region=eu-west-1", server.Replicas[0]} {
		s.fails(1, "a.encrypted", "verify", "-k", k, "a.encrypted")
	}
	s.ok("reencrypt", "--from", server.East, "--to", server.West, "--to", key, "-o", "moved", "a.encrypted")
	require.Contains(t, s.ok("inspect", "moved"), `"tenant" = "42"`)
	s.ok("verify", "-k", server.West, "-c", "tenant=42", "moved")
	s.ok("verify", "-k", key, "moved")
	s.fails(1, "moved", "verify", "-k", server.East, "moved")

	// One cache serves all files: the second finds what the first has put there, or
	// waits for it.
	require.NoError(t, os.Mkdir(s.path("cached"), 0o755))
	s.ok("encrypt", "-k", server.East, "--caching", "capacity=10 max_age=100.0 max_bytes_encrypted=1000", "-o", "cached", "a", "other")
	key := func(name string) string {
		var record struct {
			Header struct {
				Keys []struct{ Ciphertext string } `json:"encrypted_data_keys"`
			}
		}
		text := strings.ReplaceAll(s.ok("inspect", "--json", name), "encrypted_data_key\":", "Ciphertext\":")
		require.NoError(t, json.Unmarshal([]byte(text), &record))
		return record.Header.Keys[0].Ciphertext
	}
	require.Equal(t, key("cached/a.encrypted"), key("cached/other.encrypted"))
	require.NotEqual(t, key("cached/a.encrypted"), key("a.encrypted"))
	s.fails(2, "capacity and max_age", "encrypt", "-k", server.East, "--caching", "capacity=10", "a")
}

func TestSuitesPoliciesAndLimits(t *testing.T) {
	s := newShop(t)
	s.write("a", strings.Repeat("x", 1000))
	s.ok(modelArgs("-e", "a", "old", "--algorithm", "AES_256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384", "--commitment-policy", "forbid-encrypt-allow-decrypt")...)
	s.fails(1, "commitment policy", modelArgs("-d", "old", "back")...)
	s.ok(modelArgs("-d", "old", "back", "--commitment-policy=require-encrypt-allow-decrypt")...)
	s.fails(1, "commitment policy", modelArgs("-e", "a", "back", "--algorithm", "AES_256_GCM_IV12_TAG16")...)
	s.fails(2, "is not one of", modelArgs("-e", "a", "back", "--algorithm", "none")...)

	s.ok(modelArgs("-e", "a", "signed")...)
	s.ok(modelArgs("-e", "a", "unsigned", "--algorithm", "AES_256_GCM_HKDF_SHA512_COMMIT_KEY")...)
	s.fails(1, "signed", modelArgs("--decrypt-unsigned", "signed", "back")...)
	s.fails(1, "signed", "decrypt", "--unsigned", "-k", key, "-o", "-", "signed")
	s.ok(modelArgs("--decrypt-unsigned", "unsigned", "back")...)
	s.ok("verify", "--unsigned", "-k", key, "unsigned")

	s.ok(modelArgs("-e", "a", "unframed", "--frame-length", "0")...)
	require.Contains(t, s.ok("inspect", "unframed"), "unframed")
	require.Contains(t, s.ok("inspect", "signed"), "frames of 4096 bytes")
	s.ok(modelArgs("-d", "unframed", "back")...)
	require.Equal(t, s.read("a"), s.read("back"))
	s.fails(1, "frame", modelArgs("-d", "unframed", "back", "--max-length", "999")...)
	s.ok(modelArgs("-d", "unframed", "back", "--max-length", "1000")...)
	s.fails(1, "too many encrypted data keys", "encrypt", "-k", key, "-k", strings.Replace(key, "name=1", "name=2", 1), "--max-encrypted-data-keys", "1", "a")
	s.ok("encrypt", "-k", key, "-k", strings.Replace(key, "name=1", "name=2", 1), "a")
	s.fails(1, "too many encrypted data keys", "inspect", "--max-encrypted-data-keys", "1", "a.encrypted")
	s.fails(1, "too many encrypted data keys", "verify", "-k", key, "--max-encrypted-data-keys", "1", "a.encrypted")
	for _, args := range [][]string{{"--frame-length", "x"}, {"--frame-length", "-1"}, {"--max-length", "0"}, {"--max-encrypted-data-keys", "0"}} {
		s.fails(2, "is no number", modelArgs("-e", "a", "x", args...)...)
	}
}

func TestHelpIsThere(t *testing.T) {
	s := newShop(t)
	for _, args := range [][]string{{"help"}, {"--help"}, {"-h"}, {"help", "keys"}, {"help", "KEYS"}, {"help", "files"}, {"help", "model"}, {"-e", "-h"},
		{"encrypt", "--help"}, {"help", "encrypt"}, {"keys", "-h"}, {"help", "man"}, {"completion", "bash"}, {"completion", "zsh"}, {"completion", "fish"}} {
		require.NotEmpty(t, s.ok(args...))
	}
	require.True(t, strings.HasPrefix(s.ok("version"), "esdk/"))
	require.True(t, strings.HasPrefix(s.ok("--version", "anything"), "esdk/"))
	require.Contains(t, s.ok("help", "KEYS"), "provider=raw-aes")
	for _, args := range [][]string{{}, {"nothing"}, {"help", "nothing"}, {"encrypt"}, {"encrypt", "--nothing"}, {"completion"}, {"keys"}, {"model"},
		{"-e"}, {"--nothing"}, {"-encrypt"}} {
		s.fails(2, "esdk", args...)
	}
	require.NoError(t, os.Symlink(binary, s.path("aws-encryption-cli")))
	s.write("a", "contents")
	cmd := s.command(modelArgs("-e", "a", "b")...)
	cmd.Path = s.path("aws-encryption-cli")
	require.NoError(t, cmd.Run())
	cmd = s.command("encrypt")
	cmd.Path, cmd.Args[0] = s.path("aws-encryption-cli"), "aws-encryption-cli"
	require.Error(t, cmd.Run(), "under that name there are no commands")
}

// README.md's table is made from the options.
func TestReadmeComparesAllOptions(t *testing.T) {
	const begin, end = "<!-- options: go test -run Readme -update . -->\n", "<!-- end -->\n"
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(readme), begin)
	require.True(t, found)
	_, after, found := strings.Cut(rest, end)
	require.True(t, found)
	want := before + begin + comparison() + end + after
	if *update {
		require.NoError(t, os.WriteFile("README.md", []byte(want), 0o644))
		return
	}
	require.True(t, want == string(readme), "run go test -run Readme -update .")
}

// comparison returns the options of aws-encryption-cli beside this program's.
func comparison() string {
	var b strings.Builder
	b.WriteString("| aws-encryption-cli | here |\n|---|---|\n")
	for _, o := range options() {
		if o.model != "" {
			fmt.Fprintf(&b, "| `%s` | %s |\n", term(o, false), o.model)
		}
	}
	return b.String()
}
