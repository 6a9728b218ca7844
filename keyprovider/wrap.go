package keyprovider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
)

// generateWith lets the master key generate the data key of m. The request is one that
// was lent for m; copied says whether it is a copy.
func generateWith(ctx context.Context, key MasterKey, lent *Request, copied bool, m *EncryptionMaterials) (*DataKey, error) {
	generated, err := key.GenerateDataKey(ctx, lent)
	if err := checkDataKey(generated, m.Suite, err); err != nil {
		return nil, err
	}
	if copied {
		err = checkLent(lent, m)
	}
	if err == nil {
		err = checkEncrypted(&generated.Encrypted)
	}
	if err != nil {
		clear(generated.Plaintext)
		return nil, err
	}
	return generated, nil
}

// encryptWith lets the master key encrypt the data key of m.
func encryptWith(ctx context.Context, key MasterKey, m *EncryptionMaterials) (EncryptedDataKey, error) {
	own := bytes.Clone(m.DataKey) // whatever the key does to it, the message has another
	defer clear(own)
	req := (&Request{m.Suite, m.EncryptionContext}).clone()
	edk, err := key.EncryptDataKey(ctx, req, own)
	if err == nil {
		err = checkLent(req, m)
	}
	if err == nil {
		err = checkEncrypted(&edk)
	}
	if err != nil {
		return EncryptedDataKey{}, err
	}
	return edk, nil
}

// checkLent checks that a request that was lent for m is as it was: what a key
// wraps for another encryption context, nobody can unwrap.
func checkLent(req *Request, m *EncryptionMaterials) error {
	if req.Suite != m.Suite || !maps.Equal(req.EncryptionContext, m.EncryptionContext) {
		return errors.New("the provider or a master key changed the request that it was given: the data key may be bound to another encryption context")
	}
	return nil
}

// checkEncrypted checks what a master key returned.
func checkEncrypted(edk *EncryptedDataKey) error {
	if len(edk.Ciphertext) == 0 {
		return errors.New("the master key returned an encrypted data key without ciphertext")
	}
	return nil
}

// ofKey returns the error of the master key at index i.
func ofKey(i int, err error) error { return fmt.Errorf("master key %d: %w", i+1, err) }

// maxParallelKeys is how many master keys encrypt a data key at the same time.
const maxParallelKeys = 16

// inParallel calls f for 0 to n-1, each on a goroutine of its own, up to limit at the
// same time. The first error of f cancels the ctx of the others; all have ended when it
// returns. If ctx is done, the error is f's if that wraps ctx's, else ctx's. If f
// panics or ends its goroutine, inParallel does the same.
func inParallel(ctx context.Context, n, limit int, f func(ctx context.Context, i int) error) error {
	all, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	calls := make([]parallelCall, n)
	slots := make(chan struct{}, limit)
	var wg sync.WaitGroup
	for i := range calls {
		slots <- struct{}{}
		if all.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			c := &calls[i]
			defer c.end(cancel)
			if c.err = f(all, i); c.err != nil {
				cancel(c.err)
			}
			c.returned = true
		})
	}
	wg.Wait()
	resume(calls)
	if done := ctx.Err(); done != nil {
		for i := range calls {
			if errors.Is(calls[i].err, done) {
				return calls[i].err // it says what ctx ended
			}
		}
		return done
	}
	return context.Cause(all)
}

// parallelCall is what became of a call on a goroutine of its own.
type parallelCall struct {
	err      error
	returned bool
	ended    bool // neither returned nor panicked: by runtime.Goexit
	panicked any
}

// end is deferred by the goroutine.
func (c *parallelCall) end(cancel context.CancelCauseFunc) {
	if c.returned {
		return
	}
	if c.panicked = recover(); c.panicked == nil {
		c.ended = true
	}
	cancel(errors.New("another master key did not return"))
}

// resume does on the caller's goroutine what a call did on its own: it panics with
// the same value, or else ends the goroutine.
func resume(calls []parallelCall) {
	for i := range calls {
		if value := calls[i].panicked; value != nil {
			panic(value)
		}
	}
	if slices.ContainsFunc(calls, func(c parallelCall) bool { return c.ended }) {
		runtime.Goexit()
	}
}
