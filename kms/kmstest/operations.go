package kmstest

import (
	"cmp"
	"crypto/rand"
	"strings"
)

// perform does what the call asks for.
func (s *Server) perform(call Call, req *request) (*response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch call.Op {
	case "GenerateDataKey":
		return s.generate(call, req)
	case "GenerateDataKeyWithoutPlaintext":
		answer, err := s.generate(call, req)
		if err == nil {
			answer.Plaintext = nil
		}
		return answer, err
	case "Encrypt":
		return s.encrypt(call, req)
	case "Decrypt":
		return s.decrypt(call, req)
	case "ReEncrypt":
		return s.reEncrypt(call, req)
	case "GetPublicKey":
		return s.publicKey(call, req)
	case "DeriveSharedSecret":
		return s.agree(call, req)
	case "DescribeKey":
		return s.describe(call, req)
	}
	return nil, exception("UnknownOperationException", "kmstest does not know %s", call.Op)
}

// use returns the key that a request names if the operation may use it.
func (s *Server) use(op, region, id string) (*key, error) {
	k, err := s.find(region, id)
	if err != nil {
		return nil, err
	}
	if err := s.checkAccess(op, k); err != nil {
		return nil, err
	}
	if !k.enabled {
		return nil, exception("DisabledException", "the key %s is disabled", k.arn())
	}
	return k, nil
}

func (s *Server) generate(call Call, req *request) (*response, error) {
	k, err := s.use(call.Op, call.Region, req.KeyId)
	if err != nil {
		return nil, err
	}
	size := req.NumberOfBytes
	switch {
	case size == 0 && req.KeySpec == "AES_128":
		size = 16
	case size == 0 && req.KeySpec == "AES_256":
		size = 32
	case size < 1 || size > maxRandomSize || req.KeySpec != "":
		return nil, exception("ValidationException", "either NumberOfBytes from 1 to %d or KeySpec must be given", maxRandomSize)
	}
	plaintext := make([]byte, size)
	rand.Read(plaintext) // never fails
	blob, err := k.encrypt(symmetricDefault, plaintext, req.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return &response{KeyId: k.arn(), Plaintext: plaintext, CiphertextBlob: blob}, nil
}

func (s *Server) encrypt(call Call, req *request) (*response, error) {
	k, err := s.use(call.Op, call.Region, req.KeyId)
	if err != nil {
		return nil, err
	}
	if n := len(req.Plaintext); n < 1 || n > maxPlaintext {
		return nil, exception("ValidationException", "Plaintext of %d bytes; 1 to %d are possible", n, maxPlaintext)
	}
	blob, err := k.encrypt(req.EncryptionAlgorithm, req.Plaintext, req.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return &response{KeyId: k.arn(), CiphertextBlob: blob, EncryptionAlgorithm: cmp.Or(req.EncryptionAlgorithm, symmetricDefault)}, nil
}

func (s *Server) decrypt(call Call, req *request) (*response, error) {
	k, plaintext, err := s.open(call.Op, call.Region, req.KeyId, req.EncryptionAlgorithm, req.CiphertextBlob, req.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return &response{KeyId: k.arn(), Plaintext: plaintext, EncryptionAlgorithm: cmp.Or(req.EncryptionAlgorithm, symmetricDefault)}, nil
}

func (s *Server) reEncrypt(call Call, req *request) (*response, error) {
	from, plaintext, err := s.open("ReEncryptFrom", call.Region, req.SourceKeyId, req.SourceEncryptionAlgorithm, req.CiphertextBlob, req.SourceEncryptionContext)
	if err != nil {
		return nil, err
	}
	to, err := s.use("ReEncryptTo", call.Region, req.DestinationKeyId)
	if err != nil {
		return nil, err
	}
	blob, err := to.encrypt(req.DestinationEncryptionAlgorithm, plaintext, req.DestinationEncryptionContext)
	if err != nil {
		return nil, err
	}
	return &response{
		KeyId: to.arn(), SourceKeyId: from.arn(), CiphertextBlob: blob,
		SourceEncryptionAlgorithm:      cmp.Or(req.SourceEncryptionAlgorithm, symmetricDefault),
		DestinationEncryptionAlgorithm: cmp.Or(req.DestinationEncryptionAlgorithm, symmetricDefault),
	}, nil
}

// open decrypts a blob with the key that the request names, or else with the
// one that the blob names, as those of symmetric keys do.
func (s *Server) open(op, region, id, algorithm string, blob []byte, ec map[string]string) (*key, []byte, error) {
	if n := len(blob); n < 1 || n > maxBlob {
		return nil, nil, exception("ValidationException", "CiphertextBlob of %d bytes; 1 to %d are possible", n, maxBlob)
	}
	made, _, ok := splitBlob(blob)
	if oaepHash(algorithm) == nil {
		id = cmp.Or(id, made)
		if id == "" {
			return nil, nil, errInvalidCiphertext
		}
	}
	k, err := s.use(op, region, id)
	if err == nil {
		err = k.checkAlgorithm(algorithm, ec)
	}
	if err != nil {
		return nil, nil, err
	}
	if k.rsa != nil {
		plaintext, err := k.decryptOAEP(algorithm, blob)
		return k, plaintext, err
	}
	if !ok {
		return nil, nil, errInvalidCiphertext
	}
	if made != k.id {
		return nil, nil, exception("IncorrectKeyException", "the ciphertext is of another key than the request names")
	}
	plaintext, err := k.unseal(blob, ec)
	if err != nil {
		return nil, nil, err
	}
	return k, plaintext, nil
}

func (s *Server) describe(call Call, req *request) (*response, error) {
	k, err := s.find(call.Region, req.KeyId)
	if err != nil {
		return nil, err
	}
	if err := s.checkAccess(call.Op, k); err != nil {
		return nil, err
	}
	state := "Enabled"
	if !k.enabled {
		state = "Disabled"
	}
	return &response{KeyMetadata: &keyMetadata{
		AWSAccountId: k.account, Arn: k.arn(), KeyId: k.id, KeySpec: k.spec, KeyState: state,
		KeyUsage: k.usage, Enabled: k.enabled, MultiRegion: strings.HasPrefix(k.id, "mrk-"),
		EncryptionAlgorithms: k.encryptionAlgorithms(), KeyAgreementAlgorithms: k.keyAgreementAlgorithms(),
	}}, nil
}
