package kmstest

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"hash"
)

// What KMS calls the properties of keys.
const (
	symmetricDefault = "SYMMETRIC_DEFAULT"
	encryptDecrypt   = "ENCRYPT_DECRYPT"
	keyAgreement     = "KEY_AGREEMENT"
	oaepSHA1         = "RSAES_OAEP_SHA_1"
	oaepSHA256       = "RSAES_OAEP_SHA_256"
	agreementECDH    = "ECDH"
)

// CreateRSAKey creates an RSA key for encryption and decryption in the Region and returns
// its ARN. It panics unless bits is 2048, 3072 or 4096, the sizes that KMS has.
func (s *Server) CreateRSAKey(region string, bits int) (arn string) {
	return s.create(Account, newUUID(), newRSA(bits), region)[0]
}

// CreateMultiRegionRSAKey is like CreateRSAKey, with a replica in each of the Regions. It
// returns their ARNs in the same order.
func (s *Server) CreateMultiRegionRSAKey(bits int, regions ...string) (arns []string) {
	return s.create(Account, newMultiRegionID(), newRSA(bits), regions...)
}

func newRSA(bits int) material {
	switch bits {
	case 2048, 3072, 4096:
	default:
		panic(fmt.Sprintf("kmstest: KMS has no RSA keys of %d bits", bits))
	}
	priv, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err) // the sizes are possible ones
	}
	return material{spec: fmt.Sprintf("RSA_%d", bits), usage: encryptDecrypt, rsa: priv}
}

// CreateECCKey creates a key for key agreement in the Region and returns its ARN. It panics
// unless the curve is ecdh.P256, P384 or P521.
func (s *Server) CreateECCKey(region string, curve ecdh.Curve) (arn string) {
	spec := map[ecdh.Curve]string{ecdh.P256(): "ECC_NIST_P256", ecdh.P384(): "ECC_NIST_P384", ecdh.P521(): "ECC_NIST_P521"}[curve]
	if spec == "" {
		panic(fmt.Sprintf("kmstest: there are no keys on curve %v", curve))
	}
	priv, err := curve.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // the reader never fails
	}
	return s.create(Account, newUUID(), material{spec: spec, usage: keyAgreement, ecc: priv}, region)[0]
}

// encryptionAlgorithms returns what Encrypt and Decrypt take for the key.
func (k *key) encryptionAlgorithms() []string {
	switch {
	case k.aead != nil:
		return []string{symmetricDefault}
	case k.rsa != nil:
		return []string{oaepSHA1, oaepSHA256}
	}
	return nil
}

// keyAgreementAlgorithms returns what DeriveSharedSecret takes for the key.
func (k *key) keyAgreementAlgorithms() []string {
	if k.ecc == nil {
		return nil
	}
	return []string{agreementECDH}
}

// oaepHash returns the hash of an algorithm of RSA keys, or nil.
func oaepHash(algorithm string) hash.Hash {
	switch algorithm {
	case oaepSHA1:
		return sha1.New()
	case oaepSHA256:
		return sha256.New()
	}
	return nil
}

func (k *key) encryptOAEP(algorithm string, plaintext []byte) ([]byte, error) {
	blob, err := rsa.EncryptOAEP(oaepHash(algorithm), rand.Reader, &k.rsa.PublicKey, plaintext, nil)
	if err != nil { // it is too long
		return nil, exception("ValidationException", "Plaintext of %d bytes: %v", len(plaintext), err)
	}
	return blob, nil
}

func (k *key) decryptOAEP(algorithm string, blob []byte) ([]byte, error) {
	plaintext, err := rsa.DecryptOAEP(oaepHash(algorithm), nil, k.rsa, blob, nil)
	if err != nil {
		return nil, errInvalidCiphertext
	}
	return plaintext, nil
}

// publicKey answers GetPublicKey.
func (s *Server) publicKey(call Call, req *request) (*response, error) {
	k, err := s.use(call.Op, call.Region, req.KeyId)
	if err != nil {
		return nil, err
	}
	var pub any
	switch {
	case k.rsa != nil:
		pub = &k.rsa.PublicKey
	case k.ecc != nil:
		pub = k.ecc.PublicKey()
	default:
		return nil, exception("UnsupportedOperationException", "%s is a symmetric key", k.arn())
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	return &response{
		KeyId: k.arn(), PublicKey: der, KeySpec: k.spec, KeyUsage: k.usage,
		EncryptionAlgorithms: k.encryptionAlgorithms(), KeyAgreementAlgorithms: k.keyAgreementAlgorithms(),
	}, nil
}

// agree answers DeriveSharedSecret.
func (s *Server) agree(call Call, req *request) (*response, error) {
	k, err := s.use(call.Op, call.Region, req.KeyId)
	if err != nil {
		return nil, err
	}
	if req.KeyAgreementAlgorithm != agreementECDH {
		return nil, exception("ValidationException", "KeyAgreementAlgorithm %q; it must be %s", req.KeyAgreementAlgorithm, agreementECDH)
	}
	if k.ecc == nil {
		return nil, exception("InvalidKeyUsageException", "%s has key usage %s, not %s", k.arn(), k.usage, keyAgreement)
	}
	pub, err := parseECC(req.PublicKey)
	if err != nil {
		return nil, exception("ValidationException", "PublicKey: %v", err)
	}
	secret, err := k.ecc.ECDH(pub)
	if err != nil { // another curve
		return nil, exception("ValidationException", "PublicKey is not for a key of spec %s", k.spec)
	}
	return &response{KeyId: k.arn(), SharedSecret: secret, KeyAgreementAlgorithm: agreementECDH}, nil
}

// parseECC parses a SubjectPublicKeyInfo of an elliptic curve.
func parseECC(der []byte) (*ecdh.PublicKey, error) {
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	ec, ok := pub.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("a %T is no key of a NIST curve", pub)
	}
	return ec.ECDH()
}
