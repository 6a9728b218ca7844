"""Reads cases, has an old Python SDK decrypt their messages and write its own; see ../../README.md.

Its keys are raw master keys, which every version has.
"""

import base64
import hashlib
import json
import sys

import aws_encryption_sdk
import interop_keys
from aws_encryption_sdk import identifiers

AlgorithmSuite = getattr(identifiers, "AlgorithmSuite", None) or identifiers.Algorithm
Policy = getattr(identifiers, "CommitmentPolicy", None)


def provider(keys):
    interop_keys.current = {key["name"]: key for key in keys}
    all_keys = interop_keys.Provider()
    for key in keys:
        all_keys.add_master_key(key["name"])
    return all_keys


def commits(case):
    return case["suite"] in ("0478", "0578")


def client(case):
    """Gives what has encrypt and decrypt: there are clients since there is commitment."""
    if Policy is None:
        return aws_encryption_sdk
    if commits(case) and hasattr(Policy, "REQUIRE_ENCRYPT_REQUIRE_DECRYPT"):
        return aws_encryption_sdk.EncryptionSDKClient(commitment_policy=Policy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    return aws_encryption_sdk.EncryptionSDKClient(commitment_policy=Policy.FORBID_ENCRYPT_ALLOW_DECRYPT)


def lacking(case, direction):
    """Gives what this version lacks for the case, if anything."""
    if any(key["type"] == "rsa" and key["padding"] not in interop_keys.PADDINGS for key in case["keys"]):
        return "no OAEP with this hash"
    if case.get("required"):
        return "no required encryption context"
    if commits(case) and Policy is None:
        return "no key commitment"
    if commits(case) and direction == "encrypt" and not hasattr(Policy, "REQUIRE_ENCRYPT_REQUIRE_DECRYPT"):
        return "reads key commitment only"
    return None


def plaintext(length):
    return bytes((i * 7 + (i >> 8) * 13 + (i >> 16)) & 255 for i in range(length))


def encrypt(case):
    message, _ = client(case).encrypt(
        source=plaintext(case["length"]),
        key_provider=provider(case["keys"]),
        encryption_context=case.get("context", {}),
        algorithm=AlgorithmSuite.get_by_id(int(case["suite"], 16)),
        frame_length=case["frameLength"],
    )
    return {"message": base64.b64encode(message).decode()}


def decrypt(case):
    key = case.get("readWith") or case["keys"][case["reader"]]
    result, header = client(case).decrypt(source=base64.b64decode(case["message"]), key_provider=provider([key]))
    return {"sha256": hashlib.sha256(result).hexdigest(), "context": header.encryption_context}


def main(cases, results):
    with open(cases, encoding="utf-8") as lines, open(results, "w", encoding="utf-8") as out:
        for line in lines:
            case = json.loads(line)
            result = {"id": case["id"]}
            for direction, action in (("encrypt", encrypt), ("decrypt", decrypt)):
                if direction == "encrypt" and case.get("altered"):
                    continue
                if lacking(case, direction):
                    result[direction + "Skip"] = lacking(case, direction)
                    continue
                try:
                    result.update(action(case))
                except Exception as error:  # whatever it is, it belongs into the table
                    result[direction + "Error"] = f"{type(error).__name__}: {error}"
            out.write(json.dumps(result) + "\n")


main(*sys.argv[1:])
