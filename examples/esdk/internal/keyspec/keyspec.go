// Package keyspec makes a provider of the attributes that name keys on a command
// line, such as provider=aws-kms key=ARN.
package keyspec

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/esdk-go/esdk/keyprovider"
)

// DefaultProvider is the provider of keys that name none.
const DefaultProvider = "aws-kms"

// A Builder makes providers. Its zero value is ready. Providers of one Builder
// share what the AWS configuration holds, such as credentials and connections.
type Builder struct {
	configs map[[2]string]aws.Config // by profile and Region
}

// Provider returns the provider of several groups of attributes, in their order:
// the first key of the first group generates data keys. decrypt says whether it is
// to decrypt or to encrypt, as some attributes are for one of both only.
func (b *Builder) Provider(ctx context.Context, groups [][]string, decrypt bool) (keyprovider.MasterKeyProvider, error) {
	if len(groups) == 0 {
		return nil, errors.New("no keys are given")
	}
	var providers []keyprovider.MasterKeyProvider
	for _, group := range groups {
		p, err := b.one(ctx, group, decrypt)
		if err != nil {
			return nil, err
		}
		providers = append(providers, p)
	}
	if len(providers) == 1 {
		return providers[0], nil
	}
	return keyprovider.Multi(providers[0], providers[1:]...)
}

// A Mistake is an error of the attributes themselves, and not of what they name.
type Mistake struct{ Err error }

func (m *Mistake) Error() string { return m.Err.Error() }

// Unwrap returns Err.
func (m *Mistake) Unwrap() error { return m.Err }

// kinds are the functions that make a provider of each kind.
func kinds() map[string]func(*Builder, context.Context, *attributes) (keyprovider.MasterKeyProvider, error) {
	return map[string]func(*Builder, context.Context, *attributes) (keyprovider.MasterKeyProvider, error){
		DefaultProvider:                   (*Builder).kms,
		"aws-encryption-sdk-cli::aws-kms": (*Builder).kms,
		"kms-rsa":                         (*Builder).kmsRSA,
		"kms-ecdh":                        (*Builder).kmsECDH,
		"hierarchical":                    (*Builder).hierarchical,
		"raw-aes":                         (*Builder).rawAES,
		"raw-rsa":                         (*Builder).rawRSA,
		"raw-ecdh":                        (*Builder).rawECDH,
	}
}

func (b *Builder) one(ctx context.Context, group []string, decrypt bool) (keyprovider.MasterKeyProvider, error) {
	a := &attributes{values: make(map[string][]string), used: make(map[string]bool), decrypt: decrypt}
	for _, word := range group {
		name, value, _ := strings.Cut(word, "=")
		if name == "" || value == "" {
			return nil, &Mistake{fmt.Errorf("%q of the keys is not of the form name=value", word)}
		}
		a.values[name] = append(a.values[name], value)
	}
	kind := DefaultProvider
	if a.has("provider") {
		kind = a.one("provider")
	}
	build := kinds()[kind]
	if build == nil {
		names := slices.Sorted(maps.Keys(kinds()))
		return nil, &Mistake{fmt.Errorf("there is no provider %q; there are %s", kind, strings.Join(names, ", "))}
	}
	a.kind = kind
	p, err := build(b, ctx, a)
	if a.err != nil {
		err = a.err // what is wrong with the attributes explains what followed from it
	} else if err == nil {
		err = a.unused()
	}
	if err != nil {
		return nil, fmt.Errorf("provider=%s: %w", kind, err)
	}
	return p, nil
}

// attributes are those of one provider. The first mistake is kept in err, so that
// they can be read one after the other.
type attributes struct {
	kind    string
	values  map[string][]string
	used    map[string]bool
	decrypt bool
	err     error
}

func (a *attributes) has(name string) bool { return len(a.values[name]) > 0 }

func (a *attributes) fail(format string, args ...any) {
	if a.err == nil {
		a.err = &Mistake{fmt.Errorf(format, args...)}
	}
}

// all returns the values of an attribute that may be given several times.
func (a *attributes) all(name string) []string {
	a.used[name] = true
	return a.values[name]
}

// one returns the value of an attribute, or "" if it was not given.
func (a *attributes) one(name string) string {
	values := a.all(name)
	if len(values) > 1 {
		a.fail("%s= may be given once only", name)
	}
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// needed is one, for an attribute without which nothing goes.
func (a *attributes) needed(name string) string {
	if !a.has(name) {
		a.fail("%s= is missing", name)
	}
	return a.one(name)
}

// choice returns the value that goes with the attribute's. Without the attribute
// that is the value that goes with the first name.
func choice[T any](a *attributes, name string, names []string, values map[string]T) T {
	given := a.one(name)
	if given == "" {
		given = names[0]
	}
	value, ok := values[strings.ToLower(given)]
	if !ok {
		a.fail("%s=%s: it is one of %s", name, given, strings.Join(names, ", "))
	}
	return value
}

// flag returns the value of an attribute that is true or false, in the words that
// aws-encryption-cli knows.
func (a *attributes) flag(name string, otherwise bool) bool {
	value := a.one(name)
	switch strings.ToLower(value) {
	case "":
		return otherwise
	case "true", "t", "1", "yes", "y":
		return true
	case "false", "f", "0", "no", "n":
		return false
	}
	a.fail("%s=%s: it is true or false", name, value)
	return otherwise
}

// unused names an attribute that the provider does not have.
func (a *attributes) unused() error {
	a.used["provider"] = true
	for _, name := range slices.Sorted(maps.Keys(a.values)) {
		if !a.used[name] {
			return &Mistake{fmt.Errorf("it has no attribute %s=; it has %s=", name, strings.Join(slices.Sorted(maps.Keys(a.used)), "=, "))}
		}
	}
	return nil
}

// config returns the AWS configuration for the attributes region and profile.
func (b *Builder) config(ctx context.Context, a *attributes) (*aws.Config, error) {
	profile, region := a.one("profile"), a.one("region")
	if a.err != nil {
		return nil, a.err
	}
	return b.Config(ctx, profile, region)
}

// Config returns the AWS configuration of a profile and a Region, which may be
// empty: then they are those of the environment.
func (b *Builder) Config(ctx context.Context, profile, region string) (*aws.Config, error) {
	if c, ok := b.configs[[2]string{profile, region}]; ok {
		return &c, nil
	}
	var options []func(*config.LoadOptions) error
	if profile != "" {
		options = append(options, config.WithSharedConfigProfile(profile))
	}
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	if b.configs == nil {
		b.configs = make(map[[2]string]aws.Config)
	}
	b.configs[[2]string{profile, region}] = c
	return &c, nil
}
