package hierarchical_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/vectors"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/keyprovider/providertest"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("key")
	idFor := func(context.Context, map[string]string) (string, error) { return "key", nil }
	for _, test := range []struct {
		store hierarchical.Store
		opts  hierarchical.Options
		want  string
	}{
		{nil, hierarchical.Options{BranchKeyID: "key", MaxAge: time.Hour}, "nil Store"},
		{(*branchKeys)(nil), hierarchical.Options{BranchKeyID: "key", MaxAge: time.Hour}, "nil Store"},
		{s, hierarchical.Options{MaxAge: time.Hour}, "exactly one of BranchKeyID and BranchKeyIDFor"},
		{s, hierarchical.Options{MaxAge: time.Hour, BranchKeyID: "key", BranchKeyIDFor: idFor}, "exactly one of BranchKeyID and BranchKeyIDFor"},
		{s, hierarchical.Options{BranchKeyID: "key"}, "MaxAge 0s is not positive"},
		{s, hierarchical.Options{BranchKeyID: "key", MaxAge: -1}, "MaxAge -1ns is not positive"},
		{s, hierarchical.Options{BranchKeyID: "key", MaxAge: time.Minute, GracePeriod: time.Minute}, "GracePeriod 1m0s is not less than MaxAge 1m0s"},
		{s, hierarchical.Options{BranchKeyID: "key", MaxAge: time.Hour, MaxEntries: -1}, "negative MaxEntries: -1"},
		{s, hierarchical.Options{BranchKeyID: "key", MaxAge: time.Hour, MaxEntries: 1, CacheStore: keyprovider.NewCacheStore(1)}, "both MaxEntries and CacheStore are set"},
		{s, hierarchical.Options{BranchKeyID: "key", MaxAge: time.Hour, CacheStore: &keyprovider.CacheStore{}}, "not made by keyprovider.NewCacheStore"},
		{s, hierarchical.Options{BranchKeyID: "k\xFF", MaxAge: time.Hour}, "not UTF-8"},
		{s, hierarchical.Options{BranchKeyID: strings.Repeat("k", 1<<16), MaxAge: time.Hour}, "branch key ID of 65536 bytes"},
	} {
		p, err := hierarchical.New(test.store, test.opts)
		require.Nil(t, p)
		require.ErrorContains(t, err, "hierarchical: ")
		require.ErrorContains(t, err, test.want)
	}
	require.Empty(t, s.takeCalls())
	for _, opts := range []hierarchical.Options{
		{BranchKeyID: "key", MaxAge: 1},
		{BranchKeyIDFor: idFor, MaxAge: time.Hour, GracePeriod: -1, MaxEntries: 1},
		{BranchKeyID: "key", MaxAge: time.Hour, CacheStore: keyprovider.NewCacheStore(0), Partition: "p"},
	} {
		opens(t, newProvider(t, s, opts), generated(t, newProvider(t, s, opts), nil), nil)
	}
}

func TestZeroProviderFailsClearly(t *testing.T) {
	t.Parallel()
	var p hierarchical.Provider
	const want = "not made by hierarchical.New"
	_, err := p.GenerateDataKey(t.Context(), requestFor(nil))
	require.ErrorContains(t, err, want)
	_, err = p.EncryptDataKey(t.Context(), requestFor(nil), make([]byte, 32))
	require.ErrorContains(t, err, want)
	_, err = p.DecryptDataKey(t.Context(), requestFor(nil), nil)
	require.ErrorContains(t, err, want)
	_, _, err = esdk.Encrypt(t.Context(), nil, &p, nil)
	require.ErrorContains(t, err, want)
	p.Purge()
}

func TestProviderKeepsTheContractOfProviders(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("key", "other", "tenant größe")
	t.Run("fixed", func(t *testing.T) {
		providertest.Test(t, providertest.Config{Provider: newProvider(t, s, hierarchical.Options{})})
	})
	t.Run("chosen", func(t *testing.T) {
		idFor := func(_ context.Context, ec map[string]string) (string, error) {
			if ec["größe"] != "" {
				return "tenant größe", nil
			}
			return "other", nil
		}
		providertest.Test(t, providertest.Config{Provider: newProvider(t, s, hierarchical.Options{BranchKeyIDFor: idFor})})
	})
	t.Run("no room", func(t *testing.T) {
		opts := hierarchical.Options{CacheStore: keyprovider.NewCacheStore(0)}
		providertest.Test(t, providertest.Config{Provider: newProvider(t, s, opts), Decrypter: newProvider(t, s, opts)})
	})
	t.Run("in a Multi", func(t *testing.T) {
		p, err := keyprovider.Multi(newProvider(t, s, hierarchical.Options{}), newProvider(t, s, hierarchical.Options{BranchKeyID: "other"}))
		require.NoError(t, err)
		providertest.Test(t, providertest.Config{Provider: p})
	})
}

func TestMessagesOfEverySuite(t *testing.T) {
	t.Parallel()
	p := newProvider(t, newBranchKeys("key"), hierarchical.Options{})
	for _, id := range suite.All() {
		c := esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt}
		if id.Committing() {
			c.CommitmentPolicy = suite.RequireEncryptRequireDecrypt
		}
		ec := map[string]string{"tenant": "42", "größe": "一"}
		message, h, err := c.Encrypt(t.Context(), []byte("hello"), p, &esdk.EncryptOptions{Suite: id, EncryptionContext: ec, RequiredContextKeys: []string{"tenant"}})
		require.NoError(t, err)
		require.Len(t, h.EncryptedDataKeys, 1)
		require.Equal(t, "aws-kms-hierarchy", h.EncryptedDataKeys[0].ProviderID)
		require.Equal(t, "key", string(h.EncryptedDataKeys[0].ProviderInfo))
		require.Len(t, h.EncryptedDataKeys[0].Ciphertext, 60+id.KeySize())
		plaintext, _, err := c.Decrypt(t.Context(), message, p, &esdk.DecryptOptions{EncryptionContext: map[string]string{"tenant": "42"}})
		require.NoError(t, err)
		require.Equal(t, "hello", string(plaintext))
		_, _, err = c.Decrypt(t.Context(), message, p, &esdk.DecryptOptions{EncryptionContext: map[string]string{"tenant": "43"}})
		require.ErrorContains(t, err, "not wrapped under this branch key and encryption context")
	}
}

// A known branch key and what is made of it, written out here by hand: the key
// derivation as the HMAC of its input, the authenticated data byte for byte.
var (
	knownKey = &hierarchical.BranchKey{ID: "größe", Version: "01234567-89ab-cdef-0123-456789abcdef", Material: []byte("0123456789ABCDEF0123456789ABCDEF")}
	knownEC  = map[string]string{"b": "2", "a": "一"}
)

const (
	knownVersion = "\x01\x23\x45\x67\x89\xAB\xCD\xEF\x01\x23\x45\x67\x89\xAB\xCD\xEF"
	knownAAD     = "aws-kms-hierarchy" + "gr\xC3\xB6\xC3\x9Fe" + knownVersion +
		"\x00\x02" + "\x00\x01a" + "\x00\x03\xE4\xB8\x80" + "\x00\x01b" + "\x00\x012"
)

func knownCipher(t *testing.T, salt string) cipher.AEAD {
	mac := hmac.New(sha256.New, knownKey.Material)
	mac.Write([]byte("\x00\x00\x00\x01" + "aws-kms-hierarchy" + "\x00" + salt + "\x00\x00\x01\x00"))
	block, err := aes.NewCipher(mac.Sum(nil))
	require.NoError(t, err)
	aead, err := cipher.NewGCM(block)
	require.NoError(t, err)
	return aead
}

func TestProviderWritesTheBytesOfTheSpecification(t *testing.T) {
	t.Parallel()
	s := newBranchKeys()
	s.Add(knownKey)
	p := newProvider(t, s, hierarchical.Options{BranchKeyID: "größe"})
	random := map[string]bool{}
	for i := range 10 {
		key := generated(t, p, knownEC)
		if i == 0 {
			edk, err := p.EncryptDataKey(t.Context(), requestFor(knownEC), key.Plaintext)
			require.NoError(t, err)
			key.Encrypted = edk
		}
		require.Equal(t, "aws-kms-hierarchy", key.Encrypted.ProviderID)
		require.Equal(t, "gr\xC3\xB6\xC3\x9Fe", string(key.Encrypted.ProviderInfo))
		c := string(key.Encrypted.Ciphertext)
		require.Len(t, c, 16+12+16+32+16)
		salt, iv, version, sealed := c[:16], c[16:28], c[28:44], c[44:]
		require.Equal(t, knownVersion, version)
		plaintext, err := knownCipher(t, salt).Open(nil, []byte(iv), []byte(sealed), []byte(knownAAD))
		require.NoError(t, err)
		require.Equal(t, key.Plaintext, plaintext)
		for _, b := range []string{salt, iv, string(key.Plaintext)} {
			require.False(t, random[b], "random each time")
			random[b] = true
		}
	}
}

func TestProviderReadsTheBytesOfTheSpecification(t *testing.T) {
	t.Parallel()
	s := newBranchKeys()
	s.Add(knownKey)
	const salt, iv, dataKey = "a salt, 16 bytes", "IV, 12 bytes", "DATA KEY OF 32 BYTES DATA KEY OF"
	edk := keyprovider.EncryptedDataKey{ProviderID: "aws-kms-hierarchy", ProviderInfo: []byte("größe"),
		Ciphertext: knownCipher(t, salt).Seal([]byte(salt+iv+knownVersion), []byte(iv), []byte(dataKey), []byte(knownAAD))}
	p := newProvider(t, s, hierarchical.Options{BranchKeyID: "größe"})
	key, err := p.DecryptDataKey(t.Context(), requestFor(knownEC), []keyprovider.EncryptedDataKey{edk})
	require.NoError(t, err)
	require.Equal(t, dataKey, string(key.Plaintext))
	require.Equal(t, edk, key.Encrypted)
	require.Equal(t, calls(kmstest.BranchKeyCall{ID: "größe", Version: "01234567-89ab-cdef-0123-456789abcdef"}), s.takeCalls())
	for i := range edk.Ciphertext { // salt, IV, version, data key and tag: every byte counts
		edk.Ciphertext[i] ^= 1
		refused(t, p, requestFor(knownEC), edk)
		edk.Ciphertext[i] ^= 1
	}
	for i := range len(edk.Ciphertext) {
		short := edk
		short.Ciphertext = edk.Ciphertext[:i]
		require.ErrorContains(t, refused(t, p, requestFor(knownEC), short), fmt.Sprintf("ciphertext of %d bytes", i))
	}
}

func TestProviderBindsWhatItDoesNotStore(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("key")
	p := newProvider(t, s, hierarchical.Options{})
	key := generated(t, p, knownEC)
	opens(t, p, key, knownEC)
	for _, ec := range []map[string]string{nil, {"a": "一"}, {"a": "一", "b": "3"}, {"a": "一", "b": "2", "c": ""}} {
		require.ErrorContains(t, refused(t, p, requestFor(ec), key.Encrypted), "not wrapped under this branch key and encryption context, or altered")
	}
	other := newProvider(t, s, hierarchical.Options{BranchKeyID: "other"})
	failure := refused(t, other, requestFor(knownEC), key.Encrypted)
	require.ErrorIs(t, failure, keyprovider.ErrNoMatch)
	require.ErrorContains(t, failure, `encrypted data key 1 ("aws-kms-hierarchy"): skipped: wrapped under branch key "key", not "other"`)
}

func TestProviderRefusesRequestsThatNoKeyFits(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("key")
	p := newProvider(t, s, hierarchical.Options{})
	key := generated(t, p, nil)
	s.takeCalls()
	for _, ec := range []map[string]string{{"k": "\xFF"}, {"k": strings.Repeat("x", 1<<16)}} {
		_, err := p.GenerateDataKey(t.Context(), requestFor(ec))
		require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
		_, err = p.EncryptDataKey(t.Context(), requestFor(ec), make([]byte, 32))
		require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
		_, err = p.DecryptDataKey(t.Context(), requestFor(ec), []keyprovider.EncryptedDataKey{key.Encrypted})
		require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
	}
	_, err := p.GenerateDataKey(t.Context(), &keyprovider.Request{Suite: 0x0070})
	require.ErrorIs(t, err, format.ErrUnsupportedSuite)
	_, err = p.DecryptDataKey(t.Context(), &keyprovider.Request{Suite: 0x0070}, []keyprovider.EncryptedDataKey{key.Encrypted})
	require.ErrorIs(t, err, format.ErrUnsupportedSuite)
	require.Empty(t, s.takeCalls())
}

// The encryption context chooses the branch key, with what materials add to it.
func TestBranchKeyIDForChoosesByContext(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("tenant 1", "tenant 2")
	var seen []map[string]string
	p := newProvider(t, s, hierarchical.Options{BranchKeyIDFor: func(_ context.Context, ec map[string]string) (string, error) {
		seen = append(seen, ec)
		return "tenant " + ec["tenant"], nil
	}})
	for _, tenant := range []string{"1", "2", "1"} {
		seen = nil
		ec := map[string]string{"tenant": tenant}
		message, h, err := esdk.Encrypt(t.Context(), nil, p, &esdk.EncryptOptions{EncryptionContext: ec, RequiredContextKeys: []string{"tenant"}})
		require.NoError(t, err)
		require.Equal(t, "tenant "+tenant, string(h.EncryptedDataKeys[0].ProviderInfo))
		_, _, err = esdk.Decrypt(t.Context(), message, p, &esdk.DecryptOptions{EncryptionContext: ec})
		require.NoError(t, err)
		require.Len(t, seen, 2, "asked once each way")
		for _, ec := range seen {
			require.Equal(t, tenant, ec["tenant"])
			require.NotEmpty(t, ec[format.PublicKeyField])
			require.Len(t, ec, 2)
		}
	}
	seen = nil
	require.ErrorIs(t, refused(t, p, requestFor(nil), keyprovider.EncryptedDataKey{ProviderID: "aws-kms"}), keyprovider.ErrNoMatch)
	require.Empty(t, seen, "nobody is asked for a message that has nothing of ours")
	ours := keyprovider.EncryptedDataKey{ProviderID: "aws-kms-hierarchy", ProviderInfo: []byte("tenant 1"), Ciphertext: make([]byte, 92)}
	require.Len(t, refused(t, p, requestFor(map[string]string{"tenant": "1"}), ours, ours, ours).Causes, 3)
	require.Len(t, seen, 1, "once for all entries")
	require.Equal(t, "hierarchical provider of branch keys chosen by the encryption context", p.String())
}

func TestBranchKeyIDForFails(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("key")
	key := generated(t, newProvider(t, s, hierarchical.Options{}), nil)
	s.takeCalls()
	for _, test := range []struct {
		id   string
		err  error
		want string
	}{
		{"key", errors.New("no tenant"), "BranchKeyIDFor: no tenant"},
		{"", nil, "BranchKeyIDFor: empty branch key ID"},
		{"\xFF", nil, "not UTF-8"},
		{strings.Repeat("k", 1<<16), nil, "branch key ID of 65536 bytes; at most 65535"},
	} {
		p := newProvider(t, s, hierarchical.Options{BranchKeyIDFor: func(context.Context, map[string]string) (string, error) { return test.id, test.err }})
		dataKey, err := p.GenerateDataKey(t.Context(), requestFor(nil))
		require.Nil(t, dataKey)
		require.ErrorContains(t, err, test.want)
		failure := refused(t, p, requestFor(nil), key.Encrypted, key.Encrypted)
		require.Len(t, failure.Causes, 1)
		require.ErrorContains(t, failure, test.want)
		if test.err != nil {
			require.ErrorIs(t, err, test.err)
			require.ErrorIs(t, failure, test.err)
		}
	}
	require.Empty(t, s.takeCalls())

	// If ctx ends while it is asked, that is the error.
	ctx, cancel := context.WithCancel(t.Context())
	p := newProvider(t, s, hierarchical.Options{BranchKeyIDFor: func(context.Context, map[string]string) (string, error) {
		cancel()
		return "", errors.New("gone")
	}})
	dataKey, err := p.DecryptDataKey(ctx, requestFor(nil), []keyprovider.EncryptedDataKey{key.Encrypted})
	require.Nil(t, dataKey)
	require.Equal(t, context.Canceled, err)

	// Another provider of a Multi can still open the message.
	failing := newProvider(t, s, hierarchical.Options{BranchKeyIDFor: func(context.Context, map[string]string) (string, error) { return "", errors.New("no tenant") }})
	multi, err := keyprovider.Multi(failing, newProvider(t, s, hierarchical.Options{}))
	require.NoError(t, err)
	got, err := multi.DecryptDataKey(t.Context(), requestFor(nil), []keyprovider.EncryptedDataKey{key.Encrypted})
	require.NoError(t, err)
	require.Equal(t, key.Plaintext, got.Plaintext)
}

func TestProviderTriesAllMatchingEntries(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("key", "other")
	p := newProvider(t, s, hierarchical.Options{})
	good := generated(t, p, nil)
	foreign := generated(t, newProvider(t, s, hierarchical.Options{BranchKeyID: "other"}), nil).Encrypted
	altered, gone, short, notUTF8 := good.Encrypted, good.Encrypted, good.Encrypted, good.Encrypted
	altered.Ciphertext = append([]byte{good.Encrypted.Ciphertext[0] ^ 1}, good.Encrypted.Ciphertext[1:]...)
	gone.Ciphertext = append([]byte(nil), good.Encrypted.Ciphertext...)
	gone.Ciphertext[28] ^= 0xFF // its version
	short.Ciphertext = short.Ciphertext[:91]
	notUTF8.ProviderInfo = []byte("key\xFF")
	bad := []keyprovider.EncryptedDataKey{foreign, altered, gone, short, notUTF8, {ProviderID: "aws-kms-hierarchy"}, {ProviderID: "aws-kms", ProviderInfo: []byte("key"), Ciphertext: good.Encrypted.Ciphertext}}

	got, err := p.DecryptDataKey(t.Context(), requestFor(nil), append(bad, good.Encrypted))
	require.NoError(t, err)
	require.Equal(t, good.Plaintext, got.Plaintext)

	failure := refused(t, p, requestFor(nil), bad...)
	require.NotErrorIs(t, failure, keyprovider.ErrNoMatch)
	require.ErrorIs(t, failure, hierarchical.ErrBranchKeyNotFound)
	require.Len(t, failure.Causes, 6)
	version, goneVersion := versionOf(good.Encrypted), versionOf(gone)
	for i, want := range []string{
		`encrypted data key 2 ("aws-kms-hierarchy"): branch key "key", version ` + version + `: not wrapped under this branch key and encryption context, or altered`,
		`encrypted data key 3 ("aws-kms-hierarchy"): branch key "key", version ` + goneVersion + `: version "` + goneVersion + `" of "key": no such branch key`,
		`encrypted data key 1 ("aws-kms-hierarchy"): skipped: wrapped under branch key "other", not "key"`,
		`encrypted data key 4 ("aws-kms-hierarchy"): skipped: ciphertext of 91 bytes; a wrapped data key of ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY has 92`,
		`encrypted data key 5 ("aws-kms-hierarchy"): skipped: wrapped under branch key "key\xff", not "key"`,
		`encrypted data key 6 ("aws-kms-hierarchy"): skipped: wrapped under branch key "", not "key"`,
	} {
		require.EqualError(t, failure.Causes[i], want)
	}
}

// As many entries as a message can have, or fewer unless ESDK_TEST is full: none is
// opened, and the error stays short.
func TestProviderEnduresManyEntries(t *testing.T) {
	t.Parallel()
	s := newBranchKeys("key")
	p := newProvider(t, s, hierarchical.Options{})
	good := generated(t, p, nil).Encrypted
	entries := 3000
	if os.Getenv("ESDK_TEST") == "full" {
		entries = 65535
	}
	for name, test := range map[string]struct {
		entry         func(i int) keyprovider.EncryptedDataKey
		causes, calls int
	}{
		"empty": {func(int) keyprovider.EncryptedDataKey { return keyprovider.EncryptedDataKey{} }, 1, 0},
		"other keys": {func(i int) keyprovider.EncryptedDataKey {
			return keyprovider.EncryptedDataKey{ProviderID: "aws-kms-hierarchy", ProviderInfo: fmt.Append(nil, i), Ciphertext: good.Ciphertext}
		}, 1 + 8 + 1, 0},
		"short": {func(i int) keyprovider.EncryptedDataKey {
			return keyprovider.EncryptedDataKey{ProviderID: "aws-kms-hierarchy", ProviderInfo: []byte("key"), Ciphertext: make([]byte, i%92)}
		}, 1 + 8 + 1, 0},
		"altered": {func(i int) keyprovider.EncryptedDataKey {
			c := append([]byte(nil), good.Ciphertext...)
			c[0], c[1] = c[0]^byte(i), c[1]^byte(i>>8)^1
			return keyprovider.EncryptedDataKey{ProviderID: "aws-kms-hierarchy", ProviderInfo: []byte("key"), Ciphertext: c}
		}, entries, 1}, // one of them is the good one, at an index that must not be used
		"other versions": {func(i int) keyprovider.EncryptedDataKey {
			c := append([]byte(nil), good.Ciphertext...)
			c[28], c[29], c[30] = byte(i), byte(i>>8), ^c[30]
			return keyprovider.EncryptedDataKey{ProviderID: "aws-kms-hierarchy", ProviderInfo: []byte("key"), Ciphertext: c}
		}, entries, entries},
	} {
		t.Run(name, func(t *testing.T) {
			all := make([]keyprovider.EncryptedDataKey, entries)
			for i := range all {
				all[i] = test.entry(i)
			}
			if name == "altered" {
				all[1<<8] = all[1<<8+1]
			}
			s.takeCalls()
			failure := refused(t, p, requestFor(nil), all...)
			require.Len(t, failure.Causes, test.causes)
			require.Equal(t, test.calls, len(s.takeCalls()))
			require.Less(t, len(failure.Error()), 4000)
		})
	}
}

// What BranchKeyIDFor does to the map that it is given changes nothing that the
// data key is bound to: nobody else could have unwrapped it.
func TestBranchKeyIDForCannotChangeTheContext(t *testing.T) {
	s := newBranchKeys("key")
	p := newProvider(t, s, hierarchical.Options{BranchKeyIDFor: func(_ context.Context, ec map[string]string) (string, error) {
		ec["role"] = "admin"
		delete(ec, "tenant")
		return "key", nil
	}})
	other := newProvider(t, s, hierarchical.Options{BranchKeyID: "key"})
	ec := map[string]string{"tenant": "1"}
	req := requestFor(ec)
	key, err := p.GenerateDataKey(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, ec, req.EncryptionContext)
	opens(t, other, key, ec)
	opens(t, p, generated(t, other, ec), ec)
}

// Every message of AWS's cores under a branch key decrypts, and none does with
// another ID, version, key or encryption context.
func TestVectorDafnyMessagesDecrypt(t *testing.T) {
	seen := 0
	for _, m := range vectors.DafnyMessages(t) {
		k := m.MasterKeys[0]
		if k.BranchKey == nil {
			continue
		}
		seen++
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			decrypt := func(key hierarchical.BranchKey, ec map[string]string) error {
				s := kmstest.NewBranchKeyStore("store")
				s.Add(&key)
				p := newProvider(t, s, hierarchical.Options{BranchKeyID: key.ID})
				c := esdk.Client{CommitmentPolicy: suite.RequireEncryptAllowDecrypt}
				plaintext, h, err := c.Decrypt(t.Context(), m.Ciphertext, p, &esdk.DecryptOptions{EncryptionContext: ec})
				if err != nil {
					require.Nil(t, plaintext)
					return err
				}
				require.Equal(t, m.Plaintext, plaintext)
				require.Equal(t, m.Suite, fmt.Sprintf("%04x", uint16(h.Suite)))
				return nil
			}
			key := hierarchical.BranchKey{ID: k.KeyID, Version: k.BranchKeyVersion, Material: k.BranchKey}
			require.NoError(t, decrypt(key, nil))

			another := key
			another.ID = strings.Replace(key.ID, "b", "c", 1)
			require.ErrorIs(t, decrypt(another, nil), keyprovider.ErrNoMatch)
			another = key
			another.Version = strings.Replace(key.Version, "e", "d", 1)
			require.ErrorIs(t, decrypt(another, nil), hierarchical.ErrBranchKeyNotFound)
			another = key
			another.Material = bytes.Clone(key.Material)
			another.Material[31] ^= 1
			var failure *keyprovider.DecryptError
			err := decrypt(another, nil)
			require.ErrorAs(t, err, &failure)
			require.NotErrorIs(t, err, keyprovider.ErrNoMatch)
			require.ErrorIs(t, decrypt(key, map[string]string{"more": "value"}), esdk.ErrEncryptionContext)
		})
	}
	require.Equal(t, 11, seen)
}
