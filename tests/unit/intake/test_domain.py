from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from hub_intake.commands import (
    AddInformation,
    AmendReferral,
    IntakeCommand,
    SubmitReferral,
    WithdrawReferral,
)
from hub_intake.domain import (
    DECIDER,
    InformationDiffers,
    ReferralAlreadyWithdrawn,
    ReferralDiffers,
    ReferralUnknown,
    VersionSuperseded,
)
from hub_kernel.errors import HubError
from hub_schemas.intake import (
    Document,
    Information,
    InformationAdded,
    IntakeFact,
    Reason,
    ReferralAmended,
    ReferralReceived,
    ReferralSummary,
    ReferralWithdrawn,
    RiskIndicators,
    WithdrawalReason,
)

ID = UUID("01890000-0000-7000-8000-000000000001")
INFORMATION_ID = UUID("01890000-0000-7000-8000-000000000002")
NOW = datetime(2026, 3, 7, 1, 16, tzinfo=UTC)
SUBMITTED = datetime(2026, 3, 7, 1, 15, tzinfo=UTC)
DOCUMENT = Document(document=msgspec.Raw(b'{"document_version":1}'))
INFORMATION = Information(text="The school rang", reported_by="Duty desk")
RISK = RiskIndicators(currently_missing=True)


def summary(version: int = 1, content: str = "aa", system: str = "west-mercia-rms") -> ReferralSummary:
    return ReferralSummary(
        source_system=system,
        source_version=version,
        content_hash=content,
        document_version=1,
        force="west-mercia",
        authority="884",
        referral_type="child",
        incident_at=None,
        submitted_at=SUBMITTED,
        subjects=(),
    )


def submit(version: int = 1, content: str = "aa") -> SubmitReferral:
    return SubmitReferral(
        referral_id=ID, received_at=NOW, summary=summary(version, content), document=DOCUMENT
    )


def amend(version: int, content: str, system: str = "west-mercia-rms") -> AmendReferral:
    return AmendReferral(
        referral_id=ID, amended_at=NOW, summary=summary(version, content, system), document=DOCUMENT
    )


def inform(content: str = "cc", system: str = "west-mercia-rms") -> AddInformation:
    return AddInformation(
        referral_id=ID,
        source_system=system,
        information_id=INFORMATION_ID,
        added_at=NOW,
        content_hash=content,
        risk=RISK,
        information=INFORMATION,
    )


def withdraw(
    reason_code: WithdrawalReason = "duplicate", reason: Reason | None = None, system: str = "west-mercia-rms"
) -> WithdrawReferral:
    return WithdrawReferral(
        referral_id=ID, source_system=system, withdrawn_at=NOW, reason_code=reason_code, reason=reason
    )


RECEIVED = ReferralReceived(referral_id=ID, received_at=NOW, summary=summary(), sealed=DOCUMENT)
AMENDED = ReferralAmended(referral_id=ID, amended_at=NOW, summary=summary(2, "bb"), sealed=DOCUMENT)
INFORMED = InformationAdded(
    referral_id=ID, information_id=INFORMATION_ID, added_at=NOW, content_hash="cc", risk=RISK,
    sealed=INFORMATION,
)  # fmt: skip
WITHDRAWN = ReferralWithdrawn(referral_id=ID, withdrawn_at=NOW, reason_code="duplicate")

Given = tuple[IntakeFact, ...]
OPEN: Given = (RECEIVED,)
LATER: Given = (RECEIVED, AMENDED, INFORMED)
GONE: Given = (*LATER, WITHDRAWN)


def when(given: Given, command: IntakeCommand) -> Given:
    return tuple(DECIDER.decide(command, DECIDER.fold(given)))


@pytest.mark.parametrize(
    ("given", "command", "then"),
    [
        pytest.param((), submit(), (RECEIVED,), id="a new referral is received"),
        pytest.param(OPEN, submit(), (), id="a repeated post changes nothing"),
        pytest.param(LATER, submit(), (), id="a late repeat of the first post changes nothing"),
        pytest.param(GONE, submit(), (), id="a repeated post after withdrawal changes nothing"),
        pytest.param(OPEN, amend(2, "bb"), (AMENDED,), id="a later version amends"),
        pytest.param(LATER, amend(2, "bb"), (), id="a repeated amendment changes nothing"),
        pytest.param(GONE, amend(2, "bb"), (), id="a repeated amendment after withdrawal too"),
        pytest.param(OPEN, amend(1, "aa"), (), id="amending to what is held changes nothing"),
        pytest.param(OPEN, inform(), (INFORMED,), id="information is added"),
        pytest.param(LATER, inform(), (), id="repeated information changes nothing"),
        pytest.param(GONE, inform(), (), id="repeated information after withdrawal too"),
        pytest.param(OPEN, withdraw(), (WITHDRAWN,), id="a referral is withdrawn"),
        pytest.param(
            OPEN,
            withdraw("other", Reason(text="Sent to the wrong force")),
            (
                ReferralWithdrawn(
                    referral_id=ID,
                    withdrawn_at=NOW,
                    reason_code="other",
                    sealed=Reason(text="Sent to the wrong force"),
                ),
            ),
            id="a withdrawal keeps its words sealed",
        ),
        pytest.param(GONE, withdraw(), (), id="a repeated withdrawal changes nothing"),
    ],
)
def test_given_facts_a_command_leads_to_facts(given: Given, command: IntakeCommand, then: Given) -> None:
    assert when(given, command) == then


@pytest.mark.parametrize(
    ("given", "command", "error"),
    [
        pytest.param(OPEN, submit(1, "xx"), ReferralDiffers, id="same version, other content"),
        pytest.param(OPEN, submit(2, "bb"), ReferralDiffers, id="a later version must be an amendment"),
        pytest.param(GONE, submit(1, "xx"), ReferralDiffers, id="other content after withdrawal"),
        pytest.param((), amend(2, "bb"), ReferralUnknown, id="nothing to amend"),
        pytest.param(OPEN, amend(1, "xx"), ReferralDiffers, id="amended without a higher version"),
        pytest.param(LATER, amend(1, "xx"), VersionSuperseded, id="a version lower than the last"),
        pytest.param(OPEN, amend(2, "bb", "other-rms"), ReferralUnknown, id="another system amends"),
        pytest.param(GONE, amend(3, "dd"), ReferralAlreadyWithdrawn, id="amended after withdrawal"),
        pytest.param((), inform(), ReferralUnknown, id="nothing to add to"),
        pytest.param(LATER, inform("xx"), InformationDiffers, id="same information id, other content"),
        pytest.param(OPEN, inform("cc", "other-rms"), ReferralUnknown, id="another system informs"),
        pytest.param((*OPEN, WITHDRAWN), inform(), ReferralAlreadyWithdrawn, id="informed after withdrawal"),
        pytest.param((), withdraw(), ReferralUnknown, id="nothing to withdraw"),
        pytest.param(OPEN, withdraw(system="other-rms"), ReferralUnknown, id="another system withdraws"),
        pytest.param(GONE, withdraw("other"), ReferralAlreadyWithdrawn, id="withdrawn for another reason"),
    ],
)
def test_given_facts_a_command_is_refused(
    given: Given, command: IntakeCommand, error: type[HubError]
) -> None:
    with pytest.raises(error):
        when(given, command)


def test_the_refusal_of_changed_content_says_how_to_amend() -> None:
    assert ReferralDiffers().detail == (
        "This record was already received with other content. To change it, raise source.version and post "
        "the whole document to /v1/referrals/{id}/amendments."
    )
