// Customprovider shows a master key provider of one's own, for a service that
// this module knows nothing of: the file provider.go. Its test lets package
// providertest check it.
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

// A KeyService holds wrapping keys, which never leave it: an HSM, a vault,
// another cloud's KMS. It must bind aad to what it wraps.
type KeyService interface {
	Wrap(ctx context.Context, keyID string, key, aad []byte) ([]byte, error)
	Unwrap(ctx context.Context, keyID string, wrapped, aad []byte) ([]byte, error)
}

// localService stands in for a KeyService that would be far away.
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
	now := &Provider{Service: service, KeyIDs: []string{"2025", "2024"}} // after a rotation

	opts := &esdk.EncryptOptions{EncryptionContext: map[string]string{"tenant": "42"}}
	for _, p := range []*Provider{before, now} {
		message, _, err := esdk.Encrypt(ctx, []byte("hello"), p, opts)
		if err != nil {
			return err
		}
		plaintext, header, err := esdk.Decrypt(ctx, message, now, &esdk.DecryptOptions{EncryptionContext: opts.EncryptionContext})
		if err != nil {
			return err
		}
		fmt.Printf("%s: under key %s of the %s, for tenant %s\n",
			plaintext, header.EncryptedDataKeys[0].ProviderInfo, header.EncryptedDataKeys[0].ProviderID, header.EncryptionContext["tenant"])
		if _, _, err = esdk.Decrypt(ctx, message, before, nil); err != nil {
			fmt.Println("without the new key:", err)
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
