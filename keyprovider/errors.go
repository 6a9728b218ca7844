package keyprovider

import (
	"errors"

	"github.com/esdk-go/esdk/internal/provider"
)

var (
	// ErrNoMatch is wrapped by the error of a provider that tried none of the
	// message's encrypted data keys, because none is its own.
	ErrNoMatch = provider.ErrNoMatch
	// ErrDecryptOnly is wrapped by the error of a provider that is asked to encrypt
	// and can only decrypt.
	ErrDecryptOnly = errors.New("the provider can only decrypt")
	// ErrManagerOnly is the error of MasterKeys and DecryptDataKey of a
	// [MaterialsManager]. They are called if another type wraps the manager without
	// being a manager itself.
	ErrManagerOnly = errors.New("a materials manager was used as a plain provider; a type that wraps one must be a MaterialsManager itself")
	// ErrEncryptionContext is wrapped by the error for an encryption context that
	// is invalid, lacks a required key, or differs from the message's.
	ErrEncryptionContext = provider.ErrEncryptionContext

	errNilProvider = errors.New("nil MasterKeyProvider")
)

// A DecryptError is the error if none of a message's encrypted data keys could be
// decrypted. errors.Is and errors.As examine every cause.
type DecryptError struct {
	// Causes holds one error for each encrypted data key that was tried. If none
	// was tried, it holds one that wraps ErrNoMatch. Further errors are for the first
	// eight entries that were skipped although they looked like the provider's, and
	// for the number of the others.
	Causes []error
}

// Error prints the first eight causes and the number of the others.
func (e *DecryptError) Error() string { return (*provider.Failure)(e).Error() }

// Unwrap returns Causes.
func (e *DecryptError) Unwrap() []error { return e.Causes }
