package keyprovider_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
)

func requireContext(t testing.TB, p keyprovider.MasterKeyProvider, keys ...string) keyprovider.MasterKeyProvider {
	t.Helper()
	r, err := keyprovider.RequireContext(p, keys...)
	require.NoError(t, err)
	return r
}

// over returns a manager of a user's over p.
func over(p keyprovider.MasterKeyProvider) *manager {
	return &manager{inner: keyprovider.Materials(p)}
}

func TestRequireContextRefusesWhatMakesNoSense(t *testing.T) {
	good := newAES(t, "name", 32)
	for name, test := range map[string]struct {
		p    keyprovider.MasterKeyProvider
		keys []string
		want string
	}{
		"nil":                    {nil, []string{"key"}, "nil provider"},
		"nil pointer":            {(*keyprovider.RawAES)(nil), []string{"key"}, "nil provider"},
		"nil manager":            {(*manager)(nil), []string{"key"}, "nil provider"},
		"no keys":                {good, nil, "without keys"},
		"empty list":             {good, []string{}, "without keys"},
		"reserved key":           {good, []string{"a", "aws-crypto-public-key"}, "is reserved"},
		"reserved key, shortest": {good, []string{"aws-crypto-"}, "is reserved"},
	} {
		p, err := keyprovider.RequireContext(test.p, test.keys...)
		require.Nil(t, p, name)
		require.ErrorContains(t, err, test.want, name)
		require.ErrorContains(t, err, "keyprovider: RequireContext", name)
	}
}

func TestRequiredPairsAreBoundAndMarked(t *testing.T) {
	p := requireContext(t, newAES(t, "name", 32), "tenant", "user")
	ec := map[string]string{"tenant": "1", "user": "", "more": "2"}
	materials, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: ec})
	require.NoError(t, err)
	require.Equal(t, ec, materials.EncryptionContext)
	require.Equal(t, []string{"tenant", "user"}, materials.RequiredContextKeys)

	req := &keyprovider.DecryptionRequest{
		Suite: id, EncryptedDataKeys: materials.EncryptedDataKeys,
		EncryptionContext: map[string]string{"more": "2"}, ReproducedContext: map[string]string{"tenant": "1", "user": ""},
	}
	decrypted, err := decryptionMaterials(t, p, req)
	require.NoError(t, err)
	require.Equal(t, materials.DataKey, decrypted.DataKey)
	require.Equal(t, ec, decrypted.EncryptionContext)
	require.Equal(t, []string{"tenant", "user"}, decrypted.RequiredContextKeys)

	req.ReproducedContext = map[string]string{"tenant": "other", "user": ""}
	_, err = decryptionMaterials(t, p, req)
	var failure *keyprovider.DecryptError
	require.ErrorAs(t, err, &failure, "another value does not unwrap the data key")
}

func TestMissingRequiredKeyFailsBeforeTheManagerIsAsked(t *testing.T) {
	inner := over(stubKeys("a"))
	p := requireContext(t, inner, "tenant", "user")
	for _, ec := range []map[string]string{nil, {"user": "1"}, {"Tenant": "1", "user": "1"}} {
		_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: ec})
		require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
		require.ErrorContains(t, err, `the required key "tenant" is missing`)
		// A pair that the message stores is not one that the caller gave.
		_, err = decryptionMaterials(t, p, &keyprovider.DecryptionRequest{
			Suite: id, ReproducedContext: ec, EncryptionContext: map[string]string{"tenant": "1", "user": "1"},
		})
		require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
		require.ErrorContains(t, err, `the required key "tenant" is missing`)
	}
	require.Empty(t, inner.encrypted)
	require.Empty(t, inner.decrypted)
}

func TestRequiredKeysAreUnitedWithThoseOfTheRequest(t *testing.T) {
	inner := over(stubKeys("a"))
	p := requireContext(t, inner, "b", "c", "b")
	keys := append(make([]string, 0, 10), "a", "b")
	req := &keyprovider.EncryptionRequest{
		Suite: id, EncryptionContext: map[string]string{"a": "", "b": "", "c": ""}, RequiredContextKeys: keys,
		MaxPlaintextLength: 7, MaxEncryptedDataKeys: 8,
	}
	materials, err := encryptionMaterials(t, p, req)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, materials.RequiredContextKeys)
	want := *req
	want.RequiredContextKeys = []string{"a", "b", "c"}
	require.Equal(t, []*keyprovider.EncryptionRequest{&want}, inner.encrypted)
	require.Equal(t, []string{"a", "b"}, req.RequiredContextKeys, "the request is not changed")
	require.Equal(t, "", keys[:3][2], "nor what stands behind its slice")
}

func TestRequireContextPassesTheDecryptionRequestUnchanged(t *testing.T) {
	inner := over(&stub{dataKey: &keyprovider.DataKey{Plaintext: aesKey(32)}})
	req := &keyprovider.DecryptionRequest{Suite: id, ReproducedContext: map[string]string{"key": "1"}}
	_, err := decryptionMaterials(t, requireContext(t, inner, "key"), req)
	require.NoError(t, err)
	require.Len(t, inner.decrypted, 1)
	require.Equal(t, req, inner.decrypted[0])
}

func TestMaterialsThatDropARequiredKeyAreRefusedAndCleared(t *testing.T) {
	var dataKey []byte
	inner := over(newAES(t, "name", 32))
	p := requireContext(t, inner, "key")
	ec := map[string]string{"key": "1"}
	good, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: ec})
	require.NoError(t, err)

	inner.encryption = func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
		dataKey = m.DataKey
		m.RequiredContextKeys = nil
		return m
	}
	_, err = encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: ec})
	require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
	require.ErrorContains(t, err, `did not keep the key "key" required`)
	require.Equal(t, make([]byte, 32), dataKey)

	for _, altered := range []map[string]string{{}, {"key": "2"}} {
		dataKey = nil
		inner.decryption = func(m *keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials {
			dataKey = m.DataKey
			m.EncryptionContext = altered
			return m
		}
		_, err = decryptionMaterials(t, p, &keyprovider.DecryptionRequest{Suite: id, EncryptedDataKeys: good.EncryptedDataKeys, ReproducedContext: ec})
		require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
		require.ErrorContains(t, err, `the pair of the key "key"`)
		require.Equal(t, make([]byte, 32), dataKey)
	}
}

// A key is missing if the caller does not give it, whether the message stores
// its pair or not; with it, each message opens.
func TestRequireContextDemandsTheKeyForEveryMessage(t *testing.T) {
	plain := newAES(t, "name", 32)
	ec := map[string]string{"key": "1"}
	p := requireContext(t, plain, "key")
	for _, stored := range []map[string]string{nil, ec} {
		writer := keyprovider.MasterKeyProvider(p)
		if stored != nil {
			writer = plain
		}
		written, err := encryptionMaterials(t, writer, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: ec})
		require.NoError(t, err)
		req := &keyprovider.DecryptionRequest{Suite: id, EncryptedDataKeys: written.EncryptedDataKeys, EncryptionContext: stored}
		_, err = decryptionMaterials(t, p, req)
		require.ErrorIs(t, err, keyprovider.ErrEncryptionContext)
		require.ErrorContains(t, err, `"key"`)
		req.ReproducedContext = ec
		read, err := decryptionMaterials(t, p, req)
		require.NoError(t, err)
		require.Equal(t, written.DataKey, read.DataKey)
		require.Equal(t, &written.EncryptedDataKeys[0], read.OpenedBy)
		req.ReproducedContext = map[string]string{"key": "2"}
		_, err = decryptionMaterials(t, p, req)
		require.Error(t, err)
	}
}

func TestRequireContextOverAManagerThatReturnsNothing(t *testing.T) {
	inner := over(&stub{keys: stubKeys("a").keys, dataKey: &keyprovider.DataKey{Plaintext: aesKey(32)}})
	inner.encryption = func(*keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials { return nil }
	inner.decryption = func(*keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials { return nil }
	p := requireContext(t, inner, "key")
	ec := map[string]string{"key": "1"}
	_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: ec})
	require.EqualError(t, err, "the materials manager returned nothing")
	_, err = decryptionMaterials(t, p, &keyprovider.DecryptionRequest{Suite: id, ReproducedContext: ec})
	require.EqualError(t, err, "the materials manager returned nothing")
}

func TestRequireContextPassesErrorsOn(t *testing.T) {
	p := requireContext(t, &stub{keysErr: errBroken, decryptErr: errBroken}, "key")
	ec := map[string]string{"key": "1"}
	_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: ec})
	require.ErrorIs(t, err, errBroken)
	_, err = decryptionMaterials(t, p, &keyprovider.DecryptionRequest{Suite: id, ReproducedContext: ec})
	require.ErrorIs(t, err, errBroken)
}

func TestRequireContextOverRequireContext(t *testing.T) {
	p := requireContext(t, requireContext(t, newAES(t, "name", 32), "a"), "b")
	_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: map[string]string{"b": ""}})
	require.ErrorContains(t, err, `the required key "a" is missing`)
	materials, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: map[string]string{"a": "", "b": ""}})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a", "b"}, materials.RequiredContextKeys)
}

func TestRequireContextCopiesItsKeys(t *testing.T) {
	keys := []string{"a"}
	p := requireContext(t, newAES(t, "name", 32), keys...)
	keys[0] = "b"
	_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: map[string]string{"b": ""}})
	require.ErrorContains(t, err, `the required key "a" is missing`)
}

// requireManagerOnly checks that p cannot be used as a plain provider.
func requireManagerOnly(t *testing.T, p keyprovider.MasterKeyProvider) {
	t.Helper()
	keys, err := p.MasterKeys(t.Context(), request())
	require.ErrorIs(t, err, keyprovider.ErrManagerOnly)
	require.Nil(t, keys)
	key, err := p.DecryptDataKey(t.Context(), request(), nil)
	require.ErrorIs(t, err, keyprovider.ErrManagerOnly)
	require.Nil(t, key)
}

func TestManagersAreNoPlainProviders(t *testing.T) {
	requireManagerOnly(t, &manager{})
	requireManagerOnly(t, requireContext(t, newAES(t, "name", 32), "key"))
}

// A logging provider is what a user may write: it hides what it wraps.
type logging struct{ keyprovider.MasterKeyProvider }

func TestProviderThatHidesAManagerFails(t *testing.T) {
	ec := map[string]string{"key": "1"}
	for name, inner := range map[string]keyprovider.MasterKeyProvider{
		"RequireContext":      requireContext(t, newAES(t, "name", 32), "key"),
		"manager of a user's": over(newAES(t, "name", 32)),
		"hidden twice":        &logging{MasterKeyProvider: requireContext(t, newAES(t, "name", 32), "key")},
	} {
		p := &logging{MasterKeyProvider: inner}
		_, err := encryptionMaterials(t, p, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: ec})
		require.ErrorIs(t, err, keyprovider.ErrManagerOnly, name)
		_, err = decryptionMaterials(t, p, &keyprovider.DecryptionRequest{Suite: id, ReproducedContext: ec})
		require.ErrorIs(t, err, keyprovider.ErrManagerOnly, name)
		_, err = encryptionMaterials(t, newMulti(t, p), &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: ec})
		require.ErrorIs(t, err, keyprovider.ErrManagerOnly, name)
	}
	plain := &logging{MasterKeyProvider: newAES(t, "name", 32)}
	_, err := encryptionMaterials(t, plain, &keyprovider.EncryptionRequest{Suite: id})
	require.NoError(t, err, "one that wraps a plain provider works")
}
