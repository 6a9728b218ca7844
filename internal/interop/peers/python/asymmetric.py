"""Makes the keyrings of asymmetric keys of AWS KMS; see ../../README.md."""

import base64

from aws_cryptographic_material_providers.mpl import models as mpl


def rsa(providers, key, client, pem):
    """Gives the keyring of an RSA key; without a public key it only decrypts."""
    return providers.create_aws_kms_rsa_keyring(
        mpl.CreateAwsKmsRsaKeyringInput(
            kms_key_id=key["name"],
            kms_client=client,
            encryption_algorithm=key["padding"].replace("OAEP-SHA", "RSAES_OAEP_SHA_"),
            public_key=pem("PUBLIC", key["public"]) if key.get("public") else None,
        )
    )


def ecdh(providers, key, client):
    """Gives the keyring of a key for key agreement, whose public key it fetches."""
    if key["schema"] == "static":
        scheme = mpl.KmsEcdhStaticConfigurationsKmsPrivateKeyToStaticPublicKey(
            mpl.KmsPrivateKeyToStaticPublicKeyInput(
                sender_kms_identifier=key["name"], recipient_public_key=base64.b64decode(key["public"])
            )
        )
    else:
        scheme = mpl.KmsEcdhStaticConfigurationsKmsPublicKeyDiscovery(
            mpl.KmsPublicKeyDiscoveryInput(recipient_kms_identifier=key["name"])
        )
    return providers.create_aws_kms_ecdh_keyring(
        mpl.CreateAwsKmsEcdhKeyringInput(
            key_agreement_scheme=scheme, curve_spec="ECC_NIST_" + key["curve"], kms_client=client
        )
    )
