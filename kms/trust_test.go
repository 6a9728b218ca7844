package kms_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha512"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/stretchr/testify/require"

	"github.com/esdk-go/esdk/kms"
)

// zeros is a client that hands out memory that was cleared.
type zeros struct{ kms.API }

func (zeros) GenerateDataKey(_ context.Context, in *awskms.GenerateDataKeyInput, _ ...func(*awskms.Options)) (*awskms.GenerateDataKeyOutput, error) {
	return &awskms.GenerateDataKeyOutput{KeyId: in.KeyId, Plaintext: make([]byte, 32), CiphertextBlob: []byte{1}}, nil
}

func (zeros) Decrypt(_ context.Context, in *awskms.DecryptInput, _ ...func(*awskms.Options)) (*awskms.DecryptOutput, error) {
	plaintext := make([]byte, 32)
	if in.EncryptionAlgorithm != "" { // an RSA key: behind the hash of the empty encryption context
		hash := sha512.Sum384(nil)
		plaintext = append(hash[:], plaintext...)
	}
	return &awskms.DecryptOutput{KeyId: in.KeyId, Plaintext: plaintext, EncryptionAlgorithm: in.EncryptionAlgorithm}, nil
}

func (zeros) DeriveSharedSecret(_ context.Context, in *awskms.DeriveSharedSecretInput, _ ...func(*awskms.Options)) (*awskms.DeriveSharedSecretOutput, error) {
	return &awskms.DeriveSharedSecretOutput{KeyId: in.KeyId, SharedSecret: make([]byte, 32), KeyAgreementAlgorithm: in.KeyAgreementAlgorithm}, nil
}

// silent is a client that returns neither a result nor an error.
type silent struct{}

func (silent) GenerateDataKey(context.Context, *awskms.GenerateDataKeyInput, ...func(*awskms.Options)) (*awskms.GenerateDataKeyOutput, error) {
	return nil, nil
}

func (silent) Encrypt(context.Context, *awskms.EncryptInput, ...func(*awskms.Options)) (*awskms.EncryptOutput, error) {
	return nil, nil
}

func (silent) Decrypt(context.Context, *awskms.DecryptInput, ...func(*awskms.Options)) (*awskms.DecryptOutput, error) {
	return nil, nil
}

func (silent) DeriveSharedSecret(context.Context, *awskms.DeriveSharedSecretInput, ...func(*awskms.Options)) (*awskms.DeriveSharedSecretOutput, error) {
	return nil, nil
}

func (silent) GetPublicKey(context.Context, *awskms.GetPublicKeyInput, ...func(*awskms.Options)) (*awskms.GetPublicKeyOutput, error) {
	return nil, nil
}

// empty is a client whose results hold nothing but the right key.
type empty struct{}

func (empty) GenerateDataKey(_ context.Context, in *awskms.GenerateDataKeyInput, _ ...func(*awskms.Options)) (*awskms.GenerateDataKeyOutput, error) {
	return &awskms.GenerateDataKeyOutput{KeyId: in.KeyId, Plaintext: []byte("an array of 32 bytes, not zeros."), CiphertextBlob: []byte{}}, nil
}

func (empty) Encrypt(_ context.Context, in *awskms.EncryptInput, _ ...func(*awskms.Options)) (*awskms.EncryptOutput, error) {
	return &awskms.EncryptOutput{KeyId: in.KeyId}, nil
}

func (empty) Decrypt(_ context.Context, in *awskms.DecryptInput, _ ...func(*awskms.Options)) (*awskms.DecryptOutput, error) {
	return &awskms.DecryptOutput{KeyId: in.KeyId}, nil
}

func (empty) DeriveSharedSecret(_ context.Context, in *awskms.DeriveSharedSecretInput, _ ...func(*awskms.Options)) (*awskms.DeriveSharedSecretOutput, error) {
	return &awskms.DeriveSharedSecretOutput{KeyId: in.KeyId}, nil
}

func (empty) GetPublicKey(_ context.Context, in *awskms.GetPublicKeyInput, _ ...func(*awskms.Options)) (*awskms.GetPublicKeyOutput, error) {
	return &awskms.GetPublicKeyOutput{KeyId: in.KeyId}, nil
}

// other answers as empty, for another key.
type other struct{ empty }

func (other) Encrypt(context.Context, *awskms.EncryptInput, ...func(*awskms.Options)) (*awskms.EncryptOutput, error) {
	return &awskms.EncryptOutput{KeyId: aws.String(key2), CiphertextBlob: []byte{1}}, nil
}

// Clients that ClientFor returns are the user's code: whatever they return, the
// error names the key and the operation.
func TestWhatAClientReturnsIsNotTrusted(t *testing.T) {
	priv, err := ecdh.P256().GenerateKey(rand.Reader)
	require.NoError(t, err)
	for what, client := range map[string]kms.API{"zeros": zeros{}, "nothing": silent{}, "empty results": empty{}, "another key's": other{}} {
		opts := kms.Options{ClientFor: func(context.Context, string) (kms.API, error) { return client, nil }}
		for name, call := range calls(t, opts, key1, priv.PublicKey()) {
			if what == "zeros" && (name == "Encrypt" || name == "GetPublicKey") {
				continue // they return no secrets
			}
			t.Run(what+"/"+name, func(t *testing.T) {
				err := call(t.Context())
				var failure *kms.KeyError
				require.ErrorAs(t, err, &failure)
				require.Equal(t, key1, failure.KeyID)
				require.Regexp(t, "^"+failure.Op+"( |$)", name)
				switch what {
				case "zeros":
					require.ErrorContains(t, failure, "zeros, as memory that was cleared")
				case "nothing":
					require.ErrorContains(t, failure, "the client returned neither a result nor an error")
				}
			})
		}
	}
}
