"""Create the relay's table: how far this service's log is published on Kafka."""

from hub_kernel.migrating import create_relay

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create it."""
    create_relay("triage")
