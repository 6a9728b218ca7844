package kms

import "fmt"

// A KeyError says that a call to KMS failed, or that its response was wrong. Use
// errors.As to find what the AWS SDK returned, such as a *types.NotFoundException.
type KeyError struct {
	Op    string // the operation of the KMS API, such as GenerateDataKey, Decrypt or DeriveSharedSecret
	KeyID string // the key as the request named it
	Err   error
}

func (e *KeyError) Error() string { return fmt.Sprintf("KMS %s with %s: %v", e.Op, e.KeyID, e.Err) }

// Unwrap returns Err.
func (e *KeyError) Unwrap() error { return e.Err }
