package keyprovider_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// SignedOnly is a provider that refuses to write or read unsigned messages. It
// embeds ManagerOnly, so code that takes it for a plain provider fails instead of
// bypassing it.
type SignedOnly struct {
	keyprovider.ManagerOnly
	keys keyprovider.MasterKeyProvider // not embedded, not exported
}

var errUnsigned = errors.New("messages must be signed")

func (s SignedOnly) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	if req.Suite != 0 && !req.Suite.Signing() {
		return nil, errUnsigned
	}
	return keyprovider.Materials(s.keys).EncryptionMaterials(ctx, req)
}

func (s SignedOnly) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	if !req.Suite.Signing() {
		return nil, errUnsigned
	}
	return keyprovider.Materials(s.keys).DecryptionMaterials(ctx, req)
}

// A materials manager of your own enforces a policy that callers cannot bypass.
func ExampleMaterials() {
	key := make([]byte, 32)
	rand.Read(key)
	aes, err := keyprovider.NewRawAES("my app", "key 1", key)
	if err != nil {
		log.Fatal(err)
	}
	p := SignedOnly{keys: aes}

	message, _, err := esdk.Encrypt(context.Background(), []byte("hello"), p, nil)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, _, err := esdk.Decrypt(context.Background(), message, p, nil)
	fmt.Printf("%s, %v\n", plaintext, err)

	_, _, err = esdk.Encrypt(context.Background(), nil, p, &esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey})
	fmt.Println(err)

	// A wrapper that hides the manager fails instead of bypassing it.
	hidden := struct{ keyprovider.MasterKeyProvider }{p}
	_, _, err = esdk.Encrypt(context.Background(), nil, hidden, nil)
	fmt.Println(errors.Is(err, keyprovider.ErrManagerOnly))
	// Output:
	// hello, <nil>
	// esdk: messages must be signed
	// true
}
