package keyprovider

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/cache"
	"github.com/esdk-go/esdk/internal/provider"
)

// An encryptionCall is a request for encryption materials to a [Cache]: what
// internal/cache calls a request.
type encryptionCall struct {
	cache     *caching
	req       *EncryptionRequest
	materials EncryptionMaterials // the result
	taken     bool                // the materials are the entry's but for the data key
	dataKey   [32]byte            // if they are
}

// Load asks the manager under the cache. What others can use as well is copied.
func (c *encryptionCall) Load(ctx context.Context) (cache.Value, error) {
	c.cache.misses.Add(1)
	m, err := c.cache.encryptionMaterials(ctx, c.req)
	if err != nil {
		return nil, err
	}
	c.discard()
	c.materials = *m
	_, public := m.EncryptionContext[format.PublicKeyField]
	if m.Suite.KDF() == 0 || checkDataKey(&DataKey{Plaintext: m.DataKey}, m.Suite, nil) != nil || len(m.EncryptedDataKeys) == 0 ||
		slices.ContainsFunc(m.EncryptedDataKeys, func(edk EncryptedDataKey) bool { return len(edk.Ciphertext) == 0 }) ||
		(m.SigningKey != nil) != m.Suite.Signing() || public != m.Suite.Signing() || !m.fit(c.req) {
		return nil, nil // no key derivation, or Encrypt is about to refuse them
	}
	return &cachedEncryption{m.clone()}, nil
}

// Take takes cached materials, if they fit the request. It copies what changes when
// the entry leaves; what nobody changes can wait for result.
func (c *encryptionCall) Take(v cache.Value) bool {
	cached, ok := v.(*cachedEncryption)
	if !ok || !cached.fit(c.req) {
		return false
	}
	c.materials, c.taken = cached.EncryptionMaterials, true
	c.materials.DataKey = append(c.dataKey[:0], cached.DataKey...)
	return true
}

// discard clears the data key of materials that nobody will use.
func (c *encryptionCall) discard() {
	clear(c.materials.DataKey)
	c.taken = false
}

// result returns the materials, which share nothing with the entry. As from the default
// manager, the encryption context is the request's map if it has no further pairs.
func (c *encryptionCall) result() *EncryptionMaterials {
	m := &c.materials
	if c.taken {
		m.EncryptionContext = sameOrClone(m.EncryptionContext, c.req.EncryptionContext)
		m.RequiredContextKeys = slices.Clone(m.RequiredContextKeys)
		m.EncryptedDataKeys = provider.CloneDataKeys(m.EncryptedDataKeys)
		m.SigningKey = provider.CloneSigningKey(m.SigningKey)
	}
	return m
}

// sameOrClone returns the request's encryption context if it equals that of an entry,
// and else a copy of the entry's.
func sameOrClone(cached, requested map[string]string) map[string]string {
	if requested != nil && maps.Equal(cached, requested) {
		return requested
	}
	return maps.Clone(cached)
}

// What names the data key in errors.
func (c *encryptionCall) What() string {
	id := c.req.Suite
	if id == 0 {
		id = c.req.CommitmentPolicy.Default()
	}
	return fmt.Sprintf("a data key to encrypt with %v", id)
}

// fit checks what Encrypt checks: materials that were made for one request may
// not be for another, although both have the same identifier.
func (m *EncryptionMaterials) fit(req *EncryptionRequest) bool {
	if !req.CommitmentPolicy.AllowsEncrypt(m.Suite) {
		return false
	}
	if limit := req.MaxEncryptedDataKeys; limit > 0 && len(m.EncryptedDataKeys) > limit || len(m.EncryptedDataKeys) > format.MaxEncryptedDataKeys {
		return false
	}
	if !hasPairs(m.EncryptionContext, req.EncryptionContext) {
		return false
	}
	for _, k := range req.RequiredContextKeys {
		if !slices.Contains(m.RequiredContextKeys, k) {
			return false
		}
	}
	_, missing := missingKey(m.EncryptionContext, m.RequiredContextKeys)
	return !missing
}

// A decryptionCall is a request for decryption materials to a [Cache].
type decryptionCall struct {
	cache     *caching
	req       *DecryptionRequest
	materials DecryptionMaterials // the result
	taken     bool                // the materials are the entry's but for the data key
	dataKey   [32]byte            // if they are
}

// Load asks the manager under the cache. What others can use as well is copied.
func (c *decryptionCall) Load(ctx context.Context) (cache.Value, error) {
	c.cache.misses.Add(1)
	m, err := c.cache.decryptionMaterials(ctx, c.req)
	if err != nil {
		return nil, err
	}
	c.discard()
	c.materials = *m
	if m.Suite.KDF() == 0 || checkDataKey(&DataKey{Plaintext: m.DataKey}, m.Suite, nil) != nil ||
		(m.VerificationKey != nil) != m.Suite.Signing() || !m.fit(c.req) {
		return nil, nil // no key derivation, or Decrypt is about to refuse them
	}
	return &cachedDecryption{m.clone()}, nil
}

// Take is like that of an encryptionCall.
func (c *decryptionCall) Take(v cache.Value) bool {
	cached, ok := v.(*cachedDecryption)
	if !ok || !cached.fit(c.req) {
		return false
	}
	c.materials, c.taken = cached.DecryptionMaterials, true
	c.materials.DataKey = append(c.dataKey[:0], cached.DataKey...)
	return true
}

// discard clears the data key of materials that nobody will use.
func (c *decryptionCall) discard() {
	clear(c.materials.DataKey)
	c.taken = false
}

// result returns the materials, which share nothing with the entry. The encryption
// context is the request's map if both are equal, and OpenedBy points to one of the
// request's encrypted data keys.
func (c *decryptionCall) result() *DecryptionMaterials {
	m := &c.materials
	if c.taken {
		m.EncryptionContext = sameOrClone(m.EncryptionContext, c.req.EncryptionContext)
		m.RequiredContextKeys = slices.Clone(m.RequiredContextKeys)
		m.VerificationKey = provider.CloneVerificationKey(m.VerificationKey)
		if m.OpenedBy != nil {
			m.OpenedBy = provider.Find(c.req.EncryptedDataKeys, m.OpenedBy)
		}
	}
	return m
}

// What names the data key in errors, by its wrapped forms.
func (c *decryptionCall) What() string {
	return "the data key of a message that has " + provider.Describe(c.req.EncryptedDataKeys)
}

// fit checks what Decrypt checks: that the suite is the request's, that its
// policy allows it, and that every reproduced pair is bound.
func (m *DecryptionMaterials) fit(req *DecryptionRequest) bool {
	if m.Suite != req.Suite || !req.CommitmentPolicy.AllowsDecrypt(m.Suite) {
		return false
	}
	for k, v := range req.ReproducedContext {
		bound, ok := m.EncryptionContext[k]
		_, stored := req.EncryptionContext[k]
		if !ok || bound != v || !stored && !slices.Contains(m.RequiredContextKeys, k) {
			return false
		}
	}
	_, missing := missingKey(m.EncryptionContext, m.RequiredContextKeys)
	return !missing
}

// cachedEncryption are encryption materials in a cache, which shares them with nobody.
type cachedEncryption struct{ EncryptionMaterials }

// Clear erases the data key. It drops the signing key, with which a message
// that is being written may still be signed.
func (m *cachedEncryption) Clear() {
	clear(m.DataKey)
	m.SigningKey = nil
}

// MaxAge returns how long a manager wants the materials to be kept: see [Quorum].
func (m *cachedEncryption) MaxAge() time.Duration { return m.maxAge }

// cachedDecryption are decryption materials in a cache.
type cachedDecryption struct{ DecryptionMaterials }

// Clear erases the data key.
func (m *cachedDecryption) Clear() { clear(m.DataKey) }

// MaxAge returns no limit.
func (m *cachedDecryption) MaxAge() time.Duration { return 0 }

// clone returns a copy that shares nothing.
func (m *EncryptionMaterials) clone() EncryptionMaterials {
	c := *m
	c.EncryptionContext = maps.Clone(m.EncryptionContext)
	c.RequiredContextKeys = slices.Clone(m.RequiredContextKeys)
	c.DataKey = bytes.Clone(m.DataKey)
	c.EncryptedDataKeys = provider.CloneDataKeys(m.EncryptedDataKeys)
	c.SigningKey = provider.CloneSigningKey(m.SigningKey)
	return c
}

// clone returns a copy that shares nothing.
func (m *DecryptionMaterials) clone() DecryptionMaterials {
	c := *m
	c.EncryptionContext = maps.Clone(m.EncryptionContext)
	c.RequiredContextKeys = slices.Clone(m.RequiredContextKeys)
	c.DataKey = bytes.Clone(m.DataKey)
	c.VerificationKey = provider.CloneVerificationKey(m.VerificationKey)
	if m.OpenedBy != nil {
		c.OpenedBy = &provider.CloneDataKeys([]EncryptedDataKey{*m.OpenedBy})[0]
	}
	return c
}
