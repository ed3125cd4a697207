"""Our three programs as processes: started, watched, stopped, and always gone at the end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.orphans import ends_with_us

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 45.0  # two busy cores; a condition that holds is seen at once
_LOOK_EVERY_S = 0.03


def until(
    holds: Callable[[], bool], what: Callable[[], str], *, within_s: float = PATIENCE_S
) -> None:
    """Return when the condition holds; else fail with what there is instead."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what()}")
        time.sleep(_LOOK_EVERY_S)


class Process(Protocol):
    """What we need of `subprocess.Popen`."""

    @property
    def pid(self) -> int:
        """Return its number."""
        ...

    def poll(self) -> int | None:
        """Return its exit status, a signal's number negative; None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit status."""
        ...

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""
        ...


@dataclass(slots=True)
class Program:
    """One program; its output goes to a file."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    _process: Process | None = field(default=None)

    def start(self) -> None:
        """Start it; its readiness is the caller's condition."""
        assert self._process is None, f"{self.name} runs already"
        self._process = self._begin()

    def _begin(self) -> Process:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [*ends_with_us(), sys.executable, *self.arguments],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self._process is not None and self._process.poll() is None

    def require_alive(self) -> None:
        """Fail if it ended by itself."""
        assert self._process is not None, f"{self.name} was not started"
        code = self._process.poll()
        assert code is None, f"{self.name} ended with {code}"

    def stop(self) -> None:
        """Tell it to stop, as a person does; it must end by itself and without an error."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=PATIENCE_S)
        self._process = None
        assert code == 0, f"{self.name} stopped with {code}"

    def wait(self) -> None:
        """Wait until it has done its work and ended without an error."""
        assert self._process is not None
        code = self._process.wait(timeout=PATIENCE_S)
        self._process = None
        assert code == 0, f"{self.name} ended with {code}: {self.text}"

    def kill(self) -> None:
        """End it in the middle of everything."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def wait_killed(self) -> None:
        """Wait until it has killed itself."""
        assert self._process is not None
        code = self._process.wait(timeout=PATIENCE_S)
        self._process = None
        assert code == -signal.SIGKILL, f"{self.name} was to be killed, it ended with {code}"

    def wait_frozen(self) -> None:
        """Wait until it has stopped itself in its tracks."""
        assert self._process is not None
        until(lambda: self.is_frozen, lambda: f"{self.name} runs")

    @property
    def is_frozen(self) -> bool:
        """Return whether it is stopped in its tracks (Linux: the letter after its name)."""
        try:
            stat = (
                "" if self._process is None else Path(f"/proc/{self._process.pid}/stat").read_text()
            )
        except (FileNotFoundError, ProcessLookupError):  # it died meanwhile
            return False
        return stat.rpartition(")")[2].split()[:1] == ["T"]

    def send(self, number: signal.Signals) -> None:
        """Send it a signal and go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def thaw(self) -> None:
        """Let it go on where it was."""
        self.send(signal.SIGCONT)

    @property
    def text(self) -> str:
        """Return everything that it has said, all its lives together."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""
