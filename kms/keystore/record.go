package keystore

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/esdk-go/esdk/kms/internal/arn"
	"github.com/esdk-go/esdk/kms/internal/uuid"
)

// The attributes of a record.
const (
	attrID        = "branch-key-id" // partition key of the table
	attrType      = "type"          // sort key
	attrVersion   = "version"       // of the active record only
	attrEnc       = "enc"
	attrKMSKey    = "kms-arn"
	attrCreated   = "create-time"
	attrHierarchy = "hierarchy-version" // a number; all others but enc are strings

	// customPrefix begins the attributes that the user bound to the key.
	customPrefix = "aws-crypto-ec:"
	// logicalNameKey is the one pair of the KMS encryption context that is no
	// attribute.
	logicalNameKey = "tablename"
)

// The types of records. That of a version is versionPrefix and the UUID; so is
// the attribute version of the active one.
const (
	typeActive    = "branch:ACTIVE"
	typeBeacon    = "beacon:ACTIVE"
	branchPrefix  = "branch:" // of both the active one and versions
	versionPrefix = "branch:version:"
)

const (
	hierarchyVersion = "1"
	maxID            = 2048 // bytes, DynamoDB's limit for a partition key
	maxBlob          = 6144 // bytes, KMS's limit for a ciphertext
)

// A record is an item of the table: one version of a branch key, a copy of the
// active one, or a beacon key.
//
// It follows framework/branch-key-store.md, "Record Format".
type record struct {
	attributes map[string]string // all but enc
	enc        []byte            // the key, encrypted by KMS
}

// newVersion returns the record of a new version of a branch key, still without
// enc. attributes are those of the branch key, which it takes over.
func newVersion(attributes map[string]string, now time.Time) *record {
	attributes[attrType] = versionPrefix + uuid.New().String()
	attributes[attrCreated] = now.UTC().Format("2006-01-02T15:04:05.000000Z")
	delete(attributes, attrVersion)
	return &record{attributes: attributes}
}

// active returns the record of the same version as the active one, still
// without enc.
func (r *record) active() *record {
	a := maps.Clone(r.attributes)
	a[attrType], a[attrVersion] = typeActive, a[attrType]
	return &record{attributes: a}
}

// beacon returns the record of the beacon key beside the version, still without
// enc.
func (r *record) beacon() *record {
	a := maps.Clone(r.attributes)
	a[attrType] = typeBeacon
	return &record{attributes: a}
}

// item returns the record as DynamoDB has it.
func (r *record) item() map[string]types.AttributeValue {
	item := make(map[string]types.AttributeValue, len(r.attributes)+1)
	for name, value := range r.attributes {
		item[name] = &types.AttributeValueMemberS{Value: value}
	}
	item[attrHierarchy] = &types.AttributeValueMemberN{Value: r.attributes[attrHierarchy]}
	item[attrEnc] = &types.AttributeValueMemberB{Value: r.enc}
	return item
}

// context returns the KMS encryption context of the record: all that it holds
// but enc, and the logical key store name.
//
// It follows framework/branch-key-store.md, "Encryption Context".
func (r *record) context(logicalName string) map[string]string {
	ec := maps.Clone(r.attributes)
	ec[logicalNameKey] = logicalName
	return ec
}

// version returns the version of a branch key, a UUID.
func (r *record) version() string {
	v, ok := r.attributes[attrVersion]
	if !ok {
		v = r.attributes[attrType]
	}
	return strings.TrimPrefix(v, versionPrefix)
}

// custom returns what the user bound to the key.
func (r *record) custom() map[string]string {
	ec := make(map[string]string)
	for name, value := range r.attributes {
		if key, ok := strings.CutPrefix(name, customPrefix); ok {
			ec[key] = value
		}
	}
	return ec
}

// parseRecord checks an item that was asked for by its ID and type and returns
// the record. The errors wrap [ErrRecord].
func parseRecord(item map[string]types.AttributeValue, id, typ string) (*record, error) {
	r := &record{attributes: make(map[string]string, len(item))}
	for name, value := range item {
		if err := r.add(name, value); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{attrID, attrType, attrKMSKey, attrCreated, attrHierarchy} {
		if r.attributes[name] == "" {
			return nil, malformed("it has no %s", name)
		}
	}
	if n := len(r.enc); n < 1 || n > maxBlob {
		return nil, malformed("%s of %d bytes; 1 to %d are possible", attrEnc, n, maxBlob)
	}
	if got := r.attributes[attrID]; got != id {
		return nil, malformed("it is of another key, %.100q", got)
	}
	if got := r.attributes[attrType]; got != typ {
		return nil, malformed("it is of another type, %.100q", got)
	}
	if got := r.attributes[attrHierarchy]; got != hierarchyVersion {
		return nil, malformed("%s %.20q; only %s is known", attrHierarchy, got, hierarchyVersion)
	}
	if _, err := arn.ParseKey(r.attributes[attrKMSKey]); err != nil {
		return nil, malformed("%s: %w", attrKMSKey, err)
	}
	if err := r.checkVersion(); err != nil {
		return nil, err
	}
	return r, nil
}

// add adds an attribute of an item.
func (r *record) add(name string, value types.AttributeValue) error {
	if name == attrEnc {
		b, ok := value.(*types.AttributeValueMemberB)
		if !ok || b == nil {
			return malformed("%s is not binary", name)
		}
		r.enc = b.Value
		return nil
	}
	var text string
	if name == attrHierarchy {
		n, ok := value.(*types.AttributeValueMemberN)
		if !ok || n == nil {
			return malformed("%s is not a number", name)
		}
		text = n.Value
	} else {
		s, ok := value.(*types.AttributeValueMemberS)
		if !ok || s == nil {
			return malformed("%.100q is not a string", name)
		}
		text = s.Value
	}
	if name == logicalNameKey {
		return malformed("it has an attribute %s, which is not stored", name)
	}
	if !utf8.ValidString(name) || !utf8.ValidString(text) {
		return malformed("%.100q is not UTF-8", name)
	}
	r.attributes[name] = text
	return nil
}

// checkVersion checks that the record has a version exactly if it shall.
func (r *record) checkVersion() error {
	version, has := r.attributes[attrVersion]
	switch typ := r.attributes[attrType]; {
	case typ != typeActive && has:
		return malformed("it has a %s, which %s records have", attrVersion, typeActive)
	case typ == typeActive && !has:
		return malformed("it has no %s", attrVersion)
	case typ == typeBeacon:
		return nil
	case typ != typeActive:
		version = typ
	}
	id, ok := strings.CutPrefix(version, versionPrefix)
	if _, err := uuid.Parse(id); !ok || err != nil {
		return malformed("version %.100q is not %s and a UUID in lower case", version, versionPrefix)
	}
	return nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRecord, fmt.Errorf(format, args...))
}

// checkID checks the ID of a branch key.
func checkID(id string) error {
	switch {
	case id == "":
		return errors.New("the branch key ID is empty")
	case len(id) > maxID:
		return fmt.Errorf("branch key ID of %d bytes; %d are possible", len(id), maxID)
	case !utf8.ValidString(id):
		return errors.New("the branch key ID is not UTF-8")
	}
	return nil
}
