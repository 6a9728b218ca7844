package kmstest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// How does a program fare when its key is disabled?
func ExampleNewServer() {
	ctx := context.Background()
	server := kmstest.NewServer()
	defer server.Close()
	key := server.CreateKey("eu-west-1")
	provider, err := kms.New(ctx, []string{key}, &kms.Options{Config: server.Config()})
	if err != nil {
		panic(err)
	}

	_, _, err = esdk.Encrypt(ctx, []byte("hello"), provider, nil)
	fmt.Println(err)

	server.ResetCalls()
	if err := server.DisableKey(key); err != nil {
		panic(err)
	}
	_, _, err = esdk.Encrypt(ctx, []byte("hello"), provider, nil)
	var disabled *types.DisabledException
	fmt.Println(errors.As(err, &disabled))
	for _, call := range server.Calls() {
		fmt.Println(call.Op, call.Region, call.Error)
	}
	// Output:
	// <nil>
	// true
	// GenerateDataKey eu-west-1 DisabledException
}
