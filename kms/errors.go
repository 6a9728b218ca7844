package kms

import (
	"fmt"

	"github.com/esdk-go/esdk/keyprovider"
)

// A KeyError is a call to AWS KMS that failed or whose response was wrong.
// What the AWS SDK returned, such as a *types.NotFoundException, is within
// reach of errors.As.
type KeyError struct {
	Op    string // the operation of the KMS API, such as GenerateDataKey, Decrypt or DeriveSharedSecret
	KeyID string // the key as the request named it
	Err   error
}

func (e *KeyError) Error() string { return fmt.Sprintf("KMS %s with %s: %v", e.Op, e.KeyID, e.Err) }

// Unwrap returns Err.
func (e *KeyError) Unwrap() error { return e.Err }

// causes collects why no encrypted data key could be decrypted.
type causes struct {
	tried   []error
	skipped []error // the first maxSkipped
	more    int     // skipped ones beyond those
}

// maxSkipped is how many reasons for skipping are kept: a hostile message can
// name 65,535 keys.
const maxSkipped = 8

// try records that decrypting the encrypted data key at index i failed.
func (c *causes) try(i int, err error) {
	c.tried = append(c.tried, fmt.Errorf("encrypted data key %d: %w", i+1, err))
}

// skip records that the encrypted data key at index i is not for the provider.
func (c *causes) skip(i int, err error) {
	if len(c.skipped) == maxSkipped {
		c.more++
		return
	}
	c.skipped = append(c.skipped, fmt.Errorf("encrypted data key %d skipped: %w", i+1, err))
}

// failure returns the error for the provider with this name; hint, if not nil,
// is one more cause.
func (c *causes) failure(provider string, hint error) error {
	all := c.tried
	if len(all) == 0 {
		all = append(all, fmt.Errorf("%s: %w", provider, keyprovider.ErrNoMatch))
	}
	if hint != nil {
		all = append(all, hint)
	}
	all = append(all, c.skipped...)
	if c.more > 0 {
		all = append(all, fmt.Errorf("%d more encrypted data keys skipped", c.more))
	}
	return &keyprovider.DecryptError{Causes: all}
}
