package keystore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/esdk-go/esdk/internal/provider"
	"github.com/esdk-go/esdk/kms/internal/arn"
)

// keySize is the length of branch keys and beacon keys, in bytes.
const keySize = 32

// keyFor returns the ARN of the KMS key to ask for what is under the stored
// one.
//
// It follows framework/branch-key-store.md, "AWS Key ARN Compatibility" and
// "AWS KMS Branch Key Decryption".
func (s *Store) keyFor(r *record) (string, error) {
	stored, err := arn.ParseKey(r.attributes[attrKMSKey])
	switch {
	case err != nil:
		return "", err
	case s.info.Discovery && s.info.MultiRegion && stored.MultiRegion():
		replica, err := stored.Replica(s.info.Region)
		return replica.String(), err
	case s.info.Discovery:
		return stored.String(), nil
	case s.key.Matches(stored, s.info.MultiRegion):
		return s.key.String(), nil
	case s.key.Matches(stored, true):
		return "", fmt.Errorf("it is under %v, a replica of the store's %v; Options.MultiRegion would let that decrypt", stored, s.key)
	}
	return "", fmt.Errorf("it is under %v, not under the store's %v", stored, s.key)
}

// generate encrypts a new key into the record.
func (s *Store) generate(ctx context.Context, r *record) error {
	key := s.key.String()
	out, err := callKMS(ctx, s, "GenerateDataKeyWithoutPlaintext", key, func(ctx context.Context) (*awskms.GenerateDataKeyWithoutPlaintextOutput, error) {
		return s.kms.GenerateDataKeyWithoutPlaintext(ctx, &awskms.GenerateDataKeyWithoutPlaintextInput{
			KeyId:             aws.String(key),
			NumberOfBytes:     aws.Int32(keySize),
			EncryptionContext: r.context(s.info.LogicalName),
			GrantTokens:       s.info.GrantTokens,
		}, s.kmsCall)
	}, func(out *awskms.GenerateDataKeyWithoutPlaintextOutput) error {
		return errors.Join(checkKey(out.KeyId, key), checkBlob(out.CiphertextBlob))
	})
	if err != nil {
		return err
	}
	r.enc = out.CiphertextBlob
	return nil
}

// reEncrypt returns the key of the record from, encrypted for the record to.
// KMS has authenticated from then.
func (s *Store) reEncrypt(ctx context.Context, from, to *record) ([]byte, error) {
	key := s.key.String()
	out, err := callKMS(ctx, s, "ReEncrypt", key, func(ctx context.Context) (*awskms.ReEncryptOutput, error) {
		out, err := s.kms.ReEncrypt(ctx, &awskms.ReEncryptInput{
			SourceKeyId:                  aws.String(key),
			SourceEncryptionContext:      from.context(s.info.LogicalName),
			CiphertextBlob:               from.enc,
			DestinationKeyId:             aws.String(key),
			DestinationEncryptionContext: to.context(s.info.LogicalName),
			GrantTokens:                  s.info.GrantTokens,
		}, s.kmsCall)
		return out, s.refused(err)
	}, func(out *awskms.ReEncryptOutput) error {
		return errors.Join(checkKey(out.SourceKeyId, key), checkKey(out.KeyId, key), checkBlob(out.CiphertextBlob))
	})
	if err != nil {
		return nil, err
	}
	return out.CiphertextBlob, nil
}

// decrypt returns the key of the record. KMS has authenticated the record then.
func (s *Store) decrypt(ctx context.Context, r *record) ([]byte, error) {
	key, err := s.keyFor(r)
	if err != nil {
		return nil, err
	}
	out, err := callKMS(ctx, s, "Decrypt", key, func(ctx context.Context) (*awskms.DecryptOutput, error) {
		out, err := s.kms.Decrypt(ctx, &awskms.DecryptInput{
			KeyId:             aws.String(key),
			CiphertextBlob:    r.enc,
			EncryptionContext: r.context(s.info.LogicalName),
			GrantTokens:       s.info.GrantTokens,
		}, s.kmsCall)
		return out, s.refused(err)
	}, func(out *awskms.DecryptOutput) error {
		err := checkKey(out.KeyId, key)
		if err == nil && len(out.Plaintext) != keySize {
			err = fmt.Errorf("the response has a key of %d bytes; branch keys have %d", len(out.Plaintext), keySize)
		}
		if err == nil && provider.IsZero(out.Plaintext) {
			err = errors.New("the response has a key of zeros, as memory that was cleared")
		}
		if err != nil {
			clear(out.Plaintext)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out.Plaintext, nil
}

// refused adds to the error of a call with a record's ciphertext what KMS does
// not say: the message of its InvalidCiphertextException is empty.
func (s *Store) refused(err error) error {
	var invalid *types.InvalidCiphertextException
	if !errors.As(err, &invalid) {
		return err
	}
	return fmt.Errorf("the item was altered, or written under another logical name than %.100q: %w", s.info.LogicalName, err)
}

// checkKey checks that a response is of the key that was asked for.
func checkKey(by *string, key string) error {
	if got := aws.ToString(by); got != key {
		return fmt.Errorf("the response is of another key, %.200q", got)
	}
	return nil
}

// checkBlob checks the ciphertext of a response.
func checkBlob(blob []byte) error {
	if n := len(blob); n < 1 || n > maxBlob {
		return fmt.Errorf("the response has a ciphertext of %d bytes; 1 to %d are possible", n, maxBlob)
	}
	return nil
}
