"""Component tests may use the two tiny services beside the real ones."""

from tests.component.ledger_service.fixtures import (
    clock,
    ledger,
    ledger_database,
    ledger_dsn,
    owner,
    reader_pool,
)
from tests.component.ledger_service.hearing import hearing, no_pauses

__all__ = ["clock", "hearing", "ledger", "ledger_database", "ledger_dsn", "no_pauses", "owner", "reader_pool"]
