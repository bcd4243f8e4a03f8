"""Take one agency's contacts from its topic: python consume_county.py 884 childrens_services."""

import os
import sqlite3
import sys
from contextlib import closing

from hub_kafka import read

TABLE = "CREATE TABLE IF NOT EXISTS contacts (message_id TEXT PRIMARY KEY, type TEXT, body BLOB)"


def main(authority: str, agency: str) -> None:
    """Store each contact once. Only what is stored is read for good."""
    os.umask(0o077)  # what is stored here tells of children and adults at risk
    name = f"partner.{authority}.{agency}"
    with closing(sqlite3.connect("contacts.db")) as contacts:
        contacts.execute(TABLE)
        for headers, value in read(f"{name}.v1", f"{name}.contacts"):
            with contacts:
                stored = contacts.execute(
                    "INSERT OR IGNORE INTO contacts VALUES (?, ?, ?)",
                    (headers["ce_id"], headers["ce_type"], value),
                )
            print("stored" if stored.rowcount else "seen before", headers["ce_id"], flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
