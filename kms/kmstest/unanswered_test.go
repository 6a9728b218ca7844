package kmstest_test

import (
	"context"
	"runtime"
	"testing"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms/kmstest"
)

// waiting makes a call that gets no answer and returns when the server has it.
func waiting(ctx context.Context, s *kmstest.Server, key string) (arrived chan struct{}, done chan error) {
	arrived, done = make(chan struct{}, 1), make(chan error, 1)
	s.Intercept(func(ctx context.Context, _ kmstest.Call) *kmstest.Reply {
		arrived <- struct{}{}
		<-ctx.Done()
		return &kmstest.Reply{Error: "TooLate"}
	})
	go func() {
		_, err := client(s, "us-east-1").Encrypt(ctx, &awskms.EncryptInput{KeyId: &key, Plaintext: []byte{1}})
		done <- err
	}()
	return arrived, done
}

func TestInterceptGetsTheContextOfTheRequest(t *testing.T) {
	s := newServer(t)
	key := s.CreateKey("us-east-1")
	ctx, cancel := context.WithCancel(t.Context())
	arrived, done := waiting(ctx, s, key)
	<-arrived
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	s.Intercept(nil)
	encrypt(t, client(s, "us-east-1"), key, nil)
	require.Len(t, s.Calls(), 1, "who gave up got no answer")
}

// All of these hung in Close.
func TestCloseEndsWhatStillWaits(t *testing.T) {
	call := func(s *kmstest.Server, key string) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := client(s, "us-east-1").Encrypt(context.Background(), &awskms.EncryptInput{KeyId: &key, Plaintext: []byte{1}})
			done <- err
		}()
		return done
	}
	t.Run("in Intercept", func(t *testing.T) {
		s := newServer(t)
		arrived, done := waiting(context.Background(), s, s.CreateKey("us-east-1"))
		<-arrived
		s.Close()
		require.Error(t, <-done)
	})
	t.Run("in an Intercept that takes no notice of its context", func(t *testing.T) {
		s := newServer(t)
		arrived, end := make(chan struct{}, 1), make(chan struct{})
		defer close(end)
		s.Intercept(func(context.Context, kmstest.Call) *kmstest.Reply {
			arrived <- struct{}{}
			<-end
			return nil
		})
		done := call(s, s.CreateKey("us-east-1"))
		<-arrived
		s.Close()
		require.Error(t, <-done)
	})
	t.Run("in a Region that is cut off", func(t *testing.T) {
		s := newServer(t)
		s.CutOff("us-east-1")
		done := call(s, s.CreateKey("us-east-1"))
		for len(s.Calls()) == 0 { // until it has arrived
			runtime.Gosched()
		}
		s.Close()
		require.Error(t, <-done)
	})
}

func TestARegionThatIsCutOffDoesNotAnswer(t *testing.T) {
	s := newServer(t)
	here, there := s.CreateKey("us-east-1"), s.CreateKey("eu-west-1")
	s.CutOff("us-east-1")
	encrypt(t, client(s, "eu-west-1"), there, nil)
	s.ResetCalls()

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := client(s, "us-east-1").Encrypt(ctx, &awskms.EncryptInput{KeyId: &here, Plaintext: []byte{1}})
		done <- err
	}()
	for len(s.Calls()) == 0 {
		runtime.Gosched()
	}
	require.Equal(t, "CutOff", s.Calls()[0].Error)
	encrypt(t, client(s, "eu-west-1"), there, nil)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)

	s.Restore("us-east-1")
	encrypt(t, client(s, "us-east-1"), here, nil)
}

func TestAnInterceptThatDoesNotReturnLosesTheConnection(t *testing.T) {
	for name, f := range map[string]func(){"Goexit": runtime.Goexit, "panic": func() { panic("a bug of the test") }} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			key := s.CreateKey("us-east-1")
			s.Intercept(func(context.Context, kmstest.Call) *kmstest.Reply {
				f()
				return nil
			})
			_, err := client(s, "us-east-1").Encrypt(t.Context(), &awskms.EncryptInput{KeyId: &key, Plaintext: []byte{1}})
			require.Error(t, err)
			require.Empty(t, s.Calls())
			s.Intercept(nil)
			encrypt(t, client(s, "us-east-1"), key, nil)
		})
	}
}
