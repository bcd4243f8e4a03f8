"""What a consumer makes of an error: may it pass, is a part away, and the word an operator reads."""

from typing import Final

import asyncpg

from hub_kernel.errors import BUS_VERDICT, HubError, Unavailable, kind_of

OUTAGE: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
"""What is raised when a database or another part does not answer."""


def may_pass(error: Exception) -> bool:
    """Whether the same event may succeed later without anybody changing anything."""
    if isinstance(error, HubError):
        return BUS_VERDICT[kind_of(error)] == "retry"
    return isinstance(error, asyncpg.TransactionRollbackError) or dependency_away(error)


def dependency_away(error: Exception) -> bool:
    """Whether a part we need does not answer; if so, other events are likely to meet the same.

    A conflict or a deadlock passes too, but it is about one record: it says nothing of the others.
    """
    # asyncpg calls an argument of the wrong kind an InterfaceError too; that will never pass.
    outage = isinstance(error, OUTAGE) and not isinstance(error, ValueError)
    return isinstance(error, Unavailable) or outage


def reason_of(error: Exception) -> str:
    """A word for the operator that cannot hold anything of the record: a slug or the error's class."""
    return error.slug if isinstance(error, HubError) else type(error).__name__
