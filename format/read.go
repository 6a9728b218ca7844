package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/esdk-go/esdk/suite"
)

// ReadHeader reads a message's header from r: the header body and the header
// authentication. It reads no byte of the message's body. It needs no key, and
// therefore nothing that it returns is authentic. [Header.AppendBinary] gives the
// bytes back, to decrypt the message of a source that cannot be read twice.
//
// A message with more than maxEncryptedDataKeys encrypted data keys fails with
// [ErrTooManyDataKeys] before the keys are read. Zero means no limit. If r is nil
// or the limit is negative, the error says so; all other errors are a
// *[ParseError].
//
// ReadHeader allocates memory as bytes arrive, and never for what the header
// claims. If r gives bytes without end, put an io.LimitReader before it: a header
// can have 13 GB.
//
// It follows the specification's [message-header].
//
// [message-header]: https://github.com/awslabs/aws-encryption-sdk-specification/blob/master/data-format/message-header.md
func ReadHeader(r io.Reader, maxEncryptedDataKeys int) (*Header, error) {
	if r == nil {
		return nil, errors.New("format: ReadHeader of a nil reader")
	}
	if maxEncryptedDataKeys < 0 {
		return nil, fmt.Errorf("format: negative limit of encrypted data keys: %d", maxEncryptedDataKeys)
	}
	hr := headerReader{r: r, raw: make([]byte, 0, usualSize)}
	if m, ok := r.(*bytes.Reader); ok { // it takes back what is not the header's
		n, _ := m.Read(hr.raw[:usualSize])
		hr.ahead = n
		defer func() { m.Seek(int64(-hr.ahead), io.SeekCurrent) }()
	}
	h, err := hr.header(maxEncryptedDataKeys)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// usualSize is more than the headers of most messages have, in bytes.
const usualSize = 512

// headerReader reads a header field by field. What the fields mean that vary
// in number, the pairs of the encryption context and the data keys, is worked
// out at the end, when their bytes have arrived and their number is known.
type headerReader struct {
	r     io.Reader
	raw   []byte // all that was read
	ahead int    // how many bytes of r are in the memory of raw already, behind it
}

// next reads n bytes. What it returns is valid until the next call.
func (hr *headerReader) next(n int, field string) ([]byte, error) {
	start := len(hr.raw)
	if n <= hr.ahead {
		hr.ahead -= n
		hr.raw = hr.raw[:start+n]
		return hr.raw[start:], nil
	}
	hr.raw, hr.ahead = hr.raw[:start+hr.ahead], 0
	for missing := n - (len(hr.raw) - start); missing > 0; missing = n - (len(hr.raw) - start) {
		step := min(missing, max(len(hr.raw), usualSize))
		hr.raw = slices.Grow(hr.raw, step)
		m, err := io.ReadFull(hr.r, hr.raw[len(hr.raw):len(hr.raw)+step])
		hr.raw = hr.raw[:len(hr.raw)+m]
		if err != nil {
			if errors.Is(err, io.EOF) { // an error must not pass for the end
				err = io.ErrUnexpectedEOF
			}
			return nil, &ParseError{int64(len(hr.raw)), field, err}
		}
	}
	return hr.raw[start:], nil
}

func (hr *headerReader) uint16(field string) (int, error) {
	b, err := hr.next(2, field)
	if err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint16(b)), nil
}

// fixed reads len(want) bytes that can have no other value.
func (hr *headerReader) fixed(want []byte, field string) error {
	got, err := hr.next(len(want), field)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return malformed(len(hr.raw)-len(want), field, "%x, must be %x", got, want)
	}
	return nil
}

func (hr *headerReader) header(maxKeys int) (*Header, error) {
	h := &Header{}
	if err := hr.version(h); err != nil {
		return nil, err
	}
	if err := hr.suite(h); err != nil {
		return nil, err
	}
	idAt := len(hr.raw)
	if _, err := hr.next(h.Suite.MessageIDSize(), "message ID"); err != nil {
		return nil, err
	}
	size, err := hr.uint16("encryption context length")
	if err != nil {
		return nil, err
	}
	contextAt := len(hr.raw)
	if _, err := hr.next(size, "encryption context"); err != nil {
		return nil, err
	}
	if h.EncryptionContext, err = parseEncryptionContext(hr.raw[contextAt:], contextAt); err != nil {
		return nil, err
	}
	count, err := hr.uint16("number of encrypted data keys")
	if err != nil {
		return nil, err
	}
	keysAt := len(hr.raw)
	if err := hr.dataKeys(count, maxKeys); err != nil {
		return nil, err
	}
	if err := hr.bodyFields(h); err != nil {
		return nil, err
	}
	commitAt := len(hr.raw)
	if _, err := hr.next(h.Suite.CommitKeySize(), "commit key"); err != nil {
		return nil, err
	}
	if h.Version == 1 {
		if _, err := hr.next(suite.IVSize, "header IV"); err != nil {
			return nil, err
		}
	}
	if _, err := hr.next(suite.TagSize, "header tag"); err != nil {
		return nil, err
	}
	h.raw = hr.raw
	h.EncryptedDataKeys = make([]EncryptedDataKey, count)
	h.setFields(idAt, keysAt, commitAt)
	return h, nil
}

func (hr *headerReader) version(h *Header) error {
	b, err := hr.next(1, "version")
	if err != nil {
		return err
	}
	switch h.Version = int(b[0]); h.Version {
	case 1:
		b, err := hr.next(1, "message type")
		if err != nil {
			return err
		}
		if b[0] != messageType {
			return malformed(1, "message type", "%#x, must be %#x%s", b[0], messageType, hr.guess())
		}
		return nil
	case 2:
		return nil
	case 'A': // 0x01 0x80 begins AY in Base64, 0x02 and a suite's first byte Ag
		if b, err := hr.next(1, "version"); err == nil && (b[0] == 'Y' || b[0] == 'g') {
			return &ParseError{0, "version", ErrBase64}
		}
	}
	return malformed(0, "version", "unknown version %d%s", h.Version, hr.guess())
}

// guess says what else that begins with hr.raw, which is no message, could be.
func (hr *headerReader) guess() string {
	known := [...]struct{ prefix, name string }{
		{"\x01\x02\x02\x00", "the ciphertext of the Encrypt operation of AWS KMS, which its Decrypt operation reads"},
		{"\x01\x02\x03\x00", "the ciphertext of the Encrypt operation of AWS KMS, which its Decrypt operation reads"},
		{"\x1f\x8b", "gzip data, which must be decompressed first"},
		{"age-encryption.org", "an age file"},
		{"-----BEGIN ", "a PEM file"},
		{"{", "JSON"},
	}
	for more := true; more; {
		more = len(hr.raw) < 4 // enough to see that it is text
		for _, k := range known {
			if bytes.HasPrefix(hr.raw, []byte(k.prefix)) {
				return ": not an AWS Encryption SDK message; it looks like " + k.name
			}
			more = more || strings.HasPrefix(k.prefix, string(hr.raw))
		}
		if more { // which may not come: nobody waits for the rest of what is refused already
			_, err := hr.next(1, "version")
			more = err == nil
		}
	}
	for _, b := range hr.raw {
		if (b < ' ' || b > '~') && b != '\t' && b != '\r' && b != '\n' {
			return ": not an AWS Encryption SDK message"
		}
	}
	return ": not an AWS Encryption SDK message; it looks like text"
}

func (hr *headerReader) suite(h *Header) error {
	at := len(hr.raw)
	id, err := hr.uint16("algorithm suite")
	if err != nil {
		return err
	}
	h.Suite = suite.ID(id)
	if !h.Suite.Valid() {
		return &ParseError{int64(at), "algorithm suite", fmt.Errorf("%w: %v", ErrUnsupportedSuite, h.Suite)}
	}
	if h.Version != h.Suite.MessageVersion() {
		return malformed(at, "algorithm suite", "%v in a message of version %d", h.Suite, h.Version)
	}
	return nil
}

// dataKeys reads past the encrypted data keys and checks them.
func (hr *headerReader) dataKeys(count, limit int) error {
	at := len(hr.raw) - 2
	if count == 0 {
		return malformed(at, "number of encrypted data keys", "none")
	}
	if limit > 0 && count > limit {
		return &ParseError{int64(at), "number of encrypted data keys",
			fmt.Errorf("%w: %d, at most %d allowed", ErrTooManyDataKeys, count, limit)}
	}
	for range count {
		for _, field := range [...]string{"key provider ID", "key provider info", "encrypted data key"} {
			n, err := hr.uint16(field)
			if err != nil {
				return err
			}
			b, err := hr.next(n, field)
			if err != nil {
				return err
			}
			if field == "key provider ID" && !utf8.Valid(b) {
				return malformed(len(hr.raw)-n, field, "not UTF-8")
			}
		}
	}
	return nil
}

// bodyFields reads what says how the body is laid out.
func (hr *headerReader) bodyFields(h *Header) error {
	b, err := hr.next(1, "content type")
	if err != nil {
		return err
	}
	h.ContentType = ContentType(b[0])
	if h.ContentType != Framed && h.ContentType != Unframed {
		return malformed(len(hr.raw)-1, "content type", "unknown value %d", b[0])
	}
	if h.Version == 1 {
		if err := hr.fixed([]byte{0, 0, 0, 0}, "reserved field"); err != nil {
			return err
		}
		if err := hr.fixed([]byte{suite.IVSize}, "IV length"); err != nil {
			return err
		}
	}
	if b, err = hr.next(4, "frame length"); err != nil {
		return err
	}
	h.FrameLength = binary.BigEndian.Uint32(b)
	if (h.FrameLength == 0) != (h.ContentType == Unframed) {
		return malformed(len(hr.raw)-4, "frame length", "%d in a message that is %v", h.FrameLength, h.ContentType)
	}
	return nil
}
