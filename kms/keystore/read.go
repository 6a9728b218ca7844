package keystore

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/internal/uuid"
)

// ActiveBranchKey returns the active version of the branch key: the one that encrypts.
// It fails with [hierarchical.ErrBranchKeyNotFound] if there is no such key, with
// [ErrRecord] if its item is malformed, and with a [kms.KeyError] if KMS does not decrypt
// it, which is so if the item was altered or the LogicalName is another one.
func (s *Store) ActiveBranchKey(ctx context.Context, id string) (*hierarchical.BranchKey, error) {
	key, err := s.branchKey(ctx, id, typeActive)
	if err != nil {
		return nil, s.fail("ActiveBranchKey", id, err)
	}
	return key, nil
}

// BranchKeyVersion returns the given version, a UUID in lower case, of the branch key. It
// fails as ActiveBranchKey does.
func (s *Store) BranchKeyVersion(ctx context.Context, id, version string) (*hierarchical.BranchKey, error) {
	var key *hierarchical.BranchKey
	_, err := uuid.Parse(version)
	if err == nil {
		key, err = s.branchKey(ctx, id, versionPrefix+version)
	}
	if err != nil {
		return nil, s.fail("BranchKeyVersion", id, err)
	}
	return key, nil
}

func (s *Store) branchKey(ctx context.Context, id, typ string) (*hierarchical.BranchKey, error) {
	r, err := s.read(ctx, id, typ)
	if err != nil {
		return nil, err
	}
	material, err := s.decrypt(ctx, r)
	if err != nil {
		return nil, err
	}
	return &hierarchical.BranchKey{ID: id, Version: r.version(), EncryptionContext: r.custom(), Material: material}, nil
}

// A BeaconKey is the secret from which the AWS Database Encryption SDK derives the keys of
// its searchable beacons. It has no versions, and messages do not use it. It prints
// redacted, as a [hierarchical.BranchKey] does.
type BeaconKey struct {
	redacted
	ID                string            // of the branch key that it was created with
	EncryptionContext map[string]string // the pairs that were bound to both
	Material          []byte            // 32 secret bytes, which the caller owns
}

// BeaconKey returns the beacon key that was created with the branch key. It
// fails as ActiveBranchKey does.
func (s *Store) BeaconKey(ctx context.Context, id string) (*BeaconKey, error) {
	r, err := s.read(ctx, id, typeBeacon)
	if err != nil {
		return nil, s.fail("BeaconKey", id, err)
	}
	material, err := s.decrypt(ctx, r)
	if err != nil {
		return nil, s.fail("BeaconKey", id, err)
	}
	return &BeaconKey{ID: id, EncryptionContext: r.custom(), Material: material}, nil
}

// read returns the record of this type. Reads are consistent because the
// version in a message can be as new as the message.
func (s *Store) read(ctx context.Context, id, typ string) (*record, error) {
	if s.dynamoDB == nil {
		return nil, errNotMade
	}
	if err := checkID(id); err != nil {
		return nil, err
	}
	out, err := call(ctx, s, "GetItem", func(ctx context.Context) (*dynamodb.GetItemOutput, error) {
		return s.dynamoDB.GetItem(ctx, &dynamodb.GetItemInput{
			TableName: aws.String(s.info.Table),
			Key: map[string]types.AttributeValue{
				attrID:   &types.AttributeValueMemberS{Value: id},
				attrType: &types.AttributeValueMemberS{Value: typ},
			},
			ConsistentRead: aws.Bool(true),
		}, s.dynamoDBCall)
	})
	if err != nil {
		return nil, err
	}
	if len(out.Item) == 0 {
		return nil, fmt.Errorf("there is no item of type %s: %w", typ, hierarchical.ErrBranchKeyNotFound)
	}
	return parseRecord(out.Item, id, typ)
}
