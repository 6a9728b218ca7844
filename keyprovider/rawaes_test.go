package keyprovider_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/vectors"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

const id = suite.AES256GCMHKDFSHA512CommitKey

func request() *keyprovider.Request {
	return &keyprovider.Request{Suite: id, EncryptionContext: map[string]string{"b": "1", "a": "2"}}
}

// generate returns a data key of the provider's first master key.
func generate(t testing.TB, p keyprovider.MasterKeyProvider, req *keyprovider.Request) *keyprovider.DataKey {
	t.Helper()
	keys, err := p.MasterKeys(t.Context(), req)
	require.NoError(t, err)
	key, err := keys[0].GenerateDataKey(t.Context(), req)
	require.NoError(t, err)
	return key
}

// requireRefused checks that none of the entries can be decrypted, and returns
// the causes.
func requireRefused(t testing.TB, p keyprovider.MasterKeyProvider, req *keyprovider.Request, entries ...keyprovider.EncryptedDataKey) []error {
	t.Helper()
	key, err := p.DecryptDataKey(t.Context(), req, entries)
	require.Nil(t, key)
	var failure *keyprovider.DecryptError
	require.ErrorAs(t, err, &failure)
	return failure.Causes
}

// requireSkipped checks that the entry is not tried, and returns why.
func requireSkipped(t testing.TB, p keyprovider.MasterKeyProvider, edk keyprovider.EncryptedDataKey) error {
	t.Helper()
	causes := requireRefused(t, p, request(), edk)
	require.Len(t, causes, 2)
	require.ErrorIs(t, causes[0], keyprovider.ErrNoMatch)
	return causes[1]
}

// aesWrap wraps a data key as framework/raw-aes-keyring.md says, with all that
// an entry holds given.
func aesWrap(t testing.TB, key []byte, namespace, name string, tagBits, ivSize uint32, iv, dataKey []byte, aad string) keyprovider.EncryptedDataKey {
	t.Helper()
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	aead, err := cipher.NewGCM(block)
	require.NoError(t, err)
	info := binary.BigEndian.AppendUint32([]byte(name), tagBits)
	info = append(binary.BigEndian.AppendUint32(info, ivSize), iv...)
	nonce := make([]byte, 12)
	copy(nonce, iv)
	return keyprovider.EncryptedDataKey{
		ProviderID: namespace, ProviderInfo: info, Ciphertext: aead.Seal(nil, nonce, dataKey, []byte(aad)),
	}
}

// requestAAD is the serialised context of request.
const requestAAD = "\x00\x02\x00\x01a\x00\x012\x00\x01b\x00\x011"

func TestRawAESEntryLayout(t *testing.T) {
	for _, size := range []int{16, 24, 32} {
		for _, s := range suite.All() {
			req := &keyprovider.Request{Suite: s, EncryptionContext: request().EncryptionContext}
			key := generate(t, newAES(t, "name", size), req)
			require.Len(t, key.Plaintext, s.KeySize())
			edk := key.Encrypted
			require.Equal(t, "namespace", edk.ProviderID)
			require.Len(t, edk.ProviderInfo, len("name")+4+4+12)
			require.Equal(t, "name\x00\x00\x00\x80\x00\x00\x00\x0c", string(edk.ProviderInfo[:12]))
			require.Len(t, edk.Ciphertext, s.KeySize()+16)
			iv := edk.ProviderInfo[12:]
			require.Equal(t, aesWrap(t, aesKey(size), "namespace", "name", 128, 12, iv, key.Plaintext, requestAAD), edk)
		}
	}
}

func TestRawAESBindsNothingForAnEmptyContext(t *testing.T) {
	req := &keyprovider.Request{Suite: id}
	key := generate(t, newAES(t, "name", 32), req)
	iv := key.Encrypted.ProviderInfo[12:]
	require.Equal(t, aesWrap(t, aesKey(32), "namespace", "name", 128, 12, iv, key.Plaintext, ""), key.Encrypted)
}

func TestRawAESUsesAFreshIVForEachKey(t *testing.T) {
	p := newAES(t, "name", 32)
	seen := make(map[string]bool)
	for range 1000 {
		edk, err := p.EncryptDataKey(t.Context(), request(), make([]byte, 32))
		require.NoError(t, err)
		seen[string(edk.ProviderInfo[12:])] = true
	}
	require.Len(t, seen, 1000)
}

func TestRawAESDecryptsWhatOthersWrapped(t *testing.T) {
	dataKey := aesKey(32)
	iv := bytes.Repeat([]byte{9}, 12)
	edk := aesWrap(t, aesKey(24), "namespace", "name", 128, 12, iv, dataKey, requestAAD)
	key, err := newAES(t, "name", 24).DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{edk})
	require.NoError(t, err)
	require.Equal(t, &keyprovider.DataKey{Plaintext: dataKey, Encrypted: edk}, key)
}

func TestRawAESSkipsEntriesThatAreNotItsOwn(t *testing.T) {
	iv := make([]byte, 12)
	wrap := func(namespace, name string) keyprovider.EncryptedDataKey {
		return aesWrap(t, aesKey(32), namespace, name, 128, 12, iv, aesKey(32), requestAAD)
	}
	cut := wrap("namespace", "name")
	cut.ProviderInfo = cut.ProviderInfo[:len(cut.ProviderInfo)-1]
	long := wrap("namespace", "name")
	long.ProviderInfo = append(long.ProviderInfo, 0)
	nameOnly := wrap("namespace", "name")
	nameOnly.ProviderInfo = []byte("name")
	none := wrap("namespace", "name")
	none.ProviderInfo = nil
	for name, edk := range map[string]keyprovider.EncryptedDataKey{
		"other namespace":               wrap("other", "name"),
		"namespace in capitals":         wrap("Namespace", "name"),
		"namespace with more":           wrap("namespace2", "name"),
		"namespace with less":           wrap("namespac", "name"),
		"no namespace":                  wrap("", "name"),
		"other name":                    wrap("namespace", "nama"),
		"name with more":                wrap("namespace", "name2"),
		"name with less":                wrap("namespace", "nam"),
		"name in capitals":              wrap("namespace", "Name"),
		"info cut":                      cut,
		"info too long":                 long,
		"name only, as a raw RSA entry": nameOnly,
		"no info":                       none,
		"nothing":                       {},
	} {
		t.Run(name, func(t *testing.T) {
			causes := requireRefused(t, newAES(t, "name", 32), request(), edk)
			require.Len(t, causes, 1)
			require.ErrorIs(t, causes[0], keyprovider.ErrNoMatch)
			require.ErrorContains(t, causes[0], `raw AES key "name" of "namespace"`)
		})
	}
}

func TestRawAESSkipsOtherTagAndIVLengthsAndSaysSo(t *testing.T) {
	p := newAES(t, "name", 32)
	iv := make([]byte, 12)
	good := aesWrap(t, aesKey(32), "namespace", "name", 128, 12, iv, aesKey(32), requestAAD)
	for _, test := range []struct {
		tagBits, ivSize uint32
		want            string
	}{
		{96, 12, "tag of 96 bits, need 128"},
		{120, 12, "tag of 120 bits, need 128"},
		{16, 12, "tag of 16 bits, need 128"},
		{0, 12, "tag of 0 bits, need 128"},
		{1 << 31, 12, "tag of 2147483648 bits, need 128"},
		{128, 16, "IV of 16 bytes, need 12"},
		{128, 0, "IV of 0 bytes, need 12"},
		{128, 96, "IV of 96 bytes, need 12"},
		{128, 1<<32 - 1, "IV of 4294967295 bytes, need 12"},
	} {
		bad := aesWrap(t, aesKey(32), "namespace", "name", test.tagBits, test.ivSize, iv, aesKey(32), requestAAD)
		require.EqualError(t, requireSkipped(t, p, bad), `encrypted data key 1 ("namespace"): skipped: `+test.want)
		key, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{bad, good})
		require.NoError(t, err)
		require.Equal(t, good, key.Encrypted)
	}
}

// flip returns the entry with one bit of a field changed, for every byte.
func everyFlip(edk keyprovider.EncryptedDataKey, yield func(keyprovider.EncryptedDataKey)) {
	for i := range edk.Ciphertext {
		bad := edk
		bad.Ciphertext = bytes.Clone(edk.Ciphertext)
		bad.Ciphertext[i] ^= 1
		yield(bad)
	}
	for i := range edk.ProviderInfo {
		bad := edk
		bad.ProviderInfo = bytes.Clone(edk.ProviderInfo)
		bad.ProviderInfo[i] ^= 1
		yield(bad)
	}
}

func TestRawAESRefusesEveryAlteredByte(t *testing.T) {
	p := newAES(t, "name", 32)
	good := generate(t, p, request()).Encrypted
	everyFlip(good, func(bad keyprovider.EncryptedDataKey) { requireRefused(t, p, request(), bad) })
	for n := range good.Ciphertext {
		bad := good
		bad.Ciphertext = good.Ciphertext[:n]
		requireRefused(t, p, request(), bad)
	}
}

func TestRawAESTriesEntriesInOrderUntilOneDecrypts(t *testing.T) {
	p := newAES(t, "name", 32)
	first, second := generate(t, p, request()), generate(t, p, request())
	tampered := first.Encrypted
	tampered.Ciphertext = make([]byte, 48)
	entries := []keyprovider.EncryptedDataKey{tampered, {ProviderID: "other"}, second.Encrypted, first.Encrypted}
	key, err := p.DecryptDataKey(t.Context(), request(), entries)
	require.NoError(t, err)
	require.Equal(t, second, key)
}

func TestRawAESWithAnotherKeyOfTheSameNameFails(t *testing.T) {
	edk := generate(t, newAES(t, "name", 32), request()).Encrypted
	other, err := keyprovider.NewRawAES("namespace", "name", make([]byte, 32))
	require.NoError(t, err)
	causes := requireRefused(t, other, request(), edk, edk)
	require.Len(t, causes, 2)
	require.NotErrorIs(t, causes[0], keyprovider.ErrNoMatch)
	require.ErrorContains(t, causes[0], "not wrapped under this key and encryption context (")
	require.Same(t, errors.Unwrap(causes[0]), errors.Unwrap(causes[1]), "a hostile message has the words once, not for each entry")
}

func TestRawAESRefusesADataKeyOfAnotherLength(t *testing.T) {
	p := newAES(t, "name", 32)
	good := generate(t, p, request())
	for _, n := range []int{0, 16, 24, 31, 33} {
		short, err := p.EncryptDataKey(t.Context(), request(), make([]byte, n))
		require.NoError(t, err)
		require.ErrorContains(t, requireSkipped(t, p, short), fmt.Sprintf("ciphertext of %d bytes", n+16))
		key, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{short, good.Encrypted})
		require.NoError(t, err)
		require.Equal(t, good, key)
	}
}

func TestRawAESFailsOnAContextThatCannotBeSerialised(t *testing.T) {
	p := newAES(t, "name", 32)
	edk := generate(t, p, request()).Encrypted
	for _, ec := range []map[string]string{
		{"\xff": ""}, {"": "\xff"}, {"": strings.Repeat("x", 65530)},
	} {
		bad := &keyprovider.Request{Suite: id, EncryptionContext: ec}
		key, err := p.GenerateDataKey(t.Context(), bad)
		require.ErrorIs(t, err, format.ErrMalformed)
		require.Nil(t, key)
		_, err = p.EncryptDataKey(t.Context(), bad, make([]byte, 32))
		require.ErrorIs(t, err, format.ErrMalformed)
		key, err = p.DecryptDataKey(t.Context(), bad, []keyprovider.EncryptedDataKey{edk})
		require.ErrorIs(t, err, format.ErrMalformed)
		require.Nil(t, key)
	}
}

func TestRawAESGeneratesNothingForAnUnknownSuite(t *testing.T) {
	for _, unknown := range []suite.ID{0, 0x0072, 0xffff} {
		key, err := newAES(t, "name", 32).GenerateDataKey(t.Context(), &keyprovider.Request{Suite: unknown})
		require.ErrorIs(t, err, format.ErrUnsupportedSuite)
		require.Nil(t, key)
	}
}

func TestRawAESIsItsOnlyMasterKey(t *testing.T) {
	p := newAES(t, "name", 32)
	keys, err := p.MasterKeys(t.Context(), request())
	require.NoError(t, err)
	require.Len(t, keys, 1)
	edk, err := keys[0].EncryptDataKey(t.Context(), request(), aesKey(32))
	require.NoError(t, err)
	key, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{edk})
	require.NoError(t, err)
	require.Equal(t, aesKey(32), key.Plaintext)
}

func TestRawAESCopiesItsKey(t *testing.T) {
	key := aesKey(32)
	p, err := keyprovider.NewRawAES("namespace", "name", key)
	require.NoError(t, err)
	require.Equal(t, aesKey(32), key)
	clear(key)
	edk := generate(t, p, request()).Encrypted
	_, err = newAES(t, "name", 32).DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{edk})
	require.NoError(t, err)
}

func TestNewRawAESRefusesWrongKeySizes(t *testing.T) {
	for n := range 70 {
		p, err := keyprovider.NewRawAES("namespace", "name", make([]byte, n))
		if n == 16 || n == 24 || n == 32 {
			require.NoError(t, err)
			continue
		}
		require.Nil(t, p)
		require.EqualError(t, err, fmt.Sprintf("keyprovider: raw AES key of %d bytes; need 16, 24 or 32", n))
	}
}

// names are pairs of namespace and name, and what is wrong with them.
var names = []struct{ name, namespace, keyName, want string }{
	{"empty namespace", "", "name", "empty key namespace"},
	{"empty name", "namespace", "", "empty key name"},
	{"aws-kms", "aws-kms", "name", "reserved for AWS KMS"},
	{"aws-kms prefix", "aws-kms-rsa", "name", "reserved for AWS KMS"},
	{"aws-kms prefix without a hyphen", "aws-kmsx", "name", "reserved for AWS KMS"},
	{"namespace not UTF-8", "\xff", "name", "not UTF-8"},
	{"name not UTF-8", "namespace", "\xff", "not UTF-8"},
	{"namespace too long", strings.Repeat("x", 65516), "name", "at most 65515"},
	{"name too long", "namespace", strings.Repeat("x", 65516), "at most 65515"},

	{"usual", "namespace", "name", ""},
	{"like aws-kms", "aws-km", "aws-kms", ""},
	{"AWS-KMS", "AWS-KMS", "name", ""},
	{"not ASCII", "Namensraum ä", "ключ", ""},
	{"longest", strings.Repeat("x", 65515), strings.Repeat("x", 65515), ""},
}

func TestNewRawAESChecksNamespaceAndName(t *testing.T) {
	for _, test := range names {
		t.Run(test.name, func(t *testing.T) {
			p, err := keyprovider.NewRawAES(test.namespace, test.keyName, make([]byte, 16))
			if test.want != "" {
				require.Nil(t, p)
				require.ErrorContains(t, err, test.want)
				return
			}
			require.NoError(t, err)
			key := generate(t, p, request())
			got, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{key.Encrypted})
			require.NoError(t, err)
			require.Equal(t, key, got)
			require.LessOrEqual(t, len(key.Encrypted.ProviderInfo), 65535)
		})
	}
}

// The data keys of the raw messages that ESDK-NET wrote.
func TestVectorNetDataKeysDecrypt(t *testing.T) {
	for _, m := range vectors.NetMessages(t) {
		if m.KMS() {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			h, err := format.ReadHeader(bytes.NewReader(m.Ciphertext), 0)
			require.NoError(t, err)
			req := &keyprovider.DecryptionRequest{
				Suite: h.Suite, CommitmentPolicy: suite.RequireEncryptAllowDecrypt, EncryptedDataKeys: h.EncryptedDataKeys,
				EncryptionContext: h.EncryptionContext, ReproducedContext: m.EncryptionContext,
			}
			materials, err := keyprovider.Materials(m.Provider(t)).DecryptionMaterials(t.Context(), req)
			require.NoError(t, err)
			require.Len(t, materials.DataKey, h.Suite.KeySize())
			require.Equal(t, h.Suite.Signing(), materials.VerificationKey != nil)
		})
	}
}
