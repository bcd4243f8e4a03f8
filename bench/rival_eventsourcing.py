"""The rival: the ``eventsourcing`` library's PostgreSQL application, one event a save."""

import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event


class Referral(Aggregate):
    """An aggregate with one event of our body's size."""

    @event("Received")
    def __init__(self, body: str) -> None:
        self.body = body


def application(dsn: str) -> Application[Any]:
    """Its application on this database, as its documentation sets it up."""
    parts = urlsplit(dsn)
    return Application(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": parts.path.lstrip("/"),
            "POSTGRES_HOST": parse_qs(parts.query)["host"][0],
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": parts.username or "",
            "POSTGRES_PASSWORD": "unused-over-the-socket",
            "POSTGRES_POOL_SIZE": "8",
            "POSTGRES_MAX_OVERFLOW": "8",
        }
    )


def append_rate(dsn: str, body: str, *, threads: int, seconds: float) -> float:
    """Events a second when ``threads`` threads each save one-event aggregates for so long."""
    app = application(dsn)
    counts = [0] * threads
    end = time.monotonic() + seconds

    def work(n: int) -> None:
        while time.monotonic() < end:
            app.save(Referral(body))
            counts[n] += 1

    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    started = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    elapsed = time.monotonic() - started
    app.close()
    return sum(counts) / elapsed


def fill(dsn: str, body: str, count: int) -> None:
    """Put ``count`` events into its log, many a save."""
    app = application(dsn)
    for start in range(0, count, 200):
        app.save(*(Referral(body) for _ in range(min(200, count - start))))
    app.close()


def replay_rate(dsn: str, count: int) -> float:
    """Events a second when its whole log is read and decoded to its domain events."""
    app = application(dsn)
    started = time.monotonic()
    start, seen = 1, 0
    while seen < count:
        notifications = app.recorder.select_notifications(start=start, limit=1_000)
        if not notifications:
            break
        for notification in notifications:
            app.mapper.to_domain_event(notification)
        seen += len(notifications)
        start = notifications[-1].id + 1
    elapsed = time.monotonic() - started
    app.close()
    return seen / elapsed
