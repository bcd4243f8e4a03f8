from collections import Counter
from datetime import UTC, datetime
from itertools import islice

import msgspec
import pytest

from hub_embedded.demo.generator import (
    FIRST_INSTANT,
    FOLLOW_UPS,
    REPORTS_A_DAY,
    Submission,
    reports_an_hour,
    submissions,
)
from hub_intake.api.bodies import InformationBody, WithdrawalBody
from hub_schemas.check_digits import is_nhs_number
from hub_schemas.referral import Referral
from hub_schemas.referral_fields import Part

REFERRALS = 3_000


@pytest.fixture(scope="module")
def stream() -> list[Submission]:
    return list(submissions(REFERRALS))


@pytest.fixture(scope="module")
def reports(stream: list[Submission]) -> list[Referral]:
    return [Referral.model_validate_json(sent.body) for sent in stream if sent.kind == "referral"]


def share(yes: int, of: int) -> float:
    return round(yes / of, 3)


def test_the_same_seed_gives_the_same_bytes(stream: list[Submission]) -> None:
    assert list(submissions(REFERRALS)) == stream


def test_another_seed_gives_another_day(stream: list[Submission]) -> None:
    assert [sent.body for sent in submissions(5, seed=7)] != [sent.body for sent in stream[:5]]


def test_an_endless_day_begins_like_a_long_one(stream: list[Submission]) -> None:
    assert list(islice(submissions(), 500)) == stream[:500]


def test_every_document_is_valid(stream: list[Submission]) -> None:
    models: dict[str, type[Part]] = {
        "referral": Referral,
        "repeat": Referral,
        "amendment": Referral,
        "information": InformationBody,
        "withdrawal": WithdrawalBody,
    }
    for sent in stream:
        models[sent.kind].model_validate_json(sent.body)


def test_submissions_come_in_the_order_of_time(stream: list[Submission]) -> None:
    instants = [sent.at for sent in stream]
    assert instants == sorted(instants)
    assert instants[0] > FIRST_INSTANT


def test_a_record_is_sent_before_anything_that_follows_it(stream: list[Submission]) -> None:
    known: set[str] = set()
    for sent in stream:
        assert (sent.kind == "referral") == (sent.record_id not in known)
        known.add(sent.record_id)
    assert len(known) == REFERRALS


def test_a_repeat_is_the_same_bytes_again(stream: list[Submission]) -> None:
    first = {sent.record_id: sent.body for sent in stream if sent.kind == "referral"}
    repeats = [sent for sent in stream if sent.kind == "repeat"]
    assert repeats
    assert all(sent.body == first[sent.record_id] for sent in repeats)


def test_an_amendment_is_the_next_version_of_its_record(stream: list[Submission]) -> None:
    amended = [msgspec.json.decode(sent.body)["source"] for sent in stream if sent.kind == "amendment"]
    assert {source["version"] for source in amended} == {2}


def test_what_follows_comes_as_often_as_it_should(stream: list[Submission]) -> None:
    counts = Counter[str](sent.kind for sent in stream)
    for kind, (expected, _) in FOLLOW_UPS.items():
        assert share(counts[kind], REFERRALS) == pytest.approx(expected, abs=0.01)


def test_types_come_in_the_known_mix(reports: list[Referral]) -> None:
    counts = Counter[str](report.referral_type for report in reports)
    for kind, expected in {"domestic_abuse": 0.54, "missing": 0.20, "child": 0.16, "adult": 0.10}.items():
        assert share(counts[kind], REFERRALS) == pytest.approx(expected, abs=0.03)


def test_counties_are_split_by_population(reports: list[Referral]) -> None:
    counts = Counter[str](report.authority for report in reports)
    for authority, thousands in {"885": 604, "893": 327, "894": 188, "884": 188}.items():
        assert share(counts[authority], REFERRALS) == pytest.approx(thousands / 1307, abs=0.05)


def test_a_child_is_present_at_half_of_domestic_abuse(reports: list[Referral]) -> None:
    stated = [
        report.incident.children_present
        for report in reports
        if report.referral_type == "domestic_abuse" and report.incident is not None
        if report.incident.children_present is not None
    ]
    assert share(sum(stated), len(stated)) == pytest.approx(0.5, abs=0.04)


def test_officers_grade_domestic_abuse_in_the_known_mix(reports: list[Referral]) -> None:
    grades = Counter[str | None](
        report.risk.officer_grade
        for report in reports
        if report.referral_type == "domestic_abuse" and report.risk is not None
    )
    for grade, expected in {"high": 0.12, "medium": 0.33, "standard": 0.55}.items():
        assert share(grades[grade], grades.total()) == pytest.approx(expected, abs=0.04)


def test_a_report_about_children_is_about_1_7_of_them(reports: list[Referral]) -> None:
    children = [sum(subject.kind == "child" for subject in report.subjects) for report in reports]
    linked = [count for count in children if count]
    assert sum(linked) / len(linked) == pytest.approx(1.7, abs=0.15)


def test_the_same_people_come_back_and_some_very_often(reports: list[Referral]) -> None:
    met: Counter[tuple[str | None, ...]] = Counter()
    again = 0
    for report in reports:
        home = report.subjects[0].addresses[0].uprn if report.subjects[0].addresses else None
        if home is None:
            continue
        again += met[(home,)] > 0
        met[(home,)] += 1
    assert share(again, met.total()) == pytest.approx(0.35, abs=0.05)
    assert met.most_common(1)[0][1] >= 10


def test_the_same_person_is_written_the_same_each_time(reports: list[Referral]) -> None:
    known: dict[str, tuple[object, ...]] = {}
    for report in reports:
        for subject in report.subjects:
            if subject.nhs_number is not None and subject.name is not None:
                person = (subject.name.given, subject.name.family, subject.date_of_birth, subject.upn)
                assert known.setdefault(subject.nhs_number, person) == person


def test_a_quarter_has_no_nhs_number_and_every_number_checks(reports: list[Referral]) -> None:
    people = [
        subject for report in reports for subject in report.subjects if subject.addresses
    ]  # a thin report states no number at all
    numbers = [subject.nhs_number for subject in people if subject.nhs_number is not None]
    assert share(len(people) - len(numbers), len(people)) == pytest.approx(0.25, abs=0.04)
    assert all(is_nhs_number(number) and number.startswith("999") for number in numbers)


def test_fifteen_in_a_hundred_schools_are_unresolved(reports: list[Referral]) -> None:
    schools = [subject.school for report in reports for subject in report.subjects if subject.school]
    unresolved = [school for school in schools if school.urn is None]
    assert share(len(unresolved), len(schools)) == pytest.approx(0.15, abs=0.04)


def test_the_stream_holds_the_hard_cases(reports: list[Referral]) -> None:
    subjects = [subject for report in reports for subject in report.subjects]
    assert any(subject.kind == "unborn" for subject in subjects)
    assert any(address.withheld for subject in subjects for address in subject.addresses)
    assert any(report.risk is None for report in reports)


def test_telephones_are_those_kept_for_drama(reports: list[Referral]) -> None:
    numbers = {phone.number for report in reports for one in report.subjects for phone in one.phones}
    numbers |= {report.referrer.phone for report in reports if report.referrer and report.referrer.phone}
    assert {number[:9] for number in numbers} == {"07700 900", "01632 960"}


def test_the_curve_adds_up_to_a_day_and_peaks_on_friday_night() -> None:
    week = [
        datetime(2026, 10, day, hour, 30, tzinfo=UTC) for day in range(5, 12) for hour in range(24)
    ]  # Monday to Sunday
    rates = [reports_an_hour(at) for at in week]
    assert sum(rates) / 7 == pytest.approx(REPORTS_A_DAY, rel=0.01)
    peak = week[rates.index(max(rates))]
    assert (peak.strftime("%A"), 19 <= peak.hour <= 22) == ("Friday", True)
