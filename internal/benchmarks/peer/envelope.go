package peer

import (
	"context"
	"crypto/aes"
	"crypto/cipher"

	"github.com/tink-crypto/tink-go/v2/aead"
)

// TinkEnvelope is Tink's envelope encryption with a KMS, with AES-256-GCM for the data keys
// and Key in the place of the KMS. The encryption context is its associated data, which the
// message does not hold.
func TinkEnvelope() (*Peer, error) {
	block, err := aes.NewCipher(Key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	envelope, err := aead.NewKMSEnvelopeAEADWithContext(aead.AES256GCMKeyTemplate(), inMemory{gcm})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	return &Peer{
		Name: "tink envelope",
		EncryptRecord: func(record []byte, c Context) ([]byte, error) {
			return envelope.EncryptWithContext(ctx, record, c.Serialized)
		},
		DecryptRecord: func(message []byte, c Context) ([]byte, error) {
			return envelope.DecryptWithContext(ctx, message, c.Serialized)
		},
	}, nil
}

// inMemory wraps data keys as a KMS would, without one.
type inMemory struct{ cipher.AEAD }

func (m inMemory) EncryptWithContext(_ context.Context, plaintext, associated []byte) ([]byte, error) {
	return m.Seal(nil, nil, plaintext, associated), nil
}

func (m inMemory) DecryptWithContext(_ context.Context, ciphertext, associated []byte) ([]byte, error) {
	return m.Open(nil, nil, ciphertext, associated)
}
