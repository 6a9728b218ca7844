package keyprovider_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"log"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/suite"
)

func ExampleNewRawAES() {
	key := make([]byte, 32) // a real key comes from where you keep secrets
	rand.Read(key)
	p, err := keyprovider.NewRawAES("my app", "key 1", key)
	if err != nil {
		log.Fatal(err)
	}

	message, header, err := esdk.Encrypt(context.Background(), []byte("hello"), p, nil)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, _, err := esdk.Decrypt(context.Background(), message, p, nil)
	fmt.Printf("%s, %v, under a key of %s\n", plaintext, err, header.EncryptedDataKeys[0].ProviderID)
	fmt.Println(p) // no provider prints its key
	// Output:
	// hello, <nil>, under a key of my app
	// raw AES key "key 1" of "my app"
}

// A program with only the public key can write messages but not read them.
func ExampleNewRawRSA() {
	private, err := rsa.GenerateKey(rand.Reader, 3072) // or from PEM, by crypto/x509
	if err != nil {
		log.Fatal(err)
	}
	writer, err := keyprovider.NewRawRSA("my app", "rsa 1", &private.PublicKey, nil, keyprovider.OAEPSHA256)
	if err != nil {
		log.Fatal(err)
	}
	reader, err := keyprovider.NewRawRSA("my app", "rsa 1", nil, private, keyprovider.OAEPSHA256)
	if err != nil {
		log.Fatal(err)
	}

	message, _, err := esdk.Encrypt(context.Background(), []byte("hello"), writer, nil)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, _, err := esdk.Decrypt(context.Background(), message, reader, nil)
	fmt.Printf("%s, %v\n", plaintext, err)

	_, _, err = esdk.Decrypt(context.Background(), message, writer, nil)
	fmt.Println("writer reads:", err == nil)
	_, _, err = esdk.Encrypt(context.Background(), nil, reader, nil)
	fmt.Println("reader cannot write:", errors.Is(err, keyprovider.ErrDecryptOnly))
	// Output:
	// hello, <nil>
	// writer reads: false
	// reader cannot write: true
}

// A program with the recipient's public key can write messages that only the
// recipient can read.
// Amazon Connect encrypts what callers enter, such as card numbers, for the public
// key that was given to it. The namespace is "AmazonConnect" and the name is the ID
// that Connect gave to the key.
func ExampleNewRawRSA_amazonConnect() {
	const keyID = "10000000-0000-0000-0000-000000000001"
	private, err := rsa.GenerateKey(rand.Reader, 2048) // or from the PEM file, by crypto/x509
	if err != nil {
		log.Fatal(err)
	}
	attribute := storedCustomerInput(keyID, &private.PublicKey) // of the contact, in Base64

	reader, err := keyprovider.NewRawRSA("AmazonConnect", keyID, nil, private, keyprovider.OAEPSHA512)
	if err != nil {
		log.Fatal(err)
	}
	message, err := base64.StdEncoding.DecodeString(attribute)
	if err != nil {
		log.Fatal(err)
	}
	// Connect is older than key commitment: this policy reads messages with and without.
	client := esdk.Client{CommitmentPolicy: suite.RequireEncryptAllowDecrypt}
	input, _, err := client.Decrypt(context.Background(), message, reader, nil)
	fmt.Printf("%s, %v\n", input, err)
	// Output: 4111 1111 1111 1111, <nil>
}

// storedCustomerInput returns what Connect would have written.
func storedCustomerInput(keyID string, public *rsa.PublicKey) string {
	writer, err := keyprovider.NewRawRSA("AmazonConnect", keyID, public, nil, keyprovider.OAEPSHA512)
	if err != nil {
		log.Fatal(err)
	}
	connect := esdk.Client{CommitmentPolicy: suite.ForbidEncryptAllowDecrypt}
	message, _, err := connect.Encrypt(context.Background(), []byte("4111 1111 1111 1111"), writer, nil)
	if err != nil {
		log.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(message)
}

func ExampleNewRawECDHEphemeral() {
	recipient, err := ecdh.P384().GenerateKey(rand.Reader) // or from PEM, by crypto/x509
	if err != nil {
		log.Fatal(err)
	}
	writer, err := keyprovider.NewRawECDHEphemeral(recipient.PublicKey())
	if err != nil {
		log.Fatal(err)
	}
	reader, err := keyprovider.NewRawECDHDiscovery(recipient)
	if err != nil {
		log.Fatal(err)
	}

	message, _, err := esdk.Encrypt(context.Background(), []byte("hello"), writer, nil)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, _, err := esdk.Decrypt(context.Background(), message, reader, nil)
	fmt.Printf("%s, %v\n", plaintext, err)

	_, _, err = esdk.Decrypt(context.Background(), message, writer, nil)
	fmt.Println("writer reads:", err == nil)
	_, _, err = esdk.Encrypt(context.Background(), nil, reader, nil)
	fmt.Println("reader cannot write:", errors.Is(err, keyprovider.ErrDecryptOnly))
	// Output:
	// hello, <nil>
	// writer reads: false
	// reader cannot write: true
}

// Two parties know each other's public key. Both can write and read messages, and
// nobody else can.
func ExampleNewRawECDHStatic() {
	ann, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	bob, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	atAnn, err := keyprovider.NewRawECDHStatic(ann, bob.PublicKey())
	if err != nil {
		log.Fatal(err)
	}
	atBob, err := keyprovider.NewRawECDHStatic(bob, ann.PublicKey())
	if err != nil {
		log.Fatal(err)
	}

	message, _, err := esdk.Encrypt(context.Background(), []byte("hello Bob"), atAnn, nil)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, _, err := esdk.Decrypt(context.Background(), message, atBob, nil)
	fmt.Printf("%s, %v\n", plaintext, err)

	message, _, err = esdk.Encrypt(context.Background(), []byte("hello Ann"), atBob, nil)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, _, err = esdk.Decrypt(context.Background(), message, atAnn, nil)
	fmt.Printf("%s, %v\n", plaintext, err)
	// Output:
	// hello Bob, <nil>
	// hello Ann, <nil>
}

// A message under several keys: any one of them opens it.
func ExampleMulti() {
	newKey := func(name string) keyprovider.MasterKeyProvider {
		key := make([]byte, 32)
		rand.Read(key)
		p, err := keyprovider.NewRawAES("my app", name, key)
		if err != nil {
			log.Fatal(err)
		}
		return p
	}
	daily, escrow := newKey("daily"), newKey("escrow")

	both, err := keyprovider.Multi(daily, escrow)
	if err != nil {
		log.Fatal(err)
	}
	message, header, err := esdk.Encrypt(context.Background(), []byte("hello"), both, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(header.EncryptedDataKeys), "data keys")

	plaintext, _, err := esdk.Decrypt(context.Background(), message, escrow, nil)
	fmt.Printf("%s, %v\n", plaintext, err)
	_, _, err = esdk.Decrypt(context.Background(), message, newKey("other"), nil)
	fmt.Println(errors.Is(err, keyprovider.ErrNoMatch))
	// Output:
	// 2 data keys
	// hello, <nil>
	// true
}

// With RequireContext no caller can forget to give the tenant of a message, on
// encryption or on decryption.
func ExampleRequireContext() {
	key := make([]byte, 32)
	rand.Read(key)
	aes, err := keyprovider.NewRawAES("my app", "key 1", key)
	if err != nil {
		log.Fatal(err)
	}
	p, err := keyprovider.RequireContext(aes, "tenant")
	if err != nil {
		log.Fatal(err)
	}

	_, _, err = esdk.Encrypt(context.Background(), []byte("hello"), p, nil)
	fmt.Println(errors.Is(err, keyprovider.ErrEncryptionContext))

	tenant := map[string]string{"tenant": "42"}
	message, _, err := esdk.Encrypt(context.Background(), []byte("hello"), p, &esdk.EncryptOptions{EncryptionContext: tenant})
	if err != nil {
		log.Fatal(err)
	}
	_, _, err = esdk.Decrypt(context.Background(), message, p, nil)
	fmt.Println(errors.Is(err, keyprovider.ErrEncryptionContext))
	plaintext, _, err := esdk.Decrypt(context.Background(), message, p, &esdk.DecryptOptions{EncryptionContext: tenant})
	fmt.Printf("%s, %v\n", plaintext, err)
	// Output:
	// true
	// true
	// hello, <nil>
}

// Each cause says why one encrypted data key could not be decrypted.
func ExampleDecryptError() {
	newKey := func() keyprovider.MasterKeyProvider {
		key := make([]byte, 32)
		rand.Read(key)
		p, err := keyprovider.NewRawAES("my app", "key 1", key)
		if err != nil {
			log.Fatal(err)
		}
		return p
	}
	message, _, err := esdk.Encrypt(context.Background(), nil, newKey(), &esdk.EncryptOptions{
		EncryptionContext: map[string]string{"tenant": "1"},
		Suite:             suite.AES256GCMHKDFSHA512CommitKey,
	})
	if err != nil {
		log.Fatal(err)
	}

	_, _, err = esdk.Decrypt(context.Background(), message, newKey(), nil)
	var failure *keyprovider.DecryptError
	if errors.As(err, &failure) {
		for _, cause := range failure.Causes {
			fmt.Println(cause)
		}
	}
	// Output:
	// encrypted data key 1 ("my app"): not wrapped under this key and encryption context (keys "tenant"), or altered
}
