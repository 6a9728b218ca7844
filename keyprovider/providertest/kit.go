package providertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A kit is a Config that is ready for the checks.
type kit struct {
	provider  keyprovider.MasterKeyProvider // nil: decrypter can only decrypt
	decrypter keyprovider.MasterKeyProvider
	unbound   bool
	implicit  bool
	suites    []suite.ID
}

func newKit(c Config) (*kit, error) {
	k := &kit{provider: c.Provider, decrypter: c.Decrypter, unbound: c.Unbound, implicit: c.ImplicitRejection, suites: c.Suites}
	if k.decrypter == nil {
		k.decrypter = k.provider
	}
	if k.suites == nil {
		k.suites = suite.All()
	}
	if k.provider == nil && k.decrypter == nil {
		return nil, errors.New("providertest: Config has neither Provider nor Decrypter")
	}
	if len(k.suites) == 0 {
		return nil, errors.New("providertest: Config.Suites is empty; nil means all")
	}
	for _, id := range k.suites {
		if !id.Valid() {
			return nil, errors.New("providertest: Config.Suites has an unknown " + id.String())
		}
	}
	for _, p := range []keyprovider.MasterKeyProvider{k.provider, k.decrypter} {
		if p != nil && provider.IsNil(p) {
			return nil, errors.New("providertest: a nil pointer as provider")
		}
		if _, ok := p.(keyprovider.MaterialsManager); ok {
			return nil, errors.New("providertest: the provider is a materials manager; check the provider within it")
		}
	}
	return k, nil
}

// request returns a new request whose encryption context holds some text.
func request(id suite.ID) *keyprovider.Request {
	return &keyprovider.Request{Suite: id, EncryptionContext: map[string]string{
		"purpose": "providertest",
		"größe":   "一",
	}}
}

// masterKeys returns the keys of the provider: at least one, and none nil.
func (k *kit) masterKeys(ctx context.Context, req *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	keys, err := k.provider.MasterKeys(ctx, req)
	switch {
	case err != nil && len(keys) > 0:
		return nil, fmt.Errorf("MasterKeys returned keys beside the error %w", err)
	case err != nil:
		return nil, fmt.Errorf("MasterKeys: %w", err)
	case len(keys) == 0:
		return nil, errors.New("MasterKeys returned neither a key nor an error")
	}
	for i, key := range keys {
		if provider.IsNil(key) {
			return nil, fmt.Errorf("MasterKeys returned a nil key at index %d", i)
		}
	}
	return keys, nil
}

// generate returns a data key that the first master key generated.
func (k *kit) generate(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	keys, err := k.masterKeys(ctx, req)
	if err != nil {
		return nil, err
	}
	key, err := keys[0].GenerateDataKey(ctx, req)
	switch {
	case err != nil && key != nil:
		return nil, fmt.Errorf("GenerateDataKey returned a data key beside the error %w", err)
	case err != nil:
		return nil, fmt.Errorf("GenerateDataKey: %w", err)
	case key == nil:
		return nil, errors.New("GenerateDataKey returned neither a data key nor an error")
	case len(key.Plaintext) != req.Suite.KeySize():
		return nil, fmt.Errorf("GenerateDataKey returned a data key of %d bytes, the suite needs %d", len(key.Plaintext), req.Suite.KeySize())
	}
	return key, encodable(key.Encrypted)
}

// encodable checks that a header can hold the entry.
func encodable(edk keyprovider.EncryptedDataKey) error {
	const most = 1<<16 - 1
	switch {
	case !utf8.ValidString(edk.ProviderID):
		return fmt.Errorf("the provider ID %q is not UTF-8", edk.ProviderID)
	case len(edk.ProviderID) > most || len(edk.ProviderInfo) > most || len(edk.Ciphertext) > most:
		return fmt.Errorf("the entry has %d bytes of provider ID, %d of provider info, %d of ciphertext; a header holds %d each",
			len(edk.ProviderID), len(edk.ProviderInfo), len(edk.Ciphertext), most)
	}
	return nil
}

// try decrypts, and checks that there is either a result or an error.
func (k *kit) try(ctx context.Context, req *keyprovider.Request, entries ...keyprovider.EncryptedDataKey) (key *keyprovider.DataKey, err, fault error) {
	key, err = k.decrypter.DecryptDataKey(ctx, req, entries)
	if key != nil && err != nil {
		fault = fmt.Errorf("DecryptDataKey returned a data key beside the error %w", err)
	}
	if key == nil && err == nil {
		fault = errors.New("DecryptDataKey returned neither a data key nor an error")
	}
	return key, err, fault
}

// opens checks that the entries open to the data key want, by its entry.
func (k *kit) opens(ctx context.Context, req *keyprovider.Request, want *keyprovider.DataKey, entries ...keyprovider.EncryptedDataKey) error {
	key, err, fault := k.try(ctx, req, entries...)
	if fault != nil {
		return fault
	}
	if err != nil {
		return fmt.Errorf("DecryptDataKey: %w", err)
	}
	return same(key, want)
}

// same checks that got is want.
func same(got, want *keyprovider.DataKey) error {
	if !bytes.Equal(got.Plaintext, want.Plaintext) {
		return errors.New("DecryptDataKey returned another data key than the one that was encrypted")
	}
	if !equal(got.Encrypted, want.Encrypted) {
		return fmt.Errorf("DecryptDataKey returned as Encrypted another entry, of %q, than the one it opened", got.Encrypted.ProviderID)
	}
	return nil
}

// refuses checks that none of the entries opens.
func (k *kit) refuses(ctx context.Context, req *keyprovider.Request, what string, entries ...keyprovider.EncryptedDataKey) error {
	_, err, fault := k.try(ctx, req, entries...)
	if fault != nil {
		return fmt.Errorf("%s: %w", what, fault)
	}
	if err == nil {
		return fmt.Errorf("%s: DecryptDataKey returned a data key", what)
	}
	if failure := (*keyprovider.DecryptError)(nil); !errors.As(err, &failure) {
		return fmt.Errorf("%s: DecryptDataKey returned an error that is no *keyprovider.DecryptError: %w", what, err)
	}
	return nil
}

// rejects is like refuses, but an entry may also be rejected implicitly, if the
// Config says so: by a data key that is not the wrapped one.
func (k *kit) rejects(ctx context.Context, req *keyprovider.Request, what string, wrapped []byte, edk keyprovider.EncryptedDataKey) error {
	if k.implicit {
		key, err, fault := k.try(ctx, req, edk)
		if fault != nil {
			return fmt.Errorf("%s: %w", what, fault)
		}
		if err == nil {
			if n := min(len(wrapped), len(key.Plaintext)); bytes.Equal(key.Plaintext[:n], wrapped[:n]) {
				return fmt.Errorf("%s: DecryptDataKey returned the wrapped data key", what)
			}
			return nil
		}
	}
	return k.refuses(ctx, req, what, edk)
}

func equal(a, b keyprovider.EncryptedDataKey) bool {
	return a.ProviderID == b.ProviderID && bytes.Equal(a.ProviderInfo, b.ProviderInfo) && bytes.Equal(a.Ciphertext, b.Ciphertext)
}

func clone(edk keyprovider.EncryptedDataKey) keyprovider.EncryptedDataKey {
	edk.ProviderInfo, edk.Ciphertext = bytes.Clone(edk.ProviderInfo), bytes.Clone(edk.Ciphertext)
	return edk
}
