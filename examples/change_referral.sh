#!/usr/bin/env bash
# Change a referral over HTTP: HUB_URL=... HUB_TOKEN=... change_referral.sh REFERRAL_ID KIND body.json
# KIND is amendments (the whole document, source.version raised), information or withdrawal. Safe to run again.
set -euo pipefail
referral_id=$1 kind=$2 body=$3

printf 'Authorization: Bearer %s\n' "$HUB_TOKEN" | curl --silent --show-error --fail-with-body \
  --retry 5 --retry-connrefused --max-time 60 \
  --header @- --header 'Content-Type: application/json' \
  --data-binary "@$body" "$HUB_URL/v1/referrals/$referral_id/$kind"
echo
