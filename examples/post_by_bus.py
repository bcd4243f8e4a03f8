"""Post by bus: python post_by_bus.py RECORD_KEY body.json [KIND REFERRAL_ID]. Prints the message's id.

RECORD_KEY is your system's own opaque key of the record, never an occurrence number: keys are readable.
KIND is submitted (the default), amended, informed or withdrawn. read_replies.py hears the answer.
"""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from uuid import uuid4

from confluent_kafka import Producer
from hub_kafka import PREFIX, settings


def main(record_key: str, body: Path, kind: str = "submitted", referral_id: str | None = None) -> None:
    """Note the message, then send it, so that no reply finds it unknown."""
    message_id = str(uuid4())
    with closing(sqlite3.connect("posted.db")) as posted, posted:
        posted.execute("CREATE TABLE IF NOT EXISTS posted (message_id TEXT PRIMARY KEY, outcome TEXT)")
        posted.execute("INSERT INTO posted (message_id) VALUES (?)", (message_id,))
    headers = {
        "authorization": f"Bearer {os.environ['HUB_TOKEN']}",
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": message_id,
        "ce_source": "/west-mercia-rms",
        "ce_type": f"referral-hub.referral.{kind}.v1",
        **({"ce_subject": referral_id} if referral_id else {}),
    }
    failures = []
    producer = Producer(
        settings()
        | {"enable.idempotence": True, "message.max.bytes": 8_000_000, "delivery.timeout.ms": 60_000}
    )
    producer.produce(
        f"{PREFIX}referrals.inbound.v1",
        body.read_bytes(),
        key=record_key,
        headers=list(headers.items()),
        on_delivery=lambda error, _: failures.append(error) if error else None,
    )
    if producer.flush(90) or failures:
        sys.exit(f"{message_id} may not have been sent: post it again, which does no harm. {failures}")
    print(message_id)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
