package format

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/esdk-go/esdk/suite"
)

// messageType is the type byte of version 1: customer authenticated encrypted data.
const messageType = 0x80

// An EncryptedDataKey is one wrapped form of a message's data key. Any one of
// a message's encrypted data keys is enough to open it.
type EncryptedDataKey struct {
	ProviderID   string // which kind of provider, or which namespace, wrapped it; UTF-8
	ProviderInfo []byte // which key of the provider
	Ciphertext   []byte // the wrapped data key
}

// A Header is what stands before the body of a message.
//
// From [ReadHeader], and until the message was decrypted, no field is
// authentic. The slices and maps are the Header's own: changing them changes
// no bytes that [Header.AppendBinary] returns.
//
// It follows data-format/message-header.md of the specification.
type Header struct {
	Version   int // of the message format: 1 or 2
	Suite     suite.ID
	MessageID []byte // 16 bytes in version 1, 32 in version 2
	// EncryptionContext holds the stored pairs if the Header is from
	// ReadHeader. From Encrypt, Decrypt and the streams it holds all pairs
	// that are bound to the message: also those of required keys, which are
	// not stored, and the verification key of a signed message.
	EncryptionContext map[string]string
	EncryptedDataKeys []EncryptedDataKey
	ContentType       ContentType
	FrameLength       uint32 // in bytes of plaintext; 0 if the body is unframed
	CommitKey         []byte // 32 bytes in version 2, none in version 1
	IV                []byte // of the header's authentication: 12 bytes in version 1, none in version 2
	Tag               []byte // of the header's authentication: 16 bytes

	raw      []byte // the body and, once complete, the authentication
	bodySize int    // how much of raw is the body
}

// EncodeBody serialises the header body from the fields and keeps the bytes
// for [Header.Body]. IV and Tag are not part of it; [Header.SetAuthentication]
// adds them. It fails with [ErrMalformed] if the fields make no header.
func (h *Header) EncodeBody() error {
	if !h.Suite.Valid() {
		return fmt.Errorf("%w: %v", ErrUnsupportedSuite, h.Suite)
	}
	ec, err := AppendEncryptionContext(nil, h.EncryptionContext)
	if err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	size := 80 + len(h.MessageID) + len(ec) + len(h.CommitKey) // 80: the rest of it, authentication included
	for _, edk := range h.EncryptedDataKeys {
		size += 6 + len(edk.ProviderID) + len(edk.ProviderInfo) + len(edk.Ciphertext)
	}

	b := append(make([]byte, 0, size), byte(h.Version))
	if h.Version == 1 {
		b = append(b, messageType)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(h.Suite))
	b = append(b, h.MessageID...)
	b = appendField(b, ec)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.EncryptedDataKeys)))
	for _, edk := range h.EncryptedDataKeys {
		b = appendField(appendField(appendField(b, edk.ProviderID), edk.ProviderInfo), edk.Ciphertext)
	}
	b = append(b, byte(h.ContentType))
	if h.Version == 1 {
		b = append(b, 0, 0, 0, 0, suite.IVSize)
	}
	b = binary.BigEndian.AppendUint32(b, h.FrameLength)
	h.raw = append(b, h.CommitKey...)
	h.bodySize = len(h.raw)
	return nil
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

// Body returns the header body as it was received or encoded: the bytes that
// the header's tag authenticates. They are the Header's own; do not change them.
func (h *Header) Body() []byte { return h.raw[:h.bodySize:h.bodySize] }

// SetAuthentication completes an encoded header with the tag over its body
// and, in version 1, the IV that made it. Both are copied.
func (h *Header) SetAuthentication(iv, tag []byte) error {
	if h.bodySize == 0 {
		return fmt.Errorf("%w: the header body is not encoded", ErrMalformed)
	}
	if h.Version != 1 {
		iv = nil // the format has no room for it, it is always zero
	} else if len(iv) != suite.IVSize {
		return fmt.Errorf("%w: header IV of %d bytes", ErrMalformed, len(iv))
	}
	if len(tag) != suite.TagSize {
		return fmt.Errorf("%w: header tag of %d bytes", ErrMalformed, len(tag))
	}
	h.IV, h.Tag = bytes.Clone(iv), bytes.Clone(tag)
	h.raw = append(append(h.raw[:h.bodySize], iv...), tag...)
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
// It fails with [ErrMalformed] if h was neither read nor written.
func (h *Header) AppendBinary(b []byte) ([]byte, error) {
	if len(h.raw) == h.bodySize {
		return nil, fmt.Errorf("%w: the header was neither read nor written", ErrMalformed)
	}
	return append(slices.Grow(b, len(h.raw)), h.raw...), nil
}
