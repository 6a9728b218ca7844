package keyprovider

import (
	"context"
	"errors"
	"fmt"

	"github.com/esdk-go/esdk/internal/provider"
)

// multi is the provider that [Multi] returns.
type multi struct{ children []MasterKeyProvider }

// Multi returns a provider that combines the given ones. The master keys of all of
// them protect each new message, and any of them can decrypt it. They may be
// results of Multi themselves.
//
// On encryption the master keys keep the order of the providers, so the first
// provider's first key generates the data key. Encryption fails if any provider
// fails, has no master key, or can only decrypt ([ErrDecryptOnly]).
//
// On decryption each provider in turn gets all encrypted data keys, until one
// succeeds. If none does, the error is a *[DecryptError] with the causes of all
// providers. A provider that tried no entry gives no cause, unless none tried any.
//
// Multi fails if a provider is nil or is a [MaterialsManager]. Put the manager over
// the Multi instead.
//
// Anyone who can use one of the providers can read the message, so check each of them.
//
// It follows [multi-keyring] of the specification.
//
// [multi-keyring]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/multi-keyring.md
func Multi(first MasterKeyProvider, others ...MasterKeyProvider) (MasterKeyProvider, error) {
	m := &multi{append([]MasterKeyProvider{first}, others...)}
	for i, p := range m.children {
		if provider.IsNil(p) {
			return nil, fmt.Errorf("keyprovider: Multi: provider %d is nil", i+1)
		}
		if _, ok := p.(MaterialsManager); ok {
			return nil, fmt.Errorf("keyprovider: Multi: provider %d is a materials manager, which belongs over the Multi", i+1)
		}
	}
	return m, nil
}

// MasterKeys returns those of all children, each of which must have one.
func (m *multi) MasterKeys(ctx context.Context, req *Request) ([]MasterKey, error) {
	var keys []MasterKey
	for i, p := range m.children {
		more, err := p.MasterKeys(ctx, req.clone())
		if err != nil {
			return nil, fmt.Errorf("provider %d: %w", i+1, err)
		}
		if len(more) == 0 {
			return nil, fmt.Errorf("provider %d has no master key", i+1)
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

// DecryptDataKey asks the children in their order, until one has the data key.
func (m *multi) DecryptDataKey(ctx context.Context, req *Request, keys []EncryptedDataKey) (*DataKey, error) {
	return orRandom(m.decrypt(ctx, req, keys))
}

// decrypt is like DecryptDataKey, but the data key is always one that an entry
// holds. With an error, random is what DecryptDataKey returns in its place, if it
// is not nil: an RSA key with PKCS1v15 rejects entries by a random data key, but
// another child may have the right one.
func (m *multi) decrypt(ctx context.Context, req *Request, keys []EncryptedDataKey) (key, random *DataKey, err error) {
	var causes, unmatched []error
	for i, p := range m.children {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		var key, fallback *DataKey
		var err error
		switch p := p.(type) { // no interface: a type that embeds one of these has its own DecryptDataKey
		case RawRSA:
			key, fallback, err = p.decrypt(ctx, req.clone(), keys)
		case *RawRSA:
			key, fallback, err = p.decrypt(ctx, req.clone(), keys)
		case *multi:
			key, fallback, err = p.decrypt(ctx, req.clone(), keys)
		default:
			key, err = p.DecryptDataKey(ctx, req.clone(), keys)
		}
		if fallback != nil {
			random = fallback
		}
		err = checkDataKey(key, req.Suite, err)
		if err == nil {
			return key, nil, nil
		}
		if done := ctx.Err(); done != nil {
			return nil, nil, provider.Ended(done, err)
		}
		var failure *DecryptError
		switch {
		case !errors.As(err, &failure) || failure == nil:
			causes = append(causes, fmt.Errorf("provider %d: %w", i+1, err))
		case errors.Is(err, ErrNoMatch):
			unmatched = append(unmatched, failure.Causes...)
		default:
			causes = append(causes, failure.Causes...)
		}
	}
	if len(causes) == 0 { // else what did not match explains nothing
		causes = unmatched
	}
	return nil, random, &DecryptError{causes}
}

// orRandom is the result of DecryptDataKey, from that of decrypt.
func orRandom(key, random *DataKey, err error) (*DataKey, error) {
	if err != nil && random != nil {
		return random, nil
	}
	return key, err
}
