"""What the simulated partners were sent, in a file of their own that outlives them and the hub."""

import sqlite3
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

Decision = Literal["pending", "accepted", "rejected"]
Taken = Literal["new", "repeat", "mismatch"]

_TABLES = """
CREATE TABLE IF NOT EXISTS contacts (
    contact_id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenancy    TEXT NOT NULL,
    message_id TEXT NOT NULL,
    body_hash  TEXT NOT NULL,
    decision   TEXT NOT NULL DEFAULT 'pending',
    called_back INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenancy, message_id)
);
CREATE TABLE IF NOT EXISTS attempts (
    tenancy    TEXT NOT NULL,
    message_id TEXT NOT NULL,
    body_hash  TEXT NOT NULL,
    taken      TEXT NOT NULL
);
"""


class Contact(NamedTuple):
    """One contact in a partner's system."""

    contact_id: int
    tenancy: str
    message_id: str
    body_hash: str
    decision: Decision
    called_back: bool


class Counts(NamedTuple):
    """Totals over all partners: contacts held, attempts that arrived, and those with other bytes."""

    contacts: int
    attempts: int
    mismatches: int


class Ledger:
    """Contacts by message id. A write is done when the call returns, and survives a kill of the process."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        # A kill of the process loses nothing; only a loss of power could, and this is no real partner.
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(_TABLES)

    def take_in(self, tenancy: str, message_id: str, body: bytes) -> tuple[Contact, Taken]:
        """Keep what arrived: a new contact, the same again, or other bytes under a known id."""
        body_hash = sha256(body).hexdigest()
        self._db.execute("BEGIN IMMEDIATE")
        held = self.find(tenancy, message_id)
        taken: Taken = "new" if held is None else "repeat" if held.body_hash == body_hash else "mismatch"
        if held is None:
            self._db.execute(
                "INSERT INTO contacts (tenancy, message_id, body_hash) VALUES (?, ?, ?)",
                (tenancy, message_id, body_hash),
            )
        self._db.execute("INSERT INTO attempts VALUES (?, ?, ?, ?)", (tenancy, message_id, body_hash, taken))
        self._db.execute("COMMIT")
        contact = held or self.find(tenancy, message_id)
        if contact is None:
            raise RuntimeError("the ledger lost a contact it has just written")
        return contact, taken

    def find(self, tenancy: str, message_id: str) -> Contact | None:
        """The contact of one message, if it ever arrived."""
        row = self._db.execute(
            "SELECT * FROM contacts WHERE tenancy = ? AND message_id = ?", (tenancy, message_id)
        ).fetchone()
        return None if row is None else _contact(row)

    def decide(self, contact: Contact, decision: Decision) -> None:
        """Note what the partner decided."""
        self._db.execute(
            "UPDATE contacts SET decision = ? WHERE contact_id = ?", (decision, contact.contact_id)
        )

    def note_called_back(self, contact: Contact) -> None:
        """Note that the hub has taken the acknowledgement."""
        self._db.execute("UPDATE contacts SET called_back = 1 WHERE contact_id = ?", (contact.contact_id,))

    def unfinished(self, tenancy: str, *, calls_back: bool) -> list[Contact]:
        """Contacts a restarted partner has still to decide or, where it calls back, to acknowledge."""
        rows = self._db.execute(
            """SELECT * FROM contacts WHERE tenancy = ?
                  AND (decision = 'pending' OR (? AND called_back = 0))""",
            (tenancy, calls_back),
        ).fetchall()
        return [_contact(row) for row in rows]

    def contacts(self) -> list[Contact]:
        """Every contact, oldest first."""
        rows = self._db.execute("SELECT * FROM contacts ORDER BY contact_id").fetchall()
        return [_contact(row) for row in rows]

    def attempts(self, message_id: str) -> list[str]:
        """The hash of the bytes of every attempt of one message, in order of arrival."""
        rows = self._db.execute(
            "SELECT body_hash FROM attempts WHERE message_id = ? ORDER BY rowid", (message_id,)
        )
        return [row[0] for row in rows]

    def counts(self) -> Counts:
        """The totals."""
        row = self._db.execute(
            """SELECT (SELECT count(*) FROM contacts), count(*), count(*) FILTER (WHERE taken = 'mismatch')
                 FROM attempts"""
        ).fetchone()
        return Counts(*row)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _contact(row: tuple[Any, ...]) -> Contact:
    contact_id, tenancy, message_id, body_hash, decision, called_back = row
    return Contact(contact_id, tenancy, message_id, body_hash, decision, bool(called_back))
