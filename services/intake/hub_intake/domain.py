"""The referral as intake knows it: what a records system sent, and what it may still change.

::

                SubmitReferral            AmendReferral, AddInformation
    NotReceived ──────────────▶ Open ──────────────────┐
                                 │ ▲                   │
                                 │ └───────────────────┘
                                 │ WithdrawReferral
                                 ▼
                             Withdrawn      (only exact repeats are still answered)

A repeat (same version or information id, same content hash) leads to no facts, in any state. One stream,
``referral-<referral_id>``.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, assert_never
from uuid import UUID

import msgspec

from hub_intake.commands import (
    AddInformation,
    AmendReferral,
    IntakeCommand,
    SubmitReferral,
    WithdrawReferral,
)
from hub_kernel.decider import Decider
from hub_kernel.errors import Conflict, NotFound, Rejected
from hub_schemas.intake import (
    InformationAdded,
    IntakeFact,
    ReferralAmended,
    ReferralReceived,
    ReferralSummary,
    ReferralWithdrawn,
    WithdrawalReason,
)


class ReferralDiffers(Conflict):
    """This record was already received with other content.

    To change it, raise source.version and post the whole document to /v1/referrals/{id}/amendments.
    """

    slug = "referral-differs"


class VersionSuperseded(Conflict):
    """A later version of this record is already held. Read the referral and send a higher source.version."""

    slug = "version-superseded"


class InformationDiffers(Conflict):
    """This information_id was already used for other content. Send new information under a new id."""

    slug = "information-differs"


class ReferralUnknown(NotFound):
    """There is no such referral, or this records system did not send it. Check the id."""

    slug = "referral-unknown"


class ReferralAlreadyWithdrawn(Rejected):
    """The referral was withdrawn and takes no further change. Send a new record as a new referral."""

    slug = "referral-already-withdrawn"


class ReferralState(msgspec.Struct, frozen=True, kw_only=True):
    """What later commands are judged by.

    ``versions`` maps each source version held to its content hash, ``information`` each id to its hash.
    """

    status: Literal["not_received", "open", "withdrawn"] = "not_received"
    source_system: str | None = None
    versions: Mapping[int, str] = msgspec.field(default_factory=dict)
    information: Mapping[UUID, str] = msgspec.field(default_factory=dict)
    withdrawn_because: WithdrawalReason | None = None


def decide(command: IntakeCommand, state: ReferralState) -> Sequence[IntakeFact]:
    """Say what a command leads to: one fact, or none for a repeat. Raises the errors of this module."""
    match command:
        case SubmitReferral():
            return _submit(command, state)
        case AmendReferral():
            return _amend(command, state)
        case AddInformation():
            return _add_information(command, state)
        case WithdrawReferral():
            return _withdraw(command, state)
        case _:
            assert_never(command)


def _submit(command: SubmitReferral, state: ReferralState) -> Sequence[IntakeFact]:
    if state.status == "not_received":
        return (
            ReferralReceived(
                referral_id=command.referral_id,
                received_at=command.received_at,
                summary=command.summary,
                sealed=command.document,
            ),
        )
    if _is_held(command.summary, state):
        return ()
    raise ReferralDiffers


def _amend(command: AmendReferral, state: ReferralState) -> Sequence[IntakeFact]:
    _require_sent_by(command.summary.source_system, state)
    if _is_held(command.summary, state):
        return ()
    _require_open(state)
    latest = max(state.versions)
    if command.summary.source_version == latest:
        raise ReferralDiffers
    if command.summary.source_version < latest:
        raise VersionSuperseded
    return (
        ReferralAmended(
            referral_id=command.referral_id,
            amended_at=command.amended_at,
            summary=command.summary,
            sealed=command.document,
        ),
    )


def _add_information(command: AddInformation, state: ReferralState) -> Sequence[IntakeFact]:
    _require_sent_by(command.source_system, state)
    held = state.information.get(command.information_id)
    if held == command.content_hash:
        return ()
    _require_open(state)
    if held is not None:
        raise InformationDiffers
    return (
        InformationAdded(
            referral_id=command.referral_id,
            information_id=command.information_id,
            added_at=command.added_at,
            content_hash=command.content_hash,
            risk=command.risk,
            sealed=command.information,
        ),
    )


def _withdraw(command: WithdrawReferral, state: ReferralState) -> Sequence[IntakeFact]:
    _require_sent_by(command.source_system, state)
    if state.status == "withdrawn" and command.reason_code == state.withdrawn_because:
        return ()
    _require_open(state)
    return (
        ReferralWithdrawn(
            referral_id=command.referral_id,
            withdrawn_at=command.withdrawn_at,
            reason_code=command.reason_code,
            sealed=msgspec.UNSET if command.reason is None else command.reason,
        ),
    )


def _is_held(summary: ReferralSummary, state: ReferralState) -> bool:
    """Whether exactly this version with exactly this content is already recorded."""
    return state.versions.get(summary.source_version) == summary.content_hash


def _require_sent_by(source_system: str, state: ReferralState) -> None:
    # Another system's referral and no referral answer alike, so that ids cannot be probed.
    if state.source_system != source_system:
        raise ReferralUnknown


def _require_open(state: ReferralState) -> None:
    if state.status == "withdrawn":
        raise ReferralAlreadyWithdrawn


def evolve(state: ReferralState, fact: IntakeFact) -> ReferralState:
    """Fold one fact into the state."""
    match fact:
        case ReferralReceived(summary=summary) | ReferralAmended(summary=summary):
            return msgspec.structs.replace(
                state,
                status="open",
                source_system=summary.source_system,
                versions={**state.versions, summary.source_version: summary.content_hash},
            )
        case InformationAdded(information_id=information_id, content_hash=content_hash):
            return msgspec.structs.replace(
                state, information={**state.information, information_id: content_hash}
            )
        case ReferralWithdrawn(reason_code=reason_code):
            return msgspec.structs.replace(state, status="withdrawn", withdrawn_because=reason_code)
        case _:
            assert_never(fact)


DECIDER: Decider[IntakeCommand, ReferralState, IntakeFact] = Decider(
    initial=ReferralState(), decide=decide, evolve=evolve
)
