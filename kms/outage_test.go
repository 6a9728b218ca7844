package kms_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// cooldown is how long a Region that failed is asked last.
const cooldown = 30 * time.Second

// The table of the package documentation: what a failure of the nearest Region costs,
// over HTTP and with the AWS SDK's client.
func TestWhatEachFailureOfARegionDoes(t *testing.T) {
	t.Parallel()
	const timeout = 100 * time.Millisecond
	for name, test := range map[string]struct {
		fail     func(s *kmstest.Server, key string)
		attempts int  // of the AWS SDK's client
		outage   bool // the next messages ask the Region last
		is       func(error) bool
	}{
		"time-out": {func(s *kmstest.Server, _ string) { s.CutOff(near) }, 0, true, isA[net.Error]},
		"refused":  {func(s *kmstest.Server, _ string) { s.Refuse(near) }, 3, true, isA[net.Error]},
		"5xx": {func(s *kmstest.Server, _ string) {
			s.Fail(near, kmstest.Reply{Error: "KMSInternalException", Status: 500})
		}, 3, true, isA[*types.KMSInternalException]},
		"503":       {func(s *kmstest.Server, _ string) { s.Fail(near, kmstest.Reply{Error: "Unknown", Status: 503}) }, 3, true, hasCode("Unknown")},
		"throttled": {func(s *kmstest.Server, _ string) { s.Fail(near, kmstest.Reply{Error: "ThrottlingException"}) }, 3, false, hasCode("ThrottlingException")},
		"denied":    {func(s *kmstest.Server, key string) { s.DenyAccess(key) }, 1, false, hasCode("AccessDeniedException")},
		"disabled":  {func(s *kmstest.Server, key string) { _ = s.DisableKey(key) }, 1, false, isA[*types.DisabledException]},
		"not found": {func(s *kmstest.Server, key string) { s.Fail(near, kmstest.Reply{Error: "NotFoundException"}) }, 1, false, isA[*types.NotFoundException]},
		"wrong key": {func(s *kmstest.Server, key string) { s.Fail(near, kmstest.Reply{Error: "IncorrectKeyException"}) }, 1, false, isA[*types.IncorrectKeyException]},
		"altered":   {func(s *kmstest.Server, key string) { s.Fail(near, kmstest.Reply{Error: "InvalidCiphertextException"}) }, 1, false, isA[*types.InvalidCiphertextException]},
	} {
		for _, option := range []string{"one at a time", "HedgeAfter"} {
			t.Run(name+", "+option, func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				keys := []string{s.CreateKey(near), s.CreateKey(middle)}
				m := encrypt(t, strict(t, &kms.Options{Config: s.Config()}, keys...))
				opts := kms.Options{Timeout: time.Minute, ClientFor: func(_ context.Context, region string) (kms.API, error) {
					if region == near {
						return awskms.NewFromConfig(*s.Config(), func(o *awskms.Options) { o.Region = region }), nil
					}
					return stub{decrypt: func(_ context.Context, in *awskms.DecryptInput) (*awskms.DecryptOutput, error) { // within any time
						return &awskms.DecryptOutput{KeyId: in.KeyId, Plaintext: bytes.Clone(m.DataKey)}, nil
					}}, nil
				}}
				switch {
				case option == "HedgeAfter" && name == "time-out":
					opts.HedgeAfter = timeout
				case option == "HedgeAfter":
					opts.HedgeAfter = 50 * time.Second // what fails at once waits for no timer
				case name == "time-out":
					opts.Timeout = timeout
				}
				test.fail(s, keys[0])
				for _, p := range []keyprovider.MasterKeyProvider{strict(t, &opts, keys...), discovery(t, nil, &opts)} {
					s.ResetCalls()
					requireOpens(t, p, m, 1)
					if name != "time-out" { // which the call may not live to reach
						require.Len(t, s.Calls(), test.attempts)
					}
					s.ResetCalls()
					requireOpens(t, p, m, 1)
					if test.outage {
						require.Empty(t, s.Calls())
					} else {
						require.Len(t, s.Calls(), test.attempts)
					}
				}
				// If no other is left, the Region is asked all the same.
				opts.Timeout, opts.HedgeAfter = timeout, 0
				if name != "time-out" {
					opts.Timeout = 0
				}
				one := *m
				one.EncryptedDataKeys = m.EncryptedDataKeys[:1]
				p := strict(t, &opts, keys[0])
				for range 2 {
					require.True(t, test.is(refusal(t, p, &one)))
				}
			})
		}
	}
}

func isA[E any](err error) bool {
	var target E
	return errors.As(err, &target)
}

func hasCode(code string) func(error) bool {
	return func(err error) bool {
		var api smithy.APIError
		return errors.As(err, &api) && api.ErrorCode() == code
	}
}

// Nothing listens there any more.
func TestARegionWithoutAServerIsAnOutage(t *testing.T) {
	t.Parallel()
	s, gone := newServer(t), newServer(t)
	keys := []string{s.CreateKey(near), s.CreateKey(middle)}
	m := encrypt(t, strict(t, &kms.Options{Config: s.Config()}, keys...))
	gone.Close()
	p := strict(t, &kms.Options{ClientFor: func(_ context.Context, region string) (kms.API, error) {
		config := s.Config()
		if region == near {
			config = gone.Config()
		}
		return awskms.NewFromConfig(*config, func(o *awskms.Options) { o.Region = region }), nil
	}}, keys...)
	requireOpens(t, p, m, 1)
	require.Len(t, s.Calls(), 2+1)
	one := *m
	one.EncryptedDataKeys = m.EncryptedDataKeys[:1]
	require.ErrorIs(t, refusal(t, p, &one), syscall.ECONNREFUSED)
}

var errServer = &types.KMSInternalException{}

// While the Region is down, messages ask the others, in their order. After the
// cooldown one message tries it, however many there are, and if it fails, the next
// cooldown begins.
func TestOneMessageACooldownTriesTheRegion(t *testing.T) {
	for name, test := range map[string]struct {
		opts kms.Options
		down func(context.Context) error
		cost time.Duration // to the message that tries
	}{
		"time-out":   {kms.Options{Timeout: time.Second}, hangs, time.Second},
		"HedgeAfter": {kms.Options{HedgeAfter: time.Second}, hangs, time.Second},
		"5xx":        {kms.Options{}, after(time.Second, errServer), time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCloud()
				p, m := threeKeys(t, c, test.opts)
				requireOpensIn(t, c, p, m, near)
				c.set(near, test.down)
				for range 3 {
					got, took, err := c.open(t, t.Context(), p, m)
					require.NoError(t, err)
					require.Equal(t, middle, got)
					require.Equal(t, test.cost+latency, took.Truncate(10*time.Microsecond))
					for range 5 {
						requireOpensIn(t, c, p, m, middle)
					}
					time.Sleep(cooldown - 6*latency - time.Millisecond)
					requireOpensIn(t, c, p, m, middle)

					time.Sleep(latency)
					c.calls()
					var wg sync.WaitGroup
					for range 64 {
						wg.Go(func() { // one of them tries the Region
							_, _, err := c.open(t, t.Context(), p, m)
							require.NoError(t, err)
						})
					}
					wg.Wait()
					require.Equal(t, 1, strings.Count(fmt.Sprint(c.calls()), near))
					requireOpensIn(t, c, p, m, middle)
					time.Sleep(cooldown)
				}
				c.set(near, nil)
				requireOpensIn(t, c, p, m, near)
				for range 5 {
					requireOpensIn(t, c, p, m, near)
				}
				require.Zero(t, c.active)
			})
		})
	}
}

// The messages that were under way when the Region went down wait for their own calls:
// none asks it again.
func TestMessagesAtTheBeginningOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		c.set(near, hangs)
		p, m := threeKeys(t, c, kms.Options{Timeout: time.Second})
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				for range 10 {
					_, _, err := c.open(t, t.Context(), p, m)
					require.NoError(t, err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 64, strings.Count(fmt.Sprint(c.calls()), near))
	})
}

// If the message that tries the Region learns nothing of it, the next one does.
func TestAMessageThatGivesUpTriesNoRegion(t *testing.T) {
	for name, bug := range map[string]func(context.CancelFunc){
		"canceled": func(cancel context.CancelFunc) { cancel() },
		"panic":    func(context.CancelFunc) { panic("a bug of the client's") },
		"Goexit":   func(context.CancelFunc) { runtime.Goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCloud()
				p, m := threeKeys(t, c, kms.Options{})
				c.set(near, after(0, errServer))
				_, _, err := c.open(t, t.Context(), p, m)
				require.NoError(t, err)
				time.Sleep(cooldown)

				ctx, cancel := context.WithCancel(t.Context())
				c.set(near, func(ctx context.Context) error {
					bug(cancel)
					return ctx.Err()
				})
				done := make(chan bool)
				go func() {
					defer close(done)
					defer func() { _ = recover() }()
					_, _ = p.DecryptDataKey(ctx, request(m), m.EncryptedDataKeys)
				}()
				<-done
				c.set(near, nil)
				requireOpensIn(t, c, p, m, near)
			})
		})
	}
}

// What the caller's ctx says of a Region: that it ended after a second without an
// answer, or after HedgeAfter, says that the Region is down.
func TestADeadlineDuringAnOutage(t *testing.T) {
	for name, test := range map[string]struct {
		opts  kms.Options
		end   func(context.Context) (context.Context, context.CancelFunc)
		want  string
		alone bool // with another message, which the Region answers
	}{
		"a deadline":           {kms.Options{}, within(2 * time.Second), middle, true},
		"a short deadline":     {kms.Options{}, within(900 * time.Millisecond), near, true},
		"with HedgeAfter":      {kms.Options{HedgeAfter: 300 * time.Millisecond, Near: []string{near}}, within(400 * time.Millisecond), middle, true},
		"others are answered":  {kms.Options{}, within(2 * time.Second), near, false},
		"the caller went away": {kms.Options{}, canceled(2 * time.Second), near, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCloud()
				for _, region := range []string{near, middle, far} {
					c.set(region, hangs)
				}
				p, m := threeKeys(t, c, test.opts)
				ctx, cancel := test.end(t.Context())
				defer cancel()
				var wg sync.WaitGroup
				wg.Go(func() {
					_, _, err := c.open(t, ctx, p, m)
					require.ErrorIs(t, err, ctx.Err())
				})
				if !test.alone {
					synctest.Wait()
					c.set(near, nil)
					_, _, err := c.open(t, t.Context(), p, m)
					require.NoError(t, err)
				}
				wg.Wait()
				for _, region := range []string{near, middle, far} {
					c.set(region, nil)
				}
				requireOpensIn(t, c, p, m, test.want)
			})
		})
	}
}

func within(d time.Duration) func(context.Context) (context.Context, context.CancelFunc) {
	return func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, d) }
}

func canceled(d time.Duration) func(context.Context) (context.Context, context.CancelFunc) {
	return func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(d, cancel)
		return ctx, cancel
	}
}

// One call that is slow is no outage if the Region answers others meanwhile; nor is the
// call that was begun beside it and lost.
func TestACallThatLostIsNoOutageOfARegionThatAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		p, m := threeKeys(t, c, kms.Options{HedgeAfter: time.Second})
		c.set(near, hangs)
		c.set(middle, after(time.Minute, nil))
		slow := make(chan error)
		go func() {
			_, _, err := c.open(t, t.Context(), p, m)
			slow <- err
		}()
		time.Sleep(time.Second + time.Millisecond)
		require.Equal(t, []string{near, middle}, c.calls())
		c.set(near, nil)
		requireOpensIn(t, c, p, m, near)
		require.NoError(t, <-slow)
		requireOpensIn(t, c, p, m, near)
		time.Sleep(cooldown)

		c.set(middle, nil)
		c.set(near, after(time.Second+latency/2, nil))
		got, _, err := c.open(t, t.Context(), p, m)
		require.NoError(t, err)
		require.Equal(t, near, got)
		c.set(near, after(0, errServer))
		_, _, err = c.open(t, t.Context(), p, m)
		require.NoError(t, err)
		requireOpensIn(t, c, p, m, middle)
	})
}

// A program that has just started has no connections, and each Region is slow.
func TestACallThatLostIsNoOutageIfAllAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for took, want := range map[time.Duration]string{time.Second - time.Microsecond: middle, time.Second + time.Microsecond: near} {
			c := newCloud()
			p, m := threeKeys(t, c, kms.Options{HedgeAfter: time.Second})
			c.set(near, hangs)
			c.set(middle, after(took, nil))
			c.set(far, hangs)
			_, _, err := c.open(t, t.Context(), p, m)
			require.NoError(t, err)
			c.set(near, nil)
			c.set(middle, nil)
			requireOpensIn(t, c, p, m, want)
		}
	})
}

// If all have failed, they are asked in their order, and the first that answers is up.
func TestRegionsThatFailedAreAskedIfNoOtherIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		p, m := threeKeys(t, c, kms.Options{})
		for _, region := range []string{near, middle, far} {
			c.set(region, after(0, errServer))
		}
		for range 2 {
			refusal(t, p, m)
			require.Equal(t, []string{near, middle, far}, c.calls())
		}
		c.set(far, nil)
		_, _, err := c.open(t, t.Context(), p, m)
		require.NoError(t, err)
		require.Equal(t, []string{near, middle, far}, c.calls())
		requireOpensIn(t, c, p, m, far)
	})
}

// An error of ClientFor is one of the Region if it is one of the network.
func TestErrorsOfClientForThatAreAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		for err, outage := range map[error]bool{
			errors.New("no role in this Region"):           false,
			&net.DNSError{Err: "no such host", Name: near}: true,
		} {
			asked := 0
			p := strict(t, &kms.Options{ClientFor: func(ctx context.Context, region string) (kms.API, error) {
				if region == near {
					asked++
					return nil, err
				}
				return c.clientFor(ctx, region)
			}}, keyIn(near), keyIn(middle))
			for range 2 {
				_, _, err := c.open(t, t.Context(), p, entries(entryOf(keyIn(near)), entryOf(keyIn(middle))))
				require.NoError(t, err)
			}
			require.Equal(t, outage, asked == 1, err)
		}
	})
}

// Messages name Regions that are not there, as many as they like. What is known of
// Regions that answered stays.
func TestRegionsThatMessagesInventPushNoneOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		p := discovery(t, nil, &kms.Options{ClientFor: c.clientFor})
		m := entries(entryOf(keyIn(near)), entryOf(keyIn(middle)))
		requireOpensIn(t, c, p, m, near)
		c.set(near, after(0, errServer))
		_, _, err := c.open(t, t.Context(), p, m)
		require.NoError(t, err)
		for i := range 1000 {
			region := fmt.Sprintf("xx-nowhere-%d", i)
			c.set(region, after(0, &net.DNSError{Err: "no such host"}))
			refusal(t, p, entries(entryOf(keyIn(region))))
		}
		requireOpensIn(t, c, p, m, middle)
	})
}

// A hostile message has 65,535 entries in Regions that failed. Only the next 100 are
// looked through for one in another Region, or that would take longer than the calls.
func TestTheNextHundredEntriesAreLookedThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		c.set(near, after(0, errServer))
		p, m := threeKeys(t, c, kms.Options{})
		_, _, err := c.open(t, t.Context(), p, m)
		require.NoError(t, err)
		for before, want := range map[int][]string{99: {middle}, 101: {near, near, middle}} {
			c.calls()
			m := entries()
			for range before {
				m.EncryptedDataKeys = append(m.EncryptedDataKeys, entryOf(keyIn(near)))
			}
			m.EncryptedDataKeys = append(m.EncryptedDataKeys, entryOf(keyIn(middle)))
			_, _, err := c.open(t, t.Context(), p, m)
			require.NoError(t, err)
			require.Equal(t, want, c.calls())
		}
	})
}
