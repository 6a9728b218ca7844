package vectors

import (
	"archive/zip"
	"cmp"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
)

// DafnyMessages returns the 487 messages of c-from-dafny.zip, sorted by name, as
// the cores that AWS generates from Dafny wrote them: all 11 suites under raw AES,
// RSA and ECDH keys, several keys, a branch key, and 190 under keys of AWS KMS.
// MasterKeys has the keys to decrypt with.
func DafnyMessages(t testing.TB) []Message {
	t.Helper()
	z, err := zip.OpenReader(filepath.Join(Dir(t), "c-from-dafny.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	messages, err := readDafny(&z.Reader)
	if err != nil {
		t.Fatalf("c-from-dafny.zip: %v", err)
	}
	if len(messages) != 487 {
		t.Fatalf("c-from-dafny.zip has %d messages, want 487", len(messages))
	}
	return messages
}

// A keyring is a decryptKeyDescription: of one key, or of a keyring over others.
type keyring struct {
	Type, Key, Schema, Sender, Recipient string

	ProviderID   string    `json:"provider-id"`
	Algorithm    string    `json:"encryption-algorithm"`
	Padding      string    `json:"padding-algorithm"`
	PaddingHash  string    `json:"padding-hash"`
	Region       string    `json:"default-mrk-region"`
	Generator    *keyring  // of a multi-keyring
	Children     []keyring `json:"childKeyrings"`
	Underlying   *keyring  // of a required encryption context CMM
	RequiredKeys []string  `json:"requiredEncryptionContextKeys"`
	Filter       *struct {
		Partition string
		Accounts  []string `json:"account-ids"`
	} `json:"aws-kms-discovery-filter"`
}

func readDafny(z *zip.Reader) ([]Message, error) {
	var file struct {
		Keys  string
		Tests map[string]struct {
			Scenario struct {
				Type, Ciphertext, Result, Description string

				Suite      string            `json:"algorithmSuiteId"`
				Keyring    keyring           `json:"decryptKeyDescription"`
				Reproduced map[string]string `json:"reproduced-encryption-context"`
			} `json:"decryption-scenario"`
		}
	}
	if err := readJSON(z, "decrypt-manifest.json", &file); err != nil {
		return nil, err
	}
	var keys struct{ Keys map[string]dafnyKey }
	if err := readJSON(z, file.Keys, &keys); err != nil {
		return nil, err
	}
	var messages []Message
	for _, id := range slices.Sorted(maps.Keys(file.Tests)) {
		test := file.Tests[id].Scenario
		if test.Type != "positive-esdk" {
			return nil, fmt.Errorf("%s is a %s", id, test.Type)
		}
		m := Message{Name: test.Description + "/" + test.Suite + "/" + id, Suite: test.Suite, CMM: "Default", Reproduced: test.Reproduced}
		k := test.Keyring
		if k.Type == "required-encryption-context-cmm" {
			m.CMM, m.Required, k = "RequiredEncryptionContext", k.RequiredKeys, *k.Underlying
		}
		all := []keyring{k}
		if k.Type == "multi-keyring" {
			all = append([]keyring{*k.Generator}, k.Children...)
		}
		for _, k := range all {
			key, err := k.masterKey(keys.Keys)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", id, err)
			}
			m.MasterKeys = append(m.MasterKeys, key)
		}
		var err error
		if m.Ciphertext, err = readFile(z, test.Ciphertext); err != nil {
			return nil, err
		}
		if m.Plaintext, err = readFile(z, test.Result); err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	slices.SortFunc(messages, func(a, b Message) int { return cmp.Compare(a.Name, b.Name) })
	return messages, nil
}

// A dafnyKey is a key in the keys.json of c-from-dafny.zip. Those for key agreement
// are two: the sender's and the recipient's, each a PEM block or an ARN.
type dafnyKey struct {
	keyEntry
	Sender           string `json:"sender-material"`
	Recipient        string `json:"recipient-material"`
	SenderPublic     []byte `json:"sender-material-public-key"`
	RecipientPublic  []byte `json:"recipient-material-public-key"`
	BranchKeyVersion string
	BranchKey        []byte
}

func (k *keyring) masterKey(keys map[string]dafnyKey) (MasterKey, error) {
	name := k.Key + k.Recipient // one of them
	if name == "" {             // discovery
		key := MasterKey{Type: k.Type, CanDecrypt: true, Region: k.Region}
		if k.Filter != nil {
			key.Partition, key.Accounts = k.Filter.Partition, k.Filter.Accounts
		}
		return key, nil
	}
	entry, ok := keys[name]
	if !ok {
		return MasterKey{}, fmt.Errorf("no key %q", name)
	}
	key, err := entry.decode(name)
	if err != nil {
		return key, fmt.Errorf("key %s: %w", name, err)
	}
	key.Type, key.ProviderID, key.Algorithm, key.Padding, key.PaddingHash = k.Type, k.ProviderID, k.Algorithm, k.Padding, k.PaddingHash
	if k.Padding == "pkcs1" {
		key.PaddingHash = "" // it has none, whatever the manifest says
	}
	key.BranchKeyVersion, key.BranchKey = entry.BranchKeyVersion, entry.BranchKey
	key.Schema = k.Schema
	if k.Schema == "" {
		return key, nil
	}
	if key.Sender, err = entry.party(entry.Sender, entry.SenderPublic); err != nil {
		return key, fmt.Errorf("key %s: sender: %w", name, err)
	}
	if key.Recipient, err = entry.party(entry.Recipient, entry.RecipientPublic); err != nil {
		return key, fmt.Errorf("key %s: recipient: %w", name, err)
	}
	return key, nil
}

// A Party has one of the two keys of a key agreement.
type Party struct {
	ARN     string           // of its key in AWS KMS
	Private *ecdh.PrivateKey // nil if the key is in AWS KMS
	Public  *ecdh.PublicKey
}

func (k *dafnyKey) party(material string, public []byte) (p Party, err error) {
	parsed, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		return p, err
	}
	if p.Public, err = parsed.(*ecdsa.PublicKey).ECDH(); err != nil {
		return p, err
	}
	block, _ := pem.Decode([]byte(material))
	if block == nil {
		p.ARN = material
		return p, nil
	}
	if parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		return p, err
	}
	p.Private, err = parsed.(*ecdsa.PrivateKey).ECDH()
	return p, err
}
