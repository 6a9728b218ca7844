package format

import (
	"errors"
	"fmt"
	"math"
)

// footerSize returns the size of the footer as this module writes it.
func (h *Header) footerSize() int64 {
	if !h.Suite.Signing() {
		return 0
	}
	return 2 + int64(h.Suite.SignatureSize())
}

// outside returns the bytes of a message outside its body, as this module writes it.
func (h *Header) outside() (int64, error) {
	if h.raw == nil {
		return 0, fmt.Errorf("%w: the header was neither read nor made", ErrMalformed)
	}
	if h.ContentType != Unframed && h.FrameLength == 0 { // the fields are not as they were read
		return 0, fmt.Errorf("%w: frame length 0", ErrMalformed)
	}
	return int64(len(h.raw)) + h.footerSize(), nil
}

// MessageLength returns the length in bytes of the whole message that has this
// header and a plaintext of plaintextLength bytes, exactly as this module
// writes it. It goes by the fields Suite, ContentType and FrameLength as they are
// now. It fails if plaintextLength is negative or more than the format
// can hold at this frame length: 2^32-1 frames, or 2^36-32 bytes unframed.
func (h *Header) MessageLength(plaintextLength int64) (int64, error) {
	outside, err := h.outside()
	if err != nil {
		return 0, err
	}
	if plaintextLength < 0 {
		return 0, fmt.Errorf("format: negative plaintext length %d", plaintextLength)
	}
	if h.ContentType == Unframed {
		if plaintextLength > MaxUnframedLength {
			return 0, fmt.Errorf("format: plaintext of %d bytes does not fit in an unframed body", plaintextLength)
		}
		return outside + UnframedOverhead + plaintextLength, nil
	}
	regular := plaintextLength / int64(h.FrameLength)
	if regular+1 > MaxFrames {
		return 0, fmt.Errorf("format: plaintext of %d bytes needs more than %d frames of %d bytes", plaintextLength, uint32(MaxFrames), h.FrameLength)
	}
	overhead := outside + regular*FrameOverhead + FinalFrameOverhead
	if plaintextLength > math.MaxInt64-overhead {
		return 0, fmt.Errorf("format: a message of %d bytes of plaintext is too long", plaintextLength)
	}
	return overhead + plaintextLength, nil
}

// PlaintextLength returns the length in bytes of the plaintext of the message
// that has this header and messageLength bytes in all. It is exact if the
// message is not signed or was written by this module; other writers'
// signatures vary in length, and then it is off by at most as much. It fails
// if an unsigned message cannot have that length, or a signed one is too short
// for it. The result is a claim until the message was decrypted.
func (h *Header) PlaintextLength(messageLength int64) (int64, error) {
	outside, err := h.outside()
	if err != nil {
		return 0, err
	}
	overhead := int64(FinalFrameOverhead)
	if h.ContentType == Unframed {
		overhead = UnframedOverhead
	}
	body := messageLength - outside - overhead
	if body < 0 && body >= -h.footerSize() && messageLength > 0 {
		body = 0 // no plaintext, and a signature shorter than ours
	}
	if messageLength < 0 || body < 0 {
		return 0, fmt.Errorf("format: %d bytes are too few for a message with this header", messageLength)
	}
	if h.ContentType == Unframed {
		if body > MaxUnframedLength {
			return 0, fmt.Errorf("format: %d bytes are too many for an unframed message", messageLength)
		}
		return body, nil
	}
	length := int64(h.FrameLength)
	regular, rest := body/(length+FrameOverhead), body%(length+FrameOverhead)
	if regular+1 > MaxFrames {
		return 0, fmt.Errorf("format: %d bytes are too many for a message of frame length %d", messageLength, h.FrameLength)
	}
	if rest > length {
		if !h.Suite.Signing() {
			return 0, fmt.Errorf("format: no message with this header has %d bytes", messageLength)
		}
		rest = length // a signature of another length moved the end of the last frame
	}
	return regular*length + rest, nil
}

// MessageRange returns where in the message the length bytes of plaintext from
// offset on are: in the bytes [start, end), which are whole frames. For that range
// esdk.DecryptReaderAt.ReadAt reads no other bytes, so one ranged request, such as
// "Range: bytes=start-(end-1)" of HTTP, can fetch them ahead. If length is 0, end
// equals start.
//
// end always includes the 8 bytes by which the final frame is longer than the
// others, because MessageRange does not know which frame is the final one. So end
// may be past the end of the message, and so may start if offset is past the end of
// the plaintext.
//
// MessageRange fails if the message is unframed, because then no part can be
// decrypted alone; if offset or length is negative; and if the format cannot hold
// that much.
func (h *Header) MessageRange(offset, length int64) (start, end int64, err error) {
	if _, err := h.outside(); err != nil {
		return 0, 0, err
	}
	switch {
	case h.ContentType == Unframed:
		return 0, 0, errors.New("format: an unframed message has no ranges")
	case offset < 0 || length < 0:
		return 0, 0, fmt.Errorf("format: negative range: %d bytes from %d on", length, offset)
	case offset > math.MaxInt64-length:
		return 0, 0, fmt.Errorf("format: range of %d bytes from %d on is too long", length, offset)
	}
	f, header := int64(h.FrameLength), int64(len(h.raw))
	first, last := offset/f, (offset+max(length, 1)-1)/f
	const longer = FinalFrameOverhead - FrameOverhead
	if last >= MaxFrames || last+1 > (math.MaxInt64-longer-header)/(f+FrameOverhead) {
		return 0, 0, fmt.Errorf("format: a message of frame length %d cannot have %d bytes from %d on", h.FrameLength, length, offset)
	}
	start = header + first*(f+FrameOverhead)
	if length == 0 {
		return start, start, nil
	}
	return start, header + (last+1)*(f+FrameOverhead) + longer, nil
}
