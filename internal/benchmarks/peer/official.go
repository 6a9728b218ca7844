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
	return &Peer{
		Name: "AWS Go",
		Encrypt: func(plaintext []byte) ([]byte, error) {
			out, err := client.Encrypt(ctx, officialtypes.EncryptInput{
				Plaintext: plaintext, Keyring: keyring, AlgorithmSuiteId: &suiteID, FrameLength: &length,
			})
			if err != nil {
				return nil, err
			}
			return out.Ciphertext, nil
		},
		Decrypt: func(message []byte) ([]byte, error) {
			out, err := client.Decrypt(ctx, officialtypes.DecryptInput{Ciphertext: message, Keyring: keyring})
			if err != nil {
				return nil, err
			}
			return out.Plaintext, nil
		},
	}, nil
}
