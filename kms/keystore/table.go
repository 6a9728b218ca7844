package keystore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// pollInterval is how often a new table is looked up. DynamoDB takes seconds to create
// one.
const pollInterval = time.Second

// CreateTable creates the table with on-demand capacity, waits until it is active, and
// returns its ARN. An existing table is left unchanged; CreateTable fails with
// [ErrTable] if its key schema is not that of branch keys, and with another error if it
// is being deleted.
//
// The caller sets point-in-time recovery, deletion protection and tags. If the table is
// lost, no message under its keys can be read.
func (s *Store) CreateTable(ctx context.Context) (tableARN string, err error) {
	table, err := s.createTable(ctx)
	if err == nil {
		err = checkTable(table)
	}
	if err == nil {
		err = s.await(ctx, table.TableStatus)
	}
	if err != nil {
		return "", s.fail("CreateTable", "", err)
	}
	return *table.TableArn, nil
}

// createTable returns the description of the table that is there then.
func (s *Store) createTable(ctx context.Context) (*types.TableDescription, error) {
	if s.dynamoDB == nil {
		return nil, errNotMade
	}
	table, err := s.describe(ctx)
	var missing *types.ResourceNotFoundException
	if err == nil || !errors.As(err, &missing) {
		return table, err
	}
	created, err := call(ctx, s, "CreateTable", func(ctx context.Context) (*dynamodb.CreateTableOutput, error) {
		return s.dynamoDB.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName: aws.String(s.info.Table),
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String(attrID), KeyType: types.KeyTypeHash},
				{AttributeName: aws.String(attrType), KeyType: types.KeyTypeRange},
			},
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String(attrID), AttributeType: types.ScalarAttributeTypeS},
				{AttributeName: aws.String(attrType), AttributeType: types.ScalarAttributeTypeS},
			},
			BillingMode: types.BillingModePayPerRequest,
		}, s.dynamoDBCall)
	})
	if err != nil {
		return nil, err
	}
	return created.TableDescription, nil
}

// describe returns the description of the table.
func (s *Store) describe(ctx context.Context) (*types.TableDescription, error) {
	out, err := call(ctx, s, "DescribeTable", func(ctx context.Context) (*dynamodb.DescribeTableOutput, error) {
		return s.dynamoDB.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String(s.info.Table)}, s.dynamoDBCall)
	})
	if err != nil {
		return nil, err
	}
	return out.Table, nil
}

// await returns when the table, whose status is given, can be used. A new table
// may be unknown to DescribeTable for a moment.
func (s *Store) await(ctx context.Context, status types.TableStatus) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		switch status {
		case types.TableStatusActive, types.TableStatusUpdating:
			return nil
		case types.TableStatusCreating:
		default:
			return fmt.Errorf("the table is %.100q", status)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		table, err := s.describe(ctx)
		var missing *types.ResourceNotFoundException
		if err != nil && !errors.As(err, &missing) {
			return err
		}
		if err == nil && table != nil {
			status = table.TableStatus
		}
	}
}

// checkTable checks that a table is one of branch keys.
func checkTable(table *types.TableDescription) error {
	if table == nil || aws.ToString(table.TableArn) == "" {
		return errors.New("the response describes no table")
	}
	keys := make(map[string]string)
	for _, k := range table.KeySchema {
		keys[aws.ToString(k.AttributeName)] = string(k.KeyType)
	}
	for _, a := range table.AttributeDefinitions {
		if name := aws.ToString(a.AttributeName); keys[name] != "" {
			keys[name] += " " + string(a.AttributeType)
		}
	}
	if len(keys) != 2 || keys[attrID] != "HASH S" || keys[attrType] != "RANGE S" {
		return fmt.Errorf("%w: it has %v; branch keys need %s as partition key and %s as sort key, both strings", ErrTable, keys, attrID, attrType)
	}
	return nil
}
