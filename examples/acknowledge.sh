#!/usr/bin/env bash
# Answer a contact: HUB_URL=... HUB_TOKEN=... acknowledge.sh MESSAGE_ID answer.json
# Prints nothing when the hub has it. Exit code 22: refused, and what is printed is the problem. Safe to run again.
set -euo pipefail
message_id=$1 answer=$2

printf 'Authorization: Bearer %s\n' "$HUB_TOKEN" | curl --silent --show-error --fail-with-body \
  --retry 5 --retry-connrefused --max-time 60 \
  --header @- --header 'Content-Type: application/json' \
  --data-binary "@$answer" "$HUB_URL/v1/acknowledgements/$message_id"
