"""``hub acls``: who may do what on the cluster, as a file for the tools that set it."""

import csv
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import typer

from hub_embedded.access_rules import Parties, Reader, Rule, access_rules, as_arguments, as_rows
from hub_embedded.needed_topics import destinations
from hub_embedded.output import reader_may_leave, write_json_lines
from hub_embedded.services import SERVICES
from hub_kernel.settings import Settings
from hub_partner_gateway.adapters.package_files import shipped_packages
from hub_partner_gateway.policies.destinations import PRINCIPAL, TopicDestination

_OPERATOR: Final = "User:hub-operator"
_SYSTEM: Final = re.compile(r"^[A-Za-z0-9_-]{1,100}$")
_HEADER: Final = """\
# Who may do what on the cluster, as `hub acls` prints it from the settings. Each line is one call:
#   grep '^--' acls.txt | xargs -L 1 kafka-acls.sh --bootstrap-server HOST:PORT --command-config FILE
"""


def acls(
    *,
    as_format: Annotated[
        Literal["kafka-acls", "json", "csv"],
        typer.Option("--format", help="Arguments of kafka-acls.sh, JSON lines, or CSV."),
    ] = "kafka-acls",
    service_principal: Annotated[
        list[str] | None,
        typer.Option(metavar="SERVICE=PRINCIPAL", help="A service's principal; unset: User:hub-SERVICE."),
    ] = None,
    operator_principal: Annotated[
        str, typer.Option(metavar="PRINCIPAL", help="Who runs `hub topics` and `hub lag`.")
    ] = _OPERATOR,
    records_system: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=PRINCIPAL]", help="A records system that posts by bus; unset: User:NAME."
        ),
    ] = None,
) -> None:
    """Print the least that services, operator, records systems and partners on topics need on Kafka."""
    settings = Settings()
    parties = Parties(
        services=_services(service_principal or []),
        operator=_principal(operator_principal),
        records_systems=_records_systems(records_system or []),
        partners=_readers(settings),
    )
    rules = access_rules(SERVICES, parties, settings.kafka_prefix)
    with reader_may_leave():
        _print(rules, as_format)


def _print(rules: Sequence[Rule], as_format: Literal["kafka-acls", "json", "csv"]) -> None:
    match as_format:
        case "kafka-acls":
            typer.echo(_HEADER + "\n".join(map(as_arguments, rules)))
        case "json":
            write_json_lines(rules)
        case "csv":
            csv.writer(sys.stdout, lineterminator="\n").writerows(as_rows(rules))


def _services(given: Sequence[str]) -> Mapping[str, str]:
    principals = {service.name: f"User:hub-{service.name}" for service in SERVICES}
    for pair in given:
        name, _, principal = pair.partition("=")
        if name not in principals:
            raise typer.BadParameter(f"before the = stands none of {', '.join(principals)}")
        principals[name] = _principal(principal)
    return principals


def _records_systems(given: Sequence[str]) -> Mapping[str, str]:
    systems = {}
    for pair in given:
        name, separator, principal = pair.partition("=")
        if not _SYSTEM.fullmatch(name):
            raise typer.BadParameter("a records system's name is of letters, digits, - and _")
        systems[name] = _principal(principal if separator else f"User:{name}")
    return systems


def _readers(settings: Settings) -> list[Reader]:
    reached = destinations(settings)
    on_topics = [(package, reached.get(package.name)) for package in shipped_packages()]
    return [
        Reader(package.authority, package.agency, destination.principal)
        for package, destination in on_topics
        if isinstance(destination, TopicDestination)
    ]


def _principal(text: str) -> str:
    if not re.match(PRINCIPAL, text):
        raise typer.BadParameter("a principal is one user as Kafka names it, such as User:hub-intake")
    return text
