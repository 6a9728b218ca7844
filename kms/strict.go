package kms

import (
	"context"
	"errors"
	"fmt"

	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/arn"
)

// A Provider encrypts under the KMS keys given to [New] and decrypts with these keys
// only. It is a [keyprovider.MasterKeyProvider], safe for concurrent use, and prints
// without credentials.
type Provider struct {
	redacted
	service     *service
	keys        []keyID
	multiRegion bool
}

// New returns a provider for the given KMS keys. All of them protect new messages:
// the first generates the data key, the others encrypt it. Any one of them decrypts.
//
// A key is given by its ARN, its ID, an alias (alias/NAME) or an alias ARN. All of
// these encrypt, but only a key ARN decrypts: messages name the ARN of the key, and an
// alias can move to another key. To read what was encrypted under an alias, give the
// ARNs of all keys that it has pointed to. A key is called in the Region that its ARN
// names, or else in Options.Region, or else in the Region of the configuration.
//
// With Options.MultiRegion, a multi-Region key given by its ARN also decrypts what its
// replicas encrypted, by a call in its own Region.
//
// New makes no call to KMS. It uses ctx only for config.LoadDefaultConfig, if neither
// Config nor ClientFor is set. It fails if there is no key or the same key twice, if a
// key is malformed or its Region unknown, or, with Options.MultiRegion, if two keys
// are replicas of one key.
func New(ctx context.Context, keyIDs []string, opts *Options) (*Provider, error) {
	if len(keyIDs) == 0 {
		return nil, errors.New("kms: no key IDs; to decrypt with whatever key a message names, use NewDiscovery")
	}
	s, err := newService(ctx, opts)
	if err != nil {
		return nil, err
	}
	p := &Provider{service: s, multiRegion: opts != nil && opts.MultiRegion}
	given := make(map[string]bool, len(keyIDs))
	for i, text := range keyIDs {
		id, err := parseKeyID(text, s.region)
		if err != nil {
			return nil, fmt.Errorf("kms: key %d: %w", i+1, err)
		}
		if given[text] {
			return nil, fmt.Errorf("kms: key %s is given twice", text)
		}
		given[text] = true
		s.keep[id.region] = true
		p.keys = append(p.keys, id)
	}
	if p.multiRegion {
		if err := checkUnique(p.keys); err != nil {
			return nil, fmt.Errorf("kms: %w", err)
		}
	}
	p.redacted = provider.Redact("AWS KMS provider of %s", provider.List(keyIDs))
	return p, nil
}

// MasterKeys returns the provider's keys in the order given to New.
func (p *Provider) MasterKeys(context.Context, *keyprovider.Request) ([]keyprovider.MasterKey, error) {
	keys := make([]keyprovider.MasterKey, len(p.keys))
	for i, id := range p.keys {
		keys[i] = masterKey{provider.Redact("AWS KMS key %s", id.text), p.service, id}
	}
	return keys, nil
}

// DecryptDataKey calls Decrypt for each of keys that are under one of the provider's
// keys, until one succeeds. Options.Near says in which order, and Options.HedgeAfter
// whether several are tried at the same time. If none succeeds, the error is a
// [keyprovider.DecryptError].
func (p *Provider) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	key, err := p.service.decryptFirst(ctx, p.String(), req, keys, p.choose)
	if failure, ok := err.(*keyprovider.DecryptError); ok && errors.Is(err, keyprovider.ErrNoMatch) {
		if hint := p.hint(); hint != nil { // first, so that it is printed
			failure.Causes = append([]error{hint}, failure.Causes...)
		}
	}
	return key, err
}

// choose returns the provider's key that decrypts what is under the stored one.
func (p *Provider) choose(stored arn.ARN) (arn.ARN, error) {
	for _, id := range p.keys {
		if id.matches(stored, p.multiRegion) {
			return id.arn, nil
		}
	}
	for _, id := range p.keys {
		if id.matches(stored, true) {
			return arn.ARN{}, fmt.Errorf("%v is a replica of the provider's %v; Options.MultiRegion would let that decrypt", stored, id.arn)
		}
	}
	return arn.ARN{}, fmt.Errorf("%v is not one of the provider's keys", stored)
}

// hint returns what to do about keys that cannot decrypt, or nil.
func (p *Provider) hint() error {
	var others []string
	for _, id := range p.keys {
		if !id.isKeyARN() {
			others = append(others, id.text)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return fmt.Errorf("only key ARNs decrypt, not %s: give the ARN of the key, which kms:DescribeKey tells", provider.List(others))
}

// masterKey is one KMS key of a Provider.
//
// It follows framework/aws-kms/aws-kms-mrk-aware-master-key.md of the
// specification.
type masterKey struct {
	redacted
	service *service
	id      keyID
}

func (k masterKey) GenerateDataKey(ctx context.Context, req *keyprovider.Request) (*keyprovider.DataKey, error) {
	return k.service.generate(ctx, k.id, req)
}

func (k masterKey) EncryptDataKey(ctx context.Context, req *keyprovider.Request, plaintext []byte) (keyprovider.EncryptedDataKey, error) {
	return k.service.encrypt(ctx, k.id, req, plaintext)
}
