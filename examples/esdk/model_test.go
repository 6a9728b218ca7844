package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/suite"
)

// modelVariable names Python's aws-encryption-cli. The endpoints of the environment
// are then those of a server that stands in for AWS: internal/interop/cli sets all
// of it.
const modelVariable = "ESDK_MODEL"

// servers returns a shop whose commands see the servers of the environment, and the
// ARNs of two new keys there.
func servers(t *testing.T) (*shop, []string) {
	if os.Getenv("AWS_ENDPOINT_URL_KMS") == "" {
		t.Skip("AWS_ENDPOINT_URL_KMS is not set: internal/interop/cli runs this")
	}
	s := newShop(t)
	for _, variable := range os.Environ() {
		if strings.HasPrefix(variable, "AWS_") {
			s.env = append(s.env, variable)
		}
	}
	c, err := config.LoadDefaultConfig(t.Context())
	require.NoError(t, err)
	var arns []string
	for range 2 {
		key, err := awskms.NewFromConfig(c).CreateKey(t.Context(), &awskms.CreateKeyInput{})
		require.NoError(t, err)
		arns = append(arns, *key.KeyMetadata.Arn)
	}
	return s, arns
}

// tool runs a command line with the model if theirs is set, and else with ours.
func (s *shop) tool(theirs bool, args ...string) (stdout, stderr string, status int) {
	s.t.Helper()
	if !theirs {
		return s.run(args...)
	}
	cmd := s.command(args...)
	cmd.Path, cmd.Args[0] = os.Getenv(modelVariable), os.Getenv(modelVariable)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	_ = cmd.Run()
	require.NotNil(s.t, cmd.ProcessState, "%s: the model does not start", cmd.Path)
	return out.String(), errors.String(), cmd.ProcessState.ExitCode()
}

// The same command lines do the same with either program, and each reads what the
// other wrote.
func TestModelTool(t *testing.T) {
	if os.Getenv(modelVariable) == "" {
		t.Skip(modelVariable + " is not set: internal/interop/cli runs this")
	}
	s, arns := servers(t)
	contents := map[string]string{
		"in/a": "contents of a", "in/empty": "", "in/sub/.hidden": "hidden", "in/sub/Ü b": strings.Repeat("long ", 100_000), "in/sub/deep/c": "c",
	}
	for name, text := range contents {
		s.write(name, text)
	}
	s.write("arguments", "-w provider=aws-kms \"key=$ESDK_TEST_ARN\" # the key\n-S --encryption-context 'purpose=a b' \"x=\\\"\"\n")
	s.env = append(s.env, "ESDK_TEST_ARN="+arns[0])
	one, two := []string{"-w", "key=" + arns[0]}, []string{"--wrapping-keys", "provider=aws-kms", "key=" + arns[0], "key=" + arns[1]}
	quiet := []string{"-S", "-q"}

	type exchange struct {
		name             string
		encrypt, decrypt []string
	}
	exchanges := []exchange{
		{"plain", slices.Concat(one, quiet), slices.Concat(one, quiet)},
		{"two keys", slices.Concat(two, quiet), slices.Concat([]string{"--wrapping-k", "provider=aws-encryption-sdk-cli::aws-kms", "key=" + arns[1]}, quiet)},
		{"discovery", slices.Concat(one, quiet), slices.Concat([]string{"-w", "discovery=true", "discovery-partition=aws", "discovery-account=123456789012"}, quiet)},
		{"context", slices.Concat(one, quiet, []string{"-c", "a=b=c", "d=é"}), slices.Concat(one, quiet, []string{"-c", "a=b=c", "d"})},
		{"Base64", slices.Concat(one, quiet, []string{"--encode"}), slices.Concat(one, quiet, []string{"--decode"})},
		{"suffix", slices.Concat(one, quiet, []string{"--suffix", ".x"}), slices.Concat(one, quiet, []string{"--suffix"})},
		{"frames", slices.Concat(one, quiet, []string{"--frame-length=1024"}), slices.Concat(one, quiet, []string{"--max-l", "1024"})},
		{"unframed", slices.Concat(one, quiet, []string{"--frame-length", "0"}), slices.Concat(one, quiet, []string{"-b"})},
		{"caching", slices.Concat(one, quiet, []string{"--caching", "capacity=10", "max_age=60.0", "max_messages_encrypted=3"}), slices.Concat(one, quiet, []string{"--caching", "capacity=1", "max_age=1"})},
		{"arguments of a file", []string{"@arguments"}, []string{"@arguments", "--max-encrypted-data-keys", "1"}},
	}
	suites := []suite.ID{suite.AES128GCM, suite.AES256GCMHKDFSHA256, suite.AES256GCMHKDFSHA384ECDSAP384, suite.AES256GCMHKDFSHA512CommitKey}
	if os.Getenv("ESDK_TEST") == "full" {
		suites = suite.All()
	}
	for _, id := range suites {
		policy := "--commitment-policy=require-encrypt-require-decrypt"
		if !id.Committing() {
			policy = "--commitment-policy=forbid-encrypt-allow-decrypt"
		}
		exchanges = append(exchanges, exchange{suiteName(id), slices.Concat(one, quiet, []string{policy, "--algorithm", suiteName(id)}), slices.Concat(one, quiet, []string{policy})})
	}
	for i, e := range exchanges {
		var trees [2][]string
		for j, theirs := range []bool{true, false} { // who encrypts
			out, back := fmt.Sprintf("out%d%v", i, theirs), fmt.Sprintf("back%d%v", i, theirs)
			s.mkdir(out)
			s.mkdir(back)
			_, stderr, status := s.tool(theirs, slices.Concat([]string{"-e", "-r", "-i", "in", "-o", out}, e.encrypt)...)
			require.Equal(t, 0, status, "%s: %s", e.name, stderr)
			_, stderr, status = s.tool(!theirs, slices.Concat([]string{"-dr", "-i", out, "-o", back}, e.decrypt)...)
			require.Equal(t, 0, status, "%s: %s", e.name, stderr)
			encryptedSuffix, decryptedSuffix := ".encrypted", ".decrypted"
			if e.name == "suffix" {
				encryptedSuffix, decryptedSuffix = ".x", ""
			}
			for name, text := range contents {
				require.Equal(t, text, s.read(strings.Replace(name, "in/", back+"/", 1)+encryptedSuffix+decryptedSuffix), e.name)
			}
			for _, name := range s.files() {
				if rest, found := strings.CutPrefix(name, out+"/"); found {
					trees[j] = append(trees[j], rest)
				}
			}
		}
		require.Equal(t, trees[0], trees[1], "the two name the same files: %s", e.name)
		require.Len(t, trees[0], len(contents))
	}

	// Standard input and output, and metadata.
	var records [2][]map[string]any
	for i, theirs := range []bool{true, false} {
		name := fmt.Sprint("metadata", i)
		keys := slices.Concat(one, []string{"--metadata-output", name})
		s.stdin = "from standard input"
		message, stderr, status := s.tool(theirs, slices.Concat([]string{"-e", "-i", "-", "-o", "-", "--encode"}, keys, []string{"-c", "a=b"})...)
		require.Equal(t, 0, status, stderr)
		s.stdin = message
		text, stderr, status := s.tool(!theirs, slices.Concat([]string{"-d", "-i", "-", "-o", "-", "--decode", "-S", "-q"}, one)...)
		require.Equal(t, 0, status, stderr)
		require.Equal(t, "from standard input", text)
		s.stdin = ""
		for _, args := range [][]string{
			{"-e", "-i", "in/a", "-o", "m"},
			{"-d", "-i", "out0true/a.encrypted", "-o", "m2"}, // the same message for both
			{"-d", "-i", "out3true/a.encrypted", "-o", "m2", "-c", "a=x", "d", "z"},
			{"-e", "-i", "in/a", "-o", "m", "--commitment-policy", "forbid-encrypt-allow-decrypt"},
			{"-d", "-i", "out7true/a.encrypted", "-o", "m2"},
		} {
			_, stderr, status := s.tool(theirs, slices.Concat(args, keys)...)
			if slices.Contains(args, "z") && !theirs {
				require.Equal(t, 1, status, "a mismatch is a failure")
				continue
			}
			require.Equal(t, 0, status, stderr)
		}
		for line := range strings.Lines(s.read(name)) {
			var record map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &record))
			records[i] = append(records[i], record)
		}
	}
	require.Len(t, records[0], 6)
	require.Len(t, records[1], 6)
	for i := range records[0] {
		theirs, ours := records[0][i], records[1][i]
		if theirs["mode"] == "decrypt" {
			require.Equal(t, theirs, ours)
			continue
		}
		require.Equal(t, names(theirs), names(ours))
		require.Equal(t, names(theirs["header"]), names(ours["header"]))
		require.Equal(t, theirs["input"], ours["input"])
		require.Equal(t, theirs["output"], ours["output"])
	}

	// The same mistakes have the same exit status.
	for _, args := range [][]string{
		{}, {"-e"}, {"-e", "-d", "-S", "-i", "in/a", "-o", "m"}, {"--enc"}, {"-de"}, {"-encrypt"},
		slices.Concat([]string{"-e", "-i", "in/a", "-o", "m", "-o", "m", "-S"}, one),
		slices.Concat([]string{"-e", "-i", "in/a", "-o", "m"}, one),
		slices.Concat([]string{"-e", "-i", "in/a", "-o", "m", "-S", "--metadata-output", "x"}, one),
		slices.Concat([]string{"-e", "-i", "in/a", "-o", "m", "-S", "--algorithm", "x"}, one),
		slices.Concat([]string{"-e", "-i", "in/a", "-o", "m", "-S", "x"}, one),
		slices.Concat([]string{"-e", "-i", "in/a", "-o", "m", "-S", "-c", "x"}, one),
		slices.Concat([]string{"-e", "-i", "none", "-o", "m", "-S"}, one),
		slices.Concat([]string{"-e", "-i", "in", "-o", "none/none", "-S", "-r"}, one),
		slices.Concat([]string{"-e", "-i", "in/a", "-o", "in/a", "-S"}, one),
		slices.Concat([]string{"-d", "-i", "in/a", "-o", "m3", "-S"}, one),
		{"-e", "-i", "in/a", "-o", "m", "-S", "-w", "a=b"}, {"-d", "-i", "in/a", "-o", "m", "-S", "-w", "discovery=false"},
		{"-e", "-i", "in/a", "-o", "m", "-S", "-w", "discovery=true"}, {"-e", "-i", "in/a", "-o", "m", "-S", "-w", "key"},
		{"-d", "-i", "in/a", "-o", "m", "-S", "-w", "discovery=true", "discovery-account=1"},
		{"--version"}, {"-h"},
	} {
		_, _, theirs := s.tool(true, args...)
		_, stderr, ours := s.tool(false, args...)
		require.Equal(t, theirs, ours, "%q: %s", args, stderr)
	}
}

// names returns the names of the fields of a record.
func names(record any) []string {
	return slices.Sorted(maps.Keys(record.(map[string]any)))
}

// Keys are made, rotated and listed by the command, and messages go there and back
// under them.
func TestBranchKeys(t *testing.T) {
	if os.Getenv("AWS_ENDPOINT_URL_DYNAMODB") == "" {
		t.Skip("AWS_ENDPOINT_URL_DYNAMODB is not set: internal/interop/cli runs this")
	}
	s, arns := servers(t)
	table := []string{"--table", "esdk-cli", "--kms-key", arns[0]}
	keys := func(args ...string) string { return s.ok(slices.Concat([]string{"keys"}, table, args)...) }
	require.Contains(t, keys("create-table"), ":table/esdk-cli")
	id := strings.TrimSpace(keys("create"))
	require.Len(t, id, 36)
	require.Equal(t, "tenant\n", keys("create", "--branch-key-context", "tenant=42", "tenant"))
	s.fails(1, "exists", slices.Concat([]string{"keys", "create", "--branch-key-context", "tenant=42", "tenant"}, table)...)

	s.write("a", "contents")
	key := "provider=hierarchical table=esdk-cli branch-key=tenant key=" + arns[0]
	s.ok("encrypt", "-k", key, "a")
	keys("rotate", "tenant")
	s.ok("verify", "-k", key, "a.encrypted")
	s.fails(1, "not \"none\"", "verify", "-k", strings.Replace(key, "=tenant", "=none", 1), "a.encrypted")

	require.Equal(t, 2, strings.Count(keys("list"), "\n"))
	versions := s.ok("keys", "versions", "--json", "--table", "esdk-cli", "tenant")
	active := 0
	for line := range strings.Lines(versions) {
		var record map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &record))
		require.Equal(t, "tenant", record["id"])
		require.Equal(t, map[string]any{"tenant": "42"}, record["encryption_context"])
		if record["active"] == true {
			active++
		}
	}
	require.Equal(t, 2, strings.Count(versions, "\n"))
	require.Equal(t, 1, active)
}

// What the command line of keys has to be.
func TestBranchKeyMistakes(t *testing.T) {
	s := newShop(t)
	s.withKMS()
	for why, args := range map[string][]string{
		"say what to do":              {},
		"is none of":                  {"remove"},
		"needs the ID":                {"rotate", "--table", "t"},
		"one operand too many":        {"list", "--table", "t", "x"},
		"--table is missing":          {"list"},
		"--kms-key is missing":        {"create", "--table", "t"},
		"new branch keys only":        {"list", "--table", "t", "--branch-key-context", "a=b"},
		"not of the form name=value":  {"create", "--table", "t", "--kms-key", "x", "--branch-key-context", "a"},
		"unknown option --logicaname": {"list", "--logicaname", "t"},
	} {
		s.fails(2, why, append([]string{"keys"}, args...)...)
	}
	s.fails(1, "key", "keys", "create", "--table", "t", "--kms-key", "alias/x")
}
