// Package kms protects data keys with AWS KMS keys.
//
// [New] gives the provider to use: it names the keys that encrypt, and
// decrypts with these keys only. [NewDiscovery] decrypts with whatever key a
// message names, for programs that cannot know the keys; limit it by a
// [DiscoveryFilter]. Both are for symmetric keys, the usual ones. [NewRSA] is
// for RSA keys, where writers need the public key only; [NewECDHStatic] and
// [NewECDHDiscovery] are for keys that two parties agree on.
//
//	provider, err := kms.New(ctx, []string{keyARN}, nil)
//	...
//	ciphertext, _, err := esdk.Encrypt(ctx, plaintext, provider, nil)
//
// Keys can be in several Regions. Every key is a way to open the message: any
// one of them is enough.
//
// Encrypting a message with New's provider calls GenerateDataKey with the first key and Encrypt
// with each of the others, those at the same time. Decrypting calls Decrypt
// for one matching encrypted data key after the other until one succeeds. The
// message's whole encryption context is sent as that of KMS, where policies
// and CloudTrail see it in the clear.
//
// Package hierarchical needs no call for most messages: it wraps data keys under
// branch keys, which KMS protects and which are cached.
//
// Package kmstest has an endpoint for tests without AWS.
//
// New and NewDiscovery follow the aws-kms-mrk-aware-master-key-provider page of the
// specification's framework/aws-kms, and those that it refers to; without
// Options.MultiRegion, keys match only if their ARNs are equal.
package kms

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/kms/internal/arn"
	"github.com/esdk-go/esdk/kms/internal/setup"
)

// providerID is the provider ID of encrypted data keys under KMS keys.
const providerID = "aws-kms"

// redacted keeps credentials and secrets of what embeds it out of logs.
type redacted = provider.Redacted

// API is what the providers call: methods of the AWS SDK's *kms.Client. They
// may be called concurrently.
type API interface {
	GenerateDataKey(context.Context, *awskms.GenerateDataKeyInput, ...func(*awskms.Options)) (*awskms.GenerateDataKeyOutput, error)
	Encrypt(context.Context, *awskms.EncryptInput, ...func(*awskms.Options)) (*awskms.EncryptOutput, error)
	Decrypt(context.Context, *awskms.DecryptInput, ...func(*awskms.Options)) (*awskms.DecryptOutput, error)
}

// Options are settings of the providers. The zero value and nil are the
// defaults.
type Options struct {
	// Config is the AWS configuration: credentials, retries, endpoint, HTTP
	// client. It is copied. Nil means that of config.LoadDefaultConfig: the
	// environment and the shared files.
	Config *aws.Config
	// ClientFor makes the client for a Region, instead of Config, for
	// endpoints, roles or retries of the caller's. It is called when a key of
	// the Region first is, with the context of that operation, and may be
	// called concurrently for different Regions. The client is kept. But the
	// Regions of a discovery provider are what messages name: there it is kept
	// only once a call through it has succeeded, and made anew until then.
	ClientFor func(ctx context.Context, region string) (API, error)
	// Region is where the keys are whose ID or alias names no Region, and
	// where multi-Region discovery asks. Empty means that of Config.
	Region string
	// GrantTokens are sent with every call.
	GrantTokens []string
	// MultiRegion treats the replicas of a multi-Region key (its ID begins
	// with "mrk-") as one key. The strict provider then decrypts with its own
	// replica what any other replica encrypted; discovery asks the replica in
	// Region.
	MultiRegion bool
}

// newService checks the options and returns the service that they describe.
func newService(ctx context.Context, opts *Options) (*service, error) {
	if opts == nil {
		opts = &Options{}
	}
	if opts.Config != nil && opts.ClientFor != nil {
		return nil, errors.New("kms: both Options.Config and Options.ClientFor are set")
	}
	if opts.Region != "" && !arn.ValidRegion(opts.Region) {
		return nil, fmt.Errorf("kms: Options.Region %q is not a Region", opts.Region)
	}
	if slices.Contains(opts.GrantTokens, "") {
		return nil, errors.New("kms: Options.GrantTokens has an empty token")
	}
	s := &service{
		region:      opts.Region,
		grantTokens: slices.Clone(opts.GrantTokens),
		clientFor:   opts.ClientFor,
		keep:        make(map[string]bool),
		clients:     make(map[string]*client),
		userAgent:   userAgent(),
	}
	if s.clientFor != nil {
		return s, nil
	}
	cfg, err := setup.Config(ctx, opts.Config, opts.Region)
	if err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	s.region = cfg.Region
	// Each client would get an HTTP client with connections of its own, and one
	// that is not kept would leave them behind.
	shared := awskms.NewFromConfig(cfg).Options().HTTPClient
	s.clientFor = func(_ context.Context, region string) (API, error) {
		return awskms.NewFromConfig(cfg, func(o *awskms.Options) { o.Region, o.HTTPClient = region, shared }), nil
	}
	return s, nil
}

// userAgent returns the option of a call that names this library.
func userAgent() func(*awskms.Options) {
	name := setup.UserAgent()
	return func(o *awskms.Options) { o.APIOptions = append(o.APIOptions, name) }
}
