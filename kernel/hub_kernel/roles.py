"""Names of the database roles that are no service's own; each service's is on its contents page."""

from typing import Final

BUS_ROLE: Final = "hub_bus"
"""May select from every event log and nothing else."""
KEYRING_ROLE: Final = "hub_keyring"
"""May reach the data keys and nothing else."""
