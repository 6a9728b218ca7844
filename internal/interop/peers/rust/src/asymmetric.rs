//! Makes the keyrings of asymmetric keys of AWS KMS; see ../../../README.md.

use crate::{curve, kms_client, pem, Key, Result};
use aws_esdk::material_providers::client::Client as Providers;
use aws_esdk::material_providers::types::keyring::KeyringRef;
use aws_esdk::material_providers::types::{
    KmsEcdhStaticConfigurations, KmsPrivateKeyToStaticPublicKeyInput, KmsPublicKeyDiscoveryInput,
};
use aws_sdk_kms::types::EncryptionAlgorithmSpec;
use base64::{prelude::BASE64_STANDARD, Engine};

/// Gives the keyring of an RSA key; without a public key it only decrypts.
pub async fn rsa(providers: &Providers, key: &Key) -> Result<KeyringRef> {
    let algorithm = match key.padding.as_str() {
        "OAEP-SHA1" => EncryptionAlgorithmSpec::RsaesOaepSha1,
        _ => EncryptionAlgorithmSpec::RsaesOaepSha256,
    };
    let mut call = providers.create_aws_kms_rsa_keyring().kms_key_id(&key.name).encryption_algorithm(algorithm);
    if !key.public.is_empty() {
        call = call.public_key(pem("PUBLIC", &key.public));
    }
    Ok(call.kms_client(kms_client(key).await).send().await?)
}

/// Gives the keyring of a key for key agreement, whose public key it fetches.
pub async fn ecdh(providers: &Providers, key: &Key) -> Result<KeyringRef> {
    let scheme = match key.schema.as_str() {
        "static" => KmsEcdhStaticConfigurations::KmsPrivateKeyToStaticPublicKey(
            KmsPrivateKeyToStaticPublicKeyInput::builder()
                .sender_kms_identifier(&key.name)
                .recipient_public_key(BASE64_STANDARD.decode(&key.public)?)
                .build()?,
        ),
        _ => KmsEcdhStaticConfigurations::KmsPublicKeyDiscovery(
            KmsPublicKeyDiscoveryInput::builder().recipient_kms_identifier(&key.name).build()?,
        ),
    };
    let call = providers.create_aws_kms_ecdh_keyring().curve_spec(curve(key)).key_agreement_scheme(scheme);
    Ok(call.kms_client(kms_client(key).await).send().await?)
}
