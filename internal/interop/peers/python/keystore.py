"""Does operations of branch key stores, a JSON object a line; see ../../README.md."""

import base64
import json
import os
import sys

import boto3
from aws_cryptographic_material_providers.keystore import models
from aws_cryptographic_material_providers.keystore.client import KeyStore
from aws_cryptographic_material_providers.keystore.config import KeyStoreConfig


def configuration(asked):
    """Gives the KMS configuration: a key, a multi-Region key, or discovery."""
    return {
        "key": lambda: models.KMSConfigurationKmsKeyArn(value=asked["key"]),
        "multiRegionKey": lambda: models.KMSConfigurationKmsMRKeyArn(value=asked["key"]),
        "discovery": lambda: models.KMSConfigurationDiscovery(value=models.Discovery()),
        "multiRegionDiscovery": lambda: models.KMSConfigurationMrDiscovery(
            value=models.MRDiscovery(region=asked["region"])
        ),
    }[asked["kms"]]()


def store(asked):
    return KeyStore(
        config=KeyStoreConfig(
            ddb_table_name=asked["table"],
            logical_key_store_name=asked["logicalName"],
            kms_configuration=configuration(asked),
            ddb_client=boto3.client(
                "dynamodb", region_name="us-east-1", endpoint_url=os.environ["AWS_ENDPOINT_URL_DYNAMODB"]
            ),
            kms_client=boto3.client("kms", region_name=asked["region"], endpoint_url=asked["endpoint"]),
        )
    )


def text(pairs):
    """Gives pairs as strings, which the store takes and returns as bytes."""
    decoded = lambda s: s.decode() if isinstance(s, bytes) else s
    return {decoded(key): decoded(value) for key, value in pairs.items()}


def branch_key(materials):
    return {
        "id": materials.branch_key_identifier,
        "version": text({"v": materials.branch_key_version})["v"],
        "context": text(materials.encryption_context),
        "material": base64.b64encode(materials.branch_key).decode(),
    }


def answer(asked):
    s, name = store(asked), asked.get("id")
    if asked["op"] == "createTable":
        return {"table": s.create_key_store(models.CreateKeyStoreInput()).table_arn}
    if asked["op"] == "createKey":
        context = asked.get("context") or None
        made = s.create_key(models.CreateKeyInput(branch_key_identifier=name or None, encryption_context=context))
        return {"id": made.branch_key_identifier}
    if asked["op"] == "rotate":
        s.version_key(models.VersionKeyInput(branch_key_identifier=name))
        return {}
    if asked["op"] == "active":
        got = s.get_active_branch_key(models.GetActiveBranchKeyInput(branch_key_identifier=name))
        return branch_key(got.branch_key_materials)
    if asked["op"] == "version":
        got = s.get_branch_key_version(
            models.GetBranchKeyVersionInput(branch_key_identifier=name, branch_key_version=asked["version"])
        )
        return branch_key(got.branch_key_materials)
    beacon = s.get_beacon_key(models.GetBeaconKeyInput(branch_key_identifier=name)).beacon_key_materials
    return {
        "id": beacon.beacon_key_identifier,
        "context": text(beacon.encryption_context),
        "material": base64.b64encode(beacon.beacon_key).decode(),
    }


for line in sys.stdin:
    try:
        result = answer(json.loads(line))
    except Exception as error:  # whatever it is, the other side judges it
        result = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result), flush=True)
