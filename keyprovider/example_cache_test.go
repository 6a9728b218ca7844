package keyprovider_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"time"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
)

// newKey returns a provider with a new key. A service would use one of package kms,
// where caching saves more.
func newKey(name string) keyprovider.MasterKeyProvider {
	key := make([]byte, 32)
	rand.Read(key)
	p, err := keyprovider.NewRawAES("my app", name, key)
	if err != nil {
		log.Fatal(err)
	}
	return p
}

// A service that encrypts many small records fetches a data key once in 100 records
// or once in five minutes.
func ExampleNewCache() {
	p, err := keyprovider.NewCache(newKey("orders"), keyprovider.CacheOptions{
		MaxAge:      5 * time.Minute,
		MaxMessages: 100,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Purge() // clears the keys from memory

	for i := range 250 {
		record := fmt.Appendf(nil, "record %d", i)
		// The same pairs for many records: each tenant has data keys of its own.
		about := map[string]string{"table": "orders", "tenant": "42"}
		_, _, err := esdk.Encrypt(context.Background(), record, p, &esdk.EncryptOptions{EncryptionContext: about})
		if err != nil {
			log.Fatal(err)
		}
	}
	stats := p.Stats()
	fmt.Println(stats.Misses, "calls,", stats.Hits, "hits")
	// Output:
	// 3 calls, 247 hits
}

// Several caches can share one store and its size. They share data keys only if they
// have the same Partition.
func ExampleNewCacheStore() {
	store := keyprovider.NewCacheStore(10_000)
	for _, name := range []string{"orders", "invoices"} {
		p, err := keyprovider.NewCache(newKey(name), keyprovider.CacheOptions{MaxAge: time.Minute, Store: store})
		if err != nil {
			log.Fatal(err)
		}
		if _, _, err := esdk.Encrypt(context.Background(), nil, p, nil); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(store)
	store.Purge()
	fmt.Println(store)
	// Output:
	// cache store with 2 entries
	// cache store with 0 entries
}

// RequireContext works over a cache and under one. Both refuse messages without a
// tenant, and no tenant gets the data key of another.
func ExampleRequireContext_cache() {
	options := keyprovider.CacheOptions{MaxAge: time.Minute}
	cache, err := keyprovider.NewCache(newKey("over"), options)
	if err != nil {
		log.Fatal(err)
	}
	over, err := keyprovider.RequireContext(cache, "tenant")
	if err != nil {
		log.Fatal(err)
	}
	required, err := keyprovider.RequireContext(newKey("under"), "tenant")
	if err != nil {
		log.Fatal(err)
	}
	under, err := keyprovider.NewCache(required, options)
	if err != nil {
		log.Fatal(err)
	}

	for _, p := range []keyprovider.MasterKeyProvider{over, under} {
		tenant := map[string]string{"tenant": "42"}
		message, _, err := esdk.Encrypt(context.Background(), []byte("hello"), p, &esdk.EncryptOptions{EncryptionContext: tenant})
		if err != nil {
			log.Fatal(err)
		}
		plaintext, _, err := esdk.Decrypt(context.Background(), message, p, &esdk.DecryptOptions{EncryptionContext: tenant})
		fmt.Printf("%s, %v\n", plaintext, err)
		_, _, err = esdk.Decrypt(context.Background(), message, p, nil)
		fmt.Println(err)
	}
	// Output:
	// hello, <nil>
	// esdk: encryption context: the required key "tenant" is missing from DecryptOptions.EncryptionContext
	// hello, <nil>
	// esdk: encryption context: the required key "tenant" is missing from DecryptOptions.EncryptionContext
}
