package keyprovider_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// One of three Regions does not answer. Messages are written under the keys of the
// other two, and any one of these can read them.
func ExampleQuorum() {
	server := kmstest.NewServer() // in place of AWS
	defer server.Close()
	var keys []string
	for _, region := range []string{"eu-central-1", "eu-north-1", "eu-west-1"} {
		keys = append(keys, server.CreateKey(region))
	}
	ctx := context.Background()
	p, err := kms.New(ctx, keys, &kms.Options{Config: server.Config()})
	if err != nil {
		log.Fatal(err)
	}
	q, err := keyprovider.Quorum(p, keyprovider.QuorumOptions{
		Min:  2,
		Wait: time.Second,
		OnMissing: func(_ context.Context, errs []error) {
			fmt.Println("missing:", len(errs)) // count them, log errs
		},
	})
	if err != nil {
		log.Fatal(err)
	}

	server.CutOff("eu-north-1")
	for range 2 { // the first waits for the Region, the second leaves it out
		message, header, err := esdk.Encrypt(ctx, []byte("hello"), q, nil)
		if err != nil {
			log.Fatal(err)
		}
		plaintext, _, err := esdk.Decrypt(ctx, message, q, nil)
		fmt.Printf("%s, %v, %d keys\n", plaintext, err, len(header.EncryptedDataKeys))
	}
	// Output:
	// missing: 1
	// hello, <nil>, 2 keys
	// missing: 1
	// hello, <nil>, 2 keys
}
