import pytest

import hub_kernel.runtime
import hub_kernel.sign_in
from hub_kernel.errors import BUS_VERDICT, HTTP_STATUS, KINDS, Conflict, HubError, kind_of
from hub_kernel.web import problem_body

KERNEL = (hub_kernel.runtime, hub_kernel.sign_in)
"""Importing these imports the whole kernel, so that every error it defines is known below."""


def every_error(kind: type[HubError] = HubError) -> list[type[HubError]]:
    """Every error class under a kind; those of services only when they happen to be imported."""
    below = [each for child in kind.__subclasses__() for each in (child, *every_error(child))]
    return [each for each in below if each.__module__.startswith("hub_kernel")]


def test_both_tables_know_every_kind_and_nothing_else() -> None:
    assert set(HTTP_STATUS) == set(BUS_VERDICT) == set(KINDS)
    assert len(set(KINDS)) == len(KINDS)


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.__name__)
def test_every_error_of_the_kernel_has_a_kind_a_slug_and_a_sentence_that_says_what_to_do(
    error: type[HubError],
) -> None:
    body = problem_body(error())
    assert kind_of(error()) in KINDS
    assert body["status"] in range(400, 600)
    assert body["type"].removeprefix("urn:referral-hub:problem:").replace("-", "").isalpha()
    assert body["detail"].endswith(".")
    assert "\n" not in body["detail"]


def test_no_two_errors_of_the_kernel_share_a_slug() -> None:
    slugs = [error.slug for error in every_error()]
    assert sorted(slugs) == sorted(set(slugs))


def test_an_error_is_the_kind_it_descends_from() -> None:
    class Twice(Conflict):
        """It was done already. Do nothing."""

    class Thrice(Twice):
        """It was done already, twice. Do nothing."""

    assert (kind_of(Thrice()), Thrice().detail) == (Conflict, "It was done already, twice. Do nothing.")


def test_only_what_may_pass_is_tried_again() -> None:
    assert {kind.__name__ for kind, verdict in BUS_VERDICT.items() if verdict == "retry"} == {
        "Conflict",
        "Unavailable",
    }
