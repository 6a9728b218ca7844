// S3 keeps files as encrypted objects in a bucket:
//
//	go run . FILE
//
// uploads FILE to an S3 within this process, reads a range of it, moves it to
// another key and downloads it again. With -bucket it uses a real S3, or what
// -endpoint names, and the AWS credentials of the environment:
//
//	go run . -bucket NAME -key FILE put FILE OBJECT
//	go run . -bucket NAME -key FILE range OBJECT OFFSET LENGTH
//	go run . -bucket NAME -key FILE get OBJECT FILE
//	go run . -bucket NAME -key FILE -new-key FILE rotate OBJECT
//
// The parts that are there to be copied are in bucket.go and object.go. README.md
// says what an upload of a stream needs.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/esdk-go/esdk/keyprovider"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "s3:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("s3", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are printed by main
	name := flags.String("bucket", "", "use this `bucket`; without it there is an S3 within the process")
	endpoint := flags.String("endpoint", "", "use the S3 at this `URL` instead of AWS's")
	keyFile := flags.String("key", "", "a `file` with the 32 bytes of the key; put makes it if it is not there")
	newKeyFile := flags.String("new-key", "", "a `file` like that of -key, with the key that rotate moves to; made if it is not there")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(stderr, "usage: s3 FILE\n       s3 -bucket NAME -key FILE put FILE OBJECT | range OBJECT OFFSET LENGTH | get OBJECT FILE | rotate OBJECT")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return err
	} else if err != nil {
		return fmt.Errorf("%w; -h shows the options", err)
	}
	if *name == "" {
		if flags.NArg() != 1 || *endpoint != "" {
			return errors.New("name one FILE, or a -bucket and what to do there; -h shows how")
		}
		return demo(ctx, flags.Arg(0), stdout)
	}

	b := &bucket{name: *name, stdout: stdout}
	var err error
	if b.provider, err = loadKey(*keyFile, flags.Arg(0) == "put"); err != nil {
		return fmt.Errorf("-key: %w", err)
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	b.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		if *endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = endpoint, true
		}
	})
	switch command, args := flags.Arg(0), flags.Args()[min(1, flags.NArg()):]; {
	case command == "put" && len(args) == 2:
		return b.put(ctx, args[0], args[1])
	case command == "get" && len(args) == 2:
		return b.get(ctx, args[0], args[1])
	case command == "range" && len(args) == 3:
		offset, offsetErr := strconv.ParseInt(args[1], 10, 64)
		length, lengthErr := strconv.ParseInt(args[2], 10, 64)
		if err := errors.Join(offsetErr, lengthErr); err != nil {
			return err
		}
		return b.printRange(ctx, args[0], offset, length)
	case command == "rotate" && len(args) == 1:
		to, err := loadKey(*newKeyFile, true)
		if err != nil {
			return fmt.Errorf("-new-key: %w", err)
		}
		return b.rotate(ctx, args[0], to)
	}
	return fmt.Errorf("no such command: %q; -h shows them", flags.Args())
}

// loadKey returns a provider with the key in the file. If there is no such file
// and it may make one, it makes a key and writes it there.
func loadKey(file string, mayMake bool) (keyprovider.MasterKeyProvider, error) {
	if file == "" {
		return nil, errors.New("name the file of the key")
	}
	key, err := os.ReadFile(file)
	if mayMake && errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, 32) // a real one comes from where you keep secrets, such as AWS KMS
		rand.Read(key)
		err = os.WriteFile(file, key, 0o600)
	}
	if err != nil {
		return nil, err
	}
	// The name says which key it is: a provider skips what is wrapped under others. Here
	// it is the file's, which must keep it.
	return keyprovider.NewRawAES("examples/s3", filepath.Base(file), key)
}

// demo shows all commands.
func demo(ctx context.Context, file string, stdout io.Writer) error {
	client, stop, err := localS3(ctx, "demo")
	if err != nil {
		return err
	}
	defer stop()
	dir, err := os.MkdirTemp("", "esdk-s3-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bucket{client: client, name: "demo", stdout: stdout}
	if b.provider, err = loadKey(filepath.Join(dir, "key"), true); err != nil {
		return err
	}
	to, err := loadKey(filepath.Join(dir, "new key"), true)
	if err != nil {
		return err
	}
	if err := b.put(ctx, file, "object"); err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	middle := info.Size() / 2
	fmt.Fprintf(stdout, "from byte %d on: ", middle)
	if err := b.printRange(ctx, "object", middle, min(10, info.Size()-middle)); err != nil {
		return err
	}
	fmt.Fprintln(stdout)
	if err := b.rotate(ctx, "object", to); err != nil {
		return err
	}
	b.provider = to
	return b.get(ctx, "object", filepath.Join(dir, "downloaded"))
}
