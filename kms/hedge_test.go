package kms_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/keyprovider/providertest"
	"github.com/esdk-go/esdk/kms"
)

func TestNearIsTheOrderOfAsking(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ near, want []string }{
		{nil, []string{near, middle, far}},
		{[]string{far}, []string{far, near, middle}},
		{[]string{far, middle, near}, []string{far, middle, near}},
		{[]string{"sa-east-1", middle}, []string{middle, near, far}},
	} {
		c := newCloud()
		denied := &types.DisabledException{}
		for _, region := range []string{near, middle, far} {
			c.set(region, after(0, denied))
		}
		p, m := threeKeys(t, c, kms.Options{Near: test.near})
		d := discovery(t, nil, &kms.Options{Near: test.near, ClientFor: c.clientFor})
		for _, p := range []keyprovider.MasterKeyProvider{p, d} {
			failure := refusal(t, p, m)
			require.Equal(t, test.want, c.calls())
			require.Len(t, failure.Causes, 3)
			for i, region := range test.want {
				at := slices.Index([]string{near, middle, far}, region) + 1
				require.ErrorContains(t, failure.Causes[i], fmt.Sprintf("encrypted data key %d (", at), "its place in the message")
				require.ErrorContains(t, failure.Causes[i], region)
			}
		}
	}
}

func TestKeysOfOneRegionStayInTheOrderOfTheMessage(t *testing.T) {
	t.Parallel()
	m := entries()
	var keys, want []string
	for i := range 40 {
		key := keyIn([]string{near, far}[i%2]) + fmt.Sprint(i)
		keys, m.EncryptedDataKeys = append(keys, key), append(m.EncryptedDataKeys, entryOf(key))
		if i%2 == 1 {
			want = append(want, key)
		}
	}
	for i := 0; i < 40; i += 2 {
		want = append(want, keys[i])
	}
	var asked []string
	p := strict(t, &kms.Options{Near: []string{far}, ClientFor: func(context.Context, string) (kms.API, error) {
		return stub{decrypt: func(_ context.Context, in *awskms.DecryptInput) (*awskms.DecryptOutput, error) {
			asked = append(asked, *in.KeyId)
			return nil, &types.DisabledException{}
		}}, nil
	}}, keys...)
	refusal(t, p, m)
	require.Equal(t, want, asked)
}

// With MultiRegion, the Region that counts is the one that is asked, not the message's.
func TestNearOfReplicasIsTheRegionThatIsAsked(t *testing.T) {
	t.Parallel()
	c := newCloud()
	m := entries(entryOf(key1), entryOf(mrk1))
	mrkHere := inRegion(mrk1, far)
	p := strict(t, &kms.Options{MultiRegion: true, Near: []string{far}, ClientFor: c.clientFor}, key1, mrkHere)
	d := discovery(t, nil, &kms.Options{MultiRegion: true, Region: far, Near: []string{far}, ClientFor: c.clientFor})
	for _, p := range []keyprovider.MasterKeyProvider{p, d} {
		key, err := p.DecryptDataKey(t.Context(), request(m), m.EncryptedDataKeys)
		require.NoError(t, err)
		require.Equal(t, m.EncryptedDataKeys[1], key.Encrypted)
		require.Equal(t, []string{far}, c.calls())
	}
}

func TestNearAndHedgeAfterAreChecked(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string]kms.Options{
		`kms: Options.Near: "us_east" is not a Region`:                                                    {Near: []string{near, "us_east"}},
		`kms: Options.Near: "" is not a Region`:                                                           {Near: []string{""}},
		"kms: Options.Near has us-east-1 twice":                                                           {Near: []string{near, far, near}},
		"kms: Options.HedgeAfter is negative: -1s":                                                        {HedgeAfter: -time.Second},
		"kms: Options.HedgeAfter of 10s is not less than Options.Timeout of 10s, when a call ends anyway": {HedgeAfter: 10 * time.Second},
		"kms: Options.HedgeAfter of 1m0s is not less than Options.Timeout of 1s, when a call ends anyway": {HedgeAfter: time.Minute, Timeout: time.Second},
	} {
		opts.Config = &aws.Config{Region: near}
		_, err := kms.New(t.Context(), []string{key1}, &opts)
		require.EqualError(t, err, want)
		_, err = kms.NewDiscovery(t.Context(), &kms.DiscoveryFilter{AnyAccount: true}, &opts)
		require.EqualError(t, err, want)
	}
	strict(t, &kms.Options{Config: &aws.Config{Region: near}, HedgeAfter: time.Minute, Timeout: -1}, key1)

	c, regions := newCloud(), []string{far}
	p, m := threeKeys(t, c, kms.Options{Near: regions})
	regions[0] = near
	requireOpensIn(t, c, p, m, far)
}

// The package documentation promises that hedging costs nothing when all is well.
func TestOneCallWhenAllIsWell(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	keys := []string{s.CreateKey(near), s.CreateKey(middle), s.CreateKey(far)}
	replica := s.CreateMultiRegionKey(near, far)
	opts := &kms.Options{Config: s.Config(), HedgeAfter: 9 * time.Second, Near: []string{far, near}}
	multi := *opts
	multi.MultiRegion, multi.Region = true, far
	m := encrypt(t, strict(t, opts, keys...))
	mrk := encrypt(t, strict(t, opts, append(keys, replica[0])...))
	require.Len(t, s.Calls(), 3+4, "as many as keys")
	for _, test := range []struct {
		p    keyprovider.MasterKeyProvider
		m    *keyprovider.EncryptionMaterials
		want string
	}{
		{strict(t, opts, keys...), m, keys[2]},
		{discovery(t, nil, opts), m, keys[2]},
		{strict(t, &multi, replica[1], keys[0]), mrk, replica[1]},
		{discovery(t, nil, &multi), mrk, keys[2]},
	} {
		for range 20 {
			s.ResetCalls()
			key, err := test.p.DecryptDataKey(t.Context(), request(test.m), test.m.EncryptedDataKeys)
			require.NoError(t, err)
			require.Equal(t, test.m.DataKey, key.Plaintext)
			require.Len(t, s.Calls(), 1)
			require.Equal(t, test.want, s.Calls()[0].KeyID)
		}
	}
}

func TestHedgeAfterAsksTheNextBesideTheFirst(t *testing.T) {
	const hedge = 50 * time.Millisecond
	for name, test := range map[string]struct {
		regions map[string]func(context.Context) error
		want    string
		took    time.Duration
		calls   []string
	}{
		"all well":                     {nil, near, latency, []string{near}},
		"the first hangs":              {map[string]func(context.Context) error{near: hangs}, middle, hedge + latency, []string{near, middle}},
		"two hang":                     {map[string]func(context.Context) error{near: hangs, middle: hangs}, far, 2*hedge + latency, []string{near, middle, far}},
		"the first is slow":            {map[string]func(context.Context) error{near: after(hedge+latency/2, nil)}, near, hedge + latency/2, []string{near, middle}},
		"a failure waits for no timer": {map[string]func(context.Context) error{near: after(latency, &types.DisabledException{})}, middle, 2 * latency, []string{near, middle}},
		"and begins the wait anew": {
			map[string]func(context.Context) error{near: after(hedge-latency, &types.DisabledException{}), middle: hangs},
			far, hedge - latency + hedge + latency, []string{near, middle, far},
		},
		"the second fails beside the first": {
			map[string]func(context.Context) error{near: hangs, middle: after(latency, &types.DisabledException{})},
			far, hedge + 2*latency, []string{near, middle, far},
		},
		"the second opens when all others have failed": {
			map[string]func(context.Context) error{
				near: after(hedge+latency, &types.DisabledException{}), middle: after(time.Second, nil), far: after(0, &types.DisabledException{}),
			},
			middle, hedge + time.Second, []string{near, middle, far},
		},
		"the last to be asked fails, the first opens": {
			map[string]func(context.Context) error{near: after(time.Second, nil), middle: after(0, &types.DisabledException{}), far: after(0, &types.DisabledException{})},
			near, time.Second, []string{near, middle, far},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCloud()
				for region, f := range test.regions {
					c.set(region, f)
				}
				p, m := threeKeys(t, c, kms.Options{HedgeAfter: hedge})
				got, took, err := c.open(t, t.Context(), p, m)
				require.NoError(t, err)
				require.Equal(t, test.want, got)
				require.Equal(t, test.took, took.Truncate(10*time.Microsecond))
				require.Zero(t, c.active, "those that lost have ended")
				require.Equal(t, test.calls, c.calls())
				time.Sleep(time.Hour)
				require.Empty(t, c.calls(), "no timer is left")
			})
		})
	}
}

// A hostile message has thousands of them.
func TestARegionThatHangsHasOneCallOfAMessageAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		c.set(near, hangs)
		p, _ := threeKeys(t, c, kms.Options{HedgeAfter: time.Second})
		hostile := entries(entryOf(keyIn(near)), entryOf(keyIn(near)), entryOf(keyIn(near)))
		_, took, err := c.open(t, t.Context(), p, hostile)
		require.Error(t, err)
		require.Equal(t, 3*10*time.Second, took.Truncate(time.Millisecond))
		require.Equal(t, []string{near, near, near}, c.calls())
		time.Sleep(cooldown)

		hostile.EncryptedDataKeys = append(hostile.EncryptedDataKeys, entryOf(keyIn(middle)))
		got, took, err := c.open(t, t.Context(), p, hostile)
		require.NoError(t, err)
		require.Equal(t, middle, got)
		require.Equal(t, time.Second+latency, took.Truncate(10*time.Microsecond))
		require.Equal(t, []string{near, middle}, c.calls())
	})
}

// The goroutine that asked in the Region comes back for the other key there.
func TestTheSecondKeyOfABusyRegionIsAskedAfterTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		first := true
		c.set(near, func(ctx context.Context) error {
			if first {
				first = false
				return after(3*time.Second, &types.DisabledException{})(ctx)
			}
			return after(latency, nil)(ctx)
		})
		c.set(middle, after(0, &types.DisabledException{}))
		p, _ := threeKeys(t, c, kms.Options{HedgeAfter: time.Second})
		got, took, err := c.open(t, t.Context(), p, entries(entryOf(keyIn(near)), entryOf(keyIn(near)), entryOf(keyIn(middle))))
		require.NoError(t, err)
		require.Equal(t, near, got)
		require.Equal(t, 3*time.Second+latency, took)
		require.Equal(t, []string{near, middle, near}, c.calls())
	})
}

// The caller's goroutine has nothing left to ask for when the other one sets the timer
// again: decryption ends with the call and not with the timer.
func TestDecryptionWaitsForNoTimer(t *testing.T) {
	for _, end := range []string{"the last opens", "canceled", "panic"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c := newCloud()
				c.set(near, after(time.Second+latency, &types.DisabledException{}))
				first := true
				c.set(middle, func(ctx context.Context) error {
					if first {
						first = false
						return after(2*latency, &types.DisabledException{})(ctx)
					}
					time.Sleep(latency)
					switch end {
					case "canceled":
						cancel()
					case "panic":
						panic("a bug of the client's")
					}
					return ctx.Err()
				})
				p, _ := threeKeys(t, c, kms.Options{HedgeAfter: time.Second})
				m := entries(entryOf(keyIn(near)), entryOf(keyIn(middle)), entryOf(keyIn(middle)), entryOf(keyIn(middle)))
				began := time.Now()
				func() {
					defer func() { require.Equal(t, end == "panic", recover() != nil) }()
					_, _ = p.DecryptDataKey(ctx, request(m), m.EncryptedDataKeys)
				}()
				require.Equal(t, time.Second+3*latency, time.Since(began))
				require.Equal(t, []string{near, middle, middle}, c.calls())
			})
		})
	}
}

func TestWithoutHedgeAfterOneCallAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		c.set(near, hangs)
		p, m := threeKeys(t, c, kms.Options{Timeout: time.Second})
		got, took, err := c.open(t, t.Context(), p, m)
		require.NoError(t, err)
		require.Equal(t, middle, got)
		require.Equal(t, time.Second+latency, took.Truncate(10*time.Microsecond))
	})
}

func TestAClientForThatIsSlowCountsForHedgeAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		p := strict(t, &kms.Options{HedgeAfter: time.Second, ClientFor: func(ctx context.Context, region string) (kms.API, error) {
			if region == near {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return c.clientFor(ctx, region)
		}}, keyIn(near), keyIn(middle))
		got, took, err := c.open(t, t.Context(), p, entries(entryOf(keyIn(near)), entryOf(keyIn(middle))))
		require.NoError(t, err)
		require.Equal(t, middle, got)
		require.Equal(t, time.Second+latency, took)
	})
}

// Nobody reads a data key that opened too late.
func TestADataKeyThatOpenedTooLateIsCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := bytes.Repeat([]byte{2}, 32)
		c := newCloud()
		p := strict(t, &kms.Options{HedgeAfter: time.Second, ClientFor: func(ctx context.Context, region string) (kms.API, error) {
			if region != near {
				return c.clientFor(ctx, region)
			}
			return stub{decrypt: func(ctx context.Context, in *awskms.DecryptInput) (*awskms.DecryptOutput, error) {
				<-ctx.Done()
				return &awskms.DecryptOutput{KeyId: in.KeyId, Plaintext: late}, nil
			}}, nil
		}}, keyIn(near), keyIn(middle))
		got, _, err := c.open(t, t.Context(), p, entries(entryOf(keyIn(near)), entryOf(keyIn(middle))))
		require.NoError(t, err)
		require.Equal(t, middle, got)
		require.Equal(t, make([]byte, 32), late)
	})
}

// Nor one that opened before another call did not return.
func TestADataKeyIsClearedIfAnotherCallPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := bytes.Repeat([]byte{2}, 32)
		p := strict(t, &kms.Options{HedgeAfter: time.Second, ClientFor: func(_ context.Context, region string) (kms.API, error) {
			return stub{decrypt: func(ctx context.Context, in *awskms.DecryptInput) (*awskms.DecryptOutput, error) {
				if region == near {
					<-ctx.Done()
					panic("a bug of the client's")
				}
				return &awskms.DecryptOutput{KeyId: in.KeyId, Plaintext: opened}, nil
			}}, nil
		}}, keyIn(near), keyIn(middle))
		m := entries(entryOf(keyIn(near)), entryOf(keyIn(middle)))
		require.PanicsWithValue(t, "a bug of the client's", func() { _, _ = p.DecryptDataKey(t.Context(), request(m), m.EncryptedDataKeys) })
		require.Equal(t, make([]byte, 32), opened)
	})
}

// A panic or Goexit of a client, on whichever goroutine, is one of the caller's, once
// all other calls have ended.
func TestAClientThatDoesNotReturnWhileOthersAreAsked(t *testing.T) {
	for name, bug := range map[string]func(){"panic": func() { panic("a bug of the client's") }, "Goexit": runtime.Goexit} {
		for _, region := range []string{near, middle, far} {
			t.Run(name+" in "+region, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCloud()
					for _, other := range []string{near, middle, far} {
						c.set(other, hangs)
					}
					c.set(region, func(ctx context.Context) error {
						_ = after(time.Minute, nil)(ctx)
						bug()
						return nil
					})
					p, m := threeKeys(t, c, kms.Options{HedgeAfter: time.Second, Timeout: time.Hour})
					ended := make(chan any)
					go func() {
						returned := false
						defer func() {
							require.Zero(t, c.active)
							if v := recover(); v != nil || returned {
								ended <- v
							}
							close(ended)
						}()
						_, _ = p.DecryptDataKey(t.Context(), request(m), m.EncryptedDataKeys)
						returned = true
					}()
					value, returned := <-ended
					if name == "panic" {
						require.Equal(t, "a bug of the client's", value)
						<-ended
					} else {
						require.False(t, returned)
					}
					require.Equal(t, []string{near, middle, far}, c.calls())
				})
			})
		}
	}
}

func TestAClientForThatPanicsBesideTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		c.set(near, hangs)
		p := strict(t, &kms.Options{HedgeAfter: time.Second, ClientFor: func(ctx context.Context, region string) (kms.API, error) {
			if region != near {
				panic("a bug of the caller's")
			}
			return c.clientFor(ctx, region)
		}}, keyIn(near), keyIn(middle))
		m := entries(entryOf(keyIn(near)), entryOf(keyIn(middle)))
		require.PanicsWithValue(t, "a bug of the caller's", func() { _, _ = p.DecryptDataKey(t.Context(), request(m), m.EncryptedDataKeys) })
		require.Zero(t, c.active)
	})
}

// Two Regions do what they like, and the third answers: no message fails.
func TestManyMessagesWhileRegionsComeAndGo(t *testing.T) {
	t.Parallel()
	c := newCloud()
	whims := []func(context.Context) error{nil, hangs, after(2*time.Millisecond, nil), after(0, errServer), after(time.Millisecond, &types.DisabledException{})}
	whim := func(ctx context.Context) error {
		if f := whims[rand.IntN(len(whims))]; f != nil {
			return f(ctx)
		}
		return nil
	}
	c.set(near, whim)
	c.set(middle, whim)
	c.set(far, func(context.Context) error { return nil })
	p, m := threeKeys(t, c, kms.Options{HedgeAfter: time.Millisecond, Timeout: time.Minute, Near: []string{middle}})
	var wg sync.WaitGroup
	errs := make(chan error, 32*20)
	for range 32 {
		wg.Go(func() {
			for range 20 {
				_, _, err := c.open(t, t.Context(), p, m)
				errs <- err
			}
		})
	}
	wg.Wait()
	require.Zero(t, c.active)
	for range 32 * 20 {
		require.NoError(t, <-errs)
	}
}

func TestProvidersThatHedgeKeepTheContract(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	opts := &kms.Options{Config: s.Config(), Near: []string{middle, near}, HedgeAfter: time.Millisecond}
	providertest.Test(t, providertest.Config{Provider: strict(t, opts, s.CreateKey(near), s.CreateKey(middle)), Decrypter: discovery(t, nil, opts)})
}

// Every entry that was asked is in the error, with the time that it took.
func TestTheErrorHasTheTimeThatEachCallTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		c.set(near, hangs)
		c.set(middle, after(1500*time.Microsecond, &types.DisabledException{Message: aws.String("off")}))
		c.set(far, after(0, &types.DisabledException{Message: aws.String("off")}))
		p, m := threeKeys(t, c, kms.Options{Timeout: 2 * time.Second})
		_, _, err := c.open(t, t.Context(), p, m)
		require.EqualError(t, err, `no data key could be decrypted: `+
			`encrypted data key 1 ("aws-kms") after 2s: KMS Decrypt with `+keyIn(near)+`: timed out after 2s: canceled: context deadline exceeded; `+
			`encrypted data key 2 ("aws-kms") after 1ms: KMS Decrypt with `+keyIn(middle)+`: DisabledException: off; `+
			`encrypted data key 3 ("aws-kms"): KMS Decrypt with `+keyIn(far)+`: DisabledException: off`)
	})
}

// The error of a done ctx begins with what the first of them that it ended was about,
// and has the others in its text.
func TestTheErrorOfADoneContextHasAllThatWereAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		c.set(near, after(0, &types.DisabledException{Message: aws.String("off")}))
		c.set(middle, hangs)
		c.set(far, hangs)
		p, m := threeKeys(t, c, kms.Options{HedgeAfter: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, _, err := c.open(t, ctx, p, m)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, c.active)
		var disabled *types.DisabledException
		require.False(t, errors.As(err, &disabled), "this is not why decryption ended")
		require.Regexp(t, `^encrypted data key 2 \("aws-kms"\) after 3s: .*context deadline exceeded; `+
			`encrypted data key 1 \("aws-kms"\): .*off; encrypted data key 3 \("aws-kms"\) after 2s: .*context deadline exceeded$`, err.Error())
	})
}
