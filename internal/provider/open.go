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
		if err == nil {
			failed.Pass(&keys[i])
			continue
		}
		if _, ok := err.(skipped); ok {
			failed.Skip(i, &keys[i], err)
			continue
		}
		if done := ctx.Err(); done != nil {
			return nil, format.EncryptedDataKey{}, Cause(i, &keys[i], 0, Ended(done, err))
		}
		failed.Try(Cause(i, &keys[i], 0, err))
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

// Try records the [Cause] of an entry that was tried in vain.
func (c *Causes) Try(cause error) { c.tried = append(c.tried, cause) }

// Skip records that the entry at index i was not tried: err is what [Skip] returns.
func (c *Causes) Skip(i int, edk *format.EncryptedDataKey, err error) {
	if len(c.skipped) == maxCauses {
		c.more++
		return
	}
	c.skipped = append(c.skipped, Cause(i, edk, 0, err))
}

// Pass records that an entry is another provider's.
func (c *Causes) Pass(edk *format.EncryptedDataKey) {
	if len(c.foreign) == maxNamed {
		c.others++
		return
	}
	c.foreign = append(c.foreign, edk)
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

// Cause returns what happened to the entry at index i, and how long that took,
// which its text has in milliseconds unless it was less than one.
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
