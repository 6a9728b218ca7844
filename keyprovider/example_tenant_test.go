package keyprovider_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"maps"
	"time"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
)

// TenantOf is a provider for the messages of one tenant. It adds the tenant to the
// encryption context of each message, and refuses messages of other tenants.
type TenantOf struct {
	keyprovider.ManagerOnly
	keys   keyprovider.MasterKeyProvider // not embedded, not exported
	tenant string
}

func (t TenantOf) EncryptionMaterials(ctx context.Context, req *keyprovider.EncryptionRequest) (*keyprovider.EncryptionMaterials, error) {
	if _, ok := req.EncryptionContext["tenant"]; ok {
		return nil, fmt.Errorf("%w: callers must not give the tenant", keyprovider.ErrEncryptionContext)
	}
	added := *req // neither the request nor its maps may be changed
	added.EncryptionContext = maps.Clone(req.EncryptionContext)
	if added.EncryptionContext == nil {
		added.EncryptionContext = map[string]string{}
	}
	added.EncryptionContext["tenant"] = t.tenant
	return keyprovider.Materials(t.keys).EncryptionMaterials(ctx, &added)
}

func (t TenantOf) DecryptionMaterials(ctx context.Context, req *keyprovider.DecryptionRequest) (*keyprovider.DecryptionMaterials, error) {
	if req.EncryptionContext["tenant"] != t.tenant {
		return nil, fmt.Errorf("%w: the message is another tenant's", keyprovider.ErrEncryptionContext)
	}
	return keyprovider.Materials(t.keys).DecryptionMaterials(ctx, req)
}

// A manager that adds pairs to the encryption context belongs over the cache: there
// it sees every message, and the cache keeps the tenants apart.
func ExampleMaterialsManager() {
	key := make([]byte, 32)
	rand.Read(key)
	aes, err := keyprovider.NewRawAES("my app", "records", key)
	if err != nil {
		log.Fatal(err)
	}
	cache, err := keyprovider.NewCache(aes, keyprovider.CacheOptions{MaxAge: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	alice, bob := TenantOf{keys: cache, tenant: "alice"}, TenantOf{keys: cache, tenant: "bob"}

	message, header, err := esdk.Encrypt(context.Background(), []byte("hello"), alice, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("for", header.EncryptionContext["tenant"])

	plaintext, _, err := esdk.Decrypt(context.Background(), message, alice, nil)
	fmt.Printf("%s, %v\n", plaintext, err)
	_, _, err = esdk.Decrypt(context.Background(), message, bob, nil)
	fmt.Println(err)

	// A wrapper that hides the manager fails instead of bypassing it.
	_, _, err = esdk.Decrypt(context.Background(), message, struct{ keyprovider.MasterKeyProvider }{alice}, nil)
	fmt.Println(errors.Is(err, keyprovider.ErrManagerOnly))
	// Output:
	// for alice
	// hello, <nil>
	// esdk: encryption context: the message is another tenant's
	// true
}
