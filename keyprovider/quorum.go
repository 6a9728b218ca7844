package keyprovider

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/esdk-go/esdk/internal/provider"
)

// QuorumOptions are the settings of [Quorum]. Only Min is required.
type QuorumOptions struct {
	// Min is how many master keys must wrap the data key of a new message, 1 or more.
	// With 2, the message can still be read if any one of its keys is lost.
	Min int
	// Wait is how long a message waits for a master key that it can do without. If ctx has
	// a deadline, it is at most half of the time that is left, so that there is time for
	// another key. Wait should be several times as long as the calls usually take. Zero
	// means 2 seconds.
	Wait time.Duration
	// Cooldown is how long a master key that failed is left out of new messages. Zero
	// means 30 seconds.
	Cooldown time.Duration
	// OnMissing is called for each new message that lacks master keys. errs has one
	// error for each missing key, in the order of the keys. OnMissing is called before
	// the caller gets its message and on the caller's goroutine, so it should be quick.
	// It may be called concurrently. Nil means that nothing is called. Under a [Cache]
	// it is called once for each data key and not for each message.
	OnMissing func(ctx context.Context, errs []error)
}

const (
	defaultWait     = 2 * time.Second
	defaultCooldown = 30 * time.Second
)

// Quorum returns a provider that goes on encrypting while some of the master keys of p
// do not answer. p has several master keys: for example, it is a provider of package
// kms with keys in several Regions, or a [Multi]. The result is a [MaterialsManager],
// safe for concurrent use.
//
// The first master key generates a data key, and then the others wrap it, at the same
// time. If a key returns an error of any kind, or does not answer within Wait, the message
// does without it: another one generates, or the message lacks that key. A key that failed
// in this way is also left out of further messages, for Cooldown. After that one message
// asks it again, to wrap if another key can generate; the other messages leave it out until
// it has answered within Wait. So a key that is down delays the messages that are under way
// when it goes down, and then one message in each Cooldown, by Wait.
// If all keys return an error instead of a data key, no key is left out of further messages:
// the cause may be this message, for example an encryption context that no key policy allows.
//
// Every message has at least Min keys. If the other keys are too few, the message also asks
// the keys that are left out, and it waits for the keys it needs until they answer, return
// an error, or ctx is done. If fewer than Min can answer, encryption fails. The error has
// one cause for each key that failed or was left out.
//
// Header.EncryptedDataKeys holds the keys that are in a message, in the order of p's
// master keys. OnMissing receives the errors of the missing keys. A message cannot be
// read by a missing key alone: encrypt it again later if that matters. While all keys
// answer, n keys take exactly n calls for a message, as without Quorum.
//
// Any of the keys may have to generate, and any may have to wrap: an AWS KMS key needs
// both permissions, kms:GenerateDataKey and kms:Encrypt.
//
// Quorum recognizes a master key by the text of its String method. It recognizes keys
// without one, and keys with equal texts, by their order, so p should return these in
// the same order for every message.
//
// When a message does not wait for a key any longer, it cancels the ctx of the call and
// awaits its return. A master key of your own that ignores ctx delays the messages that
// asked it, but no later ones. The call to p's MasterKeys is bounded by the caller's ctx
// alone, and if it fails, encryption fails. If the caller's ctx is done, encryption fails
// and no key is left out of other messages. Neither is a key that had less than a quarter
// of Wait because of a deadline.
//
// Decryption is that of p.
//
// A [Cache] over the provider keeps data keys that lack master keys for at most
// Cooldown. This works through [RequireContext], which belongs over the Quorum too, and
// through a manager of your own that returns the materials it received or a copy of the
// struct.
//
// Quorum fails if p is nil or is a MaterialsManager, if Min is less than 1, or if Wait or
// Cooldown is negative. Encryption fails if p has fewer than Min master keys.
//
// # Surviving the loss of a Region
//
// What is needed to write and read while one Region does not answer:
//
//   - AWS KMS keys in several Regions: to write, Quorum over one kms.New with a key in
//     each Region. With Min 2 every message can be read without any one of the Regions.
//     To read, a provider with all the keys.
//   - AWS KMS multi-Region keys: to write, Quorum over one kms.New with a replica in each
//     Region and without kms.Options.MultiRegion. Min 1 is enough, because every replica
//     can unwrap what another one wrapped. To read, a provider with
//     kms.Options.MultiRegion and a replica in a Region that answers.
//   - Branch keys of package kms/hierarchical: see "Surviving the loss of a Region"
//     there.
//   - A [Cache] over any of these: data keys in the cache need no call until MaxAge. In
//     the GracePeriod, one message at a time tries to fetch the next data key, and the
//     others do not wait. So an outage that is shorter than the GracePeriod delays only
//     these, and messages whose data key is not in the cache.
//   - Raw keys need no service.
func Quorum(p MasterKeyProvider, opts QuorumOptions) (MasterKeyProvider, error) {
	if provider.IsNil(p) {
		return nil, errors.New("keyprovider: Quorum of a nil provider")
	}
	if _, ok := p.(MaterialsManager); ok {
		return nil, errors.New("keyprovider: Quorum of a materials manager, which belongs over the Quorum")
	}
	switch {
	case opts.Min < 1:
		return nil, fmt.Errorf("keyprovider: Quorum: Min %d is not positive", opts.Min)
	case opts.Wait < 0:
		return nil, fmt.Errorf("keyprovider: Quorum: negative Wait: %v", opts.Wait)
	case opts.Cooldown < 0:
		return nil, fmt.Errorf("keyprovider: Quorum: negative Cooldown: %v", opts.Cooldown)
	}
	if opts.Wait == 0 {
		opts.Wait = defaultWait
	}
	if opts.Cooldown == 0 {
		opts.Cooldown = defaultCooldown
	}
	return &quorum{
		redacted: provider.Redact("quorum of %d", opts.Min),
		inner:    defaultManager{p},
		opts:     opts,
		outages:  outages{cooldown: opts.Cooldown, of: make(map[keyID]*outage)},
	}, nil
}

// quorum is the manager that [Quorum] returns.
type quorum struct {
	ManagerOnly
	redacted
	inner   defaultManager
	opts    QuorumOptions
	outages outages
}

// EncryptionMaterials gets a data key that at least Min master keys have wrapped.
func (q *quorum) EncryptionMaterials(ctx context.Context, req *EncryptionRequest) (*EncryptionMaterials, error) {
	materials, err := q.inner.begin(req)
	if err != nil {
		return nil, err
	}
	lent, copied := q.inner.lend(materials.Suite, materials.EncryptionContext)
	keys, err := q.inner.masterKeys(ctx, lent, req.MaxEncryptedDataKeys)
	if err != nil {
		return nil, err
	}
	if copied {
		if err := checkLent(lent, materials); err != nil {
			return nil, err
		}
	}
	if len(keys) < q.opts.Min {
		return nil, fmt.Errorf("the provider has too few master keys: %d, and QuorumOptions.Min is %d", len(keys), q.opts.Min)
	}
	done := false
	defer func() {
		if !done { // a panic included
			clear(materials.DataKey)
		}
	}()
	r := newRound(q, materials, keys)
	defer q.outages.dismiss(r.members)
	if err := r.fill(ctx); err != nil {
		return nil, err
	}
	missing := r.missing()
	if r.joined() < q.opts.Min {
		return nil, &quorumError{fmt.Sprintf("%d of %d master keys failed, and QuorumOptions.Min is %d", len(missing), len(keys), q.opts.Min), missing}
	}
	for i := range r.members {
		if m := &r.members[i]; m.in {
			materials.EncryptedDataKeys = append(materials.EncryptedDataKeys, m.edk)
		}
	}
	if len(missing) > 0 {
		materials.maxAge = q.opts.Cooldown
		if q.opts.OnMissing != nil {
			q.opts.OnMissing(ctx, missing)
		}
	}
	done = true
	return materials, nil
}

// DecryptionMaterials gets the data key from the provider.
func (q *quorum) DecryptionMaterials(ctx context.Context, req *DecryptionRequest) (*DecryptionMaterials, error) {
	return q.inner.DecryptionMaterials(ctx, req)
}

// quorumError is the error if too few master keys wrapped a data key.
type quorumError struct {
	text   string
	causes []error // one for each key that failed or was not asked
}

func (e *quorumError) Error() string { return provider.WithCauses(e.text, e.causes) }

func (e *quorumError) Unwrap() []error { return e.causes }
