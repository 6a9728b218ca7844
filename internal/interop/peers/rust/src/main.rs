//! Reads cases, decrypts their messages and writes its own; see ../../../README.md.

mod asymmetric;

use aws_esdk::aws_cryptography_primitives::types::EcdhCurveSpec;
use aws_esdk::client::Client;
use aws_esdk::key_store::client::Client as KeyStore;
use aws_esdk::key_store::types::key_store_config::KeyStoreConfig;
use aws_esdk::key_store::types::KmsConfiguration;
use aws_esdk::material_providers::client::Client as Providers;
use aws_esdk::material_providers::types::cryptographic_materials_manager::CryptographicMaterialsManagerRef;
use aws_esdk::material_providers::types::keyring::KeyringRef;
use aws_esdk::material_providers::types::material_providers_config::MaterialProvidersConfig;
use aws_esdk::material_providers::types::{
    AesWrappingAlg, DiscoveryFilter, EphemeralPrivateKeyToStaticPublicKeyInput, EsdkAlgorithmSuiteId as Suite, EsdkCommitmentPolicy,
    PaddingScheme, PublicKeyDiscoveryInput, RawEcdhStaticConfigurations, RawPrivateKeyToStaticPublicKeyInput,
};
use aws_esdk::types::aws_encryption_sdk_config::AwsEncryptionSdkConfig;
use base64::{prelude::BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    id: String,
    suite: String,
    keys: Vec<Key>,
    reader: usize,
    read_with: Option<Key>,
    #[serde(default)]
    discovery: bool,
    #[serde(default)]
    context: HashMap<String, String>,
    #[serde(default)]
    required: Vec<String>,
    frame_length: i64,
    length: usize,
    altered: Option<String>,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    r#type: String,
    #[serde(default)]
    namespace: String,
    name: String,
    #[serde(default)]
    aes: String,
    #[serde(default)]
    padding: String,
    #[serde(default)]
    curve: String,
    #[serde(default)]
    schema: String,
    #[serde(default)]
    public: String,
    #[serde(default)]
    private: String,
    endpoint: Option<String>,
    #[serde(default)]
    table: String,
    #[serde(default)]
    logical_name: String,
    #[serde(default)]
    kms_key: String,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypt_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypt_skip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<HashMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decrypt_error: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let cases = BufReader::new(File::open(&arguments[1])?);
    let mut out = BufWriter::new(File::create(&arguments[2])?);
    let providers = Providers::from_conf(MaterialProvidersConfig::builder().build()?)?;
    for line in cases.lines() {
        let case: Case = serde_json::from_str(&line?)?;
        let outcome = exchange(&providers, &case).await;
        writeln!(out, "{}", serde_json::to_string(&outcome)?)?;
    }
    Ok(out.flush()?)
}

async fn exchange(providers: &Providers, case: &Case) -> Outcome {
    let mut outcome = Outcome { id: case.id.clone(), ..Default::default() };
    if case.altered.is_some() {
    } else if case.frame_length == 0 {
        outcome.encrypt_skip = Some("writes no unframed messages".into());
    } else {
        match encrypt(providers, case).await {
            Ok(message) => outcome.message = Some(BASE64_STANDARD.encode(message)),
            Err(error) => outcome.encrypt_error = Some(format!("{error:?}")),
        }
    }
    match decrypt(providers, case).await {
        Ok((plaintext, context)) => {
            outcome.sha256 = Some(Sha256::digest(plaintext).iter().map(|b| format!("{b:02x}")).collect());
            outcome.context = context;
        }
        Err(error) => outcome.decrypt_error = Some(format!("{error:?}")),
    }
    outcome
}

async fn encrypt(providers: &Providers, case: &Case) -> Result<Vec<u8>> {
    let mut rings = Vec::new();
    for key in &case.keys {
        rings.push(keyring(providers, key).await?);
    }
    let mut ring = rings.remove(0);
    if !rings.is_empty() {
        ring = providers.create_multi_keyring().generator(ring).child_keyrings(rings).send().await?;
    }
    let call = client(case)?
        .encrypt()
        .plaintext(plaintext(case.length))
        .algorithm_suite_id(suite(&case.suite))
        .encryption_context(case.context.clone())
        .frame_length(case.frame_length);
    let call = match manager(providers, case, &ring).await? {
        Some(manager) => call.materials_manager(manager),
        None => call.keyring(ring),
    };
    Ok(call.send().await?.ciphertext.unwrap().into_inner())
}

async fn decrypt(providers: &Providers, case: &Case) -> Result<(Vec<u8>, Option<HashMap<String, String>>)> {
    let key = case.read_with.as_ref().unwrap_or(&case.keys[case.reader]);
    let ring = if case.discovery {
        let arn: Vec<&str> = key.name.split(':').collect();
        let filter = DiscoveryFilter::builder().partition(arn[1]).account_ids(vec![arn[4].to_string()]).build()?;
        let client = kms_client(key).await;
        if key.r#type == "mrk" {
            let call = providers.create_aws_kms_mrk_discovery_keyring().region(arn[3]);
            call.kms_client(client).discovery_filter(filter).send().await?
        } else {
            providers.create_aws_kms_discovery_keyring().kms_client(client).discovery_filter(filter).send().await?
        }
    } else {
        keyring(providers, key).await?
    };
    let mut call = client(case)?.decrypt().ciphertext(BASE64_STANDARD.decode(&case.message)?);
    if !case.required.is_empty() {
        let given = case.context.iter().filter(|(k, _)| case.required.contains(k));
        call = call.encryption_context(given.map(|(k, v)| (k.clone(), v.clone())).collect::<HashMap<_, _>>());
    }
    let call = match manager(providers, case, &ring).await? {
        Some(manager) => call.materials_manager(manager),
        None => call.keyring(ring),
    };
    let output = call.send().await?;
    Ok((output.plaintext.unwrap().into_inner(), output.encryption_context))
}

fn client(case: &Case) -> Result<Client> {
    let policy = match case.suite.as_str() {
        "0478" | "0578" => EsdkCommitmentPolicy::RequireEncryptRequireDecrypt,
        _ => EsdkCommitmentPolicy::ForbidEncryptAllowDecrypt,
    };
    Ok(Client::from_conf(AwsEncryptionSdkConfig::builder().commitment_policy(policy).build()?)?)
}

/// Gives the manager of required pairs over the keyring, if there are any.
async fn manager(providers: &Providers, case: &Case, ring: &KeyringRef) -> Result<Option<CryptographicMaterialsManagerRef>> {
    if case.required.is_empty() {
        return Ok(None);
    }
    let inner = providers.create_default_cryptographic_materials_manager().keyring(ring.clone()).send().await?;
    let manager = providers
        .create_required_encryption_context_cmm()
        .underlying_cmm(inner)
        .required_encryption_context_keys(case.required.clone())
        .send()
        .await?;
    Ok(Some(manager))
}

async fn keyring(providers: &Providers, key: &Key) -> Result<KeyringRef> {
    match key.r#type.as_str() {
        "aes" => {
            let wrapping = BASE64_STANDARD.decode(&key.aes)?;
            let algorithm = match wrapping.len() {
                16 => AesWrappingAlg::AlgAes128GcmIv12Tag16,
                24 => AesWrappingAlg::AlgAes192GcmIv12Tag16,
                _ => AesWrappingAlg::AlgAes256GcmIv12Tag16,
            };
            let call = providers.create_raw_aes_keyring().key_namespace(&key.namespace).key_name(&key.name);
            Ok(call.wrapping_key(wrapping).wrapping_alg(algorithm).send().await?)
        }
        "rsa" => {
            let padding = match key.padding.as_str() {
                "OAEP-SHA1" => PaddingScheme::OaepSha1Mgf1,
                "OAEP-SHA256" => PaddingScheme::OaepSha256Mgf1,
                "OAEP-SHA384" => PaddingScheme::OaepSha384Mgf1,
                "OAEP-SHA512" => PaddingScheme::OaepSha512Mgf1,
                _ => PaddingScheme::Pkcs1,
            };
            let call = providers.create_raw_rsa_keyring().key_namespace(&key.namespace).key_name(&key.name);
            let call = call.public_key(pem("PUBLIC", &key.public)).private_key(pem("PRIVATE", &key.private));
            Ok(call.padding_scheme(padding).send().await?)
        }
        "ecdh" => Ok(providers.create_raw_ecdh_keyring().curve_spec(curve(key)).key_agreement_scheme(scheme(key)?).send().await?),
        "kms-rsa" => asymmetric::rsa(providers, key).await,
        "kms-ecdh" => asymmetric::ecdh(providers, key).await,
        "hierarchy" => {
            let region = aws_config::Region::new(key.kms_key.split(':').nth(3).unwrap().to_string());
            let config = aws_config::defaults(aws_config::BehaviorVersion::latest()).region(region).load().await;
            let store = KeyStoreConfig::builder()
                .ddb_table_name(&key.table)
                .logical_key_store_name(&key.logical_name)
                .kms_configuration(KmsConfiguration::KmsKeyArn(key.kms_key.clone()))
                .ddb_client(aws_sdk_dynamodb::Client::new(&config))
                .kms_client(aws_sdk_kms::Client::new(&config));
            let call = providers.create_aws_kms_hierarchical_keyring().key_store(KeyStore::from_conf(store.build()?)?);
            Ok(call.branch_key_id(&key.name).ttl_seconds(60).send().await?)
        }
        "mrk" => {
            let call = providers.create_aws_kms_mrk_keyring().kms_key_id(&key.name);
            Ok(call.kms_client(kms_client(key).await).send().await?)
        }
        _ => {
            let call = providers.create_aws_kms_keyring().kms_key_id(&key.name);
            Ok(call.kms_client(kms_client(key).await).send().await?)
        }
    }
}

fn curve(key: &Key) -> EcdhCurveSpec {
    match key.curve.as_str() {
        "P256" => EcdhCurveSpec::EccNistP256,
        "P384" => EcdhCurveSpec::EccNistP384,
        _ => EcdhCurveSpec::EccNistP521,
    }
}

/// Gives the key agreement scheme of an ECDH key.
fn scheme(key: &Key) -> Result<RawEcdhStaticConfigurations> {
    let public = BASE64_STANDARD.decode(&key.public)?;
    let private = pem("PRIVATE", &key.private);
    Ok(match key.schema.as_str() {
        "static" => RawEcdhStaticConfigurations::RawPrivateKeyToStaticPublicKey(
            RawPrivateKeyToStaticPublicKeyInput::builder()
                .sender_static_private_key(private)
                .recipient_public_key(public)
                .build()?,
        ),
        "ephemeral" => RawEcdhStaticConfigurations::EphemeralPrivateKeyToStaticPublicKey(
            EphemeralPrivateKeyToStaticPublicKeyInput::builder().recipient_public_key(public).build()?,
        ),
        _ => RawEcdhStaticConfigurations::PublicKeyDiscovery(
            PublicKeyDiscoveryInput::builder().recipient_static_private_key(private).build()?,
        ),
    })
}

/// Gives a client for the Region of the key.
async fn kms_client(key: &Key) -> aws_sdk_kms::Client {
    let region = aws_config::Region::new(key.name.split(':').nth(3).unwrap().to_string());
    let mut loader = aws_config::defaults(aws_config::BehaviorVersion::latest()).region(region);
    if let Some(endpoint) = &key.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    aws_sdk_kms::Client::new(&loader.load().await)
}

fn pem(kind: &str, der: &str) -> Vec<u8> {
    let body: Vec<&str> = der.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {kind} KEY-----\n{}\n-----END {kind} KEY-----\n", body.join("\n")).into_bytes()
}

fn suite(id: &str) -> Suite {
    match id {
        "0014" => Suite::AlgAes128GcmIv12Tag16NoKdf,
        "0046" => Suite::AlgAes192GcmIv12Tag16NoKdf,
        "0078" => Suite::AlgAes256GcmIv12Tag16NoKdf,
        "0114" => Suite::AlgAes128GcmIv12Tag16HkdfSha256,
        "0146" => Suite::AlgAes192GcmIv12Tag16HkdfSha256,
        "0178" => Suite::AlgAes256GcmIv12Tag16HkdfSha256,
        "0214" => Suite::AlgAes128GcmIv12Tag16HkdfSha256EcdsaP256,
        "0346" => Suite::AlgAes192GcmIv12Tag16HkdfSha384EcdsaP384,
        "0378" => Suite::AlgAes256GcmIv12Tag16HkdfSha384EcdsaP384,
        "0478" => Suite::AlgAes256GcmHkdfSha512CommitKey,
        "0578" => Suite::AlgAes256GcmHkdfSha512CommitKeyEcdsaP384,
        _ => panic!("suite {id}"),
    }
}

fn plaintext(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + (i >> 8) * 13 + (i >> 16)) as u8).collect()
}
