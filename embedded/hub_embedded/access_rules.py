"""Who may do what on the cluster: the least each principal needs. Pure; ``hub acls`` prints it.

Read and Write bring Describe with them, and Write on a topic lets a producer be idempotent (KIP-679).
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from hub_kernel.service import Service
from hub_schemas.codes import Agency, Authority
from hub_schemas.topics import INBOUND_TOPIC, REPLIES_TOPIC, facts_topic, partner_topic

Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]
INTAKE: Final = "intake"


@dataclass(frozen=True, slots=True)
class Rule:
    """A principal may do these on what bears this name, or (``prefixed``) a name that begins with it."""

    principal: str
    resource: Literal["topic", "group"]
    name: str
    operations: tuple[Operation, ...]
    pattern: Literal["literal", "prefixed"] = "literal"


@dataclass(frozen=True, slots=True)
class Reader:
    """A partner that reads its own topic, by the codes of the schemas."""

    authority: Authority
    agency: Agency
    principal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """Everybody who comes to the cluster. Principals by service name, and by records system."""

    services: Mapping[str, str]
    operator: str
    records_systems: Mapping[str, str]
    partners: Sequence[Reader]


def access_rules(services: Sequence[Service], parties: Parties, prefix: str = "") -> list[Rule]:
    """All that is allowed; whatever is not here is not. ``prefix`` stands before every topic and group."""
    rules = [
        *(rule for service in services for rule in _service(service, parties)),
        *_operator(services, parties),
        *(rule for name, principal in parties.records_systems.items() for rule in _records(name, principal)),
        *(rule for partner in parties.partners for rule in _partner(partner)),
    ]
    return [replace(rule, name=f"{prefix}{rule.name}") for rule in rules]


def _service(service: Service, parties: Parties) -> Iterator[Rule]:
    """Its own facts out, what it hears in, under groups that begin with its name."""
    principal = parties.services[service.name]
    yield Rule(principal, "topic", facts_topic(service.schema), ("Write",))
    for source in service.hears:
        yield Rule(principal, "topic", facts_topic(source), ("Read",))
    if service.name == INTAKE:
        yield Rule(principal, "topic", INBOUND_TOPIC, ("Read",))
        yield Rule(principal, "topic", REPLIES_TOPIC, ("Write",))
    if service.name == "partner-gateway":
        for partner in parties.partners:
            yield Rule(principal, "topic", partner_topic(partner.authority, partner.agency), ("Write",))
    yield Rule(principal, "group", f"{service.name}.", ("Read",), "prefixed")


def _operator(services: Sequence[Service], parties: Parties) -> Iterator[Rule]:
    """Makes topics and looks at ends; reads facts, whose sealed parts stay sealed, and nothing in clear."""
    in_clear = [partner_topic(partner.authority, partner.agency) for partner in parties.partners]
    for topic in (*(facts_topic(service.schema) for service in services), REPLIES_TOPIC):
        yield Rule(parties.operator, "topic", topic, ("Create", "DescribeConfigs", "Read"))
    for topic in (INBOUND_TOPIC, *in_clear):
        yield Rule(parties.operator, "topic", topic, ("Create", "DescribeConfigs", "Describe"))


def _records(system: str, principal: str) -> Iterator[Rule]:
    yield Rule(principal, "topic", INBOUND_TOPIC, ("Write",))
    yield Rule(principal, "topic", REPLIES_TOPIC, ("Read",))
    yield Rule(principal, "group", f"records.{system}.", ("Read",), "prefixed")


def _partner(partner: Reader) -> Iterator[Rule]:
    """Its own topic alone. No agency's code begins with another's, so neither do their groups."""
    yield Rule(partner.principal, "topic", partner_topic(partner.authority, partner.agency), ("Read",))
    group = f"partner.{partner.authority}.{partner.agency}"
    yield Rule(partner.principal, "group", group, ("Read",), "prefixed")


def as_arguments(rule: Rule) -> str:
    """The rule as arguments of ``kafka-acls.sh``, quoted for a shell or ``xargs``."""
    operations = [word for operation in rule.operations for word in ("--operation", operation)]
    pattern = ["--resource-pattern-type", "prefixed"] if rule.pattern == "prefixed" else []
    return shlex.join(
        ["--add", "--allow-principal", rule.principal, *operations, f"--{rule.resource}", rule.name, *pattern]
    )


def as_rows(rules: Iterable[Rule]) -> Iterator[tuple[str, ...]]:
    """A heading, then one row for each operation, in the columns tools that keep ACLs as CSV share."""
    yield (
        "KafkaPrincipal",
        "ResourceType",
        "PatternType",
        "ResourceName",
        "Operation",
        "PermissionType",
        "Host",
    )
    for rule in rules:
        for operation in rule.operations:
            resource, pattern = rule.resource.capitalize(), rule.pattern.upper()
            yield (rule.principal, resource, pattern, rule.name, operation, "Allow", "*")
