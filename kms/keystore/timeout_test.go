package keystore_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/keystore"
)

// A silent is a DynamoDB that does not answer the calls of this name.
type silent struct {
	keystore.DynamoDBAPI
	op string
}

// wait returns the error of ctx, once it has one, for the calls that are not
// answered.
func (s *silent) wait(ctx context.Context, op string) error {
	if op != s.op {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *silent) DescribeTable(ctx context.Context, in *dynamodb.DescribeTableInput, opts ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error) {
	if err := s.wait(ctx, "DescribeTable"); err != nil {
		return nil, err
	}
	return s.DynamoDBAPI.DescribeTable(ctx, in, opts...)
}

func (s *silent) CreateTable(ctx context.Context, in *dynamodb.CreateTableInput, opts ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error) {
	if err := s.wait(ctx, "CreateTable"); err != nil {
		return nil, err
	}
	return s.DynamoDBAPI.CreateTable(ctx, in, opts...)
}

func (s *silent) GetItem(ctx context.Context, in *dynamodb.GetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	if err := s.wait(ctx, "GetItem"); err != nil {
		return nil, err
	}
	return s.DynamoDBAPI.GetItem(ctx, in, opts...)
}

func (s *silent) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, opts ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	if err := s.wait(ctx, "TransactWriteItems"); err != nil {
		return nil, err
	}
	return s.DynamoDBAPI.TransactWriteItems(ctx, in, opts...)
}

// Calls of KMS and DynamoDB that are not answered end after Options.Timeout, or
// with the caller's context, and the error says which call and which of the two.
func TestCallsThatAreNotAnsweredEnd(t *testing.T) {
	const short = 30 * time.Millisecond
	e := newEndpoint(t)
	id := createKey(t, e.created(t), nil)
	e.kms.CutOff("us-east-1")
	type call func(ctx context.Context, s *keystore.Store) error
	active := func(ctx context.Context, s *keystore.Store) error { return second(s.ActiveBranchKey(ctx, id)) }
	for name, test := range map[string]struct {
		silent, table string
		call          call
		want          string // of the error, before what ended it
	}{
		"KMS Decrypt": {call: active, want: "KMS Decrypt with " + e.key},
		"KMS ReEncrypt": {
			call: func(ctx context.Context, s *keystore.Store) error { return s.RotateKey(ctx, id) },
			want: "KMS ReEncrypt with " + e.key,
		},
		"KMS GenerateDataKeyWithoutPlaintext": {
			call: func(ctx context.Context, s *keystore.Store) error { return second(s.CreateKey(ctx, "", nil)) },
			want: "KMS GenerateDataKeyWithoutPlaintext with " + e.key,
		},
		"DynamoDB GetItem": {silent: "GetItem", call: active, want: "DynamoDB GetItem"},
		"DynamoDB DescribeTable": {
			silent: "DescribeTable", want: "DynamoDB DescribeTable",
			call: func(ctx context.Context, s *keystore.Store) error { return second(s.CreateTable(ctx)) },
		},
		"DynamoDB CreateTable": {
			silent: "CreateTable", table: "another", want: "DynamoDB CreateTable",
			call: func(ctx context.Context, s *keystore.Store) error { return second(s.CreateTable(ctx)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts := e.options()
			opts.DynamoDB = &silent{e.api, test.silent}
			if test.table != "" {
				opts.Table = test.table
			}
			check := func(err error, want string) {
				t.Helper()
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorContains(t, err, want)
				var failure *keystore.Error
				require.ErrorAs(t, err, &failure)
				require.Equal(t, opts.Table, failure.Table)
				var ofKMS *kms.KeyError
				if test.silent == "" {
					require.ErrorAs(t, err, &ofKMS)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), short)
			defer cancel()
			check(test.call(ctx, store(t, opts)), test.want+": context deadline exceeded")

			opts.Timeout = short
			check(test.call(t.Context(), store(t, opts)), test.want+": timed out after 30ms: ")
		})
	}
}

// So do writes, after the calls of KMS for them.
func TestWritesThatAreNotAnsweredEnd(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	id := createKey(t, e.created(t), nil)
	opts := e.options()
	opts.DynamoDB, opts.Timeout = &silent{e.api, "TransactWriteItems"}, time.Second
	s := store(t, opts)
	for what, err := range map[string]error{"CreateKey of ": second(s.CreateKey(t.Context(), "", nil)), "RotateKey of \"" + id: s.RotateKey(t.Context(), id)} {
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, what)
		require.ErrorContains(t, err, "DynamoDB TransactWriteItems: timed out after 1s: ")
	}
}

func TestANegativeTimeoutIsNone(t *testing.T) {
	e := newEndpoint(t)
	id := createKey(t, e.created(t), nil)
	opts := e.options()
	opts.Timeout = -1
	opts.DynamoDB = &bounded{e.api, false, t}
	require.NoError(t, second(store(t, opts).ActiveBranchKey(t.Context(), id)))
	opts.Timeout = 0
	opts.DynamoDB = &bounded{e.api, true, t}
	require.NoError(t, second(store(t, opts).ActiveBranchKey(t.Context(), id)))
}

// A bounded is a DynamoDB that looks whether its calls have a deadline.
type bounded struct {
	keystore.DynamoDBAPI
	want bool
	t    *testing.T
}

func (b *bounded) GetItem(ctx context.Context, in *dynamodb.GetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	_, has := ctx.Deadline()
	require.Equal(b.t, b.want, has)
	return b.DynamoDBAPI.GetItem(ctx, in, opts...)
}
