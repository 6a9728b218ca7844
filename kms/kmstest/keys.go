package kmstest

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/esdk-go/esdk/format"
	"github.com/esdk-go/esdk/kms/internal/arn"
	"github.com/esdk-go/esdk/kms/internal/uuid"
)

// key is a key in one Region. Replicas share id and material.
type key struct {
	partition, region, account, id string

	material
	enabled bool // guarded by Server.mu
}

// material is what a key computes with: one of the fields below usage.
type material struct {
	spec, usage string // as KMS has them: KeySpec, KeyUsage

	aead cipher.AEAD
	rsa  *rsa.PrivateKey
	ecc  *ecdh.PrivateKey
}

func (k *key) arn() string { return arnPrefix(k.partition, k.region, k.account) + "key/" + k.id }

func arnPrefix(partition, region, account string) string {
	return fmt.Sprintf("arn:%s:kms:%s:%s:", partition, region, account)
}

// partitionOf returns the partition that the Region belongs to.
func partitionOf(region string) string { return cmp.Or(arn.PartitionOf(region), "aws") }

// CreateKey creates a symmetric key in the Region and returns its ARN.
func (s *Server) CreateKey(region string) (arn string) {
	return s.CreateKeyIn(Account, region)
}

// CreateKeyIn is like CreateKey, for a key that the given account owns.
func (s *Server) CreateKeyIn(account, region string) (arn string) {
	return s.create(account, newUUID(), newSymmetric(), region)[0]
}

// CreateMultiRegionKey creates a symmetric multi-Region key with a replica in each of the
// Regions and returns their ARNs in the same order. All have the same ID, and each decrypts
// what the others encrypted.
func (s *Server) CreateMultiRegionKey(regions ...string) (arns []string) {
	return s.create(Account, newMultiRegionID(), newSymmetric(), regions...)
}

// newSymmetric returns a new AES key.
func newSymmetric() material {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic(err) // 32 bytes are an AES key
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size of GCM
	}
	return material{spec: symmetricDefault, usage: encryptDecrypt, aead: aead}
}

func (s *Server) create(account, id string, m material, regions ...string) (arns []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, region := range regions {
		k := &key{partitionOf(region), region, account, id, m, true}
		s.keys[k.arn()] = k
		arns = append(arns, k.arn())
	}
	return arns
}

func newMultiRegionID() string { return "mrk-" + strings.ReplaceAll(newUUID(), "-", "") }

func newUUID() string { return uuid.New().String() }

// CreateAlias creates an alias called name, such as "alias/orders", for the key with this
// ARN, in the key's account and Region, and returns the ARN of the alias. An existing alias
// moves to the key.
func (s *Server) CreateAlias(name, keyARN string) (arn string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.key(keyARN)
	if err != nil {
		return "", err
	}
	if short, ok := strings.CutPrefix(name, "alias/"); !ok || short == "" {
		return "", fmt.Errorf("kmstest: alias %q does not begin with alias/", name)
	}
	arn = arnPrefix(k.partition, k.region, k.account) + name
	s.aliases[arn] = keyARN
	return arn, nil
}

// DisableKey makes all calls for the key fail with DisabledException. Replicas of the key
// stay enabled.
func (s *Server) DisableKey(keyARN string) error { return s.setEnabled(keyARN, false) }

// EnableKey undoes DisableKey.
func (s *Server) EnableKey(keyARN string) error { return s.setEnabled(keyARN, true) }

func (s *Server) setEnabled(keyARN string, enabled bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.key(keyARN)
	if err == nil {
		k.enabled = enabled
	}
	return err
}

// key returns the key with the ARN. s.mu is locked.
func (s *Server) key(arn string) (*key, error) {
	if k, ok := s.keys[arn]; ok {
		return k, nil
	}
	return nil, fmt.Errorf("kmstest: there is no key %q", arn)
}

// find returns the key that a request names, as KMS in the Region does for
// callers from [Account]. s.mu is locked.
func (s *Server) find(region, id string) (*key, error) {
	arn := id
	switch {
	case id == "":
		return nil, exception("ValidationException", "KeyId must not be empty")
	case strings.HasPrefix(id, "arn:"):
		if parts := strings.Split(id, ":"); len(parts) != 6 || parts[2] != "kms" || parts[3] != region {
			return nil, exception("NotFoundException", "the ARN %s is not of a key in %s", id, region)
		}
	case strings.HasPrefix(id, "alias/"):
		arn = arnPrefix(partitionOf(region), region, Account) + id
	default:
		arn = arnPrefix(partitionOf(region), region, Account) + "key/" + id
	}
	if target, ok := s.aliases[arn]; ok {
		arn = target
	}
	if k, ok := s.keys[arn]; ok {
		return k, nil
	}
	if strings.Contains(arn, "alias/") {
		return nil, exception("NotFoundException", "there is no alias %s", arn)
	}
	return nil, exception("NotFoundException", "there is no key %s", arn)
}

// A blob is a version byte, the length of the key ID, the key ID, an IV, and
// the ciphertext with its tag. What comes before the IV is authenticated
// together with the encryption context.
const blobVersion = 1

// encrypt returns plaintext encrypted with the algorithm; empty means
// SYMMETRIC_DEFAULT.
func (k *key) encrypt(algorithm string, plaintext []byte, ec map[string]string) ([]byte, error) {
	if err := k.checkAlgorithm(algorithm, ec); err != nil {
		return nil, err
	}
	if k.rsa != nil {
		return k.encryptOAEP(algorithm, plaintext)
	}
	return k.seal(plaintext, ec)
}

// checkAlgorithm fails if the key cannot encrypt and decrypt with the
// algorithm.
func (k *key) checkAlgorithm(algorithm string, ec map[string]string) error {
	algorithm = cmp.Or(algorithm, symmetricDefault)
	if !slices.Contains(k.encryptionAlgorithms(), algorithm) {
		return exception("InvalidKeyUsageException", "%s has key spec %s and key usage %s, and does not take %s", k.arn(), k.spec, k.usage, algorithm)
	}
	if k.rsa != nil && len(ec) > 0 {
		return exception("ValidationException", "EncryptionContext cannot be given with %s", algorithm)
	}
	return nil
}

// seal returns the blob of plaintext.
func (k *key) seal(plaintext []byte, ec map[string]string) ([]byte, error) {
	b := append([]byte{blobVersion, byte(len(k.id))}, k.id...)
	aad, err := format.AppendEncryptionContext(b[:len(b):len(b)], ec)
	if err != nil {
		return nil, exception("ValidationException", "EncryptionContext: %v", err)
	}
	iv := make([]byte, k.aead.NonceSize())
	rand.Read(iv) // never fails
	return k.aead.Seal(append(b, iv...), iv, plaintext, aad), nil
}

// unseal returns what seal made the blob of.
func (k *key) unseal(blob []byte, ec map[string]string) ([]byte, error) {
	_, sealed, ok := splitBlob(blob)
	if !ok || len(sealed) < k.aead.NonceSize() {
		return nil, errInvalidCiphertext
	}
	header := blob[:len(blob)-len(sealed)]
	aad, err := format.AppendEncryptionContext(header[:len(header):len(header)], ec)
	if err != nil {
		return nil, exception("ValidationException", "EncryptionContext: %v", err)
	}
	iv, sealed := sealed[:k.aead.NonceSize()], sealed[k.aead.NonceSize():]
	plaintext, err := k.aead.Open(nil, iv, sealed, aad)
	if err != nil {
		return nil, errInvalidCiphertext
	}
	return plaintext, nil
}

// splitBlob returns the ID of the key that made the blob, and what follows it.
func splitBlob(blob []byte) (id string, sealed []byte, ok bool) {
	if len(blob) < 2 || blob[0] != blobVersion || len(blob) < 2+int(blob[1]) {
		return "", nil, false
	}
	n := 2 + int(blob[1])
	return string(blob[2:n]), blob[n:], true
}

var errInvalidCiphertext = exception("InvalidCiphertextException", "")

// requestID returns a random identifier for an answer.
func requestID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
