package kms

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/arn"
)

// An entry is an encrypted data key that a provider can ask KMS to decrypt.
type entry struct {
	index int     // in the message
	key   arn.ARN // which is asked

	// What became of it. Its call's goroutine owns these until race.mu says that
	// it has ended.
	begun time.Time
	probe bool // see outages.pick
	spent time.Duration
	err   error
	lost  bool // the caller's ctx was done before the call's end
}

// A race asks for a message's entries, until the first that opens.
//
// The caller's goroutine asks for one after the other. Whenever a call has not ended
// after the time of Options.HedgeAfter, a timer starts a goroutine that does the same
// beside it, in another Region: a hostile message with thousands of entries in a Region
// that hangs has one call there at a time. All have ended when run returns.
type race struct {
	caller  context.Context
	calls   context.Context // the same, until there is a winner
	cancel  context.CancelFunc
	keys    []keyprovider.EncryptedDataKey
	ask     func(ctx context.Context, e *entry) ([]byte, error)
	after   time.Duration // zero: the caller's goroutine is alone
	outages *outages
	hedges  sync.WaitGroup // goroutines, and the timer while it runs

	mu     sync.Mutex
	left   []*entry // in the order to ask for them
	asked  []*entry
	busy   []string // Regions that are being asked
	timer  *time.Timer
	over   bool // nothing more is to be asked
	winner *entry
	opened []byte // by the winner
	thrown *thrown
}

// thrown is how a goroutine ended that did not return: by a panic or, if that is nil,
// by runtime.Goexit.
type thrown struct{ value any }

// run returns the winner and what it opened, or neither. If a call panics or ends its
// goroutine, it does the same.
func (r *race) run() (*entry, []byte) {
	r.calls, r.cancel = context.WithCancel(r.caller)
	returned := false
	defer func() {
		r.end() // also if a call does not return
		if !returned {
			clear(r.opened)
		}
	}()
	r.work()
	r.hedges.Wait()
	if t := r.thrown; t != nil {
		if t.value != nil {
			panic(t.value)
		}
		runtime.Goexit()
	}
	returned = true
	return r.winner, r.opened
}

// work asks for one entry after the other while there is any to ask for.
func (r *race) work() {
	for e := r.next(); e != nil; e = r.next() {
		r.call(e)
	}
}

// next returns the entry to ask for now, or nil. If there is one in a busy Region, the
// goroutine that asks there comes back for it.
func (r *race) next() *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || len(r.left) == 0 || r.calls.Err() != nil {
		r.stopTimer() // run waits for it
		return nil
	}
	i, probe := r.outages.pick(r.left, r.busy)
	if i < 0 {
		return nil
	}
	e := r.left[i]
	e.probe, e.begun = probe, time.Now()
	copy(r.left[1:i+1], r.left[:i])
	r.left = r.left[1:]
	r.asked = append(r.asked, e)
	r.busy = append(r.busy, e.key.Region)
	if r.after > 0 && len(r.left) > 0 {
		r.start()
	} else {
		r.stopTimer()
	}
	return e
}

// call asks for the entry.
func (r *race) call(e *entry) {
	v := nothing
	defer func() { r.outages.learn(e, v) }() // also if the call does not return
	opened, err := r.ask(r.calls, e)
	e.spent = time.Since(e.begun)

	r.mu.Lock()
	defer r.mu.Unlock()
	v = r.verdict(e, err)
	i := slices.Index(r.busy, e.key.Region)
	r.busy = slices.Delete(r.busy, i, i+1)
	switch {
	case err != nil:
		e.lost = r.caller.Err() != nil
		if e.lost {
			err = provider.Ended(r.caller.Err(), err)
		}
		e.err = err
	case r.over: // another was first
		clear(opened)
	default:
		r.winner, r.opened, r.over = e, opened, true
		r.cancel()
	}
}

// verdict returns what the end of a call says of its Region. That the call lost to
// another says something only if the other one was quick: else all Regions are slow, as
// they seem to a program that has just started.
func (r *race) verdict(e *entry, err error) verdict {
	patience := r.after
	if patience == 0 {
		patience = silence
	}
	switch done := r.caller.Err(); {
	case err == nil:
		return answered
	case r.calls.Err() == nil && isOutage(err):
		return failed
	case r.calls.Err() == nil:
		return answered
	case e.spent < patience:
		return nothing
	case done == nil && r.winner != nil && r.winner.spent <= patience, errors.Is(done, context.DeadlineExceeded):
		return silent
	}
	return nothing
}

// start sets the timer.
func (r *race) start() {
	switch {
	case r.timer == nil:
		r.hedges.Add(1)
		r.timer = time.AfterFunc(r.after, r.hedge)
		return
	case !r.timer.Stop(): // it fired or was stopped
		r.hedges.Add(1)
	}
	r.timer.Reset(r.after)
}

// stopTimer stops the timer if it is set.
func (r *race) stopTimer() {
	if r.timer != nil && r.timer.Stop() {
		r.hedges.Done()
	}
}

// hedge is what the timer does, on a goroutine of its own.
func (r *race) hedge() {
	defer r.hedges.Done()
	returned := false
	defer func() {
		if returned {
			return
		}
		value := recover()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.thrown, r.over = &thrown{value}, true
		r.stopTimer()
		r.cancel()
	}()
	r.work()
	returned = true
}

// end ends the calls that still run, and waits for them.
func (r *race) end() {
	r.mu.Lock()
	r.over = true
	r.stopTimer()
	r.mu.Unlock()
	r.cancel()
	r.hedges.Wait()
}

// ended returns the error of a race that ended because the caller's ctx was done, else
// nil. It wraps what the first entry that ctx kept from an answer says, and its text goes
// on with the first others that were asked.
func (r *race) ended() error {
	first := slices.IndexFunc(r.asked, func(e *entry) bool { return e.lost })
	if first < 0 {
		if done := r.caller.Err(); done != nil && len(r.left) > 0 {
			next := r.left[0]
			return provider.Cause(next.index, &r.keys[next.index], 0, done)
		}
		return nil
	}
	err := r.cause(r.asked[first])
	for i, e := range r.asked[:min(len(r.asked), maxNamed)] {
		if i != first {
			err = fmt.Errorf("%w; %v", err, r.cause(e))
		}
	}
	return err
}

// cause returns the error of an entry that names it.
func (r *race) cause(e *entry) error {
	return provider.Cause(e.index, &r.keys[e.index], e.spent, e.err)
}

// maxNamed is how many entries the error of a done ctx names at most: a hostile message
// can have 65,535.
const maxNamed = 8

// byNearness sorts entries by the place of their Regions in near; those of others
// come last. Else they stay in the order of the message.
func byNearness(entries []*entry, near []string) {
	if len(near) == 0 {
		return
	}
	place := func(e *entry) int {
		if i := slices.Index(near, e.key.Region); i >= 0 {
			return i
		}
		return len(near)
	}
	slices.SortStableFunc(entries, func(a, b *entry) int { return place(a) - place(b) })
}
