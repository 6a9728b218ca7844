package vectors

import (
	"strings"
	"testing"

	"github.com/esdk-go/esdk/keyprovider"
)

// Provider returns a provider that decrypts m with those of its raw keys that
// can decrypt. It demands the required keys. The test fails if m has no such key.
func (m *Message) Provider(t testing.TB) keyprovider.MasterKeyProvider {
	t.Helper()
	var providers []keyprovider.MasterKeyProvider
	for _, k := range m.MasterKeys {
		if strings.HasPrefix(k.Type, "raw") && k.CanDecrypt {
			providers = append(providers, k.Provider(t))
		}
	}
	if len(providers) == 0 {
		t.Fatalf("%s has no raw key that can decrypt", m.Name)
	}
	p, err := keyprovider.Multi(providers[0], providers[1:]...)
	if err == nil && m.Required != nil {
		p, err = keyprovider.RequireContext(p, m.Required...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Provider returns the provider of a raw key.
func (k *MasterKey) Provider(t testing.TB) keyprovider.MasterKeyProvider {
	t.Helper()
	var p keyprovider.MasterKeyProvider
	var err error
	switch k.Algorithm + k.Schema {
	case "static":
		p, err = keyprovider.NewRawECDHStatic(k.Sender.Private, k.Recipient.Public)
	case "discovery":
		p, err = keyprovider.NewRawECDHDiscovery(k.Recipient.Private)
	case "aes":
		p, err = keyprovider.NewRawAES(k.ProviderID, k.KeyID, k.AES)
	case "rsa":
		p, err = keyprovider.NewRawRSA(k.ProviderID, k.KeyID, k.RSAPublic, k.RSAPrivate, k.padding(t))
	default:
		t.Fatalf("key %s of type %q and algorithm %q is no raw key", k.KeyID, k.Type, k.Algorithm)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (k *MasterKey) padding(t testing.TB) keyprovider.RSAPadding {
	t.Helper()
	switch k.Padding + " " + k.PaddingHash {
	case "pkcs1 ":
		return keyprovider.PKCS1v15
	case "oaep-mgf1 sha1":
		return keyprovider.OAEPSHA1
	case "oaep-mgf1 sha256":
		return keyprovider.OAEPSHA256
	case "oaep-mgf1 sha384":
		return keyprovider.OAEPSHA384
	case "oaep-mgf1 sha512":
		return keyprovider.OAEPSHA512
	}
	t.Fatalf("key %s: unknown padding %q, hash %q", k.KeyID, k.Padding, k.PaddingHash)
	return 0
}
