"""The people in a referral: those it is about, and those around them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hub_schemas.codes import Authority, SubjectKind
from hub_schemas.referral_codes import (
    DfeEthnicity,
    DisabilityCode,
    Gender,
    PoliceEthnicity,
    Sex,
    UpnUnknown,
)
from hub_schemas.referral_fields import (
    UNKNOWN_BIRTH_DAY,
    Day,
    EmailAddress,
    Faults,
    Line,
    NhsNumber,
    Part,
    PhoneNumber,
    Postcode,
    Ref,
    Remark,
    SchoolUrn,
    Upn,
    Uprn,
    Word,
)

AddressType = Literal["home", "temporary", "refuge", "hospital", "custody", "previous", "other"]
Capacity = Literal["has_capacity", "lacks_capacity", "in_doubt", "not_assessed"]


class PersonName(Part):
    """A name; either half alone is a name too."""

    given: Line | None = None
    family: Line | None = None


class Address(Part):
    """Where a person lives or stays.

    ``withheld`` must be said each time: a withheld address never reaches another party to the referral, and a
    forgotten flag would give it away. A withheld address may stand without its lines.
    """

    type: AddressType
    withheld: bool
    lines: Annotated[tuple[Line, ...], Field(max_length=6)] = ()
    postcode: Postcode | None = None
    uprn: Uprn | None = None
    valid_from: Day | None = None
    valid_to: Day | None = None


class Phone(Part):
    """A telephone number. ``safe_to_contact`` is ``None`` when nobody asked, which is never "yes"."""

    number: PhoneNumber
    safe_to_contact: bool | None = None
    remark: Remark | None = None


class Ethnicity(Part):
    """Ethnicity by DfE code, the police code beside it where known, and who said so."""

    dfe: DfeEthnicity
    police: PoliceEthnicity | None = None
    stated_by: Literal["self_defined", "officer_perceived"] | None = None


class School(Part):
    """Where a child learns: resolved with a ``urn`` or at home, unresolved with a name alone."""

    urn: SchoolUrn | None = None
    name: Line | None = None
    home_educated: bool | None = None


class Practice(Part):
    """A general practice, by its organisation code where known."""

    code: Annotated[str, Field(pattern=r"^[A-Z0-9]{3,10}$")] | None = None
    name: Line | None = None


class Person(Part):
    """Somebody in the referral, named once and pointed to by ``ref``.

    ``birth_day_unknown``: only month and year are known and the day stands as the 15th.
    """

    ref: Ref
    name: PersonName | None = None
    aliases: Annotated[tuple[Line, ...], Field(max_length=20)] = ()
    date_of_birth: Day | None = None
    birth_day_unknown: bool = False
    sex: Sex | None = None
    gender: Gender | None = None
    addresses: Annotated[tuple[Address, ...], Field(max_length=20)] = ()
    phones: Annotated[tuple[Phone, ...], Field(max_length=10)] = ()
    email: EmailAddress | None = None

    @model_validator(mode="after")
    def _birth_is_coherent(self) -> Self:
        faults = Faults()
        self._check_birth(faults)
        faults.raise_any("Person")
        return self

    def _check_birth(self, faults: Faults) -> None:
        born = self.date_of_birth
        if self.birth_day_unknown and (born is None or born.day != UNKNOWN_BIRTH_DAY):
            faults.add(("date_of_birth",), "birth_day_unknown", "an unknown day stands as the 15th")


class Subject(Person):
    """One child, unborn child or adult the referral is about.

    An unborn child has ``expected_date_of_birth`` and no date of birth. ``authority`` is the local authority
    by DfE code, when it is not the referral's own. ``None`` always means not stated, never "no".
    """

    kind: SubjectKind
    expected_date_of_birth: Day | None = None
    authority: Authority | None = None
    ethnicity: Ethnicity | None = None
    religion: Word | None = None
    first_language: Word | None = None
    other_languages: Annotated[tuple[Word, ...], Field(max_length=10)] = ()
    interpreter_needed: bool | None = None
    disability_codes: Annotated[tuple[DisabilityCode, ...], Field(max_length=13)] = ()
    communication_needs: Remark | None = None
    nationality: Word | None = None
    unaccompanied_asylum_seeking: bool | None = None
    nhs_number: NhsNumber | None = None
    upn: Upn | None = None
    upn_unknown: UpnUnknown | None = None
    la_child_id: Word | None = None
    school: School | None = None
    gp: Practice | None = None
    looked_after: bool | None = None
    child_protection_plan: bool | None = None
    open_to_social_care: bool | None = None
    pregnant: bool | None = None
    care_and_support_needs: bool | None = None
    care_and_support_detail: Remark | None = None
    capacity: Capacity | None = None
    present_at_incident: bool | None = None

    def _check_birth(self, faults: Faults) -> None:
        super()._check_birth(faults)
        if self.kind == "unborn" and self.date_of_birth is not None:
            faults.add(
                ("date_of_birth",), "unborn_born", "an unborn child has an expected date of birth only"
            )
        if self.kind != "unborn" and self.expected_date_of_birth is not None:
            faults.add(("expected_date_of_birth",), "born_expected", "only an unborn child has one")
        if self.upn is not None and self.upn_unknown is not None:
            faults.add(("upn_unknown",), "upn_known", "a known pupil number has no reason for being unknown")
