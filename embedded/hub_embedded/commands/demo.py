"""``hub demo``: so many invented referrals through a fresh hub, and a count of what came of each."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ClassVar, Final

import msgspec
import typer

from hub_embedded.demo.generator import SEED
from hub_embedded.demo.report import Report
from hub_embedded.demo.run import run_demo
from hub_embedded.launch import start
from hub_kernel.clock import new_id
from hub_kernel.errors import Rejected
from hub_kernel.settings import Settings

_FOUND_WRONG: Final = 1
_REFERRALS: Final = 200


class DirectoryNotEmpty(Rejected):
    """A demo counts everything in its data directory. Name one that is empty or not there yet."""

    slug: ClassVar[str] = "directory-not-empty"


def demo(
    *,
    referrals: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many to post.")] = _REFERRALS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
    seed: Annotated[int, typer.Option(help="Another number, other people.")] = SEED,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Posts a second; otherwise as fast as they are accepted.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where to keep it all; otherwise a directory that is removed again.")
    ] = None,
    processes: Annotated[
        bool, typer.Option("--processes", help="As in production: a real Kafka, a process for each service.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the directory, and say where it is.")] = False,
) -> None:
    """Run a fresh hub with simulated partners and staff until every delivery has ended, and count.

    Ends with 1 if anything was lost or there twice.
    """
    with _directory(data_dir, keep=keep) as directory:
        settings = _settings(directory)
        report = start(run_demo(settings, referrals=referrals, seed=seed, rate=rate, processes=processes))
    if as_json:
        typer.echo(msgspec.json.encode(report))
    else:
        _print(report)
    if report.lost or report.duplicated:
        raise typer.Exit(_FOUND_WRONG)


@contextmanager
def _directory(chosen: Path | None, *, keep: bool) -> Iterator[Path]:
    """The data directory of this run. Raises ``DirectoryNotEmpty``."""
    if chosen is not None:
        if chosen.exists() and any(chosen.iterdir()):
            raise DirectoryNotEmpty
        yield chosen
        return
    # Not mkdtemp: the hub makes its directory itself, so that the database's own account can reach inside.
    fresh = Path(tempfile.gettempdir()) / f"hub-demo-{new_id()}"
    try:
        yield fresh
    finally:
        if keep:
            typer.echo(f"Kept in {fresh}", err=True)
        else:
            shutil.rmtree(fresh, ignore_errors=True)


def _settings(directory: Path) -> Settings:
    """The settings of the environment, but never a configured database, key or identity provider."""
    own = dict.fromkeys(("database_url", "master_key", "master_key_file", "issuer", "issuer_jwks_file"))
    return Settings().model_copy(update={**own, "data_dir": directory, "host": "127.0.0.1", "port": 0})


def _print(report: Report) -> None:
    for name, value in msgspec.structs.asdict(report).items():
        typer.echo(f"{name:<13} {value:>8,}")
