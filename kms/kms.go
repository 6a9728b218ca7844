// Package kms protects data keys with AWS KMS keys. Its providers are keyrings, in
// the words of the specification.
//
//	provider, err := kms.New(ctx, []string{keyARN}, nil)
//	...
//	ciphertext, _, err := esdk.Encrypt(ctx, plaintext, provider, nil)
//
// # Which provider
//
//   - [New] is the usual choice. It names the keys that encrypt, and decrypts with
//     these keys only. KMS checks and logs every message.
//   - [NewDiscovery] decrypts with whatever key a message names, within a
//     [DiscoveryFilter]. It is for programs that cannot know the keys.
//   - [NewRSA] encrypts with the public key of an RSA key, without a call to KMS.
//     KMS decrypts.
//   - [NewECDHStatic] is for two parties, one of which has its key in KMS, and
//     [NewECDHDiscovery] reads what anybody encrypted for such a key.
//   - Package hierarchical wraps data keys in the program, under branch keys that
//     KMS protects and that are cached. It is for very many small messages, or a
//     key for each of many tenants.
//   - keyprovider.NewCache over one of these saves calls where many messages have
//     the same encryption context: they share data keys.
//
// Package kmstest has a KMS endpoint for tests without AWS.
//
// # Credentials and Regions
//
// With nil Options, credentials and configuration are those of
// config.LoadDefaultConfig, as for all AWS programs: environment, shared files,
// SSO, and container or instance roles. Set Options.Config, or Options.ClientFor for
// a role, an endpoint or retries of your own in each Region.
//
// Each key is called in the Region that its ARN names. Keys can be in several
// Regions: any one of them opens the message. Encryption needs all of them, unless
// [keyprovider.Quorum] says otherwise. A key ID or alias that names no Region is
// called in Options.Region, or else in the Region of the configuration.
//
// The replicas of a multi-Region key (its ID begins with "mrk-") count as different
// keys, unless Options.MultiRegion is set: then the replica that the program names
// decrypts what any other replica encrypted.
//
// # Permissions
//
// [New] and [NewDiscovery] need these and no others:
//
//	encryption:            kms:GenerateDataKey on the first key, kms:Encrypt on the others
//	decryption, strict:    kms:Decrypt on the given keys
//	decryption, discovery: kms:Decrypt on the keys that messages may name; with
//	                       MultiRegion, on their replicas in Options.Region
//
// [NewRSA] needs nothing to encrypt and kms:Decrypt to decrypt. [NewECDHStatic] and
// [NewECDHDiscovery] need kms:DeriveSharedSecret, and kms:GetPublicKey if
// ECDHOptions.PublicKey is nil.
//
// For symmetric keys, the message's encryption context is also that of the KMS
// calls. Key policies can demand it (kms:EncryptionContext:tenant), and CloudTrail
// shows it, so it must not be secret. Suites that sign, the default among them, add
// the pair "aws-crypto-public-key". KMS does not get the encryption context for RSA
// and ECDH keys, although data keys are bound to it.
//
// # Calls and costs
//
// Encryption under n symmetric keys makes n calls: GenerateDataKey for the first key,
// then Encrypt for the others, all at the same time. Decryption calls Decrypt for
// the matching encrypted data keys, one at a time, until one succeeds. That is usually
// one call, in the Region that comes first in Options.Near, or else that of the
// message's first key. Set esdk.Client.MaxEncryptedDataKeys for untrusted messages,
// as each entry can cost a call. Retries are those of the AWS SDK.
//
// # Outages
//
// If a message has keys in several Regions, [New] and [NewDiscovery] read it while one
// of them is down. What the failure of a Region costs:
//
//	the Region, or its key     a message asks the next key  or, with HedgeAfter  the next messages
//	does not answer            after Timeout                after HedgeAfter     ask it last for 30 s
//	refuses connections        after the SDK's attempts     after HedgeAfter     ask it last for 30 s
//	answers with 5xx           after the SDK's attempts     after HedgeAfter     ask it last for 30 s
//	throttles                  after the SDK's attempts     after HedgeAfter     ask it as before
//	denied, disabled, unknown  at once                      at once              ask it as before
//	wrong key or context       at once                      at once              ask it as before
//
// What it costs to write, with a [keyprovider.Quorum] over the provider, is alike in each
// row but the last: the message goes on without the key after the time in the second
// column or after Wait, whichever is less, and the next messages leave the key out for
// Cooldown. Without a Quorum, the message fails.
//
// With Options.HedgeAfter, the next Region is asked after that time at the latest. The
// first success wins; the other calls are canceled, and have ended when decryption
// returns. When all is well there is one call.
//
// After the 30 seconds, one message asks the Region in its usual place, while the
// others still ask it last. If that fails, the next 30 seconds begin. So during an outage
// one message every 30 seconds waits for Timeout or HedgeAfter, and so do those that
// were under way when it began. If no other key is left, the Region is asked all the
// same.
//
// A call that is given up also counts as a failure of its Region, if another Region
// answered within HedgeAfter, or if the deadline of the caller's ctx passed. But it does
// not count if the Region answered another call meanwhile, or if the call was given up
// before HedgeAfter, or before a second if HedgeAfter is zero.
//
// Throttling is no failure: a Region that throttles works, and the others would have to
// carry its load at once.
//
// Each provider remembers failures on its own. Give one provider all the keys instead of
// joining providers with [keyprovider.Multi], which asks them in turn.
//
// What a program needs to go on without a Region:
//
//   - [New]: keys in two Regions or more. To read, a Timeout well below the deadlines of
//     callers, or HedgeAfter. To write, [keyprovider.Quorum].
//   - Multi-Region keys: the same, with a replica in each Region as a key of its own and
//     without Options.MultiRegion. With it, a provider asks one replica only.
//   - [NewDiscovery]: messages that have keys in two Regions or more.
//   - [NewRSA], [NewECDHStatic] and [NewECDHDiscovery] have one key each. Encryption with
//     NewRSA calls nobody; the others go on without the Region of their key only within
//     a [keyprovider.Multi] that has another.
//   - Package hierarchical says what it needs.
//
// # Errors
//
// If no entry can be decrypted, the error is a [keyprovider.DecryptError]. It has a cause
// for each entry that was tried, which says how long that took. A [KeyError] names the
// operation and the key of a call that failed. What the AWS SDK returned, such as a
// *types.DisabledException, can be found with errors.As.
//
// [New] and [NewDiscovery] follow the specification's
// [aws-kms-mrk-aware-master-key-provider] and the pages to which it refers. Without
// Options.MultiRegion, keys match only if their ARNs are equal.
//
// [aws-kms-mrk-aware-master-key-provider]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/aws-kms/aws-kms-mrk-aware-master-key-provider.md
package kms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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

// API has the methods of the AWS SDK's *kms.Client that the providers call. They may
// be called concurrently, must not change their input, and must return when their ctx
// is done.
type API interface {
	GenerateDataKey(context.Context, *awskms.GenerateDataKeyInput, ...func(*awskms.Options)) (*awskms.GenerateDataKeyOutput, error)
	Encrypt(context.Context, *awskms.EncryptInput, ...func(*awskms.Options)) (*awskms.EncryptOutput, error)
	Decrypt(context.Context, *awskms.DecryptInput, ...func(*awskms.Options)) (*awskms.DecryptOutput, error)
}

// Options are settings of the providers. The zero value and nil are the defaults.
type Options struct {
	// Config is the AWS configuration: credentials, retries, endpoint, HTTP client.
	// It is copied. Nil means the configuration of config.LoadDefaultConfig.
	Config *aws.Config
	// ClientFor, instead of Config, returns the client for a Region. It is called on
	// first use of a Region, with the ctx of that operation, and may be called
	// concurrently. The client is kept and used again. For discovery, where messages
	// name the Regions, it is kept only once a call through it has succeeded; until
	// then ClientFor is called again.
	ClientFor func(ctx context.Context, region string) (API, error)
	// Region is the default Region for key IDs and aliases, and where multi-Region
	// discovery calls KMS. Empty means the Region of Config.
	Region string
	// GrantTokens are sent with every call.
	GrantTokens []string
	// MultiRegion treats the replicas of a multi-Region key as one key. The provider
	// of New then decrypts with its own replica what any other replica encrypted.
	// Discovery calls the replica in Region.
	MultiRegion bool
	// Timeout bounds each call to KMS: all its attempts, getting credentials, and
	// the call of ClientFor that may precede it. A call that takes longer fails
	// with a [KeyError] that wraps context.DeadlineExceeded, and decryption goes on
	// with the message's next encrypted data key. ClientFor, its clients and the
	// credentials of Config must return when their ctx is done: nothing stops those
	// that do not. Zero means 10 seconds; negative means that only the caller's ctx ends a
	// call.
	Timeout time.Duration
	// Near lists Regions, the nearest first. The providers of [New] and [NewDiscovery]
	// ask for a message's encrypted data keys in the order of their Regions in Near,
	// then for the others in the order of the message. Nil means the order of the
	// message. A Region that failed comes last all the same: see Outages in the package
	// documentation.
	Near []string
	// HedgeAfter limits how long one slow Region holds up decryption. If a call of a
	// provider of [New] or [NewDiscovery] has not ended after HedgeAfter, the next
	// encrypted data key of another Region is asked for at the same time, and so on. The
	// first success wins, and the other calls are canceled. HedgeAfter must be less than
	// Timeout. Set it above the time that nearly all calls take, such as 200 ms, because a
	// call that takes longer is paid for twice. Zero means one call at a time, as in the
	// specification.
	HedgeAfter time.Duration
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
	timeout := setup.TimeoutOf(opts.Timeout)
	if err := checkOrder(opts, timeout); err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	s := &service{
		region:      opts.Region,
		grantTokens: slices.Clone(opts.GrantTokens),
		timeout:     timeout,
		near:        slices.Clone(opts.Near),
		hedgeAfter:  opts.HedgeAfter,
		clientFor:   opts.ClientFor,
		keep:        make(map[string]bool),
		clients:     make(map[string]*client),
		outages:     outages{regions: make(map[string]*health)},
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

// checkOrder checks Near and HedgeAfter.
func checkOrder(opts *Options, timeout setup.Timeout) error {
	for i, region := range opts.Near {
		if !arn.ValidRegion(region) {
			return fmt.Errorf("Options.Near: %q is not a Region", region)
		}
		if slices.Contains(opts.Near[:i], region) {
			return fmt.Errorf("Options.Near has %s twice", region)
		}
	}
	if opts.HedgeAfter < 0 {
		return fmt.Errorf("Options.HedgeAfter is negative: %v", opts.HedgeAfter)
	}
	if timeout > 0 && opts.HedgeAfter >= time.Duration(timeout) {
		return fmt.Errorf("Options.HedgeAfter of %v is not less than Options.Timeout of %v, when a call ends anyway", opts.HedgeAfter, time.Duration(timeout))
	}
	return nil
}

// userAgent returns the option of a call that names this library.
func userAgent() func(*awskms.Options) {
	name := setup.UserAgent()
	return func(o *awskms.Options) { o.APIOptions = append(o.APIOptions, name) }
}
