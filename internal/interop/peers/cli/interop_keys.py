"""Raw keys for the command line tool, which has none of its own but plug-ins."""

import base64

from aws_encryption_sdk.identifiers import EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider

try:
    from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
except ImportError:  # version 1.2
    from aws_encryption_sdk.internal.crypto import WrappingKey

current = {}  # the raw keys of the case at hand, by name

PADDINGS = {
    "PKCS1-v1_5": WrappingAlgorithm.RSA_PKCS1,
    "OAEP-SHA1": WrappingAlgorithm.RSA_OAEP_SHA1_MGF1,
    "OAEP-SHA256": WrappingAlgorithm.RSA_OAEP_SHA256_MGF1,
}
for size in (384, 512):  # which version 1.2 does not have
    if hasattr(WrappingAlgorithm, f"RSA_OAEP_SHA{size}_MGF1"):
        PADDINGS[f"OAEP-SHA{size}"] = WrappingAlgorithm[f"RSA_OAEP_SHA{size}_MGF1"]


def pem(der):
    body = [der[i : i + 64] for i in range(0, len(der), 64)]
    return "\n".join(["-----BEGIN PRIVATE KEY-----", *body, "-----END PRIVATE KEY-----", ""]).encode()


class Provider(RawMasterKeyProvider):
    provider_id = "esdk interop"

    def _get_raw_key(self, key_id):
        key = current[key_id.decode() if isinstance(key_id, bytes) else key_id]
        if key["type"] == "rsa":
            return WrappingKey(
                wrapping_algorithm=PADDINGS[key["padding"]],
                wrapping_key=pem(key["private"]),
                wrapping_key_type=EncryptionKeyType.PRIVATE,
            )
        wrapping = base64.b64decode(key["aes"])
        return WrappingKey(
            wrapping_algorithm=WrappingAlgorithm[f"AES_{len(wrapping) * 8}_GCM_IV12_TAG16_NO_PADDING"],
            wrapping_key=wrapping,
            wrapping_key_type=EncryptionKeyType.SYMMETRIC,
        )


def provider(key_ids):
    """Gives the tool a provider; it adds the keys itself."""
    return Provider()
