package kms_test

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/esdk-go/esdk"
	"github.com/esdk-go/esdk/keyprovider"
	"github.com/esdk-go/esdk/kms"
	"github.com/esdk-go/esdk/kms/kmstest"
	"github.com/esdk-go/esdk/suite"
)

// Writers need nothing but the public key; only KMS can decrypt.
func ExampleNewRSA() {
	ctx := context.Background()
	server := kmstest.NewServer() // stands for AWS; programs leave Config nil
	defer server.Close()
	opts := &kms.Options{Config: server.Config()}
	keyARN := server.CreateRSAKey("us-east-1", 2048)

	// Once, by somebody who may call KMS; the console shows the key as PEM.
	out, err := awskms.NewFromConfig(*server.Config()).GetPublicKey(ctx, &awskms.GetPublicKeyInput{KeyId: &keyARN})
	if err != nil {
		log.Fatal(err)
	}
	parsed, err := x509.ParsePKIXPublicKey(out.PublicKey)
	if err != nil {
		log.Fatal(err)
	}
	pub := parsed.(*rsa.PublicKey)
	server.ResetCalls()

	writer, err := kms.NewRSA(ctx, keyARN, pub, kms.OAEPSHA256, opts)
	if err != nil {
		log.Fatal(err)
	}
	message, _, err := esdk.Encrypt(ctx, []byte("hello"), writer, &esdk.EncryptOptions{
		Suite: suite.AES256GCMHKDFSHA512CommitKey, // one that does not sign
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(server.Calls()), "calls to encrypt")

	reader, err := kms.NewRSA(ctx, keyARN, nil, kms.OAEPSHA256, opts)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, _, err := esdk.Decrypt(ctx, message, reader, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", plaintext)
	for _, call := range server.Calls() {
		fmt.Println(call.Op, call.EncryptionAlgorithm)
	}
	// Output:
	// 0 calls to encrypt
	// hello
	// Decrypt RSAES_OAEP_SHA_256
}

// Two parties with a key in KMS each exchange messages that nobody else can
// read or write.
func ExampleNewECDHStatic() {
	ctx := context.Background()
	server := kmstest.NewServer()
	defer server.Close()
	opts := &kms.ECDHOptions{Options: kms.Options{Config: server.Config()}} // programs use nil
	alice, bob := server.CreateECCKey("us-east-1", ecdh.P256()), server.CreateECCKey("eu-west-1", ecdh.P256())
	alicePub, bobPub := fetchPublicKey(ctx, server, alice), fetchPublicKey(ctx, server, bob)

	toBob, err := kms.NewECDHStatic(ctx, alice, bobPub, opts)
	if err != nil {
		log.Fatal(err)
	}
	message, _, err := esdk.Encrypt(ctx, []byte("hello"), toBob, nil)
	if err != nil {
		log.Fatal(err)
	}

	fromAlice, err := kms.NewECDHStatic(ctx, bob, alicePub, opts)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, _, err := esdk.Decrypt(ctx, message, fromAlice, nil)
	fmt.Printf("%s %v\n", plaintext, err)
	// Output:
	// hello <nil>
}

// Whoever has the public key of a key in KMS sends to it; with a raw ephemeral
// key the sender needs no KMS.
func ExampleNewECDHDiscovery() {
	ctx := context.Background()
	server := kmstest.NewServer()
	defer server.Close()
	key := server.CreateECCKey("us-east-1", ecdh.P384())

	sender, err := keyprovider.NewRawECDHEphemeral(fetchPublicKey(ctx, server, key))
	if err != nil {
		log.Fatal(err)
	}
	message, _, err := esdk.Encrypt(ctx, []byte("hello"), sender, nil)
	if err != nil {
		log.Fatal(err)
	}

	reader, err := kms.NewECDHDiscovery(ctx, key, &kms.ECDHOptions{Options: kms.Options{Config: server.Config()}})
	if err != nil {
		log.Fatal(err)
	}
	plaintext, _, err := esdk.Decrypt(ctx, message, reader, nil)
	fmt.Printf("%s %v\n", plaintext, err)
	_, _, err = esdk.Encrypt(ctx, nil, reader, nil)
	fmt.Println(errors.Is(err, keyprovider.ErrDecryptOnly))
	// Output:
	// hello <nil>
	// true
}

// fetchPublicKey gets what the parties give each other.
func fetchPublicKey(ctx context.Context, server *kmstest.Server, keyARN string) *ecdh.PublicKey {
	client := awskms.NewFromConfig(*server.Config(), func(o *awskms.Options) { o.Region = regionOf(keyARN) })
	out, err := client.GetPublicKey(ctx, &awskms.GetPublicKeyInput{KeyId: &keyARN})
	if err != nil {
		log.Fatal(err)
	}
	parsed, err := x509.ParsePKIXPublicKey(out.PublicKey)
	if err != nil {
		log.Fatal(err)
	}
	pub, err := parsed.(*ecdsa.PublicKey).ECDH()
	if err != nil {
		log.Fatal(err)
	}
	return pub
}
