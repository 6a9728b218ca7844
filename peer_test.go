package esdk_test

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A peerMessage is an entry of a file in testdata/peers; see the README in testdata.
type peerMessage struct {
	Name, Peer, Suite, SHA256, Error string
	Keys, Required                   []string
	Context                          map[string]string
	FrameLength                      int64
	Length                           int
	Message                          []byte
}

func peerMessages(t testing.TB, name string) []peerMessage {
	t.Helper()
	var messages []peerMessage
	readJSON(t, name, &messages)
	require.NotEmpty(t, messages)
	return messages
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "peers", name))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, v))
}

var paddings = []keyprovider.RSAPadding{keyprovider.PKCS1v15, keyprovider.OAEPSHA1, keyprovider.OAEPSHA256,
	keyprovider.OAEPSHA384, keyprovider.OAEPSHA512}

// peerKeys returns a provider for each of the keys that the peers had.
func peerKeys(t testing.TB) map[string]keyprovider.MasterKeyProvider {
	t.Helper()
	var keys map[string]struct {
		Type, Namespace, Name, Schema string
		AES, Public, Private          []byte
	}
	readJSON(t, "keys.json", &keys)
	providers := make(map[string]keyprovider.MasterKeyProvider)
	for name, k := range keys {
		switch k.Type {
		case "aes":
			p, err := keyprovider.NewRawAES(k.Namespace, k.Name, k.AES)
			require.NoError(t, err)
			providers[name] = p
			continue
		case "ecdh":
			if k.Schema != "ephemeral" { // which decrypts nothing
				providers[name] = ecdhProvider(t, k.Schema, k.Private, k.Public)
			}
			continue
		}
		priv, err := x509.ParsePKCS8PrivateKey(k.Private)
		require.NoError(t, err)
		for _, padding := range paddings {
			p, err := keyprovider.NewRawRSA(k.Namespace, k.Name, nil, priv.(*rsa.PrivateKey), padding)
			require.NoError(t, err)
			providers[name+" "+padding.String()] = p
		}
	}
	return providers
}

// ecdhProvider returns one that decrypts, with keys in PKCS #8 and PKIX.
func ecdhProvider(t testing.TB, schema string, private, public []byte) keyprovider.MasterKeyProvider {
	t.Helper()
	parsed, err := x509.ParsePKCS8PrivateKey(private)
	require.NoError(t, err)
	priv, err := parsed.(*ecdsa.PrivateKey).ECDH()
	require.NoError(t, err)
	if schema == "discovery" {
		p, err := keyprovider.NewRawECDHDiscovery(priv)
		require.NoError(t, err)
		return p
	}
	parsed, err = x509.ParsePKIXPublicKey(public)
	require.NoError(t, err)
	pub, err := parsed.(*ecdsa.PublicKey).ECDH()
	require.NoError(t, err)
	p, err := keyprovider.NewRawECDHStatic(priv, pub)
	require.NoError(t, err)
	return p
}

// options gives the pairs that the message does not store.
func (m *peerMessage) options() *esdk.DecryptOptions {
	opts := &esdk.DecryptOptions{EncryptionContext: map[string]string{}}
	for _, k := range m.Required {
		opts.EncryptionContext[k] = m.Context[k]
	}
	return opts
}

func (m *peerMessage) suite(t *testing.T) suite.ID {
	t.Helper()
	id, err := suite.Parse(m.Suite)
	require.NoError(t, err)
	return id
}

// Messages that the other AWS Encryption SDKs wrote decrypt with any of their
// keys, in every way to decrypt.
func TestPeerMessages(t *testing.T) {
	keys := peerKeys(t)
	for _, m := range peerMessages(t, "messages.json") {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			id := m.suite(t)
			if m.FrameLength > math.MaxInt-64 {
				_, _, err := clientFor(id).Decrypt(bg, m.Message, keys[m.Keys[0]], m.options())
				require.ErrorIs(t, err, esdk.ErrFrameTooLong)
				t.Skip("such frames cannot be addressed on this system")
			}
			for _, name := range m.Keys {
				require.Contains(t, keys, name)
				ways := decryptors
				if strings.HasPrefix(name, "rsa") { // it takes long on some systems
					ways = fewDecryptors
				}
				for _, d := range ways {
					plaintext, err := d.run(clientFor(id), m.Message, keys[name], m.options())
					require.NoError(t, err, "%s, %s", name, d.name)
					require.Len(t, plaintext, m.Length)
					sum := sha256.Sum256(plaintext)
					require.Equal(t, m.SHA256, hex.EncodeToString(sum[:]), "%s, %s", name, d.name)
				}
			}
			_, h, err := clientFor(id).Decrypt(bg, m.Message, keys[m.Keys[0]], m.options())
			require.NoError(t, err)
			require.Equal(t, id, h.Suite)
			require.EqualValues(t, m.FrameLength, h.FrameLength)
			require.Len(t, h.EncryptedDataKeys, len(m.Keys))
			delete(h.EncryptionContext, format.PublicKeyField)
			require.Equal(t, len(m.Context), len(h.EncryptionContext))
			for k, v := range m.Context {
				require.Equal(t, v, h.EncryptionContext[k])
			}
		})
	}
}

// peerErrors are the classes of error in testdata/peers/altered.json.
var peerErrors = map[string]error{
	"malformed":      format.ErrMalformed,
	"suite":          format.ErrUnsupportedSuite,
	"no match":       keyprovider.ErrNoMatch,
	"commitment":     esdk.ErrKeyCommitment,
	"authentication": esdk.ErrAuthentication,
	"signature":      esdk.ErrSignature,
	"truncated":      io.ErrUnexpectedEOF,
	"trailing":       esdk.ErrTrailingData,
}

// Messages of the other SDKs that were altered fail in every way to decrypt,
// with the class of error that fits what was altered.
func TestAlteredPeerMessages(t *testing.T) {
	keys := peerKeys(t)
	seen := map[string]bool{}
	for _, m := range peerMessages(t, "altered.json") {
		seen[m.Error] = true
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			for _, d := range decryptors {
				_, err := d.run(allowAll, m.Message, keys[m.Keys[0]], m.options())
				require.Error(t, err, d.name)
				require.True(t, strings.HasPrefix(err.Error(), "esdk: "), err)
				if m.Error == "key" {
					var e *keyprovider.DecryptError
					require.ErrorAs(t, err, &e, d.name)
					require.False(t, errors.Is(err, keyprovider.ErrNoMatch), err)
					continue
				}
				require.Contains(t, peerErrors, m.Error)
				require.ErrorIs(t, err, peerErrors[m.Error], d.name)
			}
		})
	}
	for class := range peerErrors {
		require.True(t, seen[class], class)
	}
	require.True(t, seen["key"])
}
