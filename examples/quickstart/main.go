// Quickstart encrypts a file, decrypts the message, and compares:
//
//	go run ./examples/quickstart FILE
//
// The functions encryptFile, decryptFile and writeFile are there to be copied.
// They stream: a file of any size needs a few MiB of memory. The message and the
// key are made for one run; FILE is only read.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: quickstart FILE")
	}
	file := args[0]
	dir, err := os.MkdirTemp("", "quickstart-*") // which nobody else can read
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	message, decrypted := filepath.Join(dir, "message.esdk"), filepath.Join(dir, "decrypted")

	key := make([]byte, 32) // a real one comes from where you keep secrets
	rand.Read(key)
	p, err := keyprovider.NewRawAES("quickstart", "key of one run", key)
	if err != nil {
		return err
	}
	about := map[string]string{"purpose": "quickstart"}

	if err := encryptFile(ctx, message, file, p, about); err != nil {
		return err
	}
	header, err := decryptFile(ctx, decrypted, message, p, about)
	if err != nil {
		return err
	}

	var seen []string
	for _, name := range []string{file, message, decrypted} {
		s, err := describe(name)
		if err != nil {
			return err
		}
		seen = append(seen, s)
	}
	if seen[0] != seen[2] {
		return fmt.Errorf("%s has %s, but what was decrypted has %s: did the file change?", file, seen[0], seen[2])
	}
	_, err = fmt.Fprintf(stdout, "file       %s\nmessage    %s\ndecrypted  %s\nsuite      %v\n"+
		"context    %q, authenticated but not secret\ndata key   wrapped by %q\n",
		seen[0], seen[1], seen[2], header.Suite, header.UserContext(), header.OpenedBy.ProviderID)
	return err
}

// describe returns the size and a hash of the file.
func describe(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, f)
	return fmt.Sprintf("%d bytes, SHA-256 %x", n, hash.Sum(nil)), err
}

// encryptFile encrypts the file named from into the file named to.
func encryptFile(ctx context.Context, to, from string, p keyprovider.MasterKeyProvider, about map[string]string) error {
	return writeFile(ctx, to, from, func(dst io.Writer, src io.Reader) error {
		w, err := esdk.NewEncryptWriter(ctx, dst, p, &esdk.EncryptOptions{EncryptionContext: about})
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, src); err != nil {
			return err
		}
		return w.Close() // without it there is no message
	})
}

// decryptFile decrypts the file named from into the file named to, if it is about
// the same.
func decryptFile(ctx context.Context, to, from string, p keyprovider.MasterKeyProvider, about map[string]string) (header *format.Header, err error) {
	err = writeFile(ctx, to, from, func(dst io.Writer, src io.Reader) error {
		r, err := esdk.NewDecryptReader(ctx, src, p, &esdk.DecryptOptions{EncryptionContext: about})
		if err != nil {
			return err
		}
		header = r.Header()
		_, err = io.Copy(dst, r) // nil: all of it has been verified
		return err
	})
	return header, err
}

// writeFile calls convert with a new file and the one named from. If all went
// well it gives the new file the name to. Until then, and after an error, an
// older file of that name is as it was.
func writeFile(ctx context.Context, to, from string, convert func(io.Writer, io.Reader) error) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	defer context.AfterFunc(ctx, func() { src.Close() })() // ctx alone does not end a stream
	dst, err := os.CreateTemp(filepath.Dir(to), ".esdk-*")
	if err != nil {
		return err
	}
	defer os.Remove(dst.Name()) // fails once it has the other name
	if err := errors.Join(convert(dst, src), dst.Close(), ctx.Err()); err != nil {
		return err
	}
	return os.Rename(dst.Name(), to)
}
