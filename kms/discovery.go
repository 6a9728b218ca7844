package kms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/arn"
)

// A Discovery decrypts with whatever KMS key a message names. It is a
// [keyprovider.MasterKeyProvider], safe for concurrent use, and prints without
// credentials.
type Discovery struct {
	service     *service
	filter      *DiscoveryFilter
	multiRegion bool
}

// A DiscoveryFilter limits which KMS keys a [Discovery] may use.
type DiscoveryFilter struct {
	Partition string   // required, such as "aws"
	Accounts  []string // required: IDs of the accounts whose keys are used
	Regions   []string // Regions where keys are used; nil: any
}

// NewDiscovery returns a provider that decrypts with any KMS key that a
// message names and the filter allows; nil allows every key that the
// credentials can use, anybody's account included. It cannot encrypt: its
// MasterKeys fails with [keyprovider.ErrDecryptOnly].
//
// Messages choose the key here. Who can put messages before the program can
// thus make it accept one that they encrypted under a key of their own: prefer
// [New], and set a filter otherwise. Keys that the filter does not allow are
// never called, nor are their Regions.
//
// A key is called in its own Region. With Options.MultiRegion the replica in
// Options.Region, or else in that of the configuration, is called instead for
// multi-Region keys, and it must be one of the filter's Regions.
//
// NewDiscovery calls nothing but, without Config and ClientFor, what
// config.LoadDefaultConfig does. The context is for that only.
//
// It follows framework/aws-kms/aws-kms-mrk-aware-master-key-provider.md of the
// specification, in discovery mode.
func NewDiscovery(ctx context.Context, filter *DiscoveryFilter, opts *Options) (*Discovery, error) {
	if err := filter.check(); err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	s, err := newService(ctx, opts)
	if err != nil {
		return nil, err
	}
	d := &Discovery{service: s, filter: filter.clone(), multiRegion: opts != nil && opts.MultiRegion}
	if d.multiRegion {
		if s.region == "" {
			return nil, errors.New("kms: multi-Region discovery needs a Region, and neither Options.Region nor the AWS configuration has one")
		}
		if filter != nil && filter.Regions != nil && !slices.Contains(filter.Regions, s.region) {
			return nil, fmt.Errorf("kms: multi-Region discovery in %s, which DiscoveryFilter.Regions does not allow", s.region)
		}
	}
	return d, nil
}

// check checks that the filter, if there is one, is complete.
func (f *DiscoveryFilter) check() error {
	switch {
	case f == nil:
		return nil
	case f.Partition == "":
		return errors.New("DiscoveryFilter.Partition is empty")
	case len(f.Accounts) == 0:
		return errors.New("DiscoveryFilter.Accounts is empty")
	case slices.Contains(f.Accounts, ""):
		return errors.New("DiscoveryFilter.Accounts has an empty account ID")
	case f.Regions != nil && len(f.Regions) == 0:
		return errors.New("DiscoveryFilter.Regions is empty; nil allows any")
	}
	for _, region := range f.Regions {
		if !arn.ValidRegion(region) {
			return fmt.Errorf("DiscoveryFilter.Regions: %q is not a Region", region)
		}
	}
	return nil
}

func (f *DiscoveryFilter) clone() *DiscoveryFilter {
	if f == nil {
		return nil
	}
	return &DiscoveryFilter{f.Partition, slices.Clone(f.Accounts), slices.Clone(f.Regions)}
}

// allows returns why the key may not be used, or nil.
func (f *DiscoveryFilter) allows(key arn.ARN) error {
	switch {
	case f == nil:
		return nil
	case key.Partition != f.Partition:
		return fmt.Errorf("the filter does not allow the partition of %v", key)
	case !slices.Contains(f.Accounts, key.Account):
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

// DecryptDataKey asks KMS for the first of keys that the filter allows and that
// KMS decrypts.
func (d *Discovery) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	key, failed, err := decryptFirst(ctx, d.service, req, keys, d.choose)
	if failed != nil {
		return nil, failed.failure(d.String(), nil)
	}
	return key, err
}

// choose returns the key to ask for what is under the stored one.
func (d *Discovery) choose(stored arn.ARN) (arn.ARN, error) {
	if d.multiRegion && stored.MultiRegion() {
		stored = stored.In(d.service.region)
	}
	return stored, d.filter.allows(stored)
}

// String names the provider.
func (d Discovery) String() string { return "AWS KMS discovery provider" }

// Format writes String, whatever the verb.
func (d Discovery) Format(s fmt.State, _ rune) { io.WriteString(s, d.String()) }

// MarshalText returns String: what encoding/json and log/slog show.
func (d Discovery) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
