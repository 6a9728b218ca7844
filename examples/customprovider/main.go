// Customprovider shows a master key provider of your own, for a key service that
// this module does not know: see provider.go. Its test checks the provider with
// package providertest. The program writes a message before and one after a
// rotation of the key, and reads both:
//
//	go run ./examples/customprovider
package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/esdk-go/esdk"
)

// A KeyService holds wrapping keys that never leave it: an HSM, a vault, the KMS
// of another cloud. It must bind aad to the keys that it wraps.
type KeyService interface {
	Wrap(ctx context.Context, keyID string, key, aad []byte) ([]byte, error)
	Unwrap(ctx context.Context, keyID string, wrapped, aad []byte) ([]byte, error)
}

// A localService takes the place of a remote KeyService in this example.
type localService map[string]cipher.AEAD

func newLocalService(keyIDs ...string) (localService, error) {
	s := localService{}
	for _, id := range keyIDs {
		key := make([]byte, 32)
		rand.Read(key) // never fails
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		if s[id], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s localService) Wrap(ctx context.Context, keyID string, key, aad []byte) ([]byte, error) {
	if s[keyID] == nil {
		return nil, errors.New("no such key")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s[keyID].Seal(nil, nil, key, aad), nil
}

func (s localService) Unwrap(ctx context.Context, keyID string, wrapped, aad []byte) ([]byte, error) {
	if s[keyID] == nil {
		return nil, errors.New("no such key")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s[keyID].Open(nil, nil, wrapped, aad)
}

func run(ctx context.Context) error {
	service, err := newLocalService("2024", "2025")
	if err != nil {
		return err
	}
	before := &Provider{Service: service, KeyIDs: []string{"2024"}}
	after := &Provider{Service: service, KeyIDs: []string{"2025", "2024"}} // the key was rotated
	about := map[string]string{"tenant": "42"}

	for _, writer := range []*Provider{before, after} {
		message, _, err := esdk.Encrypt(ctx, []byte("hello"), writer, &esdk.EncryptOptions{EncryptionContext: about})
		if err != nil {
			return err
		}
		plaintext, header, err := esdk.Decrypt(ctx, message, after, &esdk.DecryptOptions{EncryptionContext: about})
		if err != nil {
			return err
		}
		key := header.EncryptedDataKeys[0]
		fmt.Printf("decrypted %q, a message under key %q of the %s\n", plaintext, key.ProviderInfo, key.ProviderID)
		if _, _, err = esdk.Decrypt(ctx, message, before, nil); err != nil {
			fmt.Printf("a program that has only key %q cannot: %v\n", before.KeyIDs[0], err)
		}
	}
	return nil
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "customprovider:", err)
		os.Exit(1)
	}
}
