package kms

import (
	"fmt"

	"github.com/esdk-go/esdk/internal/provider"
)

// A KeyError says that a call to KMS failed, or that its response was wrong. Use
// errors.As to find what the AWS SDK returned, such as a *types.NotFoundException.
type KeyError struct {
	Op    string // the operation of the KMS API, such as GenerateDataKey, Decrypt or DeriveSharedSecret
	KeyID string // the key as the request named it
	Err   error
}

// Error names the operation and the key.
func (e *KeyError) Error() string { return fmt.Sprintf("KMS %s with %s: %v", e.Op, e.KeyID, e.Err) }

// Unwrap returns Err.
func (e *KeyError) Unwrap() error { return e.Err }

// A contextError names the keys of the encryption context that does not fit. It is
// put into words when they are asked for: there can be 65,535 such entries.
type contextError struct {
	text string
	ec   map[string]string
	err  error // may be nil
}

func (e *contextError) Error() string {
	s := fmt.Sprintf("%s than the request's (%s)", e.text, provider.ContextKeys(e.ec))
	if e.err != nil {
		s += ": " + e.err.Error()
	}
	return s
}

func (e *contextError) Unwrap() error { return e.err }
