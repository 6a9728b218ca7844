// Outage encrypts and decrypts messages under AWS KMS keys in three Regions, cuts one
// of them off for a while, and prints what that does to the latencies:
//
//	go run ./examples/outage
//
// The Regions are a KMS endpoint of its own: no AWS account is needed. Flags change
// the load, the outage and the options of the providers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
)

// regions are those of the keys. The first, which decryption asks if all is well, is
// the one that is cut off.
var regions = []string{"us-east-1", "us-west-2", "eu-west-1"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "outage:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("outage", flag.ContinueOnError)
	flags.SetOutput(stderr)
	phase := flags.Duration("phase", 2*time.Second, "how long to measure before, during and after the outage")
	goroutines := flags.Int("goroutines", 64, "how many encrypt and decrypt messages")
	pause := flags.Duration("pause", 500*time.Millisecond, "of each goroutine after a message")
	latency := flags.Duration("latency", 5*time.Millisecond, "of the Regions")
	timeout := flags.Duration("timeout", time.Second, "Options.Timeout")
	hedge := flags.Duration("hedge", 50*time.Millisecond, "Options.HedgeAfter; 0: one call at a time")
	wait := flags.Duration("wait", 500*time.Millisecond, "QuorumOptions.Wait")
	file := flags.String("csv", "", "write what each message cost to this `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *goroutines < 1 || *phase <= 0 {
		return fmt.Errorf("want flags only, at least one goroutine and a phase: -h shows them")
	}

	server := kmstest.NewServer()
	defer server.Close()
	server.SetLatency(*latency)
	var keys []string
	for _, region := range regions {
		keys = append(keys, server.CreateKey(region))
	}
	// To read, any of the three keys will do. To write, two of them.
	reader, err := kms.New(ctx, keys, &kms.Options{Config: server.Config(), Near: regions, Timeout: *timeout, HedgeAfter: *hedge})
	if err != nil {
		return err
	}
	writer, err := keyprovider.Quorum(reader, keyprovider.QuorumOptions{Min: 2, Wait: *wait})
	if err != nil {
		return err
	}

	l := &load{writer: writer, reader: reader, goroutines: *goroutines, pause: *pause, phase: *phase}
	var asked [3]int // calls to the first Region in each phase, to decrypt
	count := func(phase int) {
		for _, call := range server.Calls() {
			if call.Op == "Decrypt" && call.Region == regions[0] {
				asked[phase]++
			}
		}
		server.ResetCalls()
	}
	err = l.run(ctx, func(phase int) {
		switch phase {
		case 0:
			server.ResetCalls()
		case 1:
			count(0)
			server.CutOff(regions[0])
		case 2:
			count(1)
			server.Restore(regions[0])
		}
	})
	if err != nil {
		return err
	}
	count(2)

	fmt.Fprintf(stdout, "%d goroutines, keys in %d Regions with %v of latency. %s is cut off after %v, for %v.\nTimeout %v, HedgeAfter %v; Quorum of 2 with a Wait of %v.\n\n",
		*goroutines, len(regions), *latency, regions[0], *phase, *phase, *timeout, *hedge, *wait)
	if err := l.table(stdout, 100*time.Millisecond+*latency); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\n%s was asked to decrypt %d times before, %d during and %d after the outage.\nA Region that failed is asked last for 30 s, and then by one message first.\n", regions[0], asked[0], asked[1], asked[2])
	if *file != "" {
		if err := l.save(*file); err != nil {
			return err
		}
	}
	return l.firstError()
}
