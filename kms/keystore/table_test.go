package keystore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms/keystore"
)

func TestTheTableIsCreatedOnce(t *testing.T) {
	t.Parallel()
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		s := store(t, e.options())
		first, err := s.CreateTable(t.Context())
		require.NoError(t, err)
		require.Regexp(t, `^arn:aws[^:]*:dynamodb:[^:]+:[0-9]+:table/`+e.table+"$", first)
		id := createKey(t, s, nil)
		again, err := s.CreateTable(t.Context())
		require.NoError(t, err)
		require.Equal(t, first, again)
		require.Len(t, e.items(t, id), 3)

		out, err := e.api.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &e.table})
		require.NoError(t, err)
		require.ElementsMatch(t, out.Table.KeySchema, []types.KeySchemaElement{
			{AttributeName: aws.String("branch-key-id"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("type"), KeyType: types.KeyTypeRange},
		})
		require.ElementsMatch(t, out.Table.AttributeDefinitions, []types.AttributeDefinition{
			{AttributeName: aws.String("branch-key-id"), AttributeType: types.ScalarAttributeTypeS}, {AttributeName: aws.String("type"), AttributeType: types.ScalarAttributeTypeS},
		})
	})
}

func TestTablesWithOtherKeysAreRefused(t *testing.T) {
	t.Parallel()
	hash, sort := types.KeyTypeHash, types.KeyTypeRange
	str, num := types.ScalarAttributeTypeS, types.ScalarAttributeTypeN
	type key struct {
		name string
		role types.KeyType
		typ  types.ScalarAttributeType
	}
	onEveryTable(t, func(t *testing.T, e *endpoint) {
		table := e.table
		for suffix, test := range map[string]struct {
			keys []key
			fits bool
		}{
			"fits":      {[]key{{"branch-key-id", hash, str}, {"type", sort, str}}, true},
			"no-sort":   {[]key{{"branch-key-id", hash, str}}, false},
			"swapped":   {[]key{{"type", hash, str}, {"branch-key-id", sort, str}}, false},
			"name":      {[]key{{"branch-key-ID", hash, str}, {"type", sort, str}}, false},
			"sort-name": {[]key{{"branch-key-id", hash, str}, {"types", sort, str}}, false},
			"number":    {[]key{{"branch-key-id", hash, num}, {"type", sort, str}}, false},
			"sort-num":  {[]key{{"branch-key-id", hash, str}, {"type", sort, num}}, false},
		} {
			e.table = table + "." + suffix
			in := &dynamodb.CreateTableInput{TableName: &e.table, BillingMode: types.BillingModePayPerRequest}
			for _, k := range test.keys {
				in.KeySchema = append(in.KeySchema, types.KeySchemaElement{AttributeName: &k.name, KeyType: k.role})
				in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: &k.name, AttributeType: k.typ})
			}
			if test.fits { // with an index beside
				in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: aws.String("owner"), AttributeType: str})
				in.GlobalSecondaryIndexes = []types.GlobalSecondaryIndex{{
					IndexName: aws.String("by-owner"), Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
					KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("owner"), KeyType: hash}},
				}}
			}
			created, err := e.api.CreateTable(t.Context(), in)
			require.NoError(t, err)
			arn, err := store(t, e.options()).CreateTable(t.Context())
			if test.fits {
				require.NoError(t, err)
				require.Equal(t, *created.TableDescription.TableArn, arn)
				continue
			}
			require.Empty(t, arn)
			require.ErrorIs(t, err, keystore.ErrTable, suffix)
			require.ErrorContains(t, err, "branch key table "+e.table+": CreateTable: the table has another key schema")
		}
	})
}

func TestCreateTableAsksForTheTableFirst(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := store(t, e.options())
	broken := errors.New("broken")
	e.fake.before = func(input any) error {
		if _, ok := input.(*dynamodb.DescribeTableInput); ok {
			return broken
		}
		return nil
	}
	_, err := s.CreateTable(t.Context())
	require.ErrorIs(t, err, broken)
	require.Len(t, e.fake.calls, 1, "only a table that is not there is created")

	e.fake.before = func(input any) error {
		if _, ok := input.(*dynamodb.CreateTableInput); ok {
			return &types.LimitExceededException{}
		}
		return nil
	}
	_, err = s.CreateTable(t.Context())
	var limit *types.LimitExceededException
	require.ErrorAs(t, err, &limit)
	e.fake.before = nil

	e.fake.calls = nil
	_, err = s.CreateTable(t.Context())
	require.NoError(t, err)
	require.Equal(t, &dynamodb.DescribeTableInput{TableName: &e.table}, e.fake.calls[0])
	require.Equal(t, &dynamodb.CreateTableInput{
		TableName: &e.table, BillingMode: types.BillingModePayPerRequest,
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("branch-key-id"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("type"), KeyType: types.KeyTypeRange},
		},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("branch-key-id"), AttributeType: types.ScalarAttributeTypeS}, {AttributeName: aws.String("type"), AttributeType: types.ScalarAttributeTypeS},
		},
	}, e.fake.calls[1])
}

func TestCreateTableSaysWhatTablesCannotBeUsed(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	s := e.created(t)
	for status, usable := range map[types.TableStatus]bool{
		types.TableStatusActive: true, types.TableStatusUpdating: true,
		types.TableStatusDeleting: false, types.TableStatusArchived: false, types.TableStatusInaccessibleEncryptionCredentials: false, "": false,
	} {
		e.fake.tables[e.table].TableStatus = status
		arn, err := s.CreateTable(t.Context())
		if usable {
			require.NoError(t, err)
			continue
		}
		require.Empty(t, arn)
		require.ErrorContains(t, err, fmt.Sprintf("CreateTable: the table is %q", status))
	}
}

func TestCreateTableWaitsUntilTheTableCanBeUsed(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	synctest.Test(t, func(t *testing.T) {
		opts := e.options()
		s := store(t, opts)
		e.fake.describe = 3
		began := time.Now()
		_, err := s.CreateTable(t.Context())
		require.NoError(t, err)
		require.Zero(t, e.fake.describe)
		require.Less(t, time.Since(began), time.Minute)

		opts.Table += "2"
		e.fake.describe = 1 << 30
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = store(t, opts).CreateTable(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// A table that was created may be unknown at first; other errors end the wait.
func TestCreateTableWaitsForATableThatIsUnknownYet(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, test := range []struct {
		answers []error // of DescribeTable
		want    error
	}{
		{[]error{nil, &types.ResourceNotFoundException{}, &types.ResourceNotFoundException{}}, nil},
		{[]error{nil, broken}, broken},
	} {
		e := newEndpoint(t)
		synctest.Test(t, func(t *testing.T) {
			e.fake.describe = 1
			asked := 0
			e.fake.before = func(input any) error {
				if _, ok := input.(*dynamodb.DescribeTableInput); !ok {
					return nil
				}
				if asked++; asked <= len(test.answers) {
					return test.answers[asked-1]
				}
				return nil
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			arn, err := store(t, e.options()).CreateTable(ctx)
			require.ErrorIs(t, err, test.want)
			require.Equal(t, test.want == nil, arn != "")
		})
	}
}
