"""What the person at the terminal sees: the children's lines with their names, and our own.

A terminal that is paused, or a pipe that nobody reads, must never hold up the processes that
trade: lines are written by a thread of their own, and beyond a bound they are dropped.
"""

import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TextIO

WAITING_LINES: Final = 10_000
_COLOURS: Final = {"paper": "36", "api": "32", "monitor": "33"}
_BOLD, _RED = "1", "31"
_NAME_WIDTH: Final = 7
# Our log lines, as core.logging_setup writes them: the date and INFO go without saying.
_LOG_LINE: Final = re.compile(r"^\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)\.\d{3}Z ([A-Z]+) +")
_SERIOUS: Final = ("WARNING", "ERROR", "CRITICAL")


class Screen:
    """Standard output, shared by all."""

    def __init__(
        self, stream: TextIO | None = None, *, on_gone: Callable[[], None] | None = None
    ) -> None:
        self._stream = stream or sys.stdout
        self._is_coloured = self._stream.isatty() and not os.environ.get("NO_COLOR")
        self._waiting: queue.Queue[str | None] = queue.Queue(WAITING_LINES)
        self._dropped = 0
        self.on_gone = on_gone  # called by the writing thread when nobody can read any more
        self._thread = threading.Thread(target=self._write_all, name="screen", daemon=True)
        self._thread.start()

    def of(self, name: str, line: str) -> None:
        """Show a line of a child."""
        text, is_serious = readable(line)
        if is_serious:
            text = self._painted(text, _RED)
        prefix = self._painted(f"{name:<{_NAME_WIDTH}} |", _COLOURS.get(name, _BOLD))
        self._put(f"{prefix} {text}")

    def say(self, text: str) -> None:
        """Show a line of ours."""
        self._put(self._painted(f">>> {text}", _BOLD))

    def show(self, lines: Iterable[str]) -> None:
        """Show lines that belong to the one said before."""
        for line in lines:
            self._put(f"    {line}" if line else "")

    def close(self) -> None:
        """Write what still waits, if somebody reads it."""
        try:
            self._waiting.put(None, timeout=1)
        except queue.Full:
            return
        self._thread.join(timeout=1)

    def _put(self, line: str) -> None:
        try:
            if self._dropped:
                self._waiting.put_nowait(f"({self._dropped} lines were not shown)")
                self._dropped = 0
            self._waiting.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._is_coloured else text

    def _write_all(self) -> None:
        while (line := self._waiting.get()) is not None:
            try:
                self._stream.write(line + "\n")
                if self._waiting.empty():
                    self._stream.flush()
            except (OSError, ValueError):  # the reader went away
                self._give_up()
                return

    def _give_up(self) -> None:
        """Send what still comes nowhere, so that not even the interpreter's end complains."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self._stream.fileno())
        except (OSError, ValueError):
            return
        finally:
            os.close(nowhere)
            if self.on_gone is not None:
                self.on_gone()


def readable(line: str) -> tuple[str, bool]:
    """Return a child's line as it is shown, and whether it is a warning or worse."""
    is_serious = False
    match = _LOG_LINE.match(line)
    if match is not None:
        is_serious = match.group(2) in _SERIOUS
        level = f"{match.group(2)} " if is_serious else ""
        line = f"{match.group(1)} {level}{line[match.end() :]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line), is_serious


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return aligned lines: the first column to the left, numbers to the right."""
    widths = [max(len(row[n]) for row in (header, *rows)) for n in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return ["  ".join(_cells(line, widths)).rstrip() for line in lines]


def _cells(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = [f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)]
    return [f"{line[0]:<{widths[0]}}" if first else first, *others]
