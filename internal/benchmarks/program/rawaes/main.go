// The command rawaes encrypts and decrypts a secret under a raw AES key, in the
// default suite.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
)

func main() {
	key := make([]byte, 32)
	rand.Read(key)
	plaintext, err := roundTrip(context.Background(), key, []byte("pay 100"), map[string]string{"tenant": "42"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%s\n", plaintext)
}

func roundTrip(ctx context.Context, key, plaintext []byte, about map[string]string) ([]byte, error) {
	p, err := keyprovider.NewRawAES("my app", "key 1", key)
	if err != nil {
		return nil, err
	}
	message, _, err := esdk.Encrypt(ctx, plaintext, p, &esdk.EncryptOptions{EncryptionContext: about})
	if err != nil {
		return nil, err
	}
	plaintext, _, err = esdk.Decrypt(ctx, message, p, &esdk.DecryptOptions{EncryptionContext: about})
	return plaintext, err
}
