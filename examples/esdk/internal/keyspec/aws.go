package keyspec

import (
	"context"
	"slices"
	"time"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/keystore"
)

// branchKeyAge is how long a branch key is used if the attribute max-age is not
// given.
const branchKeyAge = 10 * time.Minute

// options returns what all providers of KMS keys have. Replicas of a multi-Region
// key are one key, as for aws-encryption-cli.
func (b *Builder) options(ctx context.Context, a *attributes) (*kms.Options, error) {
	o := &kms.Options{
		Region:      a.one("region"),
		GrantTokens: a.all("grant-token"),
		MultiRegion: a.flag("multi-region", true),
		Timeout:     a.duration("timeout"),
	}
	var err error
	o.Config, err = b.config(ctx, a)
	return o, err
}

func (a *attributes) duration(name string) time.Duration {
	value := a.one(name)
	if value == "" {
		return 0
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		a.fail("%s=%s: it is a time such as 500ms, 10s or 5m", name, value)
	}
	return d
}

func (b *Builder) kms(ctx context.Context, a *attributes) (keyprovider.MasterKeyProvider, error) {
	o, err := b.options(ctx, a)
	if err != nil {
		return nil, err
	}
	o.Near, o.HedgeAfter = a.all("near"), a.duration("hedge-after")
	keys := a.all("key")
	discovery := a.flag("discovery", false)
	accounts, partition, regions := a.all("discovery-account"), a.one("discovery-partition"), a.all("discovery-region")
	asked := a.has("discovery") || a.has("discovery-account") || a.has("discovery-partition") || a.has("discovery-region")
	switch {
	case !a.decrypt && asked:
		a.fail("discovery is for decryption only")
	case !discovery && (len(accounts) > 0 || partition != "" || len(regions) > 0):
		a.fail("discovery-account=, discovery-partition= and discovery-region= need discovery=true")
	case discovery && len(keys) > 0:
		a.fail("with discovery=true the messages name the keys, so key= is not allowed")
	case !discovery && len(keys) == 0 && a.decrypt:
		a.fail("give key=, or discovery=true for whatever key a message names")
	case !discovery && len(keys) == 0:
		a.fail("key= is missing")
	case (len(accounts) > 0) != (partition != ""):
		a.fail("discovery-account= and discovery-partition= are given together or not at all")
	}
	if a.err != nil {
		return nil, a.err
	}
	if !discovery {
		return kms.New(ctx, keys, o)
	}
	if o.Region == "" && (o.Config.Region == "" || len(regions) > 0 && !slices.Contains(regions, o.Config.Region)) {
		o.MultiRegion = false // there is no Region in which a replica would be asked
	}
	return kms.NewDiscovery(ctx, &kms.DiscoveryFilter{Partition: partition, Accounts: accounts, Regions: regions, AnyAccount: partition == ""}, o)
}

func (b *Builder) kmsRSA(ctx context.Context, a *attributes) (keyprovider.MasterKeyProvider, error) {
	o, err := b.options(ctx, a)
	if err != nil {
		return nil, err
	}
	arn := a.needed("key")
	algorithm := choice(a, "algorithm", []string{"oaep-sha256", "oaep-sha1"}, map[string]kms.RSAAlgorithm{
		"oaep-sha256": kms.OAEPSHA256, "oaep-sha1": kms.OAEPSHA1,
	})
	var keys rsaKeys
	if a.has("public") || !a.decrypt {
		keys = readRSA(a, a.needed("public"))
	}
	if a.err != nil {
		return nil, a.err
	}
	return kms.NewRSA(ctx, arn, keys.public, algorithm, o)
}

func (b *Builder) kmsECDH(ctx context.Context, a *attributes) (keyprovider.MasterKeyProvider, error) {
	o, err := b.options(ctx, a)
	if err != nil {
		return nil, err
	}
	arn := a.needed("key")
	recipient := a.one("recipient")
	if recipient == "" && !a.decrypt {
		a.fail("recipient= is missing: whoever is to read the message")
	}
	if a.err != nil {
		return nil, a.err
	}
	ecdhOptions := &kms.ECDHOptions{Options: *o}
	if recipient == "" {
		return kms.NewECDHDiscovery(ctx, arn, ecdhOptions)
	}
	public := readECDHPublic(a, recipient)
	if a.err != nil {
		return nil, a.err
	}
	return kms.NewECDHStatic(ctx, arn, public, ecdhOptions)
}

func (b *Builder) hierarchical(ctx context.Context, a *attributes) (keyprovider.MasterKeyProvider, error) {
	o := keystore.Options{
		Table:       a.needed("table"),
		LogicalName: a.one("logical-name"),
		KeyARN:      a.one("key"),
		Discovery:   a.flag("discovery", false),
		MultiRegion: a.flag("multi-region", true),
		GrantTokens: a.all("grant-token"),
		Timeout:     a.duration("timeout"),
	}
	if o.LogicalName == "" {
		o.LogicalName = o.Table
	}
	branchKey := a.needed("branch-key")
	maxAge := a.duration("max-age")
	if maxAge == 0 {
		maxAge = branchKeyAge
	}
	if (o.KeyARN == "") != o.Discovery {
		a.fail("give either key=, the KMS key of the table, or discovery=true")
	}
	var err error
	if o.Config, err = b.config(ctx, a); err != nil {
		return nil, err
	}
	store, err := keystore.New(ctx, o)
	if err != nil {
		return nil, err
	}
	return hierarchical.New(store, hierarchical.Options{BranchKeyID: branchKey, MaxAge: maxAge})
}
