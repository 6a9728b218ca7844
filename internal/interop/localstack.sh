#!/usr/bin/env bash
# Runs the tests of the providers of asymmetric KMS keys against LocalStack's
# KMS instead of kms/kmstest. Arguments go to go test, such as -v. Needs Python 3
# with venv.
set -euo pipefail
cd "$(dirname "$0")/../.."

# README.md says why some are left out.
internal/interop/with-localstack go test -count=1 -run '^TestProvider(RSA|ECDH|Asymmetric)' \
	-skip 'RSAKeepsTheContract|OfAnotherKeyOrAlgorithm|WithTheOtherPartysKey|.*/RSAES_OAEP_SHA_1|.*/ECC_NIST_P521' "$@" ./kms
