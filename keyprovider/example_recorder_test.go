package keyprovider_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"sync/atomic"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
)

// Recorder is a provider that reports which key opened each message. It decides
// nothing, so it embeds the provider and overrides one method.
type Recorder struct {
	keyprovider.MasterKeyProvider
	opened func(keyprovider.EncryptedDataKey)
}

func (r Recorder) DecryptDataKey(ctx context.Context, req *keyprovider.Request, keys []keyprovider.EncryptedDataKey) (*keyprovider.DataKey, error) {
	key, err := r.MasterKeyProvider.DecryptDataKey(ctx, req, keys)
	if err == nil {
		r.opened(key.Encrypted)
	}
	return key, err
}

// A wrapper around a plain provider finds out whether an old key is still needed.
// Under a cache it would see only the calls that the cache makes.
func ExampleMasterKeyProvider() {
	newKey := func(name string) keyprovider.MasterKeyProvider {
		key := make([]byte, 32)
		rand.Read(key)
		p, err := keyprovider.NewRawAES("my app", name, key)
		if err != nil {
			log.Fatal(err)
		}
		return p
	}
	daily, old := newKey("daily"), newKey("old")
	var byOld atomic.Int64 // providers are called concurrently
	recorded := Recorder{old, func(keyprovider.EncryptedDataKey) { byOld.Add(1) }}
	both, err := keyprovider.Multi(daily, recorded)
	if err != nil {
		log.Fatal(err)
	}
	for _, writer := range []keyprovider.MasterKeyProvider{daily, old, both} {
		message, _, err := esdk.Encrypt(context.Background(), nil, writer, nil)
		if err != nil {
			log.Fatal(err)
		}
		all := Recorder{both, func(key keyprovider.EncryptedDataKey) {
			fmt.Printf("opened by a key of %s whose info is %.5q\n", key.ProviderID, key.ProviderInfo)
		}}
		if _, _, err := esdk.Decrypt(context.Background(), message, all, nil); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("old key needed:", byOld.Load())
	// Output:
	// opened by a key of my app whose info is "daily"
	// opened by a key of my app whose info is "old\x00\x00"
	// opened by a key of my app whose info is "daily"
	// old key needed: 1
}
