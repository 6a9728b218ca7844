package keyprovider

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/suite"
)

// defaultManager is what [Materials] returns for a plain provider.
type defaultManager struct{ provider MasterKeyProvider }

func (m defaultManager) EncryptionMaterials(ctx context.Context, req *EncryptionRequest) (*EncryptionMaterials, error) {
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
	if id.Signing() {
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
	}
	lent, copied := m.lend(id, materials.EncryptionContext)
	keys, err := m.provider.MasterKeys(ctx, lent)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("the provider has no master key")
	}
	if limit := req.MaxEncryptedDataKeys; limit > 0 && len(keys) > limit || len(keys) > format.MaxEncryptedDataKeys {
		return nil, fmt.Errorf("%w: the provider has %d master keys", format.ErrTooManyDataKeys, len(keys))
	}
	if slices.ContainsFunc(keys, func(k MasterKey) bool { return provider.IsNil(k) }) {
		return nil, errors.New("the provider has a nil master key")
	}
	generated, err := keys[0].GenerateDataKey(ctx, lent)
	if err := checkDataKey(generated, id, err); err != nil {
		return nil, err
	}
	done := false
	defer func() {
		if !done { // a panic included
			clear(generated.Plaintext)
		}
	}()
	if copied {
		if err := checkLent(lent, materials); err != nil {
			return nil, err
		}
	}
	if err := checkEncrypted(&generated.Encrypted, 0); err != nil {
		return nil, err
	}
	materials.DataKey = generated.Plaintext
	materials.EncryptedDataKeys = []EncryptedDataKey{generated.Encrypted}
	further, err := encryptWith(ctx, keys[1:], materials, generated.Plaintext)
	if err != nil {
		return nil, err
	}
	materials.EncryptedDataKeys = append(materials.EncryptedDataKeys, further...)
	done = true
	return materials, nil
}

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

// checkEncrypted checks what the master key at index i returned.
func checkEncrypted(edk *EncryptedDataKey, i int) error {
	if len(edk.Ciphertext) == 0 {
		return fmt.Errorf("master key %d returned an encrypted data key without ciphertext", i+1)
	}
	return nil
}

// maxParallelKeys is how many master keys encrypt a data key at the same time.
const maxParallelKeys = 16

// encryptWith lets every key encrypt the data key of m, at the same time, and
// returns the results in the order of the keys. The first failure cancels the
// others; all have ended when it returns. If a key panics or ends its goroutine,
// encryptWith does the same.
func encryptWith(ctx context.Context, keys []MasterKey, m *EncryptionMaterials, plaintext []byte) ([]EncryptedDataKey, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	all, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]encrypted, len(keys))
	slots := make(chan struct{}, maxParallelKeys)
	var wg sync.WaitGroup
	for i, key := range keys {
		slots <- struct{}{}
		if all.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			own := bytes.Clone(plaintext) // whatever the key does to it, the message has another
			defer clear(own)
			r := &results[i]
			defer r.end(cancel)
			req := (&Request{m.Suite, m.EncryptionContext}).clone()
			edk, err := key.EncryptDataKey(all, req, own)
			if err != nil {
				err = fmt.Errorf("master key %d: %w", i+2, err)
			} else if err = checkLent(req, m); err == nil {
				err = checkEncrypted(&edk, i+1)
			}
			if err != nil {
				cancel(err)
			}
			r.edk, r.err, r.returned = edk, err, true
		})
	}
	wg.Wait()
	resume(results)
	if done := ctx.Err(); done != nil {
		for i := range results {
			if errors.Is(results[i].err, done) {
				return nil, results[i].err // it says what ctx ended
			}
		}
		return nil, done
	}
	if err := context.Cause(all); err != nil {
		return nil, err
	}
	edks := make([]EncryptedDataKey, len(keys))
	for i := range results {
		edks[i] = results[i].edk
	}
	return edks, nil
}

// encrypted is what became of a master key's call on a goroutine of its own.
type encrypted struct {
	edk      EncryptedDataKey
	err      error
	returned bool
	ended    bool // neither returned nor panicked: by runtime.Goexit
	panicked any
}

// end is deferred by the goroutine.
func (r *encrypted) end(cancel context.CancelCauseFunc) {
	if r.returned {
		return
	}
	if r.panicked = recover(); r.panicked == nil {
		r.ended = true
	}
	cancel(errors.New("another master key did not return"))
}

// resume does on the caller's goroutine what a key did on its own: it panics with
// the same value, or else ends the goroutine.
func resume(results []encrypted) {
	for i := range results {
		if value := results[i].panicked; value != nil {
			panic(value)
		}
	}
	if slices.ContainsFunc(results, func(r encrypted) bool { return r.ended }) {
		runtime.Goexit()
	}
}

// checkLent checks that a request that was lent for m is as it was: what a key
// wraps for another encryption context, nobody can unwrap.
func checkLent(req *Request, m *EncryptionMaterials) error {
	if req.Suite != m.Suite || !maps.Equal(req.EncryptionContext, m.EncryptionContext) {
		return errors.New("the provider or a master key changed the request that it was given: the data key may be bound to another encryption context")
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
