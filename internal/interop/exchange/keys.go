package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/esdk-go/esdk/keyprovider"
)

// keysFile holds the raw keys of all cases, for testing only. They are kept so
// that messages of several runs can be stored side by side.
const keysFile = "../../testdata/peers/keys.json"

const namespace = "esdk interop"

// rawKeys are the keys by a name that tells the padding too.
type rawKeys map[string]Key

// loadKeys reads the keys, making those that are not there.
func loadKeys() (rawKeys, error) {
	b, err := os.ReadFile(keysFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKeys(); err != nil {
			return nil, err
		}
		b, err = os.ReadFile(keysFile)
	}
	if err != nil {
		return nil, err
	}
	var keys rawKeys
	if err := json.Unmarshal(b, &keys); err != nil {
		return nil, err
	}
	added, err := addECDHKeys(keys)
	if err == nil && added {
		err = writeKeys(keys)
	}
	if err != nil {
		return nil, err
	}
	rsa := keys["rsa"]
	for _, p := range paddings {
		rsa.Padding = p.String()
		keys["rsa "+rsa.Padding] = rsa
	}
	return keys, nil
}

func makeKeys() error {
	keys := rawKeys{}
	for name, size := range map[string]int{"aes-128": 16, "aes-192": 24, "aes-256": 32} {
		key := make([]byte, size)
		rand.Read(key)
		keys[name] = Key{Type: "aes", Namespace: namespace, Name: name, AES: key}
	}
	priv, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&priv.PublicKey)
	if err != nil {
		return err
	}
	keys["rsa"] = Key{Type: "rsa", Namespace: namespace, Name: "rsa-2048", Public: public, Private: private}
	return writeKeys(keys)
}

func writeKeys(keys rawKeys) error {
	b, err := json.MarshalIndent(keys, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(keysFile, append(b, '\n'), 0o644)
}

// oaep is the key for what needs some RSA key.
var oaep = "rsa " + keyprovider.OAEPSHA256.String()
