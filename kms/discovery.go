package kms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/arn"
)

// A Discovery decrypts with the KMS key that a message names, if its
// [DiscoveryFilter] allows that key. It is a [keyprovider.MasterKeyProvider], safe
// for concurrent use, and prints without credentials.
type Discovery struct {
	redacted
	service     *service
	filter      DiscoveryFilter
	multiRegion bool
}

// A DiscoveryFilter limits which KMS keys a [Discovery] uses. Partition and
// Accounts are required, unless AnyAccount is set. An ARN whose Region is not one
// of its partition is never used.
type DiscoveryFilter struct {
	Partition string   // such as "aws", "aws-cn" or "aws-us-gov"
	Accounts  []string // IDs, of 12 digits, of the accounts that own the keys
	Regions   []string // Regions of the keys; nil: any
	// AnyAccount, instead of Partition and Accounts, allows every key that the
	// credentials may use, whoever owns it. Whoever can give the program a
	// message then chooses that key, and so can have messages accepted that were
	// encrypted under a key of their own.
	AnyAccount bool
}

// NewDiscovery returns a provider that decrypts with any KMS key that a message
// names and the filter allows. It cannot encrypt: its MasterKeys fails with
// [keyprovider.ErrDecryptOnly].
//
// With discovery, messages choose the key: whoever can give the program a message
// chooses which key its credentials are used with. Prefer [New] if the keys are
// known. Keys that the filter does not allow are never called, nor are their
// Regions.
//
// A key is called in its own Region. With Options.MultiRegion, a multi-Region key
// is instead called at its replica in Options.Region, or in the Region of the
// configuration, which must be one of the filter's Regions.
//
// NewDiscovery makes no call to KMS. It uses ctx only for
// config.LoadDefaultConfig, if neither Config nor ClientFor is set. The filter is
// copied. It fails if the filter is nil or incomplete.
//
// It follows the specification's [aws-kms-mrk-aware-master-key-provider] in
// discovery mode.
//
// [aws-kms-mrk-aware-master-key-provider]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/aws-kms/aws-kms-mrk-aware-master-key-provider.md
func NewDiscovery(ctx context.Context, filter *DiscoveryFilter, opts *Options) (*Discovery, error) {
	if err := filter.check(); err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	s, err := newService(ctx, opts)
	if err != nil {
		return nil, err
	}
	d := &Discovery{redacted: provider.Redact("AWS KMS discovery provider"), service: s, filter: *filter, multiRegion: opts != nil && opts.MultiRegion}
	d.filter.Accounts, d.filter.Regions = slices.Clone(filter.Accounts), slices.Clone(filter.Regions)
	if d.multiRegion {
		if s.region == "" {
			return nil, errors.New("kms: multi-Region discovery needs a Region, and neither Options.Region nor the AWS configuration has one")
		}
		if err := arn.CheckRegion(filter.Partition, s.region); err != nil && !filter.AnyAccount {
			return nil, fmt.Errorf("kms: multi-Region discovery: %w", err)
		}
		if filter.Regions != nil && !slices.Contains(filter.Regions, s.region) {
			return nil, fmt.Errorf("kms: multi-Region discovery in %s, which DiscoveryFilter.Regions does not allow", s.region)
		}
	}
	return d, nil
}

// check checks that the filter is complete.
func (f *DiscoveryFilter) check() error {
	switch {
	case f == nil:
		return errors.New("NewDiscovery without a DiscoveryFilter: whoever can give the program a message would choose which KMS key, " +
			"in any account and Region, its credentials are used with; set Partition and Accounts, or AnyAccount if that is intended")
	case f.AnyAccount && (f.Partition != "" || f.Accounts != nil):
		return errors.New("DiscoveryFilter.AnyAccount is set beside Partition or Accounts, which it would make void")
	case !f.AnyAccount && f.Partition == "":
		return errors.New("DiscoveryFilter.Partition is empty")
	case !f.AnyAccount && len(f.Accounts) == 0:
		return errors.New("DiscoveryFilter.Accounts is empty")
	case f.Regions != nil && len(f.Regions) == 0:
		return errors.New("DiscoveryFilter.Regions is empty; nil allows any")
	}
	for _, account := range f.Accounts {
		if len(account) != 12 || strings.Trim(account, "0123456789") != "" {
			return fmt.Errorf("DiscoveryFilter.Accounts: %q is not an account ID, which is 12 digits", account)
		}
	}
	for _, region := range f.Regions {
		if !arn.ValidRegion(region) {
			return fmt.Errorf("DiscoveryFilter.Regions: %q is not a Region", region)
		}
		if f.AnyAccount {
			continue
		}
		if err := arn.CheckRegion(f.Partition, region); err != nil {
			return fmt.Errorf("DiscoveryFilter.Regions: %w", err)
		}
	}
	return nil
}

// allows returns why the key may not be used, or nil.
func (f *DiscoveryFilter) allows(key arn.ARN) error {
	switch {
	case !f.AnyAccount && key.Partition != f.Partition:
		return fmt.Errorf("the filter does not allow the partition of %v", key)
	case !f.AnyAccount && !slices.Contains(f.Accounts, key.Account):
		return fmt.Errorf("the filter does not allow the account of %v", key)
	case f.Regions != nil && !slices.Contains(f.Regions, key.Region):
		return fmt.Errorf("the filter does not allow the Region of %v", key)
	}
	return nil
}

// MasterKeys fails with [keyprovider.ErrDecryptOnly].
func (d *Discovery) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	return nil, fmt.Errorf("%v: %w", d, keyprovider.ErrDecryptOnly)
}

// DecryptDataKey calls Decrypt for each of keys whose KMS key the filter allows, until
// one succeeds. Options.Near says in which order, and Options.HedgeAfter whether several
// are tried at the same time. If none succeeds, the error is a
// [keyprovider.DecryptError].
func (d *Discovery) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	return d.service.decryptFirst(ctx, d.String(), req, keys, d.choose)
}

// choose returns the key to call for an entry under the stored key.
func (d *Discovery) choose(stored arn.ARN) (arn.ARN, error) {
	if d.multiRegion && stored.MultiRegion() {
		replica, err := stored.Replica(d.service.region)
		if err != nil {
			return arn.ARN{}, err
		}
		stored = replica
	}
	return stored, d.filter.allows(stored)
}
