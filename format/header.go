package format

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/esdk-go/esdk/suite"
)

// messageType is the type byte of version 1: customer authenticated encrypted data.
const messageType = 0x80

// An EncryptedDataKey is one wrapped form of a message's data key. Any one of
// a message's encrypted data keys is enough to open it.
type EncryptedDataKey struct {
	ProviderID string // which kind of provider, or which namespace, wrapped it; UTF-8
	// ProviderInfo says which key of the provider: the ARN of a KMS key, a branch
	// key ID, the name of a raw RSA key, or the name of a raw AES key and 20 binary
	// bytes.
	ProviderInfo []byte
	Ciphertext   []byte // the wrapped data key
}

// A Header is what stands before the body of a message.
//
// A Header from [ReadHeader] is a claim: no field is authentic until the
// message has been decrypted. One from Encrypt, Decrypt or a stream is
// authentic. The slices and maps are the caller's: changing them changes no
// bytes that [Header.AppendBinary] returns.
//
// It follows the specification's [message-header].
//
// [message-header]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/data-format/message-header.md
type Header struct {
	Version   int // of the message format: 1 or 2
	Suite     suite.ID
	MessageID []byte // 16 bytes in version 1, 32 in version 2
	// EncryptionContext holds the pairs that the message stores if the Header
	// is from ReadHeader. From Encrypt, Decrypt and the streams it holds all
	// pairs that are bound to the message: also those of required keys, which
	// are not stored, and the verification key of a signed message.
	// UserContext leaves out what the SDKs added.
	EncryptionContext map[string]string
	EncryptedDataKeys []EncryptedDataKey
	ContentType       ContentType
	FrameLength       uint32 // in bytes of plaintext; 0 if the body is unframed
	CommitKey         []byte // 32 bytes in version 2, none in version 1
	IV                []byte // of the header's authentication: 12 bytes in version 1, none in version 2
	Tag               []byte // of the header's authentication: 16 bytes
	// OpenedBy is the one of EncryptedDataKeys whose data key opened the
	// message. Only Decrypt, DecryptReader and DecryptReaderAt set it; it is nil if
	// the provider does not say which one that was.
	OpenedBy *EncryptedDataKey

	raw []byte // the header body and authentication; nil: neither read nor made
}

// NewHeader returns the header of a new message. The fields are given, all but
// IV, Tag and OpenedBy, which are ignored; EncryptionContext holds the pairs
// that the message stores. authenticate gets the serialised header body, must
// not change it, and returns the IV and the tag of the header's
// authentication; version 2 of the format does not store the IV.
//
// The map EncryptionContext becomes the Header's, everything else is copied.
// NewHeader fails with
// [ErrUnsupportedSuite] or [ErrMalformed] if the fields make no header, and
// with the error of authenticate.
func NewHeader(fields Header, authenticate func(body []byte) (iv, tag []byte, err error)) (*Header, error) {
	h := &fields
	if !h.Suite.Valid() {
		return nil, fmt.Errorf("%w: %v", ErrUnsupportedSuite, h.Suite)
	}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var scratch [usualSize]byte
	context, err := AppendEncryptionContext(scratch[:0], h.EncryptionContext)
	if err != nil {
		return nil, err
	}
	size := 64 + len(h.MessageID) + len(context) + len(h.CommitKey) // 64: more than all that has a fixed size
	for _, edk := range h.EncryptedDataKeys {
		size += 6 + len(edk.ProviderID) + len(edk.ProviderInfo) + len(edk.Ciphertext)
	}

	b := append(make([]byte, 0, 2*size), byte(h.Version)) // and a copy of it
	if h.Version == 1 {
		b = append(b, messageType)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(h.Suite))
	idAt := len(b)
	b = append(b, h.MessageID...)
	b = appendField(b, context)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.EncryptedDataKeys)))
	keysAt := len(b)
	for _, edk := range h.EncryptedDataKeys {
		b = appendField(appendField(appendField(b, edk.ProviderID), edk.ProviderInfo), edk.Ciphertext)
	}
	b = append(b, byte(h.ContentType))
	if h.Version == 1 {
		b = append(b, 0, 0, 0, 0, suite.IVSize)
	}
	b = binary.BigEndian.AppendUint32(b, h.FrameLength)
	commitAt := len(b)
	b = append(b, h.CommitKey...)

	iv, tag, err := authenticate(b[:len(b):len(b)])
	if err != nil {
		return nil, err
	}
	if h.Version != 1 {
		iv = nil // the format has no room for it, it is always zero
	} else if len(iv) != suite.IVSize {
		return nil, fmt.Errorf("%w: header IV of %d bytes, need %d", ErrMalformed, len(iv), suite.IVSize)
	}
	if len(tag) != suite.TagSize {
		return nil, fmt.Errorf("%w: header tag of %d bytes, need %d", ErrMalformed, len(tag), suite.TagSize)
	}
	h.raw = append(append(b, iv...), tag...)
	h.OpenedBy = nil
	if h.EncryptionContext == nil {
		h.EncryptionContext = map[string]string{}
	}
	h.EncryptedDataKeys = slices.Clone(h.EncryptedDataKeys)
	h.setFields(idAt, keysAt, commitAt)
	return h, nil
}

// setFields sets the fields that are bytes, each EncryptedDataKey included, to
// what stands in h.raw, of which they get a copy.
func (h *Header) setFields(idAt, keysAt, commitAt int) {
	var b []byte
	if n := len(h.raw); cap(h.raw) >= 2*n {
		h.raw, b = h.raw[:n:n], append(h.raw, h.raw...)[n:] // in the rest of its memory
	} else {
		b = bytes.Clone(h.raw)
	}
	take := func(at, n int) []byte { return b[at : at+n : at+n] }
	h.MessageID = take(idAt, h.Suite.MessageIDSize())
	h.CommitKey = take(commitAt, h.Suite.CommitKeySize())
	h.IV = take(h.bodySize(), len(b)-suite.TagSize-h.bodySize())
	h.Tag = take(len(b)-suite.TagSize, suite.TagSize)
	at := keysAt
	next := func() []byte {
		n := int(binary.BigEndian.Uint16(b[at:]))
		at += 2 + n
		return take(at-n, n)
	}
	for i := range h.EncryptedDataKeys {
		edk := &h.EncryptedDataKeys[i]
		if id := next(); edk.ProviderID != string(id) {
			edk.ProviderID = string(id)
		}
		edk.ProviderInfo, edk.Ciphertext = next(), next()
	}
}

// bodySize returns how much of h.raw is the header body; the rest authenticates it.
func (h *Header) bodySize() int {
	if h.Version == 1 {
		return len(h.raw) - suite.IVSize - suite.TagSize
	}
	return len(h.raw) - suite.TagSize
}

// check reports the first field, other than the suite and the encryption
// context, that cannot be encoded.
func (h *Header) check() error {
	if h.Version != h.Suite.MessageVersion() {
		return fmt.Errorf("version %d with %v", h.Version, h.Suite)
	}
	if len(h.MessageID) != h.Suite.MessageIDSize() {
		return fmt.Errorf("message ID of %d bytes, need %d", len(h.MessageID), h.Suite.MessageIDSize())
	}
	if n := len(h.EncryptedDataKeys); n < 1 || n > MaxEncryptedDataKeys {
		return fmt.Errorf("%d encrypted data keys", n)
	}
	for i, edk := range h.EncryptedDataKeys {
		if !utf8.ValidString(edk.ProviderID) {
			return fmt.Errorf("provider ID of encrypted data key %d is not UTF-8", i+1)
		}
		if max(len(edk.ProviderID), len(edk.ProviderInfo), len(edk.Ciphertext)) > maxField {
			return fmt.Errorf("encrypted data key %d has a field of more than %d bytes", i+1, maxField)
		}
	}
	if h.ContentType != Framed && h.ContentType != Unframed {
		return fmt.Errorf("%v", h.ContentType)
	}
	if (h.FrameLength == 0) != (h.ContentType == Unframed) {
		return fmt.Errorf("frame length %d in a message that is %v", h.FrameLength, h.ContentType)
	}
	if len(h.CommitKey) != h.Suite.CommitKeySize() {
		return fmt.Errorf("commit key of %d bytes, need %d", len(h.CommitKey), h.Suite.CommitKeySize())
	}
	return nil
}

// AppendBinary appends the header body and header authentication to b, byte
// for byte as they were received or written, whatever became of the fields
// since. Put before the body of the message they make it whole again:
//
//	raw, err := h.AppendBinary(nil)
//	...
//	message := io.MultiReader(bytes.NewReader(raw), r)
//
// It fails with [ErrMalformed] if h is not from [ReadHeader], [NewHeader] or
// package esdk.
func (h *Header) AppendBinary(b []byte) ([]byte, error) {
	if h.raw == nil {
		return nil, fmt.Errorf("%w: the header was neither read nor made", ErrMalformed)
	}
	return append(slices.Grow(b, len(h.raw)), h.raw...), nil
}

// UserContext returns a copy of EncryptionContext without the pairs that SDKs
// add for themselves, whose keys begin with [ReservedPrefix].
func (h *Header) UserContext() map[string]string {
	ec := make(map[string]string, len(h.EncryptionContext))
	for k, v := range h.EncryptionContext {
		if !strings.HasPrefix(k, ReservedPrefix) {
			ec[k] = v
		}
	}
	return ec
}
