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
	// Causes has one error for each encrypted data key that was tried, and for
	// the first few that were skipped although they looked like the
	// provider's. If there was none, it has one that wraps ErrNoMatch; with the
	// providers of package kms also if all that looked like theirs were skipped.
	Causes []error
}

// maxCauses is how many causes Error prints: a hostile message can have 65,535.
const maxCauses = 8

// Error prints the first eight causes and the number of the others.
func (e *DecryptError) Error() string {
	var b strings.Builder
	b.WriteString("no data key could be decrypted")
	for i, cause := range e.Causes {
		if i == maxCauses {
			fmt.Fprintf(&b, "; and %d more", len(e.Causes)-i)
			break
		}
		fmt.Fprintf(&b, "%s%v", []string{": ", "; "}[min(i, 1)], cause)
	}
	return b.String()
}

// Unwrap returns the causes.
func (e *DecryptError) Unwrap() []error { return e.Causes }

// causes collects why a provider could not decrypt any encrypted data key.
type causes struct {
	tried   []error
	skipped []error // the first maxCauses
	more    int     // skipped ones beyond those
}

// try records that the encrypted data key at index i was tried in vain.
func (c *causes) try(i int, edk *EncryptedDataKey, err error) {
	c.tried = append(c.tried, &keyCause{i, edk.ProviderID, err})
}

// skip records that the one at index i can be none of the provider's although
// it looks like one. Such an entry can be shorter than what there is to say.
func (c *causes) skip(i int, edk *EncryptedDataKey, reason string, args ...any) {
	if len(c.skipped) == maxCauses {
		c.more++
		return
	}
	c.skipped = append(c.skipped, &keyCause{i, edk.ProviderID, fmt.Errorf("skipped: "+reason, args...)})
}

// failure is the error of the provider called name after it tried what it could.
func (c *causes) failure(name string) error {
	all := append(c.tried, c.skipped...)
	if c.more > 0 {
		all = append(all, fmt.Errorf("%d more encrypted data keys skipped", c.more))
	}
	if len(all) == 0 {
		all = append(all, fmt.Errorf("%s: %w", name, ErrNoMatch))
	}
	return &DecryptError{all}
}

// A keyCause is the cause of failure with one encrypted data key. It is put
// into words when they are asked for: there can be 65,535 of them.
type keyCause struct {
	index      int
	providerID string
	err        error
}

func (e *keyCause) Error() string {
	return fmt.Sprintf("encrypted data key %d (%q): %v", e.index+1, clip(e.providerID), e.err)
}

func (e *keyCause) Unwrap() error { return e.err }

// clip keeps what an error prints of a message short.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}
