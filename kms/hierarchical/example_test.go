package hierarchical_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

// One branch key for all messages: after the first one nobody is called, and
// rotating the key leaves earlier messages readable.
func ExampleNew() {
	ctx := context.Background()
	store := kmstest.NewBranchKeyStore("orders") // stands for the one on DynamoDB, of package keystore
	id := store.CreateKey(nil)

	p, err := hierarchical.New(store, hierarchical.Options{
		BranchKeyID: id,
		MaxAge:      10 * time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Purge() // clears the branch keys from memory

	// A signature would add nothing: who can read can write.
	opts := &esdk.EncryptOptions{Suite: suite.AES256GCMHKDFSHA512CommitKey}
	var messages [][]byte
	for i := range 1000 {
		message, _, err := esdk.Encrypt(ctx, fmt.Appendf(nil, "order %d", i), p, opts)
		if err != nil {
			log.Fatal(err)
		}
		messages = append(messages, message)
	}
	fmt.Println("calls of the store:", len(store.Calls()))

	store.RotateKey(id)
	for _, message := range messages {
		if _, _, err := esdk.Decrypt(ctx, message, p, nil); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("calls of the store:", len(store.Calls()))
	// Output:
	// calls of the store: 1
	// calls of the store: 2
}

// Each tenant has a branch key of its own, which the encryption context chooses.
func ExampleOptions_branchKeyIDFor() {
	ctx := context.Background()
	store := kmstest.NewBranchKeyStore("orders")
	branchKeys := map[string]string{"42": store.CreateKey(nil), "43": store.CreateKey(nil)}

	p, err := hierarchical.New(store, hierarchical.Options{
		BranchKeyIDFor: func(_ context.Context, ec map[string]string) (string, error) {
			id, ok := branchKeys[ec["tenant"]]
			if !ok {
				return "", errors.New("the encryption context names no tenant")
			}
			return id, nil
		},
		MaxAge: 10 * time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}

	for _, tenant := range []string{"42", "43", "44"} {
		_, header, err := esdk.Encrypt(ctx, []byte("hello"), p, &esdk.EncryptOptions{
			EncryptionContext: map[string]string{"tenant": tenant},
		})
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(string(header.EncryptedDataKeys[0].ProviderInfo) == branchKeys[tenant])
	}
	// Output:
	// true
	// true
	// esdk: BranchKeyIDFor: the encryption context names no tenant
}
