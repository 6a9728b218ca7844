package keyprovider

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/suite"
)

// defaultManager is what [Materials] returns for a plain provider.
type defaultManager struct{ provider MasterKeyProvider }

// EncryptionMaterials gets a data key from the first master key, and has the others
// wrap it. It makes the signing key.
func (m defaultManager) EncryptionMaterials(ctx context.Context, req *EncryptionRequest) (*EncryptionMaterials, error) {
	materials, err := m.begin(req)
	if err != nil {
		return nil, err
	}
	lent, copied := m.lend(materials.Suite, materials.EncryptionContext)
	keys, err := m.masterKeys(ctx, lent, req.MaxEncryptedDataKeys)
	if err != nil {
		return nil, err
	}
	generated, err := generateWith(ctx, keys[0], lent, copied, materials)
	if err != nil {
		return nil, err
	}
	done := false
	defer func() {
		if !done { // a panic included
			clear(generated.Plaintext)
		}
	}()
	materials.DataKey = generated.Plaintext
	materials.EncryptedDataKeys = make([]EncryptedDataKey, len(keys))
	materials.EncryptedDataKeys[0] = generated.Encrypted
	if further := keys[1:]; len(further) > 0 {
		err := inParallel(ctx, len(further), maxParallelKeys, func(ctx context.Context, i int) error {
			edk, err := encryptWith(ctx, further[i], materials)
			if err != nil {
				return ofKey(i+1, err)
			}
			materials.EncryptedDataKeys[i+1] = edk
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	done = true
	return materials, nil
}

// begin returns the materials of a new message but for its data key.
func (m defaultManager) begin(req *EncryptionRequest) (*EncryptionMaterials, error) {
	if provider.IsNil(m.provider) {
		return nil, errNilProvider
	}
	id := req.Suite
	if id == 0 {
		id = req.CommitmentPolicy.Default()
	}
	if !req.CommitmentPolicy.AllowsEncrypt(id) {
		return nil, fmt.Errorf("%v does not allow encryption with %v", req.CommitmentPolicy, id)
	}
	if _, ok := req.EncryptionContext[format.PublicKeyField]; ok {
		return nil, fmt.Errorf("%w: the key %s is reserved for signed messages", ErrEncryptionContext, format.PublicKeyField)
	}
	if k, missing := missingKey(req.EncryptionContext, req.RequiredContextKeys); missing {
		return nil, fmt.Errorf("%w: the required key %q is missing", ErrEncryptionContext, k)
	}
	materials := &EncryptionMaterials{
		Suite:               id,
		EncryptionContext:   req.EncryptionContext,
		RequiredContextKeys: req.RequiredContextKeys,
	}
	if !id.Signing() {
		return materials, nil
	}
	var err error
	if materials.SigningKey, err = ecdsa.GenerateKey(id.Curve(), rand.Reader); err != nil {
		return nil, err
	}
	ec := maps.Clone(req.EncryptionContext)
	if ec == nil {
		ec = make(map[string]string, 1)
	}
	if ec[format.PublicKeyField], err = EncodePublicKey(&materials.SigningKey.PublicKey); err != nil {
		return nil, err
	}
	if !fits(ec) {
		return nil, fmt.Errorf("%w: too long together with the %s of a signed message; at most 65535 bytes", ErrEncryptionContext, format.PublicKeyField)
	}
	materials.EncryptionContext = ec
	return materials, nil
}

// masterKeys returns the provider's master keys: at least one, at most limit unless
// that is zero, and none nil.
func (m defaultManager) masterKeys(ctx context.Context, lent *Request, limit int) ([]MasterKey, error) {
	keys, err := m.provider.MasterKeys(ctx, lent)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("the provider has no master key")
	}
	if limit > 0 && len(keys) > limit || len(keys) > format.MaxEncryptedDataKeys {
		return nil, fmt.Errorf("%w: the provider has %d master keys", format.ErrTooManyDataKeys, len(keys))
	}
	if slices.ContainsFunc(keys, func(k MasterKey) bool { return provider.IsNil(k) }) {
		return nil, errors.New("the provider has a nil master key")
	}
	return keys, nil
}

// DecryptionMaterials gets the data key from the provider.
func (m defaultManager) DecryptionMaterials(ctx context.Context, req *DecryptionRequest) (*DecryptionMaterials, error) {
	if provider.IsNil(m.provider) {
		return nil, errNilProvider
	}
	if !req.CommitmentPolicy.AllowsDecrypt(req.Suite) {
		return nil, fmt.Errorf("%v does not allow decryption of %v", req.CommitmentPolicy, req.Suite)
	}
	ec, added, err := req.Context()
	if err != nil {
		return nil, err
	}
	materials := &DecryptionMaterials{Suite: req.Suite, EncryptionContext: ec, RequiredContextKeys: added}
	if req.Suite.Signing() {
		if materials.VerificationKey, err = ParsePublicKey(req.Suite, ec[format.PublicKeyField]); err != nil {
			return nil, err
		}
	}
	lent, _ := m.lend(req.Suite, ec)
	key, err := m.provider.DecryptDataKey(ctx, lent, req.EncryptedDataKeys)
	if err := checkDataKey(key, req.Suite, err); err != nil {
		return nil, err
	}
	materials.DataKey = key.Plaintext
	if len(key.Encrypted.Ciphertext) > 0 { // else the provider does not say
		materials.OpenedBy = &key.Encrypted
	}
	return materials, nil
}

// lend returns a request for the provider: a copy, unless it is a raw key of this
// package, which changes nothing.
func (m defaultManager) lend(id suite.ID, ec map[string]string) (lent *Request, copied bool) {
	req := &Request{id, ec}
	switch m.provider.(type) {
	case *RawAES, *RawRSA, *RawECDH:
		return req, false
	}
	return req.clone(), true
}

// fits reports whether a message can store the encryption context.
func fits(ec map[string]string) bool {
	size := 2
	for k, v := range ec {
		size += 4 + len(k) + len(v)
	}
	return size <= 1<<16-1
}

// checkDataKey checks what a provider or master key returned.
func checkDataKey(key *DataKey, id suite.ID, err error) error {
	if err != nil {
		return err
	}
	if key == nil {
		return errors.New("the provider returned no data key and no error")
	}
	if len(key.Plaintext) != id.KeySize() {
		clear(key.Plaintext)
		return fmt.Errorf("the provider returned a data key of %d bytes; %v needs %d", len(key.Plaintext), id, id.KeySize())
	}
	if provider.IsZero(key.Plaintext) {
		return fmt.Errorf("the provider returned %w", provider.ErrZeroKey)
	}
	return nil
}

// EncodePublicKey returns a verification key as the encryption context of a signed
// message holds it under [format.PublicKeyField]: the compressed point in Base64.
// It fails if key is nil or is not a point on its curve.
func EncodePublicKey(key *ecdsa.PublicKey) (string, error) {
	if key == nil || key.Curve == nil || key.X == nil || key.Y == nil {
		return "", errors.New("incomplete ECDSA public key")
	}
	point, err := key.Bytes() // 4, x, y
	if err != nil {
		return "", err
	}
	compressed := point[:1+len(point)/2]
	compressed[0] = 2 | point[len(point)-1]&1
	return base64.StdEncoding.EncodeToString(compressed), nil
}

// ParsePublicKey decodes the verification key that [EncodePublicKey] encoded. The
// error wraps [ErrEncryptionContext] if s is not a point on the suite's curve. It
// also fails if the suite does not sign.
func ParsePublicKey(id suite.ID, s string) (*ecdsa.PublicKey, error) {
	curve := id.Curve()
	if curve == nil {
		return nil, fmt.Errorf("%v does not sign", id)
	}
	point, err := base64.StdEncoding.DecodeString(s)
	if err == nil {
		if x, y := elliptic.UnmarshalCompressed(curve, point); x != nil {
			return &ecdsa.PublicKey{Curve: curve, X: x, Y: y}, nil
		}
	}
	return nil, fmt.Errorf("%w: %s is not a point on %s", ErrEncryptionContext, format.PublicKeyField, curve.Params().Name)
}
