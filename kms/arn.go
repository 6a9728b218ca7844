package kms

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/esdk-go/esdk/keyprovider"
)

// An arn is the ARN of a KMS key or alias.
//
// It follows framework/aws-kms/aws-kms-key-arn.md of the specification.
type arn struct {
	partition, region, account string
	kind                       string // "key" or "alias"
	id                         string // of the key; or the alias without "alias/"
}

// parseARN parses the ARN of a key or alias.
func parseARN(s string) (arn, error) {
	parts := strings.SplitN(s, ":", 7)
	if len(parts) != 6 || parts[0] != "arn" || !printable(s) {
		return arn{}, fmt.Errorf("%.200q is not an ARN", s)
	}
	kind, id, _ := strings.Cut(parts[5], "/")
	a := arn{parts[1], parts[3], parts[4], kind, id}
	switch {
	case parts[2] != "kms":
		return arn{}, fmt.Errorf("%.200q is not an ARN of KMS", s)
	case a.partition == "" || a.account == "" || a.id == "" || kind != "key" && kind != "alias":
		return arn{}, fmt.Errorf("%.200q is not the ARN of a KMS key or alias", s)
	case !validRegion(a.region):
		return arn{}, fmt.Errorf("%.200q names no valid Region", s)
	}
	return a, nil
}

// parseKeyARN parses the ARN of a key, as encrypted data keys hold it.
func parseKeyARN(s string) (arn, error) {
	a, err := parseARN(s)
	if err == nil && a.kind != "key" {
		err = fmt.Errorf("%.200q is the ARN of an alias, not of a key", s)
	}
	return a, err
}

// String returns what was parsed.
func (a arn) String() string {
	return "arn:" + a.partition + ":kms:" + a.region + ":" + a.account + ":" + a.kind + "/" + a.id
}

// multiRegion reports whether a is the ARN of a multi-Region key.
func (a arn) multiRegion() bool { return a.kind == "key" && strings.HasPrefix(a.id, multiRegionPrefix) }

const multiRegionPrefix = "mrk-"

// in returns the ARN of the replica in another Region.
func (a arn) in(region string) arn {
	a.region = region
	return a
}

// validRegion reports whether s can be the name of a Region. It becomes part
// of a host name, and encrypted data keys from anywhere contain it.
func validRegion(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 63 // a label of DNS
}

// printable reports whether s can be a key identifier in a request: printable
// ASCII of at most 2,048 bytes, KMS's limit. Error texts show it, also if it
// comes from a message.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(s) <= 2048
}

// A keyID names a KMS key in one of the ways that KMS accepts: key ARN, alias
// ARN, key ID, or alias.
type keyID struct {
	text   string
	arn    arn // zero if text is no ARN
	region string
}

// parseKeyID parses a key identifier. Keys that name no Region are in region.
//
// It follows framework/aws-kms/aws-kms-key-arn.md, "A valid AWS KMS
// identifier".
func parseKeyID(s, region string) (keyID, error) {
	if strings.HasPrefix(s, "arn:") {
		a, err := parseARN(s)
		return keyID{s, a, a.region}, err
	}
	name, isAlias := strings.CutPrefix(s, "alias/")
	switch {
	case s == "":
		return keyID{}, errors.New("empty key ID")
	case name == "" || !isAlias && strings.Contains(name, "/") || strings.Contains(s, ":") || !printable(s):
		return keyID{}, fmt.Errorf("%.200q is neither a key ID, a key ARN, an alias nor an alias ARN", s)
	case region == "":
		return keyID{}, fmt.Errorf("key %q names no Region, and neither Options.Region nor the AWS configuration has one", s)
	}
	return keyID{text: s, region: region}, nil
}

// isKeyARN reports whether the identifier is one that decrypts.
func (id keyID) isKeyARN() bool { return id.arn.kind == "key" }

// multiRegion reports whether the identifier is that of a multi-Region key.
//
// It follows framework/aws-kms/aws-kms-key-arn.md, "Identifying an AWS KMS
// multi-Region identifier".
func (id keyID) multiRegion() bool {
	return id.arn.multiRegion() || id.arn == arn{} && strings.HasPrefix(id.text, multiRegionPrefix)
}

// resource returns the ID of a multi-Region key, the same in all Regions.
func (id keyID) resource() string {
	if id.isKeyARN() {
		return id.arn.id
	}
	return id.text
}

// matches reports whether the identifier's key can decrypt what was encrypted
// under the stored key.
//
// It follows framework/aws-kms/aws-kms-mrk-match-for-decrypt.md.
func (id keyID) matches(stored arn, multiRegion bool) bool {
	return id.arn == stored || multiRegion && id.arn.multiRegion() && id.arn.in(stored.region) == stored
}

// encryptedBy returns the encrypted data key of a response that KMS gave when
// it was asked for this key.
func (id keyID) encryptedBy(responseKey *string, blob []byte) (keyprovider.EncryptedDataKey, error) {
	by, err := parseKeyARN(aws.ToString(responseKey))
	if err != nil {
		return keyprovider.EncryptedDataKey{}, fmt.Errorf("the response names no key: %w", err)
	}
	var same bool
	switch {
	case id.isKeyARN():
		same = by == id.arn
	case id.arn.kind == "alias", strings.HasPrefix(id.text, "alias/"):
		same = true // any key can be behind it
	default:
		same = by.id == id.text
	}
	if !same {
		return keyprovider.EncryptedDataKey{}, fmt.Errorf("the response is of another key, %v", by)
	}
	if len(blob) == 0 {
		return keyprovider.EncryptedDataKey{}, errors.New("the response has no ciphertext")
	}
	return keyprovider.EncryptedDataKey{ProviderID: providerID, ProviderInfo: []byte(by.String()), Ciphertext: blob}, nil
}

// checkUnique fails if two of the identifiers are of the same multi-Region
// key, naming all that are: it would be left open which of them to ask.
//
// It follows framework/aws-kms/aws-kms-mrk-are-unique.md.
func checkUnique(ids []keyID) error {
	count := make(map[string]int)
	for _, id := range ids {
		if id.multiRegion() {
			count[id.resource()]++
		}
	}
	var repeated []string
	for _, id := range ids {
		if id.multiRegion() && count[id.resource()] > 1 {
			repeated = append(repeated, id.text)
		}
	}
	if len(repeated) == 0 {
		return nil
	}
	slices.Sort(repeated)
	return fmt.Errorf("replicas of the same multi-Region key: %s", strings.Join(repeated, ", "))
}
