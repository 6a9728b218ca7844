package keyprovider

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/esdk-go/esdk/internal/keywrap"
	"github.com/esdk-go/esdk/internal/provider"
)

// RawECDH protects data keys with keys that two parties agree on by ECDH, each
// from its own private key and the public key of the other. It is a
// [MasterKeyProvider] and its own only [MasterKey], safe for concurrent use.
// It prints the beginning of public keys, and nothing of private ones.
//
// There is one for each of the specification's key agreement schemas:
// [NewRawECDHStatic], [NewRawECDHEphemeral] and [NewRawECDHDiscovery]. In all
// of them keys are on P-256, P-384 or P-521, both on the same. SM2, which the
// specification has too, is not in Go's crypto/ecdh. Messages hold both public
// keys; no names are needed.
//
// The encryption context is bound to the wrapped data key: use it for what is
// not secret but belongs to the message. Each data key is wrapped under a key
// of its own, derived with a random salt.
//
// Whoever can read a message can also wrap, so that a message's signature proves
// nothing here that the tags do not.
//
// Keys come from PEM by crypto/x509, ParsePKCS8PrivateKey and
// ParsePKIXPublicKey, and the method ECDH of what they return.
//
// It follows framework/raw-ecdh-keyring.md and framework/key-agreement-schemas.md
// of the specification.
type RawECDH struct {
	redacted
	curve ecdh.Curve // nil: not made by a constructor
	// Compressed points; nil if the schema has none.
	own, other []byte

	// Both give a secret of the caller's, to be cleared. They are functions
	// because fmt shows fields of a value that another one holds unexported,
	// but not what a function knows.
	encrypting func() (keywrap.Agreement, []byte, error) // nil: cannot encrypt
	decrypting func(a keywrap.Agreement) ([]byte, error) // nil: cannot decrypt
}

// NewRawECDHStatic returns a provider for two parties that know each other's
// public keys. It encrypts to recipient, and decrypts what either of the two
// encrypted to the other in this way. The keys are copied.
//
// Whoever has one of the two private keys can read all messages between them,
// and write such messages; nobody else can.
//
// The specification calls this schema RawPrivateKeyToStaticPublicKey.
func NewRawECDHStatic(sender *ecdh.PrivateKey, recipient *ecdh.PublicKey) (*RawECDH, error) {
	if err := keywrap.CheckPrivateKey(sender); err != nil {
		return nil, fmt.Errorf("keyprovider: sender's private key: %w", err)
	}
	agreement, err := keywrap.NewAgreement(sender.PublicKey(), recipient)
	if err != nil {
		return nil, fmt.Errorf("keyprovider: %w", err)
	}
	secret, err := sender.ECDH(recipient)
	if err != nil {
		return nil, fmt.Errorf("keyprovider: %w", err)
	}
	k := newRawECDH("static", agreement.Curve, agreement.Sender, agreement.Recipient)
	k.encrypting = func() (keywrap.Agreement, []byte, error) { return agreement, bytes.Clone(secret), nil }
	k.decrypting = func(keywrap.Agreement) ([]byte, error) { return bytes.Clone(secret), nil }
	return k, nil
}

// NewRawECDHEphemeral returns a provider that can only encrypt: to recipient,
// whose [NewRawECDHDiscovery] decrypts. For each data key it makes a key pair
// and forgets the private key, so that the program cannot read what it wrote.
// The key is copied; it can be that of an AWS KMS key.
//
// Whoever has the public key can write such messages: they do not tell who did.
//
// The specification calls this schema EphemeralPrivateKeyToStaticPublicKey.
func NewRawECDHEphemeral(recipient *ecdh.PublicKey) (*RawECDH, error) {
	if err := keywrap.CheckPublicKey(recipient); err != nil {
		return nil, fmt.Errorf("keyprovider: recipient's public key: %w", err)
	}
	curve := recipient.Curve()
	peer, err := curve.NewPublicKey(recipient.Bytes())
	if err != nil {
		return nil, fmt.Errorf("keyprovider: recipient's public key: %w", err)
	}
	k := newRawECDH("ephemeral", curve, nil, keywrap.Compress(peer))
	k.encrypting = func() (keywrap.Agreement, []byte, error) {
		sender, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			return keywrap.Agreement{}, nil, err
		}
		secret, err := sender.ECDH(peer)
		return keywrap.Agreement{Curve: curve, Sender: keywrap.Compress(sender.PublicKey()), Recipient: k.other}, secret, err
	}
	return k, nil
}

// NewRawECDHDiscovery returns a provider that can only decrypt: what anybody
// encrypted to the public key of recipient, whoever it was. Encryption fails
// with [ErrDecryptOnly], as there is nobody to encrypt to. The key is copied.
//
// To accept messages of one sender only, use [NewRawECDHStatic].
//
// The specification calls this schema PublicKeyDiscovery.
func NewRawECDHDiscovery(recipient *ecdh.PrivateKey) (*RawECDH, error) {
	if err := keywrap.CheckPrivateKey(recipient); err != nil {
		return nil, fmt.Errorf("keyprovider: recipient's private key: %w", err)
	}
	curve := recipient.Curve()
	priv, err := curve.NewPrivateKey(recipient.Bytes())
	if err != nil {
		return nil, fmt.Errorf("keyprovider: recipient's private key: %w", err)
	}
	k := newRawECDH("discovery", curve, keywrap.Compress(priv.PublicKey()), nil)
	k.decrypting = func(a keywrap.Agreement) ([]byte, error) {
		sender, err := keywrap.Decompress(curve, a.Sender)
		if err != nil {
			return nil, fmt.Errorf("sender's public key: %w", err)
		}
		return priv.ECDH(sender)
	}
	return k, nil
}

// MasterKeys returns k alone, or [ErrDecryptOnly] from NewRawECDHDiscovery.
func (k RawECDH) MasterKeys(context.Context, *Request) ([]MasterKey, error) {
	if err := k.checkEncrypting(); err != nil {
		return nil, err
	}
	return []MasterKey{k}, nil
}

func (k RawECDH) checkEncrypting() error {
	switch {
	case k.curve == nil:
		return errNoECDH
	case k.encrypting == nil:
		return fmt.Errorf("%v has no recipient: %w", k, ErrDecryptOnly)
	}
	return nil
}

var errNoECDH = errors.New("the RawECDH was not made by NewRawECDHStatic, NewRawECDHEphemeral or NewRawECDHDiscovery")

// GenerateDataKey returns a random data key, wrapped.
func (k RawECDH) GenerateDataKey(ctx context.Context, req *Request) (*DataKey, error) {
	return generateDataKey(ctx, k, req)
}

// EncryptDataKey returns plaintext wrapped for the recipient. The error, for an
// encryption context that cannot be serialised, wraps [ErrEncryptionContext].
func (k RawECDH) EncryptDataKey(_ context.Context, req *Request, plaintext []byte) (EncryptedDataKey, error) {
	if err := k.checkEncrypting(); err != nil {
		return EncryptedDataKey{}, err
	}
	ec, err := provider.AppendContext(nil, req.EncryptionContext)
	if err != nil {
		return EncryptedDataKey{}, err
	}
	agreement, secret, err := k.encrypting()
	if err != nil {
		return EncryptedDataKey{}, fmt.Errorf("%v: %w", k, err)
	}
	defer clear(secret)
	ciphertext, err := agreement.Wrap(secret, ec, plaintext)
	if err != nil {
		return EncryptedDataKey{}, fmt.Errorf("%v: %w", k, err)
	}
	return EncryptedDataKey{
		ProviderID:   keywrap.RawECDHProviderID,
		ProviderInfo: agreement.ProviderInfo(),
		Ciphertext:   ciphertext,
	}, nil
}

// DecryptDataKey unwraps the first of keys that is wrapped for k: by raw ECDH,
// or by AWS KMS and ECDH, whose layout is the same. A k of NewRawECDHEphemeral
// cannot.
func (k RawECDH) DecryptDataKey(ctx context.Context, req *Request, keys []EncryptedDataKey) (*DataKey, error) {
	switch {
	case k.curve == nil:
		return nil, errNoECDH
	case k.decrypting == nil:
		return nil, &DecryptError{[]error{fmt.Errorf("%v can only encrypt: the recipient's private key decrypts", k)}}
	}
	ec, err := provider.AppendContext(nil, req.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return dataKey(provider.Open(ctx, k.String(), keys, func(edk *EncryptedDataKey) (provider.Unwrap, error) {
		if !keywrap.IsECDH(edk.ProviderID) {
			return nil, nil
		}
		agreement, err := keywrap.ParseAgreement(k.curve, edk.ProviderInfo)
		switch {
		case errors.Is(err, keywrap.ErrOtherCurve):
			return nil, nil
		case err != nil:
			return nil, err
		case !k.party(agreement):
			return nil, nil
		}
		if want := keywrap.AgreementOverhead + req.Suite.KeySize(); len(edk.Ciphertext) != want { // before the costly part
			return nil, fmt.Errorf("wrapped in %d bytes, a data key for %v in %d", len(edk.Ciphertext), req.Suite, want)
		}
		return func(context.Context) ([]byte, error) { return k.unwrap(agreement, ec, edk.Ciphertext) }, nil
	}))
}

// party reports whether an agreement is one that k took part in: with whoever
// was the sender, or with the one other party in either role.
func (k RawECDH) party(a keywrap.Agreement) bool {
	if k.other == nil {
		return bytes.Equal(a.Recipient, k.own)
	}
	return a.Between(k.own, k.other)
}

func (k RawECDH) unwrap(a keywrap.Agreement, encryptionContext, ciphertext []byte) ([]byte, error) {
	secret, err := k.decrypting(a)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	return a.Unwrap(secret, encryptionContext, ciphertext)
}

// newRawECDH returns a RawECDH that names the schema, the curve and the
// beginning of the compressed points, in hexadecimal.
func newRawECDH(schema string, curve ecdh.Curve, own, other []byte) *RawECDH {
	name := fmt.Sprintf("raw ECDH (%s) on %v", schema, curve)
	if own != nil {
		name += fmt.Sprintf(" of %.8x", own)
	}
	if other != nil {
		name += fmt.Sprintf(" with %.8x", other)
	}
	return &RawECDH{redacted: provider.Redact("%s", name), curve: curve, own: own, other: other}
}
