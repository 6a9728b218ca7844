package keyprovider_test

import (
	"crypto/rand"
	"crypto/rsa"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/keyprovider/providertest"
	"github.com/esdk-go/esdk/suite"
)

// full reports whether every case of the long tables is to run: ESDK_TEST=full,
// and fuzzing.
func full() bool {
	return os.Getenv("ESDK_TEST") == "full" || flag.Lookup("test.fuzz").Value.String() != ""
}

// keySizes are suites with data keys of each length, all that matters to the
// providers. They come second where all suites would take long: see full.
var keySizes = []suite.ID{suite.AES128GCMHKDFSHA256, suite.AES192GCM, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384}

// sampled returns all suites, or few unless every case is to run.
func sampled(few []suite.ID) []suite.ID {
	if full() {
		return suite.All()
	}
	return few
}

var paddings = []keyprovider.RSAPadding{
	keyprovider.PKCS1v15, keyprovider.OAEPSHA1, keyprovider.OAEPSHA256, keyprovider.OAEPSHA384, keyprovider.OAEPSHA512,
}

// rsaKey is made once: making it takes longer than most tests.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// aesKey returns n bytes that no other part of the tests looks like.
func aesKey(n int) []byte {
	key := make([]byte, n)
	for i := range key {
		key[i] = byte(0xA0 + i)
	}
	return key
}

func newAES(t testing.TB, name string, size int) *keyprovider.RawAES {
	t.Helper()
	p, err := keyprovider.NewRawAES("namespace", name, aesKey(size))
	require.NoError(t, err)
	return p
}

func newRSA(t testing.TB, name string, padding keyprovider.RSAPadding) *keyprovider.RawRSA {
	t.Helper()
	p, err := keyprovider.NewRawRSA("namespace", name, &rsaKey().PublicKey, rsaKey(), padding)
	require.NoError(t, err)
	return p
}

func newMulti(t testing.TB, first keyprovider.MasterKeyProvider, others ...keyprovider.MasterKeyProvider) keyprovider.MasterKeyProvider {
	t.Helper()
	p, err := keyprovider.Multi(first, others...)
	require.NoError(t, err)
	return p
}

func TestRawAESKeepsTheContract(t *testing.T) {
	for _, size := range []int{16, 24, 32} {
		t.Run(fmt.Sprint(8*size), func(t *testing.T) {
			providertest.Test(t, providertest.Config{Provider: newAES(t, "key", size)})
		})
	}
}

func TestRawRSAKeepsTheContract(t *testing.T) {
	for i, padding := range paddings {
		t.Run(padding.String(), func(t *testing.T) {
			t.Parallel()
			providertest.Test(t, providertest.Config{Provider: newRSA(t, "key", padding), Unbound: true, ImplicitRejection: padding == keyprovider.PKCS1v15,
				Suites: sampled(keySizes[i%3:][:1])})
		})
	}
}

func TestRawRSAOfTwoHalvesKeepsTheContract(t *testing.T) {
	t.Parallel()
	encrypter, err := keyprovider.NewRawRSA("namespace", "key", &rsaKey().PublicKey, nil, keyprovider.OAEPSHA256)
	require.NoError(t, err)
	decrypter, err := keyprovider.NewRawRSA("namespace", "key", nil, rsaKey(), keyprovider.OAEPSHA256)
	require.NoError(t, err)
	providertest.Test(t, providertest.Config{Provider: encrypter, Decrypter: decrypter, Unbound: true, Suites: sampled(keySizes)})
}

func TestDecryptOnlyRawRSAKeepsTheContract(t *testing.T) {
	decrypter, err := keyprovider.NewRawRSA("namespace", "key", nil, rsaKey(), keyprovider.OAEPSHA256)
	require.NoError(t, err)
	providertest.Test(t, providertest.Config{Decrypter: decrypter})
}

func TestMultiKeepsTheContract(t *testing.T) {
	t.Run("AES", func(t *testing.T) {
		nested := newMulti(t, newAES(t, "second", 16), newAES(t, "third", 24))
		providertest.Test(t, providertest.Config{Provider: newMulti(t, newAES(t, "first", 32), nested)})
	})
	t.Run("AES and RSA", func(t *testing.T) {
		t.Parallel()
		p := newMulti(t, newAES(t, "first", 32), newRSA(t, "second", keyprovider.OAEPSHA256))
		providertest.Test(t, providertest.Config{Provider: p, Suites: sampled(keySizes)}) // the first, which generates, binds the context
	})
}
