"""The demo's partner agencies: a simulated system on loopback for every partner package the hub ships."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
from pydantic import SecretStr

from hub_embedded.partner_simulators import Behaviour, Ledger, Tenancy, simulators
from hub_embedded.partner_simulators.running import served
from hub_kernel.auth import LocalIssuer
from hub_kernel.settings import Settings
from hub_partner_gateway.adapters.package_files import shipped_packages

LEDGER_FILE: Final = "partners.sqlite"
DEMO_BEHAVIOUR: Final = Behaviour(mix={"reject": 0.02, "lose_answer": 0.01, "slow": 0.01}, slow_seconds=0.5)
_LOST: Final = "Response content shorter than Content-Length"
_TOKEN_SECONDS: Final = 365 * 86_400


@asynccontextmanager
async def simulated_partners(
    settings: Settings, issuer: LocalIssuer, hub_url: str, behaviour: Behaviour = DEMO_BEHAVIOUR
) -> AsyncIterator[tuple[Settings, Ledger]]:
    """Run the partners while the block runs; yields settings that know them, and their own record."""
    logging.getLogger("uvicorn.error").addFilter(_is_no_lost_answer)
    tenancies = tenancies_for(issuer, hub_url)
    ledger = Ledger(settings.data_dir / LEDGER_FILE)
    try:
        async with served(simulators(tenancies, ledger, behaviour)) as base_url:
            yield settings.model_copy(update={"partners": partners_setting(tenancies, base_url)}), ledger
    finally:
        ledger.close()


def tenancies_for(issuer: LocalIssuer, hub_url: str) -> list[Tenancy]:
    """A tenancy for each shipped package, with a token to call back where its kind of system does."""
    return [
        Tenancy(
            name=package.name,
            shape="mosaic" if package.acknowledgement == "poll" else "liquidlogic",
            token=f"demo-{package.name}",
            hub_url=hub_url,
            hub_token=issuer.token(
                "partner_client",
                subject=f"partner-{package.name}",
                lifetime_seconds=_TOKEN_SECONDS,
                authority=package.authority,
                agency=package.agency,
            ),
        )
        for package in shipped_packages()
    ]


def partners_setting(tenancies: list[Tenancy], base_url: str) -> SecretStr:
    """HUB_PARTNERS for these tenancies, served below ``base_url``."""
    partners = {
        tenancy.name: {"url": f"{base_url}/{tenancy.name}", "token": tenancy.token} for tenancy in tenancies
    }
    return SecretStr(msgspec.json.encode(partners).decode())


def write_tenancies(tenancies: list[Tenancy], path: Path) -> None:
    """Write the list a simulator process of its own starts from; it holds tokens."""
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(tenancies))


def _is_no_lost_answer(record: logging.LogRecord) -> bool:
    """Keep quiet about answers a simulated partner loses on purpose; its server calls each an error."""
    return record.exc_info is None or str(record.exc_info[1]) != _LOST
