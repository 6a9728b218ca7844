// Package keystore keeps branch keys in a DynamoDB table, encrypted by AWS KMS.
//
// A branch key wraps the data keys of many messages in the program, without a
// call to KMS for each. It has versions: [Store.RotateKey] makes a new one,
// which encrypts from then on, and the earlier ones stay for decryption. A
// [Store] is a hierarchical.Store, what a hierarchical provider takes its
// branch keys from. The AWS Encryption SDKs and the AWS Database Encryption SDK
// can share a table.
//
//	store, err := keystore.New(ctx, keystore.Options{
//		Table:       "BranchKeys",
//		LogicalName: "BranchKeys",
//		KeyARN:      keyARN,
//	})
//	...
//	tableARN, err := store.CreateTable(ctx)       // once
//	id, err := store.CreateKey(ctx, "", nil)      // once for each tenant, or team
//	err = store.RotateKey(ctx, id)                // now and then
//	key, err := store.ActiveBranchKey(ctx, id)    // the provider does this
//
// What each operation must be allowed to do, on the table (dynamodb:) and on
// the KMS key (kms:):
//
//	CreateTable                        dynamodb:DescribeTable, dynamodb:CreateTable
//	CreateKey                          dynamodb:PutItem, kms:GenerateDataKeyWithoutPlaintext,
//	                                   kms:ReEncryptFrom, kms:ReEncryptTo
//	RotateKey                          what CreateKey needs, dynamodb:GetItem
//	ActiveBranchKey, BranchKeyVersion,
//	BeaconKey                          dynamodb:GetItem, kms:Decrypt
//
// Programs that encrypt and decrypt need what stands last only. Who may write
// to the table can undo a rotation by putting an earlier item back, but can
// make no keys without the right to use the KMS key: KMS authenticates every
// attribute of an item. [Options.Discovery] gives that up.
//
// The package follows framework/branch-key-store.md of the specification.
package keystore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
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

// DynamoDBAPI is what a store calls: methods of the AWS SDK's
// *dynamodb.Client. They may be called concurrently.
type DynamoDBAPI interface {
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
	CreateTable(context.Context, *dynamodb.CreateTableInput, ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error)
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
}

// KMSAPI is what a store calls: methods of the AWS SDK's *kms.Client. They may
// be called concurrently.
type KMSAPI interface {
	GenerateDataKeyWithoutPlaintext(context.Context, *awskms.GenerateDataKeyWithoutPlaintextInput, ...func(*awskms.Options)) (*awskms.GenerateDataKeyWithoutPlaintextOutput, error)
	ReEncrypt(context.Context, *awskms.ReEncryptInput, ...func(*awskms.Options)) (*awskms.ReEncryptOutput, error)
	Decrypt(context.Context, *awskms.DecryptInput, ...func(*awskms.Options)) (*awskms.DecryptOutput, error)
}

// Options are settings of a [Store]. Table, LogicalName, and KeyARN or
// Discovery are required.
type Options struct {
	// Table is the name of the DynamoDB table, or its ARN.
	Table string
	// LogicalName is bound to every branch key, and all programs that share
	// them must use the same one. It is often the table's first name, which
	// it remains when the table is restored from a backup under another.
	LogicalName string

	// KeyARN is the KMS key that protects the branch keys; an alias is refused.
	// Only items under this very key are used or, with MultiRegion, those under
	// a replica of it.
	KeyARN string
	// Discovery, instead of KeyARN, uses the key that each item names, anybody's
	// account included if the credentials can use that key: who may write to
	// the table can then make the program encrypt under a key of their own.
	// Such a store reads only. With MultiRegion the replica in Region is called
	// for multi-Region keys.
	Discovery bool
	// MultiRegion treats the replicas of a multi-Region key as one key.
	MultiRegion bool
	// Region is, for Discovery, where KMS is called: other keys than this
	// Region's cannot be used. Empty means that of Config. It must be empty
	// with KeyARN, which names the Region.
	Region string

	// ID names the store in its Info, and nowhere else. Empty means a new UUID.
	ID string
	// GrantTokens are sent with every call of KMS.
	GrantTokens []string

	// Config is the AWS configuration from which missing clients are made, for
	// the Region of the key or else for Region. It is copied. Nil means that of
	// config.LoadDefaultConfig: the environment and the shared files.
	Config *aws.Config
	// KMS is the client for AWS KMS, of the Region of the key or of Region. Nil
	// means one made from Config.
	KMS KMSAPI
	// DynamoDB is the client for the table, whose Region can be another. Nil
	// means one made from Config.
	DynamoDB DynamoDBAPI
}

// A Store is a branch key store. It is a [hierarchical.Store], safe for
// concurrent use. It keeps no keys: each call reads the table and calls KMS.
// Items are read consistently, so that a version that was written is found at
// once. It prints without credentials.
//
// In a DynamoDB global table that holds within one Region. In others a new
// version is found a moment later, and messages under it cannot be read before.
// Of two calls in two Regions at the same time, neither is told of the other, and
// a beacon key that both created is lost: create and rotate keys in one Region.
// Global tables of strong consistency have no transactions, so that nothing can
// be created or rotated there.
type Store struct {
	redacted
	info Info
	key  arn.ARN // zero for discovery

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
	Region      string // of the key, or where discovery calls KMS; empty if only the client knows
}

// New returns the store on a table, which need not exist yet. It calls nothing
// but, if a client is to be made and there is no Config, what
// config.LoadDefaultConfig does. The context is for that only.
//
// It fails if a required option is missing, KeyARN is not the ARN of a key,
// options contradict each other, or discovery has no Region but needs it.
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
		return arn.ARN{}, errors.New("Options.Config has no use beside both clients")
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

// Info returns the configuration of the store, in memory of its own.
func (s *Store) Info() Info {
	info := s.info
	info.GrantTokens = slices.Clone(info.GrantTokens)
	return info
}

// LogicalName returns the logical key store name.
func (s *Store) LogicalName() string { return s.info.LogicalName }
