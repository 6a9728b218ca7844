package kmstest_test

import (
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms/kmstest"
)

// The faults of one Region, as the AWS SDK's client sees them. The other Region
// goes on, and Restore ends each.
func TestFaultsOfOneRegion(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	here, there := s.CreateKey("us-east-1"), s.CreateKey("eu-west-1")
	for name, test := range map[string]struct {
		fail func()
		is   func(error) bool
		want string // the record of each of the client's three attempts
	}{
		"refused": {func() { s.Refuse("us-east-1") }, func(err error) bool {
			var network net.Error
			return errors.As(err, &network) && !network.Timeout()
		}, "Refused"},
		"5xx": {func() {
			s.Fail("us-east-1", kmstest.Reply{Error: "KMSInternalException", Status: http.StatusInternalServerError})
		}, func(err error) bool {
			var internal *types.KMSInternalException
			var status interface{ HTTPStatusCode() int }
			return errors.As(err, &internal) && errors.As(err, &status) && status.HTTPStatusCode() == 500
		}, "KMSInternalException"},
		"throttled": {func() { s.Fail("us-east-1", kmstest.Reply{Error: "ThrottlingException"}) }, func(err error) bool {
			var api smithy.APIError
			return errors.As(err, &api) && api.ErrorCode() == "ThrottlingException"
		}, "ThrottlingException"},
	} {
		test.fail()
		s.ResetCalls()
		_, err := client(s, "us-east-1").Encrypt(t.Context(), &awskms.EncryptInput{KeyId: &here, Plaintext: []byte{1}})
		require.True(t, test.is(err), "%s: %v", name, err)
		require.Len(t, s.Calls(), 3, name)
		for _, call := range s.Calls() {
			require.Equal(t, test.want, call.Error)
		}
		encrypt(t, client(s, "eu-west-1"), there, nil)
		s.Restore("us-east-1")
		encrypt(t, client(s, "us-east-1"), here, nil)
	}
}

func TestASlowRegionDelaysEachAnswer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	here, there := s.CreateKey("us-east-1"), s.CreateKey("eu-west-1")
	asked := 0
	s.Slow("us-east-1", func() time.Duration {
		asked++
		return time.Duration(asked) * 20 * time.Millisecond
	})
	c := client(s, "us-east-1")
	for n := range 3 {
		start := time.Now()
		encrypt(t, c, here, nil)
		require.GreaterOrEqual(t, time.Since(start), time.Duration(n+1)*20*time.Millisecond)
	}
	encrypt(t, client(s, "eu-west-1"), there, nil)
	s.Restore("us-east-1")
	encrypt(t, c, here, nil)
	require.Equal(t, 3, asked)
}
