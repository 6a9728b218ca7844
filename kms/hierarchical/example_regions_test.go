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
)

// regions is a Store over the replicas of one table in two Regions. It asks the far one
// if the near one fails.
type regions struct{ near, far hierarchical.Store }

func (r regions) LogicalName() string { return r.near.LogicalName() }

func (r regions) ActiveBranchKey(ctx context.Context, id string) (*hierarchical.BranchKey, error) {
	key, err := r.near.ActiveBranchKey(ctx, id)
	if isOutage(ctx, err) {
		key, err = r.far.ActiveBranchKey(ctx, id)
	}
	return key, err
}

func (r regions) BranchKeyVersion(ctx context.Context, id, version string) (*hierarchical.BranchKey, error) {
	key, err := r.near.BranchKeyVersion(ctx, id, version)
	if isOutage(ctx, err) {
		key, err = r.far.BranchKeyVersion(ctx, id, version)
	}
	return key, err
}

// isOutage reports whether another Region may know better. A key that one replica does
// not have, the other may: a new one takes a moment to arrive.
func isOutage(ctx context.Context, err error) bool { return err != nil && ctx.Err() == nil }

// A Store of your own can ask the store of another Region if the nearest one fails.
func ExampleStore() {
	table := kmstest.NewBranchKeyStore("BranchKeys") // in place of two keystore.Stores
	id := table.CreateKey(nil)
	near := kmstest.NewBranchKeyStore("BranchKeys")
	near.Intercept(func(context.Context, kmstest.BranchKeyCall) (*hierarchical.BranchKey, error) {
		return nil, errors.New("the Region is down")
	})

	p, err := hierarchical.New(regions{near, table}, hierarchical.Options{BranchKeyID: id, MaxAge: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Purge()
	ctx := context.Background()
	for range 100 {
		message, _, err := esdk.Encrypt(ctx, []byte("hello"), p, nil)
		if err != nil {
			log.Fatal(err)
		}
		if _, _, err := esdk.Decrypt(ctx, message, p, nil); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("calls to the near store:", len(near.Calls()))
	fmt.Println("calls to the far store:", len(table.Calls()))
	// Output:
	// calls to the near store: 2
	// calls to the far store: 2
}
