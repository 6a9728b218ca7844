package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
)

// A Provider is a keyprovider.MasterKeyProvider for the keys of a KeyService. It is
// its own MasterKey.
type Provider struct {
	Service KeyService
	KeyIDs  []string // the first wraps the data keys of new messages; all can unwrap
}

const providerID = "key service" // stored in messages, names the kind of key

func (p *Provider) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	if len(p.KeyIDs) == 0 {
		return nil, fmt.Errorf("no key for new messages: %w", keyprovider.ErrDecryptOnly)
	}
	return []keyprovider.MasterKey{p}, nil
}

func (p *Provider) GenerateDataKey(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	key := make([]byte, req.Suite.KeySize())
	rand.Read(key) // never fails
	wrapped, err := p.EncryptDataKey(ctx, req, key)
	if err != nil {
		return nil, err
	}
	return &keyprovider.DataKey{Plaintext: key, Encrypted: wrapped}, nil
}

func (p *Provider) EncryptDataKey(ctx context.Context, req *keyprovider.Request, key []byte) (edk keyprovider.EncryptedDataKey, err error) {
	aad, err := format.AppendEncryptionContext(nil, req.EncryptionContext)
	if err != nil {
		return edk, err
	}
	wrapped, err := p.Service.Wrap(ctx, p.KeyIDs[0], key, aad)
	if err != nil {
		return edk, fmt.Errorf("wrap under %q: %w", p.KeyIDs[0], err)
	}
	return keyprovider.EncryptedDataKey{ProviderID: providerID, ProviderInfo: []byte(p.KeyIDs[0]), Ciphertext: wrapped}, nil
}

func (p *Provider) DecryptDataKey(ctx context.Context, req *keyprovider.Request, edks []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	aad, err := format.AppendEncryptionContext(nil, req.EncryptionContext)
	if err != nil {
		return nil, err
	}
	causes := []error{}
	for _, edk := range edks {
		keyID := string(edk.ProviderInfo)
		if edk.ProviderID != providerID || !slices.Contains(p.KeyIDs, keyID) {
			continue // a message can name any key: use only those that the program named
		}
		key, err := p.Service.Unwrap(ctx, keyID, edk.Ciphertext, aad)
		switch {
		case err == nil && len(key) == req.Suite.KeySize():
			return &keyprovider.DataKey{Plaintext: key, Encrypted: edk}, nil
		case err == nil:
			err = fmt.Errorf("a key of %d bytes, want %d", len(key), req.Suite.KeySize())
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		causes = append(causes, fmt.Errorf("unwrap under %q: %w", keyID, err))
	}
	if len(causes) == 0 {
		causes = append(causes, keyprovider.ErrNoMatch)
	}
	return nil, &keyprovider.DecryptError{Causes: causes}
}
