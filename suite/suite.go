// Package suite defines the algorithm suites of the AWS Encryption SDK and the
// commitment policies that say which of them may be used.
//
// A suite fixes everything cryptographic about a message: the key length, how
// the key is derived, whether the message commits to that key, and whether it
// is signed. All suites encrypt with AES-GCM, a 12-byte IV and a 16-byte tag.
//
// It follows the specification's [algorithm-suites] and [commitment-policy].
//
// [algorithm-suites]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/algorithm-suites.md
// [commitment-policy]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/commitment-policy.md
package suite

import (
	"crypto"
	"crypto/elliptic"
	_ "crypto/sha256" // for KDF and SignatureHash
	_ "crypto/sha512"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Lengths shared by all suites, in bytes.
const (
	IVSize  = 12
	TagSize = 16
)

// ID identifies an algorithm suite; it is the two-byte value stored in message
// headers. The zero value is no suite: in options it stands for the default of
// the commitment policy. The properties of an ID that is not one of the
// constants below are all zero.
type ID uint16

// The algorithm suites, from the oldest to the newest. Those of AES alone and
// with HKDF only are for reading old messages and for callers who cannot use
// commitment; [AES256GCMHKDFSHA512CommitKeyECDSAP384] is the default.
const (
	AES128GCM                             ID = 0x0014 // the data key itself encrypts
	AES192GCM                             ID = 0x0046
	AES256GCM                             ID = 0x0078
	AES128GCMHKDFSHA256                   ID = 0x0114 // a key derived for each message
	AES192GCMHKDFSHA256                   ID = 0x0146
	AES256GCMHKDFSHA256                   ID = 0x0178
	AES128GCMHKDFSHA256ECDSAP256          ID = 0x0214 // and a signature
	AES192GCMHKDFSHA384ECDSAP384          ID = 0x0346
	AES256GCMHKDFSHA384ECDSAP384          ID = 0x0378
	AES256GCMHKDFSHA512CommitKey          ID = 0x0478 // key commitment, unsigned
	AES256GCMHKDFSHA512CommitKeyECDSAP384 ID = 0x0578 // key commitment and a signature
)

// properties is a row of the table below. The version of the message format,
// the commitment key and the message ID's length all follow from committing.
type properties struct {
	id         ID
	name       string
	keySize    int
	kdf        crypto.Hash // zero: the identity KDF
	committing bool
	signature  crypto.Hash // zero: unsigned; else the hash, which fixes the curve
}

var table = []properties{
	{AES128GCM, "AES_128_GCM_IV12_TAG16_NO_KDF", 16, 0, false, 0},
	{AES192GCM, "AES_192_GCM_IV12_TAG16_NO_KDF", 24, 0, false, 0},
	{AES256GCM, "AES_256_GCM_IV12_TAG16_NO_KDF", 32, 0, false, 0},
	{AES128GCMHKDFSHA256, "AES_128_GCM_IV12_TAG16_HKDF_SHA256", 16, crypto.SHA256, false, 0},
	{AES192GCMHKDFSHA256, "AES_192_GCM_IV12_TAG16_HKDF_SHA256", 24, crypto.SHA256, false, 0},
	{AES256GCMHKDFSHA256, "AES_256_GCM_IV12_TAG16_HKDF_SHA256", 32, crypto.SHA256, false, 0},
	{AES128GCMHKDFSHA256ECDSAP256, "AES_128_GCM_IV12_TAG16_HKDF_SHA256_ECDSA_P256", 16, crypto.SHA256, false, crypto.SHA256},
	{AES192GCMHKDFSHA384ECDSAP384, "AES_192_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384", 24, crypto.SHA384, false, crypto.SHA384},
	{AES256GCMHKDFSHA384ECDSAP384, "AES_256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384", 32, crypto.SHA384, false, crypto.SHA384},
	{AES256GCMHKDFSHA512CommitKey, "AES_256_GCM_HKDF_SHA512_COMMIT_KEY", 32, crypto.SHA512, true, 0},
	{AES256GCMHKDFSHA512CommitKeyECDSAP384, "AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384", 32, crypto.SHA512, true, crypto.SHA384},
}

// none is the row of an ID that is not in the table.
var none properties

func (id ID) properties() *properties {
	for i := len(table) - 1; i >= 0; i-- { // the newest are the usual ones
		if table[i].id == id {
			return &table[i]
		}
	}
	return &none
}

// All returns every suite of the AWS Encryption SDK in ascending order. The
// slice is the caller's.
func All() []ID {
	ids := make([]ID, len(table))
	for i := range table {
		ids[i] = table[i].id
	}
	return ids
}

// Parse returns the suite that s names: by the specification's name, with or
// without the prefix "ALG_" and in any case, or by four hexadecimal digits,
// with or without the prefix "0x". Anything else is an error.
func Parse(s string) (ID, error) {
	name := strings.TrimPrefix(strings.ToUpper(s), "ALG_")
	if i := slices.IndexFunc(table, func(p properties) bool { return p.name == name }); i >= 0 {
		return table[i].id, nil
	}
	if digits := strings.TrimPrefix(name, "0X"); len(digits) == 4 {
		if n, err := strconv.ParseUint(digits, 16, 16); err == nil && ID(n).Valid() {
			return ID(n), nil
		}
	}
	return 0, fmt.Errorf("suite: no algorithm suite is called %q", s)
}

// Valid reports whether id is one of the suites of the AWS Encryption SDK.
func (id ID) Valid() bool { return id.KeySize() != 0 }

// String returns the specification's name of the suite, such as
// ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY, or "suite 0x" and four digits if id
// is not valid.
func (id ID) String() string {
	if name := id.properties().name; name != "" {
		return "ALG_" + name
	}
	return fmt.Sprintf("suite 0x%04x", uint16(id))
}

// KeySize returns the length in bytes of the data key, which is also that of
// the key that encrypts the message.
func (id ID) KeySize() int { return id.properties().keySize }

// KDF returns the hash that HKDF uses to derive the message's key, or zero if
// the data key itself is that key.
func (id ID) KDF() crypto.Hash { return id.properties().kdf }

// Committing reports whether messages of the suite commit to their key, so
// that no other key opens them to another plaintext.
func (id ID) Committing() bool { return id.properties().committing }

// CommitKeySize returns the length in bytes of the commit key that the header
// holds as algorithm suite data: 32, or 0 if the suite does not commit.
func (id ID) CommitKeySize() int {
	if id.Committing() {
		return 32
	}
	return 0
}

// MessageVersion returns the version of the message format that the suite is
// written in: 2 for committing suites, 1 for the others.
func (id ID) MessageVersion() int {
	switch p := id.properties(); {
	case p.committing:
		return 2
	case p.keySize != 0:
		return 1
	}
	return 0
}

// MessageIDSize returns the length in bytes of the message ID: 32 in version 2
// of the message format, 16 in version 1.
func (id ID) MessageIDSize() int { return 16 * id.MessageVersion() }

// Signing reports whether messages of the suite end with an ECDSA signature.
func (id ID) Signing() bool { return id.SignatureHash() != 0 }

// SignatureHash returns the hash that is signed, or zero if the suite does not
// sign.
func (id ID) SignatureHash() crypto.Hash { return id.properties().signature }

// Curve returns the curve of the suite's signatures, or nil if it does not sign.
func (id ID) Curve() elliptic.Curve {
	switch id.SignatureHash() {
	case crypto.SHA256:
		return elliptic.P256()
	case crypto.SHA384:
		return elliptic.P384()
	}
	return nil
}

// SignatureSize returns the length in bytes of the DER signature that this
// module and most others write: 103 on P-384, 71 on P-256, 0 if the suite does
// not sign. Those of other writers may differ by a few bytes.
func (id ID) SignatureSize() int {
	switch id.SignatureHash() {
	case crypto.SHA256:
		return 71
	case crypto.SHA384:
		return 103
	}
	return 0
}
