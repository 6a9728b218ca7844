package esdk_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/test/byhand"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// Decrypt and the stream return the header with the suite and the context.
func TestDecryptReturnsTheHeader(t *testing.T) {
	t.Parallel()
	for _, id := range suite.All() {
		message, want, err := clientFor(id).Encrypt(bg, text(25), rawAES(t), &esdk.EncryptOptions{Suite: id, EncryptionContext: map[string]string{"a": "1"}})
		require.NoError(t, err)
		require.Equal(t, id, want.Suite)
		require.Equal(t, "1", want.EncryptionContext["a"])
		_, got, err := clientFor(id).Decrypt(bg, message, rawAES(t), nil)
		require.NoError(t, err)
		d, err := clientFor(id).NewDecryptReader(bg, bytes.NewReader(message), rawAES(t), nil)
		require.NoError(t, err)
		for _, h := range []*format.Header{got, d.Header()} {
			require.Equal(t, want.Version, h.Version)
			require.Equal(t, want.Suite, h.Suite)
			require.Equal(t, want.MessageID, h.MessageID)
			require.Equal(t, want.EncryptionContext, h.EncryptionContext)
			require.Equal(t, want.EncryptedDataKeys, h.EncryptedDataKeys)
			require.Equal(t, want.ContentType, h.ContentType)
			require.Equal(t, want.FrameLength, h.FrameLength)
			require.True(t, bytes.Equal(want.CommitKey, h.CommitKey))
			require.Equal(t, want.Tag, h.Tag)
		}
	}
}

// An empty plaintext is a result, not the lack of one; and a nil *Client is
// the zero one.
func TestDecryptEmptyPlaintextIsNotNil(t *testing.T) {
	t.Parallel()
	var c *esdk.Client
	message, _, err := c.Encrypt(bg, nil, rawAES(t), nil)
	require.NoError(t, err)
	plaintext, _, err := c.Decrypt(bg, message, rawAES(t), nil)
	require.NoError(t, err)
	require.NotNil(t, plaintext)
	require.Empty(t, plaintext)
}

func TestCarelessDecryption(t *testing.T) {
	t.Parallel()
	p := keyprovider.MasterKeyProvider(rawAES(t))
	message, _, err := esdk.Encrypt(bg, text(9000), p, &esdk.EncryptOptions{EncryptionContext: map[string]string{"a": "1"}})
	require.NoError(t, err)
	unsigned := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(100), esdk.EncryptOptions{})
	unframed := encrypt(t, suite.AES256GCMHKDFSHA512CommitKey, text(100), esdk.EncryptOptions{Unframed: true})
	uncommitted := encrypt(t, suite.AES256GCMHKDFSHA256, nil, esdk.EncryptOptions{})
	manager, err := keyprovider.RequireContext(p, "tenant")
	require.NoError(t, err)
	done, cancel := context.WithCancel(bg)
	cancel()
	for name, test := range map[string]struct {
		client  esdk.Client
		ctx     context.Context
		p       keyprovider.MasterKeyProvider
		message []byte
		opts    esdk.DecryptOptions
		is      error
		says    string
	}{
		"nil context.Context":       {ctx: nil, p: p, says: "nil context.Context"},
		"context.Context done":      {ctx: done, p: p, is: context.Canceled},
		"nil provider":              {ctx: bg, says: "nil MasterKeyProvider"},
		"nil pointer in provider":   {ctx: bg, p: (*keyprovider.RawRSA)(nil), says: "nil MasterKeyProvider"},
		"hidden manager":            {ctx: bg, p: hidden{manager}, is: keyprovider.ErrManagerOnly},
		"unknown policy":            {client: esdk.Client{CommitmentPolicy: 200}, ctx: bg, p: p, is: esdk.ErrCommitmentPolicy},
		"negative key limit":        {client: esdk.Client{MaxEncryptedDataKeys: math.MinInt}, ctx: bg, p: p, says: "MaxEncryptedDataKeys"},
		"negative frame limit":      {ctx: bg, p: p, opts: esdk.DecryptOptions{MaxFrameLength: -1}, says: "MaxFrameLength: -1"},
		"frame over the limit":      {ctx: bg, p: p, opts: esdk.DecryptOptions{MaxFrameLength: 4095}, is: esdk.ErrFrameTooLong, says: "4096"},
		"body over the limit":       {ctx: bg, p: p, message: unframed, opts: esdk.DecryptOptions{MaxFrameLength: 99}, is: esdk.ErrFrameTooLong, says: "100"},
		"unknown signature policy":  {ctx: bg, p: p, opts: esdk.DecryptOptions{Signature: esdk.IgnoreSignature + 1}, says: "unknown signature policy 3"},
		"negative signature policy": {ctx: bg, p: p, opts: esdk.DecryptOptions{Signature: -1}, says: "unknown signature policy -1"},
		"signed, rejected":          {ctx: bg, p: p, opts: esdk.DecryptOptions{Signature: esdk.RejectSigned}, is: esdk.ErrSignedMessage},
		"not committed":             {ctx: bg, p: p, message: uncommitted, is: esdk.ErrCommitmentPolicy},
		"manager's key not given":   {ctx: bg, p: manager, is: esdk.ErrEncryptionContext, says: `"tenant"`},
		"another value":             {ctx: bg, p: p, opts: esdk.DecryptOptions{EncryptionContext: map[string]string{"a": "secret"}}, is: esdk.ErrEncryptionContext, says: `"a"`},
		"reserved key not stored":   {ctx: bg, p: p, opts: esdk.DecryptOptions{EncryptionContext: map[string]string{"aws-crypto-x": ""}}, is: esdk.ErrEncryptionContext, says: "aws-crypto-x"},
		"public key, unsigned":      {ctx: bg, p: p, message: unsigned, opts: esdk.DecryptOptions{EncryptionContext: map[string]string{format.PublicKeyField: "x"}}, is: esdk.ErrEncryptionContext},
		"context not UTF-8":         {ctx: bg, p: p, opts: esdk.DecryptOptions{EncryptionContext: map[string]string{"k": "\xff"}}, is: esdk.ErrEncryptionContext, says: "UTF-8"},
		"too long context":          {ctx: bg, p: p, opts: esdk.DecryptOptions{EncryptionContext: map[string]string{"k": strings.Repeat("v", 70_000)}}, is: esdk.ErrEncryptionContext, says: "65535"},
		"zero RawAES":               {ctx: bg, p: keyprovider.RawAES{}, says: "not made by NewRawAES"},
		"zero RawRSA":               {ctx: bg, p: keyprovider.RawRSA{}, says: "no private key"},
		"pair that is not bound":    {ctx: bg, p: p, opts: esdk.DecryptOptions{EncryptionContext: map[string]string{"b": "secret"}}, is: esdk.ErrEncryptionContext, says: `does not store: "b"`},
		"empty message":             {ctx: bg, p: p, message: []byte{}, is: io.ErrUnexpectedEOF},
	} {
		c := &test.client
		if test.message == nil {
			test.message = message
		}
		check := func(entry string, err error) {
			t.Helper()
			require.Error(t, err, "%s, %s", name, entry)
			require.True(t, strings.HasPrefix(err.Error(), "esdk: ") && strings.Count(err.Error(), "esdk: ") == 1, err.Error())
			require.ErrorContains(t, err, test.says, "%s, %s", name, entry)
			require.NotContains(t, err.Error(), "secret", "values are not printed")
			if test.is != nil {
				require.ErrorIs(t, err, test.is, "%s, %s", name, entry)
			}
		}
		b, h, err := c.Decrypt(test.ctx, test.message, test.p, &test.opts)
		require.Nil(t, b)
		require.Nil(t, h)
		check("Decrypt", err)
		d, err := c.NewDecryptReader(test.ctx, bytes.NewReader(test.message), test.p, &test.opts)
		if err == nil { // the length of an unframed body is met only there
			b, err = io.ReadAll(d)
			require.Empty(t, b)
		} else {
			require.Nil(t, d)
		}
		check("NewDecryptReader", err)
	}
	_, _, err = esdk.Decrypt(bg, nil, p, nil)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// The order of checks on decrypt is that of the specification and of the cost:
// nothing that needs a key comes before what does not.
func TestDecryptChecksInOrder(t *testing.T) {
	t.Parallel()
	asked := errors.New("the provider was asked")
	p := failing{asked}
	message, _, err := esdk.Encrypt(bg, text(10), rawAES(t), nil)
	require.NoError(t, err)
	check := func(c esdk.Client, message []byte, opts esdk.DecryptOptions, want error) {
		t.Helper()
		_, _, err := c.Decrypt(bg, message, p, &opts)
		require.ErrorIs(t, err, want)
	}
	all := esdk.DecryptOptions{Signature: esdk.RejectSigned, MaxFrameLength: 1, EncryptionContext: map[string]string{"aws-crypto-x": ""}}
	check(esdk.Client{}, message, all, esdk.ErrSignedMessage)
	all.Signature = esdk.VerifySignature
	check(esdk.Client{}, message, all, esdk.ErrFrameTooLong)
	all.MaxFrameLength = 0
	check(esdk.Client{}, message, all, esdk.ErrEncryptionContext)
	all.EncryptionContext = nil
	check(esdk.Client{}, message, all, asked)
	check(esdk.Client{}, encrypt(t, suite.AES256GCM, nil, esdk.EncryptOptions{}), esdk.DecryptOptions{MaxFrameLength: 1}, esdk.ErrCommitmentPolicy)
}

// Of several faults the error is that of the first step: header, materials, key
// commitment, header tag, frames in order, signature, what follows.
func TestDecryptReportsTheFirstFault(t *testing.T) {
	t.Parallel()
	asked := errors.New("the provider was asked")
	for _, id := range suite.All() {
		message := encrypt(t, id, text(25), esdk.EncryptOptions{FrameLength: 10})
		parts := byhand.Read(t, message).Parts
		header := parts[0].At
		flip := func(m []byte, at int) { m[at] ^= 1 }
		altered := slices.Concat(message, []byte("more"))
		check := func(p keyprovider.MasterKeyProvider, want error, says string) {
			t.Helper()
			for _, d := range fewDecryptors {
				_, err := d.run(allowAll, altered, p, nil)
				require.ErrorIs(t, err, want, "%v, %s", id, d.name)
				require.ErrorContains(t, err, says, "%v, %s", id, d.name)
			}
		}
		check(rawAES(t), esdk.ErrTrailingData, "")
		if id.Signing() {
			flip(altered, len(message)-20)
			check(rawAES(t), esdk.ErrSignature, "")
		}
		flip(altered, parts[2].At+30)
		check(rawAES(t), esdk.ErrAuthentication, "frame 3: ")
		flip(altered, parts[1].At+30)
		check(rawAES(t), esdk.ErrAuthentication, "frame 2: ")
		flip(altered, parts[0].At+3)
		check(rawAES(t), format.ErrMalformed, "frame 1 at byte")
		flip(altered, header-1)
		check(rawAES(t), esdk.ErrAuthentication, "header: ")
		if id.Committing() {
			flip(altered, header-17)
			check(rawAES(t), esdk.ErrKeyCommitment, "")
		}
		check(failing{asked}, asked, "")
		altered[0] = 3
		check(failing{asked}, format.ErrMalformed, "version at byte 0")
	}
}

// Messages that look like Base64 fail with an error that says so.
func TestBase64InputIsNamed(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"AYADeA==", "AgV4"} {
		for _, d := range slices.Concat(decryptors, []decryptor{randomAccess}) {
			_, err := d.run(allowAll, []byte(prefix+"somethingthatislongenough"), rawAES(t), nil)
			require.ErrorIs(t, err, format.ErrBase64, d.name)
		}
	}
}

// Without a limit a message can have as many data keys as the format holds,
// and no more.
func TestWithoutALimitAllDataKeysOfTheFormatAreTaken(t *testing.T) {
	t.Parallel()
	const id = suite.AES256GCMHKDFSHA512CommitKey
	for n, ok := range map[int]bool{1: true, 2: true, 65_535: true, 65_536: false} {
		p := &manager{inner: rawAES(t), encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
			foreign := keyprovider.EncryptedDataKey{ProviderID: "foreign", Ciphertext: []byte{1}}
			m.EncryptedDataKeys = append(slices.Repeat([]keyprovider.EncryptedDataKey{foreign}, n-1), m.EncryptedDataKeys...)
			return m
		}}
		message, _, err := esdk.Encrypt(bg, []byte("x"), p, &esdk.EncryptOptions{Suite: id})
		if !ok {
			require.ErrorIs(t, err, esdk.ErrTooManyDataKeys)
			continue
		}
		require.NoError(t, err)
		plaintext, h, err := esdk.Decrypt(bg, message, rawAES(t), nil)
		require.NoError(t, err)
		require.Equal(t, "x", string(plaintext))
		require.Len(t, h.EncryptedDataKeys, n)
		_, _, err = (&esdk.Client{MaxEncryptedDataKeys: n}).Decrypt(bg, message, rawAES(t), nil)
		require.NoError(t, err)
	}
}

// Any master key opens a message; the entries keep the order of the keys.
func TestAnyMasterKeyOpens(t *testing.T) {
	t.Parallel()
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

// Decrypt trusts no manager either.
func TestDecryptionMaterialsAreChecked(t *testing.T) {
	t.Parallel()
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
		"key without a point": {change: func(m *materials) *materials { m.VerificationKey = &ecdsa.PublicKey{Curve: elliptic.P384()}; return m }, reproduced: b, says: "incomplete"},
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

// A manager may add pairs on encryption and take them away on decryption: the
// header is authenticated as it was received.
func TestManagersMayChangeTheEncryptionContext(t *testing.T) {
	t.Parallel()
	for _, id := range suite.All() {
		p := &manager{inner: rawAES(t)}
		p.encrypt = func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
			ec := map[string]string{"added": "by the manager"}
			for k, v := range m.EncryptionContext {
				ec[k] = v
			}
			m.EncryptionContext = ec
			return m
		}
		var key []byte
		p.inner = plain{} // binds no context to the data key
		message, h, err := clientFor(id).Encrypt(bg, text(25), p, &esdk.EncryptOptions{Suite: id, EncryptionContext: map[string]string{"a": "1"}})
		require.NoError(t, err)
		require.Equal(t, "by the manager", h.EncryptionContext["added"])
		stored, err := format.ReadHeader(bytes.NewReader(message), 0)
		require.NoError(t, err)
		require.Equal(t, h.EncryptionContext, stored.EncryptionContext)

		p.decrypt = func(m *keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials {
			require.Contains(t, m.EncryptionContext, "added")
			key = m.DataKey
			m.EncryptionContext = map[string]string{"a": m.EncryptionContext["a"]}
			return m
		}
		plaintext, h, err := clientFor(id).Decrypt(bg, message, p, &esdk.DecryptOptions{EncryptionContext: map[string]string{"a": "1"}})
		require.NoError(t, err)
		require.Equal(t, text(25), plaintext)
		require.Equal(t, map[string]string{"a": "1"}, h.EncryptionContext)
		require.Zero(t, len(bytes.Trim(key, "\x00")))
	}
}

// Required pairs are not stored, and the message opens only with them, by its
// header even where the key provider does not bind them.
func TestRequiredContext(t *testing.T) {
	t.Parallel()
	for _, id := range suite.All() {
		ec := map[string]string{"stored": "s", "tenant": "t-1", "user": "u-1"}
		var key []byte
		p := &manager{inner: rawAES(t), encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
			key = bytes.Clone(m.DataKey)
			return m
		}}
		message, _, err := clientFor(id).Encrypt(bg, text(10), p, &esdk.EncryptOptions{
			Suite: id, EncryptionContext: ec, RequiredContextKeys: []string{"tenant", "user", "tenant"}})
		require.NoError(t, err)
		require.NotContains(t, string(message), "tenant")
		require.NotContains(t, string(message), "u-1")
		for name, test := range map[string]struct {
			reproduced map[string]string
			want       error // under the data key alone
			names      []string
		}{
			"both":           {reproduced: map[string]string{"tenant": "t-1", "user": "u-1"}},
			"all":            {reproduced: ec},
			"none":           {nil, esdk.ErrAuthentication, nil},
			"one":            {map[string]string{"tenant": "t-1"}, esdk.ErrAuthentication, []string{"tenant"}},
			"other value":    {map[string]string{"tenant": "t-2", "user": "u-1"}, esdk.ErrAuthentication, []string{"tenant", "user"}},
			"one more":       {map[string]string{"tenant": "t-1", "user": "u-1", "more": ""}, esdk.ErrAuthentication, []string{"more", "tenant", "user"}},
			"stored differs": {map[string]string{"tenant": "t-1", "user": "u-1", "stored": "x"}, esdk.ErrEncryptionContext, []string{"stored"}},
		} {
			opts := &esdk.DecryptOptions{EncryptionContext: test.reproduced}
			for _, d := range fewDecryptors {
				_, err := d.run(clientFor(id), message, rawAES(t), opts)
				require.Equal(t, test.want == nil, err == nil, "%v, %s: %v", id, name, err)
			}
			_, h, err := clientFor(id).Decrypt(bg, message, dataKey(key), opts)
			require.ErrorIs(t, err, test.want, "%v, %s", id, name)
			if test.want == nil {
				for k, v := range ec {
					require.Equal(t, v, h.EncryptionContext[k])
				}
				continue
			}
			for _, k := range test.names {
				require.ErrorContains(t, err, fmt.Sprintf("%q", k), "the added keys are named")
			}
			require.NotContains(t, err.Error(), "t-2", "and no values")
		}
	}
}

// Pairs that a message only authenticates stay so when it is reencrypted.
func TestRequiredContextStaysRequired(t *testing.T) {
	t.Parallel()
	ec := map[string]string{"stored": "s", "tenant": "t-1", "user": "u-1"}
	message, _, err := esdk.Encrypt(bg, text(10), rawAES(t), &esdk.EncryptOptions{EncryptionContext: ec, RequiredContextKeys: []string{"tenant", "user"}})
	require.NoError(t, err)
	requiring, err := keyprovider.RequireContext(rawAES(t), "tenant")
	require.NoError(t, err)
	// What the message stores is its own, also if a manager leaves it out. What a
	// manager knows besides the caller is as required as what the caller knows.
	hiding := &manager{inner: rawAES(t), decrypt: func(m *keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials {
		m.EncryptionContext = maps.Clone(m.EncryptionContext)
		delete(m.EncryptionContext, "stored")
		return m
	}}
	knowing := &knowing{manager{inner: rawAES(t)}, map[string]string{"tenant": "t-1"}}
	required := map[string]string{"tenant": "t-1", "user": "u-1"}
	for name, test := range map[string]struct {
		from keyprovider.MasterKeyProvider
		ec   map[string]string // of DecryptOptions
		more []string          // of EncryptOptions.RequiredContextKeys
		want map[string]string // what the new message demands
	}{
		"given":                  {rawAES(t), required, nil, required},
		"all given":              {rawAES(t), ec, nil, required},
		"by RequireContext":      {requiring, required, nil, required},
		"by a manager":           {knowing, map[string]string{"user": "u-1"}, nil, required},
		"a manager hides others": {hiding, required, nil, required},
		"one more":               {rawAES(t), required, []string{"stored", "user"}, ec},
	} {
		opts := &esdk.ReencryptOptions{Decrypt: esdk.DecryptOptions{EncryptionContext: test.ec}, Encrypt: esdk.EncryptOptions{RequiredContextKeys: test.more}}
		var out bytes.Buffer
		h, err := esdk.Reencrypt(bg, &out, bytes.NewReader(message), test.from, rawAES(t), opts)
		require.NoError(t, err, name)
		require.Equal(t, ec, h.UserContext(), name)
		require.Equal(t, test.more, opts.Encrypt.RequiredContextKeys, "the caller's")
		require.Nil(t, opts.Encrypt.EncryptionContext, "the caller's")
		stored, err := format.ReadHeader(bytes.NewReader(out.Bytes()), 0)
		require.NoError(t, err)
		require.Len(t, stored.UserContext(), len(ec)-len(test.want), name)
		for k := range test.want {
			require.NotContains(t, stored.EncryptionContext, k, name)
			less := maps.Clone(test.want)
			delete(less, k)
			_, _, err := esdk.Decrypt(bg, out.Bytes(), rawAES(t), &esdk.DecryptOptions{EncryptionContext: less})
			require.ErrorIs(t, err, esdk.ErrEncryptionContext, "%s, without %s", name, k)
		}
		plaintext, _, err := esdk.Decrypt(bg, out.Bytes(), rawAES(t), &esdk.DecryptOptions{EncryptionContext: test.want})
		require.NoError(t, err, name)
		require.Equal(t, text(10), plaintext, name)
	}
	_, err = esdk.Reencrypt(bg, io.Discard, bytes.NewReader(message), rawAES(t), failing{}, nil)
	require.Error(t, err)
}

// knowing is a manager that knows pairs which callers need not give.
type knowing struct {
	manager
	pairs map[string]string
}

func (k *knowing) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	more := *req
	more.ReproducedContext = maps.Clone(req.ReproducedContext)
	maps.Copy(more.ReproducedContext, k.pairs)
	return k.manager.DecryptionMaterials(ctx, &more)
}

// A message keeps nothing of other SDKs' own pairs, which callers cannot set.
func TestReencryptDropsReservedPairs(t *testing.T) {
	t.Parallel()
	p := &manager{inner: plain{}, encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials {
		m.EncryptionContext = maps.Clone(m.EncryptionContext)
		m.EncryptionContext["aws-crypto-theirs"] = "x"
		return m
	}}
	message, _, err := esdk.Encrypt(bg, text(10), p, &esdk.EncryptOptions{EncryptionContext: map[string]string{"k": "v"}, Suite: suite.AES256GCMHKDFSHA512CommitKey})
	require.NoError(t, err)
	var out bytes.Buffer
	h, err := esdk.Reencrypt(bg, &out, bytes.NewReader(message), p.inner, rawAES(t), &esdk.ReencryptOptions{Encrypt: esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey}})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"k": "v"}, h.EncryptionContext)
}

// RequireContext demands the keys on both sides, also over itself.
func TestRequireContextProvider(t *testing.T) {
	t.Parallel()
	inner, err := keyprovider.RequireContext(rawAES(t), "tenant")
	require.NoError(t, err)
	p, err := keyprovider.RequireContext(inner, "user", "tenant")
	require.NoError(t, err)
	ec := map[string]string{"tenant": "t-1", "user": "u-1", "open": "o"}
	message, h, err := esdk.Encrypt(bg, text(10), p, &esdk.EncryptOptions{EncryptionContext: ec})
	require.NoError(t, err)
	require.Equal(t, "t-1", h.EncryptionContext["tenant"])
	require.NotContains(t, string(message), "t-1")
	require.NotContains(t, string(message), "u-1")
	require.Contains(t, string(message), "open")

	_, _, err = esdk.Decrypt(bg, message, p, &esdk.DecryptOptions{EncryptionContext: map[string]string{"tenant": "t-1", "user": "u-1"}})
	require.NoError(t, err)
	for _, missing := range []string{"tenant", "user"} {
		less := map[string]string{"tenant": "t-1", "user": "u-1"}
		delete(less, missing)
		_, _, err = esdk.Decrypt(bg, message, p, &esdk.DecryptOptions{EncryptionContext: less})
		require.ErrorIs(t, err, esdk.ErrEncryptionContext)
		require.ErrorContains(t, err, missing)
		_, _, err = esdk.Encrypt(bg, nil, p, &esdk.EncryptOptions{EncryptionContext: less})
		require.ErrorIs(t, err, esdk.ErrEncryptionContext)
		require.ErrorContains(t, err, missing)
	}
}

// A reserved key can be checked on decrypt as any other.
func TestReservedKeyOnDecrypt(t *testing.T) {
	t.Parallel()
	message, h, err := esdk.Encrypt(bg, nil, rawAES(t), nil)
	require.NoError(t, err)
	public := h.EncryptionContext[format.PublicKeyField]
	require.Len(t, public, 68)
	_, _, err = esdk.Decrypt(bg, message, rawAES(t), &esdk.DecryptOptions{EncryptionContext: map[string]string{format.PublicKeyField: public}})
	require.NoError(t, err)
	_, _, err = esdk.Decrypt(bg, message, rawAES(t), &esdk.DecryptOptions{EncryptionContext: map[string]string{format.PublicKeyField: "B" + public[1:]}})
	require.ErrorIs(t, err, esdk.ErrEncryptionContext)
}

// On decryption neither the header nor what the caller demands is what the
// manager makes of its request.
func TestARequestThatAManagerChangesDoesNotChangeWhatIsAuthentic(t *testing.T) {
	t.Parallel()
	message, _, err := esdk.Encrypt(bg, []byte("x"), rawAES(t), &esdk.EncryptOptions{EncryptionContext: map[string]string{"role": "user"}})
	require.NoError(t, err)
	for name, change := range map[string]func(*keyprovider.DecryptionRequest){
		"stored pair":   func(r *keyprovider.DecryptionRequest) { r.EncryptionContext["role"] = "admin" },
		"invented pair": func(r *keyprovider.DecryptionRequest) { r.EncryptionContext["new"] = "admin" },
		"reproduced pair": func(r *keyprovider.DecryptionRequest) {
			r.EncryptionContext["role"], r.ReproducedContext = "admin", nil
		},
	} {
		// Afterwards the materials, which share the request's map, have the pair.
		m := &meddler{inner: rawAES(t), afterDecrypt: change}
		for _, p := range []keyprovider.MasterKeyProvider{m, newCache(t, m)} {
			for _, opts := range []*esdk.DecryptOptions{nil, {EncryptionContext: map[string]string{"role": "admin"}}} {
				_, h, err := esdk.Decrypt(bg, message, p, opts)
				require.ErrorIs(t, err, esdk.ErrEncryptionContext, name)
				require.Nil(t, h, name)
				_, err = esdk.NewDecryptReader(bg, bytes.NewReader(message), p, opts)
				require.ErrorIs(t, err, esdk.ErrEncryptionContext, name)
			}
		}
	}

	m := &meddler{inner: rawAES(t), afterDecrypt: func(r *keyprovider.DecryptionRequest) {
		for i := range r.EncryptedDataKeys {
			clear(r.EncryptedDataKeys[i].ProviderInfo)
			clear(r.EncryptedDataKeys[i].Ciphertext)
		}
		clear(r.EncryptedDataKeys)
	}}
	want, err := format.ReadHeader(bytes.NewReader(message), 0)
	require.NoError(t, err)
	c := newCache(t, m)
	for _, p := range []keyprovider.MasterKeyProvider{m, c, c} {
		_, h, err := esdk.Decrypt(bg, message, p, nil)
		require.NoError(t, err)
		require.Equal(t, want.EncryptedDataKeys, h.EncryptedDataKeys)
		clear(h.EncryptedDataKeys[0].Ciphertext) // the caller's
		clear(h.EncryptionContext)
	}
	require.EqualValues(t, 1, c.Stats().Misses)
}

// A context that differs from the message's is not reported as a wrong key
// where the key commitment has shown that the key is right.
func TestAContextThatDiffersIsNamed(t *testing.T) {
	t.Parallel()
	p := plain{} // binds no context to the data key
	opts := &esdk.EncryptOptions{EncryptionContext: map[string]string{"tenant": "42", "user": "7"}, RequiredContextKeys: []string{"tenant"}}
	message, _, err := esdk.Encrypt(bg, []byte("x"), p, opts)
	require.NoError(t, err)
	for name, ec := range map[string]map[string]string{
		"nothing given": nil,
		"another value": {"tenant": "43"},
		"one too many":  {"tenant": "42", "role": "admin"},
		"misspelt":      {"tenent": "42"},
	} {
		_, _, err := esdk.Decrypt(bg, message, p, &esdk.DecryptOptions{EncryptionContext: ec})
		require.ErrorIs(t, err, esdk.ErrEncryptionContext, name)
		require.ErrorIs(t, err, esdk.ErrAuthentication, name)
		require.ErrorContains(t, err, "encryption context", name)
		for k := range ec {
			require.ErrorContains(t, err, k, name)
		}
	}
	opts.Suite = suite.AES256GCMHKDFSHA256 // commits to no key, which could be wrong
	message, _, err = clientFor(opts.Suite).Encrypt(bg, []byte("x"), p, opts)
	require.NoError(t, err)
	_, _, err = clientFor(opts.Suite).Decrypt(bg, message, p, nil)
	require.ErrorIs(t, err, esdk.ErrAuthentication)
	require.NotErrorIs(t, err, esdk.ErrEncryptionContext)
}

// The header of a decrypted message says which entry opened it.
func TestOpenedBy(t *testing.T) {
	t.Parallel()
	another, err := keyprovider.NewRawAES("ns", "another", bytes.Repeat([]byte{9}, 32))
	require.NoError(t, err)
	both, err := keyprovider.Multi(another, rawAES(t))
	require.NoError(t, err)
	message, h, err := esdk.Encrypt(bg, []byte("x"), both, nil)
	require.NoError(t, err)
	require.Nil(t, h.OpenedBy, "nothing opened it")
	cache, err := keyprovider.NewCache(rawAES(t), keyprovider.CacheOptions{MaxAge: time.Hour})
	require.NoError(t, err)
	for name, test := range map[string]struct {
		p     keyprovider.MasterKeyProvider
		entry int
	}{"first": {another, 0}, "second": {rawAES(t), 1}, "miss": {cache, 1}, "hit": {cache, 1}} {
		_, h, err := esdk.Decrypt(bg, message, test.p, nil)
		require.NoError(t, err, name)
		require.Same(t, &h.EncryptedDataKeys[test.entry], h.OpenedBy, name)
		d, err := esdk.NewDecryptReader(bg, bytes.NewReader(message), test.p, nil)
		require.NoError(t, err, name)
		require.Equal(t, h.OpenedBy, d.Header().OpenedBy, name)
	}
	for name, said := range map[string]*keyprovider.EncryptedDataKey{
		"nobody":         nil,
		"somebody else":  {ProviderID: "ns", ProviderInfo: h.EncryptedDataKeys[0].ProviderInfo, Ciphertext: []byte("other")},
		"nobody's entry": {},
	} {
		m := &manager{inner: rawAES(t), decrypt: func(m *keyprovider.DecryptionMaterials) *keyprovider.DecryptionMaterials {
			m.OpenedBy = said
			return m
		}}
		_, h, err = esdk.Decrypt(bg, message, m, nil)
		require.NoError(t, err, name)
		require.Nil(t, h.OpenedBy, name)
	}
}

// A message with more entries than are copied for the manager has them all.
func TestTheEntriesOfALongHeaderAreTheMessages(t *testing.T) {
	t.Parallel()
	for _, n := range []int{256, 257, 1000} {
		m := &meddler{inner: rawAES(t), materials: func(m *keyprovider.EncryptionMaterials) {
			own := m.EncryptedDataKeys[0]
			m.EncryptedDataKeys = nil
			for i := range n - 1 {
				m.EncryptedDataKeys = append(m.EncryptedDataKeys, keyprovider.EncryptedDataKey{ProviderID: fmt.Sprint(i), Ciphertext: []byte{1}})
			}
			m.EncryptedDataKeys = append(m.EncryptedDataKeys, own)
		}}
		message, want, err := esdk.Encrypt(bg, []byte("x"), m, nil)
		require.NoError(t, err)
		m.afterDecrypt = func(r *keyprovider.DecryptionRequest) { clear(r.EncryptedDataKeys[:10]) }
		_, h, err := esdk.Decrypt(bg, message, m, nil)
		require.NoError(t, err)
		for i := range want.EncryptedDataKeys { // nil and empty are the same
			require.Equal(t, want.EncryptedDataKeys[i].ProviderID, h.EncryptedDataKeys[i].ProviderID)
			require.Equal(t, want.EncryptedDataKeys[i].Ciphertext, h.EncryptedDataKeys[i].Ciphertext)
		}
		require.Same(t, &h.EncryptedDataKeys[n-1], h.OpenedBy)
	}
}
