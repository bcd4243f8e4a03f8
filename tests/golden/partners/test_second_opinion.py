"""The mapping engine is young; the long-standing one must write the same bytes from every golden contact."""

from collections.abc import Mapping
from typing import Any

import pytest
from jsonata import Jsonata
from tests.golden.partners.test_golden_contacts import (
    CASES,
    test_a_released_mapping_still_writes_the_same_bytes,
)

from hub_partner_gateway.adapters.package_files import shipped_packages
from hub_partner_gateway.policies import packages
from hub_partner_gateway.policies.mapping_language import Code


class JsonataPythonMapping:
    """The same call, made of jsonata-python."""

    def __init__(self, source: str) -> None:
        self._expression = Jsonata(source)

    def evaluate(self, value: Any, code: Code, variables: Mapping[str, Any]) -> Any:
        """The result for this input."""
        return self._expression.evaluate(value, {**variables, "code": Jsonata.JLambda(code)})


@pytest.mark.parametrize(("package_name", "case"), CASES)
def test_another_engine_writes_the_same_bytes(
    package_name: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "JsonMapping", JsonataPythonMapping)
    by_the_other = {package.name: package for package in shipped_packages()}
    assert isinstance(by_the_other[package_name].mapping, JsonataPythonMapping)
    monkeypatch.setattr("tests.golden.partners.test_golden_contacts.PACKAGES", by_the_other)
    test_a_released_mapping_still_writes_the_same_bytes(package_name, case)
