package kms_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/suite"
)

// A took is what a message cost in one direction. Times are those of synctest, where
// only waiting takes any.
type took struct {
	began time.Duration
	took  time.Duration
	err   error
}

// between returns the times of messages that began in a time, in order.
func between(all []took, from, to time.Duration) (times []time.Duration) {
	for _, s := range all {
		if s.began >= from && s.began < to {
			times = append(times, s.took)
		}
	}
	slices.Sort(times)
	return times
}

// over returns the messages that took longer than d.
func over(all []took, d time.Duration) (slow []took) {
	for _, s := range all {
		if s.took > d {
			slow = append(slow, s)
		}
	}
	return slow
}

// Messages of many goroutines in both directions for 60 s, with keys in three Regions. The
// first is cut off from second 20 to 40, and is tried again within the 30 s after.
// No message fails, few are slow, and the median stays.
func TestAMinuteWithAnOutage(t *testing.T) {
	t.Parallel()
	goroutines := 16
	if full() {
		goroutines = 64
	}
	const (
		pause    = 250 * time.Millisecond
		minute   = time.Minute
		from, to = 20 * time.Second, 40 * time.Second
		wait     = 50 * time.Millisecond // of the quorum
		limit    = 100*time.Millisecond + latency
	)
	for name, test := range map[string]struct {
		opts kms.Options
		cost time.Duration // of a message that asks the Region in vain
	}{
		"HedgeAfter": {kms.Options{HedgeAfter: 50 * time.Millisecond}, 50 * time.Millisecond},
		"Timeout":    {kms.Options{Timeout: time.Second}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCloud()
				reader, old := threeKeys(t, c, test.opts)
				quorum, err := keyprovider.Quorum(reader, keyprovider.QuorumOptions{Min: 2, Wait: wait})
				require.NoError(t, err)
				writer := keyprovider.Materials(quorum)

				began := time.Now()
				var mu sync.Mutex
				var written, read []took
				measure := func(list *[]took, f func() error) {
					s := took{began: time.Since(began)}
					s.err = f()
					s.took = time.Since(began) - s.began
					mu.Lock()
					defer mu.Unlock()
					*list = append(*list, s)
				}
				message := func() {
					var m *keyprovider.EncryptionMaterials
					measure(&written, func() (err error) {
						m, err = writer.EncryptionMaterials(context.Background(), &keyprovider.EncryptionRequest{Suite: suite.AES256GCMHKDFSHA512CommitKey})
						return err
					})
					for _, m := range []*keyprovider.EncryptionMaterials{m, old} { // the new one can lack a key
						if m == nil {
							continue
						}
						measure(&read, func() error {
							_, err := reader.DecryptDataKey(context.Background(), request(m), m.EncryptedDataKeys)
							return err
						})
					}
				}
				var wg sync.WaitGroup
				for i := range goroutines {
					wg.Go(func() {
						time.Sleep(pause * time.Duration(i) / time.Duration(goroutines))
						for time.Since(began) < minute {
							message()
							time.Sleep(pause)
						}
					})
				}
				time.Sleep(from)
				c.set(near, hangs)
				time.Sleep(to - from)
				c.set(near, nil)
				wg.Wait()
				require.Zero(t, c.active)

				for _, list := range [][]took{written, read} {
					require.Greater(t, len(list), goroutines*60*3)
					for _, s := range list {
						require.NoError(t, s.err)
					}
				}
				median := func(list []took, from, to time.Duration) time.Duration {
					times := between(list, from, to)
					return times[len(times)/2]
				}
				require.LessOrEqual(t, median(read, from, to), median(read, 0, from)*12/10)
				require.LessOrEqual(t, median(written, from, to), median(written, 0, from)*12/10)

				// The messages that are there when the outage begins pay for it, and none later.
				require.Empty(t, over(read, test.cost+2*latency))
				slow := over(read, 2*latency)
				require.NotEmpty(t, slow)
				for _, s := range slow {
					require.WithinRange(t, began.Add(s.began), began.Add(from-latency), began.Add(from+test.cost+2*latency)) // its last answers come until from+latency
				}
				if test.opts.HedgeAfter > 0 {
					require.Empty(t, over(read, limit))
				}
				require.Empty(t, over(written, limit))
				for _, s := range over(written, 3*latency) {
					require.WithinRange(t, began.Add(s.began), began.Add(from-3*latency), began.Add(from+3*wait))
				}

				calls := c.calls()
				require.Len(t, calls, len(read)+len(slow), "one call when all is well")
				require.Equal(t, near, calls[len(calls)-1], "the Region is used again")
			})
		})
	}
}
