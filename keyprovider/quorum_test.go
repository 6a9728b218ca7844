package keyprovider_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

func goexit() { runtime.Goexit() }

// encryptWithin gets materials of a new unsigned message and checks how long that took
// and whose entries they have.
func encryptWithin(t testing.TB, q keyprovider.MasterKeyProvider, took time.Duration, want ...string) {
	t.Helper()
	start := time.Now()
	m, err := keyprovider.Materials(q).EncryptionMaterials(bg, &keyprovider.EncryptionRequest{Suite: id, EncryptionContext: context1("1")})
	require.NoError(t, err)
	require.Equal(t, took, time.Since(start))
	require.Equal(t, want, keysIn(m.EncryptedDataKeys))
	require.Len(t, m.DataKey, 32)
	require.NotEqual(t, make([]byte, 32), m.DataKey)
}

const (
	tick = 5 * time.Millisecond // of a call
	wait = 2 * time.Second      // by default
	cool = 30 * time.Second
)

func TestQuorumRefusesWhatMakesNoSense(t *testing.T) {
	good := newAES(t, "key", 32)
	for name, test := range map[string]struct {
		p    keyprovider.MasterKeyProvider
		opts keyprovider.QuorumOptions
		want string
	}{
		"nil":               {nil, keyprovider.QuorumOptions{Min: 1}, "nil provider"},
		"nil pointer":       {(*keyprovider.RawAES)(nil), keyprovider.QuorumOptions{Min: 1}, "nil provider"},
		"RequireContext":    {requireContext(t, good, "key"), keyprovider.QuorumOptions{Min: 1}, "materials manager, which belongs over the Quorum"},
		"Cache":             {newCache(t, good, keyprovider.CacheOptions{}), keyprovider.QuorumOptions{Min: 1}, "materials manager"},
		"Quorum":            {newQuorum(t, good, keyprovider.QuorumOptions{Min: 1}), keyprovider.QuorumOptions{Min: 1}, "materials manager"},
		"manager of a user": {over(good), keyprovider.QuorumOptions{Min: 1}, "materials manager"},
		"no Min":            {good, keyprovider.QuorumOptions{}, "Min 0 is not positive"},
		"negative Min":      {good, keyprovider.QuorumOptions{Min: -1}, "Min -1 is not positive"},
		"negative Wait":     {good, keyprovider.QuorumOptions{Min: 1, Wait: -1}, "negative Wait: -1ns"},
		"negative Cooldown": {good, keyprovider.QuorumOptions{Min: 1, Cooldown: -1}, "negative Cooldown: -1ns"},
	} {
		q, err := keyprovider.Quorum(test.p, test.opts)
		require.Nil(t, q, name)
		require.ErrorContains(t, err, "keyprovider: Quorum", name)
		require.ErrorContains(t, err, test.want, name)
	}
	_, err := keyprovider.Multi(good, newQuorum(t, good, keyprovider.QuorumOptions{Min: 1}))
	require.ErrorContains(t, err, "provider 2 is a materials manager")
	requireManagerOnly(t, newQuorum(t, good, keyprovider.QuorumOptions{Min: 1}))
}

func TestAQuorumNeedsAsManyMasterKeysAsMin(t *testing.T) {
	p := newRegions(t, 2)
	_, err := encryptionMaterials(t, newQuorum(t, p, keyprovider.QuorumOptions{Min: 3}), &keyprovider.EncryptionRequest{Suite: id})
	require.EqualError(t, err, "the provider has too few master keys: 2, and QuorumOptions.Min is 3")
	p.requireAsked(t, []int{0, 0}, []int{0, 0})
}

// What the default manager refuses a Quorum refuses, too, and what it demands is
// demanded.
func TestAQuorumHandlesRequestsAsTheDefaultManagerDoes(t *testing.T) {
	aes := newAES(t, "key", 32)
	for name, test := range map[string]struct {
		p   keyprovider.MasterKeyProvider
		req keyprovider.EncryptionRequest
	}{
		"policy":           {aes, keyprovider.EncryptionRequest{Suite: suite.AES256GCM}},
		"public key":       {aes, keyprovider.EncryptionRequest{EncryptionContext: map[string]string{format.PublicKeyField: "x"}}},
		"required key":     {aes, keyprovider.EncryptionRequest{RequiredContextKeys: []string{"x"}}},
		"MasterKeys fails": {&stub{keysErr: errBroken}, keyprovider.EncryptionRequest{}},
		"no master key":    {&stub{}, keyprovider.EncryptionRequest{}},
		"nil master key":   {&stub{keys: []keyprovider.MasterKey{nil}}, keyprovider.EncryptionRequest{}},
		"too many":         {stubKeys("a", "b", "c"), keyprovider.EncryptionRequest{MaxEncryptedDataKeys: 2}},
	} {
		_, want := encryptionMaterials(t, test.p, &test.req)
		_, got := encryptionMaterials(t, newQuorum(t, test.p, keyprovider.QuorumOptions{Min: 1}), &test.req)
		require.EqualError(t, got, want.Error(), name)
		for _, sentinel := range []error{errBroken, keyprovider.ErrEncryptionContext, format.ErrTooManyDataKeys} {
			require.Equal(t, errors.Is(want, sentinel), errors.Is(got, sentinel), name)
		}
	}
	altering := &stub{masterKeys: func(_ context.Context, req *keyprovider.Request) ([]keyprovider.MasterKey, error) {
		req.EncryptionContext["tenant"] = "2"
		return []keyprovider.MasterKey{&stubKey{}}, nil
	}}
	_, err := encryptionMaterials(t, newQuorum(t, altering, keyprovider.QuorumOptions{Min: 1}), &keyprovider.EncryptionRequest{EncryptionContext: context1("1")})
	require.ErrorContains(t, err, "changed the request")
}

// If all is well n keys take n calls, whatever the suite, and messages are as ever.
func TestAQuorumOfKeysThatAnswerTakesOneCallOfEach(t *testing.T) {
	for _, id := range []suite.ID{suite.AES256GCMHKDFSHA512CommitKey, suite.AES256GCMHKDFSHA512CommitKeyECDSAP384} {
		for _, n := range []int{1, 3, 20} {
			bubble(t, func(t *testing.T) {
				p := newRegions(t, n)
				var l listener
				q := newQuorum(t, p, keyprovider.QuorumOptions{Min: n, OnMissing: l.hear})
				generated, wrapped := make([]int, n), slices.Repeat([]int{1}, n)
				generated[0], wrapped[0] = 1, 0
				var want []string
				for _, r := range p.keys {
					want = append(want, r.name)
				}
				for range 3 {
					message, h, err := esdk.Encrypt(bg, []byte("hello"), q, &esdk.EncryptOptions{Suite: id, EncryptionContext: context1("1")})
					require.NoError(t, err)
					p.requireAsked(t, generated, wrapped)
					require.Equal(t, want, keysIn(h.EncryptedDataKeys))
					for _, r := range p.keys {
						plaintext, _, err := esdk.Decrypt(bg, message, r.aes, nil)
						require.NoError(t, err)
						require.Equal(t, "hello", string(plaintext))
					}
				}
				l.none(t)
				p.requireCleared(t)
			})
		}
	}
}

// Whatever is wrong with a key, the message lacks it and no other, the next one does not
// ask it, and OnMissing says why.
func TestAKeyThatFailsIsLeftOut(t *testing.T) {
	type dataKey = keyprovider.DataKey
	for name, test := range map[string]struct {
		state state
		took  time.Duration
		says  string
		once  bool // only if it generates
	}{
		"hangs":               {state{hangs: true}, wait, "no answer within 2s: context deadline exceeded", false},
		"answers too late":    {state{deaf: wait + 2*tick}, wait + tick, "no answer within 2s: context deadline exceeded", false},
		"fails":               {state{fault: errBroken}, tick, "broken", false},
		"no ciphertext":       {state{spoil: func(k *dataKey) { k.Encrypted.Ciphertext = nil }}, tick, "without ciphertext", false},
		"alters the request":  {state{alters: func(r *keyprovider.Request) { r.EncryptionContext["tenant"] = "2" }}, tick, "changed the request", false},
		"a short data key":    {state{spoil: func(k *dataKey) { clear(k.Plaintext[16:]); k.Plaintext = k.Plaintext[:16] }}, tick, "a data key of 16 bytes", true},
		"a data key of zeros": {state{spoil: func(k *dataKey) { clear(k.Plaintext) }}, tick, "all zeros", true},
	} {
		for at := range 3 {
			if test.once && at > 0 {
				continue
			}
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					p := newRegions(t, 3)
					var l listener
					q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 2, OnMissing: l.hear})
					p.keys[at].becomes(test.state)
					rest := slices.Delete([]string{"region-1", "region-2", "region-3"}, at, at+1)

					took := tick + test.took // the wraps are made at the same time
					if at == 0 {
						took = test.took + 2*tick // another generates then, and the third wraps
					} else if test.state.deaf > 0 {
						took = tick + test.state.deaf
					}
					encryptWithin(t, q, took, rest...)
					for _, key := range p.keys[at].dataKeys { // that came too late, or was to be wrapped
						require.Equal(t, make([]byte, len(key)), key)
					}
					errs := l.one(t)
					require.Len(t, errs, 1)
					require.ErrorContains(t, errs[0], "master key "+string(rune('1'+at)))
					require.ErrorContains(t, errs[0], test.says)
					p.asked()

					p.keys[at].becomes(state{})
					time.Sleep(cool - took - time.Second)
					encryptWithin(t, q, 2*tick, rest...)
					errs = l.one(t)
					require.Len(t, errs, 1)
					require.ErrorContains(t, errs[0], "master key "+string(rune('1'+at))+" (region-"+string(rune('1'+at))+"): not asked, as it failed ")
					require.ErrorContains(t, errs[0], test.says)
					g, w := p.asked()
					require.Zero(t, g[at]+w[at])

					time.Sleep(cool)
					encryptWithin(t, q, 2*tick, "region-1", "region-2", "region-3")
					p.asked()
					encryptWithin(t, q, 2*tick, "region-1", "region-2", "region-3")
					p.requireAsked(t, []int{1, 0, 0}, []int{0, 1, 1})
					l.none(t)
				})
			})
		}
	}
}

// After Cooldown one message asks the key again, to wrap; those at the same time do not,
// and those after it for another Cooldown.
func TestOneMessageInEachCooldownAsksAKeyThatFailed(t *testing.T) {
	for _, cooldown := range []time.Duration{0, time.Minute} {
		bubble(t, func(t *testing.T) {
			p := newRegions(t, 3)
			q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 1, Cooldown: cooldown})
			cooldown := max(cooldown, cool)
			p.keys[0].becomes(state{hangs: true})
			encryptWithin(t, q, wait+2*tick, "region-2", "region-3")
			p.requireAsked(t, []int{1, 1, 0}, []int{0, 0, 1})
			for range 3 { // the first message that is due waits
				time.Sleep(cooldown)
				var wg sync.WaitGroup
				wg.Go(func() { encryptWithin(t, q, tick+wait, "region-2", "region-3") })
				synctest.Wait()
				for range 10 {
					encryptWithin(t, q, 2*tick, "region-2", "region-3")
				}
				wg.Wait()
				p.requireAsked(t, []int{0, 11, 0}, []int{1, 0, 11})
				for range 10 {
					encryptWithin(t, q, 2*tick, "region-2", "region-3")
				}
				p.requireAsked(t, []int{0, 10, 0}, []int{0, 0, 10})
			}
			p.keys[0].becomes(state{})
			time.Sleep(cooldown)
			var wg sync.WaitGroup
			wg.Go(func() { encryptWithin(t, q, 2*tick, "region-1", "region-2", "region-3") })
			synctest.Wait()
			encryptWithin(t, q, 2*tick, "region-2", "region-3")
			wg.Wait()
			p.requireAsked(t, []int{0, 2, 0}, []int{1, 0, 2})
			encryptWithin(t, q, 2*tick, "region-1", "region-2", "region-3")
			p.requireAsked(t, []int{1, 0, 0}, []int{0, 1, 1})
		})
	}
}

// Keys in cool-down are asked after all if the others are too few, as they may be back.
func TestKeysThatAreLeftOutAreAskedIfTooFewOthersAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newRegions(t, 3)
		q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 2})
		p.keys[0].becomes(state{hangs: true})
		encryptWithin(t, q, wait+2*tick, "region-2", "region-3")

		// Another fails, and the first is back.
		p.keys[0].becomes(state{})
		p.keys[2].becomes(state{fault: errBroken})
		p.asked()
		encryptWithin(t, q, 3*tick, "region-1", "region-2")
		p.requireAsked(t, []int{0, 1, 0}, []int{1, 0, 1})

		// Too few are left from the start: nobody waits for a key twice.
		p.keys[0].becomes(state{hangs: true})
		_, err := encryptionMaterials(t, q, &keyprovider.EncryptionRequest{Suite: id})
		require.EqualError(t, err, "2 of 3 master keys failed, and QuorumOptions.Min is 2: master key 1: timed out; master key 3: broken")
		p.asked()
		p.keys[2].becomes(state{})
		encryptWithin(t, q, tick+wait, "region-2", "region-3")
		p.requireAsked(t, []int{0, 1, 0}, []int{1, 0, 1})
		encryptWithin(t, q, 2*tick, "region-2", "region-3")

		// All are left out: each message asks them, and is served when one is back.
		for _, r := range p.keys {
			r.becomes(state{hangs: true})
		}
		for range 3 {
			_, err = encryptionMaterials(t, q, &keyprovider.EncryptionRequest{Suite: id})
			require.ErrorIs(t, err, errTimeout)
			require.ErrorContains(t, err, "master keys failed, and QuorumOptions.Min is 2: master key 1")
		}
		p.keys[1].becomes(state{fault: errBroken})
		p.keys[0].becomes(state{})
		p.keys[2].becomes(state{})
		encryptWithin(t, q, 2*tick, "region-1", "region-3")
	})
}

// Nobody waits for one that hangs before asking those that are left out, if it is clear
// that these are needed.
func TestKeysThatAreNeededAreAskedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newRegions(t, 4)
		q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 3})
		p.keys[2].becomes(state{fault: errBroken})
		p.keys[3].becomes(state{fault: errBroken})
		_, err := encryptionMaterials(t, q, &keyprovider.EncryptionRequest{Suite: id})
		require.ErrorIs(t, err, errBroken)
		p.keys[1].becomes(state{hangs: true})
		p.keys[2].becomes(state{})
		p.keys[3].becomes(state{})
		encryptWithin(t, q, tick+wait, "region-1", "region-3", "region-4")
	})
}

// A message waits for a key that it needs, however slow that is, and for no other. What is
// late is used, but is late.
func TestAKeyThatIsNeededIsWaitedFor(t *testing.T) {
	const slow = 3 * time.Second
	bubble(t, func(t *testing.T) {
		p := newRegions(t, 1)
		var l listener
		q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 1, OnMissing: l.hear})
		p.keys[0].latency = slow
		for range 3 {
			encryptWithin(t, q, slow, "region-1")
		}
		p.requireAsked(t, []int{3}, []int{0})

		p = newRegions(t, 2)
		q = newQuorum(t, p, keyprovider.QuorumOptions{Min: 2, OnMissing: l.hear})
		p.keys[1].latency = slow
		for range 3 {
			encryptWithin(t, q, tick+slow, "region-1", "region-2")
		}
		p.requireAsked(t, []int{3, 0}, []int{0, 3})
		p.keys[0].latency = slow // the second is asked to generate as well, and no sooner
		encryptWithin(t, q, slow+slow, "region-1", "region-2")
		l.none(t)
		p.keys[0].latency, p.keys[1].latency = tick, tick
		encryptWithin(t, q, 2*tick, "region-1", "region-2")
		p.asked()
		encryptWithin(t, q, 2*tick, "region-1", "region-2")
		p.requireAsked(t, []int{1, 0}, []int{0, 1})

		// One of three is down: the others are needed, and slow.
		p = newRegions(t, 3)
		q = newQuorum(t, p, keyprovider.QuorumOptions{Min: 2, OnMissing: l.hear})
		p.keys[0].becomes(state{fault: errBroken})
		encryptWithin(t, q, 3*tick, "region-2", "region-3")
		require.ErrorIs(t, l.one(t)[0], errBroken)
		p.keys[2].latency = slow
		encryptWithin(t, q, tick+slow, "region-2", "region-3")
		require.ErrorIs(t, l.one(t)[0], errBroken)
		p.keys[0].becomes(state{}) // it is back, but asked only when the third is overdue
		p.keys[2].latency = tick
		time.Sleep(cool)
		encryptWithin(t, q, 2*tick, "region-1", "region-2", "region-3")
		l.none(t)
	})
}

// The keys that are left out are asked when a needed one is overdue.
func TestKeysThatAreLeftOutAreAskedIfANeededOneIsOverdue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newRegions(t, 3)
		q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 2})
		p.keys[0].becomes(state{fault: errBroken})
		encryptWithin(t, q, 3*tick, "region-2", "region-3")
		p.keys[0].becomes(state{})
		p.keys[2].becomes(state{hangs: true})
		encryptWithin(t, q, tick+wait+tick, "region-1", "region-2")
		encryptWithin(t, q, 2*tick, "region-1", "region-2")
	})
}

func TestTooFewKeysFailWithEveryCause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newRegions(t, 4)
		var l listener
		q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 2, OnMissing: l.hear})
		others := []error{errors.New("denied"), errors.New("disabled")}
		p.keys[0].becomes(state{hangs: true})
		p.keys[2].becomes(state{fault: others[0]})
		p.keys[3].becomes(state{fault: others[1]})
		_, err := encryptionMaterials(t, q, &keyprovider.EncryptionRequest{Suite: id})
		require.EqualError(t, err, "3 of 4 master keys failed, and QuorumOptions.Min is 2: master key 1: timed out; master key 3: denied; master key 4: disabled")
		for _, cause := range append(others, errTimeout) {
			require.ErrorIs(t, err, cause)
		}
		l.none(t)
		p.requireCleared(t)

		// No data key is generated that too few could wrap.
		p = newRegions(t, 3)
		q = newQuorum(t, p, keyprovider.QuorumOptions{Min: 2})
		p.keys[0].becomes(state{fault: others[0]})
		p.keys[1].becomes(state{fault: others[1]})
		_, err = encryptionMaterials(t, q, &keyprovider.EncryptionRequest{Suite: id})
		require.EqualError(t, err, "2 of 3 master keys failed, and QuorumOptions.Min is 2: master key 1: denied; master key 2: disabled")
		p.requireAsked(t, []int{1, 1, 0}, []int{0, 0, 0})
	})
}

// In a total outage a message waits no longer than until it is clear that there will be
// too few keys.
func TestAMessageThatCannotHaveEnoughKeysEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newRegions(t, 3)
		q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 2})
		for _, r := range p.keys {
			r.becomes(state{hangs: true})
		}
		for range 2 {
			start := time.Now()
			_, err := encryptionMaterials(t, q, &keyprovider.EncryptionRequest{Suite: id})
			require.ErrorIs(t, err, errTimeout)
			require.ErrorContains(t, err, "3 of 3 master keys failed, and QuorumOptions.Min is 2: ")
			require.Equal(t, wait+timeout, time.Since(start)) // the second began when the first was overdue
		}

		p = newRegions(t, 3)
		q = newQuorum(t, p, keyprovider.QuorumOptions{Min: 3})
		p.keys[1].becomes(state{fault: errBroken})
		p.keys[2].becomes(state{hangs: true})
		start := time.Now()
		_, err := encryptionMaterials(t, q, &keyprovider.EncryptionRequest{Suite: id})
		require.EqualError(t, err, "1 of 3 master keys failed, and QuorumOptions.Min is 3: master key 2: broken")
		require.Equal(t, 2*tick, time.Since(start))
		p.requireCleared(t)
	})
}

// A ctxThatTakesTime is asked for its deadline before each call. That takes a while.
type ctxThatTakesTime struct {
	context.Context
	takes []time.Duration // for one call after the other
	mu    sync.Mutex
}

func (c *ctxThatTakesTime) Deadline() (time.Time, bool) {
	c.mu.Lock()
	var d time.Duration
	if len(c.takes) > 0 {
		d, c.takes = c.takes[0], c.takes[1:]
	}
	c.mu.Unlock()
	time.Sleep(d)
	return time.Time{}, false
}

// Nobody would end a call that begins when all calls were given up.
func TestACallThatIsGivenUpBeforeItBeginsDoesNotBegin(t *testing.T) {
	req := &keyprovider.EncryptionRequest{Suite: id}
	bubble(t, func(t *testing.T) { // the first answers while the second is about to be asked to generate
		p := newRegions(t, 2)
		q := keyprovider.Materials(newQuorum(t, p, keyprovider.QuorumOptions{Min: 1}))
		p.keys[0].latency, p.keys[1].patience = wait+tick, time.Hour
		p.keys[1].becomes(state{hangs: true})
		start := time.Now()
		_, err := q.EncryptionMaterials(&ctxThatTakesTime{Context: bg, takes: []time.Duration{0, 2 * tick}}, req)
		require.NoError(t, err)
		require.Less(t, time.Since(start), time.Minute)
		generated, _ := p.asked()
		require.Equal(t, []int{1, 0}, generated)
	})
	bubble(t, func(t *testing.T) { // the second fails while the third is about to be asked to wrap
		p := newRegions(t, 3)
		q := keyprovider.Materials(newQuorum(t, p, keyprovider.QuorumOptions{Min: 3}))
		p.keys[1].becomes(state{fault: errBroken})
		p.keys[2].becomes(state{fault: errBroken})
		_, err := q.EncryptionMaterials(&ctxThatTakesTime{Context: bg, takes: []time.Duration{0, 0, 2 * tick}}, req)
		require.ErrorIs(t, err, errBroken)
		_, wrapped := p.asked()
		require.Equal(t, 1, wrapped[1]+wrapped[2])
	})
}

func TestOnlyTheFirstCausesOfAQuorumArePrinted(t *testing.T) {
	p := stubKeys(make([]string, 20)...)
	for _, k := range p.keys {
		k.(*stubKey).generate = func(context.Context, *keyprovider.Request) (*keyprovider.DataKey, error) { return nil, errBroken }
	}
	_, err := encryptionMaterials(t, newQuorum(t, p, keyprovider.QuorumOptions{Min: 1}), &keyprovider.EncryptionRequest{Suite: id})
	require.ErrorContains(t, err, "; master key 8: broken; and 12 more")
	require.NotContains(t, err.Error(), "master key 9")
}

// A ctx that is done fails the message and says nothing about the keys.
func TestADoneContextPutsNoKeyInCooldown(t *testing.T) {
	for at := range 2 {
		bubble(t, func(t *testing.T) {
			p := newRegions(t, 2)
			q := keyprovider.Materials(newQuorum(t, p, keyprovider.QuorumOptions{Min: 1}))
			p.keys[at].becomes(state{hangs: true})
			ctx, cancel := context.WithCancel(bg)
			time.AfterFunc(time.Second, cancel)
			start := time.Now()
			m, err := q.EncryptionMaterials(ctx, &keyprovider.EncryptionRequest{Suite: id})
			require.Nil(t, m)
			require.ErrorIs(t, err, context.Canceled)
			require.EqualError(t, err, "master key "+string(rune('1'+at))+": context canceled")
			require.Equal(t, time.Second, time.Since(start))
			p.requireCleared(t)
			p.keys[at].becomes(state{})
			m, err = q.EncryptionMaterials(bg, &keyprovider.EncryptionRequest{Suite: id})
			require.NoError(t, err)
			require.Len(t, m.EncryptedDataKeys, 2)

			// Nor if the key takes no notice.
			p.keys[at].becomes(state{deaf: time.Minute})
			ctx, cancel = context.WithCancel(bg)
			time.AfterFunc(time.Second, cancel)
			_, err = q.EncryptionMaterials(ctx, &keyprovider.EncryptionRequest{Suite: id})
			require.ErrorIs(t, err, context.Canceled)
			p.keys[at].becomes(state{})
			m, err = q.EncryptionMaterials(bg, &keyprovider.EncryptionRequest{Suite: id})
			require.NoError(t, err)
			require.Len(t, m.EncryptedDataKeys, 2)
		})
	}
}

// A deadline that is nearer than Wait leaves time for another key. If it is very near,
// what was given up is in no cool-down.
func TestAQuorumLeavesHalfOfTheTimeForOtherKeys(t *testing.T) {
	for _, test := range []struct {
		deadline time.Duration
		then     int // keys in the next message
	}{{time.Second, 1}, {time.Second - 2*time.Millisecond, 2}, {100 * time.Millisecond, 2}} {
		bubble(t, func(t *testing.T) {
			p := newRegions(t, 2)
			var l listener
			q := keyprovider.Materials(newQuorum(t, p, keyprovider.QuorumOptions{Min: 1, OnMissing: l.hear}))
			p.keys[0].becomes(state{hangs: true})
			start := time.Now()
			ctx, cancel := context.WithTimeout(bg, test.deadline)
			defer cancel()
			m, err := q.EncryptionMaterials(ctx, &keyprovider.EncryptionRequest{Suite: id})
			require.NoError(t, err)
			require.Equal(t, []string{"region-2"}, keysIn(m.EncryptedDataKeys))
			require.Equal(t, test.deadline/2+tick, time.Since(start))
			require.EqualError(t, l.one(t)[0], "master key 1 (region-1): no answer within "+(test.deadline/2).String()+": context deadline exceeded")
			p.keys[0].becomes(state{})
			m, err = q.EncryptionMaterials(bg, &keyprovider.EncryptionRequest{Suite: id})
			require.NoError(t, err)
			require.Len(t, m.EncryptedDataKeys, test.then)
		})
	}
}

// A key that takes no notice of ctx holds up the messages that asked it before Wait was
// over, and no others.
func TestADeafKeyHoldsUpOnlyThoseThatAskedIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newRegions(t, 3)
		q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 2})
		p.keys[1].becomes(state{deaf: time.Minute})
		var wg sync.WaitGroup
		wg.Go(func() { encryptWithin(t, q, tick+time.Minute, "region-1", "region-3") })
		time.Sleep(tick + wait)
		synctest.Wait()
		encryptWithin(t, q, 2*tick, "region-1", "region-3")
		wg.Wait()
		for _, key := range p.keys[1].dataKeys {
			require.Equal(t, make([]byte, 32), key)
		}
	})
}

// An encryption context that no key wraps for, or a tenant that there is not, says nothing
// about the keys: the messages of others have them all.
func TestARequestThatAllKeysRefusePutsNoneInCooldown(t *testing.T) {
	for least := range 3 {
		bubble(t, func(t *testing.T) {
			p := newRegions(t, 3)
			q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 1 + least})
			for _, r := range p.keys {
				r.becomes(state{fault: errBroken})
			}
			_, err := encryptionMaterials(t, q, &keyprovider.EncryptionRequest{Suite: id})
			require.ErrorIs(t, err, errBroken)
			for _, r := range p.keys {
				r.becomes(state{})
			}
			p.asked()
			encryptWithin(t, q, 2*tick, "region-1", "region-2", "region-3")
			p.requireAsked(t, []int{1, 0, 0}, []int{0, 1, 1})
		})
	}
}

// A panic or Goexit of a key reaches the caller as its own; the data key is cleared, the
// other calls end, and the next message asks the key again.
func TestPanicsAndGoexitOfAQuorumsKeysReachTheCaller(t *testing.T) {
	for _, broken := range []state{{panics: errBroken}, {exits: true}} {
		for at := range 3 {
			for _, again := range []bool{false, true} {
				bubble(t, func(t *testing.T) {
					p := newRegions(t, 3)
					q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 1})
					others := []string{"region-1", "region-2", "region-3"}
					if again { // it was in cool-down, and this message is to ask it
						p.keys[at].becomes(state{fault: errBroken})
						encryptWithin(t, q, 2*tick+map[bool]time.Duration{true: tick}[at == 0], slices.Delete(slices.Clone(others), at, at+1)...)
						time.Sleep(cool)
						for _, r := range p.keys {
							r.dataKeys = nil // the message's, which has them
						}
					}
					p.keys[at].becomes(broken)
					if at > 0 {
						p.keys[3-at].becomes(state{hangs: true}) // which the panic ends
					}
					returned, recovered := runs(func() { _, _ = encryptionMaterials(t, q, &keyprovider.EncryptionRequest{Suite: id}) })
					require.False(t, returned)
					require.Equal(t, broken.panics, recovered)
					p.requireCleared(t)
					for _, r := range p.keys {
						r.becomes(state{})
					}
					encryptWithin(t, q, 2*tick, others...)
				})
			}
		}
	}
}

// runs reports whether f returns, and what it panics with, on a goroutine of its own.
func runs(f func()) (returned bool, recovered any) {
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() { recovered = recover() }()
		f()
		returned = true
	})
	wg.Wait()
	return returned, recovered
}

// OnMissing is called on the caller's goroutine, with its ctx; what it does there is the
// caller's.
func TestOnMissingIsTheCallers(t *testing.T) {
	type key struct{}
	for name, does := range map[string]func(){"panics": func() { panic(errBroken) }, "exits": runtime.Goexit, "returns": func() {}} {
		p := newRegions(t, 2)
		p.keys[1].becomes(state{fault: errBroken})
		var dataKey []byte
		calls := 0
		q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 1, OnMissing: func(ctx context.Context, errs []error) {
			calls++
			require.Equal(t, "value", ctx.Value(key{}))
			require.Len(t, errs, 1)
			require.ErrorIs(t, errs[0], errBroken)
			errs[0] = nil
			dataKey = p.keys[0].dataKeys[0]
			require.NotEqual(t, make([]byte, 32), dataKey)
			does()
		}})
		returned, recovered := runs(func() {
			m, err := keyprovider.Materials(q).EncryptionMaterials(context.WithValue(bg, key{}, "value"), &keyprovider.EncryptionRequest{Suite: id})
			require.NoError(t, err)
			require.Len(t, m.EncryptedDataKeys, 1)
		})
		require.Equal(t, 1, calls, name)
		require.Equal(t, name == "returns", returned, name)
		require.Equal(t, name == "panics", recovered == errBroken, name)
		require.Equal(t, name != "returns", string(dataKey) == string(make([]byte, 32)), name)
	}
}

// The values of MasterKeys need not be the same each time: String tells which key it is,
// else the position.
func TestAQuorumKnowsItsKeysAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newRegions(t, 3)
		p.fresh = true
		q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 1})
		p.keys[1].becomes(state{hangs: true})
		encryptWithin(t, q, tick+wait, "region-1", "region-3")
		encryptWithin(t, q, 2*tick, "region-1", "region-3")

		p = newRegions(t, 3)
		q = newQuorum(t, p, keyprovider.QuorumOptions{Min: 1})
		p.keys[1].becomes(state{hangs: true})
		encryptWithin(t, q, tick+wait, "region-1", "region-3")
		slices.Reverse(p.keys)
		encryptWithin(t, q, 2*tick, "region-3", "region-1")
		p.keys = p.keys[1:]
		encryptWithin(t, q, tick, "region-1")

		// The same key twice is two keys.
		p = newRegions(t, 2)
		p.keys = append(p.keys, p.keys[1])
		q = newQuorum(t, p, keyprovider.QuorumOptions{Min: 3})
		encryptWithin(t, q, 2*tick, "region-1", "region-2", "region-2")
		q = newQuorum(t, p, keyprovider.QuorumOptions{Min: 1})
		p.keys[1].becomes(state{hangs: true})
		encryptWithin(t, q, tick+wait, "region-1")
		encryptWithin(t, q, tick, "region-1")
		p.keys[1].becomes(state{})
		time.Sleep(cool)
		encryptWithin(t, q, 2*tick, "region-1", "region-2", "region-2")
	})
}

// A provider whose keys depend on the message fills no memory.
func TestAQuorumForgetsKeysThatNobodyAsks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := 0
		p := &stub{masterKeys: func(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
			n++
			bad := newRegions(t, 1).keys[0]
			bad.name, bad.latency, bad.state.fault = "key "+string(rune(n)), 0, errBroken
			return []keyprovider.MasterKey{&stubKey{}, bad}, nil
		}}
		q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 1})
		for range 3000 {
			m, err := encryptionMaterials(t, q, &keyprovider.EncryptionRequest{Suite: id})
			require.NoError(t, err)
			require.Len(t, m.EncryptedDataKeys, 1)
		}
		require.LessOrEqual(t, keyprovider.Outages(q), 1000)
	})
}

func TestAQuorumDecryptsAsItsProvider(t *testing.T) {
	p := newRegions(t, 3)
	q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 1})
	message, h, err := esdk.Encrypt(bg, []byte("hello"), q, &esdk.EncryptOptions{EncryptionContext: context1("1")})
	require.NoError(t, err)
	plaintext, opened, err := esdk.Decrypt(bg, message, q, nil)
	require.NoError(t, err)
	require.Equal(t, "hello", string(plaintext))
	require.Equal(t, &h.EncryptedDataKeys[0], opened.OpenedBy)
	require.Equal(t, 1, p.decrypted)
	_, err = decryptionMaterials(t, newQuorum(t, &stub{decryptErr: errBroken}, keyprovider.QuorumOptions{Min: 1}), &keyprovider.DecryptionRequest{Suite: id})
	require.ErrorIs(t, err, errBroken)
}

// RequireContext belongs over a Quorum, whose message shows who is in.
func TestRequireContextOverAQuorum(t *testing.T) {
	p := newRegions(t, 3)
	q := requireContext(t, newQuorum(t, p, keyprovider.QuorumOptions{Min: 2}), "tenant")
	p.keys[1].becomes(state{fault: errBroken})
	_, _, err := esdk.Encrypt(bg, nil, q, nil)
	require.ErrorContains(t, err, `the required key "tenant" is missing`)
	message, _, err := esdk.Encrypt(bg, []byte("hello"), q, &esdk.EncryptOptions{EncryptionContext: context1("1")})
	require.NoError(t, err)
	_, h, err := esdk.Decrypt(bg, message, q, &esdk.DecryptOptions{EncryptionContext: context1("1")})
	require.NoError(t, err)
	require.Equal(t, []string{"region-1", "region-3"}, keysIn(h.EncryptedDataKeys))
}

// A Cache keeps complete materials for MaxAge and others for Cooldown at most, whatever
// is between and whoever shares the Store.
func TestACacheKeepsIncompleteMaterialsForCooldown(t *testing.T) {
	for name, between := range map[string]func(keyprovider.MasterKeyProvider) keyprovider.MasterKeyProvider{
		"nothing": func(p keyprovider.MasterKeyProvider) keyprovider.MasterKeyProvider { return p },
		"RequireContext": func(p keyprovider.MasterKeyProvider) keyprovider.MasterKeyProvider {
			return requireContext(t, p, "tenant")
		},
		"manager of a user": func(p keyprovider.MasterKeyProvider) keyprovider.MasterKeyProvider {
			return &changing{inner: p, encrypt: func(m *keyprovider.EncryptionMaterials) *keyprovider.EncryptionMaterials { c := *m; return &c }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newRegions(t, 2)
				var l listener
				q := between(newQuorum(t, p, keyprovider.QuorumOptions{Min: 1, Cooldown: time.Minute, OnMissing: l.hear}))
				store := keyprovider.NewCacheStore(10)
				c := newCache(t, q, keyprovider.CacheOptions{Store: store, Partition: "p", GracePeriod: -1})
				other := newCache(t, newAES(t, "key", 32), keyprovider.CacheOptions{Store: store, Partition: "p", GracePeriod: -1})
				opts := &esdk.EncryptOptions{Suite: id, EncryptionContext: context1("1")}
				p.keys[0].becomes(state{fault: errBroken})
				_, h, err := esdk.Encrypt(bg, nil, c, opts)
				require.NoError(t, err)
				require.Len(t, h.EncryptedDataKeys, 1)
				_, first := mustEncrypt(t, c, 1, opts)
				require.Len(t, l.one(t), 1, "once for the data key")
				p.keys[0].becomes(state{})
				time.Sleep(time.Minute - 1)
				_, hit := mustEncrypt(t, c, 1, opts)
				require.Equal(t, first, hit)
				_, hit = mustEncrypt(t, other, 1, opts)
				require.Equal(t, first, hit)
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				require.Zero(t, c.Stats().Entries)
				_, h, err = esdk.Encrypt(bg, nil, c, opts)
				require.NoError(t, err)
				require.Equal(t, []string{"region-1", "region-2"}, keysIn(h.EncryptedDataKeys))
				time.Sleep(time.Hour - 1)
				_, hit = mustEncrypt(t, c, 1, opts)
				require.Equal(t, dataKeyOf(h), hit, "complete ones")
				l.none(t)
				c.Purge()
			})
		})
	}
}

// In an outage that lasts no message waits that shares a cached data key, but the one
// that asks the key again.
func TestACacheOverAQuorumHidesAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newRegions(t, 2)
		c := newCache(t, newQuorum(t, p, keyprovider.QuorumOptions{Min: 1}), keyprovider.CacheOptions{})
		defer c.Purge()
		p.keys[0].becomes(state{hangs: true})
		mustEncrypt(t, c, 1, unsigned)
		var waited atomic.Int32
		for range 300 {
			time.Sleep(time.Second)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					start := time.Now()
					mustEncrypt(t, c, 1, unsigned)
					if time.Since(start) >= wait {
						waited.Add(1)
					}
				})
			}
			wg.Wait()
		}
		require.LessOrEqual(t, waited.Load(), int32(300/30))
		require.NotZero(t, waited.Load())
	})
}

// Everything at once, for the race detector.
func TestAQuorumIsSafeForConcurrentUse(t *testing.T) {
	p := newRegions(t, 3)
	for _, r := range p.keys {
		r.latency, r.patience = 10*time.Microsecond, 20*time.Millisecond
	}
	q := newQuorum(t, p, keyprovider.QuorumOptions{Min: 1, Wait: 5 * time.Millisecond, Cooldown: time.Millisecond,
		OnMissing: func(context.Context, []error) {}})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				p.keys[(i+j)%3].becomes([]state{{}, {fault: errBroken}, {hangs: true}}[j%3])
				message, _, err := esdk.Encrypt(bg, nil, q, unsigned)
				if err == nil {
					_, _, err = esdk.Decrypt(bg, message, newMulti(t, p.keys[0].aes, p.keys[1].aes, p.keys[2].aes), nil)
					require.NoError(t, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkQuorum(b *testing.B) {
	p := newMulti(b, newAES(b, "first", 32), newAES(b, "second", 32), newAES(b, "third", 32))
	for name, p := range map[string]keyprovider.MasterKeyProvider{"without": p, "with": newQuorum(b, p, keyprovider.QuorumOptions{Min: 2})} {
		b.Run(name, func(b *testing.B) {
			m, req := keyprovider.Materials(p), &keyprovider.EncryptionRequest{Suite: id}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.EncryptionMaterials(bg, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
