package keystore_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/keystore"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

// An outage is what can be wrong with KMS or DynamoDB.
type outage struct {
	begin func(e *endpoint, dynamoDB *faulty)
	want  string // of the error
}

const ownRegion = "us-east-1"

var outages = map[string]outage{
	"KMS hangs":   {func(e *endpoint, _ *faulty) { e.kms.CutOff(ownRegion) }, "KMS Decrypt with "},
	"KMS refuses": {func(e *endpoint, _ *faulty) { e.kms.Refuse(ownRegion) }, "KMS Decrypt with "},
	"KMS fails": {func(e *endpoint, _ *faulty) {
		e.kms.Fail(ownRegion, kmstest.Reply{Error: "KMSInternalException", Status: 500})
	}, "KMS Decrypt with "},
	"KMS throttles":    {func(e *endpoint, _ *faulty) { e.kms.Fail(ownRegion, kmstest.Reply{Error: "ThrottlingException"}) }, "KMS Decrypt with "},
	"DynamoDB hangs":   {func(_ *endpoint, d *faulty) { d.hangs = true }, "DynamoDB GetItem: timed out after "},
	"DynamoDB refuses": {func(_ *endpoint, d *faulty) { d.err = errors.New("connection refused") }, "DynamoDB GetItem: connection refused"},
}

// A faulty is a DynamoDB whose GetItem is counted, and fails or hangs.
type faulty struct {
	keystore.DynamoDBAPI
	err   error
	hangs bool
	calls atomic.Int32
}

func (f *faulty) GetItem(ctx context.Context, in *dynamodb.GetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	f.calls.Add(1)
	switch {
	case f.err != nil:
		return nil, f.err
	case f.hangs:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return f.DynamoDBAPI.GetItem(ctx, in, opts...)
}

// In the grace period no message fails for an outage of KMS or DynamoDB, in either
// direction, and one message in each tenth of it makes a call. Afterwards messages fail
// with errors that name the operation and the key.
func TestInTheGracePeriodAnOutageFailsNoMessage(t *testing.T) {
	t.Parallel()
	for name, test := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEndpoint(t)
			id := createKey(t, e.created(t), nil)
			counted := &faulty{DynamoDBAPI: e.api}
			opts := e.options()
			opts.DynamoDB = counted
			s := &struct{ hierarchical.Store }{store(t, opts)}
			p, err := hierarchical.New(s, hierarchical.Options{BranchKeyID: id, MaxAge: time.Hour, GracePeriod: time.Hour - 1})
			require.NoError(t, err)
			defer p.Purge()
			unsigned := &esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey}
			encrypt := func() ([]byte, error) {
				message, _, err := esdk.Encrypt(t.Context(), []byte("hello"), p, unsigned)
				return message, err
			}
			message, err := encrypt()
			require.NoError(t, err)
			_, _, err = esdk.Decrypt(t.Context(), message, p, nil)
			require.NoError(t, err)

			test.begin(e, counted)
			counted.calls.Store(0)
			opts.Timeout = 100 * time.Millisecond // of calls that would not end
			s.Store = store(t, opts)
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					written, err := encrypt()
					require.NoError(t, err)
					plaintext, _, err := esdk.Decrypt(t.Context(), written, p, nil)
					require.NoError(t, err)
					require.Equal(t, "hello", string(plaintext))
				})
			}
			wg.Wait()
			require.EqualValues(t, 2, counted.calls.Load(), "one to encrypt, one to decrypt")
			require.EqualValues(t, 2, p.Stats().RefreshFailures)

			p.Purge()
			_, err = encrypt()
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, id)
			var failed *keystore.Error
			require.ErrorAs(t, err, &failed)
			require.Equal(t, "ActiveBranchKey", failed.Op)
			var undecrypted *keyprovider.DecryptError
			_, _, err = esdk.Decrypt(t.Context(), message, p, nil)
			require.ErrorAs(t, err, &undecrypted)
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, id)
		})
	}
}
