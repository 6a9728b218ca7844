package format

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// ReservedPrefix begins the keys of an encryption context that belong to the
// SDKs; callers cannot use them.
const ReservedPrefix = "aws-crypto-"

// PublicKeyField is the key of the encryption context under which a signed
// message carries its verification key.
const PublicKeyField = ReservedPrefix + "public-key"

// AppendEncryptionContext appends the canonical serialisation of ec to b: the
// number of pairs, then each key and value with its length, in ascending order
// of the keys' UTF-8 bytes. An empty or nil context is no bytes at all. It
// fails with [ErrMalformed] if a key or value is not UTF-8, or if a key, a
// value or the whole is longer than 65,535 bytes.
//
// It follows "Serialization" of the encryption context in the specification's
// [structures].
//
// [structures]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/structures.md
func AppendEncryptionContext(b []byte, ec map[string]string) ([]byte, error) {
	if len(ec) == 0 {
		return b, nil
	}
	var few [8]pair // enough for most, without an allocation
	pairs := few[:0]
	size := 2
	for k, v := range ec {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, fmt.Errorf("%w: encryption context: the pair of key %q is not UTF-8", ErrMalformed, clip(k))
		}
		size += 4 + len(k) + len(v)
		if size > maxField {
			return nil, fmt.Errorf("%w: encryption context: more than %d bytes", ErrMalformed, maxField)
		}
		pairs = append(pairs, pair{k, v})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	b = slices.Grow(b, size)
	b = binary.BigEndian.AppendUint16(b, uint16(len(pairs)))
	for i := range pairs {
		b = appendField(appendField(b, pairs[i].key), pairs[i].value)
	}
	return b, nil
}

// A pair is one of an encryption context.
type pair struct{ key, value string }

// appendField appends s with its two-byte length. The caller has checked it.
func appendField[S ~string | ~[]byte](b []byte, s S) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// clip keeps what an error prints of a caller's key short.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}

// parseEncryptionContext decodes the AAD section b of a header, which stands
// at offset. It accepts the pairs in any order, as some old writers did not
// sort them, and a count of zero, which some wrote for an empty context.
func parseEncryptionContext(b []byte, offset int) (map[string]string, error) {
	const field = "encryption context"
	if len(b) == 0 {
		return map[string]string{}, nil
	}
	if len(b) < 2 {
		return nil, malformed(offset, field, "no room for the number of pairs")
	}
	count := int(binary.BigEndian.Uint16(b))
	if count == 0 && len(b) > 2 {
		return nil, malformed(offset, field, "bytes after a count of no pairs")
	}
	if count > (len(b)-2)/4 { // before the map is made for them
		return nil, malformed(offset, field, "%d pairs do not fit in %d bytes", count, len(b))
	}
	s := string(b) // keys and values share its memory
	ec := make(map[string]string, count)
	pos := 2
	next := func() (string, bool) {
		if len(s)-pos < 2 {
			return "", false
		}
		start := pos + 2
		end := start + int(binary.BigEndian.Uint16(b[pos:]))
		if end > len(s) {
			return "", false
		}
		pos = end
		return s[start:end], true
	}
	for range count {
		at := offset + pos
		k, ok := next()
		if !ok {
			return nil, malformed(at, field, "a key is longer than the section")
		}
		v, ok := next()
		if !ok {
			return nil, malformed(at, field, "a value is longer than the section")
		}
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, malformed(at, field, "not UTF-8")
		}
		if _, dup := ec[k]; dup {
			return nil, malformed(at, field, "the key %q stands twice", clip(k))
		}
		ec[k] = v
	}
	if pos != len(s) {
		return nil, malformed(offset+pos, field, "%d bytes after the last pair", len(s)-pos)
	}
	return ec, nil
}
