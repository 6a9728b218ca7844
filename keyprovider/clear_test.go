package keyprovider

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/internal/keywrap"
	"github.com/esdk-go/esdk/suite"
)

func TestSharedSecretsOfRawECDHAreClearedAfterUse(t *testing.T) {
	ann, err := ecdh.P256().GenerateKey(rand.Reader)
	require.NoError(t, err)
	bob, err := ecdh.P256().GenerateKey(rand.Reader)
	require.NoError(t, err)
	static, err := NewRawECDHStatic(ann, bob.PublicKey())
	require.NoError(t, err)
	ephemeral, err := NewRawECDHEphemeral(bob.PublicKey())
	require.NoError(t, err)
	discovery, err := NewRawECDHDiscovery(bob)
	require.NoError(t, err)

	var secrets [][]byte
	for _, k := range []*RawECDH{static, ephemeral, discovery} {
		if encrypting := k.encrypting; encrypting != nil {
			k.encrypting = func() (keywrap.Agreement, []byte, error) {
				a, secret, err := encrypting()
				secrets = append(secrets, secret)
				return a, secret, err
			}
		}
		if decrypting := k.decrypting; decrypting != nil {
			k.decrypting = func(a keywrap.Agreement) ([]byte, error) {
				secret, err := decrypting(a)
				secrets = append(secrets, secret)
				return secret, err
			}
		}
	}
	requireCleared := func() {
		t.Helper()
		require.Len(t, secrets, 1)
		require.Equal(t, make([]byte, 32), secrets[0])
		secrets = nil
	}
	req := &Request{Suite: suite.AES256GCM}
	for _, writer := range []*RawECDH{static, ephemeral} {
		key, err := writer.GenerateDataKey(t.Context(), req)
		require.NoError(t, err)
		requireCleared()
		for _, reader := range []*RawECDH{static, discovery} {
			if reader == static && writer != static {
				continue
			}
			_, err = reader.DecryptDataKey(t.Context(), req, []EncryptedDataKey{key.Encrypted})
			require.NoError(t, err)
			requireCleared()
			bad := key.Encrypted
			bad.Ciphertext = make([]byte, len(bad.Ciphertext))
			_, err = reader.DecryptDataKey(t.Context(), req, []EncryptedDataKey{bad})
			require.Error(t, err)
			requireCleared()
		}
	}
}

// failingKey is a provider and its keys, and keeps what it was to encrypt.
type failingKey struct{ given []byte }

func (k *failingKey) GenerateDataKey(context.Context, *Request) (*DataKey, error) {
	return &DataKey{Plaintext: []byte("sixteen letters."), Encrypted: EncryptedDataKey{Ciphertext: []byte{1}}}, nil
}

func (k *failingKey) MasterKeys(context.Context, *Request) ([]MasterKey, error) {
	return []MasterKey{k, k}, nil
}

func (k *failingKey) DecryptDataKey(context.Context, *Request, []EncryptedDataKey) (*DataKey, error) {
	return nil, ErrNoMatch
}

func (k *failingKey) EncryptDataKey(_ context.Context, _ *Request, plaintext []byte) (EncryptedDataKey, error) {
	k.given = plaintext
	return EncryptedDataKey{}, errors.New("it fails")
}

// A further key that keeps the data key against the contract has zeros.
func TestDataKeysGivenToFurtherKeysAreCleared(t *testing.T) {
	k := new(failingKey)
	_, err := Materials(k).EncryptionMaterials(t.Context(), &EncryptionRequest{Suite: suite.AES128GCM, CommitmentPolicy: suite.ForbidEncryptAllowDecrypt})
	require.EqualError(t, err, "master key 2: it fails")
	require.Equal(t, make([]byte, 16), k.given)
}

func TestWhatRSADecryptsIsClearedUnlessItIsADataKey(t *testing.T) {
	plaintext := []byte("sixteen letters.")
	key, err := sized(plaintext, nil, 16)
	require.NoError(t, err)
	require.Equal(t, "sixteen letters.", string(key))
	for _, size := range []int{0, 15, 17, 32} {
		plaintext := []byte("sixteen letters.")
		key, err := sized(plaintext, nil, size)
		require.Equal(t, errUnwrapRSA, err)
		require.Nil(t, key)
		require.Equal(t, make([]byte, 16), plaintext)
	}
}

// What a message took in case that its refresh fails is cleared if it does not.
func TestDataKeysThatARefreshReplacesAreCleared(t *testing.T) {
	for _, ends := range []bool{true, false} {
		k, err := NewRawAES("namespace", "name", make([]byte, 32))
		require.NoError(t, err)
		c := &caching{inner: Materials(k)}
		ec := &encryptionCall{cache: c, req: &EncryptionRequest{Suite: suite.AES256GCMHKDFSHA512CommitKey}}
		_, err = ec.Load(t.Context())
		require.NoError(t, err)
		dc := &decryptionCall{cache: c, req: &DecryptionRequest{Suite: suite.AES256GCMHKDFSHA512CommitKey, EncryptedDataKeys: ec.materials.EncryptedDataKeys}}
		_, err = dc.Load(t.Context())
		require.NoError(t, err)
		old, opened := ec.materials.DataKey, dc.materials.DataKey
		require.Equal(t, old, opened)
		require.NotEqual(t, make([]byte, 32), old)
		if ends {
			_, err = ec.Load(t.Context())
			require.NoError(t, err)
			_, err = dc.Load(t.Context())
			require.NoError(t, err)
			require.NotEqual(t, make([]byte, 32), ec.materials.DataKey)
			require.NotEqual(t, make([]byte, 32), dc.materials.DataKey)
		} else {
			ec.discard()
			dc.discard()
		}
		require.Equal(t, make([]byte, 32), old)
		require.Equal(t, make([]byte, 32), opened)
	}
}
