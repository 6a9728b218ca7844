package keyprovider

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
// providers. Providers that tried no entry are left out unless no provider tried
// any.
//
// Multi fails if a provider is nil or is a [MaterialsManager]. Put the manager over
// the Multi instead.
//
// Anyone who can use one of the providers can read the message, so review all.
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
	tellApart(m.children)
	return m, nil
}

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

func (m *multi) DecryptDataKey(ctx context.Context, req *Request, keys []EncryptedDataKey) (*DataKey, error) {
	var causes, unmatched []error
	for i, p := range m.children {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		key, err := p.DecryptDataKey(ctx, req.clone(), keys)
		err = checkDataKey(key, req.Suite, err)
		if err == nil {
			return key, nil
		}
		if done := ctx.Err(); done != nil {
			return nil, provider.Ended(done, err)
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
	return nil, &DecryptError{causes}
}

// tellApart replaces RSA keys with PKCS1v15 that have the namespace and name of
// a later one, as after a rotation, by copies that fail for an entry that is
// not theirs: else they would return a random key, and the later one never be
// asked.
func tellApart(children []MasterKeyProvider) {
	names := make(map[[2]string]bool)
	for _, child := range slices.Backward(leaves(children)) {
		var k RawRSA
		switch p := (*child).(type) {
		case RawRSA:
			k = p
		case *RawRSA:
			k = *p
		default:
			continue
		}
		name := [2]string{k.namespace, k.name}
		if names[name] {
			k.oneOfSeveral = true
			*child = k
		}
		names[name] = true
	}
}

// leaves returns where the providers stand that are no multi. It replaces each
// multi among children by a copy.
func leaves(children []MasterKeyProvider) (all []*MasterKeyProvider) {
	for i := range children {
		if m, ok := children[i].(*multi); ok {
			own := &multi{slices.Clone(m.children)}
			children[i] = own
			all = append(all, leaves(own.children)...)
			continue
		}
		all = append(all, &children[i])
	}
	return all
}
