package kms

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

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
func callKey[Output any](ctx context.Context, k key, op string, f func(context.Context, API) (*Output, error), check func(*Output) error) (*Output, error) {
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
