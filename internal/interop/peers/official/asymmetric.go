package main

import (
	"context"
	"encoding/pem"
	"strings"

	mpltypes "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygeneratedtypes"
	primitivestypes "github.com/aws/aws-cryptographic-material-providers-library/releases/go/primitives/awscryptographyprimitivessmithygeneratedtypes"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// kmsRSA gives the keyring of an RSA key of KMS; without a public key it only
// decrypts.
func (p *peer) kmsRSA(ctx context.Context, k *key, client *kms.Client) (mpltypes.IKeyring, error) {
	in := mpltypes.CreateAwsKmsRsaKeyringInput{KmsKeyId: k.Name, KmsClient: client,
		EncryptionAlgorithm: kmstypes.EncryptionAlgorithmSpec(strings.Replace(k.Padding, "OAEP-SHA", "RSAES_OAEP_SHA_", 1))}
	if k.Public != nil {
		in.PublicKey = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.Public})
	}
	return p.providers.CreateAwsKmsRsaKeyring(ctx, in)
}

// kmsECDH gives the keyring of a key of KMS for key agreement, whose public key
// it fetches.
func (p *peer) kmsECDH(ctx context.Context, k *key, client *kms.Client) (mpltypes.IKeyring, error) {
	in := mpltypes.CreateAwsKmsEcdhKeyringInput{KmsClient: client, CurveSpec: primitivestypes.ECDHCurveSpec("ECC_NIST_" + k.Curve)}
	if k.Schema == "static" {
		in.KeyAgreementScheme = &mpltypes.KmsEcdhStaticConfigurationsMemberKmsPrivateKeyToStaticPublicKey{
			Value: mpltypes.KmsPrivateKeyToStaticPublicKeyInput{SenderKmsIdentifier: k.Name, RecipientPublicKey: k.Public}}
	} else {
		in.KeyAgreementScheme = &mpltypes.KmsEcdhStaticConfigurationsMemberKmsPublicKeyDiscovery{
			Value: mpltypes.KmsPublicKeyDiscoveryInput{RecipientKmsIdentifier: k.Name}}
	}
	return p.providers.CreateAwsKmsEcdhKeyring(ctx, in)
}
