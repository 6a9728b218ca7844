package esdk

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/internal/frame"
	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// Decrypt returns the plaintext of a message, and the message's header. It
// returns both only after it has verified everything: the encryption context,
// the key commitment, every tag, the signature, and that no bytes follow the
// message. If opts is nil, the defaults apply. It uses the zero [Client], which
// reads only messages that commit to their key.
//
// The header's encryption context is then authentic. Check that it says what the
// message should be about, or let Decrypt check it: see
// DecryptOptions.EncryptionContext.
//
// It follows the specification's [decrypt]. It also reads messages of version 4.0.0
// of the AWS Encryption SDK for .NET, which does not: it authenticates the header
// differently.
//
// [decrypt]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/client-apis/decrypt.md
func Decrypt(ctx context.Context, ciphertext []byte, p keyprovider.MasterKeyProvider, opts *DecryptOptions) (plaintext []byte, header *format.Header, err error) {
	return defaults.Decrypt(ctx, ciphertext, p, opts)
}

// Decrypt is like the function [Decrypt], with the Client's settings.
func (c *Client) Decrypt(ctx context.Context, ciphertext []byte, p keyprovider.MasterKeyProvider, opts *DecryptOptions) (plaintext []byte, header *format.Header, err error) {
	m := openings.Get().(*opening)
	m.whole.Reset(ciphertext)
	err = c.open(ctx, m, &m.whole, p, opts, false)
	if err == nil {
		plaintext, err = m.plaintext(ciphertext[len(ciphertext)-m.whole.Len():], int64(len(ciphertext)))
	}
	header = m.header
	*m = opening{}
	openings.Put(m)
	if err != nil {
		return nil, nil, prefixed(err)
	}
	return plaintext, header, nil
}

// openings keeps memory for the next Decrypt, and nothing of a message.
var openings = sync.Pool{New: func() any { return new(opening) }}

// opening is a message that is being read: its header is verified.
type opening struct {
	frame.Opener
	header          *format.Header
	stored          map[string]string // the encryption context as the message stores it
	verificationKey *ecdsa.PublicKey  // nil if the suite does not sign
	digest          hash.Hash         // of all that is signed, so far; nil if no signature is to be verified
	derivation      derivation
	whole           bytes.Reader // reads Decrypt's message
	scratch         [512]byte    // for the header: enough for most
}

// open reads a message's header from r, and no more, gets the materials for it
// and verifies it. It sets m, which must be zero but for whole. Random access allows
// IgnoreSignature, and no unframed body.
func (c *Client) open(ctx context.Context, m *opening, r io.Reader, p keyprovider.MasterKeyProvider, opts *DecryptOptions, randomAccess bool) error {
	client, err := c.settings()
	if err != nil {
		return err
	}
	o, err := opts.settings(randomAccess)
	if err != nil {
		return err
	}
	if err := checkCall(ctx, p); err != nil {
		return err
	}
	h, err := format.ReadHeader(r, client.MaxEncryptedDataKeys)
	if err != nil {
		return err
	}
	if !client.CommitmentPolicy.AllowsDecrypt(h.Suite) {
		return fmt.Errorf("%w: %v does not allow decryption of %v, which has no key commitment; %v would, as Client.CommitmentPolicy",
			ErrCommitmentPolicy, client.CommitmentPolicy, h.Suite, suite.RequireEncryptAllowDecrypt)
	}
	if o.Signature == RejectSigned && h.Suite.Signing() {
		return fmt.Errorf("%w with %v, and DecryptOptions.Signature is RejectSigned", ErrSignedMessage, h.Suite)
	}
	if randomAccess && h.ContentType == format.Unframed {
		return ErrUnframed
	}
	if err := checkFrameLength(int64(h.FrameLength), o.MaxFrameLength); err != nil {
		return err
	}
	req := keyprovider.DecryptionRequest{
		Suite:             h.Suite,
		CommitmentPolicy:  client.CommitmentPolicy,
		EncryptedDataKeys: h.EncryptedDataKeys,
		EncryptionContext: h.EncryptionContext,
		ReproducedContext: o.EncryptionContext,
	}
	_, added, err := req.Context()
	if err != nil {
		return err
	}
	// Copies: what managers and providers do to them changes nothing here.
	switch {
	case isRaw(p):
	case len(h.EncryptedDataKeys) > provider.ManyDataKeys:
		h.EncryptedDataKeys = nil // openHeader reads them again
	case !isCache(p):
		req.EncryptedDataKeys = provider.CloneDataKeys(h.EncryptedDataKeys)
	}
	if isManager(p) && !isCache(p) { // the default manager changes nothing, and gives providers copies
		req.EncryptionContext = maps.Clone(req.EncryptionContext)
		req.ReproducedContext = maps.Clone(req.ReproducedContext)
	}
	err = m.openHeader(ctx, h, p, &req, &o, client.Concurrency)
	if err != nil && len(added) > 0 && ctx.Err() == nil {
		for i, k := range added {
			added[i] = fmt.Sprintf("%.100q", k)
		}
		err = fmt.Errorf("%w (DecryptOptions.EncryptionContext has keys that the message does not store: %s;"+
			" leave them out unless the message was encrypted with them as required keys)", err, provider.List(added))
		if failure := (*keyprovider.DecryptError)(nil); errors.As(err, &failure) && !errors.Is(err, keyprovider.ErrNoMatch) {
			err = ofContext{err}
		}
	}
	return err
}

// checkFrameLength checks the header's frame length, 0 if the body is unframed.
func checkFrameLength(length, limit int64) error {
	if limit > 0 && length > limit {
		return fmt.Errorf("%w: frame length %d, DecryptOptions.MaxFrameLength is %d", ErrFrameTooLong, length, limit)
	}
	if length > maxFrameInt {
		return fmt.Errorf("%w: frame length %d on a system that can address %d bytes", ErrFrameTooLong, length, int64(maxFrameInt))
	}
	return nil
}

// openHeader gets the materials and verifies the header with them: key
// commitment first, then the tag.
//
// It follows client-apis/decrypt.md, "Get the decryption materials" and "Verify
// the header", of the specification.
func (m *opening) openHeader(ctx context.Context, h *format.Header, p keyprovider.MasterKeyProvider, req *keyprovider.DecryptionRequest, o *DecryptOptions, workers int) error {
	returned, err := keyprovider.Materials(p).DecryptionMaterials(ctx, req)
	if err != nil {
		return err
	}
	if returned == nil {
		return errors.New("the materials manager returned nothing")
	}
	defer clear(returned.DataKey)
	materials := ownDecryption(p, returned)
	defer clear(materials.DataKey)
	if err := checkDecryptionMaterials(&materials, h, o.EncryptionContext); err != nil {
		return fmt.Errorf("decryption materials: %w", err)
	}
	m.header, m.stored, m.verificationKey = h, h.EncryptionContext, materials.VerificationKey
	aead, commitKey, err := m.derivation.keys(h.Suite, materials.DataKey, h.MessageID)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(commitKey, h.CommitKey) != 1 {
		return ErrKeyCommitment
	}
	iv := zeroIV[:]
	if h.Version == 1 {
		iv = h.IV
	}
	raw, err := h.AppendBinary(m.scratch[:0])
	if err != nil {
		return err
	}
	bodySize := len(raw) - len(h.IV) - len(h.Tag)
	_, unstored := splitContext(materials.EncryptionContext, materials.RequiredContextKeys)
	aad, err := format.AppendEncryptionContext(raw[:bodySize:bodySize], unstored)
	if err != nil {
		return err
	}
	if _, err := aead.Open(nil, iv, h.Tag, aad); err != nil {
		if aead, err = openNET400(aead, h, materials.DataKey, iv, aad, len(unstored) > 0); err != nil {
			return err
		}
	}
	if h.EncryptedDataKeys == nil {
		again, err := format.ReadHeader(bytes.NewReader(raw), 0)
		if err != nil {
			return err
		}
		h.EncryptedDataKeys = again.EncryptedDataKeys
	}
	h.EncryptionContext = materials.EncryptionContext
	if materials.OpenedBy != nil {
		h.OpenedBy = provider.Find(h.EncryptedDataKeys, materials.OpenedBy)
	}

	if h.Suite.Signing() && o.Signature != IgnoreSignature {
		m.digest = h.Suite.SignatureHash().New()
		m.digest.Write(raw)
	}
	m.Init(frame.Config{
		AEAD: aead, MessageID: h.MessageID, FrameLength: int(h.FrameLength), MaxUnframed: o.MaxFrameLength, Digest: m.digest, Workers: workers,
	}, int64(len(raw)))
	return nil
}

// openNET400 verifies a header whose tag has failed once more, as version 4.0.0 of
// the AWS Encryption SDK for .NET made it, and returns the AEAD of its body. That
// version departed from the specification twice: if no pair is only authenticated,
// it wrote their number all the same, two zero bytes, behind the header that the tag
// is of; and in suites without commitment it left the message ID out of the HKDF info.
func openNET400(aead cipher.AEAD, h *format.Header, dataKey, iv, aad []byte, unstored bool) (cipher.AEAD, error) {
	if !h.Suite.Committing() {
		var err error
		if aead, _, err = new(derivation).keys(h.Suite, dataKey, nil); err != nil {
			return nil, err
		}
	}
	if !unstored {
		aad = append(aad, 0, 0)
	}
	if _, err := aead.Open(nil, iv, h.Tag, aad); err == nil {
		return aead, nil
	} else if h.Suite.Committing() {
		return nil, errContextDiffers
	}
	return nil, fmt.Errorf("header: %w", ErrAuthentication)
}

// ofContext is an error whose likely cause is the encryption context.
type ofContext struct{ error }

// Unwrap returns the error and ErrEncryptionContext.
func (e ofContext) Unwrap() []error { return []error{e.error, ErrEncryptionContext} }

// contextError is the error for a header whose tag fails although the key
// commitment has shown that the data key is the message's.
type contextError struct{}

var errContextDiffers error = contextError{}

// Error says that the key was right, and what can be wrong.
func (contextError) Error() string {
	return "header: authentication failed with the right data key: either the encryption context is not that of the message," +
		" as when a required pair, which the message does not store, was not given; or the header was altered"
}

// Unwrap returns ErrAuthentication and ErrEncryptionContext.
func (contextError) Unwrap() []error { return []error{ErrAuthentication, ErrEncryptionContext} }

// checkDecryptionMaterials checks what the header's verification is about to
// rely on, whatever manager made it: also that every pair of the materials'
// encryption context will be verified by it, and that every reproduced pair is
// among them. A manager may leave out what the message stores.
//
// It follows framework/structures.md, "Decryption Materials", and
// framework/cmm-interface.md, "Decrypt Materials", of the specification.
func checkDecryptionMaterials(m *keyprovider.DecryptionMaterials, h *format.Header, reproduced map[string]string) error {
	if m.Suite != h.Suite {
		return fmt.Errorf("for %v, the message is of %v", m.Suite, h.Suite)
	}
	if err := checkDataKey(m.DataKey, h.Suite); err != nil {
		return err
	}
	for _, k := range m.RequiredContextKeys {
		if _, ok := m.EncryptionContext[k]; !ok {
			return fmt.Errorf("%w: the required key %q is missing", ErrEncryptionContext, k)
		}
	}
	for k, v := range m.EncryptionContext {
		if stored, ok := h.EncryptionContext[k]; ok && stored != v || !ok && !slices.Contains(m.RequiredContextKeys, k) {
			return fmt.Errorf("%w: the key %q is not bound to the message", ErrEncryptionContext, k)
		}
	}
	for k, v := range reproduced {
		if bound, ok := m.EncryptionContext[k]; !ok || bound != v {
			return fmt.Errorf("%w: the key %q is not bound to the message", ErrEncryptionContext, k)
		}
	}
	if !h.Suite.Signing() {
		if m.VerificationKey != nil {
			return fmt.Errorf("a verification key, and %v does not sign", h.Suite)
		}
		return nil
	}
	if m.VerificationKey == nil || m.VerificationKey.Curve != h.Suite.Curve() {
		return fmt.Errorf("no verification key on the curve of %v", h.Suite)
	}
	if public, err := keyprovider.EncodePublicKey(m.VerificationKey); err != nil {
		return fmt.Errorf("verification key: %w", err)
	} else if public != h.EncryptionContext[format.PublicKeyField] {
		return fmt.Errorf("%w: %s is not the verification key", ErrEncryptionContext, format.PublicKeyField)
	}
	return nil
}

// plaintext returns the plaintext of the body, which is the rest of a message
// of size bytes in all.
func (m *opening) plaintext(body []byte, size int64) ([]byte, error) {
	b := []byte{}                                                  // not nil even if the plaintext is empty
	if length, err := m.header.PlaintextLength(size); err == nil { // else there is an error to be found
		b = slices.Grow(b, int(length))
	}
	var part frame.Part
	for !part.Last {
		var used int
		var err error
		if m.FrameLength > 0 {
			if b, used, err = m.Frames(b, body); err != nil {
				return nil, err
			}
			body = body[used:]
		}
		if part, err = m.Next(body); err != nil {
			return nil, err
		}
		if len(body) < part.Size {
			return nil, m.Truncated(len(body))
		}
		b = slices.Grow(b, part.Length) // no growth, unless the size misled
	}
	b, used, err := m.Last(b, body, part)
	if err != nil {
		return nil, err
	}
	body = body[used:]
	if m.digest != nil {
		signature, used, err := parseFooter(body, m.Offset())
		if err != nil {
			return nil, err
		}
		if err := m.verify(signature); err != nil {
			return nil, err
		}
		body = body[used:]
	}
	if len(body) > 0 {
		return nil, fmt.Errorf("%w: %d", ErrTrailingData, len(body))
	}
	return b, nil
}

// parseFooter parses the footer at the start of b, which stands right behind the body,
// at offset in its message.
func parseFooter(b []byte, offset int64) (signature []byte, size int, err error) {
	signature, size, err = format.ParseFooter(b)
	var parse *format.ParseError
	if errors.As(err, &parse) {
		parse.Offset += offset
	}
	return signature, size, err
}

// verify verifies the message's signature.
//
// It follows client-apis/decrypt.md, "Verify the signature", of the specification.
func (m *opening) verify(signature []byte) error {
	if !ecdsa.VerifyASN1(m.verificationKey, m.digest.Sum(nil), signature) {
		return ErrSignature
	}
	return nil
}
