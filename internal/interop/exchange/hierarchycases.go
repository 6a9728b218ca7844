package main

import (
	"context"
	"crypto/rand"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms/hierarchical"
	"github.com/esdk-go/esdk/kms/keystore"
	"github.com/esdk-go/esdk/suite"
)

// hierarchyCases have every suite with branch keys of one DynamoDB table that
// all peers share: one key, and one beside raw keys. There are none without an
// endpoint for tests.
func hierarchyCases(ctx context.Context, keys rawKeys) ([]Case, error) {
	if os.Getenv("AWS_ENDPOINT_URL_DYNAMODB") == "" {
		return nil, nil
	}
	protector, err := createKey(ctx, "us-east-1")
	if err != nil {
		return nil, err
	}
	key := Key{Type: "hierarchy", Table: "BranchKeys-" + rand.Text(), LogicalName: "interop ß", KMSKey: protector.Name}
	store, err := key.store(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := store.CreateTable(ctx); err != nil {
		return nil, err
	}
	plain, bound := key, key
	if plain.Name, err = store.CreateKey(ctx, "", nil); err != nil {
		return nil, err
	}
	if bound.Name, err = store.CreateKey(ctx, "tenant größe", map[string]string{"tenant": "t-17", "größe": "ß"}); err != nil {
		return nil, err
	}
	var all []Case
	for i, id := range suite.All() {
		for j, name := range contextNames {
			if name == "many" && id.Signing() {
				continue // takes the SDKs made with Dafny long, and is in another group
			}
			c := newCase("hierarchical", id, 4096, 200, []Key{plain, bound}[(i+j)%2]).withContext(name)
			all = append(all, c)
		}
		several := newCase("hierarchical", id, 128, 200, bound, keys["aes-256"], plain).withContext(contextNames[i%3])
		several.Reader = i % 3
		several.ID += ", one of three keys"
		all = append(all, several)
	}
	return all, nil
}

// rotate makes new versions of all branch keys of the cases, so that peers read
// what esdk wrote under earlier ones than those with which they write.
func rotate(ctx context.Context, cases []Case) error {
	rotated := map[string]bool{}
	for i := range cases {
		for _, k := range cases[i].Keys {
			if k.Type != "hierarchy" || rotated[k.Name] {
				continue
			}
			rotated[k.Name] = true
			store, err := k.store(ctx)
			if err != nil {
				return err
			}
			if err := store.RotateKey(ctx, k.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// store returns the store that has the branch key.
func (k *Key) store(ctx context.Context) (*keystore.Store, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	return keystore.New(ctx, keystore.Options{Table: k.Table, LogicalName: k.LogicalName, KeyARN: k.KMSKey, Config: &cfg})
}

func (k *Key) hierarchical(ctx context.Context) (keyprovider.MasterKeyProvider, error) {
	store, err := k.store(ctx)
	if err != nil {
		return nil, err
	}
	return hierarchical.New(store, hierarchical.Options{BranchKeyID: k.Name, MaxAge: time.Minute})
}
