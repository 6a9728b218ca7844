package keystore

import (
	"context"
	"errors"
	"fmt"
)

// The causes of errors that programs can act on, besides
// hierarchical.ErrBranchKeyNotFound and those of the AWS SDK.
var (
	// ErrKeyExists is the error of CreateKey with an ID that is in use.
	ErrKeyExists = errors.New("the branch key exists already")
	// ErrConflict is the error of RotateKey and CreateKey if something else
	// changed the branch key at the same time, most likely another RotateKey.
	// Nothing was written.
	ErrConflict = errors.New("the branch key was changed at the same time")
	// ErrReadOnly is the error of CreateKey and RotateKey in discovery.
	ErrReadOnly = errors.New("discovery reads only")
	// ErrRecord is the error of an item that is no record of a branch key.
	ErrRecord = errors.New("malformed record")
	// ErrTable is the error of a table that is no table of branch keys.
	ErrTable = errors.New("the table has another key schema")
)

// An Error is an operation of a [Store] that failed. A call to KMS that failed
// or whose response was wrong is within it as a *kms.KeyError, and what the AWS
// SDK returned, such as a *types.ProvisionedThroughputExceededException, is
// within reach of errors.As.
type Error struct {
	Op    string // the method of Store, such as RotateKey
	Table string
	ID    string // of the branch key; empty for CreateTable
	Err   error
}

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

// call returns what the client says to one request. Once ctx is done its error
// takes the place of that.
func call[Output any](ctx context.Context, request func() (*Output, error)) (*Output, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out, err := request()
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case out == nil:
		return nil, errors.New("the client returned neither a result nor an error")
	}
	return out, nil
}
