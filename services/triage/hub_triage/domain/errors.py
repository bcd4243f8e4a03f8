"""What an assessment refuses, and what to do about it."""

from hub_kernel.errors import NotFound, Rejected


class AssessmentNotFound(NotFound):
    """Triage holds no assessment of this referral. Check the id, or try again once it has been graded."""

    slug = "assessment-not-found"


class AlreadyDecided(Rejected):
    """This referral has been decided or withdrawn. Read the assessment; new facts reopen it by themselves."""

    slug = "already-decided"


class AlreadyShared(Rejected):
    """All these recipients have been told already. Name others, or leave it."""

    slug = "already-shared"


class RationaleMissing(Rejected):
    """A decision needs its reason in words. Send a rationale."""

    slug = "rationale-missing"


class RationaleTooShort(Rejected):
    """Lowering a grade needs a rationale of at least 20 characters. Say what was found, and send it again."""

    slug = "rationale-too-short"


class NoRecipients(Rejected):
    """There is nobody to tell a partner about. Name recipients, or decide not to share."""

    slug = "no-recipients"


class UnknownSubject(Rejected):
    """A recipient names a subject who is not in this referral. Take the subject ids from the assessment."""

    slug = "unknown-subject"
