// Package providertest checks that a [keyprovider.MasterKeyProvider], this module's or
// your own, keeps the contract that encryption and decryption rely on. Call [Test] in
// a test of the provider, and run it with the race detector:
//
//	func TestProvider(t *testing.T) {
//		providertest.Test(t, providertest.Config{Provider: New(...)})
//	}
//
// For every suite it checks that
//
//   - the provider has master keys; each generates a different data key of the
//     suite's length each time, and wraps the data keys of others;
//   - every wrapped data key fits into a message header, and unwraps to the same data
//     key, both alone and among other entries, where the first usable entry wins;
//   - foreign, empty and garbage entries are skipped, and an entry that was altered in
//     any field is refused;
//   - another encryption context is refused, and nil means the same as empty;
//   - every returned slice is memory of its own, and nothing that was passed in is
//     changed or kept;
//   - the result is nil with every error, and the error is a
//     [keyprovider.DecryptError] if no entry could be used;
//   - a done ctx gives an error or the right data key, and never a wrong one; and
//   - all methods can be called from several goroutines.
//
// It cannot check that keys are random or that they stay secret.
package providertest

import (
	"testing"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// A Config says what [Test] checks.
type Config struct {
	// Provider encrypts. It also decrypts if Decrypter is nil. If Provider itself is
	// nil, Decrypter must be one that can only decrypt: then Test checks that
	// encryption fails with keyprovider.ErrDecryptOnly, and that no foreign entry is
	// decrypted.
	Provider keyprovider.MasterKeyProvider
	// Decrypter decrypts what any master key of Provider wrapped. If it cannot
	// encrypt, its MasterKeys must fail with keyprovider.ErrDecryptOnly.
	Decrypter keyprovider.MasterKeyProvider
	// Unbound is for providers that do not bind the data key to the encryption
	// context, such as those that wrap by RSA.
	Unbound bool
	// ImplicitRejection is for providers that return a random data key for an altered
	// ciphertext, so that nobody learns why it could not be unwrapped, as RSA with
	// PKCS1v15 requires.
	ImplicitRejection bool
	// Suites are the suites that the provider supports. Nil means all.
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
