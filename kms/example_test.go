package kms_test

import (
	"context"
	"fmt"
	"log"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// A message that keys in two Regions protect can be read as long as one of them
// can be reached.
func ExampleNew() {
	ctx := context.Background()
	server := kmstest.NewServer() // stands for AWS; programs leave Config nil
	defer server.Close()
	opts := &kms.Options{Config: server.Config()}
	virginia, ireland := server.CreateKey("us-east-1"), server.CreateKey("eu-west-1")

	both, err := kms.New(ctx, []string{virginia, ireland}, opts)
	if err != nil {
		log.Fatal(err)
	}
	ec := map[string]string{"tenant": "42"}
	message, _, err := esdk.Encrypt(ctx, []byte("hello"), both, &esdk.EncryptOptions{EncryptionContext: ec})
	if err != nil {
		log.Fatal(err)
	}

	alone, err := kms.New(ctx, []string{ireland}, opts)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, _, err := esdk.Decrypt(ctx, message, alone, &esdk.DecryptOptions{EncryptionContext: ec})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", plaintext)
	for _, call := range server.Calls() {
		fmt.Println(call.Op, call.Region)
	}
	// Output:
	// hello
	// GenerateDataKey us-east-1
	// Encrypt eu-west-1
	// Decrypt eu-west-1
}

// A program that reads messages under keys it does not know lets the messages
// name them, within the accounts it trusts.
func ExampleNewDiscovery() {
	ctx := context.Background()
	server := kmstest.NewServer()
	defer server.Close()
	opts := &kms.Options{Config: server.Config()}
	writer, err := kms.New(ctx, []string{server.CreateKeyIn("444455556666", "eu-west-1")}, opts)
	if err != nil {
		log.Fatal(err)
	}
	message, _, err := esdk.Encrypt(ctx, []byte("hello"), writer, nil)
	if err != nil {
		log.Fatal(err)
	}

	for _, account := range []string{"444455556666", "777788889999"} {
		reader, err := kms.NewDiscovery(ctx, &kms.DiscoveryFilter{Partition: "aws", Accounts: []string{account}}, opts)
		if err != nil {
			log.Fatal(err)
		}
		plaintext, _, err := esdk.Decrypt(ctx, message, reader, nil)
		fmt.Printf("%q, failed: %t\n", plaintext, err != nil)
	}
	// Output:
	// "hello", failed: false
	// "", failed: true
}

// With MultiRegion a program in one Region reads what another one encrypted
// under another replica of the key, without a call across Regions.
func ExampleOptions_multiRegion() {
	ctx := context.Background()
	server := kmstest.NewServer()
	defer server.Close()
	replicas := server.CreateMultiRegionKey("us-east-1", "eu-west-1")
	opts := &kms.Options{Config: server.Config(), MultiRegion: true}

	virginia, err := kms.New(ctx, replicas[:1], opts)
	if err != nil {
		log.Fatal(err)
	}
	message, _, err := esdk.Encrypt(ctx, []byte("hello"), virginia, nil)
	if err != nil {
		log.Fatal(err)
	}
	ireland, err := kms.New(ctx, replicas[1:], opts)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, _, err := esdk.Decrypt(ctx, message, ireland, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", plaintext)
	for _, call := range server.Calls() {
		fmt.Println(call.Op, call.Region)
	}
	// Output:
	// hello
	// GenerateDataKey us-east-1
	// Decrypt eu-west-1
}

// ClientFor gives full control over the clients: an endpoint or role for each
// Region, timeouts, retries.
func ExampleOptions_clientFor() {
	ctx := context.Background()
	server := kmstest.NewServer()
	defer server.Close()
	cfg := server.Config() // of a program: config.LoadDefaultConfig(ctx)

	provider, err := kms.New(ctx, []string{server.CreateKey("eu-west-1")}, &kms.Options{
		ClientFor: func(_ context.Context, region string) (kms.API, error) {
			fmt.Println("client for", region)
			return awskms.NewFromConfig(*cfg, func(o *awskms.Options) {
				o.Region = region
				o.RetryMaxAttempts = 5
				o.HTTPClient = awshttp.NewBuildableClient().WithTimeout(2 * time.Second)
			}), nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		if _, _, err := esdk.Encrypt(ctx, []byte("hello"), provider, nil); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// client for eu-west-1
}
