#!/usr/bin/env bash
# Post a referral over HTTP: HUB_URL=... HUB_TOKEN=... post_referral.sh referral.json
# Prints the receipt. Exit code 22: refused, and what is printed is the problem. Safe to run again.
set -euo pipefail
document=$1

# The token goes in by standard input: what stands on a command line, every user of the machine can read.
printf 'Authorization: Bearer %s\n' "$HUB_TOKEN" | curl --silent --show-error --fail-with-body \
  --retry 5 --retry-connrefused --max-time 60 \
  --header @- --header 'Content-Type: application/json' \
  --data-binary "@$document" "$HUB_URL/v1/referrals"
echo
