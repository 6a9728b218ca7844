"""Reads cases, has the command line tool decrypt their messages and write its own; see ../../README.md.

The tool's own entry point is called in this process: a process for each
message would take most of the time to start.
"""

import base64
import hashlib
import json
import os
import pathlib
import sys
import tempfile

import interop_keys
from aws_encryption_sdk.identifiers import AlgorithmSuite
from aws_encryption_sdk_cli import cli


ENDPOINT = os.environ.get("AWS_ENDPOINT_URL_KMS")


def wrapping_keys(keys):
    """Gives the arguments for keys, one list for each run of keys of a provider."""
    interop_keys.current = {key["name"]: key for key in keys}
    lists = []
    for key in keys:
        provider = "aws-kms" if key["type"] in ("kms", "mrk") else "interop"
        if not lists or lists[-1][0] != f"provider={provider}":
            lists.append([f"provider={provider}"])
        lists[-1].append(f"key={key['name']}")
    return [argument for words in lists for argument in ("--wrapping-keys", *words)]


def discovery(key):
    _, partition, _, region, account, _ = key["name"].split(":")
    return [
        "--wrapping-keys",
        "provider=aws-kms",
        "discovery=true",
        f"discovery-partition={partition}",
        f"discovery-account={account}",
        f"region={region}",
    ]


def policy(case):
    commits = case["suite"] in ("0478", "0578")
    return "require-encrypt-require-decrypt" if commits else "forbid-encrypt-allow-decrypt"


def run(folder, case, arguments, data):
    """Runs the tool over data and gives what it wrote, and the record that it keeps."""
    endpoint = case["keys"][0].get("endpoint") or ENDPOINT
    if endpoint:
        os.environ["AWS_ENDPOINT_URL_KMS"] = endpoint
    source, target, record = folder / "in", folder / "out", folder / "metadata"
    for file in (target, record):
        file.unlink(missing_ok=True)
    source.write_bytes(data)
    problem = cli(
        [
            *arguments,
            *("--input", str(source), "--output", str(target), "--quiet"),
            *("--metadata-output", str(record), "--commitment-policy", policy(case)),
        ]
    )
    if problem:
        raise RuntimeError(problem)
    return target.read_bytes(), json.loads(record.read_text(encoding="utf-8"))


def plaintext(length):
    return bytes((i * 7 + (i >> 8) * 13 + (i >> 16)) & 255 for i in range(length))


def skipped(case):
    """Gives what the tool lacks for the case, if anything."""
    lacking = {"ecdh": "no ECDH", "kms-ecdh": "no ECDH", "kms-rsa": "no RSA keys of KMS", "hierarchy": "no hierarchical keys"}
    return next((lacking[key["type"]] for key in case["keys"] if key["type"] in lacking), None)


def encrypt(folder, case):
    if skipped(case):
        return {"encryptSkip": skipped(case)}
    if case.get("required"):
        return {"encryptSkip": "no required encryption context"}
    if "" in case.get("context", {}).values():
        return {"encryptSkip": "no syntax for empty values"}
    arguments = ["--encrypt", *wrapping_keys(case["keys"])]
    if case.get("context"):
        arguments += ["--encryption-context", *(f"{k}={v}" for k, v in case["context"].items())]
    arguments += ["--algorithm", AlgorithmSuite.get_by_id(int(case["suite"], 16)).name]
    arguments += ["--frame-length", str(case["frameLength"])]
    message, _ = run(folder, case, arguments, plaintext(case["length"]))
    return {"message": base64.b64encode(message).decode()}


def decrypt(folder, case):
    if skipped(case):
        return {"decryptSkip": skipped(case)}
    if case.get("required"):
        return {"decryptSkip": "no required encryption context"}
    key = case.get("readWith") or case["keys"][case["reader"]]
    keys = discovery(key) if case.get("discovery") else wrapping_keys([key])
    result, record = run(folder, case, ["--decrypt", *keys], base64.b64decode(case["message"]))
    return {"sha256": hashlib.sha256(result).hexdigest(), "context": record["header"]["encryption_context"]}


def main(cases, results):
    with tempfile.TemporaryDirectory() as name, open(cases, encoding="utf-8") as lines, open(
        results, "w", encoding="utf-8"
    ) as out:
        for line in lines:
            case = json.loads(line)
            result = {"id": case["id"]}
            for direction, action in (("encrypt", encrypt), ("decrypt", decrypt)):
                if direction == "encrypt" and case.get("altered"):
                    continue
                try:
                    result |= action(pathlib.Path(name), case)
                except (Exception, SystemExit) as error:  # whatever it is, it belongs into the table
                    result[direction + "Error"] = f"{type(error).__name__}: {error}"
            out.write(json.dumps(result) + "\n")


main(*sys.argv[1:])
