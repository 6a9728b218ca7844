package setup

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DefaultTimeout is what an Options.Timeout of zero means.
const DefaultTimeout = 10 * time.Second

// A Timeout bounds each call to AWS, its retries included. It is an
// Options.Timeout after [TimeoutOf]; zero means that there is none.
type Timeout time.Duration

// TimeoutOf returns the Timeout of an Options.Timeout.
func TimeoutOf(option time.Duration) Timeout {
	if option == 0 {
		option = DefaultTimeout
	}
	return Timeout(max(option, 0))
}

// Call returns what f returns, which must be a result or an error. f gets a ctx
// that ends after the timeout.
//
// Once the caller's ctx is done the error wraps ctx's. If it was the timeout that
// ended f, the error says so and wraps context.DeadlineExceeded. Both have f's
// error within them: such as that KMS throttled the last attempt.
func Call[Output any](ctx context.Context, timeout Timeout, f func(ctx context.Context) (*Output, error)) (*Output, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	bounded := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, time.Duration(timeout))
		defer cancel()
	}
	out, err := f(bounded)
	switch {
	case err == nil && out == nil:
		return nil, errors.New("the client returned neither a result nor an error")
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
	case bounded.Err() == nil:
		return nil, err
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("timed out after %v: %w", time.Duration(timeout), err)
	}
	return nil, fmt.Errorf("timed out after %v: %w: %w", time.Duration(timeout), context.DeadlineExceeded, err)
}
