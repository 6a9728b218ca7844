import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.kms.model.EncryptionAlgorithmSpec;
import software.amazon.cryptography.materialproviders.IKeyring;
import software.amazon.cryptography.materialproviders.model.CreateAwsKmsEcdhKeyringInput;
import software.amazon.cryptography.materialproviders.model.CreateAwsKmsRsaKeyringInput;
import software.amazon.cryptography.materialproviders.model.KmsEcdhStaticConfigurations;
import software.amazon.cryptography.materialproviders.model.KmsPrivateKeyToStaticPublicKeyInput;
import software.amazon.cryptography.materialproviders.model.KmsPublicKeyDiscoveryInput;
import software.amazon.cryptography.primitives.model.ECDHCurveSpec;

/** Makes the keyrings of asymmetric keys of AWS KMS; see ../../README.md. */
final class Asymmetric {
  /** Gives the keyring of an RSA key; without a public key it only decrypts. */
  static IKeyring rsa(Peer.Key key, KmsClient client) {
    CreateAwsKmsRsaKeyringInput.Builder b =
        CreateAwsKmsRsaKeyringInput.builder()
            .kmsKeyId(key.name)
            .kmsClient(client)
            .encryptionAlgorithm(
                EncryptionAlgorithmSpec.fromValue(
                    key.padding.replace("OAEP-SHA", "RSAES_OAEP_SHA_")));
    if (key.publicKey != null) {
      b.publicKey(Peer.pem("PUBLIC", key.publicKey));
    }
    return Peer.providers.CreateAwsKmsRsaKeyring(b.build());
  }

  /** Gives the keyring of a key for key agreement, whose public key it fetches. */
  static IKeyring ecdh(Peer.Key key, KmsClient client) {
    KmsEcdhStaticConfigurations.Builder scheme = KmsEcdhStaticConfigurations.builder();
    if (key.schema.equals("static")) {
      scheme.KmsPrivateKeyToStaticPublicKey(
          KmsPrivateKeyToStaticPublicKeyInput.builder()
              .senderKmsIdentifier(key.name)
              .recipientPublicKey(Peer.der(key.publicKey))
              .build());
    } else {
      scheme.KmsPublicKeyDiscovery(
          KmsPublicKeyDiscoveryInput.builder().recipientKmsIdentifier(key.name).build());
    }
    return Peer.providers.CreateAwsKmsEcdhKeyring(
        CreateAwsKmsEcdhKeyringInput.builder()
            .curveSpec(ECDHCurveSpec.valueOf("ECC_NIST_" + key.curve))
            .KeyAgreementScheme(scheme.build())
            .kmsClient(client)
            .build());
  }
}
