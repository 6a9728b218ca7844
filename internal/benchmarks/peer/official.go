package peer

import (
	"context"

	mpl "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygenerated"
	mpltypes "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygeneratedtypes"
	official "github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk/awscryptographyencryptionsdksmithygenerated"
	officialtypes "github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk/awscryptographyencryptionsdksmithygeneratedtypes"

	"github.com/esdk-go/esdk/suite"
)

// Official is AWS's own Go module under the same raw AES key.
func Official(id suite.ID, frameLength int) (*Peer, error) {
	providers, err := mpl.NewClient(mpltypes.MaterialProvidersConfig{})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	keyring, err := providers.CreateRawAesKeyring(ctx, mpltypes.CreateRawAesKeyringInput{
		KeyNamespace: "benchmarks",
		KeyName:      "key",
		WrappingKey:  Key,
		WrappingAlg:  mpltypes.AesWrappingAlgAlgAes256GcmIv12Tag16,
	})
	if err != nil {
		return nil, err
	}
	client, err := official.NewClient(officialtypes.AwsEncryptionSdkConfig{})
	if err != nil {
		return nil, err
	}
	suiteID := mpltypes.ESDKAlgorithmSuiteIdAlgAes256GcmHkdfSha512CommitKey
	if id == Signed {
		suiteID = mpltypes.ESDKAlgorithmSuiteIdAlgAes256GcmHkdfSha512CommitKeyEcdsaP384
	}
	length := int64(frameLength)
	encrypt := func(plaintext []byte, pairs map[string]string) ([]byte, error) {
		out, err := client.Encrypt(ctx, officialtypes.EncryptInput{
			Plaintext: plaintext, EncryptionContext: pairs, Keyring: keyring, AlgorithmSuiteId: &suiteID, FrameLength: &length,
		})
		if err != nil {
			return nil, err
		}
		return out.Ciphertext, nil
	}
	decrypt := func(message []byte, pairs map[string]string) ([]byte, error) {
		out, err := client.Decrypt(ctx, officialtypes.DecryptInput{Ciphertext: message, EncryptionContext: pairs, Keyring: keyring})
		if err != nil {
			return nil, err
		}
		return out.Plaintext, nil
	}
	return &Peer{
		Name:          "AWS Go",
		Encrypt:       func(plaintext []byte) ([]byte, error) { return encrypt(plaintext, nil) },
		Decrypt:       func(message []byte) ([]byte, error) { return decrypt(message, nil) },
		EncryptRecord: func(record []byte, c Context) ([]byte, error) { return encrypt(record, c.Pairs) },
		DecryptRecord: func(message []byte, c Context) ([]byte, error) { return decrypt(message, c.Pairs) },
	}, nil
}
