"""The policies of triage: pure functions over versioned files (rules, clocks, calendars, sharing)."""

from dataclasses import dataclass
from typing import Self

from hub_triage.policies.calendars import load_calendars
from hub_triage.policies.clocks import ClockPolicy
from hub_triage.policies.grading import RuleSet
from hub_triage.policies.sharing import SharingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """Everything an assessment is decided by, loaded and checked once."""

    rules: RuleSet
    clocks: ClockPolicy
    sharing: SharingPolicy

    @classmethod
    def load(cls, *, risk_rules: bytes, clocks: bytes, calendars: bytes, sharing: bytes) -> Self:
        """Load the four files. Raises ``Malformed`` or ``msgspec.ValidationError``, naming the fault."""
        return cls(
            rules=RuleSet.load(risk_rules),
            clocks=ClockPolicy.load(clocks, load_calendars(calendars)),
            sharing=SharingPolicy.load(sharing),
        )
