"""The other side: simulated partner systems on loopback, for the demo, the tests and the chaos test.

They keep what they were sent in one file, so that the truth about "one contact per message" lies outside the
hub: ``Ledger`` counts attempts and refuses other bytes under a known message id.
"""

from hub_embedded.partner_simulators.behaviour import Behaviour, Mode
from hub_embedded.partner_simulators.ledger import Contact, Counts, Ledger
from hub_embedded.partner_simulators.systems import Tenancy, liquidlogic, mosaic, simulators

__all__ = [
    "Behaviour",
    "Contact",
    "Counts",
    "Ledger",
    "Mode",
    "Tenancy",
    "liquidlogic",
    "mosaic",
    "simulators",
]
