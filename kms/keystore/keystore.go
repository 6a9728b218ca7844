// Package keystore keeps branch keys in a DynamoDB table, encrypted by AWS KMS. A
// [Store] is a [hierarchical.Store]: a hierarchical provider reads its branch keys from
// it. The AWS Encryption SDKs and the AWS Database Encryption SDK can share a table.
//
//	store, err := keystore.New(ctx, keystore.Options{
//		Table:       "BranchKeys",
//		LogicalName: "BranchKeys",
//		KeyARN:      keyARN,
//	})
//	...
//	provider, err := hierarchical.New(store, hierarchical.Options{BranchKeyID: id, MaxAge: 10 * time.Minute})
//
// # Setting up
//
// Whoever administers keys creates the table once, and a branch key for each tenant or
// team, and rotates the keys now and then:
//
//	tableARN, err := store.CreateTable(ctx)
//	id, err := store.CreateKey(ctx, "tenant-42", map[string]string{"tenant": "42"})
//	err = store.RotateKey(ctx, id)
//	for key, err := range store.Keys(ctx) { ... }
//
// Messages store the ID and the version of their branch key. A rotation makes a new
// version, which encrypts from then on; the earlier versions stay in the table and
// decrypt old messages.
//
// Turn on point-in-time recovery and deletion protection for the table. Without the
// table, no message under its keys can be read. The same is
// true if the logical name is lost, because it is bound to every key: keep it, also
// when the table is restored under another name.
//
// # KMS keys
//
// With Options.KeyARN, one KMS key protects all branch keys. With MultiRegion, the
// replicas of a multi-Region key count as that key, so that programs in several
// Regions can each call their own. Options.Discovery uses the KMS key that each item of
// the table names; such a store only reads.
//
// # Permissions
//
// Each operation needs these, on the table (dynamodb:) and on the KMS key (kms:):
//
//	CreateTable                        dynamodb:DescribeTable, dynamodb:CreateTable
//	CreateKey                          dynamodb:PutItem, kms:GenerateDataKeyWithoutPlaintext,
//	                                   kms:ReEncryptFrom, kms:ReEncryptTo
//	RotateKey                          those of CreateKey, and dynamodb:GetItem
//	Keys                               dynamodb:Scan
//	Versions                           dynamodb:Query
//	ActiveBranchKey, BranchKeyVersion,
//	BeaconKey                          dynamodb:GetItem, kms:Decrypt
//
// Programs that encrypt and decrypt messages need only those of the last row.
//
// KMS authenticates every attribute of an item. Whoever can write to the table, but not
// use the KMS key, can make no branch keys; they can undo a rotation by putting an
// earlier item back. With Discovery, they can also put in branch keys under a KMS key of
// their own.
//
// # Global tables
//
// Reads are consistent: a version is found as soon as it was written. In a DynamoDB
// global table that holds only within one Region. In other Regions a new version is
// found a moment later, and messages under it cannot be read until then. Create and
// rotate keys in one Region only: of two calls in two Regions at the same time neither
// fails, and a beacon key that both created is lost. Global tables with strong
// consistency have no transactions, so keys cannot be created or rotated there.
//
// The package follows the specification's [branch-key-store].
//
// [branch-key-store]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/branch-key-store.md
package keystore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/internal/arn"
	"github.com/esdk-go/esdk/kms/internal/setup"
	"github.com/esdk-go/esdk/kms/internal/uuid"
)

// DynamoDBAPI has the methods of the AWS SDK's *dynamodb.Client that a store calls.
// They may be called concurrently. [Store.Keys] also needs Scan, and [Store.Versions]
// also needs Query, which the client has.
type DynamoDBAPI interface {
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
	CreateTable(context.Context, *dynamodb.CreateTableInput, ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error)
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
}

// KMSAPI has the methods of the AWS SDK's *kms.Client that a store calls. They may be
// called concurrently.
type KMSAPI interface {
	GenerateDataKeyWithoutPlaintext(context.Context, *awskms.GenerateDataKeyWithoutPlaintextInput, ...func(*awskms.Options)) (*awskms.GenerateDataKeyWithoutPlaintextOutput, error)
	ReEncrypt(context.Context, *awskms.ReEncryptInput, ...func(*awskms.Options)) (*awskms.ReEncryptOutput, error)
	Decrypt(context.Context, *awskms.DecryptInput, ...func(*awskms.Options)) (*awskms.DecryptOutput, error)
}

// Options are the settings of a [Store]. Table and LogicalName are required, and exactly
// one of KeyARN and Discovery.
type Options struct {
	// Table is the name of the DynamoDB table, or its ARN.
	Table string
	// LogicalName is bound to every branch key. All programs that share the table
	// must use the same one. It is often the table's original name, and must stay
	// the same when the table is restored from a backup under another name.
	LogicalName string

	// KeyARN is the ARN of the KMS key that protects the branch keys; an alias is
	// refused. Only items under this key are used or, with MultiRegion, also those
	// under a replica of it.
	KeyARN string
	// Discovery, instead of KeyARN, uses the KMS key that each item names, in any
	// account, if the credentials can use that key. Whoever can write to the table
	// can then make the program encrypt under a key of their own. Such a store only
	// reads. With MultiRegion, multi-Region keys are called at their replica in
	// Region.
	Discovery bool
	// MultiRegion treats the replicas of a multi-Region key as one key.
	MultiRegion bool
	// Region is where Discovery calls KMS; keys in other Regions cannot be used.
	// Empty means the Region of Config. It must be empty if KeyARN, which names its
	// Region, is set.
	Region string

	// ID is the ID in the store's Info. Nothing else uses it. Empty means a new UUID.
	ID string
	// GrantTokens are sent with every call to KMS.
	GrantTokens []string

	// Config is the AWS configuration from which missing clients are made, for the
	// Region of KeyARN, or else for Region. It is copied. Nil means the configuration
	// of config.LoadDefaultConfig.
	Config *aws.Config
	// KMS is the client for KMS, in the Region of KeyARN or in Region. Nil means one
	// made from Config.
	KMS KMSAPI
	// DynamoDB is the client for the table, which can be in another Region. Nil means
	// one made from Config.
	DynamoDB DynamoDBAPI
	// Timeout bounds each call to KMS and DynamoDB: all its attempts, and getting
	// credentials. Most methods make more than one call. A call that takes longer
	// fails with an error that wraps context.DeadlineExceeded. Zero means 10
	// seconds; negative means that only the caller's ctx ends a call. CreateTable
	// waits for the table as long as its ctx allows.
	Timeout time.Duration
}

// A Store is a branch key store on a DynamoDB table. It is a [hierarchical.Store], safe
// for concurrent use, and prints without credentials. It caches nothing: each call reads
// the table and calls KMS.
type Store struct {
	redacted
	info    Info
	key     arn.ARN // zero for discovery
	timeout setup.Timeout

	kms          KMSAPI
	kmsCall      func(*awskms.Options)
	dynamoDB     DynamoDBAPI
	dynamoDBCall func(*dynamodb.Options)
}

var _ hierarchical.Store = (*Store)(nil)

// redacted keeps credentials and secrets of what embeds it out of logs.
type redacted = provider.Redacted

// Info is the configuration of a [Store].
type Info struct {
	ID          string
	Table       string
	LogicalName string
	GrantTokens []string
	KeyARN      string // empty for discovery
	Discovery   bool
	MultiRegion bool
	Region      string // of the key, or where discovery calls KMS; empty if only the given client has it
}

// New returns the store on a table, which need not exist yet. It makes no call to
// DynamoDB or KMS. It uses ctx only for config.LoadDefaultConfig, if there is no Config
// and a client is to be made.
//
// It fails if a required option is missing, if KeyARN is not the ARN of a key, if options
// contradict each other, or if Discovery needs a Region and there is none.
func New(ctx context.Context, opts Options) (*Store, error) {
	s, err := newStore(ctx, &opts)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	return s, nil
}

func newStore(ctx context.Context, opts *Options) (*Store, error) {
	key, err := opts.check()
	if err != nil {
		return nil, err
	}
	s := &Store{
		redacted: provider.Redact("branch key store %q on table %s", opts.LogicalName, opts.Table),
		key:      key,
		info: Info{
			ID: opts.ID, Table: opts.Table, LogicalName: opts.LogicalName, GrantTokens: slices.Clone(opts.GrantTokens),
			KeyARN: opts.KeyARN, Discovery: opts.Discovery, MultiRegion: opts.MultiRegion, Region: opts.Region,
		},
		timeout:  setup.TimeoutOf(opts.Timeout),
		kms:      opts.KMS,
		dynamoDB: opts.DynamoDB,
	}
	if s.info.ID == "" {
		s.info.ID = uuid.New().String()
	}
	if !opts.Discovery {
		s.info.Region = key.Region
	}
	if err := s.makeClients(ctx, opts.Config); err != nil {
		return nil, err
	}
	if opts.Discovery && opts.MultiRegion && s.info.Region == "" {
		return nil, errNoRegion
	}
	name := setup.UserAgent()
	s.kmsCall = func(o *awskms.Options) {
		o.APIOptions = append(o.APIOptions, middleware.AddUserAgentKey("aws-kms-hierarchy"), name)
	}
	s.dynamoDBCall = func(o *dynamodb.Options) { o.APIOptions = append(o.APIOptions, name) }
	return s, nil
}

var errNoRegion = errors.New("discovery needs a Region, and neither Options.Region nor the AWS configuration has one")

// makeClients makes the clients that are missing.
func (s *Store) makeClients(ctx context.Context, given *aws.Config) error {
	if s.kms != nil && s.dynamoDB != nil {
		return nil
	}
	cfg, err := setup.Config(ctx, given, s.info.Region)
	if err != nil {
		return err
	}
	if cfg.Region == "" {
		return errNoRegion
	}
	s.info.Region = cfg.Region
	if s.kms == nil {
		s.kms = awskms.NewFromConfig(cfg)
	}
	if s.dynamoDB == nil {
		s.dynamoDB = dynamodb.NewFromConfig(cfg)
	}
	return nil
}

// tableName is what DynamoDB accepts as one.
var tableName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)

// check checks the options and returns the key that they name.
func (o *Options) check() (arn.ARN, error) {
	isARN := strings.HasPrefix(o.Table, "arn:") && len(o.Table) <= 1024 && arn.Printable(o.Table)
	switch {
	case o.Table == "":
		return arn.ARN{}, errors.New("Options.Table is empty")
	case !isARN && !tableName.MatchString(o.Table):
		return arn.ARN{}, fmt.Errorf("Options.Table %.100q is not the name of a table", o.Table)
	case o.LogicalName == "":
		return arn.ARN{}, errors.New("Options.LogicalName is empty")
	case !utf8.ValidString(o.LogicalName):
		return arn.ARN{}, errors.New("Options.LogicalName is not UTF-8")
	case slices.Contains(o.GrantTokens, ""):
		return arn.ARN{}, errors.New("Options.GrantTokens has an empty token")
	case o.KMS != nil && provider.IsNil(o.KMS):
		return arn.ARN{}, errors.New("Options.KMS is a nil pointer")
	case o.DynamoDB != nil && provider.IsNil(o.DynamoDB):
		return arn.ARN{}, errors.New("Options.DynamoDB is a nil pointer")
	case o.Config != nil && o.KMS != nil && o.DynamoDB != nil:
		return arn.ARN{}, errors.New("Options.Config is set beside both clients, and has no use")
	}
	switch {
	case o.KeyARN == "" && !o.Discovery:
		return arn.ARN{}, errors.New("neither Options.KeyARN nor Options.Discovery is set")
	case o.KeyARN != "" && o.Discovery:
		return arn.ARN{}, errors.New("both Options.KeyARN and Options.Discovery are set")
	case o.KeyARN != "" && o.Region != "":
		return arn.ARN{}, errors.New("Options.Region is for discovery; Options.KeyARN names the Region")
	case o.Region != "" && !arn.ValidRegion(o.Region):
		return arn.ARN{}, fmt.Errorf("Options.Region %q is not a Region", o.Region)
	case o.Discovery:
		return arn.ARN{}, nil
	}
	key, err := arn.ParseKey(o.KeyARN)
	if err != nil {
		return arn.ARN{}, fmt.Errorf("Options.KeyARN: %w", err)
	}
	return key, nil
}

// Info returns the configuration of the store. The caller may change the result.
func (s *Store) Info() Info {
	info := s.info
	info.GrantTokens = slices.Clone(info.GrantTokens)
	return info
}

// LogicalName returns the logical key store name.
func (s *Store) LogicalName() string { return s.info.LogicalName }
