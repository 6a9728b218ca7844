package kms

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/keywrap"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/arn"
	"github.com/esdk-go/esdk/kms/internal/datakey"
	"github.com/esdk-go/esdk/suite"
)

// rsaProviderID is the provider ID of encrypted data keys under RSA keys of KMS.
const rsaProviderID = "aws-kms-rsa"

// RSAAlgorithm is the encryption algorithm of an [RSA] provider. The zero value is
// invalid. MGF1 uses the same hash as OAEP.
type RSAAlgorithm uint8

const (
	OAEPSHA1   RSAAlgorithm = iota + 1 // RSAES_OAEP_SHA_1
	OAEPSHA256                         // RSAES_OAEP_SHA_256; preferred
)

// String returns the name that KMS uses, such as RSAES_OAEP_SHA_256.
func (a RSAAlgorithm) String() string {
	switch a {
	case OAEPSHA1:
		return string(types.EncryptionAlgorithmSpecRsaesOaepSha1)
	case OAEPSHA256:
		return string(types.EncryptionAlgorithmSpecRsaesOaepSha256)
	}
	return fmt.Sprintf("RSA algorithm %d", uint8(a))
}

func (a RSAAlgorithm) hash() hash.Hash {
	if a == OAEPSHA1 {
		return sha1.New()
	}
	return sha256.New()
}

// RSA protects data keys with an RSA key of KMS. Whoever has the public key encrypts,
// without a call to KMS; KMS decrypts. It is a [keyprovider.MasterKeyProvider] and its
// own only [keyprovider.MasterKey], safe for concurrent use, and prints without
// credentials.
//
// It refuses suites that sign, the default suite among them, on encryption and
// decryption: anybody can have the public key, so a signature would prove nothing
// about who encrypted. Set EncryptOptions.Suite to one that does not sign, such as
// suite.AES256GCMHKDFSHA512CommitKey.
//
// KMS does not get the encryption context, so neither key policies nor CloudTrail see
// it. A hash of it is encrypted together with the data key, and compared after
// decryption. The encryption context is stored in the message in clear, so it must not
// be secret.
//
// RSA follows the specification's [aws-kms-rsa-keyring].
//
// [aws-kms-rsa-keyring]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/aws-kms/aws-kms-rsa-keyring.md
type RSA struct {
	redacted
	key       key
	pub       *rsa.PublicKey
	algorithm RSAAlgorithm
}

// NewRSA returns a provider for the RSA key with this ARN, whose usage is
// ENCRYPT_DECRYPT. Its public key, pub, comes from kms:GetPublicKey or the console and
// is parsed by x509.ParsePKIXPublicKey; NewRSA copies it. Nothing checks that pub is the
// KMS key's public key: what is encrypted with another one cannot be decrypted.
//
// If pub is nil, the provider decrypts only: its MasterKeys fails with
// [keyprovider.ErrDecryptOnly]. A program that only encrypts needs no credentials.
// Decryption calls Decrypt for each of the entries in turn under the key, until
// one succeeds.
//
// The replicas of a multi-Region key have the same public key and decrypt for each
// other. The given replica is called for entries under any of them, whether
// Options.MultiRegion is set or not.
//
// NewRSA makes no call to KMS. It uses ctx only for config.LoadDefaultConfig, if neither
// Config nor ClientFor is set. It fails if keyARN is not the ARN of a key, if the
// algorithm is invalid, or if pub is invalid or not of 2048, 3072 or 4096 bits.
func NewRSA(ctx context.Context, keyARN string, pub *rsa.PublicKey, algorithm RSAAlgorithm, opts *Options) (*RSA, error) {
	if algorithm != OAEPSHA1 && algorithm != OAEPSHA256 {
		return nil, fmt.Errorf("kms: unknown %v", algorithm)
	}
	if pub != nil {
		var err error
		if pub, err = copyPublicKey(pub); err != nil {
			return nil, fmt.Errorf("kms: RSA public key: %w", err)
		}
	}
	k, err := newKey(ctx, keyARN, opts)
	if err != nil {
		return nil, err
	}
	return &RSA{provider.Redact("AWS KMS RSA provider of %v", k.arn), k, pub, algorithm}, nil
}

// copyPublicKey returns a copy of a public key that KMS can have.
func copyPublicKey(pub *rsa.PublicKey) (*rsa.PublicKey, error) {
	pub, err := keywrap.CopyRSAPublicKey(pub)
	if err != nil {
		return nil, err
	}
	if bits := pub.N.BitLen(); !rsaSize(bits/8) || bits%8 != 0 {
		return nil, fmt.Errorf("%d bits; RSA keys of KMS have 2048, 3072 or 4096", bits)
	}
	return pub, nil
}

// rsaSize reports whether KMS has RSA keys of that many bytes.
func rsaSize(bytes int) bool { return bytes == 256 || bytes == 384 || bytes == 512 }

// MasterKeys returns p alone. It fails if the suite signs, and with
// [keyprovider.ErrDecryptOnly] if p has no public key.
func (p RSA) MasterKeys(_ context.Context, req *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	if err := p.checkEncrypt(req); err != nil {
		return nil, err
	}
	return []keyprovider.MasterKey{p}, nil
}

// check checks what encryption and decryption need.
func (p RSA) check(req *keyprovider.Request) error {
	switch {
	case p.key.service == nil:
		return errors.New("the provider was not made by NewRSA")
	case !req.Suite.Valid():
		return fmt.Errorf("%w: %v", format.ErrUnsupportedSuite, req.Suite)
	case req.Suite.Signing():
		return fmt.Errorf("%v: suite %v signs, which proves nothing where a public key encrypts; use one that does not sign, such as %v", p, req.Suite, suite.AES256GCMHKDFSHA512CommitKey)
	}
	return nil
}

func (p RSA) checkEncrypt(req *keyprovider.Request) error {
	if err := p.check(req); err != nil {
		return err
	}
	if p.pub == nil {
		return fmt.Errorf("%v has no public key: %w", p, keyprovider.ErrDecryptOnly)
	}
	return nil
}

// GenerateDataKey returns a random data key and its encrypted form. It makes no call.
func (p RSA) GenerateDataKey(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	return datakey.Generate(ctx, p, req)
}

// EncryptDataKey encrypts plaintext with the public key. It makes no call.
func (p RSA) EncryptDataKey(_ context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
	if err := p.checkEncrypt(req); err != nil {
		return keyprovider.EncryptedDataKey{}, err
	}
	digest, err := digestContext(req)
	if err != nil {
		return keyprovider.EncryptedDataKey{}, err
	}
	bound := append(make([]byte, 0, len(digest)+len(plaintext)), digest...)
	ciphertext, err := p.seal(append(bound, plaintext...))
	if err != nil {
		return keyprovider.EncryptedDataKey{}, fmt.Errorf("%v: %w", p, err)
	}
	return keyprovider.EncryptedDataKey{ProviderID: rsaProviderID, ProviderInfo: []byte(p.key.arn.String()), Ciphertext: ciphertext}, nil
}

// seal encrypts a data key behind its digest, and clears both.
func (p RSA) seal(bound []byte) ([]byte, error) {
	defer clear(bound)
	return rsa.EncryptOAEP(p.algorithm.hash(), rand.Reader, p.pub, bound, nil)
}

// digestContext returns what precedes a data key under RSA.
func digestContext(req *keyprovider.Request) ([]byte, error) {
	serialised, err := provider.AppendContext(nil, req.EncryptionContext)
	if err != nil {
		return nil, err
	}
	digest := sha512.Sum384(serialised)
	return digest[:], nil
}

// DecryptDataKey calls Decrypt for each of keys in turn that are under the
// provider's key or a replica of it, until one succeeds. If none does, the error is a
// [keyprovider.DecryptError]. It fails if the suite signs.
func (p RSA) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	if err := p.check(req); err != nil {
		return nil, err
	}
	digest, err := digestContext(req)
	if err != nil {
		return nil, err
	}
	return datakey.Open(ctx, p.String(), keys, func(ctx context.Context, edk *keyprovider.EncryptedDataKey) ([]byte, error) {
		if edk.ProviderID != rsaProviderID {
			return nil, nil
		}
		if err := p.fits(edk); err != nil {
			return nil, provider.Skip(err)
		}
		return p.decrypt(ctx, req, digest, edk.Ciphertext)
	})
}

// fits returns why the entry is not to be decrypted by the provider, or nil.
func (p RSA) fits(edk *keyprovider.EncryptedDataKey) error {
	stored, err := arn.ParseKey(string(edk.ProviderInfo))
	switch size := len(edk.Ciphertext); {
	case err != nil:
		return err
	case !p.key.arn.Matches(stored, true):
		return fmt.Errorf("%v is not the provider's key", stored)
	case p.pub != nil && size != p.pub.Size():
		return fmt.Errorf("ciphertext of %d bytes; this key makes %d", size, p.pub.Size())
	case !rsaSize(size):
		return fmt.Errorf("ciphertext of %d bytes, which no RSA key of KMS makes", size)
	}
	return nil
}

// decrypt returns the data key that the ciphertext holds behind the digest.
func (p RSA) decrypt(ctx context.Context, req *keyprovider.Request, digest, ciphertext []byte) ([]byte, error) {
	out, err := callKey(ctx, p.key, "Decrypt", func(ctx context.Context, api API) (*awskms.DecryptOutput, error) {
		return api.Decrypt(ctx, &awskms.DecryptInput{
			KeyId:               aws.String(p.key.arn.String()),
			CiphertextBlob:      ciphertext,
			EncryptionAlgorithm: types.EncryptionAlgorithmSpec(p.algorithm.String()),
			GrantTokens:         p.key.service.grantTokens,
		}, p.key.service.userAgent)
	}, func(out *awskms.DecryptOutput) error {
		err := p.checkDecrypted(out, req, digest)
		if err != nil {
			clear(out.Plaintext)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out.Plaintext[len(digest):], nil
}

// checkDecrypted checks a response of Decrypt.
func (p RSA) checkDecrypted(out *awskms.DecryptOutput, req *keyprovider.Request, digest []byte) error {
	if err := p.key.checkResponse(out.KeyId); err != nil {
		return err
	}
	if got := string(out.EncryptionAlgorithm); got != p.algorithm.String() {
		return fmt.Errorf("the response is of another algorithm, %.100q", got)
	}
	if want := len(digest) + req.Suite.KeySize(); len(out.Plaintext) != want {
		return fmt.Errorf("the response has a plaintext of %d bytes; the context's hash and the data key of %v have %d", len(out.Plaintext), req.Suite, want)
	}
	if subtle.ConstantTimeCompare(out.Plaintext[:len(digest)], digest) != 1 {
		return &contextError{text: "encrypted with another encryption context", ec: req.EncryptionContext}
	}
	if provider.IsZero(out.Plaintext[len(digest):]) {
		return fmt.Errorf("the response has %w", provider.ErrZeroKey)
	}
	return nil
}
