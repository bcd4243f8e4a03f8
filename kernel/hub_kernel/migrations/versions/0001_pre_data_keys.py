"""Create the data keys."""

from hub_kernel.migrating import create_keyring

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the table and its functions."""
    create_keyring()
