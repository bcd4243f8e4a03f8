"""Take one agency's contacts over HTTP: PORT=... PARTNER_TOKEN=... python receive_contacts.py.

It speaks plain HTTP: put it behind whatever ends TLS for you.
"""

import hmac
import json
import os
import sqlite3
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

TABLE = "CREATE TABLE IF NOT EXISTS contacts (message_id TEXT PRIMARY KEY, body BLOB)"
FIND = "SELECT 1 FROM contacts WHERE message_id = ?"


class Contacts(BaseHTTPRequestHandler):
    """POST /contacts stores a contact; GET /contacts/{message_id} says whether it is here."""

    def do_POST(self) -> None:
        """Store it, then answer. The hub may send the same contact again: one is kept."""
        if self.is_the_hub():
            body = self.rfile.read(int(self.headers["Content-Length"]))
            message_id = str(UUID(self.headers["Message-Id"]))
            with closing(sqlite3.connect("received.db")) as contacts, contacts:
                contacts.execute("INSERT OR IGNORE INTO contacts VALUES (?, ?)", (message_id, body))
            self.answer(201, {"status": "pending"})

    def do_GET(self) -> None:
        """404 tells the hub to send it again, so never say it of a contact that is stored."""
        if self.is_the_hub():
            message_id = self.path.removeprefix("/contacts/")
            with closing(sqlite3.connect("received.db")) as contacts:
                found = contacts.execute(FIND, (message_id,)).fetchone()
            self.answer(200 if found else 404, {"status": "pending"} if found else {})

    def is_the_hub(self) -> bool:
        """Whether the caller has the token that was agreed; if not, it is answered here."""
        wanted = f"Bearer {os.environ['PARTNER_TOKEN']}"
        is_known = hmac.compare_digest(self.headers.get("Authorization", ""), wanted)
        if not is_known:
            self.answer(401, {})
        return is_known

    def answer(self, status: int, body: dict[str, str]) -> None:
        """Answer with JSON."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


if __name__ == "__main__":
    os.umask(0o077)
    with closing(sqlite3.connect("received.db")) as store:
        store.execute(TABLE)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Contacts).serve_forever()
