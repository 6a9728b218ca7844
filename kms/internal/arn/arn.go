// Package arn has the ARNs of AWS KMS keys, as providers and key stores read
// them from callers, messages and records.
package arn

import (
	"fmt"
	"strings"
)

// An ARN is the ARN of a KMS key or alias.
//
// It follows framework/aws-kms/aws-kms-key-arn.md of the specification.
type ARN struct {
	Partition, Region, Account string
	Kind                       string // "key" or "alias"
	ID                         string // of the key; or the alias without "alias/"
}

// Parse parses the ARN of a key or alias. Its Region must be of its partition:
// see [CheckRegion].
func Parse(s string) (ARN, error) {
	parts := strings.SplitN(s, ":", 7)
	if len(parts) != 6 || parts[0] != "arn" || !Printable(s) {
		return ARN{}, fmt.Errorf("%.200q is not an ARN", s)
	}
	kind, id, _ := strings.Cut(parts[5], "/")
	a := ARN{parts[1], parts[3], parts[4], kind, id}
	switch {
	case parts[2] != "kms":
		return ARN{}, fmt.Errorf("%.200q is not an ARN of KMS", s)
	case a.Partition == "" || a.Account == "" || a.ID == "" || kind != "key" && kind != "alias":
		return ARN{}, fmt.Errorf("%.200q is not the ARN of a KMS key or alias", s)
	}
	if err := CheckRegion(a.Partition, a.Region); err != nil {
		return ARN{}, fmt.Errorf("%.200q: %w", s, err)
	}
	return a, nil
}

// ParseKey parses the ARN of a key, as encrypted data keys hold it.
func ParseKey(s string) (ARN, error) {
	a, err := Parse(s)
	if err == nil && a.Kind != "key" {
		err = fmt.Errorf("%.200q is the ARN of an alias, not of a key", s)
	}
	return a, err
}

// String returns what was parsed.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":kms:" + a.Region + ":" + a.Account + ":" + a.Kind + "/" + a.ID
}

// MultiRegion reports whether a is the ARN of a multi-Region key.
func (a ARN) MultiRegion() bool { return a.Kind == "key" && strings.HasPrefix(a.ID, MultiRegionPrefix) }

// MultiRegionPrefix is how the IDs of multi-Region keys begin.
const MultiRegionPrefix = "mrk-"

// Replica returns the ARN of the replica in another Region, which must be of the
// same partition.
func (a ARN) Replica(region string) (ARN, error) {
	if err := CheckRegion(a.Partition, region); err != nil {
		return ARN{}, fmt.Errorf("no replica of %v: %w", a, err)
	}
	a.Region = region
	return a, nil
}

// Matches reports whether the key a can decrypt what was encrypted under the
// stored one: the same key or, with multiRegion, a replica of it.
//
// It follows framework/aws-kms/aws-kms-mrk-match-for-decrypt.md.
func (a ARN) Matches(stored ARN, multiRegion bool) bool {
	other := stored
	other.Region = a.Region
	return a == stored || multiRegion && a.MultiRegion() && a == other
}

// Printable reports whether s can be a key identifier in a request: printable
// ASCII of at most 2,048 bytes, KMS's limit. Error texts show it, also if it
// comes from a message.
func Printable(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(s) <= 2048
}
