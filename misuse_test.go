package esdk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// hidden wraps a provider the careless way.
type hidden struct{ keyprovider.MasterKeyProvider }

// keyless is a provider without master keys.
type keyless struct{ dataKey }

func (keyless) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return nil, nil
}

// Careless use gives an error that names the fault, from every entry point.
func TestCarelessEncryption(t *testing.T) {
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

// Streams refuse what only Encrypt can do, and nil readers and writers.
func TestCarelessStreams(t *testing.T) {
	p := rawAES(t)
	_, err := esdk.NewEncryptReader(bg, strings.NewReader(""), p, &esdk.EncryptOptions{Unframed: true})
	require.ErrorContains(t, err, "unframed")
	_, err = esdk.NewEncryptWriter(bg, io.Discard, p, &esdk.EncryptOptions{Unframed: true})
	require.ErrorContains(t, err, "unframed")
	_, err = esdk.NewEncryptReader(bg, nil, p, nil)
	require.EqualError(t, err, "esdk: nil io.Reader")
	_, err = esdk.NewEncryptWriter(bg, nil, p, nil)
	require.EqualError(t, err, "esdk: nil io.Writer")
	_, err = esdk.NewDecryptReader(bg, nil, p, nil)
	require.EqualError(t, err, "esdk: nil io.Reader")

	r, err := esdk.NewEncryptReader(bg, strings.NewReader("x"), p, nil)
	require.NoError(t, err)
	_, err = r.WriteTo(nil)
	require.EqualError(t, err, "esdk: nil io.Writer")
	w, err := esdk.NewEncryptWriter(bg, io.Discard, p, nil)
	require.NoError(t, err)
	_, err = w.ReadFrom(nil)
	require.EqualError(t, err, "esdk: nil io.Reader")
	d, err := esdk.NewDecryptReader(bg, r, p, nil)
	require.NoError(t, err)
	_, err = d.WriteTo(nil)
	require.EqualError(t, err, "esdk: nil io.Writer")
}

func TestCarelessDecryption(t *testing.T) {
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
		"unknown signature policy":  {ctx: bg, p: p, opts: esdk.DecryptOptions{Signature: esdk.RejectSigned + 1}, says: "unknown signature policy 2"},
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
		"pair that is not bound":    {ctx: bg, p: p, opts: esdk.DecryptOptions{EncryptionContext: map[string]string{"b": "secret"}}, says: `["b"]`},
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

// Limits hold exactly: at the limit all is well, one beyond it is not.
func TestLimitsAreExact(t *testing.T) {
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

// A stream fails at the byte that is too much, not at the end.
func TestPlaintextTooLongFailsAtOnce(t *testing.T) {
	endless := func() io.Reader { return repeating("abc") }
	opts := &esdk.EncryptOptions{MaxPlaintextLength: 100_000}
	r, err := esdk.NewEncryptReader(bg, endless(), rawAES(t), opts)
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, r)
	require.ErrorIs(t, err, esdk.ErrPlaintextTooLong)
	require.Less(t, n, int64(110_000))
	_, again := r.Read(make([]byte, 1))
	require.Equal(t, err, again)

	var out bytes.Buffer
	w, err := esdk.NewEncryptWriter(bg, &out, rawAES(t), opts)
	require.NoError(t, err)
	_, err = w.Write(make([]byte, 100_000))
	require.NoError(t, err)
	_, err = w.Write([]byte{0})
	require.ErrorIs(t, err, esdk.ErrPlaintextTooLong)
	require.Equal(t, err, w.Close())
	_, _, err = esdk.Decrypt(bg, out.Bytes(), rawAES(t), nil)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// repeating is an endless source.
type repeating string

func (r repeating) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		n += copy(p[n:], r)
	}
	return len(p), nil
}

// The order of checks on decrypt is that of the specification and of the cost:
// nothing that needs a key comes before what does not.
func TestDecryptChecksInOrder(t *testing.T) {
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

// failing is a provider that always fails.
type failing struct{ err error }

func (f failing) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return nil, f.err
}

func (f failing) DecryptDataKey(context.Context, *keyprovider.Request, []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	return nil, f.err
}
