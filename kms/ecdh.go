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

// ECDH protects data keys by key agreement between two parties, one of which has
// its private key in KMS. Both derive the same wrapping keys, each from its own
// private key and the other's public key. It is a [keyprovider.MasterKeyProvider]
// and its own only [keyprovider.MasterKey], safe for concurrent use, and prints
// without credentials.
//
// The other party can have its key in KMS too, or hold it itself:
// [keyprovider.RawECDH] reads the same messages, and ECDH reads those of RawECDH.
//
// The encryption context is bound to the wrapped data key, because the wrapping
// keys are derived from it: use it for data that is not secret but belongs to the
// message. KMS does not get the encryption context, so neither key policies nor
// CloudTrail see it. As both parties derive the same keys, either can write
// messages that appear to be the other's.
//
// The curves are P-256, P-384 and P-521; SM2 is not supported. It follows the
// specification's [aws-kms-ecdh-keyring] and [key-agreement-schemas].
//
// [aws-kms-ecdh-keyring]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/aws-kms/aws-kms-ecdh-keyring.md
// [key-agreement-schemas]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/key-agreement-schemas.md
type ECDH struct {
	redacted
	key   key
	curve ecdh.Curve
	own   []byte // the KMS key's public key, a compressed point

	agreement keywrap.Agreement // with the peer; zero: discovery
	peer      []byte            // the peer's public key, DER; nil: discovery
}

// ECDHOptions are settings of an [ECDH]. The zero value and nil are the defaults.
// Clients that Options.ClientFor returns must have the methods DeriveSharedSecret
// and, if PublicKey is nil, GetPublicKey, as *kms.Client of the AWS SDK has them.
type ECDHOptions struct {
	Options
	// PublicKey is the public key of the KMS key. Nil means that the constructor
	// gets it by calling GetPublicKey. Nothing checks that a PublicKey is the KMS
	// key's: what is encrypted with another one cannot be decrypted with the KMS
	// key.
	PublicKey *ecdh.PublicKey
}

// NewECDHStatic returns a provider that encrypts for recipient, and decrypts what
// the two parties encrypted for each other: the KMS key with this ARN, whose usage
// is KEY_AGREEMENT, and the recipient's key. The schema is
// KmsPrivateKeyToStaticPublicKey.
//
// Encryption calls DeriveSharedSecret once. Decryption calls it for one after the
// other of the entries between the two parties, until one succeeds.
//
// It uses ctx for GetPublicKey, if there is no ECDHOptions.PublicKey, and for
// config.LoadDefaultConfig, if neither Config nor ClientFor is set. It fails if
// keyARN is not the ARN of a key, if GetPublicKey fails, if the key is not for key
// agreement, or if the two public keys are on different curves.
func NewECDHStatic(ctx context.Context, keyARN string, recipient *ecdh.PublicKey, opts *ECDHOptions) (*ECDH, error) {
	if err := keywrap.CheckPublicKey(recipient); err != nil {
		return nil, fmt.Errorf("kms: recipient's public key: %w", err)
	}
	peer, err := x509.MarshalPKIXPublicKey(recipient)
	if err != nil {
		return nil, fmt.Errorf("kms: recipient's public key: %w", err)
	}
	k, own, err := newAgreementKey(ctx, keyARN, opts)
	if err != nil {
		return nil, err
	}
	agreement, err := keywrap.NewAgreement(own, recipient)
	if err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	return &ECDH{provider.Redact("AWS KMS ECDH provider of %v", k.arn), k, agreement.Curve, agreement.Sender, agreement, peer}, nil
}

// NewECDHDiscovery returns a provider that decrypts what anybody encrypted for the
// KMS key with this ARN, whose usage is KEY_AGREEMENT. It cannot encrypt: its
// MasterKeys fails with [keyprovider.ErrDecryptOnly]. The schema is
// KmsPublicKeyDiscovery.
//
// Whoever has the public key can be the sender. Prefer [NewECDHStatic] if the
// sender is known. To write such messages, use
// [keyprovider.NewRawECDHEphemeral].
//
// Decryption calls DeriveSharedSecret for each of the entries in turn for
// the key, until one succeeds. It uses ctx, and fails, as [NewECDHStatic] does.
func NewECDHDiscovery(ctx context.Context, keyARN string, opts *ECDHOptions) (*ECDH, error) {
	k, own, err := newAgreementKey(ctx, keyARN, opts)
	if err != nil {
		return nil, err
	}
	return &ECDH{
		redacted: provider.Redact("AWS KMS ECDH discovery provider of %v", k.arn),
		key:      k,
		curve:    own.Curve(),
		own:      keywrap.Compress(own),
	}, nil
}

// newAgreementKey returns the key with this ARN and its public key.
func newAgreementKey(ctx context.Context, keyARN string, opts *ECDHOptions) (key, *ecdh.PublicKey, error) {
	if opts == nil {
		opts = &ECDHOptions{}
	}
	k, err := newKey(ctx, keyARN, &opts.Options)
	if err != nil {
		return key{}, nil, err
	}
	if opts.PublicKey == nil {
		pub, err := k.getPublicKey(ctx)
		if err != nil {
			return key{}, nil, fmt.Errorf("kms: %w", err)
		}
		return k, pub, nil
	}
	if err := keywrap.CheckPublicKey(opts.PublicKey); err != nil {
		return key{}, nil, fmt.Errorf("kms: public key of %v: %w", k.arn, err)
	}
	return k, opts.PublicKey, nil
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

// GenerateDataKey returns a random data key and its wrapped form.
func (p ECDH) GenerateDataKey(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	return datakey.Generate(ctx, p, req)
}

// EncryptDataKey wraps plaintext for the recipient. It calls DeriveSharedSecret.
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

// DecryptDataKey calls DeriveSharedSecret for each of keys in turn that are for
// the provider, until one is unwrapped: those between its two parties or, for
// discovery, those of any sender for the KMS key. If none is, the error is a
// [keyprovider.DecryptError].
func (p ECDH) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	if p.key.service == nil {
		return nil, errECDHZero
	}
	serialised, err := provider.AppendContext(nil, req.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return datakey.Open(ctx, p.String(), keys, func(ctx context.Context, edk *keyprovider.EncryptedDataKey) ([]byte, error) {
		if !keywrap.IsECDH(edk.ProviderID) {
			return nil, nil
		}
		with, err := p.fits(req, edk)
		if errors.Is(err, keywrap.ErrOtherCurve) {
			return nil, nil
		} else if err != nil {
			return nil, provider.Skip(err)
		}
		return p.unwrap(ctx, with, serialised, edk.Ciphertext)
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
		err = fmt.Errorf("it is for another recipient, %.8x, not %.8x", with.Recipient, p.own)
	case p.peer != nil && !with.Between(p.own, p.agreement.Recipient):
		err = fmt.Errorf("it is not between the provider's two parties, %.8x and %.8x, but between %.8x and %.8x", p.own, p.agreement.Recipient, with.Sender, with.Recipient)
	case len(edk.Ciphertext) != want:
		err = fmt.Errorf("ciphertext of %d bytes; a wrapped data key of %v has %d", len(edk.Ciphertext), req.Suite, want)
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
