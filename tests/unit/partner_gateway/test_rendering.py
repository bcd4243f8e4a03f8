import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub_partner_gateway.policies.code_lists import CodeList
from hub_partner_gateway.policies.minimising import (
    STRUCTURE,
    about_subject,
    is_under,
    keep_only,
    mask_withheld_addresses,
    present_paths,
    subject_index,
)
from hub_partner_gateway.policies.packages import PackageBook, PartnerPackage
from hub_partner_gateway.policies.rendering import CannotRender, RenderContext, document_of, render

Document = dict[str, Any]
About = Callable[[str], RenderContext]

OTHER_CODES = {
    "referral_type": "missing", "subjects.kind": "adult", "subjects.sex": "M", "others.sex": "U",
    "subjects.ethnicity.dfe": "ABAN", "subjects.disability_codes": "VIS", "concern.factor_codes": "24A",
    "concern.abuse_categories": "PHY", "relationships.kind": "sibling", "services.kind": "idva",
    "subjects.addresses.type": "custody", "others.addresses.type": "hospital",
    "sharing.consent_basis": "refused", "household": "other-1",
    "alleged_perpetrators.person": "adult-1", "subjects.nhs_number": "9434765919",
    "subjects.upn": "A884200018001",
}  # fmt: skip
DAY = "2001-02-03"


@pytest.fixture
def children(packages: PackageBook) -> PartnerPackage:
    found = packages.find("884", "childrens_services")
    assert found is not None
    return found


def test_the_same_referral_gives_the_same_bytes(packages: PackageBook, full: Document, about: About) -> None:
    for package in packages:
        ref = "child-1" if package.agency == "childrens_services" else "adult-1"
        again = document_of(json.dumps(full, sort_keys=True).encode())
        assert render(package, full, about(ref)) == render(package, again, about(ref))


def test_bytes_are_sorted_json_in_utf8(children: PartnerPackage, full: Document, about: About) -> None:
    full["subjects"][0]["name"]["given"] = "Zoë"
    body = render(children, full, about("child-1")).body
    assert "Zoë" in body
    assert body == json.dumps(json.loads(body), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def test_each_subject_is_its_own_contact(packages: PackageBook, full: Document, about: About) -> None:
    package = packages.find("885", "childrens_services")
    assert package is not None
    bodies = [json.loads(render(package, full, about(ref)).body) for ref in ("child-1", "unborn-1")]
    assert [body["person"].get("first_name") for body in bodies] == ["Ivy", None]
    assert [body["person"]["kind_id"] for body in bodies] == ["1", "2"]


def test_police_are_source_6(packages: PackageBook, full: Document, about: About) -> None:
    package = packages.find("893", "childrens_services")
    assert package is not None
    contact = json.loads(render(package, full, about("child-1")).body)["contact"]
    assert (contact["source_id"], contact["source"], contact["reason_id"]) == ("6", "Police", "11")


def test_tenancies_share_a_mapping_and_keep_their_own_codes(
    packages: PackageBook, full: Document, about: About
) -> None:
    seen = {}
    for authority in ("885", "893", "894"):
        package = packages.find(authority, "childrens_services")
        assert package is not None
        body = json.loads(render(package, full, about("child-1")).body)
        seen[body["tenancy"]] = body["contact"]["reason_id"]
    assert seen == {"WORCESTERSHIRE-LCS": "21", "SHROPSHIRE-LCS": "11", "TELFORD-LCS": "201"}


def test_a_lossy_code_is_reported(children: PartnerPackage, full: Document, about: About) -> None:
    assert "subjects.ethnicity.dfe" in render(children, full, about("child-1")).lost_fields
    full["subjects"][0]["ethnicity"]["dfe"] = "WBRI"
    assert "subjects.ethnicity.dfe" not in render(children, full, about("child-1")).lost_fields


@pytest.mark.parametrize("policy", ["reject", "pass", "default"])
def test_a_code_the_partner_lacks_follows_the_lists_policy(
    children: PartnerPackage, full: Document, about: About, policy: Literal["reject", "pass", "default"]
) -> None:
    codes = CodeList({}, policy, "Other" if policy == "default" else None)
    package = replace(children, codes={**children.codes, "reason": codes})
    if policy == "reject":
        with pytest.raises(CannotRender) as refused:
            render(package, full, about("child-1"))
        assert refused.value.fields == {"referral_type": "no code of the partner's"}
        return
    written = render(package, full, about("child-1"))
    reason = json.loads(written.body)["workflowStep"]["contactReason"]
    assert reason == ("Other" if policy == "default" else "domestic_abuse")
    assert ("referral_type" in written.lost_fields) == (policy == "default")


def test_a_contact_the_partners_schema_refuses_names_the_fields_and_no_values(
    children: PartnerPackage, full: Document, about: About
) -> None:
    full["subjects"][0]["nhs_number"] = "not-a-number"
    with pytest.raises(CannotRender) as refused:
        render(children, full, about("child-1"))
    assert refused.value.fields == {"person.nhsNumber": "not as the partner's schema asks"}
    assert "not-a-number" not in str(refused.value)


def test_a_subject_that_an_amendment_took_out_cannot_be_written(
    children: PartnerPackage, full: Document, about: About
) -> None:
    with pytest.raises(CannotRender, match="cannot be written"):
        render(children, full, about("child-9"))


def test_a_document_of_a_later_version_cannot_be_written(
    children: PartnerPackage, full: Document, about: About
) -> None:
    full["document_version"] = 2
    with pytest.raises(CannotRender):
        render(children, full, about("child-1"))


def test_nothing_a_profile_leaves_out_reaches_the_bytes(
    packages: PackageBook, full: Document, about: About
) -> None:
    secrets = ["07700 900123", "Threats by text", "Controlling behaviour", "Of him", "Arrested at scene"]
    for package in packages:
        if package.agency == "childrens_services":
            body = render(package, full, about("child-1")).body
            assert not [secret for secret in secrets if secret in body]
        else:
            body = render(package, full, about("adult-1")).body
            assert "I want it to be quiet" not in body


@pytest.mark.parametrize("ref", ["child-1", "adult-1"])
@pytest.mark.parametrize("authority", ["884", "885"])
def test_what_a_shape_says_it_carries_is_what_its_mapping_carries(
    packages: PackageBook, full: Document, about: About, authority: Any, ref: str
) -> None:
    """Change every field in turn: the bytes change exactly when the shape claims the field."""
    package = packages.find(authority, "childrens_services" if ref == "child-1" else "adult_services")
    assert package is not None
    context = about(ref)
    full["authority"] = authority
    for person in full["subjects"] + full["others"]:
        person["addresses"] = [_an_open_address(person["ref"])]
    index = subject_index(full, context.referral_id, context.subject_id)
    assert index is not None
    kept = keep_only(
        mask_withheld_addresses(about_subject(full, index), authority).document, package.receives
    ).document
    before = render(package, full, context).body
    carried = set()
    for path, change in _changes(full, index):
        document = deepcopy(full)
        change(document)
        if render(package, document, context).body != before:
            carried.add(path)
    present = {path for path in present_paths(kept) if not path.endswith(".withheld")}
    claimed = {path for path in present if is_under(path, package.carries)}
    assert claimed - carried == set(), "claimed but not carried"
    assert (present & carried) - claimed == set(), "carried but not claimed"
    assert carried - present == set(), "carried although the partner may not have it"


@settings(max_examples=60, deadline=None)
@given(
    words=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40),
    grade=st.sampled_from(["standard", "medium", "high"]),
)
def test_any_words_come_out_as_they_went_in(
    packages: PackageBook, about: About, words: str, grade: Any
) -> None:
    thin = {
        "document_version": 1,
        "source": {"system": "rms", "record_id": "1", "version": 1},
        "force": "west-mercia",
        "authority": "885",
        "referral_type": "child",
        "times": {"submitted_at": "2026-03-07T01:15:00+00:00"},
        "incident": {"narrative": words},
        "subjects": [{"ref": "child-1", "kind": "child", "name": {"given": words}}],
    }
    for authority in ("884", "885"):
        package = packages.find(authority, "childrens_services")
        assert package is not None
        written = render(package, thin, replace(about("child-1"), risk_grade=grade))
        assert render(package, thin, replace(about("child-1"), risk_grade=grade)).body == written.body
        body = json.loads(written.body)
        step = body.get("workflowStep") or body["contact"]
        assert (step.get("summary") or step["comments"]) == words
        assert (body["person"].get("firstName") or body["person"]["first_name"]) == words


def _changes(document: Document, index: int) -> Iterator[tuple[str, Callable[[Document], None]]]:
    """Every leaf of the referral as one subject sees it: its path, and a change to another valid value."""
    for steps, value in _leaves(document, ()):
        place = list(steps)
        if place[0] == "subjects" and place[1] != index:
            path = "others." + ".".join(part for part in place[2:] if isinstance(part, str))
        else:
            path = ".".join(part for part in place if isinstance(part, str))
        if path in STRUCTURE or path.endswith(".withheld"):
            continue
        yield path, _setter(place, _other(path, value))


def _an_open_address(ref: str) -> Document:
    """Masking has its own tests; here every line must be able to reach the bytes."""
    return {
        "type": "home", "withheld": False, "lines": [f"{ref} Row"], "postcode": "HR1 2AB", "uprn": "1",
        "valid_from": "2024-01-01", "valid_to": "2026-01-01",
    }  # fmt: skip


def _leaves(value: Any, at: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*at, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _leaves(item, (*at, position))
    else:
        yield at, value


def _setter(place: list[Any], value: Any) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        target: Any = document
        for step in place[:-1]:
            target = target[step]
        target[place[-1]] = value

    return change


def _other(path: str, value: Any) -> Any:
    if path in OTHER_CODES:
        return OTHER_CODES[path] if OTHER_CODES[path] != value else "child"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if len(value) == 10 and value[4] == value[7] == "-":
        return DAY
    if "T" in value and value[4:5] == "-":
        return "2001-02-03T04:05:06+00:00"
    return value + "x"
