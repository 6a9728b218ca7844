package keyprovider_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"maps"
	"math/big"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// The default manager lends its request: a provider or key that changes what it
// was given spoils no message silently.
func TestTheDefaultManagerLendsCopies(t *testing.T) {
	ec := func() map[string]string { return map[string]string{"a": "1", "b": "2"} }
	alter := func(req *keyprovider.Request) { delete(req.EncryptionContext, "a"); req.EncryptionContext["c"] = "3" }
	for name, p := range map[string]*stub{
		"MasterKeys": {masterKeys: func(_ context.Context, req *keyprovider.Request) ([]keyprovider.MasterKey, error) {
			alter(req)
			return []keyprovider.MasterKey{&stubKey{}}, nil
		}},
		"GenerateDataKey": {keys: []keyprovider.MasterKey{&stubKey{generate: func(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
			alter(req)
			return (&stubKey{}).GenerateDataKey(ctx, req)
		}}}},
		"the suite": {keys: []keyprovider.MasterKey{&stubKey{generate: func(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
			key, err := (&stubKey{}).GenerateDataKey(ctx, req)
			req.Suite = suite.AES128GCM
			return key, err
		}}}},
	} {
		for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
			materials, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: ec()})
			require.Nil(t, materials, name)
			require.ErrorContains(t, err, "changed the request", name)
		}
	}

	// A further key has a request of its own, which is the message's.
	further := func(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
		require.Equal(t, ec(), req.EncryptionContext)
		return (&stubKey{}).EncryptDataKey(ctx, req, plaintext)
	}
	altering := func(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
		alter(req)
		return further(ctx, &keyprovider.Request{Suite: req.Suite, EncryptionContext: ec()}, plaintext)
	}
	p := &stub{keys: []keyprovider.MasterKey{&stubKey{}, &stubKey{encrypt: altering}, &stubKey{encrypt: further}, &stubKey{encrypt: further}}}
	_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: ec()})
	require.ErrorContains(t, err, "changed the request")

	p = &stub{decrypt: func(_ context.Context, req *keyprovider.Request, _ []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
		alter(req)
		return &keyprovider.DataKey{Plaintext: aesKey(32)}, nil
	}}
	opened, err := decryptionMaterials(t, p, &keyprovider.DecryptionRequest{Suite: id, EncryptionContext: ec()})
	require.NoError(t, err)
	require.Equal(t, ec(), opened.EncryptionContext)
}

// A manager under another one has a request of its own, too.
func TestManagersLendCopiesToTheManagersUnderThem(t *testing.T) {
	encrypt := func(req *keyprovider.EncryptionRequest) {
		clear(req.RequiredContextKeys)
		req.EncryptionContext["a"] = "altered"
		req.MaxEncryptedDataKeys, req.Suite = 0, suite.AES256GCMHKDFSHA256
	}
	decrypt := func(req *keyprovider.DecryptionRequest) {
		req.EncryptionContext["a"] = "altered"
		req.ReproducedContext = nil
	}
	inner := &meddler{encrypt: encrypt, decrypt: decrypt}
	required, err := keyprovider.RequireContext(inner, "r")
	require.NoError(t, err)
	for name, p := range map[string]keyprovider.MasterKeyProvider{
		"RequireContext": required,
		"Cache":          newCache(t, inner, keyprovider.CacheOptions{MaxAge: time.Hour}),
	} {
		req := &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: map[string]string{"a": "1", "r": "2"}, RequiredContextKeys: []string{"r"}, MaxEncryptedDataKeys: 7}
		_, err := encryptionMaterials(t, p, req)
		require.ErrorIs(t, err, errBroken, name)
		require.Equal(t, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: map[string]string{"a": "1", "r": "2"}, RequiredContextKeys: []string{"r"}, MaxEncryptedDataKeys: 7}, req, name)

		edks := func() []keyprovider.EncryptedDataKey { return []keyprovider.EncryptedDataKey{{ProviderID: "x"}} }
		dec := &keyprovider.DecryptionRequest{Suite: id, EncryptionContext: map[string]string{"a": "1"}, ReproducedContext: map[string]string{"r": "2"}, EncryptedDataKeys: edks()}
		_, err = decryptionMaterials(t, p, dec)
		require.ErrorIs(t, err, errBroken, name)
		require.Equal(t, &keyprovider.DecryptionRequest{Suite: id, EncryptionContext: map[string]string{"a": "1"}, ReproducedContext: map[string]string{"r": "2"}, EncryptedDataKeys: edks()}, dec, name)
	}
}

// A manager that keeps what it returned, and changes it later, changes nothing that the
// manager over it has checked.
func TestManagersCopyWhatTheManagersUnderThemReturn(t *testing.T) {
	signing := suite.AES256GCMHKDFSHA512CommitKeyECDSAP384
	inner := &keeping{MaterialsManager: keyprovider.Materials(newAES(t, "key", 32))}
	required, err := keyprovider.RequireContext(inner, "r")
	require.NoError(t, err)
	for name, p := range map[string]keyprovider.MasterKeyProvider{
		"RequireContext": required,
		"Cache":          newCache(t, inner, keyprovider.CacheOptions{MaxAge: time.Hour}),
	} {
		ec := map[string]string{"a": "1", "r": "2"}
		m, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: signing, EncryptionContext: ec, RequiredContextKeys: []string{"r"}})
		require.NoError(t, err)
		require.Equal(t, make([]byte, 32), inner.made.DataKey, "cleared")
		inner.made.RequiredContextKeys[0] = "x"
		inner.made.EncryptionContext["r"] = "x"
		clear(inner.made.EncryptedDataKeys[0].Ciphertext)
		inner.made.SigningKey.D.SetInt64(1)
		require.Equal(t, []string{"r"}, m.RequiredContextKeys, name)
		require.Equal(t, "2", m.EncryptionContext["r"], name)
		require.NotEqual(t, big.NewInt(1), m.SigningKey.D, name)

		stored := maps.Clone(m.EncryptionContext)
		delete(stored, "r")
		read, err := decryptionMaterials(t, p, &keyprovider.DecryptionRequest{
			Suite: signing, EncryptionContext: stored, ReproducedContext: map[string]string{"r": "2"}, EncryptedDataKeys: m.EncryptedDataKeys})
		require.NoError(t, err)
		require.Equal(t, make([]byte, 32), inner.read.DataKey, "cleared")
		inner.read.RequiredContextKeys[0] = "x"
		inner.read.EncryptionContext["r"] = "x"
		inner.read.VerificationKey.X.SetInt64(1)
		require.Equal(t, m.DataKey, read.DataKey, name)
		require.Equal(t, []string{"r"}, read.RequiredContextKeys, name)
		require.Equal(t, "2", read.EncryptionContext["r"], name)
		require.Equal(t, m.SigningKey.X, read.VerificationKey.X, name)
	}
}

// keeping is a manager that keeps what it returned last.
type keeping struct {
	keyprovider.ManagerOnly
	keyprovider.MaterialsManager
	made *keyprovider.EncryptionMaterials
	read *keyprovider.DecryptionMaterials
}

func (k *keeping) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (m *keyprovider.EncryptionMaterials, err error) {
	k.made, err = k.MaterialsManager.EncryptionMaterials(ctx, req)
	return k.made, err
}

func (k *keeping) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (m *keyprovider.DecryptionMaterials, err error) {
	k.read, err = k.MaterialsManager.DecryptionMaterials(ctx, req)
	return k.read, err
}

// meddler is a manager that changes its requests and then fails.
type meddler struct {
	keyprovider.ManagerOnly
	encrypt func(*keyprovider.EncryptionRequest)
	decrypt func(*keyprovider.DecryptionRequest)
}

func (m *meddler) EncryptionMaterials(_ context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	m.encrypt(req)
	return nil, errBroken
}

func (m *meddler) DecryptionMaterials(_ context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	m.decrypt(req)
	return nil, errBroken
}

// Zeros are memory that was cleared, whoever hands them out.
func TestDataKeysOfZerosAreRefused(t *testing.T) {
	zeros := &keyprovider.DataKey{Plaintext: make([]byte, 32), Encrypted: keyprovider.EncryptedDataKey{Ciphertext: []byte{1}}}
	p := &stub{dataKey: zeros, keys: []keyprovider.MasterKey{&stubKey{generate: func(context.Context, *keyprovider.Request) (*keyprovider.DataKey, error) {
		return zeros, nil
	}}}}
	_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id})
	require.ErrorContains(t, err, "all zeros")
	_, err = decryptionMaterials(t, p, &keyprovider.DecryptionRequest{Suite: id})
	require.ErrorContains(t, err, "all zeros")
	_, err = newMulti(t, p, p).DecryptDataKey(t.Context(), request(), nil)
	require.ErrorContains(t, err, "all zeros")
}

func TestEncryptedDataKeysWithoutCiphertextAreRefused(t *testing.T) {
	empty := &stubKey{encrypt: func(context.Context, *keyprovider.Request, []byte) (keyprovider.EncryptedDataKey, error) {
		return keyprovider.EncryptedDataKey{ProviderID: "empty"}, nil
	}}
	_, err := encryptionMaterials(t, &stub{keys: []keyprovider.MasterKey{empty}}, &keyprovider.EncryptionRequest{Suite: id})
	require.ErrorContains(t, err, "the master key returned an encrypted data key without ciphertext")
	_, err = encryptionMaterials(t, &stub{keys: []keyprovider.MasterKey{&stubKey{}, &stubKey{}, empty}}, &keyprovider.EncryptionRequest{Suite: id})
	require.ErrorContains(t, err, "master key 3: the master key returned an encrypted data key without ciphertext")
}

// A key that panics on a goroutine of the manager's does so on the caller's, who
// can recover, and the data key is cleared.
func TestAPanicOfAFurtherKeyReachesTheCaller(t *testing.T) {
	for _, value := range []any{"broken", errBroken, runtime.Error(nil)} {
		p := newFurtherKeys(3, func(ctx context.Context, i int) error {
			if i == 1 {
				panic(value)
			}
			<-ctx.Done() // which the panic ends
			return ctx.Err()
		})
		func() {
			defer func() {
				got := recover()
				require.NotNil(t, got)
				if value != runtime.Error(nil) {
					require.Equal(t, value, got)
				}
			}()
			_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id})
			t.Error("returned", err)
		}()
		require.Equal(t, make([]byte, 32), p.generated.Plaintext)
	}
}

// So does one that ends its goroutine: its entry is not lost silently, and
// nobody waits for it.
func TestGoexitOfAFurtherKeyReachesTheCaller(t *testing.T) {
	p := newFurtherKeys(40, func(ctx context.Context, i int) error {
		if i%2 == 1 {
			runtime.Goexit()
		}
		<-ctx.Done()
		return ctx.Err()
	})
	returned := make(chan bool)
	go func() {
		r := false
		defer func() { returned <- r }()
		_, _ = keyprovider.Materials(p).EncryptionMaterials(context.Background(), &keyprovider.EncryptionRequest{Suite: id})
		r = true
	}()
	require.False(t, <-returned)
	require.Equal(t, make([]byte, 32), p.generated.Plaintext)
}

// A signing key whose public half is another's makes messages that nobody can
// verify. Managers under Cache and RequireContext are checked by these.
func TestASigningKeyThatDoesNotFitIsRefused(t *testing.T) {
	id := suite.AES256GCMHKDFSHA512CommitKeyECDSAP384
	good, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	bad := &ecdsa.PrivateKey{PublicKey: good.PublicKey, D: new(big.Int).Add(good.D, big.NewInt(1))}
	for _, key := range []*ecdsa.PrivateKey{good, bad} {
		inner := &signer{key: key}
		required, err := keyprovider.RequireContext(inner, "r")
		require.NoError(t, err)
		for name, p := range map[string]keyprovider.MasterKeyProvider{
			"Cache":                        newCache(t, inner, keyprovider.CacheOptions{MaxAge: time.Hour}),
			"RequireContext":               required,
			"RequireContext under a Cache": newCache(t, required, keyprovider.CacheOptions{MaxAge: time.Hour}),
		} {
			materials, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: map[string]string{"r": "1"}})
			if key == good {
				require.NoError(t, err, name)
				require.NotNil(t, materials, name)
				continue
			}
			require.ErrorContains(t, err, "does not belong to its private key", name)
			require.Equal(t, make([]byte, 32), inner.dataKey, name)
		}
	}
}

// signer is a manager with a signing key of its own.
type signer struct {
	keyprovider.ManagerOnly
	key     *ecdsa.PrivateKey
	dataKey []byte
}

func (s *signer) EncryptionMaterials(_ context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	public, err := keyprovider.EncodePublicKey(&s.key.PublicKey)
	if err != nil {
		return nil, err
	}
	req.EncryptionContext[format.PublicKeyField] = public
	s.dataKey = aesKey(32)
	return &keyprovider.EncryptionMaterials{Suite: req.Suite, EncryptionContext: req.EncryptionContext, RequiredContextKeys: req.RequiredContextKeys,
		DataKey: s.dataKey, EncryptedDataKeys: []keyprovider.EncryptedDataKey{{Ciphertext: []byte{1}}}, SigningKey: s.key}, nil
}

func (*signer) DecryptionMaterials(context.Context, *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	return nil, errors.New("it only signs")
}
