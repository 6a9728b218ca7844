// Package providertest checks that a [keyprovider.MasterKeyProvider], this
// module's or one of your own, keeps the contract that encryption and
// decryption rely on. Call [Test] in a test of the provider:
//
//	func TestProvider(t *testing.T) {
//		providertest.Test(t, providertest.Config{Provider: New(...)})
//	}
//
// It checks, for every suite, that
//
//   - the provider names its master keys, and each generates data keys of the
//     suite's length, another one each time, and encrypts those of others;
//   - whatever they wrapped fits into a message header, and is unwrapped to the
//     same data key, alone and among other entries, the first usable one first;
//   - entries of other providers, empty ones and garbage are skipped, and one
//     that was altered in any part is refused;
//   - another encryption context is refused, and nil is the same as empty;
//   - every slice returned is a fresh one, and nothing that was passed in is
//     changed or kept;
//   - an error comes with a nil result, and is a [keyprovider.DecryptError] if
//     no entry could be used;
//   - a context that is done gives an error or the right key, never a wrong one;
//   - all of it works from several goroutines: run it with the race detector.
//
// Whether keys are random, and whether they stay secret, it cannot see.
package providertest

import (
	"errors"
	"reflect"
	"testing"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A Config says what [Test] is to check.
type Config struct {
	// Provider encrypts, and decrypts too if Decrypter is nil. If it is nil
	// itself, Decrypter is one that can only decrypt: then Test checks that
	// encryption fails with keyprovider.ErrDecryptOnly, and that nothing
	// which is not its own decrypts.
	Provider keyprovider.MasterKeyProvider
	// Decrypter decrypts what any of Provider's master keys encrypted. If it
	// cannot encrypt as well, it must say so by keyprovider.ErrDecryptOnly.
	Decrypter keyprovider.MasterKeyProvider
	// Unbound is for providers whose wrapping does not bind the data key to
	// the encryption context, as with RSA.
	Unbound bool
	// Suites are those that the provider is for; nil means all.
	Suites []suite.ID
}

// Test runs every check as a subtest of t.
func Test(t *testing.T, c Config) {
	t.Helper()
	k, err := newKit(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range checks {
		if k.provider == nil && !check.decrypter {
			continue
		}
		t.Run(check.name, func(t *testing.T) {
			if err := check.run(k, t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A kit is a Config that is ready for the checks.
type kit struct {
	provider  keyprovider.MasterKeyProvider // nil: decrypter can only decrypt
	decrypter keyprovider.MasterKeyProvider
	unbound   bool
	suites    []suite.ID
}

func newKit(c Config) (*kit, error) {
	k := &kit{provider: c.Provider, decrypter: c.Decrypter, unbound: c.Unbound, suites: c.Suites}
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
		if p != nil && isNil(p) {
			return nil, errors.New("providertest: a nil pointer as provider")
		}
		if _, ok := p.(keyprovider.MaterialsManager); ok {
			return nil, errors.New("providertest: the provider is a materials manager; check the provider within it")
		}
	}
	return k, nil
}

// isNil reports whether v is nil or a nil pointer.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return v == nil || r.Kind() == reflect.Pointer && r.IsNil()
}
