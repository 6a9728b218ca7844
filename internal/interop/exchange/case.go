package main

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/suite"
)

// A Case is a line of cases.jsonl: how to encrypt what, and the message that
// esdk made of it.
type Case struct {
	ID     string `json:"id"`
	Group  string `json:"group"` // of the table
	Suite  string `json:"suite"` // four hexadecimal digits
	Keys   []Key  `json:"keys"`  // all encrypt, the first generates
	Reader int    `json:"reader"`
	// ReadWith, if set, decrypts instead of Keys[Reader]: another replica, or
	// the other party's key.
	ReadWith *Key `json:"readWith,omitempty"`
	// Discovery means to decrypt with any KMS key of the account.
	Discovery   bool              `json:"discovery,omitempty"`
	Context     map[string]string `json:"context,omitempty"`
	Required    []string          `json:"required,omitempty"`
	FrameLength int64             `json:"frameLength"` // 0: unframed
	Length      int               `json:"length"`      // of the plaintext, which plaintext makes
	// Altered says what is wrong with the message: peers should refuse it, and
	// encrypt nothing.
	Altered string `json:"altered,omitempty"`
	Message []byte `json:"message"`
	// Reproduced and MaxKeys are how to decrypt: pairs to give beside those of
	// Required, and the most encrypted data keys, 0 for any number. Only the
	// official Go SDK's program knows them.
	Reproduced map[string]string `json:"reproduced,omitempty"`
	MaxKeys    int               `json:"maxKeys,omitempty"`
}

// A Key is a wrapping key of a case.
type Key struct {
	Type      string `json:"type"` // aes, rsa, ecdh, kms, mrk (a multi-Region key of KMS), kms-rsa, kms-ecdh, hierarchy
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"` // the ARN of a KMS key, the ID of a branch key
	AES       []byte `json:"aes,omitempty"`
	Padding   string `json:"padding,omitempty"`  // as RSAPadding.String
	Curve     string `json:"curve,omitempty"`    // P256, P384, P521
	Schema    string `json:"schema,omitempty"`   // static, ephemeral, discovery
	Public    []byte `json:"public,omitempty"`   // DER, PKIX; with ECDH, the recipient's
	Private   []byte `json:"private,omitempty"`  // DER, PKCS #8
	Endpoint  string `json:"endpoint,omitempty"` // of KMS; empty: that of the environment

	// Of branch keys: where the store is, and the KMS key that protects them.
	Table       string `json:"table,omitempty"`
	LogicalName string `json:"logicalName,omitempty"`
	KMSKey      string `json:"kmsKey,omitempty"`
}

// A Result is a line of a peer's results.jsonl: what became of the case. Skip
// is for what the peer's API has no way to ask for, Error for what it refused.
type Result struct {
	ID           string            `json:"id"`
	Message      []byte            `json:"message,omitempty"`
	EncryptError string            `json:"encryptError,omitempty"`
	EncryptSkip  string            `json:"encryptSkip,omitempty"`
	SHA256       string            `json:"sha256,omitempty"`  // of the plaintext, hexadecimal
	Context      map[string]string `json:"context,omitempty"` // nil: the peer does not tell it
	DecryptError string            `json:"decryptError,omitempty"`
	DecryptSkip  string            `json:"decryptSkip,omitempty"`
}

func (c *Case) suite() suite.ID {
	id, err := suite.Parse(c.Suite)
	if err != nil {
		panic(err)
	}
	return id
}

func (c *Case) client() *esdk.Client {
	if c.suite().Committing() {
		return &esdk.Client{MaxEncryptedDataKeys: c.MaxKeys}
	}
	return &esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt, MaxEncryptedDataKeys: c.MaxKeys}
}

// plaintext returns the n bytes that all programs here encrypt.
func plaintext(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return b
}

func (c *Case) hash() string {
	sum := sha256.Sum256(plaintext(c.Length))
	return hex.EncodeToString(sum[:])
}

var paddings = []keyprovider.RSAPadding{keyprovider.PKCS1v15, keyprovider.OAEPSHA1, keyprovider.OAEPSHA256,
	keyprovider.OAEPSHA384, keyprovider.OAEPSHA512}

func (k *Key) provider(ctx context.Context) (keyprovider.MasterKeyProvider, error) {
	switch k.Type {
	case "aes":
		return keyprovider.NewRawAES(k.Namespace, k.Name, k.AES)
	case "rsa":
		pub, err := x509.ParsePKIXPublicKey(k.Public)
		if err != nil {
			return nil, err
		}
		priv, err := x509.ParsePKCS8PrivateKey(k.Private)
		if err != nil {
			return nil, err
		}
		for _, p := range paddings {
			if p.String() == k.Padding {
				return keyprovider.NewRawRSA(k.Namespace, k.Name, pub.(*rsa.PublicKey), priv.(*rsa.PrivateKey), p)
			}
		}
	case "ecdh":
		return k.ecdhProvider()
	case "kms-rsa", "kms-ecdh":
		return k.asymmetricProvider(ctx)
	case "kms", "mrk":
		opts, err := k.options(ctx)
		if err != nil {
			return nil, err
		}
		return kms.New(ctx, []string{k.Name}, opts)
	case "hierarchy":
		return k.hierarchical(ctx)
	}
	return nil, fmt.Errorf("key of type %q, padding %q", k.Type, k.Padding)
}

// options are those of the provider of a KMS key.
func (k *Key) options(ctx context.Context) (*kms.Options, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	clientFor := func(_ context.Context, region string) (kms.API, error) {
		return awskms.NewFromConfig(cfg, func(o *awskms.Options) {
			o.Region = region
			if k.Endpoint != "" { // the environment would win over that of cfg
				o.BaseEndpoint = &k.Endpoint
			}
		}), nil
	}
	return &kms.Options{ClientFor: clientFor, Region: k.field(3), MultiRegion: k.Type == "mrk"}, nil
}

// field returns a field of a KMS key's ARN.
func (k *Key) field(i int) string { return strings.Split(k.Name, ":")[i] }

// writer returns the provider that encrypts.
func (c *Case) writer(ctx context.Context) (keyprovider.MasterKeyProvider, error) {
	var all []keyprovider.MasterKeyProvider
	for i := range c.Keys {
		p, err := c.Keys[i].provider(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return keyprovider.Multi(all[0], all[1:]...)
}

// reader returns the provider that decrypts.
func (c *Case) reader(ctx context.Context) (keyprovider.MasterKeyProvider, error) {
	k := &c.Keys[c.Reader]
	if c.ReadWith != nil {
		k = c.ReadWith
	}
	if c.Discovery {
		opts, err := k.options(ctx)
		if err != nil {
			return nil, err
		}
		return kms.NewDiscovery(ctx, &kms.DiscoveryFilter{Partition: k.field(1), Accounts: []string{k.field(4)}}, opts)
	}
	return k.provider(ctx)
}

// encrypt makes the message.
func (c *Case) encrypt(ctx context.Context) error {
	p, err := c.writer(ctx)
	if err != nil {
		return err
	}
	c.Message, _, err = c.client().Encrypt(ctx, plaintext(c.Length), p, &esdk.EncryptOptions{EncryptionContext: c.Context,
		RequiredContextKeys: c.Required, Suite: c.suite(), FrameLength: c.FrameLength, Unframed: c.FrameLength == 0})
	return err
}

// decryptOptions gives the pairs that the message does not store.
func (c *Case) decryptOptions() *esdk.DecryptOptions {
	opts := &esdk.DecryptOptions{EncryptionContext: maps.Clone(c.Reproduced)}
	if len(c.Required) > 0 {
		if opts.EncryptionContext == nil {
			opts.EncryptionContext = make(map[string]string)
		}
		for _, k := range c.Required {
			opts.EncryptionContext[k] = c.Context[k]
		}
	}
	return opts
}

// checkContext compares what came out of a message with what went in, but for
// the verification key.
func (c *Case) checkContext(got map[string]string) error {
	got = maps.Clone(got)
	delete(got, format.PublicKeyField)
	if !maps.Equal(got, c.Context) {
		return fmt.Errorf("encryption context of %d pairs differs: %.200q", len(got), got)
	}
	return nil
}
