package hierarchical

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/datakey"
)

var errNotMade = errors.New("the provider was not made by hierarchical.New")

// MasterKeys returns p alone.
func (p *Provider) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return []keyprovider.MasterKey{p}, nil
}

// GenerateDataKey returns a random data key, wrapped under the active version of
// the branch key. It fails as EncryptDataKey does.
func (p *Provider) GenerateDataKey(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	return datakey.Generate(ctx, p, req)
}

// EncryptDataKey wraps plaintext under the active version of the branch key. Its
// error wraps the store's, or [keyprovider.ErrEncryptionContext] if the
// encryption context cannot be serialised.
func (p *Provider) EncryptDataKey(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
	ciphertext, id, err := p.wrap(ctx, req, plaintext)
	if err != nil {
		return keyprovider.EncryptedDataKey{}, err
	}
	return keyprovider.EncryptedDataKey{ProviderID: providerID, ProviderInfo: []byte(id), Ciphertext: ciphertext}, nil
}

func (p *Provider) wrap(ctx context.Context, req *keyprovider.Request, plaintext []byte) (ciphertext []byte, id string, err error) {
	if id, err = p.branchKeyID(ctx, req); err != nil {
		return nil, "", err
	}
	aad, err := newAAD(id, req.EncryptionContext)
	if err != nil {
		return nil, "", err
	}
	call := &branchKeyCall{p: p, id: id}
	defer call.key.Clear()
	if err := call.get(ctx); err != nil {
		return nil, "", fmt.Errorf("branch key %.200q: %w", id, err)
	}
	ciphertext, err = wrap(&call.key, aad, plaintext)
	return ciphertext, id, err
}

// DecryptDataKey unwraps the first of keys that is wrapped under the provider's
// branch key and that the version it names opens. If there is none, the error is
// a [keyprovider.DecryptError] with a cause for each entry of the branch key.
func (p *Provider) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	switch {
	case p.view == nil:
		return nil, errNotMade
	case !req.Suite.Valid():
		return nil, fmt.Errorf("%w: %v", format.ErrUnsupportedSuite, req.Suite)
	}
	var id string
	var aad contextAAD
	if slices.ContainsFunc(keys, ours) {
		var err error
		if id, err = p.branchKeyID(ctx, req); ctx.Err() != nil {
			return nil, provider.Ended(ctx.Err(), err)
		} else if err != nil {
			return nil, &keyprovider.DecryptError{Causes: []error{err}}
		}
		if aad, err = newAAD(id, req.EncryptionContext); err != nil {
			return nil, err
		}
	}
	return datakey.Open(ctx, p.String(), keys, func(ctx context.Context, edk *keyprovider.EncryptedDataKey) ([]byte, error) {
		if !ours(*edk) {
			return nil, nil
		}
		if string(edk.ProviderInfo) != id {
			return nil, provider.Skip(fmt.Errorf("wrapped under branch key %.200q, not %.200q", edk.ProviderInfo, id))
		}
		if want := req.Suite.KeySize() + wrappingSize; len(edk.Ciphertext) != want {
			return nil, provider.Skip(fmt.Errorf("ciphertext of %d bytes; a wrapped data key of %v has %d", len(edk.Ciphertext), req.Suite, want))
		}
		return p.unwrap(ctx, id, aad, edk.Ciphertext)
	})
}

// ours reports whether the entry is that of a hierarchical provider.
func ours(edk keyprovider.EncryptedDataKey) bool { return edk.ProviderID == providerID }

func (p *Provider) unwrap(ctx context.Context, id string, aad contextAAD, ciphertext []byte) ([]byte, error) {
	version := storedVersion(ciphertext)
	call := &branchKeyCall{p: p, id: id, version: &version}
	defer call.key.Clear()
	err := call.get(ctx)
	if err == nil {
		var plaintext []byte
		if plaintext, err = unwrap(&call.key, aad, ciphertext); err == nil {
			return plaintext, nil
		}
	}
	return nil, fmt.Errorf("branch key %.200q, version %v: %w", id, version, err)
}

// branchKeyID returns the ID of the request's branch key.
func (p *Provider) branchKeyID(ctx context.Context, req *keyprovider.Request) (string, error) {
	if p.view == nil {
		return "", errNotMade
	}
	if p.id != "" {
		return p.id, nil
	}
	id, err := p.idFor(ctx, maps.Clone(req.EncryptionContext)) // the data key is bound to what the request holds
	if err == nil {
		err = checkID(id)
	}
	if err != nil {
		return "", fmt.Errorf("BranchKeyIDFor: %w", err)
	}
	return id, nil
}
