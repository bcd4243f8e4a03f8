"""Create the relay's table."""

from hub_kernel.migrating import create_relay

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create it."""
    create_relay("ledger")
