package keyprovider_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
)

var errBroken = errors.New("broken")

// keyNames returns the names of stub keys.
func keyNames(keys []keyprovider.MasterKey) (names []string) {
	for _, k := range keys {
		names = append(names, k.(*stubKey).name)
	}
	return names
}

func TestMultiHasTheMasterKeysOfAllProvidersInOrder(t *testing.T) {
	nested := newMulti(t, stubKeys("c"), newMulti(t, stubKeys("d", "e")))
	p := newMulti(t, stubKeys("a", "b"), nested, stubKeys("f"))
	keys, err := p.MasterKeys(t.Context(), request())
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c", "d", "e", "f"}, keyNames(keys))
}

func TestMultiOfOneProvider(t *testing.T) {
	keys, err := newMulti(t, stubKeys("a")).MasterKeys(t.Context(), request())
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, keyNames(keys))
}

func TestMultiPassesTheRequestToAll(t *testing.T) {
	req := request()
	calls := 0
	see := func(_ context.Context, got *keyprovider.Request) ([]keyprovider.MasterKey, error) {
		calls++
		require.Equal(t, request(), got)
		clear(got.EncryptionContext) // which changes nothing for the others
		return []keyprovider.MasterKey{&stubKey{}}, nil
	}
	_, err := newMulti(t, &stub{masterKeys: see}, &stub{masterKeys: see}).MasterKeys(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, 2, calls)
}

func TestMultiEncryptionFailsIfAnyProviderFails(t *testing.T) {
	for name, test := range map[string]struct {
		bad  keyprovider.MasterKeyProvider
		is   error
		want string
	}{
		"error":        {&stub{keysErr: errBroken}, errBroken, "broken"},
		"decrypt only": {&stub{keysErr: fmt.Errorf("a key: %w", keyprovider.ErrDecryptOnly)}, keyprovider.ErrDecryptOnly, "can only decrypt"},
		"no key":       {&stub{}, nil, "has no master key"},
	} {
		t.Run(name, func(t *testing.T) {
			for position := range 3 {
				children := []keyprovider.MasterKeyProvider{stubKeys("a"), stubKeys("b"), stubKeys("c")}
				children[position] = test.bad
				keys, err := newMulti(t, children[0], children[1:]...).MasterKeys(t.Context(), request())
				require.Nil(t, keys)
				require.ErrorContains(t, err, fmt.Sprintf("provider %d", position+1))
				require.ErrorContains(t, err, test.want)
				if test.is != nil {
					require.ErrorIs(t, err, test.is)
				}
			}
		})
	}
}

func TestDecryptOnlyChildFailsEncryptionOfANestedMulti(t *testing.T) {
	private, err := keyprovider.NewRawRSA("namespace", "name", nil, rsaKey(), keyprovider.OAEPSHA256)
	require.NoError(t, err)
	p := newMulti(t, newAES(t, "a", 32), newMulti(t, newAES(t, "b", 32), private))
	materials, err := keyprovider.Materials(p).EncryptionMaterials(t.Context(), &keyprovider.EncryptionRequest{})
	require.Nil(t, materials)
	require.ErrorIs(t, err, keyprovider.ErrDecryptOnly)
}

func TestMultiAsksProvidersInOrderUntilOneDecrypts(t *testing.T) {
	req := request()
	entries := []keyprovider.EncryptedDataKey{{ProviderID: "x"}, {ProviderID: "y"}}
	want := &keyprovider.DataKey{Plaintext: aesKey(32), Encrypted: entries[1]}
	var asked []string
	child := func(name string, key *keyprovider.DataKey) *stub {
		return &stub{decrypt: func(_ context.Context, got *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
			asked = append(asked, name)
			require.Equal(t, request(), got)
			clear(got.EncryptionContext) // which changes nothing for the others
			require.Equal(t, entries, keys, "each gets all entries")
			if key == nil {
				return nil, &keyprovider.DecryptError{Causes: []error{errBroken}}
			}
			return key, nil
		}}
	}
	p := newMulti(t, child("a", nil), newMulti(t, child("b", nil), child("c", want), child("d", want)), child("e", want))
	key, err := p.DecryptDataKey(t.Context(), req, entries)
	require.NoError(t, err)
	require.Same(t, want, key)
	require.Equal(t, []string{"a", "b", "c"}, asked)
}

func TestMultiDecryptsWithAnyOfItsProviders(t *testing.T) {
	aes, rsa := newAES(t, "first", 32), newRSA(t, "second", keyprovider.OAEPSHA256)
	both := newMulti(t, aes, rsa)
	materials, err := keyprovider.Materials(both).EncryptionMaterials(t.Context(), &keyprovider.EncryptionRequest{Suite: id})
	require.NoError(t, err)
	require.Len(t, materials.EncryptedDataKeys, 2)
	req := &keyprovider.Request{Suite: id, EncryptionContext: materials.EncryptionContext}
	for i, p := range []keyprovider.MasterKeyProvider{aes, rsa, newMulti(t, newAES(t, "third", 16), rsa)} {
		key, err := p.DecryptDataKey(t.Context(), req, materials.EncryptedDataKeys)
		require.NoError(t, err)
		require.Equal(t, materials.DataKey, key.Plaintext)
		require.Equal(t, materials.EncryptedDataKeys[min(i, 1)], key.Encrypted)
	}
}

func TestMultiCollectsTheCausesOfAll(t *testing.T) {
	second := errors.New("second")
	third := errors.New("third")
	p := newMulti(t,
		&stub{decryptErr: &keyprovider.DecryptError{Causes: []error{errBroken, second}}},
		&stub{decryptErr: &keyprovider.DecryptError{Causes: []error{keyprovider.ErrNoMatch}}},
		&stub{decryptErr: fmt.Errorf("outer: %w", third)},
	)
	causes := requireRefused(t, p, request(), keyprovider.EncryptedDataKey{})
	require.Len(t, causes, 3, "what did not match explains nothing beside what was tried")
	require.Equal(t, []error{errBroken, second}, causes[:2])
	require.ErrorIs(t, causes[2], third)
	require.EqualError(t, causes[2], "provider 3: outer: third")
	_, err := p.DecryptDataKey(t.Context(), request(), nil)
	require.NotErrorIs(t, err, keyprovider.ErrNoMatch)
}

func TestMultiThatMatchesNothingSaysSoForAll(t *testing.T) {
	p := newMulti(t, newAES(t, "first", 32), newMulti(t, newAES(t, "second", 32), newRSA(t, "third", keyprovider.PKCS1v15)))
	causes := requireRefused(t, p, request(), keyprovider.EncryptedDataKey{ProviderID: "other"})
	require.Len(t, causes, 3)
	for i, name := range []string{"first", "second", "third"} {
		require.ErrorIs(t, causes[i], keyprovider.ErrNoMatch)
		require.ErrorContains(t, causes[i], name)
	}
}

func TestMultiSkipsAChildThatReturnsNoProperKey(t *testing.T) {
	short := &keyprovider.DataKey{Plaintext: aesKey(31)}
	want := &keyprovider.DataKey{Plaintext: aesKey(32)}
	key, err := newMulti(t, &stub{}, &stub{dataKey: short}, &stub{dataKey: want}).DecryptDataKey(t.Context(), request(), nil)
	require.NoError(t, err)
	require.Same(t, want, key)
	require.Equal(t, make([]byte, 31), short.Plaintext, "what is thrown away is cleared")

	causes := requireRefused(t, newMulti(t, &stub{}, &stub{dataKey: short}), request())
	require.ErrorContains(t, causes[0], "provider 1: the provider returned no data key and no error")
	require.ErrorContains(t, causes[1], "provider 2: the provider returned a data key of 31 bytes")
}

func TestMultiStopsWhenTheContextIsDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	last := &stub{dataKey: &keyprovider.DataKey{Plaintext: aesKey(32)}}
	p := newMulti(t, &stub{decrypt: func(ctx context.Context, _ *keyprovider.Request, _ []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
		cancel()
		return nil, ctx.Err()
	}}, last)
	key, err := p.DecryptDataKey(ctx, request(), nil)
	require.Nil(t, key)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, last.decryptions)
	key, err = newMulti(t, last).DecryptDataKey(ctx, request(), nil)
	require.Nil(t, key)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, last.decryptions)
}

func TestRawProvidersStopWhenTheContextIsDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, p := range []keyprovider.MasterKeyProvider{newAES(t, "name", 32), newRSA(t, "name", keyprovider.OAEPSHA256)} {
		edk := generate(t, p, request()).Encrypted
		key, err := p.DecryptDataKey(ctx, request(), []keyprovider.EncryptedDataKey{edk})
		require.Nil(t, key)
		require.ErrorIs(t, err, context.Canceled)
	}
}

// manager is a materials manager of a user's.
type manager struct {
	keyprovider.ManagerOnly
	inner      keyprovider.MaterialsManager
	encryption func(*keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials
	decryption func(*keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials
	encrypted  []*keyprovider.EncryptionRequest
	decrypted  []*keyprovider.DecryptionRequest
}

func (m *manager) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	m.encrypted = append(m.encrypted, req)
	materials, err := m.inner.EncryptionMaterials(ctx, req)
	if err == nil && m.encryption != nil {
		materials = m.encryption(materials)
	}
	return materials, err
}

func (m *manager) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	m.decrypted = append(m.decrypted, req)
	materials, err := m.inner.DecryptionMaterials(ctx, req)
	if err == nil && m.decryption != nil {
		materials = m.decryption(materials)
	}
	return materials, err
}

func TestMultiRefusesNilAndManagers(t *testing.T) {
	good := newAES(t, "name", 32)
	required, err := keyprovider.RequireContext(good, "key")
	require.NoError(t, err)
	for _, test := range []struct {
		name string
		bad  keyprovider.MasterKeyProvider
		want string
	}{
		{"nil", nil, "is nil"},
		{"nil RawAES", (*keyprovider.RawAES)(nil), "is nil"},
		{"nil RawRSA", (*keyprovider.RawRSA)(nil), "is nil"},
		{"nil of a user's", (*stub)(nil), "is nil"},
		{"nil manager", (*manager)(nil), "is nil"},
		{"RequireContext", required, "is a materials manager, which belongs over the Multi"},
		{"manager of a user's", &manager{}, "is a materials manager, which belongs over the Multi"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := keyprovider.Multi(test.bad)
			require.Nil(t, p)
			require.ErrorContains(t, err, "keyprovider: Multi: provider 1 "+test.want)
			p, err = keyprovider.Multi(good, good, test.bad)
			require.Nil(t, p)
			require.ErrorContains(t, err, "keyprovider: Multi: provider 3 "+test.want)
		})
	}
}

func TestMultiCopiesItsList(t *testing.T) {
	others := []keyprovider.MasterKeyProvider{stubKeys("b"), stubKeys("c")}
	p := newMulti(t, stubKeys("a"), others...)
	clear(others)
	keys, err := p.MasterKeys(t.Context(), request())
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, keyNames(keys))
}
