"""Write the golden payload of a new fact version from a draft on standard input; never over an old one.

``python scripts/new_golden.py triage RiskGraded < draft.json``: the draft is read as today's fact, so it must
hold every field that has no default, and written as ``encode_open`` stores it.
"""

import sys
from pathlib import Path

from hub_kernel import access_log
from hub_schemas import intake, partner_gateway, triage
from hub_schemas.registry import Registry, encode_open

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "facts"
REGISTRIES: dict[str, Registry] = {
    "intake": intake.REGISTRY,
    "triage": triage.REGISTRY,
    "partner_gateway": partner_gateway.REGISTRY,
    "access": access_log.REGISTRY,
}


def main(service: str, name: str) -> int:
    """Return 0 when the payload is written, 1 when its version has one already."""
    kind = next(kind for kind in REGISTRIES[service] if kind.__name__ == name)
    fact = REGISTRIES[service].decode(name, kind.schema_version, sys.stdin.buffer.read())
    path = GOLDEN / service / f"{name}.v{kind.schema_version}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(encode_open(fact) + b"\n")
    except FileExistsError:
        sys.stderr.write(f"{path.name} is there and stays: raise {name}'s schema_version first.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
