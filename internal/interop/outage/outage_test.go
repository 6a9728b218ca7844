// Package outage stops one of two KMS servers while messages flow; ../outage.sh runs it.
package outage

import (
	"context"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
)

// regions are those of the two servers. The first one is stopped.
var regions = []string{"us-east-1", "eu-west-1"}

// Two moto servers in processes of their own, each a Region. One is stopped by SIGSTOP:
// it still accepts connections, as a host that hangs does, and calls that were under way
// get no answer. No message may fail, in either direction. Once it goes on, it is used
// again.
func TestAServerThatIsStoppedIsNotMissed(t *testing.T) {
	pid, err := strconv.Atoi(os.Getenv("OUTAGE_PID"))
	if err != nil {
		t.Skip("OUTAGE_PID, OUTAGE_ENDPOINT and AWS_ENDPOINT_URL_KMS name no two servers: see outage.sh")
	}
	endpoints := []string{os.Getenv("OUTAGE_ENDPOINT"), os.Getenv("AWS_ENDPOINT_URL_KMS")}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cfg, err := config.LoadDefaultConfig(ctx)
	require.NoError(t, err)
	clientFor := func(_ context.Context, region string) (kms.API, error) {
		return clientOf(cfg, region, endpoints), nil
	}
	var keys []string
	for _, region := range regions {
		out, err := clientOf(cfg, region, endpoints).CreateKey(ctx, &awskms.CreateKeyInput{})
		require.NoError(t, err)
		keys = append(keys, *out.KeyMetadata.Arn)
	}
	for name, opts := range map[string]kms.Options{
		"HedgeAfter": {ClientFor: clientFor, HedgeAfter: time.Second},
		"Timeout":    {ClientFor: clientFor, Timeout: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			reader, err := kms.New(ctx, keys, &opts)
			require.NoError(t, err)
			writer, err := keyprovider.Quorum(reader, keyprovider.QuorumOptions{Min: 1, Wait: time.Second})
			require.NoError(t, err)

			f := &flow{ctx: ctx, writer: writer, reader: reader}
			f.start(8)
			defer f.end()
			f.until(t, "both keys, read in the first Region", func(written, read *format.Header) bool {
				return len(written.EncryptedDataKeys) == 2 && string(read.OpenedBy.ProviderInfo) == keys[0]
			})
			require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
			defer syscall.Kill(pid, syscall.SIGCONT)
			for range 100 { // as many messages go on without it
				f.until(t, "the second key alone, read in its Region", func(written, read *format.Header) bool {
					return len(written.EncryptedDataKeys) == 1 && string(read.OpenedBy.ProviderInfo) == keys[1]
				})
			}
			f.until(t, "old messages, read in the second Region", func(_, old *format.Header) bool {
				return len(old.EncryptedDataKeys) == 2 && string(old.OpenedBy.ProviderInfo) == keys[1]
			})
			require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
			f.until(t, "both keys again, after the cooldown", func(written, read *format.Header) bool {
				return len(written.EncryptedDataKeys) == 2 && string(read.OpenedBy.ProviderInfo) == keys[0]
			})
			f.end()
			t.Logf("%d messages were written and read", f.messages.Load())
		})
	}
}

func clientOf(cfg aws.Config, region string, endpoints []string) *awskms.Client {
	return awskms.NewFromConfig(cfg, func(o *awskms.Options) {
		o.Region, o.BaseEndpoint = region, &endpoints[0]
		if region == regions[1] {
			o.BaseEndpoint = &endpoints[1]
		}
	})
}

// A flow is goroutines that write messages and read them, and the first message again.
type flow struct {
	ctx            context.Context
	writer, reader keyprovider.MasterKeyProvider
	messages       atomic.Int64
	stop           context.CancelFunc
	wg             sync.WaitGroup
	seen           chan [2]*format.Header
	failed         chan error
}

func (f *flow) start(goroutines int) {
	ctx, stop := context.WithCancel(f.ctx)
	f.stop, f.seen, f.failed = stop, make(chan [2]*format.Header), make(chan error, goroutines)
	for range goroutines {
		f.wg.Go(func() {
			var first []byte
			for ctx.Err() == nil {
				message, written, err := esdk.Encrypt(f.ctx, []byte("a record"), f.writer, nil)
				if first == nil {
					first = message
				}
				for _, m := range [][]byte{message, first} {
					var read *format.Header
					if err == nil {
						_, read, err = esdk.Decrypt(f.ctx, m, f.reader, nil)
					}
					if err != nil {
						f.failed <- err
						return
					}
					select {
					case f.seen <- [2]*format.Header{written, read}:
					case <-ctx.Done():
					}
				}
				f.messages.Add(1)
			}
		})
	}
}

// end ends the goroutines.
func (f *flow) end() {
	f.stop()
	f.wg.Wait()
}

// until waits for a message that is as wanted. All others must have gone well.
func (f *flow) until(t *testing.T, what string, wanted func(written, read *format.Header) bool) {
	t.Helper()
	for {
		select {
		case seen := <-f.seen:
			if wanted(seen[0], seen[1]) {
				return
			}
		case err := <-f.failed:
			require.NoError(t, err)
		case <-f.ctx.Done():
			require.FailNow(t, "no such message: "+what)
		}
	}
}
