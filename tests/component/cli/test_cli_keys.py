"""``hub token`` and ``hub sign-in``."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from hub_embedded.services import SERVICES
from hub_kernel.auth import LOCAL_ISSUER, LocalIssuer, Principal, TokenVerifier


def verifier(recorded: Any) -> TokenVerifier:
    issuer = LocalIssuer(recorded.data_dir / "issuer.key", "referral-hub")
    return TokenVerifier(issuer.keys, LOCAL_ISSUER, "referral-hub")


async def test_a_token_says_who_its_bearer_is(recorded: Any) -> None:
    code, out, error = await recorded.hub(
        "token", "--role", "partner_client", "--authority", "893", "--agency", "adult_services",
        "--subject", "mosaic",
    )  # fmt: skip
    assert (code, error) == (0, "")
    assert verifier(recorded).verify(out.strip()) == Principal(
        "mosaic", "partner_client", "893", "adult_services"
    )


async def test_the_key_that_signs_tokens_is_closed_to_other_accounts(recorded: Any) -> None:
    await recorded.hub("token", "--role", "operator")
    assert (recorded.data_dir / "issuer.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--role", "partner_client", "--agency", "adult_services"), "needs --authority and --agency"),
        (("--role", "records_system"), "needs --system"),
        (("--role", "king"), "'king' is not one of"),
        (("--role", "operator", "--hours", "0"), "should be greater than or equal to 0.01"),
    ],
)
async def test_a_token_that_would_open_nothing_is_refused(
    arguments: tuple[str, ...], said: str, recorded: Any
) -> None:
    code, out, error = await recorded.hub("token", *arguments)
    assert (code, out, said in error) == (2, "", True)


@pytest.mark.parametrize("command", [("token", "--role", "operator"), ("sign-in",)])
async def test_beside_a_real_identity_provider_nothing_is_signed_here(
    command: tuple[str, ...], recorded: Any, tmp_path: Path
) -> None:
    code, out, error = await recorded.hub(
        *command, HUB_ISSUER="https://id.example", HUB_ISSUER_JWKS_FILE=str(tmp_path / "jwks.json")
    )
    assert (code, out) == (1, "")
    assert error == (
        "Tokens come from the configured identity provider (HUB_ISSUER). Ask it for one with this role.\n"
    )


async def test_a_sign_in_link_leads_to_the_running_hub_and_works_once(recorded: Any, start_hub: Any) -> None:
    running = await start_hub(SERVICES[:1])
    (recorded.data_dir / "hub.url").write_text("http://hub.test")
    code, out, _ = await recorded.hub("sign-in")
    link = httpx.URL(out.strip())
    async with running.client(None) as browser:
        answers = [await browser.get(link) for _ in range(2)]
    assert (code, link.host, link.path) == (0, "hub.test", "/sign-in")
    assert [answer.status_code for answer in answers] == [303, 401]


async def test_without_a_running_hub_the_link_leads_where_the_settings_would_put_it(recorded: Any) -> None:
    _, out, _ = await recorded.hub("sign-in", HUB_PORT="8099")
    code, nothing, error = await recorded.hub("sign-in", HUB_PORT="0")
    assert out.startswith("http://127.0.0.1:8099/sign-in?code=")
    assert (code, nothing) == (1, "")
    assert error.startswith("No hub runs on this data directory")


async def test_a_setting_that_cannot_be_used_is_named_without_its_value(recorded: Any) -> None:
    code, out, error = await recorded.hub("token", "--role", "operator", HUB_PORT="s3cret")
    assert (code, out) == (2, "")
    assert error.startswith("A setting cannot be used. HUB_PORT: Input should be a valid integer")
    assert "s3cret" not in error
