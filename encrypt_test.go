package esdk_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"io"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// Every suite, body, length and way to write can be read in every way.
func TestRoundTrip(t *testing.T) {
	const frame = 10
	for s, id := range suite.All() {
		for _, frameLength := range []int{frame, 0} {
			t.Run(fmt.Sprintf("%v/%d", id, frameLength), func(t *testing.T) {
				t.Parallel()
				for i, n := range []int{0, 1, frame - 1, frame, frame + 1, 2 * frame, 2*frame + 3} {
					plaintext := text(n)
					ways := encryptors
					if frameLength == 0 {
						ways = ways[:1] // streams refuse
					}
					for j, e := range ways {
						message, header, err := e.run(clientFor(id), plaintext, rawAES(t), &esdk.EncryptOptions{
							Suite: id, FrameLength: int64(frameLength), Unframed: frameLength == 0,
							EncryptionContext: map[string]string{"purpose": "test", "größe": "ß"},
						})
						require.NoError(t, err, e.name)
						stored := checkMessage(t, message, id, n, uint32(frameLength))
						require.Equal(t, stored.EncryptionContext, header.EncryptionContext, e.name)
						require.Equal(t, stored.MessageID, header.MessageID, e.name)
						require.Equal(t, stored.EncryptedDataKeys, header.EncryptedDataKeys, e.name)
						for _, d := range turn(decryptors, s+i+j) {
							got, err := d.run(clientFor(id), message, rawAES(t), &esdk.DecryptOptions{EncryptionContext: map[string]string{"purpose": "test"}})
							require.NoError(t, err, "%s, %s, %d bytes", e.name, d.name, n)
							require.Equal(t, string(plaintext), string(got), "%s, %s", e.name, d.name)
						}
					}
				}
			})
		}
	}
}

// The options that are not given have the values that the documentation says.
func TestDefaults(t *testing.T) {
	t.Parallel()
	for name, encrypt := range map[string]func() ([]byte, *format.Header, error){
		"Encrypt": func() ([]byte, *format.Header, error) { return esdk.Encrypt(bg, []byte("x"), rawAES(t), nil) },
		"NewEncryptReader": func() ([]byte, *format.Header, error) {
			e, err := esdk.NewEncryptReader(bg, bytes.NewReader([]byte("x")), rawAES(t), nil)
			require.NoError(t, err)
			b, err := io.ReadAll(e)
			return b, e.Header(), err
		},
		"NewEncryptWriter": func() ([]byte, *format.Header, error) {
			var b bytes.Buffer
			e, err := esdk.NewEncryptWriter(bg, &b, rawAES(t), nil)
			require.NoError(t, err)
			_, err = e.Write([]byte("x"))
			require.NoError(t, err)
			return b.Bytes(), e.Header(), e.Close()
		},
	} {
		_, h, err := encrypt()
		require.NoError(t, err, name)
		require.Equal(t, 2, h.Version)
		require.Equal(t, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384, h.Suite)
		require.EqualValues(t, esdk.DefaultFrameLength, h.FrameLength)
		require.Len(t, h.MessageID, 32)
		require.Len(t, h.CommitKey, 32)
		require.Len(t, h.EncryptedDataKeys, 1)
		require.Len(t, h.EncryptionContext, 1, "the public key")
	}
	message, h, err := (&esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt}).Encrypt(bg, nil, rawAES(t), nil)
	require.NoError(t, err)
	require.Equal(t, suite.AES256GCMHKDFSHA384ECDSAP384, h.Suite)
	_, _, err = esdk.Decrypt(bg, message, rawAES(t), nil)
	require.ErrorIs(t, err, esdk.ErrCommitmentPolicy)
	_, _, err = allowAll.Decrypt(bg, message, rawAES(t), nil)
	require.NoError(t, err)
}

// Every encryption context that the format can hold works: nil, empty,
// non-ASCII, many pairs, and 65,535 bytes.
func TestEncryptionContexts(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 5000 {
		many[fmt.Sprint("key", i)] = "v"
	}
	for name, ec := range map[string]map[string]string{
		"nil":       nil,
		"empty":     {},
		"empty key": {"": ""},
		"non-ASCII": {"größe": "ß", "\U00010000": "after U+FFFD in UTF-8", "\uFFFD": "but before it in UTF-16", "鍵": "値"},
		"many":      many,
		"longest":   {"k": strings.Repeat("v", 65_535-2-4-1)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES128GCM} {
				message := encrypt(t, id, text(10), esdk.EncryptOptions{EncryptionContext: ec})
				_, h, err := clientFor(id).Decrypt(bg, message, rawAES(t), &esdk.DecryptOptions{EncryptionContext: ec})
				require.NoError(t, err)
				require.NotNil(t, h.EncryptionContext)
				require.True(t, maps.Equal(ec, h.EncryptionContext))
				stored, err := format.ReadHeader(bytes.NewReader(message), 0)
				require.NoError(t, err)
				require.True(t, maps.Equal(ec, stored.EncryptionContext))
			}
		})
	}
}

// Careless use gives an error that names the fault, from every entry point.
func TestCarelessEncryption(t *testing.T) {
	t.Parallel()
	p := keyprovider.MasterKeyProvider(rawAES(t))
	manager, err := keyprovider.RequireContext(p, "tenant")
	require.NoError(t, err)
	done, cancel := context.WithCancel(bg)
	cancel()
	for name, test := range map[string]struct {
		client esdk.Client
		ctx    context.Context
		p      keyprovider.MasterKeyProvider
		opts   esdk.EncryptOptions
		is     error
		says   string
	}{
		"nil context.Context":      {ctx: nil, p: p, says: "nil context.Context"},
		"context.Context done":     {ctx: done, p: p, is: context.Canceled},
		"nil provider":             {ctx: bg, says: "nil MasterKeyProvider"},
		"nil pointer in provider":  {ctx: bg, p: (*keyprovider.RawAES)(nil), says: "nil MasterKeyProvider"},
		"provider without keys":    {ctx: bg, p: keyless{}, says: "no master key"},
		"provider only decrypts":   {ctx: bg, p: dataKey{}, is: keyprovider.ErrDecryptOnly},
		"zero RawAES":              {ctx: bg, p: &keyprovider.RawAES{}, says: "not made by NewRawAES"},
		"zero RawRSA":              {ctx: bg, p: &keyprovider.RawRSA{}, is: keyprovider.ErrDecryptOnly},
		"hidden manager":           {ctx: bg, p: hidden{manager}, is: keyprovider.ErrManagerOnly},
		"unknown policy":           {client: esdk.Client{CommitmentPolicy: 3}, ctx: bg, p: p, is: esdk.ErrCommitmentPolicy, says: "commitment policy 3"},
		"negative key limit":       {client: esdk.Client{MaxEncryptedDataKeys: -1}, ctx: bg, p: p, says: "MaxEncryptedDataKeys: -1"},
		"negative concurrency":     {client: esdk.Client{Concurrency: -1}, ctx: bg, p: p, says: "Concurrency: -1"},
		"unknown suite":            {ctx: bg, p: p, opts: esdk.EncryptOptions{Suite: 0x0070}, is: format.ErrUnsupportedSuite, says: "0x0070"},
		"suite against policy":     {ctx: bg, p: p, opts: esdk.EncryptOptions{Suite: suite.AES256GCM}, is: esdk.ErrCommitmentPolicy, says: "ALG_AES_256_GCM_IV12_TAG16_NO_KDF"},
		"committing, forbidden":    {client: esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt}, ctx: bg, p: p, opts: esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey}, is: esdk.ErrCommitmentPolicy},
		"negative frame length":    {ctx: bg, p: p, opts: esdk.EncryptOptions{FrameLength: -1}, says: "frame length -1"},
		"too large frame length":   {ctx: bg, p: p, opts: esdk.EncryptOptions{FrameLength: 1 << 32}, says: "frame length 4294967296"},
		"frames and unframed":      {ctx: bg, p: p, opts: esdk.EncryptOptions{FrameLength: 10, Unframed: true}, says: "unframed"},
		"negative length limit":    {ctx: bg, p: p, opts: esdk.EncryptOptions{MaxPlaintextLength: -1}, says: "MaxPlaintextLength: -1"},
		"reserved key":             {ctx: bg, p: p, opts: esdk.EncryptOptions{EncryptionContext: map[string]string{"aws-crypto-x": ""}}, is: esdk.ErrEncryptionContext, says: "aws-crypto-x"},
		"public key":               {ctx: bg, p: p, opts: esdk.EncryptOptions{EncryptionContext: map[string]string{format.PublicKeyField: "x"}}, is: esdk.ErrEncryptionContext},
		"key not UTF-8":            {ctx: bg, p: p, opts: esdk.EncryptOptions{EncryptionContext: map[string]string{"\xff": ""}}, is: esdk.ErrEncryptionContext, says: "UTF-8"},
		"value not UTF-8":          {ctx: bg, p: p, opts: esdk.EncryptOptions{EncryptionContext: map[string]string{"key": "\xff"}}, is: esdk.ErrEncryptionContext, says: `"key"`},
		"too long context":         {ctx: bg, p: p, opts: esdk.EncryptOptions{EncryptionContext: map[string]string{"k": strings.Repeat("v", 65_530)}}, is: esdk.ErrEncryptionContext, says: "65535"},
		"too long with public key": {ctx: bg, p: p, opts: esdk.EncryptOptions{EncryptionContext: map[string]string{"k": strings.Repeat("v", 65_500)}}, is: esdk.ErrEncryptionContext, says: "public-key"},
		"required key missing":     {ctx: bg, p: p, opts: esdk.EncryptOptions{RequiredContextKeys: []string{"tenant"}}, is: esdk.ErrEncryptionContext, says: `"tenant"`},
		"manager's key missing":    {ctx: bg, p: manager, is: esdk.ErrEncryptionContext, says: `"tenant"`},
	} {
		c := &test.client
		check := func(entry string, result any, err error) {
			t.Helper()
			require.Error(t, err, "%s, %s", name, entry)
			require.True(t, strings.HasPrefix(err.Error(), "esdk: ") && strings.Count(err.Error(), "esdk: ") == 1, err.Error())
			require.ErrorContains(t, err, test.says, "%s, %s", name, entry)
			if test.is != nil {
				require.ErrorIs(t, err, test.is, "%s, %s", name, entry)
			}
			require.Nil(t, result)
		}
		opts := test.opts
		b, h, err := c.Encrypt(test.ctx, nil, test.p, &opts)
		require.Nil(t, h, name)
		check("Encrypt", b, err)
		r, err := c.NewEncryptReader(test.ctx, strings.NewReader(""), test.p, &opts)
		check("NewEncryptReader", r, err)
		w, err := c.NewEncryptWriter(test.ctx, io.Discard, test.p, &opts)
		check("NewEncryptWriter", w, err)
	}
}

// Limits hold exactly: at the limit all is well, one beyond it is not.
func TestLimitsAreExact(t *testing.T) {
	t.Parallel()
	p := rawAES(t)
	two, err := keyprovider.Multi(p, p)
	require.NoError(t, err)
	unlimited, _, err := esdk.Encrypt(bg, text(50), two, &esdk.EncryptOptions{FrameLength: 50})
	require.NoError(t, err)
	for limit, want := range map[int]error{1: esdk.ErrTooManyDataKeys, 2: nil, 3: nil} {
		c := &esdk.Client{MaxEncryptedDataKeys: limit}
		_, _, err := c.Encrypt(bg, nil, two, nil)
		require.ErrorIs(t, err, want)
		_, _, err = c.Decrypt(bg, unlimited, p, nil)
		require.ErrorIs(t, err, want)
	}
	for limit, want := range map[int64]error{49: esdk.ErrFrameTooLong, 50: nil, 51: nil} {
		_, _, err := esdk.Decrypt(bg, unlimited, p, &esdk.DecryptOptions{MaxFrameLength: limit})
		require.ErrorIs(t, err, want)
	}
	for n, want := range map[int]error{0: nil, 9999: nil, 10_000: nil, 10_001: esdk.ErrPlaintextTooLong, 100_000: esdk.ErrPlaintextTooLong} {
		opts := &esdk.EncryptOptions{MaxPlaintextLength: 10_000, FrameLength: 100}
		for _, e := range encryptors {
			message, _, err := e.run(&esdk.Client{}, text(n), p, opts)
			require.ErrorIs(t, err, want, e.name)
			if err == nil {
				_, _, err = esdk.Decrypt(bg, message, p, nil)
				require.NoError(t, err)
			}
		}
	}
}

// Encrypt trusts no manager: materials that make no sound message are an error.
func TestEncryptionMaterialsAreChecked(t *testing.T) {
	t.Parallel()
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
		}, says: "incomplete"},
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

// The suite of the materials governs the message, whatever was asked for.
func TestMaterialsSuiteGoverns(t *testing.T) {
	t.Parallel()
	p := &manager{inner: rawAES(t), encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
		m.Suite, m.SigningKey, m.EncryptionContext = suite.AES256GCMHKDFSHA512CommitKey, nil, nil
		return m
	}}
	message, h, err := esdk.Encrypt(bg, []byte("x"), p, nil)
	require.NoError(t, err)
	require.Equal(t, suite.AES256GCMHKDFSHA512CommitKey, h.Suite)
	checkMessage(t, message, suite.AES256GCMHKDFSHA512CommitKey, 1, esdk.DefaultFrameLength)
}

// A manager is asked for what the call says, and its data key is cleared.
func TestManagersAreAskedForWhatTheCallSays(t *testing.T) {
	t.Parallel()
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

// A careless manager or key cannot weaken a message: what it is given is not
// what the message is made with, nor what it is checked against.
func TestManagersAndKeysGetCopies(t *testing.T) {
	t.Parallel()
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

	// Under a Cache too, which returns copies: nobody has what Encrypt checks and uses.
	c := newCache(t, m)
	for range 2 { // the first message has the manager's materials, the second the cache's
		var entries []keyprovider.EncryptedDataKey
		message, h, err := esdk.Encrypt(bg, []byte("x"), c, &esdk.EncryptOptions{EncryptionContext: ec, RequiredContextKeys: required})
		require.NoError(t, err)
		entries = append(entries, h.EncryptedDataKeys...)
		clear(kept.EncryptionContext)
		kept.SigningKey.D.SetInt64(1)
		for i := range kept.EncryptedDataKeys {
			clear(kept.EncryptedDataKeys[i].Ciphertext)
		}
		require.Equal(t, "1", h.EncryptionContext["a"])
		require.Equal(t, entries, h.EncryptedDataKeys)
		require.NotEqual(t, make([]byte, 48), h.EncryptedDataKeys[0].Ciphertext)
		clear(h.EncryptedDataKeys[0].Ciphertext)
		clear(h.EncryptionContext)
		require.Equal(t, map[string]string{"a": "1"}, ec)
		_, _, err = esdk.Decrypt(bg, message, rawAES(t), &esdk.DecryptOptions{EncryptionContext: ec})
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, c.Stats().Misses)

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

// No two messages share a message ID, a data key or a signing key.
func TestMessagesShareNothing(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 20 {
		_, h, err := esdk.Encrypt(bg, []byte("same"), rawAES(t), nil)
		require.NoError(t, err)
		for _, v := range []string{string(h.MessageID), string(h.CommitKey), h.EncryptionContext[format.PublicKeyField], string(h.EncryptedDataKeys[0].Ciphertext)} {
			require.False(t, seen[v])
			seen[v] = true
		}
	}
}

// What the caller gives is not changed, and changing it, or what was returned,
// later changes nothing.
func TestNothingIsShared(t *testing.T) {
	t.Parallel()
	ec := map[string]string{"a": "1", "b": "2"}
	required := []string{"b"}
	plaintext := text(5000)
	e, err := esdk.NewEncryptReader(bg, bytes.NewReader(plaintext), rawAES(t), &esdk.EncryptOptions{EncryptionContext: ec, RequiredContextKeys: required})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1", "b": "2"}, ec)
	ec["a"], ec["c"], required[0] = "x", "y", "a"
	h := e.Header()
	require.Equal(t, "1", h.EncryptionContext["a"])
	require.NotContains(t, h.EncryptionContext, "c")
	clear(h.EncryptionContext)
	clear(h.MessageID)
	h.EncryptedDataKeys[0].Ciphertext[0] ^= 1
	h.FrameLength = 1
	h.Suite = 0
	message, err := io.ReadAll(e)
	require.NoError(t, err)
	got, _, err := esdk.Decrypt(bg, message, rawAES(t), &esdk.DecryptOptions{EncryptionContext: map[string]string{"b": "2"}})
	require.NoError(t, err)
	require.Equal(t, plaintext, got)

	d, err := esdk.NewDecryptReader(bg, bytes.NewReader(message), rawAES(t), &esdk.DecryptOptions{EncryptionContext: map[string]string{"b": "2"}})
	require.NoError(t, err)
	h = d.Header()
	require.Equal(t, map[string]string{"a": "1", "b": "2", format.PublicKeyField: h.EncryptionContext[format.PublicKeyField]}, h.EncryptionContext)
	clear(h.MessageID)
	clear(h.CommitKey)
	h.FrameLength, h.Suite = 1, 0
	got, err = io.ReadAll(d)
	require.NoError(t, err)
	require.Equal(t, plaintext, got)
}

// Calls share nothing, whether they run at the same time or inside the manager of
// another one. The headers that they returned stay as they are.
func TestCallsShareNothing(t *testing.T) {
	t.Parallel()
	type result struct {
		message, plaintext []byte
		sealed, opened     *format.Header
		err                error
	}
	call := func(p keyprovider.MasterKeyProvider, n int) (r result) {
		r.message, r.sealed, r.err = esdk.Encrypt(bg, text(n), p, &esdk.EncryptOptions{
			Suite: suite.AES256GCMHKDFSHA512CommitKey, EncryptionContext: map[string]string{"n": fmt.Sprint(n)}})
		if r.err == nil {
			r.plaintext, r.opened, r.err = esdk.Decrypt(bg, r.message, p, nil)
		}
		return r
	}
	key := rawAES(t)
	results := make([]result, 900)
	var all sync.WaitGroup
	for g := range 30 {
		all.Go(func() {
			for n := g * 30; n < g*30+30; n += 3 { // three calls each
				results[n] = call(&manager{inner: key,
					encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
						results[n+1] = call(key, n+1)
						runtime.Gosched()
						return m
					},
					decrypt: func(m *keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials {
						results[n+2] = call(key, n+2)
						runtime.Gosched()
						return m
					}}, n)
			}
		})
	}
	all.Wait()
	for n, r := range results {
		require.NoError(t, r.err)
		require.Equal(t, text(n), r.plaintext)
		want, err := format.ReadHeader(bytes.NewReader(r.message), 0)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"n": fmt.Sprint(n)}, want.EncryptionContext)
		require.Equal(t, want, r.sealed)
		require.Equal(t, want.EncryptedDataKeys[0], *r.opened.OpenedBy)
		r.opened.OpenedBy = nil
		require.Equal(t, want, r.opened)
	}
}

// The header that Encrypt and Decrypt return can be put back before the body.
func TestHeaderAppendBinaryRestoresTheMessage(t *testing.T) {
	t.Parallel()
	message, written, err := esdk.Encrypt(bg, text(9000), rawAES(t), nil)
	require.NoError(t, err)
	r := bytes.NewReader(message)
	read, err := format.ReadHeader(r, 0)
	require.NoError(t, err)
	for _, h := range []*format.Header{written, read} {
		raw, err := h.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, message[:len(raw)], raw)
		d, err := esdk.NewDecryptReader(bg, io.MultiReader(bytes.NewReader(raw), bytes.NewReader(message[len(raw):])), rawAES(t), nil)
		require.NoError(t, err)
		got, err := io.ReadAll(d)
		require.NoError(t, err)
		require.Equal(t, text(9000), got)
	}
}

// Results are allocated at their size, not grown to it.
func TestResultsHaveTheirExactSize(t *testing.T) {
	t.Parallel()
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
		for _, n := range []int{1 << 20, 3_000_000} {
			message := encrypt(t, id, text(n), esdk.EncryptOptions{})
			require.LessOrEqual(t, cap(message)-len(message), 16<<10)
			plaintext, _, err := esdk.Decrypt(bg, message, rawAES(t), nil)
			require.NoError(t, err)
			require.LessOrEqual(t, cap(plaintext)-len(plaintext), 16<<10)
		}
	}
}

// Under GODEBUG=fips140=only the standard library refuses AES-GCM with nonces
// of the caller's, which the message format prescribes: the error is returned.
func TestFIPS140OnlyIsAnError(t *testing.T) {
	if os.Getenv("ESDK_TEST_FIPS_ONLY") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPS140OnlyIsAnError$", "-test.v")
		cmd.Env = append(os.Environ(), "ESDK_TEST_FIPS_ONLY=1", "GODEBUG=fips140=only")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "--- PASS: TestFIPS140OnlyIsAnError")
		return
	}
	_, err := keyprovider.NewRawAES("ns", "name", make([]byte, 32))
	require.ErrorContains(t, err, "FIPS 140-only")
	for _, id := range suite.All() {
		_, _, err = clientFor(id).Encrypt(bg, []byte("x"), plain{}, &esdk.EncryptOptions{Suite: id})
		require.ErrorContains(t, err, "FIPS 140-only")
	}
}

// meddler is a manager that changes the requests that it is given.
type meddler struct {
	keyprovider.ManagerOnly
	inner        keyprovider.MasterKeyProvider
	encrypt      func(*keyprovider.EncryptionRequest)
	materials    func(*keyprovider.EncryptionMaterials)
	decrypt      func(*keyprovider.DecryptionRequest)
	afterDecrypt func(*keyprovider.DecryptionRequest)
}

func (m *meddler) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	if m.encrypt != nil {
		m.encrypt(req)
	}
	materials, err := keyprovider.Materials(m.inner).EncryptionMaterials(ctx, req)
	if err == nil && m.materials != nil {
		m.materials(materials)
	}
	return materials, err
}

func (m *meddler) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	if m.decrypt != nil {
		m.decrypt(req)
	}
	materials, err := keyprovider.Materials(m.inner).DecryptionMaterials(ctx, req)
	if m.afterDecrypt != nil {
		m.afterDecrypt(req)
	}
	return materials, err
}

// What a manager does to its request weakens no message: the call's settings
// are what its materials are checked against.
func TestARequestThatAManagerChangesDoesNotChangeTheCall(t *testing.T) {
	t.Parallel()
	ec := map[string]string{"tenant": "42", "user": "7"}
	opts := func() *esdk.EncryptOptions {
		return &esdk.EncryptOptions{EncryptionContext: ec, RequiredContextKeys: []string{"tenant"}}
	}
	three, err := keyprovider.Multi(rawAES(t), rawAES(t), rawAES(t))
	require.NoError(t, err)
	for name, test := range map[string]struct {
		change    func(*keyprovider.EncryptionRequest)
		materials func(*keyprovider.EncryptionMaterials)
		suite     suite.ID
		is        error
	}{
		"policy and suite": {change: func(r *keyprovider.EncryptionRequest) {
			r.CommitmentPolicy, r.Suite = suite.ForbidEncryptAllowDecrypt, suite.AES256GCM
		}, is: esdk.ErrCommitmentPolicy},
		"another suite": {change: func(r *keyprovider.EncryptionRequest) { r.Suite = suite.AES256GCMHKDFSHA512CommitKey },
			suite: suite.AES256GCMHKDFSHA512CommitKeyECDSAP384},
		"required keys":                   {change: func(r *keyprovider.EncryptionRequest) { r.RequiredContextKeys = nil }, is: esdk.ErrEncryptionContext},
		"a required key":                  {change: func(r *keyprovider.EncryptionRequest) { r.RequiredContextKeys[0] = "user" }, is: esdk.ErrEncryptionContext},
		"number of data keys":             {change: func(r *keyprovider.EncryptionRequest) { r.MaxEncryptedDataKeys = 0 }, is: esdk.ErrTooManyDataKeys},
		"a pair altered":                  {change: func(r *keyprovider.EncryptionRequest) { r.EncryptionContext["user"] = "8" }, is: esdk.ErrEncryptionContext},
		"a pair deleted":                  {change: func(r *keyprovider.EncryptionRequest) { delete(r.EncryptionContext, "user") }, is: esdk.ErrEncryptionContext},
		"the context dropped":             {change: func(r *keyprovider.EncryptionRequest) { r.EncryptionContext, r.RequiredContextKeys = nil, nil }, is: esdk.ErrEncryptionContext},
		"materials without required keys": {materials: func(m *keyprovider.EncryptionMaterials) { clear(m.RequiredContextKeys) }, is: esdk.ErrEncryptionContext},
		"materials with another value":    {materials: func(m *keyprovider.EncryptionMaterials) { m.EncryptionContext["user"] = "8" }, is: esdk.ErrEncryptionContext},
	} {
		inner := keyprovider.MasterKeyProvider(rawAES(t))
		if name == "number of data keys" {
			inner = three
		}
		m := &meddler{inner: inner, encrypt: test.change, materials: test.materials}
		c := &esdk.Client{MaxEncryptedDataKeys: 2}
		o := opts()
		o.Suite = test.suite
		for _, p := range []keyprovider.MasterKeyProvider{m, newCache(t, m)} {
			message, h, err := c.Encrypt(bg, []byte("x"), p, o)
			require.Error(t, err, name)
			require.Nil(t, message, name)
			require.Nil(t, h, name)
			if test.is != nil {
				require.ErrorIs(t, err, test.is, name)
			}
			require.Equal(t, map[string]string{"tenant": "42", "user": "7"}, ec, name)
			require.Equal(t, []string{"tenant"}, o.RequiredContextKeys, name)
			_, err = c.NewEncryptReader(bg, strings.NewReader("x"), p, o)
			require.Error(t, err, name)
		}
	}

	// Adding is what managers are for.
	m := &meddler{inner: rawAES(t), encrypt: func(r *keyprovider.EncryptionRequest) { r.EncryptionContext["added"] = "yes" }}
	_, h, err := esdk.Encrypt(bg, []byte("x"), m, opts())
	require.NoError(t, err)
	require.Equal(t, "yes", h.EncryptionContext["added"])
	require.Equal(t, map[string]string{"tenant": "42", "user": "7"}, ec)
}

// A data key of zeros is memory that was cleared: nobody's message uses it.
func TestADataKeyOfZerosIsRefused(t *testing.T) {
	t.Parallel()
	for _, id := range suite.All() {
		m := &meddler{inner: rawAES(t), materials: func(m *keyprovider.EncryptionMaterials) { clear(m.DataKey) }}
		_, _, err := clientFor(id).Encrypt(bg, []byte("x"), m, &esdk.EncryptOptions{Suite: id})
		require.ErrorContains(t, err, "all zeros", id)
		message := encrypt(t, id, []byte("x"), esdk.EncryptOptions{})
		_, _, err = clientFor(id).Decrypt(bg, message, dataKey(make([]byte, id.KeySize())), nil)
		require.ErrorContains(t, err, "all zeros", id)
	}
}

func TestAnEncryptedDataKeyWithoutCiphertextIsRefused(t *testing.T) {
	t.Parallel()
	m := &meddler{inner: rawAES(t), materials: func(m *keyprovider.EncryptionMaterials) {
		m.EncryptedDataKeys = append(m.EncryptedDataKeys, keyprovider.EncryptedDataKey{ProviderID: "theirs", ProviderInfo: []byte("key")})
	}}
	_, _, err := esdk.Encrypt(bg, []byte("x"), m, nil)
	require.ErrorContains(t, err, `encrypted data key 2 ("theirs") has no ciphertext`)
}

// A manager's signing key must be the one whose public half the message holds.
func TestASigningKeyThatDoesNotFitItsPublicKeyIsRefused(t *testing.T) {
	t.Parallel()
	for _, id := range suite.All() {
		if !id.Signing() {
			continue
		}
		m := &meddler{inner: rawAES(t), materials: func(m *keyprovider.EncryptionMaterials) {
			d := new(big.Int).Sub(id.Curve().Params().N, m.SigningKey.D) // the point's mirror image
			m.SigningKey = &ecdsa.PrivateKey{PublicKey: m.SigningKey.PublicKey, D: d}
		}}
		_, _, err := clientFor(id).Encrypt(bg, []byte("x"), m, &esdk.EncryptOptions{Suite: id})
		require.ErrorContains(t, err, "does not belong to its private key", id)
		m.materials = func(m *keyprovider.EncryptionMaterials) { m.SigningKey.D = big.NewInt(0) }
		_, _, err = clientFor(id).Encrypt(bg, []byte("x"), m, &esdk.EncryptOptions{Suite: id})
		require.ErrorContains(t, err, "signing key", id)
	}
}

func newCache(t *testing.T, p keyprovider.MasterKeyProvider) *keyprovider.Cache {
	t.Helper()
	c, err := keyprovider.NewCache(p, keyprovider.CacheOptions{MaxAge: time.Hour})
	require.NoError(t, err)
	return c
}

// Materials that Encrypt and Decrypt refuse are in no cache: the next message asks
// the manager again.
func TestACacheKeepsNothingThatIsRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*keyprovider.EncryptionMaterials){
		"zeros":              func(m *keyprovider.EncryptionMaterials) { clear(m.DataKey) },
		"no ciphertext":      func(m *keyprovider.EncryptionMaterials) { m.EncryptedDataKeys[0].Ciphertext = nil },
		"a pair dropped":     func(m *keyprovider.EncryptionMaterials) { delete(m.EncryptionContext, "a") },
		"a pair altered":     func(m *keyprovider.EncryptionMaterials) { m.EncryptionContext["a"] = "2" },
		"no public key":      func(m *keyprovider.EncryptionMaterials) { delete(m.EncryptionContext, format.PublicKeyField) },
		"hollow signing key": func(m *keyprovider.EncryptionMaterials) { m.SigningKey.D = nil },
		"half a signing key": func(m *keyprovider.EncryptionMaterials) { m.SigningKey.X = nil },
	} {
		calls := 0
		m := &meddler{inner: rawAES(t), materials: func(m *keyprovider.EncryptionMaterials) {
			if calls++; calls == 1 {
				spoil(m)
			}
		}}
		c := newCache(t, m)
		opts := &esdk.EncryptOptions{EncryptionContext: map[string]string{"a": "1"}}
		_, _, err := esdk.Encrypt(bg, []byte("x"), c, opts)
		require.Error(t, err, name)
		_, _, err = esdk.Encrypt(bg, []byte("x"), c, opts)
		require.NoError(t, err, name)
		require.Equal(t, 2, calls, name)
	}
	message, _, err := esdk.Encrypt(bg, []byte("x"), rawAES(t), nil)
	require.NoError(t, err)
	calls := 0
	c := newCache(t, &manager{inner: rawAES(t), decrypt: func(m *keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials {
		if calls++; calls == 1 {
			clear(m.DataKey)
		}
		return m
	}})
	_, _, err = esdk.Decrypt(bg, message, c, nil)
	require.ErrorContains(t, err, "all zeros")
	_, _, err = esdk.Decrypt(bg, message, c, nil)
	require.NoError(t, err)
}

// A reserved pair that is not stored could be given by nobody who decrypts.
func TestAManagerCannotRequireAReservedKey(t *testing.T) {
	t.Parallel()
	m := &meddler{inner: rawAES(t), materials: func(m *keyprovider.EncryptionMaterials) {
		m.EncryptionContext["aws-crypto-x"] = "1"
		m.RequiredContextKeys = append(m.RequiredContextKeys, "aws-crypto-x")
	}}
	_, _, err := esdk.Encrypt(bg, []byte("x"), m, nil)
	require.ErrorIs(t, err, esdk.ErrEncryptionContext)
	require.ErrorContains(t, err, "aws-crypto-x")
}
