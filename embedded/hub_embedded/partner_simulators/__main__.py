"""Start the simulated partners: ``python -m hub_embedded.partner_simulators --port 8031 --state FILE``."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvicorn

from hub_embedded.partner_simulators.behaviour import Behaviour
from hub_embedded.partner_simulators.ledger import Ledger
from hub_embedded.partner_simulators.systems import Tenancy, simulators


def main(
    *,
    port: Annotated[int, typer.Option(help="port on 127.0.0.1")],
    state: Annotated[Path, typer.Option(help="SQLite file that keeps what the partners were sent")],
    tenancies: Annotated[Path, typer.Option(help="JSON list of the partners, with their tokens")],
    behaviour: Annotated[
        str, typer.Option(help="JSON: mode, mix, seed, slow_seconds, decide_seconds")
    ] = "{}",
) -> None:
    """Serve every partner of the list below its name until stopped."""
    partners = msgspec.json.decode(tenancies.read_bytes(), type=list[Tenancy])
    app = simulators(partners, Ledger(state), msgspec.json.decode(behaviour, type=Behaviour))
    uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", log_level="warning", access_log=False)


if __name__ == "__main__":
    typer.run(main)
