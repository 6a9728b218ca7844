package arn

import (
	"fmt"
	"strings"
)

// special has how the names of Regions begin that are not of the partition aws.
// Its source is the table of partitions in the AWS SDK for Go v2, in
// internal/endpoints/awsrulesfn/partitions.json, as of November 2026.
var special = [...]struct{ prefix, partition string }{
	{"cn-", "aws-cn"},
	{"us-gov-", "aws-us-gov"},
	{"us-iso-", "aws-iso"},
	{"us-isob-", "aws-iso-b"},
	{"eu-isoe-", "aws-iso-e"},
	{"us-isof-", "aws-iso-f"},
	{"eusc-", "aws-eusc"},
}

// PartitionOf returns the partition that the Region belongs to, or "" if it is
// none that is known. Of the partition aws are all other Regions of two letters,
// a word and a number, such as mx-central-1, also in countries that have none
// yet.
func PartitionOf(region string) string {
	if !ValidRegion(region) {
		return ""
	}
	for _, s := range special {
		if strings.HasPrefix(region, s.prefix) {
			return s.partition
		}
	}
	if region[2] == '-' && strings.Count(region, "-") == 2 {
		return "aws"
	}
	return ""
}

// CheckRegion fails if the Region is not one of the partition. A partition that
// is not known can have Regions that are of no known one.
func CheckRegion(partition, region string) error {
	if !ValidRegion(region) {
		return fmt.Errorf("%.100q is not a Region", region)
	}
	switch of := PartitionOf(region); {
	case of == partition, of == "" && !known(partition):
		return nil
	case of != "":
		return fmt.Errorf("the Region %s is of partition %s, not of %.100q", region, of, partition)
	}
	return fmt.Errorf("the Region %s is not of partition %s", region, partition)
}

func known(partition string) bool {
	for _, s := range special {
		if s.partition == partition {
			return true
		}
	}
	return partition == "aws"
}

// ValidRegion reports whether s looks like the name of a Region: words of
// lower-case letters, then a number, all separated by hyphens, at least three of
// them. It becomes part of a host name, and encrypted data keys from anywhere
// contain it.
func ValidRegion(s string) bool {
	words := strings.Split(s, "-")
	if len(s) > 63 || len(words) < 3 || len(words[0]) < 2 { // 63: a label of DNS
		return false
	}
	for i, word := range words {
		first, last := byte('a'), byte('z')
		if i == len(words)-1 {
			first, last = '0', '9'
		}
		for _, c := range []byte(word) {
			if c < first || c > last {
				return false
			}
		}
		if word == "" {
			return false
		}
	}
	return true
}

// ValidLabel reports whether s can be a part of a host name, as the Region of an
// AWS configuration must: for another endpoint than AWS's it can be any name,
// such as "local".
func ValidLabel(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 63
}
