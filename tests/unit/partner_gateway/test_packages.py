from importlib import resources

import pytest

from hub_partner_gateway.adapters.package_files import read_partner_files
from hub_partner_gateway.policies.code_lists import CodeList
from hub_partner_gateway.policies.packages import PackageBook, PackageBroken
from hub_schemas.codes import AUTHORITY_NAMES
from hub_schemas.referral_codes import DFE_ETHNICITIES, DISABILITIES, FACTORS, SEXES


@pytest.fixture
def files() -> dict[str, bytes]:
    return read_partner_files(resources.files("hub_partner_gateway") / "partners")


def test_every_authority_has_both_agencies(packages: PackageBook) -> None:
    assert {(package.authority, package.agency) for package in packages} == {
        (authority, agency)
        for authority in AUTHORITY_NAMES
        for agency in ("childrens_services", "adult_services")
    }


def test_herefordshire_is_asked_and_the_others_call_back(packages: PackageBook) -> None:
    assert {package.authority for package in packages if package.acknowledgement == "poll"} == {"884"}


def test_an_agency_without_a_package_is_not_found(files: dict[str, bytes]) -> None:
    only = {path: content for path, content in files.items() if not path.startswith("884-")}
    assert PackageBook.load(only).find("884", "childrens_services") is None


def test_the_newest_version_is_used(files: dict[str, bytes]) -> None:
    newer = {
        path.replace("/v1/", "/v2/"): content.replace(b"version = 1", b"version = 2")
        for path, content in files.items()
        if path.startswith("884-childrens_services/")
    }
    found = PackageBook.load(files | newer).find("884", "childrens_services")
    assert found is not None
    assert found.version == 2


@pytest.mark.parametrize(
    "changed", ["codes/sex.csv", "mapping.jsonata", "shape.toml", "schema.json", "acknowledgement.jsonata"]
)
def test_the_hash_follows_every_file_a_package_stands_on(files: dict[str, bytes], changed: str) -> None:
    before = PackageBook.load(files).find("884", "childrens_services")
    path = f"shapes/mosaic/v1/{changed}"
    after = PackageBook.load(files | {path: files[path] + b"\n"}).find("884", "childrens_services")
    assert before is not None
    assert after is not None
    assert before.mapping_hash != after.mapping_hash


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("shapes/mosaic/v1/mapping.jsonata", b"{ oops"),
        ("shapes/mosaic/v1/schema.json", b"{"),
        ("shapes/mosaic/v1/shape.toml", b"mood = 1"),
        ("884-childrens_services/v1/profile.toml", b"authority = '999'"),
        ("shapes/mosaic/v1/codes/sex.csv", b"code,target,lossy\nF,1,\nF,2,\n"),
    ],
)
def test_a_broken_package_is_named(files: dict[str, bytes], path: str, content: bytes) -> None:
    with pytest.raises(PackageBroken, match=r"884-|shapes/mosaic"):
        PackageBook.load(files | {path: content})


def test_a_missing_file_is_named(files: dict[str, bytes]) -> None:
    del files["shapes/mosaic/v1/codes/sex.csv"]
    with pytest.raises(PackageBroken, match=r"codes/sex\.csv is missing"):
        PackageBook.load(files)


def test_the_lists_of_people_cover_the_canonical_codes(packages: PackageBook) -> None:
    package = packages.find("884", "childrens_services")
    assert package is not None
    for name, codes in (
        ("sex", SEXES), ("ethnicity", DFE_ETHNICITIES), ("disability", DISABILITIES), ("factor", FACTORS),
    ):  # fmt: skip
        assert set(package.codes[name].targets) == set(codes)


def test_a_default_belongs_to_its_policy() -> None:
    with pytest.raises(ValueError, match="default"):
        CodeList.load(b"code,target,lossy\n", "default", None)
