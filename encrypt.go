package esdk

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"hash"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/frame"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// Encrypt returns the message that holds plaintext, and the message's header.
// It encrypts under a new data key, which all master keys of p wrap. If opts is
// nil, the suite commits to the key and signs, there is no encryption context,
// and frames have 4 KiB. It uses the zero [Client].
//
// It follows the specification's [encrypt].
//
// [encrypt]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/client-apis/encrypt.md
func Encrypt(ctx context.Context, plaintext []byte, p keyprovider.MasterKeyProvider, opts *EncryptOptions) (ciphertext []byte, header *format.Header, err error) {
	return defaults.Encrypt(ctx, plaintext, p, opts)
}

// Encrypt is like the function [Encrypt], with the Client's settings.
func (c *Client) Encrypt(ctx context.Context, plaintext []byte, p keyprovider.MasterKeyProvider, opts *EncryptOptions) (ciphertext []byte, header *format.Header, err error) {
	m := sealings.Get().(*sealing)
	err = c.seal(ctx, m, p, opts, int64(len(plaintext)))
	if err == nil {
		ciphertext, err = m.message(plaintext)
	}
	header = m.header
	*m = sealing{}
	sealings.Put(m)
	if err != nil {
		return nil, nil, prefixed(err)
	}
	return ciphertext, header, nil
}

// sealings keeps memory for the next Encrypt, and nothing of a message. Making it anew
// would take 5 per cent of the time of a small message.
var sealings = sync.Pool{New: func() any { return new(sealing) }}

// sealing is a message that is being written: its header is complete.
type sealing struct {
	frame.Sealer
	header     *format.Header // the caller's, once it is given out
	suite      suite.ID
	signingKey *ecdsa.PrivateKey // nil if the suite does not sign
	digest     hash.Hash         // of all that is signed, so far; nil likewise
	limit      int64             // of a stream's plaintext, in bytes; 0: none
	derivation derivation
	id         [32]byte
	tag        [suite.TagSize]byte
}

// streamed is the plaintext length of a stream.
const streamed = -1

// seal gets the materials of a new message and makes its header. It sets s, which must
// be zero. length is that of the plaintext, or streamed.
func (c *Client) seal(ctx context.Context, s *sealing, p keyprovider.MasterKeyProvider, opts *EncryptOptions, length int64) error {
	client, err := c.settings()
	if err != nil {
		return err
	}
	o, err := opts.settings(client.CommitmentPolicy, length == streamed)
	if err != nil {
		return err
	}
	if err := checkCall(ctx, p); err != nil {
		return err
	}
	if err := checkContext(o.EncryptionContext, o.RequiredContextKeys); err != nil {
		return err
	}
	if err := checkPlaintextLength(length, o.MaxPlaintextLength); err != nil {
		return err
	}
	req := &keyprovider.EncryptionRequest{ // copies: what the manager does to them changes nothing here
		EncryptionContext:    maps.Clone(o.EncryptionContext),
		RequiredContextKeys:  slices.Clone(o.RequiredContextKeys),
		CommitmentPolicy:     client.CommitmentPolicy,
		Suite:                o.Suite,
		MaxPlaintextLength:   length,
		MaxEncryptedDataKeys: client.MaxEncryptedDataKeys,
	}
	if length == streamed && o.MaxPlaintextLength > 0 {
		req.MaxPlaintextLength = o.MaxPlaintextLength
	}
	manager := keyprovider.Materials(p)
	returned, err := manager.EncryptionMaterials(ctx, req)
	if err != nil {
		return err
	}
	if returned == nil {
		return errors.New("the materials manager returned nothing")
	}
	defer clear(returned.DataKey)
	materials := ownEncryption(p, returned)
	defer clear(materials.DataKey)
	if err := checkEncryptionMaterials(&materials, &client, &o); err != nil {
		return fmt.Errorf("encryption materials: %w", err)
	}
	if err := provider.CheckSigningKey(manager, materials.SigningKey); err != nil {
		return fmt.Errorf("encryption materials: %w", err)
	}
	return s.sealHeader(&materials, &o, client.Concurrency)
}

// checkPlaintextLength checks how much plaintext there is, so far or in all,
// against EncryptOptions.MaxPlaintextLength.
func checkPlaintextLength(length, limit int64) error {
	if limit > 0 && length > limit {
		return fmt.Errorf("%w: more than %d bytes, which is EncryptOptions.MaxPlaintextLength", ErrPlaintextTooLong, limit)
	}
	return nil
}

// checkContext checks what the caller wants the encryption context to be.
func checkContext(ec map[string]string, required []string) error {
	for k := range ec {
		if strings.HasPrefix(k, format.ReservedPrefix) {
			return fmt.Errorf("%w: the key %q is reserved", ErrEncryptionContext, k)
		}
	}
	for _, k := range required {
		if _, ok := ec[k]; !ok {
			return fmt.Errorf("%w: the required key %q is missing from EncryptOptions.EncryptionContext", ErrEncryptionContext, k)
		}
	}
	var scratch [512]byte // enough for most, without an allocation
	if _, err := format.AppendEncryptionContext(scratch[:0], ec); err != nil {
		return fmt.Errorf("%w: %w", ErrEncryptionContext, err)
	}
	return nil
}

// checkEncryptionMaterials checks what the header and the frames are about to
// rely on, whatever manager made it, against the settings of the call. A
// manager may add pairs and required keys to the caller's.
//
// It follows client-apis/encrypt.md, "Get the encryption materials", and
// framework/structures.md, "Encryption Materials", of the specification.
func checkEncryptionMaterials(m *keyprovider.EncryptionMaterials, client *Client, o *EncryptOptions) error {
	id := m.Suite
	if !id.Valid() {
		return fmt.Errorf("%w: %v", format.ErrUnsupportedSuite, id)
	}
	if !client.CommitmentPolicy.AllowsEncrypt(id) {
		return fmt.Errorf("%w: %v does not allow encryption with %v", ErrCommitmentPolicy, client.CommitmentPolicy, id)
	}
	if o.Suite != 0 && id != o.Suite {
		return fmt.Errorf("for %v, the caller wants %v", id, o.Suite)
	}
	if err := checkDataKey(m.DataKey, id); err != nil {
		return err
	}
	if err := checkEncryptedDataKeys(m.EncryptedDataKeys, client.MaxEncryptedDataKeys); err != nil {
		return err
	}
	for k, v := range o.EncryptionContext {
		if got, ok := m.EncryptionContext[k]; !ok || got != v {
			return fmt.Errorf("%w: the caller's pair of the key %q was dropped or altered", ErrEncryptionContext, k)
		}
	}
	for _, k := range o.RequiredContextKeys {
		if !slices.Contains(m.RequiredContextKeys, k) {
			return fmt.Errorf("%w: the key %q is no longer required", ErrEncryptionContext, k)
		}
	}
	for _, k := range m.RequiredContextKeys {
		if _, ok := m.EncryptionContext[k]; !ok {
			return fmt.Errorf("%w: the required key %q is missing", ErrEncryptionContext, k)
		}
		if strings.HasPrefix(k, format.ReservedPrefix) {
			return fmt.Errorf("%w: the reserved key %q cannot be required, as nobody could give it to decrypt", ErrEncryptionContext, k)
		}
	}
	return checkSigningKey(m)
}

// checkEncryptedDataKeys checks the entries of a new message.
func checkEncryptedDataKeys(edks []keyprovider.EncryptedDataKey, limit int) error {
	if limit == 0 || limit > format.MaxEncryptedDataKeys {
		limit = format.MaxEncryptedDataKeys
	}
	switch n := len(edks); {
	case n == 0:
		return errors.New("no encrypted data key")
	case n > limit:
		return fmt.Errorf("%w: %d, at most %d allowed", ErrTooManyDataKeys, n, limit)
	}
	for i := range edks {
		if len(edks[i].Ciphertext) == 0 {
			return fmt.Errorf("encrypted data key %d (%.100q) has no ciphertext", i+1, edks[i].ProviderID)
		}
	}
	return nil
}

// checkSigningKey checks that there is a signing key if, and only if, the suite
// signs, and that it is the one whose public key the message is about to hold.
func checkSigningKey(m *keyprovider.EncryptionMaterials) error {
	public, present := m.EncryptionContext[format.PublicKeyField]
	if !m.Suite.Signing() {
		if m.SigningKey != nil || present {
			return fmt.Errorf("a signing key, and %v does not sign", m.Suite)
		}
		return nil
	}
	if m.SigningKey == nil || m.SigningKey.D == nil || m.SigningKey.Curve != m.Suite.Curve() {
		return fmt.Errorf("no signing key on the curve of %v", m.Suite)
	}
	if want, err := keyprovider.EncodePublicKey(&m.SigningKey.PublicKey); err != nil {
		return fmt.Errorf("signing key: %w", err)
	} else if public != want {
		return fmt.Errorf("%w: %s is not that of the signing key", ErrEncryptionContext, format.PublicKeyField)
	}
	return nil
}

// sealHeader derives the message's keys and makes its header.
//
// It follows client-apis/encrypt.md, "Construct the header", of the specification.
func (s *sealing) sealHeader(m *keyprovider.EncryptionMaterials, o *EncryptOptions, workers int) error {
	s.suite, s.signingKey, s.limit = m.Suite, m.SigningKey, o.MaxPlaintextLength
	id := s.id[:m.Suite.MessageIDSize()]
	rand.Read(id) // never fails
	aead, commitKey, err := s.derivation.keys(m.Suite, m.DataKey, id)
	if err != nil {
		return err
	}
	stored, unstored := splitContext(m.EncryptionContext, m.RequiredContextKeys)
	fields := format.Header{
		Version:           m.Suite.MessageVersion(),
		Suite:             m.Suite,
		MessageID:         id,
		EncryptionContext: stored,
		EncryptedDataKeys: m.EncryptedDataKeys,
		ContentType:       format.Framed,
		FrameLength:       uint32(o.FrameLength),
		CommitKey:         commitKey,
	}
	if o.Unframed {
		fields.ContentType = format.Unframed
	}
	h, err := format.NewHeader(fields, func(body []byte) (iv, tag []byte, err error) {
		aad, err := format.AppendEncryptionContext(body, unstored)
		if err != nil {
			return nil, nil, err
		}
		return zeroIV[:], aead.Seal(s.tag[:0], zeroIV[:], nil, aad), nil
	})
	if err != nil {
		return err
	}
	h.EncryptionContext = m.EncryptionContext
	s.header = h
	if m.Suite.Signing() {
		s.digest = m.Suite.SignatureHash().New()
	}
	s.Init(frame.Config{
		AEAD: aead, MessageID: h.MessageID, FrameLength: int(o.FrameLength), Digest: s.digest, Workers: workers,
	})
	return nil
}

// message returns the whole message that holds plaintext.
func (s *sealing) message(plaintext []byte) ([]byte, error) {
	size, err := s.header.MessageLength(int64(len(plaintext)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlaintextTooLong, err)
	}
	if size > math.MaxInt {
		return nil, fmt.Errorf("%w: a message of %d bytes on a system that can address %d", ErrPlaintextTooLong, size, math.MaxInt)
	}
	b, err := s.start(slices.Grow([]byte(nil), int(size)))
	if err != nil {
		return nil, err
	}
	if s.FrameLength == 0 {
		if b, err = s.Unframed(b, plaintext); err != nil {
			return nil, err
		}
		return s.footer(b)
	}
	whole := len(plaintext) - len(plaintext)%s.FrameLength
	if b, err = s.Frames(b, plaintext[:whole]); err != nil {
		return nil, err
	}
	return s.finish(b, plaintext[whole:])
}

// start appends the header to b.
func (s *sealing) start(b []byte) ([]byte, error) {
	at := len(b)
	b, err := s.header.AppendBinary(b)
	if err == nil && s.digest != nil {
		s.digest.Write(b[at:])
	}
	return b, err
}

// finish appends the end of a framed message to b: the final frame, with the
// rest of the plaintext, and the footer.
func (s *sealing) finish(b, rest []byte) ([]byte, error) {
	return s.footer(s.Final(b, rest))
}

// footer appends the message's signature to b if its suite signs.
//
// It follows client-apis/encrypt.md, "Construct the signature", of the specification.
func (s *sealing) footer(b []byte) ([]byte, error) {
	if s.digest == nil {
		return b, nil
	}
	signature, err := sign(s.signingKey, s.digest.Sum(nil), s.suite.SignatureSize())
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	return format.AppendFooter(b, signature)
}

// finalSize is the most that finish appends for a rest of n bytes.
func (s *sealing) finalSize(n int) int {
	return format.FinalFrameOverhead + n + 2 + s.suite.SignatureSize()
}
