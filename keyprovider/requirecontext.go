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

// RequireContext returns a provider that demands the given keys of the encryption
// context. Messages authenticate their pairs but do not store them. The provider
// is a [MaterialsManager]; p may be one too, such as a [Cache].
//
// On encryption the caller must give a pair for each key in
// esdk.EncryptOptions.EncryptionContext. On decryption the caller must give it
// again in esdk.DecryptOptions.EncryptionContext, whether the message stores the
// pair or not. If a key is missing, the error names it and wraps
// [ErrEncryptionContext], and p is not called. If a value differs from that of the
// encryption, decryption fails.
//
// RequireContext fails if p is nil, if no key is given, or if a key has the
// reserved prefix "aws-crypto-". The keys are copied.
//
// It follows [required-encryption-context-cmm] of the specification.
//
// [required-encryption-context-cmm]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/framework/required-encryption-context-cmm.md
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

// EncryptionMaterials makes the keys required ones, if the request has them all.
func (m *requireContext) EncryptionMaterials(ctx context.Context, req *EncryptionRequest) (*EncryptionMaterials, error) {
	if k, missing := missingKey(req.EncryptionContext, m.keys); missing {
		return nil, fmt.Errorf("%w: the required key %q is missing from EncryptOptions.EncryptionContext", ErrEncryptionContext, k)
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

// DecryptionMaterials fails if the caller of Decrypt did not give all the keys.
func (m *requireContext) DecryptionMaterials(ctx context.Context, req *DecryptionRequest) (*DecryptionMaterials, error) {
	if k, missing := missingKey(req.ReproducedContext, m.keys); missing {
		return nil, fmt.Errorf("%w: the required key %q is missing from DecryptOptions.EncryptionContext", ErrEncryptionContext, k)
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
