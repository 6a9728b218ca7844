// Package vectors gives this module's tests the messages that the AWS
// Encryption SDK's makers published, straight from their files. The files are
// not part of the project: the environment variable ESDK_VECTORS names the
// folder that holds them.
package vectors

import (
	"archive/zip"
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A Message is a message that another SDK wrote, with what its manifest says
// about it.
type Message struct {
	Name              string
	Ciphertext        []byte
	Plaintext         []byte
	SHA256            string // of the plaintext, in hexadecimal, if that is not there
	MasterKeys        []MasterKey
	CMM               string            // "Default" or "RequiredEncryptionContext"
	EncryptionContext map[string]string // as it was given to encrypt, nil if the manifest does not say

	// Of DafnyMessages only.
	Suite      string            // four hexadecimal digits
	Reproduced map[string]string // what decryption is given
	Required   []string          // the keys that it must be given
}

// KMS reports whether decrypting the message needs AWS KMS.
func (m *Message) KMS() bool {
	return slices.ContainsFunc(m.MasterKeys, func(k MasterKey) bool { return strings.HasPrefix(k.Type, "aws-kms") && k.BranchKey == nil })
}

// A MasterKey is one of the keys that a message is encrypted under.
type MasterKey struct {
	Type       string // "raw" or "aws-kms"; of DafnyMessages, the manifest's name of the keyring
	KeyID      string // the name of a raw key, the ARN of a KMS key, the ID of a branch key
	CanDecrypt bool

	// Of raw keys only.
	ProviderID  string // the namespace
	Algorithm   string // "aes" or "rsa"
	Padding     string // RSA: "oaep-mgf1" or "pkcs1"
	PaddingHash string // OAEP: "sha1", "sha256", "sha384" or "sha512"
	AES         []byte
	RSAPublic   *rsa.PublicKey  // also of a private key
	RSAPrivate  *rsa.PrivateKey // nil if the manifest names the public key alone

	// Of DafnyMessages only.
	Schema            string // of key agreement: "static", or "discovery" by the recipient
	Sender, Recipient Party
	BranchKeyVersion  string
	BranchKey         []byte
	Region, Partition string // of discovery in AWS KMS
	Accounts          []string
}

// A CommitmentMessage is one of the messages, of version 2, that show key
// commitment. They come with the data key in place of a master key.
type CommitmentMessage struct {
	Name              string
	Ciphertext        []byte
	Plaintext         []byte // nil if BadCommitment
	DataKey           []byte // the decrypted data key
	MessageID         []byte
	CommitKey         []byte            // that of the data key; the header's, too, unless BadCommitment
	EncryptionContext map[string]string // all of it, the public key included
	BadCommitment     bool              // must fail: the header commits to another key
	Header            []byte            // header body and authentication
}

// Dir returns the folder of the published files: what ESDK_VECTORS names, a
// relative path counting from the root of the module. The test is skipped if
// the variable is not set, and fails if it is set and the folder is not there.
func Dir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("ESDK_VECTORS")
	if dir == "" {
		t.Skip("ESDK_VECTORS is not set: it names the folder of the published test vectors, see internal/test/vectors")
	}
	if !filepath.IsAbs(dir) {
		root, err := moduleRoot()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(root, dir)
	}
	if info, err := os.Stat(dir); err != nil {
		t.Fatalf("ESDK_VECTORS: %v", err)
	} else if !info.IsDir() {
		t.Fatalf("ESDK_VECTORS: %s is not a folder", dir)
	}
	return dir
}

const module = "github.com/esdk-go/esdk"

// moduleRoot returns the folder of this module's go.mod, also when the test
// is one of a nested module.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && slices.Contains(strings.Fields(string(b)), module) &&
			strings.HasPrefix(string(b), "module "+module+"\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod of " + module + " in this folder or above it")
		}
		dir = parent
	}
}

// NetMessages returns the 132 messages of v4-Net-4.0.1.zip, sorted by name: all
// 11 suites under AES, RSA and KMS keys, with and without a required context.
func NetMessages(t testing.TB) []Message {
	t.Helper()
	return manifest(t, "v4-Net-4.0.1.zip", "manifest.json", 132)
}

// PythonMessages returns the 360 messages of python-1.3.5.zip, sorted by name:
// the 9 suites of version 1 under KMS keys, framed and unframed.
func PythonMessages(t testing.TB) []Message {
	t.Helper()
	return manifest(t, "python-1.3.5.zip", "decrypt_message.json", 360)
}

// NET400Messages returns the 7 messages of net-4.0.0-sample.json, sorted by name:
// of suites of every kind, as version 4.0.0 of the SDK for .NET alone wrote them,
// one with required context keys.
func NET400Messages(t testing.TB) []Message {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(Dir(t), "net-4.0.0-sample.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Messages []struct {
			ID           string
			KeyNamespace string            `json:"key_namespace"`
			KeyName      string            `json:"key_name"`
			Key          []byte            `json:"key_base64"`
			Context      map[string]string `json:"encryption_context"`
			CMM          string            `json:"materials_manager"`
			Ciphertext   []byte            `json:"ciphertext_base64"`
			SHA256       string            `json:"plaintext_sha256"`
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	var messages []Message
	for _, m := range file.Messages {
		messages = append(messages, Message{Name: m.ID, Ciphertext: m.Ciphertext, SHA256: m.SHA256, CMM: m.CMM, EncryptionContext: m.Context,
			MasterKeys: []MasterKey{{Type: "raw", KeyID: m.KeyName, CanDecrypt: true, ProviderID: m.KeyNamespace, Algorithm: "aes", AES: m.Key}}})
	}
	if len(messages) != 7 {
		t.Fatalf("net-4.0.0-sample.json has %d messages, want 7", len(messages))
	}
	return messages
}

// Commitment returns the 46 messages of commitment-test-vectors.json, in its
// order; 41 decrypt, 5 do not.
func Commitment(t testing.TB) []CommitmentMessage {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(Dir(t), "commitment-test-vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Comment           string
			Ciphertext        []byte
			Header            string // one of them begins with a space
			Commitment        []byte
			MessageID         []byte            `json:"message-id"`
			DataKey           []byte            `json:"decrypted-dek"`
			EncryptionContext map[string]string `json:"encryption-context"`
			Frames            []string          `json:"plaintext-frames"`
			Exception         *string
			Status            bool
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	var messages []CommitmentMessage
	bad := 0
	for _, test := range file.Tests {
		m := CommitmentMessage{
			Name: test.Comment, Ciphertext: test.Ciphertext, DataKey: test.DataKey, MessageID: test.MessageID,
			CommitKey: test.Commitment, EncryptionContext: test.EncryptionContext, BadCommitment: !test.Status,
		}
		if m.Header, err = base64.StdEncoding.DecodeString(strings.TrimSpace(test.Header)); err != nil {
			t.Fatalf("%s: header: %v", test.Comment, err)
		}
		if test.Status != (test.Exception == nil) {
			t.Fatalf("%s: status and exception disagree", test.Comment)
		}
		if test.Status {
			m.Plaintext = []byte(strings.Join(test.Frames, ""))
		} else {
			bad++
		}
		messages = append(messages, m)
	}
	if len(messages) != 46 || bad != 5 {
		t.Fatalf("commitment-test-vectors.json has %d messages, %d of them bad; want 46 and 5", len(messages), bad)
	}
	return messages
}

// manifest reads the archive whose manifest has the given name.
func manifest(t testing.TB, archive, name string, want int) []Message {
	t.Helper()
	z, err := zip.OpenReader(filepath.Join(Dir(t), archive))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	messages, err := read(&z.Reader, name)
	if err != nil {
		t.Fatalf("%s: %v", archive, err)
	}
	if len(messages) != want {
		t.Fatalf("%s has %d messages, want %d", archive, len(messages), want)
	}
	return messages
}

// A keyEntry is a key in a keys.json. The material is a string in newer files
// and a list of lines in older ones.
type keyEntry struct {
	Decrypt   bool
	Encoding  string
	KeyID     string `json:"key-id"`
	Separator string `json:"line-separator"`
	Material  json.RawMessage
}

func read(z *zip.Reader, name string) ([]Message, error) {
	var file struct {
		Keys  string
		Tests map[string]struct {
			Ciphertext        string
			Plaintext         string // older manifests
			CMM               string
			EncryptionContext map[string]string `json:"encryption-context"`
			MasterKeys        []struct {
				Type, Key   string
				ProviderID  string `json:"provider-id"`
				Algorithm   string `json:"encryption-algorithm"`
				Padding     string `json:"padding-algorithm"`
				PaddingHash string `json:"padding-hash"`
			} `json:"master-keys"`
			Result struct{ Output struct{ Plaintext string } }
		}
	}
	if err := readJSON(z, name, &file); err != nil {
		return nil, err
	}
	var keys struct{ Keys map[string]keyEntry }
	if err := readJSON(z, file.Keys, &keys); err != nil {
		return nil, err
	}
	decoded := make(map[string]MasterKey)
	for name, k := range keys.Keys {
		key, err := k.decode(name)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", name, err)
		}
		decoded[name] = key
	}

	var messages []Message
	for _, name := range slices.Sorted(maps.Keys(file.Tests)) {
		test := file.Tests[name]
		m := Message{Name: name, CMM: test.CMM, EncryptionContext: test.EncryptionContext}
		if m.CMM == "" {
			m.CMM = "Default"
		}
		var err error
		if m.Ciphertext, err = readFile(z, test.Ciphertext); err != nil {
			return nil, err
		}
		if m.Plaintext, err = readFile(z, test.Plaintext+test.Result.Output.Plaintext); err != nil {
			return nil, err
		}
		for _, k := range test.MasterKeys {
			key, ok := decoded[k.Key]
			if !ok {
				return nil, fmt.Errorf("%s: no key %q", name, k.Key)
			}
			key.Type, key.ProviderID, key.Algorithm = k.Type, k.ProviderID, k.Algorithm
			key.Padding, key.PaddingHash = k.Padding, k.PaddingHash
			m.MasterKeys = append(m.MasterKeys, key)
		}
		messages = append(messages, m)
	}
	return messages, nil
}

func (k keyEntry) decode(name string) (MasterKey, error) {
	key := MasterKey{KeyID: k.KeyID, CanDecrypt: k.Decrypt}
	if key.KeyID == "" {
		key.KeyID = name
	}
	if len(k.Material) == 0 {
		return key, nil
	}
	var material string
	if err := json.Unmarshal(k.Material, &material); err != nil {
		var lines []string
		if err := json.Unmarshal(k.Material, &lines); err != nil {
			return key, err
		}
		material = strings.Join(lines, k.Separator)
	}
	var err error
	if k.Encoding == "base64" {
		key.AES, err = base64.StdEncoding.DecodeString(material)
		return key, err
	}
	block, _ := pem.Decode([]byte(material))
	if block == nil {
		return key, fmt.Errorf("encoding %q: no PEM block", k.Encoding)
	}
	if block.Type == "PUBLIC KEY" {
		pub, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return key, err
		}
		key.RSAPublic = pub.(*rsa.PublicKey)
		return key, nil
	}
	priv, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return key, err
	}
	key.RSAPrivate = priv.(*rsa.PrivateKey)
	key.RSAPublic = &key.RSAPrivate.PublicKey
	return key, nil
}

func readJSON(z *zip.Reader, name string, v any) error {
	b, err := readFile(z, name)
	if err != nil {
		return err
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// readFile reads what a manifest calls file://name.
func readFile(z *zip.Reader, name string) ([]byte, error) {
	f, err := z.Open(strings.TrimPrefix(name, "file://"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
