package hierarchical

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
)

var errNotMade = errors.New("the provider was not made by hierarchical.New")

// MasterKeys returns p alone.
func (p *Provider) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return []keyprovider.MasterKey{p}, nil
}

// GenerateDataKey returns a random data key, wrapped under the active version of
// the branch key. It fails as EncryptDataKey does.
func (p *Provider) GenerateDataKey(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	if !req.Suite.Valid() {
		return nil, fmt.Errorf("%w: %v", format.ErrUnsupportedSuite, req.Suite)
	}
	plaintext := make([]byte, req.Suite.KeySize())
	rand.Read(plaintext) // never fails
	edk, err := p.EncryptDataKey(ctx, req, plaintext)
	if err != nil {
		clear(plaintext)
		return nil, err
	}
	return &keyprovider.DataKey{Plaintext: plaintext, Encrypted: edk}, nil
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
	want := req.Suite.KeySize() + wrappingSize
	var id string
	var aad contextAAD
	var failed causes
	for i := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		edk := &keys[i]
		if edk.ProviderID != providerID {
			continue
		}
		if id == "" { // the first of ours
			var err error
			if id, err = p.branchKeyID(ctx, req); err != nil {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				return nil, &keyprovider.DecryptError{Causes: []error{err}}
			}
			if aad, err = newAAD(id, req.EncryptionContext); err != nil {
				return nil, err
			}
		}
		if string(edk.ProviderInfo) != id {
			failed.skip(i, fmt.Errorf("wrapped under branch key %.200q, not %.200q", edk.ProviderInfo, id))
			continue
		}
		if len(edk.Ciphertext) != want {
			failed.skip(i, fmt.Errorf("ciphertext of %d bytes; a wrapped data key of %v has %d", len(edk.Ciphertext), req.Suite, want))
			continue
		}
		plaintext, err := p.unwrap(ctx, id, aad, edk.Ciphertext)
		if err == nil {
			return &keyprovider.DataKey{Plaintext: plaintext, Encrypted: *edk}, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed.try(i, err)
	}
	return nil, failed.failure(p.String())
}

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
	id, err := p.idFor(ctx, req.EncryptionContext)
	if err == nil {
		err = checkID(id)
	}
	if err != nil {
		return "", fmt.Errorf("BranchKeyIDFor: %w", err)
	}
	return id, nil
}

// String names the branch key, if it is the same for all messages.
func (p Provider) String() string {
	switch {
	case p.view == nil:
		return "hierarchical provider"
	case p.id == "":
		return "hierarchical provider of branch keys chosen by the encryption context"
	}
	return fmt.Sprintf("hierarchical provider of branch key %.200q", p.id)
}

// Format writes String, whatever the verb.
func (p Provider) Format(s fmt.State, _ rune) { io.WriteString(s, p.String()) }

// MarshalText returns String: what encoding/json and log/slog show.
func (p Provider) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// causes collects why no encrypted data key could be unwrapped.
type causes struct {
	tried   []error
	skipped []error // the first maxSkipped
	more    int     // skipped ones beyond those
}

// maxSkipped is how many reasons for skipping are kept: a hostile message can
// name 65,535 keys.
const maxSkipped = 8

// try records that unwrapping the encrypted data key at index i failed.
func (c *causes) try(i int, err error) {
	c.tried = append(c.tried, fmt.Errorf("encrypted data key %d: %w", i+1, err))
}

// skip records that the encrypted data key at index i is not for the provider.
func (c *causes) skip(i int, err error) {
	if len(c.skipped) == maxSkipped {
		c.more++
		return
	}
	c.skipped = append(c.skipped, fmt.Errorf("encrypted data key %d skipped: %w", i+1, err))
}

// failure returns the error of the provider with this name.
func (c *causes) failure(provider string) error {
	all := c.tried
	if len(all) == 0 {
		all = append(all, fmt.Errorf("%s: %w", provider, keyprovider.ErrNoMatch))
	}
	all = append(all, c.skipped...)
	if c.more > 0 {
		all = append(all, fmt.Errorf("%d more encrypted data keys skipped", c.more))
	}
	return &keyprovider.DecryptError{Causes: all}
}
