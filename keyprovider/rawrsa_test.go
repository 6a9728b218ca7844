package keyprovider_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"hash"
	"math"
	"math/big"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
)

// rsaHash returns the hash of an OAEP padding, or nil.
func rsaHash(p keyprovider.RSAPadding) hash.Hash {
	switch p {
	case keyprovider.OAEPSHA1:
		return sha1.New()
	case keyprovider.OAEPSHA256:
		return sha256.New()
	case keyprovider.OAEPSHA384:
		return sha512.New384()
	case keyprovider.OAEPSHA512:
		return sha512.New()
	}
	return nil
}

func TestRawRSAEntryLayout(t *testing.T) {
	for _, padding := range paddings {
		t.Run(padding.String(), func(t *testing.T) {
			t.Parallel()
			p := newRSA(t, "name", padding)
			for _, s := range sampled(keySizes) {
				key := generate(t, p, &keyprovider.Request{Suite: s})
				require.Len(t, key.Plaintext, s.KeySize())
				require.Equal(t, "namespace", key.Encrypted.ProviderID)
				require.Equal(t, "name", string(key.Encrypted.ProviderInfo))
				require.Len(t, key.Encrypted.Ciphertext, 256)
				var got []byte
				var err error
				if h := rsaHash(padding); h != nil {
					got, err = rsa.DecryptOAEP(h, nil, rsaKey(), key.Encrypted.Ciphertext, nil)
				} else {
					got, err = rsa.DecryptPKCS1v15(nil, rsaKey(), key.Encrypted.Ciphertext)
				}
				require.NoError(t, err)
				require.Equal(t, key.Plaintext, got)
			}
		})
	}
}

func TestRawRSADecryptsOnlyItsOwnPadding(t *testing.T) {
	for _, written := range paddings {
		edk := generate(t, newRSA(t, "name", written), request()).Encrypted
		for _, reading := range paddings {
			p := newRSA(t, "name", reading)
			if reading == written {
				_, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{edk})
				require.NoError(t, err)
				continue
			}
			if reading == keyprovider.PKCS1v15 {
				requireRandom(t, p, edk)
				continue
			}
			causes := requireRefused(t, p, request(), edk)
			require.EqualError(t, causes[0], `encrypted data key 1 ("namespace"): not wrapped for this key and padding, or altered`)
		}
	}
}

func TestRawRSAWithAPublicKeyOnlyEncrypts(t *testing.T) {
	p, err := keyprovider.NewRawRSA("namespace", "name", &rsaKey().PublicKey, nil, keyprovider.OAEPSHA256)
	require.NoError(t, err)
	key := generate(t, p, request())
	causes := requireRefused(t, p, request(), key.Encrypted)
	require.EqualError(t, causes[0], `raw RSA key "name" of "namespace" has no private key`)
	got, err := newRSA(t, "name", keyprovider.OAEPSHA256).DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{key.Encrypted})
	require.NoError(t, err)
	require.Equal(t, key, got)
}

func TestRawRSAWithAPrivateKeyOnlyDecrypts(t *testing.T) {
	p, err := keyprovider.NewRawRSA("namespace", "name", nil, rsaKey(), keyprovider.OAEPSHA256)
	require.NoError(t, err)
	keys, err := p.MasterKeys(t.Context(), request())
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
	require.Nil(t, keys)
	_, err = p.EncryptDataKey(t.Context(), request(), make([]byte, 32))
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
	key, err := p.GenerateDataKey(t.Context(), request())
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
	require.Nil(t, key)
	_, err = keyprovider.Materials(p).EncryptionMaterials(t.Context(), &keyprovider.EncryptionRequest{})
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)

	want := generate(t, newRSA(t, "name", keyprovider.OAEPSHA256), request())
	got, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{want.Encrypted})
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestRawRSATriesExactlyTheEntriesOfItsNamespaceAndName(t *testing.T) {
	p := newRSA(t, "name", keyprovider.OAEPSHA256)
	good := generate(t, p, request()).Encrypted
	for _, change := range []func(*keyprovider.EncryptedDataKey){
		func(edk *keyprovider.EncryptedDataKey) { edk.ProviderID = "other" },
		func(edk *keyprovider.EncryptedDataKey) { edk.ProviderID = "" },
		func(edk *keyprovider.EncryptedDataKey) { edk.ProviderID = "NAMESPACE" },
		func(edk *keyprovider.EncryptedDataKey) { edk.ProviderID = "namespace2" },
		func(edk *keyprovider.EncryptedDataKey) { edk.ProviderInfo = []byte("other") },
		func(edk *keyprovider.EncryptedDataKey) { edk.ProviderInfo = []byte("name2") },
		func(edk *keyprovider.EncryptedDataKey) { edk.ProviderInfo = []byte("nam") },
		func(edk *keyprovider.EncryptedDataKey) { edk.ProviderInfo = nil },
	} {
		edk := good
		change(&edk)
		causes := requireRefused(t, p, request(), edk)
		require.ErrorIs(t, causes[0], keyprovider.ErrNoMatch)
	}
	tampered := good
	tampered.Ciphertext = make([]byte, 256)
	causes := requireRefused(t, p, request(), tampered)
	require.NotErrorIs(t, causes[0], keyprovider.ErrNoMatch)
}

func TestRawRSATriesEntriesInOrderUntilOneDecrypts(t *testing.T) {
	p := newRSA(t, "name", keyprovider.OAEPSHA384)
	first, second := generate(t, p, request()), generate(t, p, request())
	tampered := first.Encrypted
	tampered.Ciphertext = bytes.Repeat([]byte{1}, 256)
	key, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{tampered, {}, second.Encrypted, first.Encrypted})
	require.NoError(t, err)
	require.Equal(t, second, key)
}

func TestRawRSARefusesAlteredCiphertexts(t *testing.T) {
	p := newRSA(t, "name", keyprovider.OAEPSHA1)
	good := generate(t, p, request()).Encrypted
	for i := 0; i < len(good.Ciphertext); i += 15 {
		bad := good
		bad.Ciphertext = bytes.Clone(good.Ciphertext)
		bad.Ciphertext[i] ^= 1
		requireRefused(t, p, request(), bad)
	}
	for _, ciphertext := range [][]byte{nil, {1}, good.Ciphertext[1:], good.Ciphertext[:255], append(bytes.Clone(good.Ciphertext), 0),
		make([]byte, 65535), bytes.Repeat([]byte{0xff}, 256)} {
		bad := good
		bad.Ciphertext = ciphertext
		requireRefused(t, p, request(), bad)
	}
}

// requireRandom checks that p, whose padding is PKCS1v15, gives a data key for
// an entry that it cannot unwrap: another one each time.
func requireRandom(t *testing.T, p keyprovider.MasterKeyProvider, edk keyprovider.EncryptedDataKey) {
	t.Helper()
	var last []byte
	for range 2 {
		key, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{{ProviderID: "other"}, edk})
		require.NoError(t, err)
		require.Equal(t, edk, key.Encrypted)
		require.Len(t, key.Plaintext, request().Suite.KeySize())
		require.NotEqual(t, make([]byte, len(key.Plaintext)), key.Plaintext)
		require.NotEqual(t, last, key.Plaintext)
		last = key.Plaintext
	}
}

// With PKCS1v15 nothing tells whether the padding of an entry was right, or the
// length of what it holds. Keys of one name in a Multi, as after a rotation, are
// all asked nevertheless.
func TestRawRSAWithPKCS1v15IsNoOracle(t *testing.T) {
	p := newRSA(t, "name", keyprovider.PKCS1v15)
	good := generate(t, p, request())
	altered := good.Encrypted
	altered.Ciphertext = bytes.Clone(altered.Ciphertext)
	altered.Ciphertext[100] ^= 1
	requireRandom(t, p, altered)
	for _, n := range []int{0, 16, 31, 33} {
		edk, err := p.EncryptDataKey(t.Context(), request(), make([]byte, n))
		require.NoError(t, err)
		requireRandom(t, p, edk)
	}

	// Nor does a second entry, which the attacker may add.
	fits, err := p.EncryptDataKey(t.Context(), request(), bytes.Repeat([]byte{5}, 32))
	require.NoError(t, err)
	for _, entries := range [][]keyprovider.EncryptedDataKey{{altered, altered}, {altered, fits}, {fits, altered}} {
		key, err := p.DecryptDataKey(t.Context(), request(), entries)
		require.NoError(t, err)
		require.Len(t, key.Plaintext, 32)
	}

	// In a Multi the others are asked first: after a rotation under one name, and
	// for other entries of the message.
	newer, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for newer.N.Cmp(rsaKey().N) < 0 { // a ciphertext over the modulus is refused, which everybody can see coming
		newer, err = rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
	}
	rotated, err := keyprovider.NewRawRSA("namespace", "name", nil, newer, keyprovider.PKCS1v15)
	require.NoError(t, err)
	public, err := keyprovider.NewRawRSA("namespace", "name", &newer.PublicKey, nil, keyprovider.PKCS1v15)
	require.NoError(t, err)
	aes := newAES(t, "a", 32)
	wrapped, err := aes.EncryptDataKey(t.Context(), request(), good.Plaintext)
	require.NoError(t, err)
	for name, both := range map[string]keyprovider.MasterKeyProvider{
		"old key last":   newMulti(t, rotated, aes, p),
		"old key first":  newMulti(t, p, rotated),
		"by value":       newMulti(t, *rotated, *p),
		"nested":         newMulti(t, newMulti(t, aes, rotated), newMulti(t, p)),
		"nested first":   newMulti(t, newMulti(t, rotated), p),
		"a public key":   newMulti(t, p, public),
		"wrapped, last":  newMulti(t, rotated, struct{ keyprovider.MasterKeyProvider }{p}),
		"another's type": newMulti(t, rotated, struct{ *keyprovider.RawRSA }{p}),
	} {
		key, err := both.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{good.Encrypted})
		require.NoError(t, err, name)
		require.Equal(t, good.Plaintext, key.Plaintext, name)
		requireRandom(t, both, altered)
	}
	for name, both := range map[string]keyprovider.MasterKeyProvider{
		"RSA first": newMulti(t, rotated, aes), "AES first": newMulti(t, aes, rotated), "nested": newMulti(t, newMulti(t, rotated), newMulti(t, aes)),
	} {
		key, err := both.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{good.Encrypted, wrapped})
		require.NoError(t, err, name)
		require.Equal(t, good.Plaintext, key.Plaintext, name)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = newMulti(t, rotated, aes).DecryptDataKey(done, request(), []keyprovider.EncryptedDataKey{altered})
	require.ErrorIs(t, err, context.Canceled)
	requireRandom(t, rotated, good.Encrypted) // Multi has changed no key of the caller's
}

// A wrong padding and a wrong length cannot be told apart by the error.
func TestRawRSARefusesADataKeyOfAnotherLengthLikeAnyOther(t *testing.T) {
	t.Parallel()
	for _, padding := range paddings {
		p := newRSA(t, "name", padding)
		good := generate(t, p, request())
		tampered := good.Encrypted
		tampered.Ciphertext = make([]byte, 256)
		if padding == keyprovider.PKCS1v15 {
			continue // see TestRawRSAWithPKCS1v15IsNoOracle
		}
		want := requireRefused(t, p, request(), tampered)
		for _, n := range []int{0, 16, 31, 33} {
			edk, err := p.EncryptDataKey(t.Context(), request(), make([]byte, n))
			require.NoError(t, err)
			got := requireRefused(t, p, request(), edk)
			require.Equal(t, want, got)
			key, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{edk, good.Encrypted})
			require.NoError(t, err)
			require.Equal(t, good, key)
		}
	}
}

func TestRawRSADataKeyTooLongForTheKeyFails(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	p, err := keyprovider.NewRawRSA("namespace", "name", &key.PublicKey, key, keyprovider.OAEPSHA512)
	require.NoError(t, err)
	edk, err := p.EncryptDataKey(t.Context(), request(), make([]byte, 32)) // 1024 bits hold no bytes under two SHA-512 hashes
	require.ErrorContains(t, err, `raw RSA key "name" of "namespace"`)
	require.Zero(t, edk)
	generated, err := p.GenerateDataKey(t.Context(), request())
	require.Error(t, err)
	require.Nil(t, generated)
}

func TestRawRSAGeneratesNothingForAnUnknownSuite(t *testing.T) {
	key, err := newRSA(t, "name", keyprovider.OAEPSHA256).GenerateDataKey(t.Context(), &keyprovider.Request{})
	require.ErrorIs(t, err, format.ErrUnsupportedSuite)
	require.Nil(t, key)
}

// otherRSAKey is a second key.
var otherRSAKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func TestNewRawRSARefusesKeysThatDoNotBelongTogether(t *testing.T) {
	p, err := keyprovider.NewRawRSA("namespace", "name", &otherRSAKey().PublicKey, rsaKey(), keyprovider.OAEPSHA256)
	require.Nil(t, p)
	require.ErrorContains(t, err, "do not belong together")
}

func TestNewRawRSARefusesNoKeyAtAll(t *testing.T) {
	p, err := keyprovider.NewRawRSA("namespace", "name", nil, nil, keyprovider.OAEPSHA256)
	require.Nil(t, p)
	require.ErrorContains(t, err, "neither a public key nor a private key")
}

func TestNewRawRSARefusesUnknownPaddings(t *testing.T) {
	for _, padding := range []keyprovider.RSAPadding{0, 6, 255} {
		p, err := keyprovider.NewRawRSA("namespace", "name", &rsaKey().PublicKey, rsaKey(), padding)
		require.Nil(t, p)
		require.ErrorContains(t, err, "unknown RSA padding ")
	}
}

func TestRSAPaddingString(t *testing.T) {
	var names []string
	for p := range keyprovider.OAEPSHA512 + 2 {
		names = append(names, p.String())
	}
	require.Equal(t, []string{"RSA padding 0", "PKCS1-v1_5", "OAEP-SHA1", "OAEP-SHA256", "OAEP-SHA384", "OAEP-SHA512", "RSA padding 6"}, names)
}

func TestNewRawRSAChecksNamespaceAndName(t *testing.T) {
	for _, test := range names {
		t.Run(test.name, func(t *testing.T) {
			p, err := keyprovider.NewRawRSA(test.namespace, test.keyName, &rsaKey().PublicKey, rsaKey(), keyprovider.OAEPSHA256)
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
		})
	}
}

// clonePrivate returns a copy of the key without what is precomputed.
func clonePrivate(key *rsa.PrivateKey) *rsa.PrivateKey {
	return &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Set(key.N), E: key.E},
		D:         new(big.Int).Set(key.D),
		Primes:    []*big.Int{new(big.Int).Set(key.Primes[0]), new(big.Int).Set(key.Primes[1])},
	}
}

func TestNewRawRSARefusesBadPublicKeys(t *testing.T) {
	n := rsaKey().N
	large := math.MaxInt32
	large += 2 // which is negative on systems of 32 bits
	for name, test := range map[string]struct {
		pub  *rsa.PublicKey
		want string
	}{
		"zero value":         {&rsa.PublicKey{}, "no modulus"},
		"no modulus":         {&rsa.PublicKey{E: 65537}, "no modulus"},
		"modulus 0":          {&rsa.PublicKey{N: new(big.Int), E: 65537}, "0 bits, need at least 1024"},
		"modulus 1":          {&rsa.PublicKey{N: big.NewInt(1), E: 65537}, "1 bits, need at least 1024"},
		"negative modulus":   {&rsa.PublicKey{N: new(big.Int).Neg(n), E: 65537}, "the modulus is negative"},
		"even modulus":       {&rsa.PublicKey{N: new(big.Int).Lsh(n, 1), E: 65537}, "the modulus is even"},
		"512 bits":           {&rsa.PublicKey{N: new(big.Int).Rsh(n, 1536), E: 65537}, "512 bits, need at least 1024"},
		"1023 bits":          {&rsa.PublicKey{N: new(big.Int).Rsh(n, 1025), E: 65537}, "1023 bits, need at least 1024"},
		"no exponent":        {&rsa.PublicKey{N: n}, "public exponent 0, need"},
		"negative exponent":  {&rsa.PublicKey{N: n, E: -3}, "public exponent -3, need"},
		"exponent 1":         {&rsa.PublicKey{N: n, E: 1}, "public exponent 1, need"},
		"even exponent":      {&rsa.PublicKey{N: n, E: 65536}, "public exponent 65536, need"},
		"exponent over 2^31": {&rsa.PublicKey{N: n, E: large}, fmt.Sprintf("public exponent %d, need an odd one from 3 to 2^31-1", large)},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := keyprovider.NewRawRSA("namespace", "name", test.pub, nil, keyprovider.OAEPSHA256)
			require.ErrorContains(t, err, "keyprovider: RSA public key: "+test.want)
			require.Nil(t, p)
		})
	}
}

// What NewRawRSA takes, crypto/rsa takes too.
func TestNewRawRSATakesWhatCanEncrypt(t *testing.T) {
	n := rsaKey().N
	short := new(big.Int).SetBit(new(big.Int).Rsh(n, 1024), 0, 1) // odd, 1024 bits
	for _, pub := range []*rsa.PublicKey{{N: short, E: 65537}, {N: n, E: 3}, {N: n, E: math.MaxInt32}} {
		p, err := keyprovider.NewRawRSA("namespace", "name", pub, nil, keyprovider.OAEPSHA256)
		require.NoError(t, err)
		_, err = p.EncryptDataKey(t.Context(), request(), make([]byte, 32))
		require.NoError(t, err)
	}
}

func TestNewRawRSARefusesBadPrivateKeys(t *testing.T) {
	for name, spoil := range map[string]func(*rsa.PrivateKey){
		"zero value": func(k *rsa.PrivateKey) { *k = rsa.PrivateKey{} },
		"no modulus": func(k *rsa.PrivateKey) { k.N = nil },
		"tiny": func(k *rsa.PrivateKey) {
			k.N = big.NewInt(3233)
			k.E = 17
			k.D = big.NewInt(413)
			k.Primes = []*big.Int{big.NewInt(61), big.NewInt(53)}
		},
		"no private exponent":     func(k *rsa.PrivateKey) { k.D = nil },
		"private exponent 0":      func(k *rsa.PrivateKey) { k.D = new(big.Int) },
		"negative exponent":       func(k *rsa.PrivateKey) { k.D.Neg(k.D) },
		"another exponent":        func(k *rsa.PrivateKey) { k.D.Add(k.D, big.NewInt(2)) },
		"no primes":               func(k *rsa.PrivateKey) { k.Primes = nil },
		"one prime":               func(k *rsa.PrivateKey) { k.Primes = k.Primes[:1] },
		"nil primes":              func(k *rsa.PrivateKey) { k.Primes = []*big.Int{nil, nil} },
		"one nil prime":           func(k *rsa.PrivateKey) { k.Primes[1] = nil },
		"primes 0":                func(k *rsa.PrivateKey) { k.Primes = []*big.Int{new(big.Int), new(big.Int)} },
		"primes 1":                func(k *rsa.PrivateKey) { k.Primes = []*big.Int{big.NewInt(1), k.N} },
		"negative primes":         func(k *rsa.PrivateKey) { k.Primes[0].Neg(k.Primes[0]); k.Primes[1].Neg(k.Primes[1]) },
		"primes of another key":   func(k *rsa.PrivateKey) { k.Primes = otherRSAKey().Primes },
		"the same prime twice":    func(k *rsa.PrivateKey) { k.Primes[1] = k.Primes[0] },
		"three primes":            func(k *rsa.PrivateKey) { k.Primes = append(k.Primes, big.NewInt(3)) },
		"no public exponent":      func(k *rsa.PrivateKey) { k.E = 0 },
		"another public exponent": func(k *rsa.PrivateKey) { k.E = 3 },
		"negative modulus":        func(k *rsa.PrivateKey) { k.N.Neg(k.N) },
	} {
		t.Run(name, func(t *testing.T) {
			key := clonePrivate(rsaKey())
			spoil(key)
			for _, pub := range []*rsa.PublicKey{nil, &rsaKey().PublicKey} {
				p, err := keyprovider.NewRawRSA("namespace", "name", pub, key, keyprovider.OAEPSHA256)
				require.Error(t, err)
				require.Nil(t, p)
			}
		})
	}
}

// crypto/rsa does not check keys of more than two primes at all.
func TestNewRawRSARefusesMultiPrimeKeys(t *testing.T) {
	key := clonePrivate(rsaKey())
	key.Primes = append(key.Primes, big.NewInt(3))
	key.D.Add(key.D, big.NewInt(2))
	p, err := keyprovider.NewRawRSA("namespace", "name", nil, key, keyprovider.OAEPSHA256)
	require.ErrorContains(t, err, "3 primes, need 2")
	require.Nil(t, p)
}

// What the caller's key has precomputed is neither used nor believed.
func TestRawRSAPrecomputesForItself(t *testing.T) {
	key := clonePrivate(rsaKey())
	key.Precomputed.Dp, key.Precomputed.Dq, key.Precomputed.Qinv = big.NewInt(3), big.NewInt(3), big.NewInt(3)
	p, err := keyprovider.NewRawRSA("namespace", "name", &key.PublicKey, key, keyprovider.OAEPSHA256)
	require.NoError(t, err)
	want := generate(t, p, request())
	got, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{want.Encrypted})
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestRawRSATakesKeysFromPEM(t *testing.T) {
	spki, err := x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rsaKey())
	require.NoError(t, err)
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	privatePEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})

	block, _ := pem.Decode(publicPEM)
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	block, _ = pem.Decode(privatePEM)
	priv, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	p, err := keyprovider.NewRawRSA("namespace", "name", pub.(*rsa.PublicKey), priv.(*rsa.PrivateKey), keyprovider.OAEPSHA256)
	require.NoError(t, err)
	key := generate(t, p, request())
	got, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{key.Encrypted})
	require.NoError(t, err)
	require.Equal(t, key, got)
}

func TestRawRSACopiesItsKeys(t *testing.T) {
	key := clonePrivate(rsaKey())
	pub := &rsa.PublicKey{N: new(big.Int).Set(key.N), E: key.E}
	p, err := keyprovider.NewRawRSA("namespace", "name", pub, key, keyprovider.OAEPSHA256)
	require.NoError(t, err)
	require.Equal(t, clonePrivate(rsaKey()), key, "the caller's key is not changed, nothing in it precomputed")
	require.True(t, pub.Equal(&rsaKey().PublicKey))
	for _, n := range append(slices.Clone(key.Primes), key.D, key.N, pub.N) {
		clear(n.Bits())
	}
	want := generate(t, p, request())
	got, err := p.DecryptDataKey(t.Context(), request(), []keyprovider.EncryptedDataKey{want.Encrypted})
	require.NoError(t, err)
	require.Equal(t, want, got)
}
