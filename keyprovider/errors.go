package keyprovider

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNoMatch is wrapped by the error for a message none of whose encrypted
	// data keys is the provider's.
	ErrNoMatch = errors.New("no encrypted data key of the message is for this provider")
	// ErrDecryptOnly is wrapped by the error of a provider that cannot protect
	// new messages.
	ErrDecryptOnly = errors.New("the provider can only decrypt")
	// ErrManagerOnly is returned by the provider methods of a
	// [MaterialsManager]: something hid the manager and called the provider.
	ErrManagerOnly = errors.New("a materials manager was used as a plain provider; a type that wraps one must be a MaterialsManager itself")
	// ErrEncryptionContext is wrapped by the error for an encryption context
	// that cannot be used, or that is not the one of the message.
	ErrEncryptionContext = errors.New("encryption context")

	errNilProvider = errors.New("nil MasterKeyProvider")
)

// A DecryptError says why none of a message's encrypted data keys could be
// decrypted. errors.Is and errors.As see every cause.
type DecryptError struct {
	// Causes has one error for each encrypted data key that was tried, or
	// skipped although it looked like the provider's; or, if there was none,
	// an error that wraps ErrNoMatch.
	Causes []error
}

// maxCauses is how many causes Error prints: a hostile message can have 65,535.
const maxCauses = 8

func (e *DecryptError) Error() string {
	var b strings.Builder
	b.WriteString("no data key could be decrypted")
	for i, cause := range e.Causes {
		if i == maxCauses {
			fmt.Fprintf(&b, "; and %d more", len(e.Causes)-i)
			break
		}
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		b.WriteString(cause.Error())
	}
	return b.String()
}

// Unwrap returns the causes.
func (e *DecryptError) Unwrap() []error { return e.Causes }

// keyCause is the cause of failure with the encrypted data key at index i.
func keyCause(i int, edk *EncryptedDataKey, err error) error {
	return fmt.Errorf("encrypted data key %d (%q): %w", i+1, edk.ProviderID, err)
}

// decryptFailure is the error of the provider called name after it tried what
// it could, with these causes.
func decryptFailure(name string, causes []error) error {
	if len(causes) == 0 {
		causes = []error{fmt.Errorf("%s: %w", name, ErrNoMatch)}
	}
	return &DecryptError{causes}
}
