package provider

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/suite"
)

const (
	maxNamed = 3  // entries, or keys of a provider, that an error names
	maxPairs = 10 // keys of an encryption context that an error names
)

// describe names the first of the entries, and how many others there are, for
// whoever looks for the right key: by provider ID and info, not by ciphertext.
func describe(entries []*format.EncryptedDataKey, others int) string {
	var names []string
	for _, edk := range entries {
		names = append(names, describeEntry(edk))
	}
	return list(names, others)
}

// Describe names the first three of a message's encrypted data keys, and the number of
// the others, by provider ID and info.
func Describe(keys []format.EncryptedDataKey) string {
	n := min(len(keys), maxNamed)
	var first []*format.EncryptedDataKey
	for i := range n {
		first = append(first, &keys[i])
	}
	return describe(first, len(keys)-n)
}

// List returns the first three of the names and the number of the others.
func List(names []string) string {
	n := min(len(names), maxNamed)
	return list(names[:n], len(names)-n)
}

// describeEntry returns the provider ID and what the provider info says to a
// reader.
func describeEntry(edk *format.EncryptedDataKey) string {
	id := fmt.Sprintf("%.100q", edk.ProviderID)
	info := edk.ProviderInfo
	if recipient, sender, ok := agreement(info); ok {
		return fmt.Sprintf("%s from %.8x to %.8x", id, sender, recipient)
	}
	if name, ok := rawAESName(info); ok {
		info = name
	}
	if len(info) == 0 || !utf8.Valid(info) || bytes.ContainsFunc(info, unicode.IsControl) {
		return fmt.Sprintf("%s with %d bytes of provider info", id, len(info))
	}
	return fmt.Sprintf("%s %.150q", id, info)
}

// rawAESName returns the name of a raw AES key, which the length of the tag in
// bits, that of the IV, and the IV follow.
func rawAESName(info []byte) (name []byte, ok bool) {
	n := len(info) - 8 - suite.IVSize
	if n <= 0 || binary.BigEndian.Uint32(info[n:]) != 8*suite.TagSize || binary.BigEndian.Uint32(info[n+4:]) != suite.IVSize {
		return nil, false
	}
	return info[:n], true
}

// agreement returns the compressed points of an ECDH key agreement: see
// keywrap.ParseAgreement.
func agreement(info []byte) (recipient, sender []byte, ok bool) {
	if len(info) < 1+4 || info[0] != 1 {
		return nil, nil, false
	}
	n := int(min(binary.BigEndian.Uint32(info[1:]), 1<<16))
	if len(info) != 1+2*(4+n) || int(binary.BigEndian.Uint32(info[1+4+n:])) != n {
		return nil, nil, false
	}
	return info[5 : 5+n], info[5+n+4:], true
}

// ContextKeys names the keys of an encryption context, for the error of a data
// key that is bound to another one. It names no values.
func ContextKeys(ec map[string]string) string {
	if len(ec) == 0 {
		return "no pairs"
	}
	keys := slices.Sorted(maps.Keys(ec))
	var names []string
	for _, k := range keys[:min(len(keys), maxPairs)] {
		names = append(names, fmt.Sprintf("%.100q", k))
	}
	return "keys " + list(names, len(keys)-len(names))
}

// list returns the names, and how many others there are.
func list(names []string, others int) string {
	s := strings.Join(names, ", ")
	if others > 0 {
		s += fmt.Sprintf(" and %d more", others)
	}
	return s
}
