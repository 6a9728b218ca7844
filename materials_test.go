package esdk_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A manager changes what the manager under it returns.
type manager struct {
	keyprovider.ManagerOnly
	inner   keyprovider.MasterKeyProvider
	encrypt func(*keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials
	decrypt func(*keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials
	asked   *keyprovider.EncryptionRequest
	told    *keyprovider.DecryptionRequest
	given   [][]byte // the data keys that were handed out
}

func (m *manager) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	m.asked = req
	materials, err := keyprovider.Materials(m.inner).EncryptionMaterials(ctx, req)
	if err == nil && m.encrypt != nil {
		materials = m.encrypt(materials)
	}
	if materials != nil {
		m.given = append(m.given, materials.DataKey)
	}
	return materials, err
}

func (m *manager) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	m.told = req
	materials, err := keyprovider.Materials(m.inner).DecryptionMaterials(ctx, req)
	if err == nil && m.decrypt != nil {
		materials = m.decrypt(materials)
	}
	if materials != nil {
		m.given = append(m.given, materials.DataKey)
	}
	return materials, err
}

func newKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return key
}

// Encrypt trusts no manager: materials that make no sound message are an error.
func TestEncryptionMaterialsAreChecked(t *testing.T) {
	type materials = keyprovider.EncryptionMaterials
	other := newKey(t, elliptic.P384())
	p256 := newKey(t, elliptic.P256())
	for name, test := range map[string]struct {
		change func(m *materials) *materials
		opts   esdk.EncryptOptions
		is     error
		says   string
	}{
		"nothing":              {change: func(m *materials) *materials { return nil }, says: "returned nothing"},
		"empty":                {change: func(m *materials) *materials { return &materials{} }, is: format.ErrUnsupportedSuite},
		"unknown suite":        {change: func(m *materials) *materials { m.Suite = 0x0072; return m }, is: format.ErrUnsupportedSuite},
		"forbidden suite":      {change: func(m *materials) *materials { m.Suite = suite.AES256GCMHKDFSHA384ECDSAP384; return m }, is: esdk.ErrCommitmentPolicy},
		"no data key":          {change: func(m *materials) *materials { m.DataKey = nil; return m }, says: "data key of 0 bytes"},
		"short data key":       {change: func(m *materials) *materials { m.DataKey = m.DataKey[:31]; return m }, says: "data key of 31 bytes"},
		"no encrypted key":     {change: func(m *materials) *materials { m.EncryptedDataKeys = nil; return m }, says: "no encrypted data key"},
		"too many keys":        {change: func(m *materials) *materials { m.EncryptedDataKeys = slices.Repeat(m.EncryptedDataKeys, 4); return m }, is: esdk.ErrTooManyDataKeys},
		"provider ID no UTF-8": {change: func(m *materials) *materials { m.EncryptedDataKeys[0].ProviderID = "\xff"; return m }, is: format.ErrMalformed},
		"too long ciphertext":  {change: func(m *materials) *materials { m.EncryptedDataKeys[0].Ciphertext = make([]byte, 65536); return m }, is: format.ErrMalformed},
		"no signing key":       {change: func(m *materials) *materials { m.SigningKey = nil; return m }, says: "no signing key"},
		"key on another curve": {change: func(m *materials) *materials { m.SigningKey = p256; return m }, says: "no signing key"},
		"another signing key":  {change: func(m *materials) *materials { m.SigningKey = other; return m }, is: esdk.ErrEncryptionContext},
		"hollow signing key": {change: func(m *materials) *materials {
			m.SigningKey = &ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: elliptic.P384()}}
			return m
		}, says: "no signing key"},
		"key without a point": {change: func(m *materials) *materials {
			m.SigningKey = &ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: elliptic.P384()}, D: big.NewInt(1)}
			return m
		}, says: "signing key: incomplete"},
		"no public key":        {change: func(m *materials) *materials { m.EncryptionContext = nil; return m }, is: esdk.ErrEncryptionContext},
		"signing key unsigned": {change: func(m *materials) *materials { m.SigningKey = other; return m }, opts: esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey}, says: "does not sign"},
		"public key unsigned": {change: func(m *materials) *materials {
			m.EncryptionContext = map[string]string{format.PublicKeyField: "x"}
			return m
		}, opts: esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey}, says: "does not sign"},
		"required key not in context": {change: func(m *materials) *materials { m.RequiredContextKeys = []string{"b"}; return m }, is: esdk.ErrEncryptionContext, says: `"b"`},
		"public key required":         {change: func(m *materials) *materials { m.RequiredContextKeys = []string{format.PublicKeyField}; return m }, is: esdk.ErrEncryptionContext},
		"required key dropped": {change: func(m *materials) *materials { m.RequiredContextKeys = nil; return m }, opts: esdk.EncryptOptions{
			EncryptionContext: map[string]string{"a": "1"}, RequiredContextKeys: []string{"a"}}, is: esdk.ErrEncryptionContext, says: `"a"`},
		"context not UTF-8": {change: func(m *materials) *materials { m.EncryptionContext["\xff"] = ""; return m }, is: format.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			p := &manager{inner: rawAES(t), encrypt: test.change}
			c := &esdk.Client{MaxEncryptedDataKeys: 3}
			message, _, err := c.Encrypt(bg, []byte("x"), p, &test.opts)
			require.Error(t, err)
			require.Nil(t, message)
			require.ErrorContains(t, err, test.says)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
			for _, key := range p.given {
				require.Zero(t, len(bytes.Trim(key, "\x00")), "the key is cleared on failure")
			}
		})
	}
}

// Decrypt trusts no manager either.
func TestDecryptionMaterialsAreChecked(t *testing.T) {
	type materials = keyprovider.DecryptionMaterials
	signed, _, err := esdk.Encrypt(bg, []byte("x"), rawAES(t), &esdk.EncryptOptions{
		EncryptionContext: map[string]string{"a": "1", "b": "2"}, RequiredContextKeys: []string{"b"}})
	require.NoError(t, err)
	unsigned := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, nil, esdk.EncryptOptions{})
	b := map[string]string{"b": "2"}
	for name, test := range map[string]struct {
		change     func(m *materials) *materials
		message    []byte
		reproduced map[string]string
		is         error
		says       string
	}{
		"nothing":             {change: func(m *materials) *materials { return nil }, reproduced: b, says: "returned nothing"},
		"another suite":       {change: func(m *materials) *materials { m.Suite = suite.AES256GCMHKDFSHA512CommitKey; return m }, reproduced: b, says: "the message is of"},
		"unknown suite":       {change: func(m *materials) *materials { m.Suite = 0x0072; return m }, reproduced: b, says: "the message is of"},
		"forbidden suite":     {change: func(m *materials) *materials { m.Suite = suite.AES256GCMHKDFSHA384ECDSAP384; return m }, reproduced: b, says: "the message is of"},
		"no data key":         {change: func(m *materials) *materials { m.DataKey = nil; return m }, reproduced: b, says: "data key of 0 bytes"},
		"another data key":    {change: func(m *materials) *materials { m.DataKey = bytes.Repeat([]byte{1}, 32); return m }, reproduced: b, is: esdk.ErrKeyCommitment},
		"no verification key": {change: func(m *materials) *materials { m.VerificationKey = nil; return m }, reproduced: b, says: "no verification key"},
		"another curve":       {change: func(m *materials) *materials { m.VerificationKey = &newKey(t, elliptic.P256()).PublicKey; return m }, reproduced: b, says: "no verification key"},
		"key without a point": {change: func(m *materials) *materials { m.VerificationKey = &ecdsa.PublicKey{Curve: elliptic.P384()}; return m }, reproduced: b, says: "verification key: incomplete"},
		"key off the curve": {change: func(m *materials) *materials {
			m.VerificationKey = &ecdsa.PublicKey{Curve: elliptic.P384(), X: big.NewInt(1), Y: big.NewInt(1)}
			return m
		}, reproduced: b, says: "verification key: "},
		"verification unsigned": {change: func(m *materials) *materials { m.VerificationKey = &newKey(t, elliptic.P384()).PublicKey; return m }, message: unsigned, says: "does not sign"},
		"another's key": {change: func(m *materials) *materials { m.VerificationKey = &newKey(t, elliptic.P384()).PublicKey; return m },
			reproduced: b, is: esdk.ErrEncryptionContext, says: "verification key"},
		"pair invented":        {change: func(m *materials) *materials { m.EncryptionContext["admin"] = "yes"; return m }, reproduced: b, is: esdk.ErrEncryptionContext, says: `"admin"`},
		"stored pair replaced": {change: func(m *materials) *materials { m.EncryptionContext["a"] = "2"; return m }, reproduced: b, is: esdk.ErrEncryptionContext, says: `"a"`},
		"required not in it":   {change: func(m *materials) *materials { m.RequiredContextKeys = []string{"b", "c"}; return m }, reproduced: b, is: esdk.ErrEncryptionContext},
		"reproduced ignored": {change: func(m *materials) *materials { m.EncryptionContext, m.RequiredContextKeys = nil, nil; return m },
			reproduced: b, is: esdk.ErrEncryptionContext, says: `"b"`},
		"reproduced not bound": {change: func(m *materials) *materials { m.RequiredContextKeys = nil; return m }, reproduced: b, is: esdk.ErrEncryptionContext, says: `"b"`},
		"stored pair changed": {change: func(m *materials) *materials { m.EncryptionContext = map[string]string{"a": "2"}; return m },
			reproduced: map[string]string{"a": "1", "b": "2"}, is: esdk.ErrEncryptionContext, says: `"`},
		"another context bound": {change: func(m *materials) *materials { m.RequiredContextKeys = []string{"a", "b"}; return m },
			reproduced: b, is: esdk.ErrAuthentication},
	} {
		t.Run(name, func(t *testing.T) {
			if test.message == nil {
				test.message = signed
			}
			p := &manager{inner: rawAES(t), decrypt: test.change}
			opts := &esdk.DecryptOptions{EncryptionContext: test.reproduced}
			plaintext, _, err := esdk.Decrypt(bg, test.message, p, opts)
			require.Error(t, err)
			require.Nil(t, plaintext)
			require.ErrorContains(t, err, test.says)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
			_, err = esdk.NewDecryptReader(bg, bytes.NewReader(test.message), p, opts)
			require.ErrorContains(t, err, test.says)
			for _, key := range p.given {
				require.Zero(t, len(bytes.Trim(key, "\x00")), "the key is cleared on failure")
			}
		})
	}
}

// A careless manager or key cannot weaken a message: what it is given is not
// what the message is made with, nor what it is checked against.
func TestManagersAndKeysGetCopies(t *testing.T) {
	careless := &clearing{rawAES(t)}
	p, err := keyprovider.Multi(rawAES(t), careless, rawAES(t))
	require.NoError(t, err)
	message, h, err := esdk.Encrypt(bg, []byte("x"), p, nil)
	require.NoError(t, err)
	require.Len(t, h.EncryptedDataKeys, 3)
	_, _, err = esdk.Decrypt(bg, message, rawAES(t), nil)
	require.NoError(t, err)

	// A manager that keeps its materials, as a cache does.
	var kept *keyprovider.EncryptionMaterials
	m := &manager{inner: rawAES(t), encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
		kept = m
		return m
	}}
	ec := map[string]string{"a": "1"}
	required := []string{"a"}
	_, h, err = esdk.Encrypt(bg, []byte("x"), m, &esdk.EncryptOptions{EncryptionContext: ec, RequiredContextKeys: required})
	require.NoError(t, err)
	ciphertext, info := bytes.Clone(kept.EncryptedDataKeys[0].Ciphertext), bytes.Clone(kept.EncryptedDataKeys[0].ProviderInfo)
	clear(h.EncryptedDataKeys[0].Ciphertext)
	clear(h.EncryptedDataKeys[0].ProviderInfo)
	clear(h.EncryptionContext)
	require.Equal(t, ciphertext, kept.EncryptedDataKeys[0].Ciphertext)
	require.Equal(t, info, kept.EncryptedDataKeys[0].ProviderInfo)
	require.Equal(t, "1", kept.EncryptionContext["a"])
	clear(m.asked.EncryptionContext)
	clear(m.asked.RequiredContextKeys)
	require.Equal(t, map[string]string{"a": "1"}, ec)
	require.Equal(t, []string{"a"}, required)

	// A manager that forgets what the caller demands.
	opts := &esdk.DecryptOptions{EncryptionContext: map[string]string{"demanded": "yes"}}
	_, _, err = esdk.Decrypt(bg, message, &forgetful{inner: rawAES(t)}, opts)
	require.ErrorIs(t, err, esdk.ErrEncryptionContext)
	require.Equal(t, map[string]string{"demanded": "yes"}, opts.EncryptionContext)
}

// clearing is a master key that clears what it was given to encrypt.
type clearing struct{ *keyprovider.RawAES }

func (k *clearing) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return []keyprovider.MasterKey{k}, nil
}

func (k *clearing) EncryptDataKey(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
	edk, err := k.RawAES.EncryptDataKey(ctx, req, plaintext)
	clear(plaintext)
	return edk, err
}

// forgetful is a manager that drops the reproduced context.
type forgetful struct {
	keyprovider.ManagerOnly
	inner keyprovider.MasterKeyProvider
}

func (f *forgetful) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	return keyprovider.Materials(f.inner).EncryptionMaterials(ctx, req)
}

func (f *forgetful) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	clear(req.ReproducedContext)
	return keyprovider.Materials(f.inner).DecryptionMaterials(ctx, req)
}

// A manager is asked for what the call says, and its data key is cleared.
func TestManagersAreAskedForWhatTheCallSays(t *testing.T) {
	p := &manager{inner: rawAES(t)}
	c := &esdk.Client{CommitmentPolicy: suite.RequireEncryptAllowDecrypt, MaxEncryptedDataKeys: 7}
	ec := map[string]string{"a": "1", "b": "2"}
	opts := &esdk.EncryptOptions{EncryptionContext: ec, RequiredContextKeys: []string{"b"}, MaxPlaintextLength: 99}
	message, _, err := c.Encrypt(bg, []byte("hello"), p, opts)
	require.NoError(t, err)
	want := &keyprovider.EncryptionRequest{EncryptionContext: ec, RequiredContextKeys: []string{"b"},
		CommitmentPolicy: suite.RequireEncryptAllowDecrypt, MaxPlaintextLength: 5, MaxEncryptedDataKeys: 7}
	require.Equal(t, want, p.asked)

	_, err = c.NewEncryptReader(bg, bytes.NewReader(nil), p, opts)
	require.NoError(t, err)
	want.MaxPlaintextLength = 99
	require.Equal(t, want, p.asked)

	_, err = c.NewEncryptWriter(bg, io.Discard, p, &esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey})
	require.NoError(t, err)
	require.EqualValues(t, -1, p.asked.MaxPlaintextLength)
	require.Equal(t, suite.AES256GCMHKDFSHA512CommitKey, p.asked.Suite)
	require.Empty(t, p.asked.EncryptionContext)

	_, h, err := c.Decrypt(bg, message, p, &esdk.DecryptOptions{EncryptionContext: map[string]string{"b": "2"}})
	require.NoError(t, err)
	require.Equal(t, h.Suite, p.told.Suite)
	require.Equal(t, suite.RequireEncryptAllowDecrypt, p.told.CommitmentPolicy)
	require.Equal(t, h.EncryptedDataKeys, p.told.EncryptedDataKeys)
	require.Equal(t, map[string]string{"b": "2"}, p.told.ReproducedContext)
	stored, err := format.ReadHeader(bytes.NewReader(message), 0)
	require.NoError(t, err)
	require.Equal(t, stored.EncryptionContext, p.told.EncryptionContext)
	require.NotContains(t, p.told.EncryptionContext, "b")
	require.Len(t, p.given, 4)
	for _, key := range p.given {
		require.Equal(t, make([]byte, 32), key)
	}
}

// The suite of the materials governs the message, whatever was asked for.
func TestMaterialsSuiteGoverns(t *testing.T) {
	p := &manager{inner: rawAES(t), encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
		m.Suite, m.SigningKey, m.EncryptionContext = suite.AES256GCMHKDFSHA512CommitKey, nil, nil
		return m
	}}
	message, h, err := esdk.Encrypt(bg, []byte("x"), p, nil)
	require.NoError(t, err)
	require.Equal(t, suite.AES256GCMHKDFSHA512CommitKey, h.Suite)
	checkMessage(t, message, suite.AES256GCMHKDFSHA512CommitKey, 1, esdk.DefaultFrameLength)
}

// Any master key opens a message; the entries keep the order of the keys.
func TestAnyMasterKeyOpens(t *testing.T) {
	var providers []keyprovider.MasterKeyProvider
	for i := range 5 {
		p, err := keyprovider.NewRawAES("ns", string(rune('a'+i)), bytes.Repeat([]byte{byte(i)}, 16))
		require.NoError(t, err)
		providers = append(providers, p)
	}
	inner, err := keyprovider.Multi(providers[1], providers[2])
	require.NoError(t, err)
	all, err := keyprovider.Multi(providers[0], inner, providers[3], providers[4])
	require.NoError(t, err)
	message, h, err := esdk.Encrypt(bg, []byte("x"), all, nil)
	require.NoError(t, err)
	for i, p := range providers {
		require.Equal(t, byte('a'+i), h.EncryptedDataKeys[i].ProviderInfo[0])
		plaintext, _, err := esdk.Decrypt(bg, message, p, nil)
		require.NoError(t, err)
		require.Equal(t, "x", string(plaintext))
	}
	stranger, err := keyprovider.NewRawAES("ns", "f", make([]byte, 16))
	require.NoError(t, err)
	_, _, err = esdk.Decrypt(bg, message, stranger, nil)
	require.ErrorIs(t, err, keyprovider.ErrNoMatch)
	impostor, err := keyprovider.NewRawAES("ns", "a", make([]byte, 32))
	require.NoError(t, err)
	_, _, err = esdk.Decrypt(bg, message, impostor, nil)
	var failure *keyprovider.DecryptError
	require.ErrorAs(t, err, &failure)
	require.Len(t, failure.Causes, 1)
	require.NotErrorIs(t, err, keyprovider.ErrNoMatch)
}
