"""How codes, instants and durations read in plain English."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from hub_oversight.views.delivery import Fallback
from hub_oversight.views.referral import Stage
from hub_schemas.codes import AUTHORITY_NAMES, AgeBand, Agency, Authority, CalendarName, ReferralType

LONDON: Final = ZoneInfo("Europe/London")

SOURCES: Final[Mapping[str, str]] = {
    "intake": "Intake",
    "triage": "Triage",
    "partner_gateway": "Partner gateway",
}
REFERRAL_TYPES: Final[Mapping[ReferralType, str]] = {
    "domestic_abuse": "domestic abuse",
    "child": "child",
    "missing": "missing person",
    "adult": "adult at risk",
}
AGES: Final[Mapping[AgeBand, str]] = {
    "unborn": "unborn",
    "under_1": "under 1",
    "1_4": "1 to 4",
    "5_10": "5 to 10",
    "11_15": "11 to 15",
    "16_17": "16 to 17",
    "18_64": "18 to 64",
    "65_plus": "65 or over",
    "unknown": "of unknown age",
}
AGENCIES: Final[Mapping[Agency, str]] = {
    "childrens_services": "children's services",
    "adult_services": "adult services",
}
CALENDARS: Final[Mapping[CalendarName, str]] = {
    "round_the_clock": "round the clock",
    "hub_hours": "of hub hours",
}
STAGES: Final[Mapping[Stage, str]] = {
    "received": "Received",
    "graded": "Graded, awaiting decision",
    "not_shared": "Not shared",
    "shared": "Share decided",
    "delivering": "Being delivered",
    "acknowledged": "Acknowledged",
    "partly_acknowledged": "Partly acknowledged",
    "not_acknowledged": "Not acknowledged",
    "withdrawn": "Withdrawn",
}
FALLBACKS: Final[Mapping[Fallback, str]] = {
    "deadline": "it was not acknowledged in time",
    "rejected": "the contact was refused",
    "unroutable": "no way to send to them is set up",
    "withdrawn_after_send": "the referral was withdrawn after it was sent",
    "cannot_render": "it cannot be written in their format",
}

MINUTE: Final = 60
HOUR: Final = 3_600
DAY: Final = 86_400


def partner(authority: Authority, agency: Agency) -> str:
    """An agency with its county: "Shropshire children's services"."""
    return f"{AUTHORITY_NAMES[authority]} {AGENCIES[agency]}"


def moment(instant: datetime) -> str:
    """An instant in the time people here live by: "11 Mar 2026 at 09:05"."""
    local = instant.astimezone(LONDON)
    return f"{local.day} {local:%b %Y} at {local:%H:%M}"


def moment_exactly(instant: datetime) -> str:
    """An instant to the second: "11 Mar 2026 at 09:05:07"."""
    return f"{moment(instant)}:{instant:%S}"


def duration(seconds: float) -> str:
    """A length of time in its two largest units: "40 ms", "3.2 s", "3 h 12 min", "2 days 4 h"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min"
    large, unit, small_seconds, small = (
        (HOUR, "h", MINUTE, "min") if seconds < DAY else (DAY, "days", HOUR, "h")
    )
    whole, rest = divmod(int(seconds), large)
    unit = "day" if unit == "days" and whole == 1 else unit
    return f"{whole} {unit} {rest // small_seconds} {small}" if rest >= small_seconds else f"{whole} {unit}"


def elapsed(seconds: float) -> str:
    """How long something has lasted so far, no finer than a second: "5 s", "3 h 12 min"."""
    return f"{int(seconds)} s" if seconds < MINUTE else duration(seconds)


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 subject", "3 subjects"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def people(number: int, youngest: AgeBand) -> str:
    """How many and how young: "1 person, 18 to 64", "2 people, ages not known"."""
    noun, age = ("person", "age") if number == 1 else ("people", "ages")
    if youngest == "unknown":
        return f"{number} {noun}, {age} not known"
    return (
        f"{number} {noun}, {AGES[youngest]}" if number == 1 else f"{number} {noun}, youngest {AGES[youngest]}"
    )


def listing(words: Iterable[str]) -> str:
    """Words as a sentence lists them: "a", "a and b", "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def plain(code: str) -> str:
    """A code word as words: "wrong_person" reads "wrong person"."""
    return code.replace("_", " ")
