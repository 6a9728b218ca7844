#!/usr/bin/env bash
# Runs the tests of the branch key store against moto's server and DynamoDB Local
# instead of the fake in its tests. Arguments go to go test, such as -v. Needs
# Python 3 with venv, a JDK and Maven.
set -euo pipefail
cd "$(dirname "$0")/../.."

# README.md says what moto does not do.
echo "== moto"
internal/interop/with-moto go test -count=1 "$@" ./kms/keystore
echo "== DynamoDB Local"
internal/interop/with-dynamodb-local go test -count=1 "$@" ./kms/keystore
