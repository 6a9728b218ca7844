#!/usr/bin/env bash
# Runs the tests of the KMS providers against moto's server instead of
# kms/kmstest. Arguments go to go test, such as -v. Needs Python 3 with venv.
set -euo pipefail
cd "$(dirname "$0")/../.."

# README.md says why some are left out.
internal/interop/with-moto go test -count=1 -run '^TestProvider' -skip 'Replica|DisabledKey|RSA|ECDH|Asymmetric' "$@" ./kms
