"""The command line ``hub``: which commands there are, and how each of them ends."""

import signal
import sys
from importlib import import_module
from types import FrameType
from typing import Any, Final, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from hub_kernel.errors import HubError, Malformed
from hub_kernel.settings import Settings
from hub_kernel.telemetry import configure_logging

_FOUND_WRONG: Final = 1
_MISUSED: Final = 2
_ENDED_BY_SIGNAL: Final = 128

_COMMANDS: Final = (
    "run", "up", "demo", "log", "replay", "walk", "token", "sign-in", "migrate", "rebuild", "topics", "acls",
    "lag", "audit", "parked",
)  # fmt: skip


class _OnDemand(TyperGroup):
    """Commands whose modules are loaded when they are asked for: all of them together take over a second."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of help."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One command, from the module of ``hub_embedded.commands`` that has its name."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command = getattr(import_module(f"hub_embedded.commands.{module}"), module)
        if not isinstance(command, typer.Typer):
            # Pretty tracebacks print local variables, and those may hold personal data.
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            alone.command(cmd_name)(command)
            command = alone
        found = typer.main.get_command(command)
        found.name = cmd_name
        return found


app = typer.Typer(
    name="hub",
    cls=_OnDemand,
    help="The referral hub: run it, look into its logs, keep it in order. Settings are HUB_ variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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
