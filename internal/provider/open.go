package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/esdk-go/esdk/format"
)

// An Unwrap opens an encrypted data key. It returns
//   - the data key, which is the caller's,
//   - nil and no error, if the encrypted data key is another provider's,
//   - what [Skip] returns, if it looks like the provider's and cannot be, or
//   - why it does not open.
type Unwrap func(ctx context.Context, edk *format.EncryptedDataKey) (plaintext []byte, err error)

// Skip returns the error of an [Unwrap] that did not try, because of err.
func Skip(err error) error { return skipped{err} }

type skipped struct{ err error }

func (e skipped) Error() string { return "skipped: " + e.err.Error() }
func (e skipped) Unwrap() error { return e.err }

// tried reports whether an [Unwrap] that returned no data key tried to open one.
func tried(err error) bool {
	_, skip := err.(skipped)
	return err != nil && !skip
}

// Open returns the first data key that opens, and the entry of keys that held it.
// It tries them in their order. Once ctx is done it returns an error
// that wraps ctx's and names the entry that it came to; if no data key opens, a
// *[Failure]. The name is that of the provider, for the error if none matches.
func Open(ctx context.Context, name string, keys []format.EncryptedDataKey, unwrap Unwrap) (plaintext []byte, edk format.EncryptedDataKey, err error) {
	var failed Causes
	for i := range keys {
		if err := ctx.Err(); err != nil {
			return nil, format.EncryptedDataKey{}, Cause(i, &keys[i], 0, err)
		}
		plaintext, err := unwrap(ctx, &keys[i])
		if plaintext != nil && err == nil {
			return plaintext, keys[i], nil
		}
		if done := ctx.Err(); done != nil && tried(err) {
			return nil, format.EncryptedDataKey{}, Cause(i, &keys[i], 0, Ended(done, err))
		}
		failed.Add(i, &keys[i], 0, err)
	}
	return nil, format.EncryptedDataKey{}, failed.Failure(name)
}

// A Failure says why no data key could be opened. It is a
// *keyprovider.DecryptError before that package made it one.
type Failure struct{ Causes []error }

// maxCauses is how many causes Error prints, and how many skipped entries are
// causes: a hostile message can have 65,535 entries.
const maxCauses = 8

// Error prints the first eight causes and the number of the others.
func (e *Failure) Error() string { return WithCauses("no data key could be decrypted", e.Causes) }

// WithCauses returns the text with the first eight causes and the number of the
// others.
func WithCauses(text string, causes []error) string {
	var b strings.Builder
	b.WriteString(text)
	for i, cause := range causes {
		if i == maxCauses {
			fmt.Fprintf(&b, "; and %d more", len(causes)-i)
			break
		}
		fmt.Fprintf(&b, "%s%v", []string{": ", "; "}[min(i, 1)], cause)
	}
	return b.String()
}

// Causes collects why a provider opened no encrypted data key.
type Causes struct {
	tried   []error
	skipped []error                    // the first maxCauses
	more    int                        // skipped ones beyond those
	foreign []*format.EncryptedDataKey // the first maxNamed of other providers
	others  int                        // those beyond
}

// Add records why the entry at index i did not open, and how long that took: err is
// what an [Unwrap] returns, nil if the entry is another provider's.
func (c *Causes) Add(i int, edk *format.EncryptedDataKey, spent time.Duration, err error) {
	switch {
	case tried(err):
		c.tried = append(c.tried, Cause(i, edk, spent, err))
	case err == nil && len(c.foreign) < maxNamed:
		c.foreign = append(c.foreign, edk)
	case err == nil:
		c.others++
	case len(c.skipped) < maxCauses:
		c.skipped = append(c.skipped, Cause(i, edk, spent, err))
	default:
		c.more++
	}
}

// Failure is that of the provider called name. If no entry was tried, it says
// what the message has instead; the entries that were skipped have causes of
// their own.
func (c *Causes) Failure(name string) *Failure {
	all := c.tried
	if len(all) == 0 {
		err := fmt.Errorf("%s: %w", name, ErrNoMatch)
		if len(c.foreign) > 0 {
			err = fmt.Errorf("%w; the message has %s", err, describe(c.foreign, c.others))
		}
		all = append(all, err)
	}
	all = append(all, c.skipped...)
	if c.more > 0 {
		all = append(all, fmt.Errorf("%d more encrypted data keys skipped", c.more))
	}
	return &Failure{all}
}

// Cause returns the error for the entry at index i. If spent is a millisecond or
// more, the text says how long the attempt took.
func Cause(i int, edk *format.EncryptedDataKey, spent time.Duration, err error) error {
	return &cause{i, edk.ProviderID, spent, err}
}

// A cause is put into words when they are asked for: there can be 65,535 of them.
type cause struct {
	index      int
	providerID string
	spent      time.Duration
	err        error
}

func (e *cause) Error() string {
	entry := fmt.Sprintf("encrypted data key %d (%.100q)", e.index+1, e.providerID)
	if spent := e.spent.Truncate(time.Millisecond); spent > 0 {
		entry += fmt.Sprintf(" after %v", spent)
	}
	return fmt.Sprintf("%s: %v", entry, e.err)
}

func (e *cause) Unwrap() error { return e.err }

// Ended returns the error of an operation that ended because its ctx was done,
// given the error of ctx and that of the operation: the latter if it says what
// ctx ended.
func Ended(ctxErr, err error) error {
	if errors.Is(err, ctxErr) {
		return err
	}
	return ctxErr
}
