"""One broker's process: started so that it dies with us, found again by its pid, signalled, awaited."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

# The broker has no way to notice that whoever started it was killed. The shell beside it does: it holds the
# reading end of a pipe that closes with us. (The kernel's own parent-death signal follows the thread that
# started the child, and ours comes and goes with a pool.)
_WATCHED: Final = """
exec 3<&0
LC_ALL=C.UTF-8 "$@" </dev/null >&2 3<&- & broker=$!
echo "$broker" >"$0"
(read -r _ <&3; kill -KILL "$broker") >&2 & watcher=$!
echo "$broker"
exec >&2 3<&-
wait "$broker"; ended=$?
kill "$watcher"
exit "$ended"
"""
_PID_FILE: Final = "kafka.pid"
_POLL_SECONDS, _LEFTOVER_SECONDS = 0.02, 30.0


class BrokerProcess:
    """A broker started by this process, which has not been awaited yet."""

    def __init__(self, shell: "subprocess.Popen[bytes]", pid: int) -> None:
        self._shell = shell
        self.pid = pid

    @classmethod
    def launch(cls, command: Sequence[str], home: Path, log: Path) -> Self:
        """Starts ``command`` in ``home``, what it says appended to ``log``.

        In a session of its own: a Ctrl-C in the terminal is for the hub, which then stops the broker. Raises
        OSError if the system starts no more processes.
        """
        with log.open("ab") as output:
            shell = subprocess.Popen(  # noqa: S603  our own programs; no part of the command comes from a caller
                ["/bin/sh", "-c", _WATCHED, _PID_FILE, *command],
                cwd=home,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )
        assert shell.stdout is not None  # noqa: S101  asked for above
        said = shell.stdout.readline()
        if not said:
            shell.wait()
            raise OSError(f"the shell ended with {shell.returncode}")
        return cls(shell, int(said))

    def is_running(self) -> bool:
        """Whether it is still there."""
        return self._shell.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Sends the signal to the broker, if it is still there."""
        if self.is_running():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def ended_within(self, seconds: float) -> bool:
        """Waits for the end; False if it did not come in time."""
        try:
            self._shell.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        for pipe in (self._shell.stdin, self._shell.stdout):
            if pipe is not None:
                pipe.close()
        return True

    def kill(self) -> None:
        """SIGKILL, and the end of it."""
        self.signal(signal.SIGKILL)
        self.ended_within(_LEFTOVER_SECONDS)


def end_leftover(home: Path) -> None:
    """Ends the broker that a killed process left in ``home``; its shell is about to do the same, or gone too.

    Call it with ``home`` locked. Raises TimeoutError if it does not go.
    """
    try:
        pid = int((home / _PID_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return
    for _ in range(round(_LEFTOVER_SECONDS / _POLL_SECONDS)):
        if not _is_broker_of(home, pid):
            return
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"the broker left by a killed process (pid {pid}) does not go")


def _is_broker_of(home: Path, pid: int) -> bool:
    """Whether ``pid`` runs in ``home`` and is no other program with a pid used again.

    Where there is no /proc it is left to its shell: killing by pid alone may hit a stranger.
    """
    process = Path(f"/proc/{pid}")
    try:
        return process.joinpath("cwd").readlink() == home and (
            b"kafka.Kafka" in process.joinpath("cmdline").read_bytes().split(b"\0")
        )
    except OSError:
        return False
