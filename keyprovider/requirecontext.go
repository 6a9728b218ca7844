package keyprovider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/provider"
)

// requireContext is the manager that [RequireContext] returns.
type requireContext struct {
	ManagerOnly
	inner MaterialsManager
	keys  []string
}

// RequireContext returns a provider for messages whose encryption context has
// all the given keys but does not store their pairs. Encryption and decryption
// fail with [ErrEncryptionContext] unless the caller gives a value for each;
// decryption then fails unless the values are those of the encryption. It is a
// [MaterialsManager]; p can be one too.
//
// RequireContext fails if p is nil, if no key is given, or if a key has the
// reserved prefix "aws-crypto-".
//
// It follows framework/required-encryption-context-cmm.md of the specification.
func RequireContext(p MasterKeyProvider, keys ...string) (MasterKeyProvider, error) {
	if provider.IsNil(p) {
		return nil, errors.New("keyprovider: RequireContext of a nil provider")
	}
	if len(keys) == 0 {
		return nil, errors.New("keyprovider: RequireContext without keys")
	}
	for _, k := range keys {
		if strings.HasPrefix(k, format.ReservedPrefix) {
			return nil, fmt.Errorf("keyprovider: RequireContext: the key %q is reserved", k)
		}
	}
	return &requireContext{inner: Materials(p), keys: slices.Clone(keys)}, nil
}

func (m *requireContext) EncryptionMaterials(ctx context.Context, req *EncryptionRequest) (*EncryptionMaterials, error) {
	if k, missing := missingKey(req.EncryptionContext, m.keys); missing {
		return nil, fmt.Errorf("%w: the required key %q is missing", ErrEncryptionContext, k)
	}
	inner := *req
	inner.RequiredContextKeys = slices.Clone(req.RequiredContextKeys)
	for _, k := range m.keys {
		if !slices.Contains(inner.RequiredContextKeys, k) {
			inner.RequiredContextKeys = append(inner.RequiredContextKeys, k)
		}
	}
	materials, err := encryptionMaterials(ctx, m.inner, &inner)
	if err != nil {
		return nil, err
	}
	for _, k := range m.keys {
		if !slices.Contains(materials.RequiredContextKeys, k) {
			clear(materials.DataKey)
			return nil, fmt.Errorf("%w: the materials manager did not keep the key %q required", ErrEncryptionContext, k)
		}
	}
	return materials, nil
}

func (m *requireContext) DecryptionMaterials(ctx context.Context, req *DecryptionRequest) (*DecryptionMaterials, error) {
	if k, missing := missingKey(req.ReproducedContext, m.keys); missing {
		return nil, fmt.Errorf("%w: the required key %q is missing", ErrEncryptionContext, k)
	}
	materials, err := decryptionMaterials(ctx, m.inner, req)
	if err != nil {
		return nil, err
	}
	for _, k := range m.keys {
		if v, ok := materials.EncryptionContext[k]; !ok || v != req.ReproducedContext[k] {
			clear(materials.DataKey)
			return nil, fmt.Errorf("%w: the materials manager dropped or changed the pair of the key %q", ErrEncryptionContext, k)
		}
	}
	return materials, nil
}
