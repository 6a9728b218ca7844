// Package datakey is internal/provider in the terms of package keyprovider, for
// the providers outside that package.
package datakey

import (
	"context"

	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/keyprovider"
)

// Generate returns a random data key and what k wraps it to.
func Generate(ctx context.Context, k keyprovider.MasterKey, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	return of(provider.Generate(req.Suite, func(plaintext []byte) (keyprovider.EncryptedDataKey, error) {
		return k.EncryptDataKey(ctx, req, plaintext)
	}))
}

// Open returns the first data key that opens: see provider.Open. Its error is
// that of ctx or a *[keyprovider.DecryptError].
func Open(ctx context.Context, name string, keys []keyprovider.EncryptedDataKey, unwrap provider.Unwrap) (*keyprovider.DataKey, error) {
	return of(provider.Open(ctx, name, keys, unwrap))
}

func of(plaintext []byte, edk keyprovider.EncryptedDataKey, err error) (*keyprovider.DataKey, error) {
	if failure, ok := err.(*provider.Failure); ok {
		return nil, (*keyprovider.DecryptError)(failure)
	}
	if err != nil {
		return nil, err
	}
	return &keyprovider.DataKey{Plaintext: plaintext, Encrypted: edk}, nil
}
