package suite

import "fmt"

// A CommitmentPolicy says whether messages must commit to their key. The zero
// value is the strictest policy. Every value but the three constants is
// invalid: it allows no suite and has no default.
type CommitmentPolicy uint8

const (
	// RequireEncryptRequireDecrypt writes and reads only messages that commit.
	RequireEncryptRequireDecrypt CommitmentPolicy = iota
	// RequireEncryptAllowDecrypt writes only messages that commit and reads
	// all: for the time in which old messages are still around.
	RequireEncryptAllowDecrypt
	// ForbidEncryptAllowDecrypt writes only messages that do not commit and
	// reads all: for readers that do not know commitment yet.
	ForbidEncryptAllowDecrypt
)

// Valid reports whether p is one of the three policies.
func (p CommitmentPolicy) Valid() bool { return p <= ForbidEncryptAllowDecrypt }

// String returns the specification's name of the policy.
func (p CommitmentPolicy) String() string {
	switch p {
	case RequireEncryptRequireDecrypt:
		return "REQUIRE_ENCRYPT_REQUIRE_DECRYPT"
	case RequireEncryptAllowDecrypt:
		return "REQUIRE_ENCRYPT_ALLOW_DECRYPT"
	case ForbidEncryptAllowDecrypt:
		return "FORBID_ENCRYPT_ALLOW_DECRYPT"
	}
	return fmt.Sprintf("commitment policy %d", uint8(p))
}

// Default returns the suite that the policy encrypts with when none is named,
// or zero if p is not valid. For ForbidEncryptAllowDecrypt it is
// [AES256GCMHKDFSHA384ECDSAP384], as in all SDKs, and not the suite without
// key derivation that the specification's text gives.
func (p CommitmentPolicy) Default() ID {
	switch p {
	case RequireEncryptRequireDecrypt, RequireEncryptAllowDecrypt:
		return AES256GCMHKDFSHA512CommitKeyECDSAP384
	case ForbidEncryptAllowDecrypt:
		return AES256GCMHKDFSHA384ECDSAP384
	}
	return 0
}

// AllowsEncrypt reports whether the policy lets messages of the suite be written.
func (p CommitmentPolicy) AllowsEncrypt(id ID) bool {
	return p.Valid() && id.Valid() && id.Committing() != (p == ForbidEncryptAllowDecrypt)
}

// AllowsDecrypt reports whether the policy lets messages of the suite be read.
func (p CommitmentPolicy) AllowsDecrypt(id ID) bool {
	return p.Valid() && id.Valid() && (id.Committing() || p != RequireEncryptRequireDecrypt)
}
