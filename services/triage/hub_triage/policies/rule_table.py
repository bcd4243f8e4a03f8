"""Reads a rule set file (a JDM decision with one table) and refuses it unless every cell does something."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import msgspec
import zen

from hub_kernel.errors import Malformed
from hub_schemas.codes import LevelOfNeed, RiskGrade
from hub_schemas.triage import MatchedRule
from hub_triage.policies.context import RuleContext
from hub_triage.policies.stamp import Stamp, stamp_of

OUTPUTS: Final = ("rule_id", "risk_grade", "level_of_need")
SOURCE_STATUSES: Final = ("statutory: ", "guidance: ", "local: ")
DASH: Final = "dash_yes_count"
_PROBED_COUNTS: Final = tuple(range(101))
_Row = Mapping[str, str]


class BrokenRuleSet(Malformed):
    """This rule set would not grade as it reads. Mend the named rows and cells; the last one stays in use."""

    slug = "broken-rule-set"


class _Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    name: str
    field: str


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    hit_policy: Literal["collect"]
    inputs: tuple[_Column, ...]
    outputs: tuple[_Column, ...]
    rules: tuple[dict[str, str], ...]


class _Place(msgspec.Struct, frozen=True):
    x: float
    y: float


class _Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    id: str
    name: str
    position: _Place


class _Input(_Node, frozen=True, tag="inputNode"):
    """Where the context enters."""


class _TableNode(_Node, frozen=True, tag="decisionTableNode"):
    """The rules."""

    content: _Table


class _Output(_Node, frozen=True, tag="outputNode"):
    """Where the matches leave."""


class _Edge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    id: str
    type: str
    source_id: str
    target_id: str


class _Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Three nodes and no others: a function node would run JavaScript, a switch node would hide rows."""

    name: str
    version: int
    nodes: tuple[_Input | _TableNode | _Output, ...]
    edges: tuple[_Edge, ...]


@dataclass(frozen=True, slots=True)
class RuleTable:
    """A rule set that passed every check: its stamp, its rules by id, and the file for the engine."""

    stamp: Stamp
    rules: Mapping[str, MatchedRule]
    content: str


def read_rule_table(content: bytes) -> RuleTable:
    """Read and check a rule set file.

    The engine lets a row with a mistyped cell load and then never match, which grades lower in silence
    (zen-engine 2.1.3; its own cell check refuses ``>= 3`` and passes ``not("yes")``). So every cell is run
    over every value its field can take. Raises ``BrokenRuleSet`` naming each row and cell at fault.
    """
    try:
        decision = msgspec.json.decode(content, type=_Decision)
    except msgspec.DecodeError as broken:
        raise BrokenRuleSet(fields={"file": str(broken)}) from broken
    faults = dict(_faults(decision))
    if faults:
        raise BrokenRuleSet(fields=faults)
    return RuleTable(
        stamp_of(content), {row["_id"]: _rule(row) for row in _table(decision).rules}, content.decode()
    )


def _table(decision: _Decision) -> _Table:
    return next(node.content for node in decision.nodes if isinstance(node, _TableNode))


def _rule(row: _Row) -> MatchedRule:
    given = {name: msgspec.json.decode(row[name]) for name in OUTPUTS}
    return msgspec.convert({**given, "source": row["_description"]}, MatchedRule)


def _faults(decision: _Decision) -> Iterator[tuple[str, str]]:
    if [type(node) for node in decision.nodes] != [_Input, _TableNode, _Output]:
        yield "nodes", "must be one input, one table and one output, in this order"
        return
    ids = [node.id for node in decision.nodes]
    if [(edge.source_id, edge.target_id) for edge in decision.edges] != [(ids[0], ids[1]), (ids[1], ids[2])]:
        yield "edges", "must lead from the input through the table to the output"
    table = _table(decision)
    if tuple(column.id for column in table.outputs) != OUTPUTS:
        yield "outputs", f"must be {', '.join(OUTPUTS)}"
    for column in (*table.inputs, *table.outputs):
        if column.field != column.id:
            yield f"columns.{column.id}", "its id and its field must be the same word"
    for column in table.inputs:
        if column.field not in RuleContext.__struct_fields__:
            yield f"columns.{column.id}", "the rule context has no such field"
    columns = {column.id for column in table.inputs}
    seen: set[str] = set()
    for number, row in enumerate(table.rules, start=1):
        rule_id = row.get("_id", f"row {number}")
        if rule_id in seen:
            yield f"rules.{rule_id}", "two rules have this id"
        seen.add(rule_id)
        yield from ((f"rules.{rule_id}.{cell}", fault) for cell, fault in _row_faults(row, columns))


def _row_faults(row: _Row, columns: set[str]) -> Iterator[tuple[str, str]]:
    for cell in {"_id", "_description", *OUTPUTS} - set(row):
        yield cell, "is missing"
    for cell in set(row) - {"_id", "_description", *OUTPUTS} - columns:
        yield cell, "the table has no such column"
    if not row.get("_description", "").startswith(SOURCE_STATUSES):
        yield "_description", "must say its source after statutory:, guidance: or local:"
    known: Mapping[str, tuple[str, ...]] = {
        "rule_id": (row.get("_id", ""),),
        "risk_grade": get_args(RiskGrade),
        "level_of_need": get_args(LevelOfNeed),
    }
    for output, words in known.items():
        if output in row and row[output] not in [f'"{word}"' for word in words]:
            yield output, "must be a quoted known word, and rule_id the row's own id"
    conditions = {cell: row[cell] for cell in columns & set(row) if row[cell].strip()}
    if not set(conditions) - {"referral_type"}:
        yield "conditions", "a rule must ask for more than the type of referral; a catch-all hides gaps"
    if DASH in conditions and not set(conditions) - {"referral_type", DASH}:
        yield DASH, "a DASH count never grades alone"
    for cell, expression in conditions.items():
        if cell in RuleContext.__struct_fields__ and (fault := _cell_fault(cell, expression)):
            yield cell, fault


def _cell_fault(field: str, expression: str) -> str | None:
    """What is wrong with a cell, found by running it over the values its field can take; None if nothing."""
    possible, silent = _VALUES[field]
    try:
        compiled = zen.compile_unary_expression(expression)
        answers = [compiled.evaluate({"$": value}) for value in possible]
    except Exception:  # noqa: BLE001  the engine raises nothing narrower
        return "is not an expression the engine can run on this field"
    if not set(answers) <= {True, False}:
        return "does not answer yes or no"
    if True not in answers:
        return "matches no value the field can take"
    if False not in answers:
        return "matches every value the field can take; leave it empty instead"
    if silent is not msgspec.UNSET and _matches(compiled, silent):
        return "matches what is not known"
    return None


def _matches(compiled: "zen.Expression", value: object) -> bool:
    try:
        return bool(compiled.evaluate({"$": value}))
    except Exception:  # noqa: BLE001  as above; in a table such a cell does not match
        return False


def _values_of(kind: msgspec.inspect.Type) -> tuple[tuple[Any, ...], Any]:
    """The values to run a cell on, and the one that means nothing is known (``UNSET`` if that has a word)."""
    match kind:
        case msgspec.inspect.LiteralType(values=words):
            return words, msgspec.UNSET
        case msgspec.inspect.VarTupleType(item_type=msgspec.inspect.LiteralType(values=words)):
            return tuple([word] for word in words), []
        case _:
            return _PROBED_COUNTS, None


_STRUCT = msgspec.inspect.type_info(RuleContext)
assert isinstance(_STRUCT, msgspec.inspect.StructType)  # noqa: S101  narrows for mypy; true by definition
_VALUES: Final = {field.name: _values_of(field.type) for field in _STRUCT.fields}
