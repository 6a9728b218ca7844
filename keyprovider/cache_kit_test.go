package keyprovider_test

import (
	"context"
	"crypto/fips140"
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

var bg = context.Background()

// bubble runs f with a clock of its own. In FIPS 140 mode crypto/rand gathers
// entropy from the clock and fails if it stands still.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if fips140.Enabled() {
		t.Skip("crypto/rand in FIPS 140 mode does not work with the clock of testing/synctest")
	}
	synctest.Test(t, f)
}

// A service is a provider that is far away: its calls are counted, take time
// and can fail.
type service struct {
	*keyprovider.RawAES
	latency              time.Duration
	mu                   sync.Mutex
	fault                error
	generated, decrypted atomic.Int64
}

func newService(t testing.TB, latency time.Duration) *service {
	return &service{RawAES: newAES(t, "service", 32), latency: latency}
}

func (s *service) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return []keyprovider.MasterKey{s}, nil
}

func (s *service) GenerateDataKey(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	s.generated.Add(1)
	if err := s.call(ctx); err != nil {
		return nil, err
	}
	return s.RawAES.GenerateDataKey(ctx, req)
}

func (s *service) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	s.decrypted.Add(1)
	if err := s.call(ctx); err != nil {
		return nil, err
	}
	return s.RawAES.DecryptDataKey(ctx, req, keys)
}

func (s *service) call(ctx context.Context) error {
	if s.latency > 0 {
		timer := time.NewTimer(s.latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// failWith makes all further calls fail, or nil none.
func (s *service) failWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
}

func newCache(t testing.TB, p keyprovider.MasterKeyProvider, opts keyprovider.CacheOptions) *keyprovider.Cache {
	t.Helper()
	if opts.MaxAge == 0 {
		opts.MaxAge = time.Hour
	}
	c, err := keyprovider.NewCache(p, opts)
	require.NoError(t, err)
	return c
}

// A key of the header tells which data key was used.
func dataKeyOf(h *format.Header) string { return string(h.EncryptedDataKeys[0].Ciphertext) }

// mustEncrypt returns a message of n bytes, and what identifies its data key.
func mustEncrypt(t testing.TB, p keyprovider.MasterKeyProvider, n int, opts *esdk.EncryptOptions) (message []byte, dataKey string) {
	t.Helper()
	message, h, err := clientOf(opts).Encrypt(bg, make([]byte, n), p, opts)
	require.NoError(t, err)
	return message, dataKeyOf(h)
}

// clientOf returns a client that may write and read the suite of opts.
func clientOf(opts *esdk.EncryptOptions) *esdk.Client {
	if opts != nil && opts.Suite != 0 && !opts.Suite.Committing() {
		return &esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt}
	}
	return &esdk.Client{}
}

func context1(value string) map[string]string { return map[string]string{"tenant": value} }
