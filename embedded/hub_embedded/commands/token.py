"""``hub token``: a bearer token for scripts, from the embedded hub's own issuer."""

from typing import Annotated

import typer

from hub_embedded.keys import own_issuer
from hub_kernel.auth import Role
from hub_kernel.settings import Settings
from hub_schemas.codes import Agency, Authority

_HOUR_SECONDS = 3_600
_MOST_HOURS = 24 * 31


def token(
    role: Annotated[Role, typer.Option(help="What its bearer may do.")],
    subject: Annotated[
        str, typer.Option(help="Who its bearer is, as access logs will name them.")
    ] = "script",
    authority: Annotated[
        Authority | None, typer.Option(help="The local authority (DfE code) of a partner client.")
    ] = None,
    agency: Annotated[Agency | None, typer.Option(help="The agency of a partner client.")] = None,
    system: Annotated[
        str | None, typer.Option(help="The records system that posts, as its referrals name it.")
    ] = None,
    hours: Annotated[float, typer.Option(min=0.01, max=_MOST_HOURS, help="How long it is good for.")] = 1,
) -> None:
    """Print a bearer token. Only where no identity provider (HUB_ISSUER) is configured."""
    if role == "partner_client" and (authority is None or agency is None):
        raise typer.BadParameter("a partner client's token needs --authority and --agency")
    if role == "records_system" and system is None:
        raise typer.BadParameter("a records system's token needs --system")
    issuer = own_issuer(Settings())
    lifetime_seconds = round(hours * _HOUR_SECONDS)
    typer.echo(
        issuer.token(
            role,
            subject=subject,
            lifetime_seconds=lifetime_seconds,
            authority=authority,
            agency=agency,
            system=system,
        )
    )
