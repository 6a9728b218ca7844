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
	// ImplicitRejection is for providers that give a random data key for an
	// altered ciphertext, so that nothing tells why it could not be unwrapped,
	// as must be with RSA and PKCS1v15.
	ImplicitRejection bool
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
