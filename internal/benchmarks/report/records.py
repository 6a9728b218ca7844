"""Encrypts and decrypts batches of records for the part "records" of the report.

Each line of input is a batch to do, and each line of output what it cost. The keys
are a raw master key provider, which here is several times as fast as a raw AES
keyring of AWS's material providers library.
"""

import base64
import gc
import json
import os
import platform
import sys
import time
from importlib.metadata import version

from aws_encryption_sdk import EncryptionSDKClient
from aws_encryption_sdk.identifiers import AlgorithmSuite, EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider


class Keys(RawMasterKeyProvider):
    provider_id = "benchmarks"

    def _get_raw_key(self, key_id):
        return WrappingKey(
            wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
            wrapping_key=bytes([7]) * 32,
            wrapping_key_type=EncryptionKeyType.SYMMETRIC,
        )


pauses = []


def collector(phase, _):
    if phase == "start":
        pauses.append(-time.perf_counter())
    else:
        pauses[-1] += time.perf_counter()


def cost(work):
    """Does the work and gives what it returns, and what it cost."""
    gc.collect()
    pauses.clear()
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    return result, {
        "seconds": seconds,
        "collections": len(pauses),
        "longest": max(pauses, default=0),
        "pauses": sum(pauses),
    }


def batch(client, keys, job):
    records = [os.urandom(job["size"]) for _ in range(job["records"])]
    contexts = [job["contexts"][i % len(job["contexts"])] for i in range(len(records))]
    suite = AlgorithmSuite.get_by_id(job["suite"])

    def encrypt(record, context):
        return client.encrypt(
            source=record, key_provider=keys, encryption_context=context, algorithm=suite, frame_length=job["frameLength"]
        )[0]

    def decrypt(message, context):
        record, header = client.decrypt(source=message, key_provider=keys)
        stored = {k: v for k, v in header.encryption_context.items() if k != "aws-crypto-public-key"}
        if stored != context:
            raise ValueError(f"the encryption context is {stored}")
        return record

    messages, encrypting = cost(lambda: [encrypt(*r) for r in zip(records, contexts)])
    decrypted, decrypting = cost(lambda: [decrypt(*m) for m in zip(messages, contexts)])
    if decrypted != records:
        raise ValueError("records decrypted to others")
    return {
        "encrypt": encrypting,
        "decrypt": decrypting,
        "record": base64.b64encode(records[0]).decode(),
        "message": base64.b64encode(messages[0]).decode(),
    }


def main():
    client, keys = EncryptionSDKClient(), Keys()
    keys.add_master_key("key")
    gc.callbacks.append(collector)
    say({"version": f"aws-encryption-sdk {version('aws-encryption-sdk')}, Python {platform.python_version()}"})
    for line in sys.stdin:
        say(batch(client, keys, json.loads(line)))


def say(answer):
    print(json.dumps(answer), flush=True)


main()
