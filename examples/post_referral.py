"""Post a referral over HTTP: HUB_URL=... HUB_TOKEN=... python post_referral.py referral.json."""

import os
import sys
import time
from pathlib import Path

import httpx

PAUSES_SECONDS = (1, 2, 5, 10, 30)
TOO_MANY = httpx.codes.TOO_MANY_REQUESTS


def post(client: httpx.Client, document: bytes) -> httpx.Response:
    """Post until the hub says yes or no. Posting again does no harm: the same record is the same referral."""
    for pause in (*PAUSES_SECONDS, None):
        try:
            answer = client.post(
                "/v1/referrals", content=document, headers={"Content-Type": "application/json"}
            )
        except httpx.TransportError:
            answer = None
        if answer is not None and not answer.is_server_error and answer.status_code != TOO_MANY:
            return answer
        if pause is not None:
            time.sleep(pause)
    sys.exit("the hub is away; keep the referral and post it later")


def main(path: Path) -> None:
    """Post one document and say what became of it."""
    with httpx.Client(
        base_url=os.environ["HUB_URL"],
        headers={"Authorization": f"Bearer {os.environ['HUB_TOKEN']}"},
        timeout=30,
    ) as client:
        answer = post(client, path.read_bytes())
    said = answer.json()
    if not answer.is_success:
        # A problem names fields and never repeats what stood in them, so it may be logged.
        sys.exit(f"{answer.status_code} {said['type']}: {said['detail']} {said.get('errors', {})}")
    print(said["referral_id"], said["outcome"], "still missing:", *said.get("gaps", []))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
