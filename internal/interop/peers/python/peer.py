"""Reads cases, decrypts their messages and writes its own; see ../../README.md."""

import base64
import hashlib
import json
import sys

import asymmetric
import boto3
from aws_cryptographic_material_providers.keystore.client import KeyStore
from aws_cryptographic_material_providers.keystore.config import KeyStoreConfig
from aws_cryptographic_material_providers.keystore.models import KMSConfigurationKmsKeyArn
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl import models as mpl
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import AlgorithmSuite

providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
PADDINGS = {
    "PKCS1-v1_5": mpl.PaddingScheme.PKCS1,
    "OAEP-SHA1": mpl.PaddingScheme.OAEP_SHA1_MGF1,
    "OAEP-SHA256": mpl.PaddingScheme.OAEP_SHA256_MGF1,
    "OAEP-SHA384": mpl.PaddingScheme.OAEP_SHA384_MGF1,
    "OAEP-SHA512": mpl.PaddingScheme.OAEP_SHA512_MGF1,
}
REFUSING = EncryptionSDKClient(commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)
REQUIRING = EncryptionSDKClient()


def pem(kind, der):
    """Gives the PEM of a key, which is what the keyring takes."""
    body = base64.b64encode(base64.b64decode(der), altchars=None).decode()
    lines = [body[i : i + 64] for i in range(0, len(body), 64)]
    return "\n".join([f"-----BEGIN {kind} KEY-----", *lines, f"-----END {kind} KEY-----", ""]).encode()


def region(key):
    return key["name"].split(":")[3]


def kms_client(key):
    return boto3.client("kms", region_name=region(key), endpoint_url=key.get("endpoint"))


def hierarchical(key):
    region = key["kmsKey"].split(":")[3]
    store = KeyStore(
        config=KeyStoreConfig(
            ddb_table_name=key["table"],
            logical_key_store_name=key["logicalName"],
            kms_configuration=KMSConfigurationKmsKeyArn(value=key["kmsKey"]),
            ddb_client=boto3.client("dynamodb", region_name=region),
            kms_client=boto3.client("kms", region_name=region),
        )
    )
    return providers.create_aws_kms_hierarchical_keyring(
        mpl.CreateAwsKmsHierarchicalKeyringInput(key_store=store, branch_key_id=key["name"], ttl_seconds=60)
    )


def keyring(key):
    if key["type"] == "hierarchy":
        return hierarchical(key)
    if key["type"] == "aes":
        wrapping = base64.b64decode(key["aes"])
        return providers.create_raw_aes_keyring(
            mpl.CreateRawAesKeyringInput(
                key_namespace=key["namespace"],
                key_name=key["name"],
                wrapping_key=wrapping,
                wrapping_alg=f"ALG_AES{len(wrapping) * 8}_GCM_IV12_TAG16",
            )
        )
    if key["type"] == "rsa":
        return providers.create_raw_rsa_keyring(
            mpl.CreateRawRsaKeyringInput(
                key_namespace=key["namespace"],
                key_name=key["name"],
                padding_scheme=PADDINGS[key["padding"]],
                public_key=pem("PUBLIC", key["public"]),
                private_key=pem("PRIVATE", key["private"]),
            )
        )
    if key["type"] == "ecdh":
        return providers.create_raw_ecdh_keyring(
            mpl.CreateRawEcdhKeyringInput(curve_spec="ECC_NIST_" + key["curve"], key_agreement_scheme=scheme(key))
        )
    if key["type"] == "kms-rsa":
        return asymmetric.rsa(providers, key, kms_client(key), pem)
    if key["type"] == "kms-ecdh":
        return asymmetric.ecdh(providers, key, kms_client(key))
    if key["type"] == "mrk":
        return providers.create_aws_kms_mrk_keyring(
            mpl.CreateAwsKmsMrkKeyringInput(kms_key_id=key["name"], kms_client=kms_client(key))
        )
    return providers.create_aws_kms_keyring(
        mpl.CreateAwsKmsKeyringInput(kms_key_id=key["name"], kms_client=kms_client(key))
    )


def scheme(key):
    """Gives the key agreement scheme of an ECDH key."""
    if key["schema"] == "static":
        return mpl.RawEcdhStaticConfigurationsRawPrivateKeyToStaticPublicKey(
            mpl.RawPrivateKeyToStaticPublicKeyInput(
                sender_static_private_key=pem("PRIVATE", key["private"]),
                recipient_public_key=base64.b64decode(key["public"]),
            )
        )
    if key["schema"] == "ephemeral":
        return mpl.RawEcdhStaticConfigurationsEphemeralPrivateKeyToStaticPublicKey(
            mpl.EphemeralPrivateKeyToStaticPublicKeyInput(recipient_public_key=base64.b64decode(key["public"]))
        )
    return mpl.RawEcdhStaticConfigurationsPublicKeyDiscovery(
        mpl.PublicKeyDiscoveryInput(recipient_static_private_key=pem("PRIVATE", key["private"]))
    )


def writer(case):
    first, *rest = [keyring(key) for key in case["keys"]]
    if not rest:
        return first
    return providers.create_multi_keyring(mpl.CreateMultiKeyringInput(generator=first, child_keyrings=rest))


def reader(case):
    key = case.get("readWith") or case["keys"][case["reader"]]
    if not case.get("discovery"):
        return keyring(key)
    _, partition, _, _, account, _ = key["name"].split(":")
    options = {
        "kms_client": kms_client(key),
        "discovery_filter": mpl.DiscoveryFilter(account_ids=[account], partition=partition),
    }
    if key["type"] == "mrk":
        return providers.create_aws_kms_mrk_discovery_keyring(
            mpl.CreateAwsKmsMrkDiscoveryKeyringInput(region=region(key), **options)
        )
    return providers.create_aws_kms_discovery_keyring(mpl.CreateAwsKmsDiscoveryKeyringInput(**options))


def materials(case, ring):
    """Gives the argument that names the keys: of required pairs only a manager knows."""
    if not case.get("required"):
        return {"keyring": ring}
    default = providers.create_default_cryptographic_materials_manager(
        mpl.CreateDefaultCryptographicMaterialsManagerInput(keyring=ring)
    )
    manager = providers.create_required_encryption_context_cmm(
        mpl.CreateRequiredEncryptionContextCMMInput(
            underlying_cmm=default, required_encryption_context_keys=case["required"]
        )
    )
    return {"materials_manager": manager}


def plaintext(length):
    return bytes((i * 7 + (i >> 8) * 13 + (i >> 16)) & 255 for i in range(length))


def client(case):
    return REQUIRING if case["suite"] in ("0478", "0578") else REFUSING


def encrypt(case):
    message, _ = client(case).encrypt(
        source=plaintext(case["length"]),
        encryption_context=case.get("context", {}),
        algorithm=AlgorithmSuite.get_by_id(int(case["suite"], 16)),
        frame_length=case["frameLength"],
        **materials(case, writer(case)),
    )
    return {"message": base64.b64encode(message).decode()}


def decrypt(case):
    given = {key: case["context"][key] for key in case.get("required", [])}
    result, header = client(case).decrypt(
        source=base64.b64decode(case["message"]), encryption_context=given, **materials(case, reader(case))
    )
    found = {**header.encryption_context, **given}
    return {"sha256": hashlib.sha256(result).hexdigest(), "context": found}


def main(cases, results):
    with open(cases, encoding="utf-8") as lines, open(results, "w", encoding="utf-8") as out:
        for line in lines:
            case = json.loads(line)
            result = {"id": case["id"]}
            for name, action in (("encrypt", encrypt), ("decrypt", decrypt)):
                if name == "encrypt" and case.get("altered"):
                    continue
                try:
                    result |= action(case)
                except Exception as error:  # whatever it is, it belongs into the table
                    result[name + "Error"] = f"{type(error).__name__}: {error}"
            out.write(json.dumps(result) + "\n")


main(*sys.argv[1:])
