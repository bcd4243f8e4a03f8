"""Create the event log, the access log and the consumer tables."""

from hub_kernel.migrating import create_logs

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    create_logs("ledger")
