package kms_test

import (
	"context"
	"crypto/ecdh"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// A secretClient keeps the secrets that it returned and, if wrong is set, says
// that they are of another key.
type secretClient struct {
	*awskms.Client
	wrong   bool
	secrets [][]byte
}

func (c *secretClient) answer(keyID **string, secret []byte) {
	c.secrets = append(c.secrets, secret)
	if c.wrong {
		*keyID = aws.String(key2)
	}
}

func (c *secretClient) GenerateDataKey(ctx context.Context, in *awskms.GenerateDataKeyInput, opts ...func(*awskms.Options)) (*awskms.GenerateDataKeyOutput, error) {
	out, err := c.Client.GenerateDataKey(ctx, in, opts...)
	if err == nil {
		c.answer(&out.KeyId, out.Plaintext)
	}
	return out, err
}

func (c *secretClient) Decrypt(ctx context.Context, in *awskms.DecryptInput, opts ...func(*awskms.Options)) (*awskms.DecryptOutput, error) {
	out, err := c.Client.Decrypt(ctx, in, opts...)
	if err == nil {
		c.answer(&out.KeyId, out.Plaintext)
	}
	return out, err
}

func (c *secretClient) DeriveSharedSecret(ctx context.Context, in *awskms.DeriveSharedSecretInput, opts ...func(*awskms.Options)) (*awskms.DeriveSharedSecretOutput, error) {
	out, err := c.Client.DeriveSharedSecret(ctx, in, opts...)
	if err == nil {
		c.answer(&out.KeyId, out.SharedSecret)
	}
	return out, err
}

// requireCleared requires that the client returned n secrets since the last
// call, and that nothing is left of them.
func (c *secretClient) requireCleared(t *testing.T, n int) {
	t.Helper()
	require.Len(t, c.secrets, n)
	for _, secret := range c.secrets {
		require.NotEmpty(t, secret)
		require.Equal(t, make([]byte, len(secret)), secret)
	}
	c.secrets = nil
}

func TestSecretsOfWrongResponsesAreCleared(t *testing.T) {
	t.Parallel()
	e := newRSAEndpoint(t)
	client := &secretClient{Client: e.client("us-east-1")}
	opts := &kms.Options{ClientFor: func(context.Context, string) (kms.API, error) { return client, nil }}
	eccARN, _ := e.createECCKey(t, "us-east-1", ecdh.P256())
	static := newECDHStatic(t, eccARN, nil, eccKey(t, ecdh.P256()).PublicKey(), opts)
	for name, p := range map[string]keyprovider.MasterKeyProvider{
		"strict": strict(t, opts, e.createKey(t, "us-east-1")),
		"RSA":    newRSA(t, e.arn, e.pub, kms.OAEPSHA256, opts),
		"ECDH":   static,
	} {
		t.Run(name, func(t *testing.T) {
			client.wrong = false
			m := encryptUnsigned(t, p)
			client.wrong, client.secrets = true, nil
			refusal(t, p, m)
			client.requireCleared(t, 1)
			if name != "RSA" { // that encrypts without a call
				keys, err := p.MasterKeys(t.Context(), request(m))
				require.NoError(t, err)
				_, err = keys[0].GenerateDataKey(t.Context(), request(m))
				require.ErrorContains(t, err, "the response")
				client.requireCleared(t, 1)
			}
		})
	}
}

func TestSharedSecretsAreClearedAfterUse(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	client := &secretClient{Client: e.client("us-east-1")}
	opts := &kms.Options{ClientFor: func(context.Context, string) (kms.API, error) { return client, nil }}
	arn, pub := e.createECCKey(t, "us-east-1", ecdh.P384())
	static := newECDHStatic(t, arn, nil, eccKey(t, ecdh.P384()).PublicKey(), opts)
	m := encryptUnsigned(t, static)
	client.requireCleared(t, 1)
	requireOpens(t, static, m, 0)
	client.requireCleared(t, 1)

	ephemeral, err := keyprovider.NewRawECDHEphemeral(pub)
	require.NoError(t, err)
	discovery := newECDHDiscovery(t, arn, nil, opts)
	m = encryptUnsigned(t, ephemeral)
	requireOpens(t, discovery, m, 0)
	client.requireCleared(t, 1)
	m.EncryptedDataKeys[0].Ciphertext[40] ^= 1
	refusal(t, discovery, m)
	client.requireCleared(t, 1)
}

// The Region is the program's own, not one that messages name: a call that
// fails is no reason to make a client anew.
func TestAsymmetricProvidersKeepTheirClient(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	made := 0
	opts := &kms.Options{ClientFor: func(context.Context, string) (kms.API, error) {
		made++
		return e.client("us-east-1"), nil
	}}
	rsaARN, rsaPublic := key1, &rsaKey().PublicKey
	eccARN, eccPublic := e.createECCKey(t, "us-east-1", ecdh.P256())
	ephemeral, err := keyprovider.NewRawECDHEphemeral(eccPublic)
	require.NoError(t, err)
	discovery := newECDHDiscovery(t, eccARN, eccPublic, opts)
	s.Intercept(func(context.Context, kmstest.Call) *kmstest.Reply { return &kmstest.Reply{Error: "DisabledException"} })
	for _, test := range []struct{ writer, reader keyprovider.MasterKeyProvider }{
		{newRSA(t, rsaARN, rsaPublic, kms.OAEPSHA1, opts), newRSA(t, rsaARN, nil, kms.OAEPSHA1, opts)},
		{ephemeral, discovery},
	} {
		made = 0
		m := encryptUnsigned(t, test.writer)
		refusal(t, test.reader, m)
		refusal(t, test.reader, m)
		require.Equal(t, 1, made)
	}
}

// Both before a call and if it ends during one, and be it for the last entry,
// the error is that of the context, with what it ended, and not one more cause.
func TestTheErrorOfADoneContextIsThatOfDecryption(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := &endpoint{s.Config(), s}
	rsaARN, rsaPublic := key1, &rsaKey().PublicKey
	eccARN, eccPublic := e.createECCKey(t, "us-east-1", ecdh.P256())
	key := s.CreateKey("us-east-1")
	ephemeral, err := keyprovider.NewRawECDHEphemeral(eccPublic)
	require.NoError(t, err)
	for name, test := range map[string]struct{ writer, reader keyprovider.MasterKeyProvider }{
		"RSA":       {newRSA(t, rsaARN, rsaPublic, kms.OAEPSHA256, e.options()), newRSA(t, rsaARN, nil, kms.OAEPSHA256, e.options())},
		"ECDH":      {ephemeral, newECDHDiscovery(t, eccARN, eccPublic, e.options())},
		"strict":    {strict(t, e.options(), key), strict(t, e.options(), key)},
		"discovery": {strict(t, e.options(), key), discovery(t, nil, e.options())},
	} {
		t.Run(name, func(t *testing.T) {
			m := encryptUnsigned(t, test.writer)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s.Intercept(func(context.Context, kmstest.Call) *kmstest.Reply {
				cancel()
				return &kmstest.Reply{Error: "DisabledException"}
			})
			defer s.Intercept(nil)
			got, err := test.reader.DecryptDataKey(ctx, request(m), m.EncryptedDataKeys)
			require.Nil(t, got)
			require.ErrorIs(t, err, context.Canceled)
			var failure *kms.KeyError
			require.ErrorAs(t, err, &failure)
			foreign := []keyprovider.EncryptedDataKey{{ProviderID: "other"}}
			got, err = test.reader.DecryptDataKey(ctx, request(m), foreign)
			require.Nil(t, got)
			require.ErrorIs(t, err, context.Canceled)
		})
	}
}
