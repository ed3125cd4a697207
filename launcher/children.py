"""The processes of `make run`: each in a session of its own, its lines passed on, none left behind.

Ctrl-C reaches the launcher alone, which stops the others in order. If the launcher is killed, a
small shell process, which holds the other end of a pipe, notices and stops them.
"""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from collections.abc import Mapping, Sequence
from subprocess import DEVNULL
from typing import Final

from launcher.errors import LaunchError
from launcher.screen import Screen

TAIL: Final = 5  # last lines, shown again when a process ends by itself
STOP_WITHIN_S: Final = (5.5, 2.5)  # the traders first, then their exchange: 10 s for all
_LONGEST_LINE: Final = 64 * 1024

# Reads process groups; `done` ends it. The pipe's end without it means: the launcher was killed.
_GUARD: Final = """
groups=
while read -r group; do
  [ "$group" = done ] && exit 0
  groups="$groups -$group"
done
[ -n "$groups" ] || exit 0
kill -s TERM -- $groups 2>/dev/null
left=8
while [ $left -gt 0 ] && kill -s 0 -- $groups 2>/dev/null; do sleep 1; left=$((left - 1)); done
kill -s KILL -- $groups 2>/dev/null
exit 0
"""


class ChildEnded(LaunchError):
    """A process ended although nobody told it to; `tail` is what it said last."""

    def __init__(self, text: str, tail: Sequence[str]) -> None:
        self.tail = tuple(tail)
        super().__init__(text)


class Child:
    """One running process."""

    def __init__(self, name: str, process: Process, *, stops_last: bool) -> None:
        self.name = name
        self.process = process
        self.stops_last = stops_last
        self.tail: deque[str] = deque(maxlen=TAIL)
        self.reading: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Return whether it has not ended."""
        return self.process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def ended(self) -> ChildEnded:
        """Return what to say of its end."""
        code = self.process.returncode
        how = f"exit code {code}"
        if code is not None and code < 0:
            how = f"killed by {signal.Signals(-code).name}"
        text = f"the {self.name} process ended by itself ({how}), so everything is stopped"
        return ChildEnded(text, self.tail)


class Children:
    """All of them; to be used as a context, whose end stops what still runs."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._children: list[Child] = []
        self._guard: Process | None = None
        self._first_end: asyncio.Future[Child] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> "Children":
        """Start the guard."""
        self._guard = await asyncio.create_subprocess_exec(
            "/bin/sh",
            *("-c", _GUARD, "tradebox-guard"),
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=DEVNULL,
            start_new_session=True,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything: the paper exchange after those that trade on it."""
        for stops_last, within_s in zip((False, True), STOP_WITHIN_S, strict=True):
            turn = [child for child in self._children if child.stops_last is stops_last]
            await self._stop(turn, within_s)
        readers = [child.reading for child in self._children if child.reading is not None]
        if readers:
            await asyncio.wait(readers, timeout=0.5)
        for reader in readers:
            reader.cancel()
        await self._dismiss_guard()

    async def start(
        self,
        name: str,
        arguments: Sequence[str],
        env: Mapping[str, str],
        *,
        stops_last: bool = False,
    ) -> Child:
        """Start a Python program and pass its lines on."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            env={**env, "PYTHONUNBUFFERED": "1"},
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
        )
        child = Child(name, process, stops_last=stops_last)
        self._children.append(child)
        self._tell_guard(f"{process.pid}\n")
        child.reading = asyncio.create_task(self._read(child), name=f"lines of {name}")
        return child

    async def first_end(self) -> Child:
        """Return the first process that ends by itself, as soon as it does."""
        return await asyncio.shield(self._first_end)

    async def _read(self, child: Child) -> None:
        stream, rest = child.process.stdout, b""
        assert stream is not None
        while chunk := await stream.read(_LONGEST_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._line(child, line)
        if rest:
            self._line(child, rest)
        await child.process.wait()
        if not self._first_end.done():
            self._first_end.set_result(child)

    def _line(self, child: Child, raw: bytes) -> None:
        text = raw.decode(errors="replace").rstrip()
        child.tail.append(text)
        self._screen.of(child.name, text)

    async def _stop(self, children: Sequence[Child], within_s: float) -> None:
        running = [child for child in children if child.is_running]
        for child in running:
            child.signal(signal.SIGTERM)
        waits = [asyncio.create_task(child.process.wait()) for child in running]
        if waits:
            await asyncio.wait(waits, timeout=within_s)
        for child in running:
            if child.is_running:
                self._screen.say(f"the {child.name} process does not stop; it is killed")
        for child in children:
            child.signal(signal.SIGKILL)  # also whatever it may have started and left
        if waits:
            await asyncio.wait(waits)

    def _tell_guard(self, text: str) -> None:
        assert self._guard is not None
        assert self._guard.stdin is not None
        self._guard.stdin.write(text.encode())

    async def _dismiss_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is None:
            return
        with contextlib.suppress(OSError):  # somebody killed it
            await guard.communicate(b"done\n")
