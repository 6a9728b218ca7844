package keystore

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/esdk-go/esdk/kms/internal/uuid"
)

// CreateKey creates a branch key, and its beacon key, and returns their ID. An empty id
// means a new UUID. An id of at most 2,048 bytes can be given together with an
// encryption context.
//
// The encryption context is bound to all versions of the branch key and to the beacon
// key, and stored in the table in clear. Its keys and values must be UTF-8. KMS limits its
// size, and DynamoDB limits an item to 400 KB.
//
// It fails with [ErrKeyExists] if the table has a key with this ID, with [ErrConflict] if
// something else is writing that key, and with [ErrReadOnly] if the store has Discovery.
// Either all items are written or none. If the response of DynamoDB did not arrive, or
// ctx ended, they may have been written although CreateKey failed.
func (s *Store) CreateKey(ctx context.Context, id string, encryptionContext map[string]string) (string, error) {
	if id == "" {
		id = uuid.New().String()
	} else if len(encryptionContext) == 0 {
		return "", s.fail("CreateKey", id, errors.New("a given ID needs an encryption context"))
	}
	if err := s.createKey(ctx, id, encryptionContext); err != nil {
		return "", s.fail("CreateKey", id, err)
	}
	return id, nil
}

func (s *Store) createKey(ctx context.Context, id string, encryptionContext map[string]string) error {
	if err := s.checkWrite(id); err != nil {
		return err
	}
	attributes := map[string]string{attrID: id, attrKMSKey: s.key.String(), attrHierarchy: hierarchyVersion}
	for key, value := range encryptionContext {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return fmt.Errorf("encryption context: %.100q or its value is not UTF-8", key)
		}
		attributes[customPrefix+key] = value
	}
	version, active, err := s.newVersion(ctx, attributes)
	if err != nil {
		return err
	}
	beacon := version.beacon()
	if err := s.generate(ctx, beacon); err != nil {
		return err
	}
	return s.write(ctx, ErrKeyExists, s.putNew(version), s.putNew(active), s.putNew(beacon))
}

// RotateKey makes a new version of the branch key and makes it the active one. The
// earlier versions stay, and messages under them can still be read. Programs that cache
// the branch key encrypt under the earlier version until that expires.
//
// The new version is under the KMS key that the table names, even if the store's KeyARN is
// a replica of that key.
//
// It fails with [hierarchical.ErrBranchKeyNotFound] if there is no such key, with
// [ErrRecord] or a [kms.KeyError] if the active version is not authentic, with
// [ErrConflict] if the key was rotated at the same time, and with [ErrReadOnly] if the
// store has Discovery. If the response of DynamoDB did not arrive, or ctx ended, the key
// may have been rotated although RotateKey failed.
func (s *Store) RotateKey(ctx context.Context, id string) error {
	if err := s.rotateKey(ctx, id); err != nil {
		return s.fail("RotateKey", id, err)
	}
	return nil
}

func (s *Store) rotateKey(ctx context.Context, id string) error {
	if err := s.checkWrite(id); err != nil {
		return err
	}
	old, err := s.read(ctx, id, typeActive)
	if err != nil {
		return err
	}
	if _, err := s.keyFor(old); err != nil {
		return err
	}
	// The new version takes over attributes that nobody vouches for otherwise.
	if _, err := s.reEncrypt(ctx, old, old); err != nil {
		return err
	}
	version, active, err := s.newVersion(ctx, old.attributes)
	if err != nil {
		return err
	}
	return s.write(ctx, ErrConflict, s.putNew(version), s.replace(old, active))
}

// newVersion returns the records of a new version with the given attributes: the
// one that stays, and the one that is the active one.
//
// It follows framework/branch-key-store.md, "Wrapped Branch Key Creation".
func (s *Store) newVersion(ctx context.Context, attributes map[string]string) (version, active *record, err error) {
	version = newVersion(attributes, time.Now())
	if err := s.generate(ctx, version); err != nil {
		return nil, nil, err
	}
	active = version.active()
	if active.enc, err = s.reEncrypt(ctx, version, active); err != nil {
		return nil, nil, err
	}
	return version, active, nil
}

// checkWrite checks that the store can write keys of this ID.
func (s *Store) checkWrite(id string) error {
	switch {
	case s.dynamoDB == nil:
		return errNotMade
	case s.info.Discovery:
		return ErrReadOnly
	}
	return checkID(id)
}

// putNew writes a record that the table must not have.
func (s *Store) putNew(r *record) *types.Put {
	return &types.Put{
		TableName:                aws.String(s.info.Table),
		Item:                     r.item(),
		ConditionExpression:      aws.String("attribute_not_exists(#id)"),
		ExpressionAttributeNames: map[string]string{"#id": attrID},
	}
}

// replace writes a record in the place of the one that was read, if that is
// still there.
func (s *Store) replace(old, r *record) *types.Put {
	return &types.Put{
		TableName:                 aws.String(s.info.Table),
		Item:                      r.item(),
		ConditionExpression:       aws.String("attribute_exists(#id) AND enc = :encOld"),
		ExpressionAttributeNames:  map[string]string{"#id": attrID},
		ExpressionAttributeValues: map[string]types.AttributeValue{":encOld": &types.AttributeValueMemberB{Value: old.enc}},
	}
}

// write writes all records or none. The error wraps unmet if the table was not
// as the conditions want it.
func (s *Store) write(ctx context.Context, unmet error, puts ...*types.Put) error {
	in := &dynamodb.TransactWriteItemsInput{}
	for _, put := range puts {
		in.TransactItems = append(in.TransactItems, types.TransactWriteItem{Put: put})
	}
	_, err := call(ctx, s, "TransactWriteItems", func(ctx context.Context) (*dynamodb.TransactWriteItemsOutput, error) {
		return s.dynamoDB.TransactWriteItems(ctx, in, s.dynamoDBCall)
	})
	var canceled *types.TransactionCanceledException
	if errors.As(err, &canceled) {
		for _, reason := range canceled.CancellationReasons {
			switch aws.ToString(reason.Code) {
			case "ConditionalCheckFailed":
				return fmt.Errorf("%w: %w", unmet, err)
			case "TransactionConflict": // with one that is still under way
				return fmt.Errorf("%w: %w", ErrConflict, err)
			}
		}
	}
	return err
}
