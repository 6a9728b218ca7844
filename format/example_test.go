package format_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

// exampleMessage returns an unsigned message of 10,000 bytes of plaintext, and
// the provider that decrypts it.
func exampleMessage() ([]byte, keyprovider.MasterKeyProvider) {
	key := make([]byte, 32)
	rand.Read(key)
	p, err := keyprovider.NewRawAES("my app", "key 1", key)
	if err != nil {
		log.Fatal(err)
	}
	message, _, err := esdk.Encrypt(context.Background(), make([]byte, 10_000), p, &esdk.EncryptOptions{
		Suite:             suite.AES256GCMHKDFSHA512CommitKey,
		EncryptionContext: map[string]string{"tenant": "42"},
	})
	if err != nil {
		log.Fatal(err)
	}
	return message, p
}

// What a message says about itself can be read without a key. It is not
// authentic: use it to choose the key, not to decide what to do.
func ExampleReadHeader() {
	message, _ := exampleMessage()

	header, err := format.ReadHeader(bytes.NewReader(message), 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(header.Suite, header.ContentType, header.FrameLength)
	fmt.Println(header.EncryptionContext)
	for _, k := range header.EncryptedDataKeys {
		fmt.Println("wrapped by", k.ProviderID)
	}
	// Output:
	// ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY framed 4096
	// map[tenant:42]
	// wrapped by my app
}

// AppendBinary puts the header back before the rest of the message, for a
// source that cannot be read twice.
func ExampleHeader_AppendBinary() {
	message, p := exampleMessage()
	src := io.Reader(bytes.NewReader(message))

	header, err := format.ReadHeader(src, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("tenant", header.EncryptionContext["tenant"])

	raw, err := header.AppendBinary(nil)
	if err != nil {
		log.Fatal(err)
	}
	whole := io.MultiReader(bytes.NewReader(raw), src)
	r, err := esdk.NewDecryptReader(context.Background(), whole, p, nil)
	if err != nil {
		log.Fatal(err)
	}
	n, err := io.Copy(io.Discard, r)
	fmt.Println(n, err)
	// Output:
	// tenant 42
	// 10000 <nil>
}

func ExampleHeader_MessageLength() {
	message, _ := exampleMessage()
	header, err := format.ReadHeader(bytes.NewReader(message), 0)
	if err != nil {
		log.Fatal(err)
	}
	length, err := header.MessageLength(10_000)
	fmt.Println(length == int64(len(message)), err)
	// Output: true <nil>
}

func ExampleHeader_PlaintextLength() {
	message, _ := exampleMessage()
	header, err := format.ReadHeader(bytes.NewReader(message), 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(header.PlaintextLength(int64(len(message))))
	// Output: 10000 <nil>
}

func ExampleParseError() {
	message, _ := exampleMessage()
	_, err := format.ReadHeader(bytes.NewReader(message[:20]), 0)
	var parse *format.ParseError
	if errors.As(err, &parse) {
		fmt.Printf("%d, %s, %v\n", parse.Offset, parse.Field, errors.Is(err, io.ErrUnexpectedEOF))
	}
	// Output: 20, message ID, true
}
