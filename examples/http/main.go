// Http serves a folder over HTTP and keeps only ciphertext in it: uploads are
// encrypted as they stream in, downloads are decrypted as they stream out, and
// ranges are decrypted alone:
//
//	go run ./examples/http [-listen ADDRESS] [-key FILE DIR]
//
// It prints the curl commands to try. Without DIR it serves a temporary folder,
// under a key of one run. The handlers, which are there to be copied, are in
// server.go.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/esdk-go/esdk/keyprovider"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("http", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are printed by main
	address := flags.String("listen", "127.0.0.1:8080", "listen on this `address`; there is no authentication, so keep it local")
	keyFile := flags.String("key", "", "a `file` with the 32 bytes of the key, which is made if it is not there")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(stderr, "usage: http [-listen ADDRESS] [-key FILE DIR]\nWithout DIR it serves a temporary folder.")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return err
	} else if err != nil {
		return fmt.Errorf("%w; -h shows the options", err)
	}
	dir := flags.Arg(0)
	if flags.NArg() > 1 || (dir == "") != (*keyFile == "") {
		return errors.New("name both a -key FILE and one DIR, or neither")
	}

	key := make([]byte, 32) // a real one comes from where you keep secrets
	rand.Read(key)
	if dir == "" {
		temporary, err := os.MkdirTemp("", "esdk-http-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		dir = temporary
	} else if err := loadKey(*keyFile, key); err != nil {
		return err
	}
	p, err := keyprovider.NewRawAES("examples/http", "key", key)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}

	url := "http://" + listener.Addr().String()
	fmt.Fprintf(stdout, `serving %[2]s on %[1]s/ until it is interrupted

upload      curl -T photo.png %[1]s/files/
download    curl -f -o copy.png %[1]s/files/photo.png
a range     curl -f -r 100-199 -o part %[1]s/files/photo.png
as a stream curl -f -o copy.png %[1]s/streams/photo.png
look at     %[1]s/
`, url, dir)
	return serve(ctx, listener, &server{root: root, provider: p, log: log.New(stderr, "", log.LstdFlags)})
}

// loadKey fills key from the file. If there is no such file, it makes one of what
// key has.
func loadKey(name string, key []byte) error {
	stored, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return os.WriteFile(name, key, 0o600)
	}
	if err == nil && len(stored) != len(key) {
		err = fmt.Errorf("%s has %d bytes, a key has %d", name, len(stored), len(key))
	}
	copy(key, stored)
	return err
}

// serve serves until ctx is done, and then for up to 5 seconds what had begun.
func serve(ctx context.Context, listener net.Listener, s *server) error {
	h := &http.Server{
		Handler:           s.handler(),
		ErrorLog:          s.log,
		ReadHeaderTimeout: 10 * time.Second, // the body of an upload may take its time
		IdleTimeout:       time.Minute,
	}
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if h.Shutdown(last) != nil { // too slow
			h.Close()
		}
		close(stopped)
	})()
	if err := h.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}
