package kms

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/arn"
)

// A key is the one KMS key of a provider.
type key struct {
	service *service
	arn     arn.ARN
}

// newKey returns the key with this ARN.
func newKey(ctx context.Context, keyARN string, opts *Options) (key, error) {
	a, err := arn.ParseKey(keyARN)
	if err != nil {
		return key{}, fmt.Errorf("kms: %w", err)
	}
	s, err := newService(ctx, opts)
	if err != nil {
		return key{}, err
	}
	s.keep[a.Region] = true
	return key{s, a}, nil
}

// callKey makes the call f of the operation for the key and lets check look at
// its result. Errors are KeyErrors.
func callKey[Output any](ctx context.Context, k key, op string, f func(API) (*Output, error), check func(*Output) error) (*Output, error) {
	out, err := call(ctx, k.service, k.arn.Region, f)
	if err == nil {
		err = check(out)
	}
	if err != nil {
		return nil, &KeyError{op, k.arn.String(), err}
	}
	return out, nil
}

// checkResponse checks that a response is of the key.
func (k key) checkResponse(responseKey *string) error {
	if by := aws.ToString(responseKey); by != k.arn.String() {
		return fmt.Errorf("the response is of another key, %.200q", by)
	}
	return nil
}

// serialisedContext is what data keys are bound to where KMS gets no encryption
// context.
func serialisedContext(req *keyprovider.Request) ([]byte, error) {
	b, err := format.AppendEncryptionContext(nil, req.EncryptionContext)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", keyprovider.ErrEncryptionContext, err)
	}
	return b, nil
}

// generateDataKey is GenerateDataKey of the keys that wrap here: a random data
// key and what k wraps it to.
func generateDataKey(ctx context.Context, k keyprovider.MasterKey, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	if !req.Suite.Valid() {
		return nil, fmt.Errorf("%w: %v", format.ErrUnsupportedSuite, req.Suite)
	}
	plaintext := make([]byte, req.Suite.KeySize())
	rand.Read(plaintext) // never fails
	edk, err := k.EncryptDataKey(ctx, req, plaintext)
	if err != nil {
		clear(plaintext)
		return nil, err
	}
	return &keyprovider.DataKey{Plaintext: plaintext, Encrypted: edk}, nil
}

// errForeign is for entries of other providers, which give no cause.
var errForeign = errors.New("not an entry of the provider")

// attempt decrypts the first of keys that can be. fits returns why an entry is
// not to be tried, or nil. name is that of the provider.
func attempt(ctx context.Context, name string, keys []keyprovider.EncryptedDataKey, fits func(*keyprovider.EncryptedDataKey) error, decrypt func(*keyprovider.EncryptedDataKey) ([]byte, error)) (*keyprovider.DataKey, error) {
	var failed causes
	for i := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		edk := &keys[i]
		if err := fits(edk); err != nil {
			if err != errForeign {
				failed.skip(i, err)
			}
			continue
		}
		plaintext, err := decrypt(edk)
		if err == nil {
			return &keyprovider.DataKey{Plaintext: plaintext, Encrypted: *edk}, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed.try(i, err)
	}
	return nil, failed.failure(name, nil)
}
