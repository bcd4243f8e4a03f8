"""Triage's contents page: what it hears, decides, serves and keeps time for."""

from importlib.resources import files

from hub_kernel.handling import CommandHandler
from hub_kernel.service import Parts, Service, ServiceContext
from hub_schemas.triage import REGISTRY
from hub_triage.adapters.intake import hear_intake
from hub_triage.adapters.timer import Timer
from hub_triage.api import routes
from hub_triage.domain import assessment_decider
from hub_triage.policies import Policies
from hub_triage.tables import AssessmentCommands, Assessments


def load_policies() -> Policies:
    """The policy files of this release. Raises what ``Policies.load`` raises, and the hub does not start."""
    folder = files("hub_triage") / "policy"
    return Policies.load(
        risk_rules=(folder / "risk_rules.json").read_bytes(),
        clocks=(folder / "clocks.json").read_bytes(),
        calendars=(folder / "calendars.json").read_bytes(),
        sharing=(folder / "sharing.json").read_bytes(),
    )


def _build(context: ServiceContext) -> Parts:
    decider = assessment_decider(load_policies())
    commands: AssessmentCommands = CommandHandler(context.store, context.keyring, REGISTRY, decider)
    assessments = Assessments(context.pool, commands)
    timer = Timer(assessments, context.pool, context.schema, context.clock)
    return Parts(
        routers=[routes(assessments, context.clock)],
        consumers=[context.consumer("intake", hear_intake(assessments, context.clock))],
        workers={"timer": timer.run},
    )


SERVICE = Service(
    name="triage",
    schema="triage",
    registry=REGISTRY,
    migrations="hub_triage.migrations",
    build=_build,
    hears=("intake",),
)
