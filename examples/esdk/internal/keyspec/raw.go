package keyspec

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/esdk-go/esdk/keyprovider"
)

// maxKeyFile is the longest file with a key that is read, in bytes.
const maxKeyFile = 1 << 20

// secret reads what file=, fd= or env= name, and says where it came from. Secrets
// are no attributes themselves: ps shows those to everybody on the machine.
func (a *attributes) secret() (secret []byte, from string) {
	file, fd, env := a.one("file"), a.one("fd"), a.one("env")
	given := 0
	for _, value := range []string{file, fd, env} {
		if value != "" {
			given++
		}
	}
	switch {
	case a.err != nil:
		return nil, ""
	case given != 1:
		a.fail("give one of file=, fd= and env=, which say where the key is")
		return nil, ""
	case env != "":
		value, ok := os.LookupEnv(env)
		if !ok {
			a.fail("env=%s: there is no such environment variable", env)
		}
		return []byte(value), "env=" + env
	case fd != "":
		n, err := strconv.Atoi(fd)
		if err != nil || n < 3 {
			a.fail("fd=%s: it is the number of an open file, 3 or more", fd)
			return nil, ""
		}
		f := os.NewFile(uintptr(n), "fd="+fd)
		defer f.Close()
		return a.read(f, nil), "fd=" + fd
	}
	f, err := os.Open(file)
	return a.read(f, err), "file=" + file
}

// read reads a file, whose opening failed with err unless that is nil.
func (a *attributes) read(f *os.File, err error) []byte {
	if err == nil {
		defer f.Close()
		var data []byte
		data, err = io.ReadAll(io.LimitReader(f, maxKeyFile+1))
		if err == nil && len(data) <= maxKeyFile {
			return data
		}
		if err == nil {
			err = fmt.Errorf("%s: longer than any key", f.Name())
		}
	}
	if a.err == nil {
		a.err = err
	}
	return nil
}

func (b *Builder) rawAES(_ context.Context, a *attributes) (keyprovider.MasterKeyProvider, error) {
	namespace, name := a.needed("namespace"), a.needed("name")
	if a.has("key") {
		a.fail("key= would show the key to everybody on the machine: file=, fd= or env= says where it is")
	}
	encoding := a.one("encoding")
	data, from := a.secret()
	defer clear(data)
	if a.err != nil {
		return nil, a.err
	}
	key, err := decodeAES(data, encoding)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	defer clear(key)
	return keyprovider.NewRawAES(namespace, name, key)
}

// decodeAES returns the AES key in data. The encoding is raw, hex, base64, or empty
// for the only one of them that fits.
func decodeAES(data []byte, encoding string) ([]byte, error) {
	var fits []string
	keys := make(map[string][]byte)
	add := func(encoding string, key []byte, err error) {
		if err == nil && (len(key) == 16 || len(key) == 24 || len(key) == 32) {
			fits = append(fits, encoding)
			keys[encoding] = key
		}
	}
	add("raw", bytes.Clone(data), nil)
	text := bytes.TrimSpace(data)
	key := make([]byte, hex.DecodedLen(len(text)))
	_, err := hex.Decode(key, text)
	add("hex", key, err)
	key = make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(key, text)
	add("base64", key[:n], err)

	switch encoding {
	case "raw", "hex", "base64":
		if keys[encoding] == nil {
			return nil, fmt.Errorf("it has %d bytes, which are no AES key of 16, 24 or 32 bytes as encoding=%s", len(data), encoding)
		}
		return keys[encoding], nil
	case "":
	default:
		return nil, fmt.Errorf("encoding=%s: it is raw, hex or base64", encoding)
	}
	switch len(fits) {
	case 0:
		return nil, fmt.Errorf("it has %d bytes, which are no AES key: that is 16, 24 or 32 bytes, or as many in hexadecimal or Base64", len(data))
	case 1:
		return keys[fits[0]], nil
	}
	return nil, fmt.Errorf("it can be read as %s or as %s: say encoding=%s or encoding=%s", fits[0], fits[1], fits[0], fits[1])
}

func (b *Builder) rawRSA(_ context.Context, a *attributes) (keyprovider.MasterKeyProvider, error) {
	namespace, name := a.needed("namespace"), a.needed("name")
	padding := choice(a, "padding", []string{"oaep-sha256", "oaep-sha384", "oaep-sha512", "oaep-sha1", "pkcs1"}, map[string]keyprovider.RSAPadding{
		"pkcs1": keyprovider.PKCS1v15, "oaep-sha1": keyprovider.OAEPSHA1, "oaep-sha256": keyprovider.OAEPSHA256,
		"oaep-sha384": keyprovider.OAEPSHA384, "oaep-sha512": keyprovider.OAEPSHA512,
	})
	data, from := a.secret()
	defer clear(data)
	if a.err != nil {
		return nil, a.err
	}
	keys, err := parseRSA(data)
	if err == nil && a.decrypt && keys.private == nil {
		err = errors.New("it is a public key, which does not decrypt")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return keyprovider.NewRawRSA(namespace, name, keys.public, keys.private, padding)
}

func (b *Builder) rawECDH(_ context.Context, a *attributes) (keyprovider.MasterKeyProvider, error) {
	var recipient *ecdh.PublicKey
	if a.has("recipient") {
		recipient = readECDHPublic(a, a.one("recipient"))
	}
	var private *ecdh.PrivateKey
	if a.has("file") || a.has("fd") || a.has("env") || recipient == nil {
		data, from := a.secret()
		defer clear(data)
		if a.err == nil {
			var err error
			if private, err = parseECDHPrivate(data); err != nil {
				a.err = fmt.Errorf("%s: %w", from, err)
			}
		}
	}
	switch {
	case a.err != nil:
		return nil, a.err
	case private != nil && recipient != nil:
		return keyprovider.NewRawECDHStatic(private, recipient)
	case private != nil && a.decrypt:
		return keyprovider.NewRawECDHDiscovery(private)
	case private != nil:
		return nil, &Mistake{errors.New("recipient= is missing: whoever is to read the message")}
	case a.decrypt:
		return nil, &Mistake{errors.New("the private key is missing: file=, fd= or env= says where it is")}
	}
	return keyprovider.NewRawECDHEphemeral(recipient)
}

type rsaKeys struct {
	public  *rsa.PublicKey
	private *rsa.PrivateKey // nil in the PEM of a public key
}

// readRSA reads a PEM file of an RSA key.
func readRSA(a *attributes, file string) rsaKeys {
	if a.err != nil {
		return rsaKeys{}
	}
	f, err := os.Open(file)
	data := a.read(f, err)
	if a.err != nil {
		return rsaKeys{}
	}
	keys, err := parseRSA(data)
	if err != nil {
		a.err = fmt.Errorf("%s: %w", file, err)
	}
	return keys
}

// readECDHPublic reads a PEM file of a public key on a curve.
func readECDHPublic(a *attributes, file string) *ecdh.PublicKey {
	f, err := os.Open(file)
	data := a.read(f, err)
	if a.err != nil {
		return nil
	}
	key, err := parsePEM(data)
	if err == nil {
		if public, ok := key.(*ecdsa.PublicKey); ok {
			var converted *ecdh.PublicKey
			if converted, err = public.ECDH(); err == nil {
				return converted
			}
		} else {
			err = fmt.Errorf("it is %s and not a public key on P-256, P-384 or P-521", kindOf(key))
		}
	}
	a.err = fmt.Errorf("%s: %w", file, err)
	return nil
}

func parseECDHPrivate(data []byte) (*ecdh.PrivateKey, error) {
	key, err := parsePEM(data)
	if err != nil {
		return nil, err
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is %s and not a private key on P-256, P-384 or P-521", kindOf(key))
	}
	return private.ECDH()
}

func parseRSA(data []byte) (rsaKeys, error) {
	key, err := parsePEM(data)
	if err != nil {
		return rsaKeys{}, err
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		return rsaKeys{public: key}, nil
	case *rsa.PrivateKey:
		return rsaKeys{public: &key.PublicKey, private: key}, nil
	}
	return rsaKeys{}, fmt.Errorf("it is %s and not an RSA key", kindOf(key))
}

// kindOf says what a key is that package x509 parsed.
func kindOf(key any) string {
	switch key.(type) {
	case *rsa.PublicKey:
		return "an RSA public key"
	case *rsa.PrivateKey:
		return "an RSA private key"
	case *ecdsa.PublicKey:
		return "an elliptic curve public key"
	case *ecdsa.PrivateKey:
		return "an elliptic curve private key"
	case ed25519.PublicKey:
		return "an Ed25519 public key"
	case ed25519.PrivateKey:
		return "an Ed25519 private key"
	}
	return "a key of another kind"
}

// parsePEM returns the first key in the PEM blocks of data. Blocks that are none,
// such as EC PARAMETERS, are passed over.
func parsePEM(data []byte) (any, error) {
	blocks := 0
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			if blocks > 0 {
				return nil, errors.New("none of its PEM blocks is a key")
			}
			return nil, errors.New("it is no PEM file")
		}
		blocks++
		switch block.Type {
		case "PUBLIC KEY":
			return x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			return x509.ParsePKCS1PublicKey(block.Bytes)
		case "PRIVATE KEY":
			return x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY", "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errEncrypted
			}
			if block.Type == "EC PRIVATE KEY" {
				return x509.ParseECPrivateKey(block.Bytes)
			}
			return x509.ParsePKCS1PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errEncrypted
		}
	}
}

var errEncrypted = errors.New("the private key is encrypted with a passphrase; decrypt it with openssl pkey and give that as fd=")
