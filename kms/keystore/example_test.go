package keystore_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/keystore"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// Whoever administers keys creates the table and a branch key for each tenant,
// and rotates the branch keys.
func Example() {
	ctx := context.Background()
	server := kmstest.NewServer() // stands for AWS KMS
	defer server.Close()
	keyARN := server.CreateKey("eu-west-1")

	store, err := keystore.New(ctx, keystore.Options{
		Table:       "BranchKeys",
		LogicalName: "BranchKeys",
		KeyARN:      keyARN,
		Config:      server.Config(), // programs leave it nil
		DynamoDB:    newFake(),       // and this too
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := store.CreateTable(ctx); err != nil { // once
		log.Fatal(err)
	}
	id, err := store.CreateKey(ctx, "tenant-42", map[string]string{"tenant": "42"})
	if err != nil {
		log.Fatal(err)
	}
	first, err := store.ActiveBranchKey(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.RotateKey(ctx, id); err != nil { // now and then
		log.Fatal(err)
	}

	second, err := store.ActiveBranchKey(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(id, second.EncryptionContext, first.Version != second.Version)
	earlier, err := store.BranchKeyVersion(ctx, id, first.Version)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the earlier version is there:", earlier.Version == first.Version)
	// Output:
	// tenant-42 map[tenant:42] true
	// the earlier version is there: true
}

// Programs that only encrypt and decrypt can be told the logical name alone:
// the items name their KMS keys. What such a store cannot do is make keys.
func ExampleOptions_discovery() {
	ctx := context.Background()
	server := kmstest.NewServer()
	defer server.Close()
	tables := newFake()
	admin, err := keystore.New(ctx, keystore.Options{
		Table: "BranchKeys", LogicalName: "BranchKeys", KeyARN: server.CreateKey("us-east-1"), Config: server.Config(), DynamoDB: tables,
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := admin.CreateTable(ctx); err != nil {
		log.Fatal(err)
	}
	id, err := admin.CreateKey(ctx, "", nil)
	if err != nil {
		log.Fatal(err)
	}

	reader, err := keystore.New(ctx, keystore.Options{
		Table:       "BranchKeys",
		LogicalName: "BranchKeys",
		Discovery:   true,
		Config:      server.Config(),
		DynamoDB:    tables,
	})
	if err != nil {
		log.Fatal(err)
	}
	key, err := reader.ActiveBranchKey(ctx, id)
	fmt.Println(len(key.Material), err)
	fmt.Println(errors.Is(reader.RotateKey(ctx, id), keystore.ErrReadOnly))
	_, err = reader.ActiveBranchKey(ctx, "another")
	fmt.Println(errors.Is(err, hierarchical.ErrBranchKeyNotFound))
	// Output:
	// 32 <nil>
	// true
	// true
}
