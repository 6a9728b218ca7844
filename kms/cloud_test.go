package kms_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
)

// A cloud is Regions whose answers a test sets: errors, or none after a
// time. Tests use it within synctest, where times are exact.
type cloud struct {
	mu      sync.Mutex
	regions map[string]func(context.Context) error // absent: it answers after latency
	asked   []string                               // Regions, in the order of the calls
	active  int                                    // calls that have not ended
}

// latency is that of a Region which is well.
const latency = 5 * time.Millisecond

// after returns the error after the time, or when ctx is done, which takes a while
// to be noticed.
func after(d time.Duration, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return err
		case <-ctx.Done():
			time.Sleep(time.Microsecond)
			return fmt.Errorf("canceled: %w", ctx.Err())
		}
	}
}

// hangs answers to nothing.
var hangs = after(time.Hour, errors.New("nobody waits for an hour"))

func newCloud() *cloud { return &cloud{regions: make(map[string]func(context.Context) error)} }

func (c *cloud) set(region string, f func(context.Context) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.regions[region] = f
}

// calls returns the Regions asked since it was last called.
func (c *cloud) calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.asked
	c.asked = nil
	return asked
}

func (c *cloud) clientFor(_ context.Context, region string) (kms.API, error) {
	return cloudClient{c, region}, nil
}

// A cloudClient is that of a Region. Only calls of Decrypt are recorded.
type cloudClient struct {
	*cloud
	region string
}

var cloudKey = bytes.Repeat([]byte{1}, 32)

func (c cloudClient) Decrypt(ctx context.Context, in *awskms.DecryptInput, _ ...func(*awskms.Options)) (*awskms.DecryptOutput, error) {
	c.mu.Lock()
	c.asked = append(c.asked, c.region)
	c.mu.Unlock()
	if err := c.answer(ctx); err != nil {
		return nil, err
	}
	return &awskms.DecryptOutput{KeyId: in.KeyId, Plaintext: bytes.Clone(cloudKey)}, nil
}

func (c cloudClient) Encrypt(ctx context.Context, in *awskms.EncryptInput, _ ...func(*awskms.Options)) (*awskms.EncryptOutput, error) {
	if err := c.answer(ctx); err != nil {
		return nil, err
	}
	return &awskms.EncryptOutput{KeyId: in.KeyId, CiphertextBlob: []byte("blob")}, nil
}

func (c cloudClient) GenerateDataKey(ctx context.Context, in *awskms.GenerateDataKeyInput, _ ...func(*awskms.Options)) (*awskms.GenerateDataKeyOutput, error) {
	if err := c.answer(ctx); err != nil {
		return nil, err
	}
	return &awskms.GenerateDataKeyOutput{KeyId: in.KeyId, CiphertextBlob: []byte("blob"), Plaintext: bytes.Clone(cloudKey)}, nil
}

// answer returns what the Region answers to a call.
func (c cloudClient) answer(ctx context.Context) error {
	c.mu.Lock()
	c.active++
	answer := c.regions[c.region]
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.active--
	}()
	if answer == nil {
		answer = after(latency, nil)
	}
	return answer(ctx)
}

// Three Regions of one message.
const (
	near   = "us-east-1"
	middle = "eu-west-1"
	far    = "ap-southeast-2"
)

// keyIn returns the ARN of a key in the Region.
func keyIn(region string) string { return strings.Replace(key1, "us-east-1", region, 1) }

// threeKeys is a message's encrypted data keys in three Regions, and a strict provider of
// these.
func threeKeys(t *testing.T, c *cloud, opts kms.Options) (*kms.Provider, *keyprovider.EncryptionMaterials) {
	opts.ClientFor = c.clientFor
	return strict(t, &opts, keyIn(near), keyIn(middle), keyIn(far)), entries(entryOf(keyIn(near)), entryOf(keyIn(middle)), entryOf(keyIn(far)))
}

// open decrypts, and returns the Region of the entry that opened, the time it took, and
// the error. No call may be left.
func (c *cloud) open(t *testing.T, ctx context.Context, p keyprovider.MasterKeyProvider, m *keyprovider.EncryptionMaterials) (region string, took time.Duration, err error) {
	t.Helper()
	began := time.Now()
	key, err := p.DecryptDataKey(ctx, request(m), m.EncryptedDataKeys)
	took = time.Since(began)
	if err != nil {
		require.Nil(t, key)
		return "", took, err
	}
	require.Equal(t, cloudKey, key.Plaintext)
	return regionOf(string(key.Encrypted.ProviderInfo)), took, nil
}

// requireOpensIn checks that a message costs one call, in the Region.
func requireOpensIn(t *testing.T, c *cloud, p keyprovider.MasterKeyProvider, m *keyprovider.EncryptionMaterials, region string) {
	t.Helper()
	c.calls()
	got, _, err := c.open(t, t.Context(), p, m)
	require.NoError(t, err)
	require.Equal(t, region, got)
	require.Equal(t, []string{region}, c.calls())
}
