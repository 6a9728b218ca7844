package keyprovider_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"maps"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// Whatever a caller does to materials, or to what it asked with, the next one
// gets them as they were.
func TestCachedMaterialsAreCopies(t *testing.T) {
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
		s := newService(t, 0)
		c := newCache(t, s, keyprovider.CacheOptions{})
		request := func() *keyprovider.EncryptionRequest {
			return &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: map[string]string{"a": "1", "b": "2"}, RequiredContextKeys: []string{"b"}}
		}
		req := request()
		m, err := c.EncryptionMaterials(bg, req)
		require.NoError(t, err)
		want := *m
		want.EncryptionContext, want.RequiredContextKeys, want.DataKey = maps.Clone(m.EncryptionContext), []string{"b"}, bytes.Clone(m.DataKey)
		want.EncryptedDataKeys = []keyprovider.EncryptedDataKey{{ProviderID: "namespace",
			ProviderInfo: bytes.Clone(m.EncryptedDataKeys[0].ProviderInfo), Ciphertext: bytes.Clone(m.EncryptedDataKeys[0].Ciphertext)}}
		if id.Signing() {
			want.SigningKey = &ecdsa.PrivateKey{PublicKey: *clonePublic(&m.SigningKey.PublicKey), D: new(big.Int).Set(m.SigningKey.D)}
		}
		decryption := func() *keyprovider.DecryptionRequest {
			return &keyprovider.DecryptionRequest{Suite: id, EncryptedDataKeys: []keyprovider.EncryptedDataKey{{ProviderID: "namespace",
				ProviderInfo: bytes.Clone(want.EncryptedDataKeys[0].ProviderInfo), Ciphertext: bytes.Clone(want.EncryptedDataKeys[0].Ciphertext)}},
				EncryptionContext: maps.Clone(want.EncryptionContext)}
		}
		toRead := decryption()
		read, err := c.DecryptionMaterials(bg, toRead)
		require.NoError(t, err)
		wantRead := *read
		wantRead.EncryptionContext, wantRead.DataKey = maps.Clone(read.EncryptionContext), bytes.Clone(read.DataKey)
		wantRead.OpenedBy = &want.EncryptedDataKeys[0]
		if id.Signing() {
			wantRead.VerificationKey = clonePublic(read.VerificationKey)
		}
		for range 3 { // the first were those of the provider, the others those of the cache
			clear(req.EncryptionContext)
			req.RequiredContextKeys[0] = "x"
			clear(m.DataKey)
			clear(m.EncryptionContext)
			m.RequiredContextKeys[0] = "x"
			clear(m.EncryptedDataKeys[0].Ciphertext)
			clear(m.EncryptedDataKeys[0].ProviderInfo)
			clear(m.EncryptedDataKeys)
			if id.Signing() {
				m.SigningKey.D.SetInt64(1)
				m.SigningKey.X.SetInt64(1)
			}
			req = request()
			m, err = c.EncryptionMaterials(bg, req)
			require.NoError(t, err)
			_ = append(m.DataKey, 1, 2, 3)
			_ = append(m.EncryptedDataKeys[0].ProviderInfo, 1, 2, 3)
			require.Equal(t, want, *m)

			clear(toRead.EncryptionContext)
			clear(toRead.EncryptedDataKeys[0].Ciphertext)
			clear(read.DataKey)
			read.EncryptionContext["a"] = "changed"
			if id.Signing() {
				read.VerificationKey.Y.SetInt64(1)
			}
			clear(read.OpenedBy.ProviderInfo)
			clear(read.OpenedBy.Ciphertext)
			toRead = decryption()
			read, err = c.DecryptionMaterials(bg, toRead)
			require.NoError(t, err)
			require.Equal(t, wantRead, *read)
		}
		require.EqualValues(t, 1, s.generated.Load())
		require.EqualValues(t, 1, s.decrypted.Load())
	}
}

func clonePublic(key *ecdsa.PublicKey) *ecdsa.PublicKey {
	return &ecdsa.PublicKey{Curve: key.Curve, X: new(big.Int).Set(key.X), Y: new(big.Int).Set(key.Y)}
}

// What is in the cache for one request is not for all that ask for it: policy,
// key limit, required keys and reproduced context are checked again.
func TestCacheChecksEveryHit(t *testing.T) {
	s := newService(t, 0)
	p := newMulti(t, s, newAES(t, "second", 16), newAES(t, "third", 16))
	c := newCache(t, p, keyprovider.CacheOptions{})
	strictest, lax := &esdk.Client{}, &esdk.Client{CommitmentPolicy: suite.RequireEncryptAllowDecrypt}
	forbid := &esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt}
	old := &esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA384ECDSAP384}

	// Policy, when encrypting: a named suite and the policy's own.
	oldMessage, _, err := forbid.Encrypt(bg, nil, c, old)
	require.NoError(t, err)
	for _, client := range []*esdk.Client{strictest, lax} {
		_, _, err = client.Encrypt(bg, nil, c, old)
		require.ErrorIs(t, err, esdk.ErrCommitmentPolicy)
		_, err = c.EncryptionMaterials(bg, &keyprovider.EncryptionRequest{Suite: old.Suite, CommitmentPolicy: client.CommitmentPolicy})
		require.ErrorContains(t, err, "does not allow encryption")
	}
	_, h, err := forbid.Encrypt(bg, nil, c, nil)
	require.NoError(t, err)
	require.Equal(t, old.Suite, h.Suite)
	_, h, err = strictest.Encrypt(bg, nil, c, nil)
	require.NoError(t, err)
	require.True(t, h.Suite.Committing())
	_, err = c.EncryptionMaterials(bg, &keyprovider.EncryptionRequest{CommitmentPolicy: 77})
	require.Error(t, err)

	// Policy, when decrypting.
	for range 2 {
		_, _, err = lax.Decrypt(bg, oldMessage, c, nil)
		require.NoError(t, err)
		_, _, err = strictest.Decrypt(bg, oldMessage, c, nil)
		require.ErrorIs(t, err, esdk.ErrCommitmentPolicy)
	}
	stored, err := format.ReadHeader(bytes.NewReader(oldMessage), 0)
	require.NoError(t, err)
	_, err = c.DecryptionMaterials(bg, &keyprovider.DecryptionRequest{Suite: old.Suite, EncryptedDataKeys: stored.EncryptedDataKeys, EncryptionContext: stored.EncryptionContext})
	require.ErrorContains(t, err, "does not allow decryption")

	// Key limit: at it and one less.
	calls := s.generated.Load()
	_, _, err = (&esdk.Client{MaxEncryptedDataKeys: 3}).Encrypt(bg, nil, c, nil)
	require.NoError(t, err)
	for range 2 {
		_, _, err = (&esdk.Client{MaxEncryptedDataKeys: 2}).Encrypt(bg, nil, c, nil)
		require.ErrorIs(t, err, esdk.ErrTooManyDataKeys)
		_, err = c.EncryptionMaterials(bg, &keyprovider.EncryptionRequest{MaxEncryptedDataKeys: 2})
		require.ErrorIs(t, err, format.ErrTooManyDataKeys)
	}
	require.Equal(t, calls, s.generated.Load())

	// Required keys and reproduced context.
	ec := map[string]string{"a": "1", "b": "2"}
	_, _, err = strictest.Encrypt(bg, nil, c, &esdk.EncryptOptions{EncryptionContext: ec})
	require.NoError(t, err)
	required := &esdk.EncryptOptions{EncryptionContext: ec, RequiredContextKeys: []string{"b"}}
	message, _, err := strictest.Encrypt(bg, nil, c, required)
	require.NoError(t, err)
	require.Equal(t, calls+2, s.generated.Load(), "with and without required keys are different entries")
	for range 2 {
		for _, test := range []struct {
			reproduced map[string]string
			ok         bool
			names      string
		}{
			{map[string]string{"b": "2"}, true, ""},
			{ec, true, ""},
			{nil, false, ""},
			{map[string]string{"b": "secret"}, false, `"b"`},
			{map[string]string{"b": "2", "a": "secret"}, false, `"a"`},
			{map[string]string{"b": "2", "c": "secret"}, false, `"c"`},
			{map[string]string{"b": "2", "aws-crypto-x": "secret"}, false, `"aws-crypto-x"`},
		} {
			_, _, err := strictest.Decrypt(bg, message, c, &esdk.DecryptOptions{EncryptionContext: test.reproduced})
			require.Equal(t, test.ok, err == nil, "%v: %v", test.reproduced, err)
			if err != nil {
				require.ErrorContains(t, err, test.names)
				require.NotContains(t, err.Error(), "secret")
			}
		}
	}
}

// A changing manager is one whose answers depend on what the test sets.
type changing struct {
	keyprovider.ManagerOnly
	inner   keyprovider.MasterKeyProvider
	calls   int
	encrypt func(*keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials
	decrypt func(*keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials
}

func (m *changing) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	m.calls++
	materials, err := keyprovider.Materials(m.inner).EncryptionMaterials(ctx, req)
	if err == nil && m.encrypt != nil {
		materials = m.encrypt(materials)
	}
	return materials, err
}

func (m *changing) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	m.calls++
	materials, err := keyprovider.Materials(m.inner).DecryptionMaterials(ctx, req)
	if err == nil && m.decrypt != nil {
		materials = m.decrypt(materials)
	}
	return materials, err
}

// Materials that Encrypt or Decrypt will refuse, and those of a suite without
// key derivation, are handed on as they are and never kept.
func TestCacheKeepsNoBadMaterials(t *testing.T) {
	type encryption = keyprovider.EncryptionMaterials
	type decryption = keyprovider.DecryptionMaterials
	opts := &esdk.EncryptOptions{EncryptionContext: map[string]string{"a": "1", "b": "2"}, RequiredContextKeys: []string{"b"}}
	reproduced := &esdk.DecryptOptions{EncryptionContext: map[string]string{"b": "2"}}
	message, _ := mustEncrypt(t, newAES(t, "key", 32), 3, opts)
	for name, change := range map[string]func(*encryption) *encryption{
		"nothing":                func(*encryption) *encryption { return nil },
		"empty":                  func(*encryption) *encryption { return &encryption{} },
		"short data key":         func(m *encryption) *encryption { m.DataKey = m.DataKey[:16]; return m },
		"no encrypted data key":  func(m *encryption) *encryption { m.EncryptedDataKeys = nil; return m },
		"no signing key":         func(m *encryption) *encryption { m.SigningKey = nil; return m },
		"policy":                 func(m *encryption) *encryption { m.Suite = suite.AES256GCMHKDFSHA384ECDSAP384; return m },
		"no key derivation":      func(m *encryption) *encryption { m.Suite = suite.AES256GCM; return m },
		"required key not in it": func(m *encryption) *encryption { m.RequiredContextKeys = []string{"x"}; return m },
		"required key dropped":   func(m *encryption) *encryption { m.RequiredContextKeys = nil; return m },
		"unknown suite":          func(m *encryption) *encryption { m.Suite = 0x0072; return m },
		"too many encrypted keys": func(m *encryption) *encryption {
			m.EncryptedDataKeys = make([]keyprovider.EncryptedDataKey, 1<<16)
			return m
		},
	} {
		t.Run("encryption, "+name, func(t *testing.T) {
			m := &changing{inner: newAES(t, "key", 32), encrypt: change}
			c := newCache(t, m, keyprovider.CacheOptions{})
			for i := range 3 {
				_, _, err := esdk.Encrypt(bg, nil, c, opts)
				require.Error(t, err)
				require.Equal(t, i+1, m.calls)
				require.Zero(t, c.Stats().Entries)
			}
			m.encrypt = nil
			mustEncrypt(t, c, 1, opts)
			require.Equal(t, 1, c.Stats().Entries)
		})
	}
	for name, change := range map[string]func(*decryption) *decryption{
		"nothing":                func(*decryption) *decryption { return nil },
		"empty":                  func(*decryption) *decryption { return &decryption{} },
		"short data key":         func(m *decryption) *decryption { m.DataKey = m.DataKey[:16]; return m },
		"no verification key":    func(m *decryption) *decryption { m.VerificationKey = nil; return m },
		"another suite":          func(m *decryption) *decryption { m.Suite = suite.AES256GCMHKDFSHA384ECDSAP384; return m },
		"required key not in it": func(m *decryption) *decryption { m.RequiredContextKeys = []string{"b", "x"}; return m },
		"other reproduced value": func(m *decryption) *decryption { m.EncryptionContext["b"] = "3"; return m },
		"no reproduced pair": func(m *decryption) *decryption {
			delete(m.EncryptionContext, "b")
			m.RequiredContextKeys = nil
			return m
		},
		"not bound": func(m *decryption) *decryption { m.RequiredContextKeys = nil; return m },
	} {
		t.Run("decryption, "+name, func(t *testing.T) {
			m := &changing{inner: newAES(t, "key", 32), decrypt: change}
			c := newCache(t, m, keyprovider.CacheOptions{})
			for i := range 3 {
				_, _, err := esdk.Decrypt(bg, message, c, reproduced)
				require.Error(t, err)
				require.Equal(t, i+1, m.calls)
				require.Zero(t, c.Stats().Entries)
			}
			m.decrypt = nil
			_, _, err := esdk.Decrypt(bg, message, c, reproduced)
			require.NoError(t, err)
			require.Equal(t, 1, c.Stats().Entries)
		})
	}
}

// A manager under the cache that chooses a suite without key derivation is
// asked for every message, though no suite was named.
func TestCacheOverAManagerThatChoosesTheSuite(t *testing.T) {
	for id, entries := range map[suite.ID]int{suite.AES256GCM: 0, suite.AES256GCMHKDFSHA256: 1} {
		m := &choosing{inner: newAES(t, "key", 32), id: id}
		c := newCache(t, m, keyprovider.CacheOptions{})
		client := &esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt}
		for range 3 {
			_, h, err := client.Encrypt(bg, nil, c, nil)
			require.NoError(t, err)
			require.Equal(t, id, h.Suite)
		}
		require.Equal(t, entries, c.Stats().Entries)
	}
}

type choosing struct {
	keyprovider.ManagerOnly
	inner keyprovider.MasterKeyProvider
	id    suite.ID
}

func (m *choosing) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	inner := *req
	inner.Suite = m.id
	return keyprovider.Materials(m.inner).EncryptionMaterials(ctx, &inner)
}

func (m *choosing) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	return keyprovider.Materials(m.inner).DecryptionMaterials(ctx, req)
}

// RequireContext holds over a cache and under one, also for hits.
func TestRequireContextAndCache(t *testing.T) {
	for _, over := range []bool{true, false} {
		s := newService(t, 0)
		var p keyprovider.MasterKeyProvider = s
		var err error
		if over {
			p, err = keyprovider.RequireContext(newCache(t, s, keyprovider.CacheOptions{}), "tenant")
		} else {
			p, err = keyprovider.RequireContext(s, "tenant")
			p = newCache(t, p, keyprovider.CacheOptions{})
		}
		require.NoError(t, err)
		var messages [][]byte
		for range 3 {
			for _, tenant := range []string{"forty-two", "forty-three"} {
				message, _ := mustEncrypt(t, p, 3, &esdk.EncryptOptions{EncryptionContext: context1(tenant)})
				require.NotContains(t, string(message), "forty")
				messages = append(messages, message)
			}
			_, _, err = esdk.Encrypt(bg, nil, p, &esdk.EncryptOptions{EncryptionContext: map[string]string{"other": "forty"}})
			require.ErrorIs(t, err, esdk.ErrEncryptionContext)
			require.ErrorContains(t, err, `"tenant"`)
			require.NotContains(t, err.Error(), "forty")
		}
		require.EqualValues(t, 2, s.generated.Load())
		for i, message := range messages {
			right, wrong := "forty-two", "forty-three"
			if i%2 == 1 {
				right, wrong = wrong, right
			}
			_, h, err := esdk.Decrypt(bg, message, p, &esdk.DecryptOptions{EncryptionContext: context1(right)})
			require.NoError(t, err)
			require.Equal(t, right, h.EncryptionContext["tenant"])
			_, _, err = esdk.Decrypt(bg, message, p, &esdk.DecryptOptions{EncryptionContext: context1(wrong)})
			require.Error(t, err)
			require.ErrorContains(t, err, "tenant")
			require.NotContains(t, err.Error(), "forty")
			_, _, err = esdk.Decrypt(bg, message, p, nil)
			require.ErrorIs(t, err, esdk.ErrEncryptionContext)
			require.ErrorContains(t, err, `"tenant"`)
		}
		require.EqualValues(t, 2+6, s.decrypted.Load(), "two data keys, and six attempts with the wrong tenant, which are not kept")
	}
}

// hiding wraps a provider the careless way: by embedding.
type hiding struct{ keyprovider.MasterKeyProvider }

// What hides a cache, or another manager, fails instead of turning it off.
func TestHiddenManagersFailClosed(t *testing.T) {
	aes := newAES(t, "key", 32)
	required, err := keyprovider.RequireContext(aes, "tenant")
	require.NoError(t, err)
	message, _ := mustEncrypt(t, aes, 1, nil)
	for _, manager := range []keyprovider.MasterKeyProvider{newCache(t, aes, keyprovider.CacheOptions{}), required, slowManager{inner: aes}} {
		for _, p := range []keyprovider.MasterKeyProvider{hiding{manager}, newCache(t, hiding{manager}, keyprovider.CacheOptions{})} {
			_, _, err := esdk.Encrypt(bg, nil, p, nil)
			require.ErrorIs(t, err, keyprovider.ErrManagerOnly)
			_, _, err = esdk.Decrypt(bg, message, p, nil)
			require.ErrorIs(t, err, keyprovider.ErrManagerOnly)
		}
		_, err = keyprovider.Multi(aes, manager)
		require.ErrorContains(t, err, "materials manager")
	}
}
