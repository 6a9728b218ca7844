// Package uuid has the UUIDs that name versions of branch keys.
package uuid

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// A UUID is a UUID in its binary form: as messages store the version of a
// branch key.
type UUID [16]byte

// TextSize is the length of the text form.
const TextSize = 36

// New returns a random UUID, of version 4.
func New() UUID {
	var u UUID
	rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0F|0x40, u[8]&0x3F|0x80
	return u
}

// Parse parses what String returns, and no other form, such as one in capital
// letters: a version that is stored would not be found by another one.
func Parse(s string) (UUID, error) {
	var u UUID
	if len(s) == TextSize {
		digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
		if _, err := hex.Decode(u[:], []byte(digits)); err == nil && u.String() == s {
			return u, nil
		}
	}
	return UUID{}, fmt.Errorf("no UUID in lower case: %.200q", s)
}

// String returns the text form.
func (u UUID) String() string { return string(u.Append(make([]byte, 0, TextSize))) }

// Append appends what String returns.
func (u UUID) Append(b []byte) []byte {
	for i, digits := range [...][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, digits)
	}
	return b
}
