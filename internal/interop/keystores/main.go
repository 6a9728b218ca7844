// Keystores lets esdk and another SDK use the same branch key stores in turn,
// and compares what they read; ../README.md has more.
//
//	keystores NAME PROGRAM [ARGUMENT]
//
// The program is the other SDK's. AWS_ENDPOINT_URL_DYNAMODB names the
// tables' server; AWS KMS is kms/kmstest.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/esdk-go/esdk/kms/kmstest"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "keystores:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: keystores NAME PROGRAM [ARGUMENT]")
	}
	if os.Getenv("AWS_ENDPOINT_URL_DYNAMODB") == "" {
		return errors.New("AWS_ENDPOINT_URL_DYNAMODB names no server")
	}
	server := kmstest.NewServer()
	defer server.Close()
	other, stop, err := start(ctx, args[0], args[1:])
	if err != nil {
		return err
	}
	defer stop()
	us := &party{"esdk", func(r *request) (*reply, error) { return perform(ctx, server, r) }}
	failed := false
	for _, pair := range [][2]*party{{us, other}, {other, us}} {
		for _, c := range checks {
			x := &exchange{a: pair[0], b: pair[1], server: server, table: "BranchKeys-" + rand.Text()}
			result := "ok"
			if err := x.run(c.check); err != nil {
				failed, result = true, "FAILED: "+err.Error()
			}
			fmt.Printf("%-8s then %-8s %-40s %3d operations: %s\n", x.a.name, x.b.name, c.name, x.operations, result)
		}
	}
	if failed {
		return errors.New("there are disagreements")
	}
	return nil
}
