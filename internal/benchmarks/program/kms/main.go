// The command kms encrypts and decrypts a secret under the KMS key whose ARN it is
// given.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/kms"
)

func main() {
	plaintext, err := roundTrip(context.Background(), os.Args[1:], []byte("pay 100"), map[string]string{"tenant": "42"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%s\n", plaintext)
}

func roundTrip(ctx context.Context, keys []string, plaintext []byte, about map[string]string) ([]byte, error) {
	p, err := kms.New(ctx, keys, nil)
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
