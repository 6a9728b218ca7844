package keyprovider

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/suite"
)

// A MaterialsManager decides everything that a message needs besides its
// plaintext: the suite, the encryption context, the data key and the signing key.
// If a provider implements it too, it replaces the default manager; a type
// assertion finds it.
//
// A manager is policy, so a wrapper must not bypass it. Write one like this: embed
// [ManagerOnly], keep the inner provider in an unexported field, and call it
// through [Materials]. See the examples.
//
// The methods may be called concurrently. They must not change the request, and
// must not keep it after the call. The caller owns the materials and clears
// DataKey after use; their maps and slices are read-only for both sides.
//
// It follows [cmm-interface] of the specification.
//
// [cmm-interface]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/cmm-interface.md
type MaterialsManager interface {
	EncryptionMaterials(context.Context, *EncryptionRequest) (*EncryptionMaterials, error)
	DecryptionMaterials(context.Context, *DecryptionRequest) (*DecryptionMaterials, error)
}

// ManagerOnly is embedded in a MaterialsManager to make it a [MasterKeyProvider],
// so that Encrypt and Decrypt accept it. Its methods always return
// [ErrManagerOnly]. They are called only if a wrapper hides the manager.
type ManagerOnly struct{}

// MasterKeys returns [ErrManagerOnly].
func (ManagerOnly) MasterKeys(context.Context, *Request) ([]MasterKey, error) {
	return nil, ErrManagerOnly
}

// DecryptDataKey returns [ErrManagerOnly].
func (ManagerOnly) DecryptDataKey(context.Context, *Request, []EncryptedDataKey) (*DataKey, error) {
	return nil, ErrManagerOnly
}

// Materials returns p itself if it is a [MaterialsManager], and otherwise the
// default manager over p.
//
// If no suite is named, the default manager uses the default of the commitment
// policy. If the suite signs, it generates a signing key pair and adds the public
// key to the encryption context. The first master key of p generates the data key;
// then the others wrap it concurrently, up to 16 at a time.
//
// It follows [default-cmm] of the specification.
//
// [default-cmm]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/default-cmm.md
func Materials(p MasterKeyProvider) MaterialsManager {
	if m, ok := p.(MaterialsManager); ok && !provider.IsNil(p) {
		return m
	}
	return defaultManager{p}
}

// An EncryptionRequest asks for the materials of a new message.
type EncryptionRequest struct {
	EncryptionContext    map[string]string
	RequiredContextKeys  []string // keys of EncryptionContext whose pairs the message must not store
	CommitmentPolicy     suite.CommitmentPolicy
	Suite                suite.ID // zero: the manager chooses
	MaxPlaintextLength   int64    // in bytes; zero: the message is empty; negative: unknown
	MaxEncryptedDataKeys int      // zero: no limit
}

// EncryptionMaterials are what Encrypt makes a message with. They print redacted,
// as a [DataKey] does.
type EncryptionMaterials struct {
	redacted
	Suite               suite.ID
	EncryptionContext   map[string]string // the request's pairs, and the verification key if the suite signs
	RequiredContextKeys []string          // keys whose pairs are authenticated but not stored in the message
	DataKey             []byte            // secret
	EncryptedDataKeys   []EncryptedDataKey
	SigningKey          *ecdsa.PrivateKey // on the suite's curve; nil if the suite does not sign

	maxAge time.Duration // for how long a Cache may use them; zero: it decides
}

// A DecryptionRequest asks for the materials of an existing message.
type DecryptionRequest struct {
	Suite             suite.ID
	CommitmentPolicy  suite.CommitmentPolicy
	EncryptedDataKeys []EncryptedDataKey
	EncryptionContext map[string]string // as stored in the message, not authenticated yet
	ReproducedContext map[string]string // the pairs that the caller of Decrypt gave
}

// DecryptionMaterials are what Decrypt opens a message with. They print redacted, as
// a [DataKey] does.
type DecryptionMaterials struct {
	redacted
	Suite               suite.ID
	EncryptionContext   map[string]string // the stored pairs and the reproduced pairs
	RequiredContextKeys []string          // keys whose pairs the message does not store
	DataKey             []byte            // secret
	VerificationKey     *ecdsa.PublicKey  // on the suite's curve; nil if the suite does not sign
	OpenedBy            *EncryptedDataKey // the entry that held DataKey; nil: the manager does not say
}

// Context returns the encryption context that the data key is bound to, which is
// the stored pairs and the reproduced pairs together. added holds the keys that
// only the reproduced pairs have, sorted. If there is none, ec is r's own map and
// not a copy. A materials manager that does not call [Materials] needs it.
//
// The error wraps [ErrEncryptionContext]
//   - if a pair is reproduced with another value than the message stores,
//   - if a reproduced key has the reserved prefix "aws-crypto-" and is not stored,
//   - if the suite signs and the verification key is missing, or
//   - if the suite does not sign and there is a verification key.
//
// It follows [default-cmm] of the specification, and [cmm-interface], "Decrypt
// Materials".
//
// [default-cmm]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/default-cmm.md
// [cmm-interface]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/cmm-interface.md
func (r *DecryptionRequest) Context() (ec map[string]string, added []string, err error) {
	if _, ok := r.EncryptionContext[format.PublicKeyField]; ok != r.Suite.Signing() {
		if ok {
			return nil, nil, fmt.Errorf("%w: there is a key %s, but the suite does not sign", ErrEncryptionContext, format.PublicKeyField)
		}
		return nil, nil, fmt.Errorf("%w: the key %s of a signed message is missing", ErrEncryptionContext, format.PublicKeyField)
	}
	if hasPairs(r.EncryptionContext, r.ReproducedContext) {
		return r.EncryptionContext, nil, nil
	}
	for _, k := range slices.Sorted(maps.Keys(r.ReproducedContext)) {
		switch stored, ok := r.EncryptionContext[k]; {
		case ok && stored != r.ReproducedContext[k]:
			return nil, nil, fmt.Errorf("%w: the message has another value for the key %q", ErrEncryptionContext, k)
		case !ok && strings.HasPrefix(k, format.ReservedPrefix):
			return nil, nil, fmt.Errorf("%w: the message does not store the reserved key %q", ErrEncryptionContext, k)
		case !ok:
			added = append(added, k)
		}
	}
	ec = maps.Clone(r.EncryptionContext)
	if ec == nil {
		ec = make(map[string]string, len(added))
	}
	for _, k := range added {
		ec[k] = r.ReproducedContext[k]
	}
	return ec, added, nil
}

// hasPairs reports whether ec has all the pairs.
func hasPairs(ec, pairs map[string]string) bool {
	for k, v := range pairs {
		if got, ok := ec[k]; !ok || got != v {
			return false
		}
	}
	return true
}

var errNoMaterials = errors.New("the materials manager returned nothing")

// encryptionMaterials asks the manager that another one of this package is over. A
// user's gets a copy of the request, and a copy of what it returns is used: what it does
// to either changes nothing for the other.
func encryptionMaterials(ctx context.Context, m MaterialsManager, req *EncryptionRequest) (*EncryptionMaterials, error) {
	lent := *req
	if !provider.Ours(m) {
		lent.EncryptionContext = maps.Clone(req.EncryptionContext)
		lent.RequiredContextKeys = slices.Clone(req.RequiredContextKeys)
	}
	materials, err := m.EncryptionMaterials(ctx, &lent)
	if err == nil && materials == nil {
		err = errNoMaterials
	}
	if err != nil {
		return nil, err
	}
	if provider.Ours(m) {
		return materials, nil
	}
	defer clear(materials.DataKey)
	own := materials.clone()
	if err := provider.CheckSigningKey(m, own.SigningKey); err != nil {
		clear(own.DataKey)
		return nil, err
	}
	return &own, nil
}

// decryptionMaterials does the same for decryption. The encrypted data keys, of
// which there can be many, are the request's: nobody here looks at them again.
func decryptionMaterials(ctx context.Context, m MaterialsManager, req *DecryptionRequest) (*DecryptionMaterials, error) {
	lent := *req
	if !provider.Ours(m) {
		lent.EncryptionContext = maps.Clone(req.EncryptionContext)
		lent.ReproducedContext = maps.Clone(req.ReproducedContext)
	}
	materials, err := m.DecryptionMaterials(ctx, &lent)
	if err == nil && materials == nil {
		err = errNoMaterials
	}
	if err != nil {
		return nil, err
	}
	if provider.Ours(m) {
		return materials, nil
	}
	defer clear(materials.DataKey)
	own := materials.clone()
	return &own, nil
}

// missingKey returns the first of keys that ec lacks.
func missingKey(ec map[string]string, keys []string) (key string, missing bool) {
	for _, k := range keys {
		if _, ok := ec[k]; !ok {
			return k, true
		}
	}
	return "", false
}
