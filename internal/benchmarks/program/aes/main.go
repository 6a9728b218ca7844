// The command aes seals and opens a secret with AES-GCM, and imports nothing that it
// does not need for that.
package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"os"
)

func main() {
	key := make([]byte, 32)
	rand.Read(key)
	plaintext, err := roundTrip(key, []byte("pay 100"), []byte("tenant 42"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%s\n", plaintext)
}

func roundTrip(key, plaintext, about []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	sealed := aead.Seal(nil, nonce, plaintext, about)
	return aead.Open(nil, nonce, sealed, about)
}
