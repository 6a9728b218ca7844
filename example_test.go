package esdk_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// exampleProvider returns the provider of the examples.
func exampleProvider() keyprovider.MasterKeyProvider {
	key := make([]byte, 32)
	rand.Read(key)
	p, err := keyprovider.NewRawAES("my app", "key 1", key)
	if err != nil {
		log.Fatal(err)
	}
	return p
}

func Example() {
	ctx := context.Background()

	key := make([]byte, 32) // a real one comes from where you keep secrets
	rand.Read(key)
	p, err := keyprovider.NewRawAES("my app", "key 1", key)
	if err != nil {
		log.Fatal(err)
	}

	// What the message is about: authenticated with it, but not secret.
	about := map[string]string{"tenant": "42", "record": "invoice 7"}

	message, _, err := esdk.Encrypt(ctx, []byte("pay 100"), p, &esdk.EncryptOptions{EncryptionContext: about})
	if err != nil {
		log.Fatal(err)
	}

	// Decryption fails unless the message is about the same.
	plaintext, _, err := esdk.Decrypt(ctx, message, p, &esdk.DecryptOptions{EncryptionContext: about})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", plaintext)
	// Output: pay 100
}

func ExampleEncrypt() {
	ctx, p := context.Background(), exampleProvider()

	message, header, err := esdk.Encrypt(ctx, []byte("hello"), p, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(message), "bytes,", header.Suite)
	// Output: 422 bytes, ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384
}

// The header that Decrypt returns is authentic, its encryption context
// included: check that the message is what it should be.
func ExampleDecrypt() {
	ctx, p := context.Background(), exampleProvider()
	message, _, err := esdk.Encrypt(ctx, []byte("hello"), p, &esdk.EncryptOptions{
		EncryptionContext: map[string]string{"tenant": "42"},
	})
	if err != nil {
		log.Fatal(err)
	}

	plaintext, header, err := esdk.Decrypt(ctx, message, p, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, tenant %s\n", plaintext, header.EncryptionContext["tenant"])

	// Or let Decrypt check it.
	_, _, err = esdk.Decrypt(ctx, message, p, &esdk.DecryptOptions{
		EncryptionContext: map[string]string{"tenant": "43"},
	})
	fmt.Println(errors.Is(err, esdk.ErrEncryptionContext))

	// A message that was changed anywhere gives no plaintext at all.
	message[len(message)-1] ^= 1
	_, _, err = esdk.Decrypt(ctx, message, p, nil)
	fmt.Println(err)
	// Output:
	// hello, tenant 42
	// true
	// esdk: signature verification failed: the message was altered
}

// Pairs of required keys are authenticated but not stored: whoever decrypts
// must know them.
func ExampleEncryptOptions_requiredContextKeys() {
	ctx, p := context.Background(), exampleProvider()
	about := map[string]string{"tenant": "42", "purpose": "backup"}

	message, _, err := esdk.Encrypt(ctx, []byte("hello"), p, &esdk.EncryptOptions{
		EncryptionContext:   about,
		RequiredContextKeys: []string{"tenant"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored:", bytes.Contains(message, []byte("purpose")), bytes.Contains(message, []byte("tenant")))

	_, _, err = esdk.Decrypt(ctx, message, p, nil)
	fmt.Println("without:", err != nil)
	plaintext, _, err := esdk.Decrypt(ctx, message, p, &esdk.DecryptOptions{
		EncryptionContext: map[string]string{"tenant": "42"},
	})
	fmt.Printf("with: %s, %v\n", plaintext, err)
	// Output:
	// stored: true false
	// without: true
	// with: hello, <nil>
}

func ExampleNewEncryptWriter() {
	ctx, p := context.Background(), exampleProvider()
	src := strings.NewReader("a file, or what comes over the network")
	about := map[string]string{"file": "7"}
	var dst bytes.Buffer

	w, err := esdk.NewEncryptWriter(ctx, &dst, p, &esdk.EncryptOptions{EncryptionContext: about})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(w, src); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil { // writes the end: without it there is no message
		log.Fatal(err)
	}

	plaintext, _, err := esdk.Decrypt(ctx, dst.Bytes(), p, nil)
	fmt.Printf("%s, %v\n", plaintext, err)
	// Output: a file, or what comes over the network, <nil>
}

// CloseWithError gives a message up. Without it a deferred Close, on the way out
// of a function that failed, would make a whole message of half the data.
func ExampleEncryptWriter_CloseWithError() {
	ctx, p := context.Background(), exampleProvider()
	var dst bytes.Buffer
	writeRows := func(w io.Writer) error {
		fmt.Fprintln(w, "row 1")
		return errors.New("the database went away")
	}

	w, err := esdk.NewEncryptWriter(ctx, &dst, p, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := writeRows(w); err != nil {
		w.CloseWithError(err)
	}
	fmt.Println(w.Close())

	_, _, err = esdk.Decrypt(ctx, dst.Bytes(), p, nil)
	fmt.Println("cut short:", errors.Is(err, io.ErrUnexpectedEOF))
	// Output:
	// the database went away
	// cut short: true
}

// The length of the message is known as soon as that of the plaintext is: for
// uploads that must announce it.
func ExampleNewEncryptReader() {
	ctx, p := context.Background(), exampleProvider()
	src := strings.NewReader(strings.Repeat("0123456789", 100_000))

	r, err := esdk.NewEncryptReader(ctx, src, p, &esdk.EncryptOptions{
		Suite:       suite.AES256GCMHKDFSHA512CommitKey,
		FrameLength: 64 << 10,
	})
	if err != nil {
		log.Fatal(err)
	}
	length, err := r.Header().MessageLength(src.Size())
	if err != nil {
		log.Fatal(err)
	}
	n, err := io.Copy(io.Discard, r) // an HTTP request's body, an S3 upload
	fmt.Println(n == length, err)
	// Output: true <nil>
}

// Write what is decrypted where nobody takes it for good, and keep it only if
// io.Copy returned nil.
func ExampleNewDecryptReader() {
	ctx, p := context.Background(), exampleProvider()
	about := map[string]string{"record": "invoice 7"}
	message, _, err := esdk.Encrypt(ctx, []byte("pay 100"), p, &esdk.EncryptOptions{EncryptionContext: about})
	if err != nil {
		log.Fatal(err)
	}

	src := bytes.NewReader(message)
	var dst bytes.Buffer // or a file that is renamed at the end

	r, err := esdk.NewDecryptReader(ctx, src, p, &esdk.DecryptOptions{EncryptionContext: about})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(&dst, r); err != nil {
		dst.Reset() // not the whole message, or not a genuine one
		log.Fatal(err)
	}
	fmt.Println(dst.String())
	// Output: pay 100
}

// A part of a message is read without the rest. The source can be an *os.File, or
// something that makes a ranged request of each ReadAt.
func ExampleNewDecryptReaderAt() {
	ctx, p := context.Background(), exampleProvider()
	about := map[string]string{"record": "log of May"}
	message, _, err := esdk.Encrypt(ctx, bytes.Repeat([]byte("0123456789"), 100_000), p, &esdk.EncryptOptions{EncryptionContext: about})
	if err != nil {
		log.Fatal(err)
	}

	src, size := bytes.NewReader(message), int64(len(message))

	r, err := esdk.NewDecryptReaderAt(ctx, src, size, p, &esdk.DecryptOptions{
		EncryptionContext: about,
		Signature:         esdk.IgnoreSignature, // else the whole message is read first
	})
	if err != nil {
		log.Fatal(err)
	}
	part := make([]byte, 12)
	if _, err := r.ReadAt(part, 500_000); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s of %d bytes\n", part, r.Size())
	// Output: 012345678901 of 1000000 bytes
}

// A message in Base64, such as a file that aws-encryption-cli wrote with --encode, is
// decoded while it is read. Line breaks do not matter.
func ExampleNewDecryptReader_base64() {
	ctx, p := context.Background(), exampleProvider()
	message, _, err := esdk.Encrypt(ctx, []byte("pay 100"), p, nil)
	if err != nil {
		log.Fatal(err)
	}
	file := strings.NewReader(base64.StdEncoding.EncodeToString(message) + "\n")

	r, err := esdk.NewDecryptReader(ctx, file, p, nil)
	fmt.Println(r == nil, errors.Is(err, format.ErrBase64))

	file.Seek(0, io.SeekStart)
	r, err = esdk.NewDecryptReader(ctx, base64.NewDecoder(base64.StdEncoding, file), p, nil)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, err := io.ReadAll(r)
	fmt.Printf("%s, %v\n", plaintext, err)
	// Output:
	// true true
	// pay 100, <nil>
}

// Close tells whether the message was read to its verified end: for consumers
// that stop reading where their own format ends.
func ExampleDecryptReader_Close() {
	ctx, p := context.Background(), exampleProvider()
	message, _, err := esdk.Encrypt(ctx, []byte("first line\nsecond line\n"), p, &esdk.EncryptOptions{FrameLength: 8})
	if err != nil {
		log.Fatal(err)
	}

	r, err := esdk.NewDecryptReader(ctx, bytes.NewReader(message), p, nil)
	if err != nil {
		log.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print("tentative: ", line)
	fmt.Println(r.Close())
	// Output:
	// tentative: first line
	// esdk: the message was not read to its verified end
}

// Reencrypt moves a message to another key. The encryption context stays that of
// the old message.
func ExampleReencrypt() {
	ctx, oldKey, newKey := context.Background(), exampleProvider(), exampleProvider()
	about := map[string]string{"record": "invoice 7"}
	message, _, err := esdk.Encrypt(ctx, []byte("pay 100"), oldKey, &esdk.EncryptOptions{EncryptionContext: about})
	if err != nil {
		log.Fatal(err)
	}

	src := bytes.NewReader(message)
	var dst bytes.Buffer // or a file that replaces the old one at the end

	if _, err := esdk.Reencrypt(ctx, &dst, src, oldKey, newKey, nil); err != nil {
		log.Fatal(err) // dst has no whole message: keep the old one
	}

	plaintext, header, err := esdk.Decrypt(ctx, dst.Bytes(), newKey, nil)
	fmt.Printf("%s, %v, %v\n", plaintext, header.UserContext(), err)
	// Output: pay 100, map[record:invoice 7], <nil>
}

// A Client holds what is to be the same for all calls.
func ExampleClient() {
	ctx, p := context.Background(), exampleProvider()
	client := &esdk.Client{
		CommitmentPolicy:     suite.RequireEncryptAllowDecrypt, // while there are messages from before key commitment
		MaxEncryptedDataKeys: 3,
	}

	message, _, err := client.Encrypt(ctx, []byte("hello"), p, nil)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, _, err := client.Decrypt(ctx, message, p, nil)
	fmt.Printf("%s, %v\n", plaintext, err)

	// What the policy forbids is an error, not a surprise.
	_, _, err = client.Encrypt(ctx, []byte("hello"), p, &esdk.EncryptOptions{Suite: suite.AES256GCM})
	fmt.Println(errors.Is(err, esdk.ErrCommitmentPolicy))
	// Output:
	// hello, <nil>
	// true
}

// Every Go snippet of the README is part of an example that runs.
func TestREADMESnippetsAreExamples(t *testing.T) {
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var examples string
	names := []string{"example_test.go"}
	for _, pattern := range []string{"*/example*_test.go", "*/*/example*_test.go"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		names = append(names, found...)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		examples += squeeze(string(b))
	}
	snippets := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.NotEmpty(t, snippets)
	for _, s := range snippets {
		require.True(t, strings.Contains(examples, squeeze(s[1])), "no example has this of README.md:\n%s", s[1])
	}
}
