"""API and monitor as forks of a process that has imported everything: a start costs no imports.

They are processes of their own all the same: sockets, memory, signals and death are theirs.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.integration.e2e.dying import become
from tests.integration.e2e.programs import ROOT, Process, Program

_PRELOADED = (
    "tests.crash_matrix.in_fork_server",
    "main",
    "ws_monitor_async",
    "tests.crash_matrix.forked",
)
_PR_SET_PDEATHSIG = 1
# What multiprocessing says when the fork server's word on the end of a process did not come
# through; no program of ours ends with it, so it was a signal.
_STATUS_LOST = 255
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(list(_PRELOADED))


def start_fork_server() -> None:
    """Start what forks: from the main thread, because it ends with the thread that started it."""
    forkserver.ensure_running()


@dataclass(frozen=True, slots=True)
class _Fork:
    """`Process` over what multiprocessing gives."""

    process: ForkServerProcess

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def poll(self) -> int | None:
        code = self.process.exitcode
        return -signal.SIGKILL if code == _STATUS_LOST else code

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        code = self.poll()
        assert code is not None, f"process {self.pid} does not end"
        return code

    def send_signal(self, sig: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it ended, and nobody told us yet
            os.kill(self.pid, sig)


class ForkedProgram(Program):
    """A program of `World` that was made `mortal`, forked instead of started anew."""

    def _begin(self) -> Process:
        process = _context.Process(
            target=_live,
            args=(tuple(self.arguments), dict(self.environment), self.log),
            name=self.name,
        )
        process.start()
        return _Fork(process)


def _live(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # not to outlive the fork server
    os.setsid()
    os.chdir(ROOT)
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(output, number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _, folder, program, script, *rest = arguments
    sys.stdout, sys.stderr = open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
    become(script, rest, folder=Path(folder), program=program)
