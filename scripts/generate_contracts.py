"""Write the contract files anew from the code: JSON Schemas, AsyncAPI, OpenAPI and the reference pages.

``python scripts/generate_contracts.py``. A schema on file is never overwritten: what was written by it stays
in the logs. While no commit holds a version yet, ``--unreleased`` writes it anew.
"""

import sys
from pathlib import Path

from hub_embedded.contracts.generating import REMADE, ContractBroken, generated, on_file

ROOT = Path(__file__).parents[1]


def main(*options: str) -> int:
    """Return 0 when every file is as the code has it, 1 when a contract is broken and nothing is written."""
    try:
        files = generated(ROOT, unreleased="--unreleased" in options)
    except ContractBroken as broken:
        sys.stderr.write(f"{broken}\n")
        return 1
    for path, content in files.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_bytes(content)
    for path in on_file(ROOT, *REMADE).keys() - files.keys():
        (ROOT / path).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
