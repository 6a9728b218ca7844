// The command floor does, with the standard library alone, the cryptography of a
// message of the default suite under a raw AES key: what a program in the message
// format cannot do without. It writes no message.
package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	_ "crypto/rsa" // another kind of raw key; the third, crypto/ecdh, comes with crypto/ecdsa
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
)

func main() {
	key := make([]byte, 32)
	rand.Read(key)
	plaintext, err := roundTrip(key, []byte("pay 100"), "tenant 42")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%s\n", plaintext)
}

func roundTrip(key, plaintext []byte, about string) ([]byte, error) {
	signer, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	about += base64.StdEncoding.EncodeToString(elliptic.MarshalCompressed(signer.Curve, signer.X, signer.Y))
	dataKey, id := make([]byte, 32), make([]byte, 32)
	rand.Read(dataKey)
	rand.Read(id)
	wrapped, err := seal(key, dataKey, []byte(about))
	if err != nil {
		return nil, err
	}
	commitKey, sealed, err := derive(dataKey, id)
	if err == nil {
		sealed, err = seal(sealed, plaintext, []byte(about))
	}
	if err != nil {
		return nil, err
	}
	digest := sha512.Sum384(sealed)
	signature, err := ecdsa.SignASN1(rand.Reader, signer, digest[:])
	if err != nil {
		return nil, err
	}

	if dataKey, err = open(key, wrapped, []byte(about)); err != nil {
		return nil, err
	}
	commitment, derived, err := derive(dataKey, id)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(commitment, commitKey) {
		return nil, errors.New("another key")
	}
	point, err := base64.StdEncoding.DecodeString(about[len("tenant 42"):])
	if err != nil {
		return nil, err
	}
	verifier := ecdsa.PublicKey{Curve: elliptic.P384()}
	if verifier.X, verifier.Y = elliptic.UnmarshalCompressed(verifier.Curve, point); verifier.X == nil {
		return nil, errors.New("no point of the curve")
	}
	if !ecdsa.VerifyASN1(&verifier, digest[:], signature) {
		return nil, errors.New("not the signature")
	}
	return open(derived, sealed, []byte(about))
}

func derive(dataKey, id []byte) (commitKey, key []byte, err error) {
	prk, err := hkdf.Extract(sha512.New, dataKey, id)
	if err != nil {
		return nil, nil, err
	}
	if commitKey, err = hkdf.Expand(sha512.New, prk, "COMMITKEY", 32); err != nil {
		return nil, nil, err
	}
	key, err = hkdf.Expand(sha512.New, prk, "DERIVEKEY", 32)
	return commitKey, key, err
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func seal(key, plaintext, about []byte) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	return aead.Seal(nonce, nonce, plaintext, about), nil
}

func open(key, sealed, about []byte) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	n := aead.NonceSize()
	return aead.Open(nil, sealed[:n], sealed[n:], about)
}
