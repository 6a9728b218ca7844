package keystore

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/esdk-go/esdk/kms/hierarchical"
)

// KeyInfo is what the table has of one version of a branch key, without its secret.
// Nothing of it is authenticated: KMS is not called.
type KeyInfo struct {
	ID        string
	Version   string    // a UUID, as hierarchical.BranchKey.Version
	Active    bool      // whether this is the version that encrypts
	Created   time.Time // of the version; zero if the item's time has another form than RFC 3339
	KMSKeyARN string    // the KMS key that the version is encrypted under
	// EncryptionContext holds the pairs that were bound to the branch key when it was
	// created.
	EncryptionContext map[string]string
}

// Keys iterates over the branch keys of the table: the active version of each, in no
// particular order. It reads the whole table, which takes time and read capacity in
// proportion to all versions. Keys that are created or rotated meanwhile may or may not
// be seen.
//
// An item that is malformed gives an error that wraps [ErrRecord], with its ID if it has
// one, and the iteration goes on. After any other error it ends. Errors are of type
// *[Error]. Breaking off ends the calls to DynamoDB; Options.Timeout is for each of
// them, which returns up to 1 MB. Options.DynamoDB must have the method Scan, as
// *dynamodb.Client has it.
func (s *Store) Keys(ctx context.Context) iter.Seq2[KeyInfo, error] {
	return func(yield func(KeyInfo, error) bool) {
		fail := func(err error) { yield(KeyInfo{}, s.fail("Keys", "", err)) }
		if s.dynamoDB == nil {
			fail(errNotMade)
			return
		}
		client, ok := s.dynamoDB.(scanner)
		if !ok {
			fail(fmt.Errorf("Options.DynamoDB, a %T, has no method Scan", s.dynamoDB))
			return
		}
		in := &dynamodb.ScanInput{
			TableName:                 aws.String(s.info.Table),
			ConsistentRead:            aws.Bool(true),
			FilterExpression:          aws.String("#type = :active"),
			ExpressionAttributeNames:  map[string]string{"#type": attrType},
			ExpressionAttributeValues: map[string]types.AttributeValue{":active": &types.AttributeValueMemberS{Value: typeActive}},
		}
		for {
			out, err := call(ctx, s, "Scan", func(ctx context.Context) (*dynamodb.ScanOutput, error) {
				return client.Scan(ctx, in, s.dynamoDBCall)
			})
			if err != nil {
				fail(err)
				return
			}
			for _, item := range out.Items {
				id := text(item[attrID])
				r, err := parseRecord(item, id, typeActive)
				if err != nil {
					if !yield(KeyInfo{ID: id}, s.fail("Keys", id, err)) {
						return
					}
				} else if !yield(r.info(r.version()), nil) {
					return
				}
			}
			if len(out.LastEvaluatedKey) == 0 {
				return
			}
			in.ExclusiveStartKey = out.LastEvaluatedKey
		}
	}
}

// Versions iterates over all versions of the branch key, in no particular order. If
// there is no such key, the error wraps [hierarchical.ErrBranchKeyNotFound]. Errors and
// breaking off are as with [Store.Keys]; Options.DynamoDB must have the method Query.
func (s *Store) Versions(ctx context.Context, id string) iter.Seq2[KeyInfo, error] {
	return func(yield func(KeyInfo, error) bool) {
		fail := func(err error) bool { return yield(KeyInfo{ID: id}, s.fail("Versions", id, err)) }
		if s.dynamoDB == nil {
			fail(errNotMade)
			return
		}
		client, ok := s.dynamoDB.(querier)
		if !ok {
			fail(fmt.Errorf("Options.DynamoDB, a %T, has no method Query", s.dynamoDB))
			return
		}
		if err := checkID(id); err != nil {
			fail(err)
			return
		}
		in := &dynamodb.QueryInput{
			TableName:                aws.String(s.info.Table),
			ConsistentRead:           aws.Bool(true),
			KeyConditionExpression:   aws.String("#id = :id AND begins_with(#type, :branch)"),
			ExpressionAttributeNames: map[string]string{"#id": attrID, "#type": attrType},
			ExpressionAttributeValues: map[string]types.AttributeValue{
				":id": &types.AttributeValueMemberS{Value: id}, ":branch": &types.AttributeValueMemberS{Value: branchPrefix},
			},
		}
		found, active := false, ""
		for {
			out, err := call(ctx, s, "Query", func(ctx context.Context) (*dynamodb.QueryOutput, error) {
				return client.Query(ctx, in, s.dynamoDBCall)
			})
			if err != nil {
				fail(err)
				return
			}
			for _, item := range out.Items {
				found = true
				typ := text(item[attrType])
				r, err := parseRecord(item, id, typ)
				switch {
				case err != nil:
					if !fail(err) {
						return
					}
				case typ == typeActive: // sorts before the versions
					active = r.version()
				case !yield(r.info(active), nil):
					return
				}
			}
			if len(out.LastEvaluatedKey) == 0 {
				break
			}
			in.ExclusiveStartKey = out.LastEvaluatedKey
		}
		if !found {
			fail(hierarchical.ErrBranchKeyNotFound)
		}
	}
}

// A scanner is what Keys calls beyond DynamoDBAPI, a querier what Versions does.
type (
	scanner interface {
		Scan(context.Context, *dynamodb.ScanInput, ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error)
	}
	querier interface {
		Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	}
)

// text returns the value of a string attribute, or "".
func text(value types.AttributeValue) string {
	if s, ok := value.(*types.AttributeValueMemberS); ok && s != nil {
		return s.Value
	}
	return ""
}

// info returns what Keys and Versions say of the record, given the active version.
func (r *record) info(active string) KeyInfo {
	created, err := time.Parse(time.RFC3339Nano, r.attributes[attrCreated])
	if err != nil {
		created = time.Time{}
	}
	return KeyInfo{
		ID: r.attributes[attrID], Version: r.version(), Active: r.version() == active, Created: created,
		KMSKeyARN: r.attributes[attrKMSKey], EncryptionContext: r.custom(),
	}
}
