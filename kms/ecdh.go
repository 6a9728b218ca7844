package kms

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/esdk-go/esdk/internal/keywrap"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/datakey"
)

// ECDH protects data keys by a key agreement between two parties, one of which
// has its private key in KMS: both derive the same wrapping keys, each from its
// own private key and the other's public key. It is a
// [keyprovider.MasterKeyProvider] and its own only [keyprovider.MasterKey],
// safe for concurrent use, and prints without credentials.
//
// The other party can have its key in KMS too, or hold it itself:
// [keyprovider.RawECDH] reads the same entries, and this one reads its.
//
// The encryption context is bound to the wrapped data key, as the wrapping keys
// are derived from it: use it for what is not secret but belongs to the
// message. KMS does not get it, and neither its policies nor CloudTrail see it.
// As the parties derive the same keys, either can make messages that seem to be
// the other's.
//
// It follows framework/aws-kms/aws-kms-ecdh-keyring.md and
// framework/key-agreement-schemas.md of the specification. The curves are
// P-256, P-384 and P-521; SM2 is not supported.
type ECDH struct {
	redacted
	key   key
	curve ecdh.Curve
	own   []byte // the KMS key's public key, a compressed point

	agreement keywrap.Agreement // with the peer; zero: discovery
	peer      []byte            // the peer's public key, DER; nil: discovery
}

// NewECDHStatic returns a provider that encrypts for recipient, and decrypts
// what the two parties encrypted for each other: the KMS key with this ARN,
// whose usage is key agreement, and the recipient's key. The schema is
// KmsPrivateKeyToStaticPublicKey.
//
// pub is the KMS key's public key; nil means that NewECDHStatic asks KMS for it
// by GetPublicKey, and fails if it cannot, if the key is not for key agreement,
// or is not on the recipient's curve. A pub that is given must be of the KMS
// key, which nothing checks: what is encrypted with another one can only be
// decrypted with that.
//
// Encryption calls DeriveSharedSecret once, decryption once for each entry
// between the parties until one succeeds. A client of Options.ClientFor must
// have these methods beyond [API], as *kms.Client of the AWS SDK does.
//
// The context is for GetPublicKey and, without Config and ClientFor, for
// config.LoadDefaultConfig.
func NewECDHStatic(ctx context.Context, keyARN string, pub, recipient *ecdh.PublicKey, opts *Options) (*ECDH, error) {
	if err := keywrap.CheckPublicKey(recipient); err != nil {
		return nil, fmt.Errorf("kms: recipient's public key: %w", err)
	}
	peer, err := x509.MarshalPKIXPublicKey(recipient)
	if err != nil {
		return nil, fmt.Errorf("kms: recipient's public key: %w", err)
	}
	k, err := newKey(ctx, keyARN, opts)
	if err != nil {
		return nil, err
	}
	if pub, err = k.agreementKey(ctx, pub); err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	agreement, err := keywrap.NewAgreement(pub, recipient)
	if err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	return &ECDH{provider.Redact("AWS KMS ECDH provider of %v", k.arn), k, agreement.Curve, agreement.Sender, agreement, peer}, nil
}

// NewECDHDiscovery returns a provider that decrypts what anybody encrypted for
// the KMS key with this ARN, whose usage is key agreement. It cannot encrypt:
// its MasterKeys fails with [keyprovider.ErrDecryptOnly]. The schema is
// KmsPublicKeyDiscovery.
//
// Anybody who has the public key can be the sender: prefer [NewECDHStatic] if
// it is known.
//
// pub is the KMS key's public key; nil means that NewECDHDiscovery asks KMS for
// it by GetPublicKey, and fails if it cannot or if the key is not for key
// agreement. Decryption calls DeriveSharedSecret once for each entry for the
// key until one succeeds. A client of Options.ClientFor must have these methods
// beyond [API], as *kms.Client of the AWS SDK does.
//
// The context is for GetPublicKey and, without Config and ClientFor, for
// config.LoadDefaultConfig.
func NewECDHDiscovery(ctx context.Context, keyARN string, pub *ecdh.PublicKey, opts *Options) (*ECDH, error) {
	k, err := newKey(ctx, keyARN, opts)
	if err != nil {
		return nil, err
	}
	if pub, err = k.agreementKey(ctx, pub); err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	return &ECDH{redacted: provider.Redact("AWS KMS ECDH discovery provider of %v", k.arn), key: k, curve: pub.Curve(), own: keywrap.Compress(pub)}, nil
}

// errECDHZero is for a provider of no constructor.
var errECDHZero = errors.New("the provider was not made by NewECDHStatic or NewECDHDiscovery")

// MasterKeys returns p alone, or [keyprovider.ErrDecryptOnly] if p is for
// discovery.
func (p ECDH) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	if err := p.checkEncrypt(); err != nil {
		return nil, err
	}
	return []keyprovider.MasterKey{p}, nil
}

func (p ECDH) checkEncrypt() error {
	switch {
	case p.key.service == nil:
		return errECDHZero
	case p.peer == nil:
		return fmt.Errorf("%v has no recipient: %w", p, keyprovider.ErrDecryptOnly)
	}
	return nil
}

// GenerateDataKey returns a random data key, wrapped.
func (p ECDH) GenerateDataKey(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	return datakey.Generate(ctx, p, req)
}

// EncryptDataKey returns plaintext wrapped for the recipient.
func (p ECDH) EncryptDataKey(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
	if err := p.checkEncrypt(); err != nil {
		return keyprovider.EncryptedDataKey{}, err
	}
	serialised, err := provider.AppendContext(nil, req.EncryptionContext)
	if err != nil {
		return keyprovider.EncryptedDataKey{}, err
	}
	secret, err := p.key.deriveSecret(ctx, p.curve, p.peer)
	if err != nil {
		return keyprovider.EncryptedDataKey{}, err
	}
	defer clear(secret)
	wrapped, err := p.agreement.Wrap(secret, serialised, plaintext)
	if err != nil {
		return keyprovider.EncryptedDataKey{}, fmt.Errorf("%v: %w", p, err)
	}
	return keyprovider.EncryptedDataKey{ProviderID: keywrap.KMSECDHProviderID, ProviderInfo: p.agreement.ProviderInfo(), Ciphertext: wrapped}, nil
}

// DecryptDataKey unwraps the first of keys that is for the provider: between
// its two parties, or for discovery of any sender for the KMS key.
func (p ECDH) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	if p.key.service == nil {
		return nil, errECDHZero
	}
	serialised, err := provider.AppendContext(nil, req.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return datakey.Open(ctx, p.String(), keys, func(edk *keyprovider.EncryptedDataKey) (provider.Unwrap, error) {
		if !keywrap.IsECDH(edk.ProviderID) {
			return nil, nil
		}
		with, err := p.fits(req, edk)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) ([]byte, error) { return p.unwrap(ctx, with, serialised, edk.Ciphertext) }, nil
	})
}

// fits returns the entry's agreement, or why the entry is not for the provider.
func (p ECDH) fits(req *keyprovider.Request, edk *keyprovider.EncryptedDataKey) (keywrap.Agreement, error) {
	with, err := keywrap.ParseAgreement(p.curve, edk.ProviderInfo)
	if err != nil {
		return keywrap.Agreement{}, err
	}
	want := keywrap.AgreementOverhead + req.Suite.KeySize()
	switch {
	case p.peer == nil && !bytes.Equal(with.Recipient, p.own):
		err = errors.New("it is for another recipient")
	case p.peer != nil && !with.Between(p.own, p.agreement.Recipient):
		err = errors.New("it is not between the provider's two parties")
	case len(edk.Ciphertext) != want:
		err = fmt.Errorf("wrapped in %d bytes; a data key of %v is in %d", len(edk.Ciphertext), req.Suite, want)
	}
	return with, err
}

// unwrap returns the data key that wrapped holds.
func (p ECDH) unwrap(ctx context.Context, with keywrap.Agreement, serialised, wrapped []byte) ([]byte, error) {
	peer := p.peer
	if peer == nil {
		sender, err := keywrap.Decompress(p.curve, with.Sender)
		if err != nil {
			return nil, fmt.Errorf("sender's public key: %w", err)
		}
		if peer, err = x509.MarshalPKIXPublicKey(sender); err != nil {
			return nil, fmt.Errorf("sender's public key: %w", err)
		}
	}
	secret, err := p.key.deriveSecret(ctx, p.curve, peer)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	return with.Unwrap(secret, serialised, wrapped)
}
