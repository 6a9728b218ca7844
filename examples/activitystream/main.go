// Activitystream reads a database activity stream of Amazon RDS or Aurora: from
// the records in Kinesis to what the database did.
//
//	go run ./examples/activitystream
//
// It makes a small stream itself, in the way of the service, with a KMS endpoint of
// its own: no AWS account is needed and nothing leaves the machine. To read a real
// stream, take [Decoder] with a client of AWS KMS, and give it the Data of the
// records that Kinesis returns.
//
// A record is a JSON object. Its field "databaseActivityEvents" is a message of the
// AWS Encryption SDK under a raw AES key, whose namespace is "BC" and whose name is
// "DataKey". The key is in the field "key", encrypted by AWS KMS under the KMS key of
// the stream. In the message is JSON, compressed by gzip, with a list of events. AWS
// describes it under [Monitoring database activity streams].
//
// [Monitoring database activity streams]: https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/DBActivityStreams.Monitoring.html
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/esdk-go/esdk/kms/kmstest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "activitystream:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout io.Writer) error {
	server := kmstest.NewServer() // in the place of AWS KMS
	defer server.Close()
	client := awskms.NewFromConfig(*server.Config(), func(o *awskms.Options) { o.Region = "eu-west-1" })

	const cluster = "cluster-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	stream, err := makeStream(ctx, client, server.CreateKey("eu-west-1"), cluster)
	if err != nil {
		return err
	}
	d, err := NewDecoder(client, cluster)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, "One record of this stream is damaged on purpose.")
	return printEvents(ctx, stdout, d, stream)
}

// printEvents prints what happened in the database. A record that cannot be read is
// reported, and the next one is read: one bad record must not hide what follows.
func printEvents(ctx context.Context, w io.Writer, d *Decoder, stream [][]byte) error {
	for i, record := range stream {
		events, err := d.Events(ctx, record)
		var bad *RecordError
		if errors.As(err, &bad) {
			fmt.Fprintf(w, "record %d: %v\n", i, bad)
			continue
		} else if err != nil {
			return err
		}
		for _, e := range events {
			if e.Type == "heartbeat" { // the stream is alive, and nothing happened
				continue
			}
			fmt.Fprintf(w, "%s %s: %s %s\n", e.LogTime, e.DBUserName, e.Command, e.CommandText)
		}
	}
	return nil
}
