package keyprovider

import (
	"errors"

	"github.com/esdk-go/esdk/internal/provider"
)

var (
	// ErrNoMatch is wrapped by the error for a message none of whose encrypted
	// data keys is the provider's.
	ErrNoMatch = provider.ErrNoMatch
	// ErrDecryptOnly is wrapped by the error of a provider that cannot protect
	// new messages.
	ErrDecryptOnly = errors.New("the provider can only decrypt")
	// ErrManagerOnly is returned by the provider methods of a
	// [MaterialsManager]: something hid the manager and called the provider.
	ErrManagerOnly = errors.New("a materials manager was used as a plain provider; a type that wraps one must be a MaterialsManager itself")
	// ErrEncryptionContext is wrapped by the error for an encryption context
	// that cannot be used, or that is not the one of the message.
	ErrEncryptionContext = provider.ErrEncryptionContext

	errNilProvider = errors.New("nil MasterKeyProvider")
)

// A DecryptError says why none of a message's encrypted data keys could be
// decrypted. errors.Is and errors.As see every cause.
type DecryptError struct {
	// Causes has one error for each encrypted data key that was tried, or, if
	// none was, one that wraps ErrNoMatch. Errors for the first few that were
	// skipped although they looked like the provider's follow.
	Causes []error
}

// Error prints the first eight causes and the number of the others.
func (e *DecryptError) Error() string { return (*provider.Failure)(e).Error() }

// Unwrap returns the causes.
func (e *DecryptError) Unwrap() []error { return e.Causes }
