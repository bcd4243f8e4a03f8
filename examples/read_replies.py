"""Hear what became of what post_by_bus.py posted: python read_replies.py west-mercia-rms."""

import json
import sqlite3
import sys
from contextlib import closing

from hub_kafka import read


def main(system: str) -> None:
    """Note each reply to a message of ours. Replies to other systems' messages come here too."""
    with closing(sqlite3.connect("posted.db")) as posted:
        for _, value in read("referrals.replies.v1", f"records.{system}.replies"):
            reply = json.loads(value)
            # A reply may come twice, and a parked message may be taken in later: what is final stays.
            with posted:
                changed = posted.execute(
                    """UPDATE posted SET outcome = ? WHERE message_id = ?
                       AND (outcome IS NULL OR outcome NOT IN ('recorded', 'repeated'))""",
                    (reply["outcome"], reply["message_id"]),
                )
            if changed.rowcount:
                problem = reply.get("problem", {})
                print(
                    reply["message_id"],
                    reply["outcome"],
                    reply.get("referral_id", ""),
                    problem.get("type", ""),
                    problem.get("errors", ""),
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1])
