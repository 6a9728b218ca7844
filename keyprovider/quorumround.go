package keyprovider

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/esdk-go/esdk/internal/provider"
)

// A round is how one message asks the master keys of a quorum.
type round struct {
	*quorum
	materials *EncryptionMaterials
	keys      []MasterKey
	members   []member // one for each of keys
}

// fill gets the data key and its wrapped forms into the round, as far as there are
// some. It fails if ctx is done.
func (r *round) fill(ctx context.Context) error {
	if err := r.generate(ctx); err != nil || r.materials.DataKey == nil {
		return err
	}
	enough := r.hopeful() >= r.opts.Min
	for _, match := range []func(*member) bool{
		func(m *member) bool { return !m.asked && m.admission != leftOut && enough },
		func(m *member) bool { return !m.asked },
		func(m *member) bool { return m.late },
	} {
		if err := r.wrap(ctx, match); err != nil {
			return err
		}
		if r.hopeful() >= r.opts.Min {
			break
		}
	}
	return nil
}

// hopeful returns how many keys are in the round or may be without those left out.
func (r *round) hopeful() int {
	n := 0
	for i := range r.members {
		if r.members[i].err == nil {
			n++
		}
	}
	return n
}

// possible reports whether Min keys can still be in the round.
func (r *round) possible() bool {
	n := 0
	for i := range r.members {
		if m := &r.members[i]; m.err == nil || !m.asked || m.late {
			n++
		}
	}
	return n >= r.opts.Min
}

// generate lets the first key that can generate the data key. The keys that are asked
// again and those that are left out come last, and then those that were late a second
// time. It stops when Min keys are no longer left.
func (r *round) generate(ctx context.Context) error {
	for _, match := range []func(*member) bool{
		func(m *member) bool { return m.admission == welcome },
		func(m *member) bool { return m.admission == probing },
		func(m *member) bool { return m.admission == leftOut },
		func(m *member) bool { return m.late },
	} {
		for i := range r.members {
			m := &r.members[i]
			if !match(m) {
				continue
			}
			if !r.possible() {
				return nil
			}
			var key *DataKey
			err := r.ask(ctx, i, func(ctx context.Context) error {
				lent, copied := r.inner.lend(r.materials.Suite, r.materials.EncryptionContext)
				var err error
				key, err = generateWith(ctx, r.keys[i], lent, copied, r.materials)
				return err
			})
			if err == nil {
				r.materials.DataKey, m.edk = key.Plaintext, key.Encrypted
				return nil
			}
			if key != nil { // it came too late
				clear(key.Plaintext)
			}
			if ctx.Err() != nil {
				return err
			}
		}
	}
	return nil
}

// wrap lets those keys that match wrap the data key.
func (r *round) wrap(ctx context.Context, match func(*member) bool) error {
	var indices []int
	for i := range r.members {
		if match(&r.members[i]) {
			indices = append(indices, i)
		}
	}
	return inParallel(ctx, len(indices), func(all context.Context, at int) error {
		i := indices[at]
		m := &r.members[i]
		err := r.ask(all, i, func(ctx context.Context) (err error) {
			m.edk, err = encryptWith(ctx, r.keys[i], r.materials)
			return err
		})
		if all.Err() != nil {
			return err
		}
		return nil // the others go on
	})
}

// ask makes the call f of a key with a ctx that ends after Wait, and keeps what came of
// it. What f returned too late is an error. If ctx is done, that says nothing about the
// key.
func (r *round) ask(ctx context.Context, i int, f func(ctx context.Context) error) error {
	wait := r.opts.Wait
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)/2)
	}
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	m := &r.members[i]
	again := m.asked
	m.asked, m.late = true, false
	timeout := func(err error) error { return fmt.Errorf("no answer within %v: %w", wait.Round(time.Microsecond), err) }
	over := make(chan struct{})
	stop := context.AfterFunc(bounded, func() { // now, as f may take no notice of ctx
		defer close(over)
		if ctx.Err() == nil && wait >= r.opts.Wait/hurry {
			r.outages.begin(m.id, timeout(context.DeadlineExceeded))
		}
	})
	returned := false
	defer func() {
		if !returned && !stop() {
			<-over
		}
	}()
	err := f(bounded)
	returned = true
	late := !stop()
	if late {
		<-over
	}
	switch {
	case ctx.Err() != nil:
		err = provider.Ended(ctx.Err(), err)
	case late:
		switch {
		case err == nil:
			err = context.DeadlineExceeded
		case !errors.Is(err, context.DeadlineExceeded):
			err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
		}
		err = timeout(err)
		m.late = m.admission == welcome && !again
	case err != nil:
		r.outages.begin(m.id, err)
	default:
		m.in, m.err = true, nil
		r.outages.end(m.id)
		return nil
	}
	m.err = ofKey(i, err)
	return m.err
}

// hurry is the part of Wait that a key must have had: what a message with less time
// gives up says little about the key, which is then missing from that message alone.
const hurry = 4

// missing returns why keys are not in the round, in their order. The keys that nobody
// asked, as it had failed, give no reason.
func (r *round) missing() []error {
	var errs []error
	for i := range r.members {
		if err := r.members[i].err; err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
