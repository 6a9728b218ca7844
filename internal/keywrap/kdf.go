// Package keywrap has what more than one provider needs to wrap data keys:
// key derivation, the layouts that providers share, and copies of RSA keys.
package keywrap

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"
	"hash"
)

// CounterKDF derives size bytes from key: NIST SP 800-108 in counter mode with
// HMAC, a counter of 32 bits before the fixed input and the output's length in
// bits, as 32 bits, at its end.
func CounterKDF(newHash func() hash.Hash, key, label, context []byte, size int) []byte {
	fixed := append(append(append([]byte(nil), label...), 0), context...)
	fixed = binary.BigEndian.AppendUint32(fixed, uint32(size)*8)
	mac := hmac.New(newHash, key)
	blocks := (size + mac.Size() - 1) / mac.Size()
	out := make([]byte, 0, blocks*mac.Size()) // it never grows, which would leave a copy of a key behind
	for i := uint32(1); len(out) < size; i++ {
		if i > 1 {
			mac.Reset() // costs, also when there is nothing to reset
		}
		mac.Write(binary.BigEndian.AppendUint32(nil, i))
		mac.Write(fixed)
		out = mac.Sum(out)
	}
	clear(out[size:])
	return out[:size:size]
}

// GCM returns AES-GCM under a key that was derived for this use alone, and clears
// the key.
func GCM(key []byte) (cipher.AEAD, error) {
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
