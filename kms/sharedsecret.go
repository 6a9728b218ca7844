package kms

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/esdk-go/esdk/internal/keywrap"
	"github.com/esdk-go/esdk/internal/provider"
)

// A secretDeriver is what an ECDH calls beyond API.
type secretDeriver interface {
	DeriveSharedSecret(context.Context, *awskms.DeriveSharedSecretInput, ...func(*awskms.Options)) (*awskms.DeriveSharedSecretOutput, error)
}

// A publicKeyGetter is what its constructors call beyond API.
type publicKeyGetter interface {
	GetPublicKey(context.Context, *awskms.GetPublicKeyInput, ...func(*awskms.Options)) (*awskms.GetPublicKeyOutput, error)
}

// deriveSecret returns what the key and the public key, DER of a point of the
// curve, agree on.
func (k key) deriveSecret(ctx context.Context, curve ecdh.Curve, peer []byte) ([]byte, error) {
	const op = "DeriveSharedSecret"
	out, err := callKey(ctx, k, op, func(ctx context.Context, api API) (*awskms.DeriveSharedSecretOutput, error) {
		client, ok := api.(secretDeriver)
		if !ok {
			return nil, fmt.Errorf("the client of Options.ClientFor, a %T, has no method %s", api, op)
		}
		return client.DeriveSharedSecret(ctx, &awskms.DeriveSharedSecretInput{
			KeyId:                 aws.String(k.arn.String()),
			KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh,
			PublicKey:             peer,
			GrantTokens:           k.service.grantTokens,
		}, k.service.userAgent)
	}, func(out *awskms.DeriveSharedSecretOutput) error {
		err := k.checkResponse(out.KeyId)
		if got := out.KeyAgreementAlgorithm; err == nil && got != types.KeyAgreementAlgorithmSpecEcdh {
			err = fmt.Errorf("the response is of another algorithm, %.100q", got)
		}
		if want := keywrap.SecretSize(curve); err == nil && len(out.SharedSecret) != want {
			err = fmt.Errorf("the response has a secret of %d bytes; those of %v have %d", len(out.SharedSecret), curve, want)
		}
		if err == nil && provider.IsZero(out.SharedSecret) {
			err = errors.New("the response has a secret of zeros, as memory that was cleared")
		}
		if err != nil {
			clear(out.SharedSecret)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out.SharedSecret, nil
}

// getPublicKey returns the public key that KMS has of the key.
func (k key) getPublicKey(ctx context.Context) (pub *ecdh.PublicKey, err error) {
	const op = "GetPublicKey"
	_, err = callKey(ctx, k, op, func(ctx context.Context, api API) (*awskms.GetPublicKeyOutput, error) {
		client, ok := api.(publicKeyGetter)
		if !ok {
			return nil, fmt.Errorf("the client of Options.ClientFor, a %T, has no method %s", api, op)
		}
		return client.GetPublicKey(ctx, &awskms.GetPublicKeyInput{KeyId: aws.String(k.arn.String()), GrantTokens: k.service.grantTokens}, k.service.userAgent)
	}, func(out *awskms.GetPublicKeyOutput) (err error) {
		if err = k.checkResponse(out.KeyId); err == nil {
			pub, err = parseAgreementKey(out)
		}
		return err
	})
	return pub, err
}

// parseAgreementKey returns the public key of a response, which must be one for
// key agreement on a curve that is supported.
func parseAgreementKey(out *awskms.GetPublicKeyOutput) (*ecdh.PublicKey, error) {
	if out.KeyUsage != types.KeyUsageTypeKeyAgreement {
		return nil, fmt.Errorf("the key's usage is %.100q, need %s", out.KeyUsage, types.KeyUsageTypeKeyAgreement)
	}
	var curve ecdh.Curve
	switch out.KeySpec {
	case types.KeySpecEccNistP256:
		curve = ecdh.P256()
	case types.KeySpecEccNistP384:
		curve = ecdh.P384()
	case types.KeySpecEccNistP521:
		curve = ecdh.P521()
	default:
		return nil, fmt.Errorf("key spec %.100q is not supported; the curves are P-256, P-384 and P-521", out.KeySpec)
	}
	parsed, err := x509.ParsePKIXPublicKey(out.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("the response's public key: %w", err)
	}
	ec, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("the response's public key is not of an elliptic curve")
	}
	pub, err := ec.ECDH()
	if err != nil {
		return nil, fmt.Errorf("the response's public key: %w", err)
	}
	if pub.Curve() != curve {
		return nil, fmt.Errorf("the response's public key is on %v, its key spec %s", pub.Curve(), out.KeySpec)
	}
	return pub, nil
}
