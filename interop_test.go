package esdk_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/byhand"
	"github.com/esdk-go/esdk/internal/test/vectors"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// Messages that others wrote: other SDKs, earlier versions of this module, and
// AWS, which published some to test with.

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
	for i, m := range peerMessages(t, "messages.json") {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			id := m.suite(t)
			if m.FrameLength > math.MaxInt-64 {
				_, _, err := clientFor(id).Decrypt(bg, m.Message, keys[m.Keys[0]], m.options())
				require.ErrorIs(t, err, esdk.ErrFrameTooLong)
				t.Skip("such frames cannot be addressed on this system")
			}
			for k, name := range m.Keys {
				require.Contains(t, keys, name)
				ways := decryptors
				if strings.HasPrefix(name, "rsa") { // it takes long on some systems
					ways = fewDecryptors
				}
				for _, d := range slices.Concat(turn(ways, i+k), []decryptor{randomAccess}) {
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
	for i, m := range peerMessages(t, "altered.json") {
		seen[m.Error] = true
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			for _, d := range slices.Concat(turn(decryptors, i), []decryptor{randomAccess}) {
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
				if d.name == randomAccess.name { // which verifies the signature first, and looks for the end by the size
					continue
				}
				require.ErrorIs(t, err, peerErrors[m.Error], d.name)
			}
		})
	}
	for class := range peerErrors {
		require.True(t, seen[class], class)
	}
	require.True(t, seen["key"])
}

// A file that the command line tool wrote with --encode is in Base64, which the error
// says. Decoded, with or without line breaks, it decrypts.
func TestEncodedFileOfTheCommandLineTool(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("testdata/peers/encoded.txt")
	require.NoError(t, err)
	p := peerKeys(t)["aes-256"]
	for _, d := range slices.Concat(decryptors, []decryptor{randomAccess}) {
		_, err := d.run(&esdk.Client{}, file, p, nil)
		require.ErrorIs(t, err, format.ErrBase64, d.name)
		require.ErrorContains(t, err, "base64.NewDecoder", d.name)
	}
	broken := regexp.MustCompile(".{76}").ReplaceAll(file, []byte("$0\r\n"))
	require.NotEqual(t, file, broken)
	for _, text := range [][]byte{file, append(bytes.Clone(file), '\n'), broken, append(broken, '\n')} {
		r, err := esdk.NewDecryptReader(bg, base64.NewDecoder(base64.StdEncoding, bytes.NewReader(text)), p, nil)
		require.NoError(t, err)
		require.Equal(t, "b", r.Header().EncryptionContext["a"])
		plaintext, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "hello from the command line tool\n", string(plaintext))
		require.NoError(t, r.Close())
	}
}

var update = flag.Bool("update", false, "add missing messages to testdata/messages.json")

// A storedMessage is an entry of testdata/messages.json; see the README there.
type storedMessage struct {
	Name        string            `json:"name"`
	Suite       string            `json:"suite"`
	FrameLength int64             `json:"frameLength"`
	Context     map[string]string `json:"context,omitempty"`
	Required    []string          `json:"required,omitempty"`
	Keys        int               `json:"keys"`
	Plaintext   []byte            `json:"plaintext"`
	Message     []byte            `json:"message"`
}

func storedKeys(t *testing.T, n int) []keyprovider.MasterKeyProvider {
	t.Helper()
	var keys []keyprovider.MasterKeyProvider
	for i := range n {
		p, err := keyprovider.NewRawAES("esdk testdata", fmt.Sprint("key ", i), bytes.Repeat([]byte{byte(i)}, 32))
		require.NoError(t, err)
		keys = append(keys, p)
	}
	return keys
}

// Messages that earlier versions of this module made still decrypt.
func TestStoredMessages(t *testing.T) {
	const name = "testdata/messages.json"
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	var messages []storedMessage
	require.NoError(t, json.Unmarshal(b, &messages))
	if *update {
		messages = addStored(t, messages)
		b, err := json.MarshalIndent(messages, "", "\t")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, append(b, '\n'), 0o644))
	}
	require.NotEmpty(t, messages)
	for i, m := range messages {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			id, err := suite.Parse(m.Suite)
			require.NoError(t, err)
			for k, p := range storedKeys(t, m.Keys) {
				for _, d := range slices.Concat(turn(decryptors, i+k), []decryptor{randomAccess}) {
					plaintext, err := d.run(clientFor(id), m.Message, p, &esdk.DecryptOptions{EncryptionContext: m.Context})
					require.NoError(t, err, d.name)
					require.Equal(t, string(m.Plaintext), string(plaintext))
				}
			}
			checkMessage(t, m.Message, id, len(m.Plaintext), uint32(m.FrameLength))
		})
	}
}

// addStored adds the messages that are missing.
func addStored(t *testing.T, messages []storedMessage) []storedMessage {
	t.Helper()
	have := map[string]bool{}
	for _, m := range messages {
		have[m.Name] = true
	}
	for i, id := range suite.All() {
		for _, frameLength := range []int64{0, 16, 4096} {
			for _, required := range [][]string{nil, {"tenant"}} {
				m := storedMessage{
					Name:        fmt.Sprintf("%04x/frame=%d/required=%d", uint16(id), frameLength, len(required)),
					Suite:       fmt.Sprintf("%04x", uint16(id)),
					FrameLength: frameLength, Required: required, Keys: 1 + i%3, Plaintext: text(8 * (i % 6)),
				}
				if required != nil || i%2 == 0 {
					m.Context = map[string]string{"tenant": "t-1", "größe": "ß"}
				}
				if have[m.Name] {
					continue
				}
				keys := storedKeys(t, m.Keys)
				p, err := keyprovider.Multi(keys[0], keys[1:]...)
				require.NoError(t, err)
				m.Message, _, err = clientFor(id).Encrypt(bg, m.Plaintext, p, &esdk.EncryptOptions{
					Suite: id, FrameLength: frameLength, Unframed: frameLength == 0, EncryptionContext: m.Context, RequiredContextKeys: required})
				require.NoError(t, err)
				messages = append(messages, m)
			}
		}
	}
	return messages
}

// Every published message under raw keys decrypts, in every way.
func TestVectorRawKeys(t *testing.T) {
	seen := 0
	for i, m := range vectors.NetMessages(t) {
		if m.KMS() {
			continue // package format parses them; the keys are AWS's
		}
		seen++
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			opts := &esdk.DecryptOptions{EncryptionContext: m.EncryptionContext}
			for _, d := range slices.Concat(turn(decryptors, i), []decryptor{randomAccess}) {
				plaintext, err := d.run(allowAll, m.Ciphertext, m.Provider(t), opts)
				require.NoError(t, err, d.name)
				require.Equal(t, m.Plaintext, plaintext, d.name)
			}
			_, header, err := allowAll.Decrypt(t.Context(), m.Ciphertext, m.Provider(t), opts)
			require.NoError(t, err)
			for k, v := range m.EncryptionContext {
				require.Equal(t, v, header.EncryptionContext[k])
			}
			if m.CMM == "Default" || len(m.EncryptionContext) == 0 {
				_, _, err := allowAll.Decrypt(t.Context(), m.Ciphertext, m.Provider(t), nil)
				require.NoError(t, err, "the whole context is stored")
				return
			}
			_, _, err = allowAll.Decrypt(t.Context(), m.Ciphertext, m.Provider(t), nil)
			require.Error(t, err, "a pair that is not stored must be given")
			wrong := maps.Clone(m.EncryptionContext)
			for k := range wrong {
				wrong[k] += "x"
			}
			_, _, err = allowAll.Decrypt(t.Context(), m.Ciphertext, m.Provider(t), &esdk.DecryptOptions{EncryptionContext: wrong})
			require.Error(t, err)
		})
	}
	require.Equal(t, 99, seen)
}

// Every message of AWS's cores under raw keys decrypts, in every way, and with any
// one of several keys. With another key, name or padding, without a pair that is not
// stored or with another value, none does.
func TestVectorDafny(t *testing.T) {
	seen := 0
	for i, m := range vectors.DafnyMessages(t) {
		if m.KMS() || m.MasterKeys[0].BranchKey != nil {
			continue // packages format, kms and hierarchical have them
		}
		seen++
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			opts := &esdk.DecryptOptions{EncryptionContext: m.Reproduced}
			p := m.Provider(t)
			ways := slices.Concat(turn(decryptors, i), []decryptor{randomAccess})
			slow := m.MasterKeys[0].RSAPrivate != nil && !full()
			if slow {
				ways = turn(ways, i)
			}
			for _, d := range ways {
				plaintext, err := d.run(allowAll, m.Ciphertext, p, opts)
				require.NoError(t, err, d.name)
				require.Equal(t, m.Plaintext, plaintext, d.name)
			}
			_, h, err := allowAll.Decrypt(bg, m.Ciphertext, p, opts)
			require.NoError(t, err)
			require.Equal(t, m.Suite, fmt.Sprintf("%04x", uint16(h.Suite)))
			for k, v := range m.Reproduced {
				require.Equal(t, v, h.EncryptionContext[k])
			}
			for j := range m.MasterKeys[1:] {
				alone := m
				alone.MasterKeys = m.MasterKeys[1+j:][:1]
				_, _, err := allowAll.Decrypt(bg, m.Ciphertext, alone.Provider(t), opts)
				require.NoError(t, err)
			}
			for j, other := range otherKeys(t, m) {
				if slow && j%3 != i%3 {
					continue
				}
				released, err := turn(fewDecryptors, i+j)[0].run(allowAll, m.Ciphertext, other.provider, opts)
				require.True(t, other.want(err), "%s: %v", other.name, err)
				require.Empty(t, released, other.name)
			}
			stored, err := format.ReadHeader(bytes.NewReader(m.Ciphertext), 0)
			require.NoError(t, err)
			for k := range m.Reproduced {
				_, isStored := stored.EncryptionContext[k]
				required := slices.Contains(m.Required, k)
				without := maps.Clone(m.Reproduced)
				delete(without, k)
				_, _, err := allowAll.Decrypt(bg, m.Ciphertext, p, &esdk.DecryptOptions{EncryptionContext: without})
				require.Equal(t, isStored && !required, err == nil, "without %s: %v", k, err)
				without[k] = "another value"
				_, _, err = allowAll.Decrypt(bg, m.Ciphertext, p, &esdk.DecryptOptions{EncryptionContext: without})
				require.ErrorIs(t, err, esdk.ErrEncryptionContext, k)
			}
			more := maps.Clone(m.Reproduced)
			more["more"] = "value"
			_, _, err = allowAll.Decrypt(bg, m.Ciphertext, p, &esdk.DecryptOptions{EncryptionContext: more})
			require.ErrorContains(t, err, `the message does not store: `)
			require.ErrorContains(t, err, `"more"`)
			_, _, err = esdk.Decrypt(bg, m.Ciphertext, p, opts)
			require.Equal(t, !h.Suite.Committing(), errors.Is(err, esdk.ErrCommitmentPolicy), err)
		})
	}
	require.Equal(t, 286, seen)
}

// An otherKey is a provider that does not open a message.
type otherKey struct {
	name     string
	provider keyprovider.MasterKeyProvider
	want     func(error) bool
}

// noMatch is the error of a key that finds no entry to try, notUnwrapped that of one
// that does not open the entry, anotherKey that of PKCS #1 v1.5, which then returns
// a random data key.
func noMatch(err error) bool { return errors.Is(err, keyprovider.ErrNoMatch) }
func notUnwrapped(err error) bool {
	var failure *keyprovider.DecryptError
	return errors.As(err, &failure) && !noMatch(err)
}
func anotherKey(err error) bool {
	return errors.Is(err, esdk.ErrAuthentication) || errors.Is(err, esdk.ErrKeyCommitment)
}

// otherKeys returns providers that differ in one thing from those of the message's
// keys.
func otherKeys(t *testing.T, m vectors.Message) (others []otherKey) {
	t.Helper()
	add := func(name string, want func(error) bool, change func(k *vectors.MasterKey)) {
		changed := m
		changed.MasterKeys = slices.Clone(m.MasterKeys)
		for i := range changed.MasterKeys {
			change(&changed.MasterKeys[i])
		}
		others = append(others, otherKey{name, changed.Provider(t), want})
	}
	k := m.MasterKeys[0]
	if k.Type == "raw" {
		add("namespace", noMatch, func(k *vectors.MasterKey) { k.ProviderID += "x" })
		add("name", noMatch, func(k *vectors.MasterKey) { k.KeyID = k.KeyID[1:] })
	}
	switch {
	case k.AES != nil:
		add("key", notUnwrapped, func(k *vectors.MasterKey) { k.AES = bytes.Clone(k.AES); k.AES[0] ^= 1 })
	case k.RSAPrivate != nil:
		want := notUnwrapped
		if k.Padding == "pkcs1" { // what is wrapped may be a number too large for the other key
			want = func(err error) bool { return anotherKey(err) || notUnwrapped(err) }
		}
		add("key", want, func(k *vectors.MasterKey) { k.RSAPrivate, k.RSAPublic = otherRSA(), nil })
		for _, hash := range []string{"", "sha1", "sha256", "sha384", "sha512"} {
			if hash == k.PaddingHash {
				continue
			}
			if want = notUnwrapped; hash == "" {
				want = anotherKey
			}
			add("padding "+hash, want, func(k *vectors.MasterKey) {
				if k.PaddingHash, k.Padding = hash, "oaep-mgf1"; hash == "" {
					k.Padding = "pkcs1"
				}
			})
		}
	default:
		another, err := k.Recipient.Private.Curve().GenerateKey(rand.Reader)
		require.NoError(t, err)
		curve := ecdh.P256()
		if curve == k.Recipient.Private.Curve() {
			curve = ecdh.P384()
		}
		onAnotherCurve, err := curve.GenerateKey(rand.Reader)
		require.NoError(t, err)
		for name, private := range map[string]*ecdh.PrivateKey{"key": another, "curve": onAnotherCurve} {
			add("recipient's "+name, noMatch, func(k *vectors.MasterKey) {
				if k.Recipient.Private, k.Recipient.Public = private, private.PublicKey(); k.Schema == "static" && name == "curve" {
					k.Sender.Private = private
				}
			})
		}
		if k.Schema == "static" {
			add("sender's key", noMatch, func(k *vectors.MasterKey) { k.Sender.Private = another })
		}
	}
	return others
}

// otherRSA returns a key that no message is encrypted with, of the length of the
// messages' key.
var otherRSA = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		panic(err)
	}
	return key
})

// Messages that version 4.0.0 of the AWS Encryption SDK for .NET wrote decrypt in
// every way. Altered in the header, or without a pair that they do not store, they
// fail as any other.
func TestVectorNET400(t *testing.T) {
	for i, m := range vectors.NET400Messages(t) {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			opts := &esdk.DecryptOptions{EncryptionContext: m.EncryptionContext}
			for _, d := range slices.Concat(turn(decryptors, i), []decryptor{randomAccess}) {
				plaintext, err := d.run(allowAll, m.Ciphertext, m.Provider(t), opts)
				require.NoError(t, err, d.name)
				sum := sha256.Sum256(plaintext)
				require.Equal(t, m.SHA256, hex.EncodeToString(sum[:]), d.name)
			}
			_, h, err := allowAll.Decrypt(bg, m.Ciphertext, m.Provider(t), opts)
			require.NoError(t, err)
			for k, v := range m.EncryptionContext {
				require.Equal(t, v, h.EncryptionContext[k])
			}
			_, _, err = allowAll.Decrypt(bg, m.Ciphertext, m.Provider(t), nil)
			require.Equal(t, m.CMM == "Default", err == nil, "whether all pairs are stored: %v", err)
			raw, err := h.AppendBinary(nil)
			require.NoError(t, err)
			for at := range raw {
				altered := bytes.Clone(m.Ciphertext)
				altered[at] ^= 1 << (at % 8)
				_, _, err := allowAll.Decrypt(bg, altered, m.Provider(t), opts)
				require.Error(t, err, "byte %d", at)
			}
		})
	}
}

// What that version did is accepted together or not at all: the two zero bytes
// behind the header of a suite with HKDF and no commitment do not go with a key that
// the message ID is part of.
func TestHalfOfWhatNET400DidIsRefused(t *testing.T) {
	t.Parallel()
	for i, id := range suite.All() {
		w := byhand.Writing{Suite: uint16(id), DataKey: text(id.KeySize()), Unstored: []byte{0, 0}, FrameLength: 3, Frames: []string{"abc", "d"}, IV: byhand.SequenceIV}
		whole := id.Committing() || id.KDF() == 0 // then the key is no other
		for _, d := range turn(decryptors, i) {
			plaintext, err := d.run(allowAll, w.Message(t), dataKey(w.DataKey), nil)
			if whole {
				require.NoError(t, err, id)
				require.Equal(t, "abcd", string(plaintext), id)
				continue
			}
			require.ErrorIs(t, err, esdk.ErrAuthentication, id)
			require.Empty(t, plaintext, id)
		}
	}
}

// Every published message with key commitment decrypts, in every way, but for
// those that commit to another key, and six whose data key is all zeros: that is
// refused, and TestVectorDerivation looks at them.
func TestVectorCommitment(t *testing.T) {
	zeros := 0
	for i, m := range vectors.Commitment(t) {
		zero := len(bytes.Trim(m.DataKey, "\x00")) == 0
		if zero {
			zeros++
		}
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			for _, d := range slices.Concat(turn(decryptors, i), []decryptor{randomAccess}) {
				plaintext, err := d.run(&esdk.Client{}, m.Ciphertext, dataKey(m.DataKey), nil)
				if zero {
					require.ErrorContains(t, err, "all zeros", d.name)
					require.Empty(t, plaintext, d.name)
					continue
				}
				if m.BadCommitment {
					require.ErrorIs(t, err, esdk.ErrKeyCommitment, d.name)
					require.Empty(t, plaintext, d.name)
					continue
				}
				require.NoError(t, err, d.name)
				require.Equal(t, string(m.Plaintext), string(plaintext), d.name)
			}
			if m.BadCommitment || zero {
				return
			}
			_, header, err := esdk.Decrypt(t.Context(), m.Ciphertext, dataKey(m.DataKey), nil)
			require.NoError(t, err)
			require.Equal(t, m.EncryptionContext, header.EncryptionContext)
			require.Equal(t, m.CommitKey, header.CommitKey)
			require.Equal(t, m.MessageID, header.MessageID)
		})
	}
	require.Equal(t, 6, zeros)
}
