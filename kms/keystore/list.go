package keystore

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"strings"
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
		s.readPages(ctx, "Scan", func(ctx context.Context, start item) (*page, error) {
			in.ExclusiveStartKey = start
			out, err := client.Scan(ctx, in, s.dynamoDBCall)
			if err != nil || out == nil {
				return nil, err
			}
			return &page{out.Items, out.LastEvaluatedKey}, nil
		}, func(i item, err error) bool {
			if err != nil {
				return yield(KeyInfo{}, s.fail("Keys", "", err))
			}
			id := text(i[attrID])
			r, err := parseRecord(i, id, typeActive)
			if err != nil {
				return yield(KeyInfo{ID: id}, s.fail("Keys", id, err))
			}
			return yield(r.info(r.version()), nil)
		})
	}
}

// Versions iterates over all versions of the branch key, in no particular order. If
// there is no such key, the error wraps [hierarchical.ErrBranchKeyNotFound]. Errors and
// breaking off are as with [Store.Keys]; Options.DynamoDB must have the method Query.
//
// Which version is active is in an item of its own. If that is malformed or missing,
// there is an error that wraps [ErrRecord] before the versions. If it does not even name
// a version, no version has Active set.
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
		ended := s.readPages(ctx, "Query", func(ctx context.Context, start item) (*page, error) {
			in.ExclusiveStartKey = start
			out, err := client.Query(ctx, in, s.dynamoDBCall)
			if err != nil || out == nil {
				return nil, err
			}
			return &page{out.Items, out.LastEvaluatedKey}, nil
		}, func(i item, err error) bool {
			if err != nil {
				return fail(err)
			}
			typ := text(i[attrType])
			if !found && typ != typeActive && !fail(fmt.Errorf("%w: there is no item of type %s: no version is active", ErrRecord, typeActive)) {
				return false
			}
			found = true
			r, err := parseRecord(i, id, typ)
			switch {
			case typ == typeActive: // sorts before the versions
				active = strings.TrimPrefix(text(i[attrVersion]), versionPrefix)
				return err == nil || fail(err)
			case err != nil:
				return fail(err)
			}
			return yield(r.info(active), nil)
		})
		if ended && !found {
			fail(hierarchical.ErrBranchKeyNotFound)
		}
	}
}

// An item is an item of the table, or its primary key.
type item = map[string]types.AttributeValue

// A page is what one call returns, and where the next one starts if there is more.
type page struct {
	items []item
	next  item
}

// readPages calls read for each page and then each for its items. If a call fails, it
// calls each with the error alone. It ends when each returns false or there is no more
// page, and reports whether it came to the end.
func (s *Store) readPages(ctx context.Context, op string, read func(ctx context.Context, start item) (*page, error), each func(item, error) bool) bool {
	var start, seen item
	for n := 1; ; n++ {
		p, err := call(ctx, s, op, func(ctx context.Context) (*page, error) { return read(ctx, start) })
		if err != nil {
			each(nil, err)
			return false
		}
		for _, i := range p.items {
			if !each(i, nil) {
				return false
			}
		}
		switch start = p.next; {
		case len(start) == 0:
			return true
		case reflect.DeepEqual(start, seen):
			each(nil, fmt.Errorf("DynamoDB %s: the pages go round in a circle", op))
			return false
		case n&(n-1) == 0: // powers of two: every circle is found, whatever its length
			seen = start
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
