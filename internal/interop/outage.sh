#!/usr/bin/env bash
# Stops one of two moto servers, which are two Regions of AWS KMS, while messages are
# encrypted and decrypted. Arguments go to go test, such as -v. Needs Python 3 with venv.
set -euo pipefail
cd "$(dirname "$0")"

if [ -z "${OUTAGE_INSIDE:-}" ]; then
	OUTAGE_INSIDE=first exec ./with-moto ./outage.sh "$@"
elif [ "$OUTAGE_INSIDE" = first ]; then
	OUTAGE_INSIDE=second OUTAGE_PID=$MOTO_PID OUTAGE_ENDPOINT=$AWS_ENDPOINT_URL_KMS exec ./with-moto ./outage.sh "$@"
fi
go test -count=1 "$@" ./outage
