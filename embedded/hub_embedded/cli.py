"""The command line ``hub``: which commands there are, and how each of them ends."""

import signal
import sys
from types import FrameType
from typing import Final, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from hub_embedded.commands.acls import acls
from hub_embedded.commands.audit import audit
from hub_embedded.commands.demo import demo
from hub_embedded.commands.lag import lag
from hub_embedded.commands.log import log
from hub_embedded.commands.migrate import migrate
from hub_embedded.commands.parked import parked
from hub_embedded.commands.rebuild import rebuild
from hub_embedded.commands.replay import replay
from hub_embedded.commands.run import run
from hub_embedded.commands.sign_in import sign_in
from hub_embedded.commands.token import token
from hub_embedded.commands.topics import topics
from hub_embedded.commands.up import up
from hub_embedded.commands.walk import walk
from hub_kernel.errors import HubError, Malformed
from hub_kernel.settings import Settings
from hub_kernel.telemetry import configure_logging

_FOUND_WRONG: Final = 1
_MISUSED: Final = 2
_ENDED_BY_SIGNAL: Final = 128

# Pretty tracebacks print local variables, and those may hold personal data.
app = typer.Typer(
    name="hub",
    help="The referral hub: run it, look into its logs, keep it in order. Settings are HUB_ variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (run, up, demo, log, replay, walk, token, sign_in, migrate, rebuild, topics, acls, lag):
    app.command()(command)
app.add_typer(audit, name="audit")
app.add_typer(parked, name="parked")


@app.callback()
def prepare() -> None:
    """The referral hub: run it, look into its logs, keep it in order. Settings are HUB_ variables."""
    configure_logging(Settings().log_level)


def main() -> None:
    """Run one command.

    Exit codes: 0 well, 1 something was found wrong or is not there, 2 not a command as help shows it. What
    can be expected to go wrong is one line on standard error that says what to do next.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        app()
    except HubError as error:
        fields = "".join(f" {name}: {problem}." for name, problem in error.fields.items())
        _end(error.detail + fields, _MISUSED if isinstance(error, Malformed) else _FOUND_WRONG)
    except ValidationError as error:
        problems = [f"HUB_{'_'.join(map(str, p['loc'])).upper()}: {p['msg']}" for p in error.errors()]
        _end(f"A setting cannot be used. {'; '.join(problems)}.", _MISUSED)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """End by way of every ``finally``: a database server that was started for a command is stopped again."""
    sys.exit(_ENDED_BY_SIGNAL + number)


def _end(message: str, code: int) -> NoReturn:
    Console(stderr=True).print(Text(message, style="red"), soft_wrap=True)
    sys.exit(code)
