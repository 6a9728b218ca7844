package keyprovider

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/esdk-go/esdk/internal/provider"
)

// A round is how one message asks the master keys of a quorum.
//
// A key that has not answered within Wait is overdue. Its call is given up as soon as the
// message can do without the key, and goes on until then.
type round struct {
	*quorum
	materials *EncryptionMaterials
	keys      []MasterKey

	mu      sync.Mutex // guards what follows while calls are under way
	members []member   // one for each of keys
	overdue chan struct{}
	closed  bool          // no call is to begin: all were given up
	enough  chan struct{} // closed when Min members are in, or cannot be
	needed  chan struct{} // closed when the reserve must be asked
}

func newRound(q *quorum, m *EncryptionMaterials, keys []MasterKey) *round {
	return &round{quorum: q, materials: m, keys: keys, members: q.outages.admit(keys),
		overdue: make(chan struct{}, len(keys)), enough: make(chan struct{}), needed: make(chan struct{})}
}

// fill gets the data key and its wrapped forms into the round, as far as there are
// some. It fails if ctx is done.
func (r *round) fill(ctx context.Context) error {
	if err := r.generate(ctx); err != nil || r.materials.DataKey == nil {
		return err
	}
	return r.wrap(ctx)
}

// generate lets the keys generate the data key one after the other until one has. The
// next is asked when one failed or is overdue. The keys that are asked again and those
// that are left out come last. It stops when fewer than Min keys are left.
func (r *round) generate(ctx context.Context) error {
	var order []int
	for _, now := range []admission{welcome, probing, leftOut} {
		for i := range r.members {
			if r.members[i].admission == now {
				order = append(order, i)
			}
		}
	}
	all, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	calls, keys := make([]parallelCall, len(r.keys)), make([]*DataKey, len(r.keys))
	ended := make(chan int, len(r.keys))
	var wg sync.WaitGroup
	winner, running, failed := -1, 0, 0
	for next, ask := 0, true; winner < 0; {
		if ask && next < len(order) && all.Err() == nil {
			i := order[next]
			next++
			running++
			wg.Go(func() {
				defer func() { ended <- i }()
				c := &calls[i]
				defer c.end(cancel)
				c.err = r.ask(all, i, func(ctx context.Context) (err error) {
					lent, copied := r.inner.lend(r.materials.Suite, r.materials.EncryptionContext)
					keys[i], err = generateWith(ctx, r.keys[i], lent, copied, r.materials)
					return err
				})
				c.returned = true
			})
		}
		if running == 0 || len(r.keys)-failed < r.opts.Min {
			break
		}
		ask = true
		select {
		case i := <-ended:
			running--
			if calls[i].returned && calls[i].err == nil {
				winner = i
			} else {
				failed++
			}
			ask = len(r.keys)-failed >= r.opts.Min
		case <-r.overdue:
		}
	}
	r.mu.Lock()
	r.close()
	r.mu.Unlock()
	wg.Wait()
	for i, key := range keys {
		if key != nil && i != winner {
			clear(key.Plaintext)
		}
	}
	if winner >= 0 {
		r.materials.DataKey = keys[winner].Plaintext
		r.members[winner].join(keys[winner].Encrypted)
		for i := range r.members { // if no key could, the request may be the cause
			if m := &r.members[i]; m.fault != nil {
				r.outages.begin(m.id, m.fault)
			}
		}
	}
	resume(calls)
	return r.endedBy(ctx)
}

// endedBy returns nil unless ctx is done. Then it returns the first member's error that
// wraps ctx's, which says what ctx ended, or else ctx's.
func (r *round) endedBy(ctx context.Context) error {
	done := ctx.Err()
	if done == nil {
		return nil
	}
	for i := range r.members {
		if err := r.members[i].err; errors.Is(err, done) && r.members[i].asked {
			return err
		}
	}
	return done
}

// wrap lets the other keys wrap the data key. The reserve is asked only if the others are
// too few: the keys that are left out, and those that were overdue when they were to
// generate.
func (r *round) wrap(ctx context.Context) error {
	var order, reserve []int
	for i := range r.members {
		switch m := &r.members[i]; {
		case m.in || m.failed:
		case m.admission == leftOut || m.overdue:
			reserve = append(reserve, i)
		default:
			m.due = true
			order = append(order, i)
		}
	}
	r.closed = false
	r.look()
	first := len(order)
	order = append(order, reserve...)
	return inParallel(ctx, len(order), len(order), func(ctx context.Context, at int) error {
		i := order[at]
		if at >= first {
			select {
			case <-r.needed:
			case <-r.enough:
				return nil
			case <-ctx.Done():
				return nil
			}
			if isClosed(r.enough) { // as well
				return nil
			}
		}
		m := &r.members[i]
		var edk EncryptedDataKey
		err := r.ask(ctx, i, func(ctx context.Context) (err error) {
			edk, err = encryptWith(ctx, r.keys[i], r.materials)
			return err
		})
		r.mu.Lock()
		defer r.mu.Unlock()
		m.due = false
		if err == nil {
			m.join(edk)
		}
		r.look()
		if ctx.Err() != nil {
			return err
		}
		return nil // the others go on
	})
}

// joined returns how many members are in.
func (r *round) joined() int {
	n := 0
	for i := range r.members {
		if r.members[i].in {
			n++
		}
	}
	return n
}

// look sees whether there are enough members, and if not, whether the reserve is needed.
// If there are enough, it gives up the calls that are overdue; if there cannot be, all
// calls. The round is locked.
func (r *round) look() {
	if r.materials.DataKey == nil { // generate decides for itself
		return
	}
	in, due, lost := 0, 0, 0
	for i := range r.members {
		switch m := &r.members[i]; {
		case m.in:
			in++
		case m.failed:
			lost++
		case m.due:
			due++
		}
	}
	switch {
	case len(r.keys)-lost < r.opts.Min:
		closeOnce(r.enough)
		r.close()
	case in >= r.opts.Min:
		closeOnce(r.enough)
		for i := range r.members {
			if r.members[i].overdue {
				r.members[i].giveUp()
			}
		}
	case in+due < r.opts.Min:
		closeOnce(r.needed)
	}
}

// close gives up all calls, also those that are about to begin. The round is locked.
func (r *round) close() {
	r.closed = true
	for i := range r.members {
		r.members[i].giveUp()
	}
}

func closeOnce(c chan struct{}) {
	if !isClosed(c) {
		close(c)
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// ask calls f, which calls the key at index i. The member keeps the error, unless the call
// was given up before it was overdue. Such an error says nothing about the key, and
// neither does one after ctx is done.
func (r *round) ask(ctx context.Context, i int, f func(ctx context.Context) error) error {
	wait := r.opts.Wait
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)/2)
	}
	timeout := func() error {
		return fmt.Errorf("no answer within %v: %w", wait.Round(time.Microsecond), context.DeadlineExceeded)
	}
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &r.members[i]
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return errGivenUp
	}
	m.asked, m.overdue, m.givenUp, m.cancel = true, false, false, cancel
	r.mu.Unlock()
	over := make(chan struct{})
	timer := time.AfterFunc(wait, func() {
		defer close(over)
		if ctx.Err() != nil {
			return
		}
		if wait >= r.opts.Wait/hurry {
			r.outages.begin(m.id, timeout())
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		m.overdue, m.due, m.err = true, false, m.named(i, timeout())
		r.look()
		select {
		case r.overdue <- struct{}{}: // for generate
		default:
		}
	})
	returned := false
	defer func() {
		if !returned && !timer.Stop() {
			<-over
		}
	}()
	err := f(call)
	returned = true
	late := !timer.Stop()
	if late {
		<-over
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m.cancel = nil
	switch {
	case ctx.Err() != nil:
		m.err = ofKey(i, provider.Ended(ctx.Err(), err))
	case m.givenUp:
		if !m.overdue {
			return errGivenUp
		}
	case err != nil:
		m.failed, m.err = true, ofKey(i, err)
		switch {
		case late:
		case r.materials.DataKey != nil:
			r.outages.begin(m.id, err)
		default:
			m.fault = err
		}
	case late:
		return nil
	default:
		r.outages.end(m.id)
		return nil
	}
	return m.err
}

var errGivenUp = errors.New("another master key was faster")

// hurry is the part of Wait that a key must have had: what a message with less time
// gives up says little about the key, which is then missing from that message alone.
const hurry = 4

// missing returns why keys are not in the round, in their order. A key that was not asked,
// because Min could no longer be reached, has no error.
func (r *round) missing() []error {
	var errs []error
	for i := range r.members {
		if err := r.members[i].err; err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
