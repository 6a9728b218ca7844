package keystore_test

import (
	"crypto/rand"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms/keystore"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// An endpoint is a DynamoDB table and a KMS that stores are tested on.
type endpoint struct {
	api   keystore.DynamoDBAPI
	fake  *fake            // nil: a server
	real  *dynamodb.Client // nil: the fake
	table string
	kms   *kmstest.Server
	key   string // a KMS key in us-east-1
}

// onEveryTable runs f on the fake, and on the server that
// AWS_ENDPOINT_URL_DYNAMODB names if it does; there it leaves tables behind.
func onEveryTable(t *testing.T, f func(t *testing.T, e *endpoint)) {
	t.Run("fake", func(t *testing.T) { f(t, newEndpoint(t)) })
	t.Run("server", func(t *testing.T) {
		if os.Getenv("AWS_ENDPOINT_URL_DYNAMODB") == "" {
			t.Skip("AWS_ENDPOINT_URL_DYNAMODB names no server; internal/interop/dynamodb.sh starts two")
		}
		cfg, err := config.LoadDefaultConfig(t.Context())
		require.NoError(t, err)
		client := dynamodb.NewFromConfig(cfg)
		e := newEndpoint(t)
		e.api, e.real, e.fake = client, client, nil
		f(t, e)
	})
}

// newEndpoint returns one with the fake.
func newEndpoint(t testing.TB) *endpoint {
	s := kmstest.NewServer()
	t.Cleanup(s.Close)
	f := newFake()
	return &endpoint{api: f, fake: f, table: "BranchKeys-" + rand.Text(), kms: s, key: s.CreateKey("us-east-1")}
}

const logicalName = "the logical name"

// options are those of a store of the endpoint's key.
func (e *endpoint) options() keystore.Options {
	return keystore.Options{Table: e.table, LogicalName: logicalName, KeyARN: e.key, Config: e.kms.Config(), DynamoDB: e.api}
}

// store returns a store with these options.
func store(t testing.TB, opts keystore.Options) *keystore.Store {
	t.Helper()
	s, err := keystore.New(t.Context(), opts)
	require.NoError(t, err)
	return s
}

// created returns a store of the endpoint's key whose table is there.
func (e *endpoint) created(t testing.TB) *keystore.Store {
	t.Helper()
	s := store(t, e.options())
	_, err := s.CreateTable(t.Context())
	require.NoError(t, err)
	return s
}

// createKey returns the ID of a new branch key.
func createKey(t testing.TB, s *keystore.Store, ec map[string]string) string {
	t.Helper()
	id, err := s.CreateKey(t.Context(), "", ec)
	require.NoError(t, err)
	return id
}

// items returns all items of the branch key, ordered by type: beacon, active,
// versions.
func (e *endpoint) items(t testing.TB, id string) (all []item) {
	t.Helper()
	if e.fake != nil {
		e.fake.mu.Lock()
		defer e.fake.mu.Unlock()
		for _, i := range e.fake.items[e.table] {
			if text(i, "branch-key-id") == id {
				all = append(all, i)
			}
		}
	} else {
		out, err := e.real.Query(t.Context(), &dynamodb.QueryInput{
			TableName: &e.table, KeyConditionExpression: aws.String("#id = :id"), ConsistentRead: aws.Bool(true),
			ExpressionAttributeNames:  map[string]string{"#id": "branch-key-id"},
			ExpressionAttributeValues: item{":id": &types.AttributeValueMemberS{Value: id}},
		})
		require.NoError(t, err)
		require.Empty(t, out.LastEvaluatedKey)
		all = out.Items
	}
	slices.SortFunc(all, func(a, b item) int { return strings.Compare(text(a, "type"), text(b, "type")) })
	return all
}

// item returns the item of this type.
func (e *endpoint) item(t testing.TB, id, typ string) item {
	t.Helper()
	for _, i := range e.items(t, id) {
		if text(i, "type") == typ {
			return maps.Clone(i)
		}
	}
	require.Fail(t, "no item", "%s %s", id, typ)
	return nil
}

// put writes an item as somebody else would.
func (e *endpoint) put(t testing.TB, i item) {
	t.Helper()
	if e.fake != nil {
		e.fake.put(e.table, i)
		return
	}
	_, err := e.real.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &e.table, Item: i})
	require.NoError(t, err)
}

func str(s string) types.AttributeValue    { return &types.AttributeValueMemberS{Value: s} }
func number(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
func binary(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }
func blob(i item) []byte                   { return i["enc"].(*types.AttributeValueMemberB).Value }

// attributes returns the attributes of an item but enc: the KMS encryption context
// but the logical name.
func attributes(i item) map[string]string {
	out := make(map[string]string)
	for name, value := range i {
		switch value := value.(type) {
		case *types.AttributeValueMemberS:
			out[name] = value.Value
		case *types.AttributeValueMemberN:
			out[name] = value.Value
		}
	}
	return out
}

const uuidV4 = `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`
