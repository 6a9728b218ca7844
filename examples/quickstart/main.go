// Quickstart encrypts a file, decrypts it again, compares, and says what the
// message is made of and how long it took:
//
//	go run ./examples/quickstart [-o DIR] [-suite NAME] [-frame N] [FILE]
//
// It streams: a file of any size needs a few MiB of memory. The AES key that
// protects the message is made for the one run and then forgotten.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are printed by main
	dir := flags.String("o", "", "keep the message and the decrypted file in the folder `DIR`")
	suiteName := flags.String("suite", "", "encrypt with the algorithm suite `NAME`")
	frameLength := flags.Int64("frame", esdk.DefaultFrameLength, "plaintext bytes `N` in a frame")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(stderr, "usage: quickstart [-o DIR] [-suite NAME] [-frame N] [FILE]\nWithout FILE it takes README.md.")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return err
	} else if err != nil {
		return fmt.Errorf("%w; -h shows the options", err)
	}
	if flags.NArg() > 1 {
		return fmt.Errorf("one FILE at most, and the options before it: %q", flags.Args())
	}
	if *frameLength < 1 {
		return fmt.Errorf("-frame %d: a frame has at least one byte", *frameLength)
	}
	file := flags.Arg(0)
	if file == "" {
		file = "README.md"
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return errors.New("no README.md in this folder: name a FILE, or start quickstart from the root of the module")
		}
	}

	d := demo{ctx: ctx, stdout: stdout, stderr: stderr}
	d.options.FrameLength = *frameLength
	if *suiteName != "" {
		id, err := suite.Parse(*suiteName)
		if err != nil {
			return fmt.Errorf("%w; the suites are\n  %v", err, strings.Trim(strings.ReplaceAll(fmt.Sprint(suite.All()), " ", "\n  "), "[]"))
		}
		d.options.Suite = id
		if !d.client.CommitmentPolicy.AllowsEncrypt(id) {
			d.client.CommitmentPolicy = suite.ForbidEncryptAllowDecrypt
		}
	}
	return d.run(file, *dir)
}

// A demo is one run of the program.
type demo struct {
	ctx            context.Context
	stdout, stderr io.Writer
	client         esdk.Client
	options        esdk.EncryptOptions
	provider       keyprovider.MasterKeyProvider
}

// run works in a folder that it removes at the end. When all went well, and
// not before, it moves the two files from there to dir, if one was named.
func (d *demo) run(file, dir string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", file)
	}
	name := filepath.Base(file)
	outputs := []string{name + ".esdk", name + ".decrypted"}
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		for _, output := range outputs {
			if _, err := os.Lstat(filepath.Join(dir, output)); err == nil {
				return fmt.Errorf("%s is in %s already, and quickstart overwrites nothing", output, dir)
			}
		}
	}
	work, err := os.MkdirTemp(dir, ".quickstart-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	message, decrypted := filepath.Join(work, outputs[0]), filepath.Join(work, outputs[1])

	key := make([]byte, 32)
	rand.Read(key) // never fails
	if d.provider, err = keyprovider.NewRawAES("quickstart", "key of one run", key); err != nil {
		return err
	}
	d.options.EncryptionContext = map[string]string{
		"purpose": "quickstart",
		"file":    strings.ToValidUTF8(name, "_"),
	}

	encryption, err := d.step("encrypting", file, message, d.encrypt)
	if err != nil {
		return err
	}
	decryption, err := d.step("decrypting", message, decrypted, d.decrypt)
	if err != nil {
		return err
	}
	if err := d.compare(file, decrypted); err != nil {
		return err
	}
	d.report(file, encryption, decryption)

	if dir == "" {
		return nil
	}
	for _, output := range outputs {
		kept := filepath.Join(dir, output)
		if err := os.Rename(filepath.Join(work, output), kept); err != nil {
			return err
		}
		fmt.Fprintf(d.stdout, "kept         %s\n", kept)
	}
	fmt.Fprintln(d.stdout, "             the message's key was that of this run: nothing opens it any more")
	return nil
}

// encrypt writes the message that holds what r gives to w. The message is
// whole only when Close has returned nil.
func (d *demo) encrypt(w io.Writer, r io.Reader) (*format.Header, error) {
	e, err := d.client.NewEncryptWriter(d.ctx, w, d.provider, &d.options)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(e, r); err != nil {
		return nil, err
	}
	return e.Header(), e.Close()
}

// decrypt writes what the message in r holds to w. All of it is verified only
// when io.Copy has returned nil: on an error the caller removes the file.
func (d *demo) decrypt(w io.Writer, r io.Reader) (*format.Header, error) {
	p, err := d.client.NewDecryptReader(d.ctx, r, d.provider, &esdk.DecryptOptions{
		EncryptionContext: d.options.EncryptionContext, // must be the message's
	})
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, p); err != nil {
		return nil, err
	}
	return p.Header(), p.Close()
}

// report prints what is of interest.
func (d *demo) report(file string, encryption, decryption result) {
	row := func(name, format string, a ...any) {
		fmt.Fprintf(d.stdout, "%-12s %s\n", name, fmt.Sprintf(format, a...))
	}

	h, size := decryption.header, decryption.written
	row("file", "%s, %d bytes", file, size)
	percent := ""
	if size > 0 {
		percent = fmt.Sprintf(" (%.2f %%)", 100*float64(encryption.written-size)/float64(size))
	}
	row("message", "%d bytes, overhead %d bytes%s", encryption.written, encryption.written-size, percent)
	row("frames", "%d of up to %d bytes", size/int64(h.FrameLength)+1, h.FrameLength)
	row("suite", "%v (%04x): key commitment %s, signature %s", h.Suite, uint16(h.Suite), yes(h.Suite.Committing()), yes(h.Suite.Signing()))
	if policy := d.client.CommitmentPolicy; policy == suite.RequireEncryptRequireDecrypt {
		row("policy", "%v, the default", policy)
	} else {
		row("policy", "%v, chosen for this run because the default forbids the suite", policy)
	}
	row("message id", "%x", h.MessageID)
	label := "context"
	for _, k := range slices.Sorted(maps.Keys(h.EncryptionContext)) {
		row(label, "%q: %q", k, h.EncryptionContext[k])
		label = ""
	}
	label = "data keys"
	for i, k := range h.EncryptedDataKeys {
		row(label, "%d of %d: wrapped in %d bytes by %q", i+1, len(h.EncryptedDataKeys), len(k.Ciphertext), k.ProviderID)
		label = ""
	}
	row("encrypted", "in %s", speed(size, encryption.took))
	row("decrypted", "in %s, and equal to the file", speed(size, decryption.took))
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	row("memory", "%.1f MiB in all, as the Go runtime counts it", float64(memory.Sys)/(1<<20))
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// speed tells how fast size bytes went, files and all.
func speed(size int64, took time.Duration) string {
	return fmt.Sprintf("%v, %.0f MB/s", took.Round(10*time.Microsecond), float64(size)/1e6/max(took.Seconds(), 1e-9))
}
