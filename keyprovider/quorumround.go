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
	if r.hopeful() >= r.opts.Min {
		if err := r.wrap(ctx, func(m *member) bool { return m.admission != leftOut }); err != nil {
			return err
		}
		if r.hopeful() >= r.opts.Min {
			return nil
		}
	}
	return r.wrap(ctx, func(*member) bool { return true })
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

// generate lets the first key that can generate the data key. The keys that are asked
// again and those that are left out come last. It stops when Min keys are no longer
// left.
func (r *round) generate(ctx context.Context) error {
	failed := 0
	for _, now := range []admission{welcome, probing, leftOut} {
		for i := range r.members {
			m := &r.members[i]
			if m.admission != now {
				continue
			}
			if len(r.keys)-failed < r.opts.Min {
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
			failed++
		}
	}
	return nil
}

// wrap lets those keys that match and have not been asked wrap the data key.
func (r *round) wrap(ctx context.Context, match func(*member) bool) error {
	var indices []int
	for i := range r.members {
		if m := &r.members[i]; !m.asked && match(m) {
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
	m.asked = true
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
