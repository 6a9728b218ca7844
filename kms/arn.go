package kms

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/internal/arn"
)

// A keyID names a KMS key in one of the ways that KMS accepts: key ARN, alias
// ARN, key ID, or alias.
type keyID struct {
	text   string
	arn    arn.ARN // zero if text is no ARN
	region string
}

// parseKeyID parses a key identifier. Keys that name no Region are in region.
//
// It follows framework/aws-kms/aws-kms-key-arn.md, "A valid AWS KMS
// identifier".
func parseKeyID(s, region string) (keyID, error) {
	if strings.HasPrefix(s, "arn:") {
		a, err := arn.Parse(s)
		return keyID{s, a, a.Region}, err
	}
	name, isAlias := strings.CutPrefix(s, "alias/")
	switch {
	case s == "":
		return keyID{}, errors.New("empty key ID")
	case name == "" || !isAlias && strings.Contains(name, "/") || strings.Contains(s, ":") || !arn.Printable(s):
		return keyID{}, fmt.Errorf("%.200q is neither a key ID, a key ARN, an alias nor an alias ARN", s)
	case region == "":
		return keyID{}, fmt.Errorf("key %q names no Region, and neither Options.Region nor the AWS configuration has one", s)
	}
	return keyID{text: s, region: region}, nil
}

// isKeyARN reports whether the identifier is one that decrypts.
func (id keyID) isKeyARN() bool { return id.arn.Kind == "key" }

// multiRegion reports whether the identifier is that of a multi-Region key.
//
// It follows framework/aws-kms/aws-kms-key-arn.md, "Identifying an AWS KMS
// multi-Region identifier".
func (id keyID) multiRegion() bool {
	return id.arn.MultiRegion() || id.arn == arn.ARN{} && strings.HasPrefix(id.text, arn.MultiRegionPrefix)
}

// resource returns the ID of a multi-Region key, the same in all Regions.
func (id keyID) resource() string {
	if id.isKeyARN() {
		return id.arn.ID
	}
	return id.text
}

// matches reports whether the identifier's key can decrypt what was encrypted
// under the stored key.
func (id keyID) matches(stored arn.ARN, multiRegion bool) bool {
	return id.arn.Matches(stored, multiRegion)
}

// encryptedBy returns the encrypted data key of a response that KMS gave when
// it was asked for this key.
func (id keyID) encryptedBy(responseKey *string, blob []byte) (keyprovider.EncryptedDataKey, error) {
	by, err := arn.ParseKey(aws.ToString(responseKey))
	if err != nil {
		return keyprovider.EncryptedDataKey{}, fmt.Errorf("the response names no key: %w", err)
	}
	var same bool
	switch {
	case id.isKeyARN():
		same = by == id.arn
	case id.arn.Kind == "alias", strings.HasPrefix(id.text, "alias/"):
		same = true // any key can be behind it
	default:
		same = by.ID == id.text
	}
	if !same || by.Region != id.region {
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
