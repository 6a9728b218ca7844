package keyprovider_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
)

// regions are a provider whose master keys are far away from one another.
type regions struct {
	*keyprovider.RawAES // decrypts nothing: the keys wrap under their own
	keys                []*region
	fresh               bool // MasterKeys returns new values, which have no String method
	decrypted           int
}

// A region is a master key that does what its test says. It wraps by a raw AES key.
type region struct {
	aes  *keyprovider.RawAES
	name string

	mu        sync.Mutex
	latency   time.Duration
	patience  time.Duration // when it gives up a call that hangs, as KMS does
	state     state
	dataKeys  [][]byte // that it generated or was to wrap
	generated int      // calls
	wrapped   int
}

const timeout = 10 * time.Second

var errTimeout = errors.New("timed out")

// A state is what a region does with calls.
type state struct {
	hangs  bool          // until ctx is done
	deaf   time.Duration // or for so long, whatever ctx says
	fault  error
	panics any
	exits  bool
	spoil  func(*keyprovider.DataKey) // what it generated; EncryptDataKey spoils Encrypted
	alters func(*keyprovider.Request) // what it was lent
	does   func(ctx context.Context)  // first of all
}

func newRegions(t testing.TB, n int) *regions {
	p := &regions{RawAES: newAES(t, "none", 32)}
	for i := range n {
		name := fmt.Sprintf("region-%d", i+1)
		p.keys = append(p.keys, &region{name: name, aes: newAES(t, name, 32), latency: 5 * time.Millisecond, patience: timeout})
	}
	return p
}

func (p *regions) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	var keys []keyprovider.MasterKey
	for _, r := range p.keys {
		if p.fresh {
			keys = append(keys, &struct{ keyprovider.MasterKey }{r})
		} else {
			keys = append(keys, r)
		}
	}
	return keys, nil
}

func (p *regions) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	p.decrypted++
	var all []keyprovider.MasterKeyProvider
	for _, r := range p.keys {
		all = append(all, r.aes)
	}
	both, err := keyprovider.Multi(all[0], all[1:]...)
	if err != nil {
		return nil, err
	}
	return both.DecryptDataKey(ctx, req, keys)
}

func (r *region) String() string { return r.name }

func (r *region) GenerateDataKey(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	s, err := r.call(ctx, &r.generated)
	if err != nil {
		return nil, err
	}
	key, err := r.aes.GenerateDataKey(ctx, req)
	if err != nil {
		return nil, err
	}
	r.keep(key.Plaintext)
	return key, s.finish(key, req)
}

func (r *region) EncryptDataKey(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
	r.keep(plaintext)
	s, err := r.call(ctx, &r.wrapped)
	if err != nil {
		return keyprovider.EncryptedDataKey{}, err
	}
	edk, err := r.aes.EncryptDataKey(ctx, req, plaintext)
	if err != nil {
		return edk, err
	}
	key := &keyprovider.DataKey{Encrypted: edk}
	err = s.finish(key, req)
	return key.Encrypted, err
}

func (s *state) finish(key *keyprovider.DataKey, req *keyprovider.Request) error {
	if s.spoil != nil {
		s.spoil(key)
	}
	if s.alters != nil {
		s.alters(req)
	}
	return nil
}

func (r *region) keep(dataKey []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dataKeys = append(r.dataKeys, dataKey)
}

// call does what the state says and returns it.
func (r *region) call(ctx context.Context, count *int) (state, error) {
	r.mu.Lock()
	*count++
	s, latency := r.state, r.latency
	r.mu.Unlock()
	if s.does != nil {
		s.does(ctx)
	}
	switch {
	case s.hangs:
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-time.After(r.patience):
			return s, errTimeout
		}
	case s.deaf > 0:
		time.Sleep(s.deaf)
		return s, nil
	}
	select {
	case <-time.After(latency):
	case <-ctx.Done():
		return s, ctx.Err()
	}
	switch {
	case s.panics != nil:
		panic(s.panics)
	case s.exits:
		goexit()
	}
	return s, s.fault
}

// becomes makes the region do that from the next call on.
func (r *region) becomes(s state) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = s
}

// asked returns how many calls of each kind the regions had since they were asked last.
func (p *regions) asked() (generated, wrapped []int) {
	for _, r := range p.keys {
		r.mu.Lock()
		generated, wrapped = append(generated, r.generated), append(wrapped, r.wrapped)
		r.generated, r.wrapped = 0, 0
		r.mu.Unlock()
	}
	return generated, wrapped
}

// requireAsked checks how often the keys were asked to generate and to wrap.
func (p *regions) requireAsked(t testing.TB, generated, wrapped []int) {
	t.Helper()
	g, w := p.asked()
	require.Equal(t, [][]int{generated, wrapped}, [][]int{g, w})
}

// requireCleared checks that nothing is left of the data keys that the regions had.
func (p *regions) requireCleared(t testing.TB) {
	t.Helper()
	for _, r := range p.keys {
		for _, key := range r.dataKeys {
			require.Equal(t, make([]byte, len(key)), key, r.name)
		}
	}
}

func newQuorum(t testing.TB, p keyprovider.MasterKeyProvider, opts keyprovider.QuorumOptions) keyprovider.MasterKeyProvider {
	t.Helper()
	q, err := keyprovider.Quorum(p, opts)
	require.NoError(t, err)
	return q
}

// keysIn returns the names of the keys that the entries are of.
func keysIn(edks []keyprovider.EncryptedDataKey) []string {
	var all []string
	for _, edk := range edks {
		info := string(edk.ProviderInfo)
		all = append(all, info[:len(info)-20]) // lengths and IV follow
	}
	return all
}

// A listener is an OnMissing that keeps what it gets.
type listener struct {
	mu     sync.Mutex
	missed [][]error
}

func (l *listener) hear(_ context.Context, errs []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missed = append(l.missed, slices.Clone(errs))
}

// one returns the errors of the only message that lacked keys since the last call.
func (l *listener) one(t testing.TB) []error {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Len(t, l.missed, 1)
	errs := l.missed[0]
	l.missed = nil
	return errs
}

func (l *listener) none(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(t, l.missed)
}
