#!/usr/bin/env bash
# Runs the tests of the KMS providers against moto's server instead of
# kms/kmstest. Arguments go to go test, such as -v. Needs Python 3 with venv.
set -euo pipefail
cd "$(dirname "$0")"

version=5.2.5
venv=.venv-moto
if ! "$venv/bin/pip" freeze 2>/dev/null | grep -qx "moto==$version"; then
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet "moto[server]==$version"
fi

port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$venv/server.log" 2>&1 &
server=$!
trap 'kill "$server"; wait "$server" 2>/dev/null || true' EXIT
for _ in $(seq 150); do
	(: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && ready=yes && break
	kill -0 "$server" 2>/dev/null || break
	sleep 0.2
done
if [ -z "${ready:-}" ]; then
	cat "$venv/server.log" >&2
	trap - EXIT
	kill "$server" 2>/dev/null || true
	exit 1
fi

cd ../..
# README.md says why some are left out.
AWS_ENDPOINT_URL_KMS="http://127.0.0.1:$port" AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=moto AWS_SECRET_ACCESS_KEY=moto \
	AWS_SESSION_TOKEN='' AWS_PROFILE='' AWS_EC2_METADATA_DISABLED=true \
	go test -count=1 -run '^TestProvider' -skip 'Replica|DisabledKey' "$@" ./kms
