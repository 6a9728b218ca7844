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

// A RawECDH wraps data keys under keys that two parties agree on by ECDH, each with
// its own private key and the other's public key. It is a [MasterKeyProvider] and
// its own only [MasterKey], safe for concurrent use. It prints the beginning of
// public keys, and nothing of private keys.
//
// There is a constructor for each key agreement schema of the specification:
// [NewRawECDHStatic], [NewRawECDHEphemeral] and [NewRawECDHDiscovery]. All keys of an
// agreement are on the same curve: P-256, P-384 or P-521. SM2 is not supported.
// Messages hold both public keys, so no names are needed.
//
// Each data key is wrapped under a key of its own, derived with a random salt. The
// encryption context is bound to the wrapped data key.
//
// Whoever can unwrap a data key can also wrap one. So a signature of the message
// proves nothing more than the authentication tags do.
//
// Functions of crypto/x509 such as ParsePKCS8PrivateKey and ParsePKIXPublicKey read
// keys from PEM blocks; the results have a method ECDH.
//
// It follows [raw-ecdh-keyring] and [key-agreement-schemas] of the specification.
//
// [raw-ecdh-keyring]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/raw-ecdh-keyring.md
// [key-agreement-schemas]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/key-agreement-schemas.md
type RawECDH struct {
	redacted
	curve ecdh.Curve // nil: not made by a constructor
	// Compressed points; nil if the schema has none.
	own, other []byte

	// Both return a copy of the shared secret, which the caller clears. They are
	// functions because fmt prints the fields of a RawECDH in an unexported field of
	// another struct, but not what a function captures.
	encrypting func() (keywrap.Agreement, []byte, error) // nil: cannot encrypt
	decrypting func(a keywrap.Agreement) ([]byte, error) // nil: cannot decrypt
}

// NewRawECDHStatic returns a provider for two parties that know each other's public
// key. It encrypts to recipient, and decrypts what either of the two encrypted to
// the other with their static keys. The keys are copied.
//
// Whoever has one of the two private keys can read and write all messages between
// the parties. Nobody else can.
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

// NewRawECDHEphemeral returns a provider that encrypts to recipient and cannot
// decrypt. It makes a new key pair for each data key and forgets the private half,
// so the program cannot read its own messages. To decrypt, the recipient uses
// [NewRawECDHDiscovery], or package kms if recipient is the public key of an AWS KMS
// key. The key is copied.
//
// Whoever has the public key can write such messages, so they do not prove who did.
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

// NewRawECDHDiscovery returns a provider that decrypts whatever anybody encrypted to
// recipient's public key. It cannot encrypt: MasterKeys fails with
// [ErrDecryptOnly]. The key is copied.
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

// MasterKeys returns k. The error wraps [ErrDecryptOnly] if k is of
// [NewRawECDHDiscovery].
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
		return fmt.Errorf("%v has no recipient's public key: %w", k, ErrDecryptOnly)
	}
	return nil
}

var errNoECDH = errors.New("the RawECDH was not made by NewRawECDHStatic, NewRawECDHEphemeral or NewRawECDHDiscovery")

// GenerateDataKey returns a random data key, wrapped for the recipient.
func (k RawECDH) GenerateDataKey(ctx context.Context, req *Request) (*DataKey, error) {
	return dataKey(provider.Generate(req.Suite, func(plaintext []byte) (EncryptedDataKey, error) {
		return k.EncryptDataKey(ctx, req, plaintext)
	}))
}

// EncryptDataKey wraps plaintext for the recipient. The error wraps
// [ErrEncryptionContext] if the encryption context cannot be serialised.
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

// DecryptDataKey unwraps the first entry of keys that is wrapped for k, by a RawECDH
// or by package kms with ECDH; both have the same layout. If there is none, the
// error is a *[DecryptError]. It always fails if k is of [NewRawECDHEphemeral].
func (k RawECDH) DecryptDataKey(ctx context.Context, req *Request, keys []EncryptedDataKey) (*DataKey, error) {
	switch {
	case k.curve == nil:
		return nil, errNoECDH
	case k.decrypting == nil:
		return nil, &DecryptError{[]error{fmt.Errorf("%v can only encrypt; decryption needs the recipient's private key", k)}}
	}
	ec, err := provider.AppendContext(nil, req.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return dataKey(provider.Open(ctx, k.String(), keys, func(_ context.Context, edk *EncryptedDataKey) ([]byte, error) {
		if !keywrap.IsECDH(edk.ProviderID) {
			return nil, nil
		}
		agreement, err := keywrap.ParseAgreement(k.curve, edk.ProviderInfo)
		switch {
		case errors.Is(err, keywrap.ErrOtherCurve):
			return nil, nil
		case err != nil:
			return nil, provider.Skip(err)
		case !k.party(agreement):
			return nil, nil
		}
		if want := keywrap.AgreementOverhead + req.Suite.KeySize(); len(edk.Ciphertext) != want { // before the costly part
			return nil, provider.Skip(fmt.Errorf("ciphertext of %d bytes; a wrapped data key of %v has %d", len(edk.Ciphertext), req.Suite, want))
		}
		return k.unwrap(agreement, ec, edk.Ciphertext)
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
