// Kms encrypts a file under AWS KMS keys in two Regions, and decrypts it with
// each of them alone and by discovery:
//
//	go run ./examples/kms [-key ARN]... FILE
//
// Without -key it starts a KMS endpoint of its own and creates the keys there:
// no AWS account is needed and nothing leaves the machine. With -key, once for
// each key, it uses real KMS and the AWS credentials of the environment.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "kms:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("kms", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are printed by main
	d := demo{ctx: ctx, stdout: stdout}
	flags.Func("key", "encrypt under the KMS key with this `ARN`; repeatable", func(s string) error {
		d.keys = append(d.keys, s)
		return nil
	})
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(stderr, "usage: kms [-key ARN]... FILE\nWithout -key it uses a KMS endpoint of its own.")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return err
	} else if err != nil {
		return fmt.Errorf("%w; -h shows the options", err)
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("name one FILE, and the options before it: %q", flags.Args())
	}

	if len(d.keys) > 0 {
		return d.run(flags.Arg(0))
	}
	server := kmstest.NewServer()
	defer server.Close()
	d.keys = []string{server.CreateKey("us-east-1"), server.CreateKey("eu-west-1")}
	d.options = &kms.Options{Config: server.Config()}
	if err := d.run(flags.Arg(0)); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "no call left this program; its own KMS endpoint saw these:")
	for _, call := range server.Calls() {
		fmt.Fprintf(stdout, "  %-16s %s\n", call.Op, call.KeyID)
	}
	return nil
}

// A demo is one run of the program.
type demo struct {
	ctx     context.Context
	stdout  io.Writer
	keys    []string     // ARNs
	options *kms.Options // nil: real KMS, and the AWS configuration of the environment
}

// encryptionContext is bound to the message. KMS, its policies and its log see it,
// and the program checks it on decryption.
var encryptionContext = map[string]string{"purpose": "examples/kms"}

func (d *demo) run(name string) error {
	filter, err := filterFor(d.keys)
	if err != nil {
		return err
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	message, err := os.CreateTemp("", "esdk-kms-*")
	if err != nil {
		return err
	}
	defer os.Remove(message.Name())
	defer message.Close()

	all, err := kms.New(d.ctx, d.keys, d.options)
	if err != nil {
		return err
	}
	sum, err := d.encrypt(message, file, all)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.stdout, "encrypted %s under\n  %s\n", name, strings.Join(d.keys, "\n  "))

	for _, key := range d.keys {
		one, err := kms.New(d.ctx, []string{key}, d.options)
		if err != nil {
			return err
		}
		if err := d.decrypt(message, one, sum); err != nil {
			return err
		}
		fmt.Fprintf(d.stdout, "decrypted with %s alone\n", key)
	}

	discovery, err := kms.NewDiscovery(d.ctx, filter, d.options)
	if err != nil {
		return err
	}
	if err := d.decrypt(message, discovery, sum); err != nil {
		return err
	}
	fmt.Fprintf(d.stdout, "decrypted with the key that the message names, of partition %s and account %s\n",
		filter.Partition, strings.Join(filter.Accounts, " or "))
	return nil
}

// filterFor returns a filter that allows the keys' accounts.
func filterFor(keys []string) (*kms.DiscoveryFilter, error) {
	var filter kms.DiscoveryFilter
	for _, key := range keys {
		a, err := arn.Parse(key)
		if err != nil {
			return nil, fmt.Errorf("-key %s: %w", key, err)
		}
		if filter.Partition != "" && filter.Partition != a.Partition {
			return nil, fmt.Errorf("-key %s is in partition %s, others are in %s: one AWS account cannot use both", key, a.Partition, filter.Partition)
		}
		filter.Partition = a.Partition
		if !slices.Contains(filter.Accounts, a.AccountID) {
			filter.Accounts = append(filter.Accounts, a.AccountID)
		}
	}
	return &filter, nil
}

// encrypt encrypts what it reads from r, writes the message to w, and returns the
// hash of the plaintext.
func (d *demo) encrypt(w io.Writer, r io.Reader, p keyprovider.MasterKeyProvider) (sum [sha256.Size]byte, err error) {
	e, err := esdk.NewEncryptWriter(d.ctx, w, p, &esdk.EncryptOptions{EncryptionContext: encryptionContext})
	if err != nil {
		return sum, err
	}
	hash := sha256.New()
	if _, err := io.Copy(e, io.TeeReader(r, hash)); err != nil {
		return sum, err
	}
	hash.Sum(sum[:0])
	return sum, e.Close()
}

// decrypt decrypts the message and compares the hash of the plaintext with want.
func (d *demo) decrypt(message io.ReadSeeker, p keyprovider.MasterKeyProvider, want [sha256.Size]byte) error {
	if _, err := message.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r, err := esdk.NewDecryptReader(d.ctx, message, p, &esdk.DecryptOptions{EncryptionContext: encryptionContext})
	if err != nil {
		return err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, r); err != nil {
		return err
	}
	if [sha256.Size]byte(hash.Sum(nil)) != want {
		return errors.New("the decrypted file differs from the original")
	}
	return r.Close()
}
