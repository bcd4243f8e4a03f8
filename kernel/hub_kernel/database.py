"""Connections to PostgreSQL: one pool per owner of a schema, each under that owner's role."""

from typing import TypeAlias

import asyncpg

Connection: TypeAlias = asyncpg.Connection
"""A connection, free or in a transaction; asyncpg's own, or the pool's stand-in for it."""


async def open_pool(dsn: str, *, role: str | None, size: int, timeout_seconds: float = 10.0) -> asyncpg.Pool:
    """Open a pool whose sessions run as ``role`` (``None``: whoever the DSN logs in as).

    Statements are bounded by ``timeout_seconds`` on the client; an idle transaction ends after a minute on
    the server, so that a stuck reader cannot hold back vacuum or a lock for ever.
    """
    server_settings = {
        "application_name": role or "hub",
        "timezone": "UTC",
        "idle_in_transaction_session_timeout": "60s",
    }
    if role is not None:
        server_settings["role"] = role
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        command_timeout=timeout_seconds,
        timeout=timeout_seconds,
        server_settings=server_settings,
        reset=_nothing_to_reset,
    )


async def _nothing_to_reset(_connection: Connection) -> None:
    """Sessions change nothing outside a transaction (only SET LOCAL), so a release costs no round trip."""
