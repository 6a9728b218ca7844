package keyprovider

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/suite"
)

// A MaterialsManager decides on everything that a message needs beside its
// plaintext: suite, encryption context, data key, signing key. A provider that
// is one too replaces the default manager; it is found by type assertion.
//
// A manager is policy, so hiding it must not turn it off. Embed [ManagerOnly],
// keep the provider that it works with in an unexported field, and ask it by
// [Materials]. Both methods may be called concurrently, must not change or
// keep the request, and return materials that become the caller's, who clears
// the data key after use. Their maps and slices are read-only for both.
//
// It follows framework/cmm-interface.md of the specification.
type MaterialsManager interface {
	EncryptionMaterials(context.Context, *EncryptionRequest) (*EncryptionMaterials, error)
	DecryptionMaterials(context.Context, *DecryptionRequest) (*DecryptionMaterials, error)
}

// ManagerOnly makes a MaterialsManager that embeds it a MasterKeyProvider, as
// which it can be given to Encrypt and Decrypt. Its methods always fail with
// [ErrManagerOnly]; they are called only if something hides the manager.
type ManagerOnly struct{}

// MasterKeys fails with [ErrManagerOnly].
func (ManagerOnly) MasterKeys(context.Context, *Request) ([]MasterKey, error) {
	return nil, ErrManagerOnly
}

// DecryptDataKey fails with [ErrManagerOnly].
func (ManagerOnly) DecryptDataKey(context.Context, *Request, []EncryptedDataKey) (*DataKey, error) {
	return nil, ErrManagerOnly
}

// Materials returns p itself if it is a [MaterialsManager], else the default
// manager over p. The default manager chooses the default suite of the
// commitment policy if none is named, generates a signing key pair if the
// suite signs and binds its public key by the encryption context, and lets the
// provider's master keys generate and encrypt the data key, all but the first
// at the same time.
//
// It follows framework/default-cmm.md of the specification.
func Materials(p MasterKeyProvider) MaterialsManager {
	if m, ok := p.(MaterialsManager); ok && !provider.IsNil(p) {
		return m
	}
	return defaultManager{p}
}

// An EncryptionRequest asks for the materials of a new message.
type EncryptionRequest struct {
	EncryptionContext    map[string]string
	RequiredContextKeys  []string // keys of EncryptionContext that the message shall not store
	CommitmentPolicy     suite.CommitmentPolicy
	Suite                suite.ID // zero: none named
	MaxPlaintextLength   int64    // in bytes; negative: unknown; zero means empty
	MaxEncryptedDataKeys int      // zero: no limit
}

// EncryptionMaterials are what a new message is made with. They do not print
// their keys: fmt, log/slog and encoding/json show them redacted.
type EncryptionMaterials struct {
	redacted
	Suite               suite.ID
	EncryptionContext   map[string]string // the request's, and the verification key if the suite signs
	RequiredContextKeys []string          // authenticated, not stored in the message
	DataKey             []byte            // secret
	EncryptedDataKeys   []EncryptedDataKey
	SigningKey          *ecdsa.PrivateKey // on the suite's curve; nil if it does not sign
}

// A DecryptionRequest asks for the materials to read a message.
type DecryptionRequest struct {
	Suite             suite.ID
	CommitmentPolicy  suite.CommitmentPolicy
	EncryptedDataKeys []EncryptedDataKey
	EncryptionContext map[string]string // as stored in the message, not authenticated yet
	ReproducedContext map[string]string // as the caller of Decrypt gave it
}

// DecryptionMaterials are what a message is read with. They do not print their
// key: fmt, log/slog and encoding/json show them redacted.
type DecryptionMaterials struct {
	redacted
	Suite               suite.ID
	EncryptionContext   map[string]string // the stored pairs and the reproduced ones
	RequiredContextKeys []string          // those that the message does not store
	DataKey             []byte            // secret
	VerificationKey     *ecdsa.PublicKey  // on the suite's curve; nil if it does not sign
	OpenedBy            *EncryptedDataKey // the one that held DataKey; nil if the manager does not know
}

// Context returns the encryption context that the request's data key is bound
// to: the stored pairs and the reproduced ones, and, sorted, the keys that only
// the reproduced ones have. The map is the stored one itself if nothing is
// added. Materials managers other than the default one need it too.
//
// It fails with [ErrEncryptionContext] if a pair is reproduced with another
// value than the stored one, if a reproduced key with the prefix "aws-crypto-"
// is not stored, or if the verification key is missing although the suite
// signs, or present although it does not.
//
// It follows framework/default-cmm.md and framework/cmm-interface.md, "Decrypt
// Materials", of the specification.
func (r *DecryptionRequest) Context() (ec map[string]string, added []string, err error) {
	if _, ok := r.EncryptionContext[format.PublicKeyField]; ok != r.Suite.Signing() {
		if ok {
			return nil, nil, fmt.Errorf("%w: %s in a message that is not signed", ErrEncryptionContext, format.PublicKeyField)
		}
		return nil, nil, fmt.Errorf("%w: no %s in a signed message", ErrEncryptionContext, format.PublicKeyField)
	}
	if len(r.ReproducedContext) == 0 {
		return r.EncryptionContext, nil, nil
	}
	for _, k := range slices.Sorted(maps.Keys(r.ReproducedContext)) {
		switch stored, ok := r.EncryptionContext[k]; {
		case ok && stored != r.ReproducedContext[k]:
			return nil, nil, fmt.Errorf("%w: the message has another value for key %q", ErrEncryptionContext, k)
		case !ok && strings.HasPrefix(k, format.ReservedPrefix):
			return nil, nil, fmt.Errorf("%w: the message does not have the reserved key %q", ErrEncryptionContext, k)
		case !ok:
			added = append(added, k)
		}
	}
	if len(added) == 0 {
		return r.EncryptionContext, nil, nil
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

var errNoMaterials = errors.New("the materials manager returned nothing")

// encryptionMaterials asks the manager that another one is over. It gets a copy
// of the request: what it does to that changes nothing for the other.
func encryptionMaterials(ctx context.Context, m MaterialsManager, req *EncryptionRequest) (*EncryptionMaterials, error) {
	lent := *req
	lent.EncryptionContext = maps.Clone(req.EncryptionContext)
	lent.RequiredContextKeys = slices.Clone(req.RequiredContextKeys)
	materials, err := m.EncryptionMaterials(ctx, &lent)
	if err == nil && materials == nil {
		err = errNoMaterials
	}
	if err == nil {
		if err = provider.CheckSigningKey(m, materials.SigningKey); err != nil {
			clear(materials.DataKey)
		}
	}
	if err != nil {
		return nil, err
	}
	return materials, nil
}

// decryptionMaterials does the same for decryption.
func decryptionMaterials(ctx context.Context, m MaterialsManager, req *DecryptionRequest) (*DecryptionMaterials, error) {
	lent := *req
	lent.EncryptedDataKeys = provider.CloneDataKeys(req.EncryptedDataKeys)
	lent.EncryptionContext = maps.Clone(req.EncryptionContext)
	lent.ReproducedContext = maps.Clone(req.ReproducedContext)
	materials, err := m.DecryptionMaterials(ctx, &lent)
	if err == nil && materials == nil {
		err = errNoMaterials
	}
	if err != nil {
		return nil, err
	}
	return materials, nil
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
