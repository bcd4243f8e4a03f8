"""What each fact says on a timeline: one plain English sentence or two, from its open part alone."""

from functools import singledispatch

from hub_oversight.views.submission import youngest_of
from hub_oversight.views.wording import (
    AGES,
    CALENDARS,
    FALLBACKS,
    HOUR,
    REFERRAL_TYPES,
    count,
    duration,
    listing,
    moment,
    partner,
    plain,
)
from hub_schemas.codes import AUTHORITY_NAMES
from hub_schemas.facts import Fact
from hub_schemas.intake import (
    InformationAdded,
    ReferralAmended,
    ReferralReceived,
    ReferralSummary,
    ReferralWithdrawn,
    RiskIndicators,
)
from hub_schemas.partner_gateway import (
    Acknowledged,
    Attempted,
    AttemptFailed,
    Cancelled,
    DeliveryPlanned,
    Expired,
    HumanFallbackRaised,
    OutcomeRecorded,
    Rejected,
    Rendered,
    TransportAccepted,
)
from hub_schemas.triage import (
    AssessmentClosed,
    ClockBreached,
    ClockCancelled,
    ClockMet,
    ClockStarted,
    ClockWarned,
    NotShared,
    Recipient,
    Regraded,
    RiskGraded,
    ShareDecided,
)


@singledispatch
def sentence(fact: Fact) -> str:
    """What this fact says to a reader. Total over the facts of the three services; a test holds it so."""
    raise TypeError(f"no sentence for {type(fact).__name__}")


@sentence.register
def _received(fact: ReferralReceived) -> str:
    return f"Received from {fact.summary.source_system}: {_summarised(fact.summary)}"


@sentence.register
def _amended(fact: ReferralAmended) -> str:
    return f"Amended, version {fact.summary.source_version} of the record: {_summarised(fact.summary)}"


@sentence.register
def _informed(fact: InformationAdded) -> str:
    stated = [name for name in RiskIndicators.__struct_fields__ if getattr(fact.risk, name) is not None]
    about = f" It speaks of {listing(map(plain, stated))}." if stated else ""
    return f"More information was added.{about}"


@sentence.register
def _withdrawn(fact: ReferralWithdrawn) -> str:
    return f"Withdrawn by the records system: {plain(fact.reason_code)}."


@sentence.register
def _graded(fact: RiskGraded) -> str:
    rules = [rule.rule_id for rule in fact.matched_rules]
    by = f"by {'rule' if len(rules) == 1 else 'rules'} {listing(rules)}" if rules else "as no rule spoke"
    notes = (
        " A person must confirm it." if fact.needs_person else "",
        " The officer had graded otherwise." if fact.disagrees_with_officer else "",
        " A person's earlier grade stands." if fact.held_by_person else "",
    )
    return f"Graded {fact.risk_grade}, level of need {fact.level_of_need}, {by}.{''.join(notes)}"


@sentence.register
def _regraded(fact: Regraded) -> str:
    return (
        f"Regraded by a person to {fact.risk_grade}, level of need {fact.level_of_need},"
        f" from {fact.previous_risk_grade}, {fact.previous_level_of_need}."
    )


@sentence.register
def _clock_started(fact: ClockStarted) -> str:
    # A day of hub hours is not a day, so working time is told in hours.
    round_the_clock = fact.calendar == "round_the_clock"
    length = duration(fact.goal_seconds) if round_the_clock else f"{fact.goal_seconds // HOUR} h"
    allowance = f"{length} {CALENDARS[fact.calendar]}"
    again = " again" if fact.epoch > 1 else ""
    return f"The {fact.clock} clock started{again}: {allowance}, due {moment(fact.due_at)}."


@sentence.register
def _clock_warned(fact: ClockWarned) -> str:
    return f"Three quarters of the {fact.clock} time are used; it is due {moment(fact.due_at)}."


@sentence.register
def _clock_breached(fact: ClockBreached) -> str:
    late = " It was already late when the clock started." if fact.late_start else ""
    return f"The {fact.clock} deadline of {moment(fact.due_at)} was missed.{late}"


@sentence.register
def _clock_met(fact: ClockMet) -> str:
    if fact.in_time:
        return f"The {fact.clock} deadline was met."
    late_seconds = (fact.met_at - fact.due_at).total_seconds()
    return f"The {fact.clock} was done {duration(max(0.0, late_seconds))} late."


@sentence.register
def _clock_cancelled(fact: ClockCancelled) -> str:
    return f"The {fact.clock} clock was stopped: {plain(fact.reason)}."


@sentence.register
def _shared(fact: ShareDecided) -> str:
    by = f"by policy {fact.by_policy}" if fact.by_policy else "by a person"
    return f"Decided {by} to share with {_recipients(fact.recipients)}."


@sentence.register
def _not_shared(fact: NotShared) -> str:
    return f"Decided by a person not to share: {plain(fact.reason_code)}."


@sentence.register
def _closed(_fact: AssessmentClosed) -> str:
    return "The assessment was closed without a decision, as the referral was withdrawn."


@sentence.register
def _planned(fact: DeliveryPlanned) -> str:
    by = f", by {moment(fact.deadline_at)}" if fact.deadline_at else ""
    return f"A contact for {partner(fact.authority, fact.agency)} was planned{by}."


@sentence.register
def _rendered(fact: Rendered) -> str:
    lost = f" It cannot carry {count(len(fact.lost_fields), 'field')}." if fact.lost_fields else ""
    withheld = f" {count(len(fact.withheld_fields), 'field')} withheld." if fact.withheld_fields else ""
    return f"Written in the partner's format, {fact.package} version {fact.package_version}.{lost}{withheld}"


@sentence.register
def _attempted(fact: Attempted) -> str:
    return f"Sending, attempt {fact.attempt}."


@sentence.register
def _attempt_failed(fact: AttemptFailed) -> str:
    again = f"The next is due {moment(fact.retry_at)}." if fact.retry_at else "No other is planned."
    return f"Attempt {fact.attempt} failed: {plain(fact.reason)}. {again}"


@sentence.register
def _taken(fact: TransportAccepted) -> str:
    found = ", as the partner confirmed when asked" if fact.reconciled else ""
    return f"The partner's system took it in at attempt {fact.attempt}{found}."


@sentence.register
def _acknowledged(fact: Acknowledged) -> str:
    outcome = f" Outcome: {plain(fact.outcome)}." if fact.outcome else ""
    return f"{partner(fact.authority, fact.agency)} opened a contact.{outcome}"


@sentence.register
def _rejected(fact: Rejected) -> str:
    return f"{partner(fact.authority, fact.agency)} refused the contact: {plain(fact.reason_code)}."


@sentence.register
def _expired(fact: Expired) -> str:
    return f"The partner had not acknowledged it by {moment(fact.deadline_at)}; sending goes on."


@sentence.register
def _fallback(fact: HumanFallbackRaised) -> str:
    return f"A person must telephone {partner(fact.authority, fact.agency)}: {FALLBACKS[fact.reason]}."


@sentence.register
def _outcome(fact: OutcomeRecorded) -> str:
    return f"The partner reported an outcome: {plain(fact.outcome)}."


@sentence.register
def _cancelled(_fact: Cancelled) -> str:
    return "The delivery was cancelled, as the referral was withdrawn."


def _summarised(summary: ReferralSummary) -> str:
    """What a version of the referral is about: its type, how many people, how young, where, how complete."""
    gaps = f", {count(len(summary.gaps), 'gap')}" if summary.gaps else ""
    return (
        f"{REFERRAL_TYPES[summary.referral_type]}, {count(len(summary.subjects), 'subject')},"
        f" the youngest {AGES[youngest_of(summary)]}, {AUTHORITY_NAMES[summary.authority]};"
        f" {summary.completeness_percent}% complete{gaps}."
    )


def _recipients(recipients: tuple[Recipient, ...]) -> str:
    """Who is told, each agency once with the number of contacts it gets."""
    contacts: dict[str, int] = {}
    for recipient in recipients:
        name = partner(recipient.authority, recipient.agency)
        contacts[name] = contacts.get(name, 0) + 1
    if not contacts:
        return "nobody"
    return listing(f"{name} ({count(number, 'contact')})" for name, number in contacts.items())
