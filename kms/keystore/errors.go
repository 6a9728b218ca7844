package keystore

import (
	"context"
	"errors"
	"fmt"

	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/internal/setup"
)

// Operations of a [Store] fail with an [Error] that wraps one of these,
// [hierarchical.ErrBranchKeyNotFound], or an error of the AWS SDK.
var (
	// ErrKeyExists: CreateKey was called with an ID that is in use.
	ErrKeyExists = errors.New("the branch key exists already")
	// ErrConflict: something else changed the branch key while RotateKey or CreateKey
	// did, most likely another RotateKey. Nothing was written; try again if needed.
	ErrConflict = errors.New("the branch key was changed at the same time")
	// ErrReadOnly: CreateKey or RotateKey was called on a store with Discovery.
	ErrReadOnly = errors.New("a store with discovery only reads")
	// ErrRecord: an item of the table is not a well-formed record of a branch key.
	ErrRecord = errors.New("malformed record")
	// ErrTable: the table exists, but its key schema is not that of branch keys.
	ErrTable = errors.New("the table has another key schema")
)

// An Error says which operation of a [Store] failed. Use errors.As to find a
// *kms.KeyError, if a call to KMS failed or its response was wrong, or what the AWS SDK
// returned, such as a *types.ProvisionedThroughputExceededException.
type Error struct {
	Op    string // the method of Store, such as RotateKey
	Table string
	ID    string // of the branch key; empty for CreateTable and Keys
	Err   error
}

// Error names the table, the operation and the branch key.
func (e *Error) Error() string {
	if e.ID == "" {
		return fmt.Sprintf("branch key table %s: %s: %v", e.Table, e.Op, e.Err)
	}
	return fmt.Sprintf("branch key table %s: %s of %.100q: %v", e.Table, e.Op, e.ID, e.Err)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// fail returns the error of an operation.
func (s *Store) fail(op, id string, err error) error {
	return &Error{Op: op, Table: s.info.Table, ID: id, Err: err}
}

var errNotMade = errors.New("the store was not made by New")

// call makes the call f of DynamoDB, within the timeout: see setup.Call.
func call[Output any](ctx context.Context, s *Store, op string, f func(context.Context) (*Output, error)) (*Output, error) {
	out, err := setup.Call(ctx, s.timeout, f)
	if err != nil {
		return nil, fmt.Errorf("DynamoDB %s: %w", op, err)
	}
	return out, nil
}

// callKMS makes the call f of KMS for the key, within the timeout, and lets check
// look at its result. Errors are KeyErrors.
func callKMS[Output any](ctx context.Context, s *Store, op, key string, f func(context.Context) (*Output, error), check func(*Output) error) (*Output, error) {
	out, err := setup.Call(ctx, s.timeout, f)
	if err == nil {
		err = check(out)
	}
	if err != nil {
		return nil, &kms.KeyError{Op: op, KeyID: key, Err: err}
	}
	return out, nil
}
