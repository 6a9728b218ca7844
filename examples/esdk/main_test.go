package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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
		require.Equal(t, s.ok("inspect", "--json"), s.ok("inspect", "-json"))
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
	for _, nothing := range []string{"", "no message", message[:100], message[:2000]} {
		s.stdin = nothing
		for _, more := range [][]string{nil, {"--encode"}} {
			out, stderr, status := s.run(append([]string{"decrypt", "-k", key}, more...)...)
			require.Equal(t, 1, status)
			require.Empty(t, out)
			require.NotContains(t, stderr, "discard")
		}
	}
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

func TestSuitesPoliciesAndLimits(t *testing.T) {
	s := newShop(t)
	s.write("a", strings.Repeat("x", 1000))
	s.ok(modelArgs("-e", "a", "old", "--algorithm", "AES_256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384", "--commitment-policy", "forbid-encrypt-allow-decrypt")...)
	s.fails(1, "REQUIRE_ENCRYPT_ALLOW_DECRYPT would, as --commitment-policy", modelArgs("-d", "old", "back")...)
	s.ok(modelArgs("-d", "old", "back", "--commitment-policy=require-encrypt-allow-decrypt")...)
	s.fails(1, "commitment policy", modelArgs("-e", "a", "back", "--algorithm", "AES_256_GCM_IV12_TAG16")...)
	s.fails(2, "is not one of", modelArgs("-e", "a", "back", "--algorithm", "none")...)

	s.ok(modelArgs("-e", "a", "signed")...)
	s.ok(modelArgs("-e", "a", "unsigned", "--algorithm", "AES_256_GCM_HKDF_SHA512_COMMIT_KEY")...)
	s.fails(1, "signed", modelArgs("--decrypt-unsigned", "signed", "back")...)
	s.fails(1, "signed", "decrypt", "--unsigned", "-k", key, "-o", "-", "signed")
	s.ok(modelArgs("--decrypt-unsigned", "unsigned", "back")...)
	s.ok("verify", "--unsigned", "-k", key, "unsigned")
	s.fails(1, "signed", "verify", "--unsigned", "-k", key, "signed")
	s.fails(1, "signed", "reencrypt", "--unsigned", "--in-place", "--from", key, "--to", key, "signed")
	s.ok("reencrypt", "--unsigned", "--in-place", "--from", key, "--to", key, "--algorithm", "AES_256_GCM_HKDF_SHA512_COMMIT_KEY", "unsigned")
	require.Contains(t, s.ok("inspect", "unsigned"), "frames of 4096 bytes")
	s.fails(2, "no unframed", "reencrypt", "--frame-length=0", "--in-place", "--from", key, "--to", key, "unsigned")

	s.ok(modelArgs("-e", "a", "unframed", "--frame-length", "0")...)
	require.Contains(t, s.ok("inspect", "unframed"), "unframed")
	require.Contains(t, s.ok("inspect", "signed"), "frames of 4096 bytes")
	s.ok(modelArgs("-d", "unframed", "back")...)
	require.Equal(t, s.read("a"), s.read("back"))
	s.fails(1, "frame", modelArgs("-d", "unframed", "back", "--max-length", "999")...)
	s.ok(modelArgs("-d", "unframed", "back", "--max-length", "1000")...)
	s.fails(1, "too many encrypted data keys", "encrypt", "-k", key, "-k", strings.Replace(key, "name=1", "name=2", 1), "--max-encrypted-data-keys", "1", "a")
	s.ok("encrypt", "-k", key, "-k", strings.Replace(key, "name=1", "name=2", 1), "a")
	many := []string{"encrypt", "-k", key, "-o", "many", "a"}
	for i := range 100 {
		many = append(many, "-k", strings.Replace(key, "name=1", fmt.Sprint("name=more", i), 1))
	}
	s.ok(many...)
	s.fails(1, "101, at most 100 allowed; --max-encrypted-data-keys raises that", "inspect", "many")
	require.Contains(t, s.ok("inspect", "--max-encrypted-data-keys", "101", "many"), "more99")
	s.ok(append(many[:len(many)-2], "--overwrite")...)
	s.ok("inspect", "many")
	s.fails(1, "too many encrypted data keys", "inspect", "--max-encrypted-data-keys", "1", "a.encrypted")
	s.fails(1, "too many encrypted data keys", "verify", "-k", key, "--max-encrypted-data-keys", "1", "a.encrypted")
	for _, args := range [][]string{{"--frame-length", "x"}, {"--frame-length", "-1"}, {"--max-length", "0"}, {"--max-encrypted-data-keys", "0"}} {
		s.fails(2, "is no number", modelArgs("-e", "a", "x", args...)...)
	}
}
