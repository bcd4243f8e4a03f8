"""Component tests may use the two tiny services beside the real ones."""

from tests.component.ledger_service.fixtures import (
    clock,
    ledger,
    ledger_database,
    ledger_dsn,
    owner,
    reader_pool,
)

__all__ = ["clock", "ledger", "ledger_database", "ledger_dsn", "owner", "reader_pool"]
