package main

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms/kmstest"
)

// pem writes a PEM file.
func (s *shop) pem(name, kind string, der []byte, err error) {
	s.t.Helper()
	require.NoError(s.t, err)
	s.write(name, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func TestRawAESKeys(t *testing.T) {
	s := newShop(t)
	raw := s.read("key.bin")
	s.write("a", "contents")
	s.write("key.hex", hex.EncodeToString([]byte(raw))+"\n")
	s.write("key.base64", base64.StdEncoding.EncodeToString([]byte(raw))+"\n")
	s.write("ambiguous", strings.Repeat("0123456789abcdef", 2))
	s.write("short", "short")
	s.env = append(s.env, "ESDK_TEST_KEY="+hex.EncodeToString([]byte(raw)))
	const attributes = "provider=raw-aes namespace=test name=1 "
	s.ok("encrypt", "-k", attributes+"file=key.bin", "a")
	for _, where := range []string{"file=key.hex", "file=key.base64", "file=key.bin encoding=raw", "file=key.hex encoding=hex", "env=ESDK_TEST_KEY", "file='key.bin'"} {
		s.ok("verify", "-k", attributes+where, "a.encrypted")
	}
	if runtime.GOOS != "windows" {
		cmd := s.command("verify", "-k", attributes+"fd=3", "a.encrypted")
		f, err := os.Open(s.path("key.hex"))
		require.NoError(t, err)
		defer f.Close()
		cmd.ExtraFiles = []*os.File{f}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	s.ok("encrypt", "-k", attributes+"file=ambiguous encoding=raw", "-o", "x", "a")
	for where, why := range map[string]string{
		"file=ambiguous":                   "say encoding=",
		"file=short":                       "are no AES key",
		"file=none":                        "none: no such file",
		"file=key.bin encoding=x":          "it is raw, hex or base64",
		"file=key.hex encoding=base64":     "as encoding=base64",
		"file=key.bin env=ESDK_TEST_KEY":   "one of file=, fd= and env=",
		"env=ESDK_NONE":                    "no such environment variable",
		"fd=0":                             "3 or more",
		"fd=99":                            "fd=99",
		"":                                 "one of file=, fd= and env=",
		"key=secret":                       "key= would show the key",
		"file=key.bin file=key.bin":        "once only",
		"file=key.bin size=3":              "has no attribute size=",
		"file=key.bin region":              "not of the form name=value",
		"file=key.bin provider=kms":        "provider= may be given once only",
		"file=key.bin provider":            "not of the form",
		"file=key.bin discovery=true":      "has no attribute discovery=",
		"file=key.bin region=eu-central-1": "has no attribute region=",
	} {
		_, stderr, status := s.run("verify", "-k", attributes+where, "a.encrypted")
		require.NotZero(t, status, where)
		require.Contains(t, stderr, why, where)
		require.NotContains(t, stderr, raw)
	}
	s.fails(2, "no closing '", "verify", "-k", "provider=raw-aes 'unclosed", "a.encrypted")
	s.fails(2, "there is no provider", "verify", "-k", "provider=none key=1", "a.encrypted")
	for _, option := range []string{"-k", "--from"} {
		command := map[string][]string{"-k": {"verify"}, "--from": {"reencrypt", "--in-place", "--to", key}}[option]
		s.fails(2, `for a key in a file: "provider=raw-aes namespace=... name=... file=key.bin"`, append(command, option, "key.bin", "a.encrypted")...)
	}
	for _, key := range []string{"key=key.bin", "."} { // KMS keys, of a Region that nobody names
		_, stderr, status := s.run("encrypt", "-k", key, "-o", "x2", "a")
		require.Equal(t, 1, status)
		require.NotContains(t, stderr, "in a file")
	}
}

func TestRawRSAKeys(t *testing.T) {
	s := newShop(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	s.pem("pkcs8", "PRIVATE KEY", pkcs8, err)
	s.pem("pkcs1", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private), nil)
	pkix, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	s.pem("pkix", "PUBLIC KEY", pkix, err)
	s.pem("pkcs1.pub", "RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&private.PublicKey), nil)
	s.pem("encrypted", "ENCRYPTED PRIVATE KEY", pkcs8, nil)
	s.write("a", "contents")
	for _, padding := range []string{"", " padding=oaep-sha256", " padding=oaep-sha384", " padding=oaep-sha512", " padding=OAEP-SHA1", " padding=pkcs1"} {
		for _, public := range []string{"pkix", "pkcs1.pub", "pkcs8"} {
			s.ok("encrypt", "-k", "provider=raw-rsa namespace=n name=r file="+public+padding, "--overwrite", "a")
		}
		for _, private := range []string{"pkcs8", "pkcs1"} {
			s.ok("verify", "-k", "provider=raw-rsa namespace=n name=r file="+private+padding, "a.encrypted")
		}
	}
	for why, key := range map[string]string{
		"does not decrypt":   "file=pkix",
		"is encrypted with":  "file=encrypted",
		"it is no PEM file":  "file=a",
		"it is one of":       "file=pkcs8 padding=none",
		"it is an RSA priva": "provider=raw-ecdh file=pkcs8",
		"it is an RSA publi": "provider=raw-ecdh file=pkix",
		"namespace= is miss": "provider=raw-rsa",
	} {
		if !strings.HasPrefix(key, "provider") {
			key = "provider=raw-rsa namespace=n name=r " + key
		}
		status := 1
		if strings.Contains(why, "one of") || strings.HasPrefix(why, "namespace") {
			status = 2 // a mistake in the command line, and not in a file
		}
		s.fails(status, why, "verify", "-k", key, "a.encrypted")
	}
}

func TestRawECDHKeys(t *testing.T) {
	s := newShop(t)
	for _, name := range []string{"alice", "bob"} {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		der, err := x509.MarshalPKCS8PrivateKey(private)
		s.pem(name, "PRIVATE KEY", der, err)
		der, err = x509.MarshalPKIXPublicKey(&private.PublicKey)
		s.pem(name+".pub", "PUBLIC KEY", der, err)
	}
	s.write("a", "contents")
	const p = "provider=raw-ecdh "
	s.ok("encrypt", "-k", p+"file=alice recipient=bob.pub", "-o", "static", "a")
	s.ok("encrypt", "-k", p+"recipient=bob.pub", "-o", "ephemeral", "a")
	s.ok("verify", "-k", p+"file=alice recipient=bob.pub", "static")
	s.ok("verify", "-k", p+"file=bob recipient=alice.pub", "static")
	s.ok("verify", "-k", p+"file=bob", "ephemeral")
	s.fails(1, "ephemeral", "verify", "-k", p+"file=alice", "ephemeral")
	s.fails(2, "recipient= is missing", "encrypt", "-k", p+"file=alice", "a")
	s.fails(2, "the private key is missing", "verify", "-k", p+"recipient=bob.pub", "static")
	s.fails(1, "it is an elliptic curve private key and not a public key on", "verify", "-k", p+"file=alice recipient=bob", "static")
	s.fails(1, "it is an elliptic curve public key and not a private key on", "verify", "-k", p+"file=alice.pub", "static")
	s.fails(1, "it is an elliptic curve private key and not an RSA key", "verify", "-k", "provider=raw-rsa namespace=n name=r file=alice", "static")
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	s.pem("ed25519", "PRIVATE KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(public)
	s.pem("ed25519.pub", "PUBLIC KEY", der, err)
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err = x509.MarshalPKCS8PrivateKey(x25519)
	s.pem("x25519", "PRIVATE KEY", der, err)
	for name, kind := range map[string]string{"ed25519": "an Ed25519 private key", "x25519": "a key of another kind"} {
		s.fails(1, "it is "+kind+" and not a private key on", "verify", "-k", p+"file="+name, "static")
	}
	s.fails(1, "it is an Ed25519 public key and not a public key on", "verify", "-k", p+"file=alice recipient=ed25519.pub", "static")
}

func TestAsymmetricKMSKeys(t *testing.T) {
	s := newShop(t)
	server := s.withKMS()
	s.write("a", "contents")
	s.write("rsa.pub", server.RSAPublic)
	s.write("ecc.pub", server.ECCPublic)
	const unsigned = "AES_256_GCM_HKDF_SHA512_COMMIT_KEY"
	s.ok("encrypt", "-k", "provider=kms-rsa public=rsa.pub key="+server.RSA, "--algorithm", unsigned, "-o", "rsa", "a")
	s.ok("verify", "-k", "provider=kms-rsa key="+server.RSA, "rsa")
	s.fails(2, "public= is missing", "encrypt", "-k", "provider=kms-rsa key="+server.RSA, "--algorithm", unsigned, "-o", "x", "a")
	s.fails(1, "sign", "encrypt", "-k", "provider=kms-rsa public=rsa.pub key="+server.RSA, "-o", "x", "a")

	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	s.pem("bob", "PRIVATE KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(&private.PublicKey)
	s.pem("bob.pub", "PUBLIC KEY", der, err)
	s.ok("encrypt", "-k", "provider=kms-ecdh recipient=bob.pub key="+server.ECC, "-o", "static", "a")
	s.ok("verify", "-k", "provider=kms-ecdh recipient=bob.pub key="+server.ECC, "static")
	s.ok("verify", "-k", "provider=raw-ecdh file=bob recipient=ecc.pub", "static")
	s.ok("encrypt", "-k", "provider=raw-ecdh recipient=ecc.pub", "-o", "ephemeral", "a")
	s.ok("verify", "-k", "provider=kms-ecdh key="+server.ECC, "ephemeral")
	s.fails(2, "recipient= is missing", "encrypt", "-k", "provider=kms-ecdh key="+server.ECC, "-o", "x", "a")
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

	// Without a Region in the key and in the environment: of the attribute, of the profile.
	id := func(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }
	other := newShopInSequence(t)
	other.write("a", "contents")
	other.env = append(other.env, "AWS_ENDPOINT_URL_KMS="+server.URL)
	other.write(".aws/config", "[profile west]\nregion = us-west-2\naws_access_key_id = a\naws_secret_access_key = b\n")
	other.ok("encrypt", "-k", "profile=west key="+id(server.West), "a")
	other.ok("verify", "-k", "profile=west key="+server.West, "a.encrypted")
	other.ok("encrypt", "-k", "profile=west region=us-east-1 key="+id(server.East), "--overwrite", "a")
	other.fails(1, "", "encrypt", "-k", "profile=none key="+id(server.West), "--overwrite", "a")
	other.fails(1, "", "encrypt", "-k", id(server.West), "--overwrite", "a")

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
