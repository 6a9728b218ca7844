package keystore_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/esdk-go/esdk/kms/keystore"
)

type item = map[string]types.AttributeValue

// A fake is the part of DynamoDB that a store uses, in memory. It answers
// nothing else than what a store asks: another condition panics.
type fake struct {
	mu       sync.Mutex
	tables   map[string]*types.TableDescription
	items    map[string]map[string]item // by table, and ID and type
	calls    []any                      // the inputs
	describe int                        // how often a new table is CREATING yet
	page     int                        // items that Scan and Query read at a time; 0: all

	before func(input any) error // sees every call; may be nil
}

func newFake() *fake {
	return &fake{tables: make(map[string]*types.TableDescription), items: make(map[string]map[string]item)}
}

// enter records the call and lets the test disturb it.
func (f *fake) enter(ctx context.Context, input any) error {
	f.mu.Lock()
	f.calls = append(f.calls, input)
	before := f.before
	f.mu.Unlock()
	if before != nil {
		if err := before(input); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (f *fake) DescribeTable(ctx context.Context, in *dynamodb.DescribeTableInput, _ ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error) {
	if err := f.enter(ctx, in); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	table := f.tables[*in.TableName]
	if table == nil {
		return nil, &types.ResourceNotFoundException{}
	}
	described := *table
	if f.describe > 0 {
		f.describe--
	} else if described.TableStatus == types.TableStatusCreating {
		described.TableStatus = types.TableStatusActive
	}
	return &dynamodb.DescribeTableOutput{Table: &described}, nil
}

func (f *fake) CreateTable(ctx context.Context, in *dynamodb.CreateTableInput, _ ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error) {
	if err := f.enter(ctx, in); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tables[*in.TableName] != nil {
		return nil, &types.ResourceInUseException{}
	}
	table := &types.TableDescription{
		TableName: in.TableName, KeySchema: in.KeySchema, AttributeDefinitions: in.AttributeDefinitions,
		TableArn:    aws.String("arn:aws:dynamodb:us-east-1:111122223333:table/" + *in.TableName),
		TableStatus: types.TableStatusActive,
	}
	if f.describe > 0 {
		table.TableStatus = types.TableStatusCreating
	}
	f.tables[*in.TableName] = table
	f.items[*in.TableName] = make(map[string]item)
	return &dynamodb.CreateTableOutput{TableDescription: table}, nil
}

func (f *fake) GetItem(ctx context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	if err := f.enter(ctx, in); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.items[*in.TableName] == nil {
		return nil, &types.ResourceNotFoundException{}
	}
	return &dynamodb.GetItemOutput{Item: maps.Clone(f.items[*in.TableName][primaryKey(in.Key)])}, nil
}

func (f *fake) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, _ ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	if err := f.enter(ctx, in); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var reasons []types.CancellationReason
	failed := false
	for _, write := range in.TransactItems {
		items := f.items[*write.Put.TableName]
		if items == nil {
			return nil, &types.ResourceNotFoundException{}
		}
		code := "None"
		if !holds(write.Put, items[primaryKey(write.Put.Item)]) {
			code, failed = "ConditionalCheckFailed", true
		}
		reasons = append(reasons, types.CancellationReason{Code: aws.String(code)})
	}
	if failed {
		return nil, &types.TransactionCanceledException{CancellationReasons: reasons}
	}
	for _, write := range in.TransactItems {
		f.items[*write.Put.TableName][primaryKey(write.Put.Item)] = maps.Clone(write.Put.Item)
	}
	return &dynamodb.TransactWriteItemsOutput{}, nil
}

// Scan reads a page and returns the active ones among its items.
func (f *fake) Scan(ctx context.Context, in *dynamodb.ScanInput, _ ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error) {
	if err := f.enter(ctx, in); err != nil {
		return nil, err
	}
	if *in.FilterExpression != "#type = :active" || in.ExpressionAttributeNames["#type"] != "type" || !*in.ConsistentRead {
		panic(*in.FilterExpression)
	}
	items, last, err := f.read(*in.TableName, in.ExclusiveStartKey, func(item) bool { return true })
	if err != nil {
		return nil, err
	}
	items = slices.DeleteFunc(items, func(i item) bool { return text(i, "type") != text(in.ExpressionAttributeValues, ":active") })
	return &dynamodb.ScanOutput{Items: items, LastEvaluatedKey: last}, nil
}

// Query returns a page of the items of a branch key.
func (f *fake) Query(ctx context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	if err := f.enter(ctx, in); err != nil {
		return nil, err
	}
	names := in.ExpressionAttributeNames
	if *in.KeyConditionExpression != "#id = :id AND begins_with(#type, :branch)" || names["#id"] != "branch-key-id" || names["#type"] != "type" || !*in.ConsistentRead {
		panic(*in.KeyConditionExpression)
	}
	values := in.ExpressionAttributeValues
	items, last, err := f.read(*in.TableName, in.ExclusiveStartKey, func(i item) bool {
		return text(i, "branch-key-id") == text(values, ":id") && strings.HasPrefix(text(i, "type"), text(values, ":branch"))
	})
	return &dynamodb.QueryOutput{Items: items, LastEvaluatedKey: last}, err
}

// read returns the page of the items that fit behind those up to start, and where
// the next one begins.
func (f *fake) read(table string, start item, fits func(item) bool) (page []item, last item, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.items[table] == nil {
		return nil, nil, &types.ResourceNotFoundException{}
	}
	for _, key := range slices.Sorted(maps.Keys(f.items[table])) {
		i := f.items[table][key]
		if start != nil && key <= primaryKey(start) || !fits(i) {
			continue
		}
		page = append(page, maps.Clone(i))
		if len(page) == f.page { // there may be more, as DynamoDB says too
			return page, item{"branch-key-id": i["branch-key-id"], "type": i["type"]}, nil
		}
	}
	return page, nil, nil
}

// put writes an item as somebody else would.
func (f *fake) put(table string, i item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items[table][primaryKey(i)] = maps.Clone(i)
}

// remove deletes an item as somebody else would.
func (f *fake) remove(table string, i item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.items[table], primaryKey(i))
}

// holds reports whether the condition of put holds for the present item.
func holds(put *types.Put, present item) bool {
	if put.ExpressionAttributeNames["#id"] != "branch-key-id" {
		panic("#id is " + put.ExpressionAttributeNames["#id"])
	}
	switch condition := *put.ConditionExpression; condition {
	case "attribute_not_exists(#id)":
		return present == nil
	case "attribute_exists(#id) AND enc = :encOld":
		old := put.ExpressionAttributeValues[":encOld"].(*types.AttributeValueMemberB)
		return present != nil && bytes.Equal(present["enc"].(*types.AttributeValueMemberB).Value, old.Value)
	default:
		panic(condition)
	}
}

func primaryKey(i item) string {
	return fmt.Sprintf("%q %q", text(i, "branch-key-id"), text(i, "type"))
}

// text returns a string attribute.
func text(i item, name string) string { return i[name].(*types.AttributeValueMemberS).Value }

// An intruder acts between a store and its DynamoDB.
type intruder struct {
	keystore.DynamoDBAPI
	before func()      // the next write, once
	item   func() item // what is read, instead; nil: what there is
}

func (i *intruder) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, opts ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	if f := i.before; f != nil {
		i.before = nil
		f()
	}
	return i.DynamoDBAPI.TransactWriteItems(ctx, in, opts...)
}

func (i *intruder) GetItem(ctx context.Context, in *dynamodb.GetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	if i.item != nil {
		return &dynamodb.GetItemOutput{Item: i.item()}, nil
	}
	return i.DynamoDBAPI.GetItem(ctx, in, opts...)
}
