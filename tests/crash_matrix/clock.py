"""The machine's clock steps by an hour while a cycle is open: under API, monitor and SQLite.

The exchange stands elsewhere, its clock is right, and so is that of a PostgreSQL server.
"""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.crash_matrix.performance import Performance, Picture
from tests.crash_matrix.tales import Tale
from tests.integration.e2e.world import World

STEPS_S: Final = {"an hour forwards": 3600, "an hour backwards": -3600}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockRow:
    """One step of the clock, at the beginning of an act; `killed` dies in the same moment."""

    step: str
    act: int
    killed: str = ""

    def __str__(self) -> str:
        return f"clock {self.step}" + (f", {self.killed} killed" if self.killed else "")


def clock_rows(tale: Tale) -> Iterator[ClockRow]:
    """Yield what is to be tried: each act under each step, and each process killed with it."""
    for step in STEPS_S:
        for act in range(1, len(tale.acts)):
            yield ClockRow(step=step, act=act)
        for killed in ("monitor", "api"):
            yield ClockRow(step=step, act=tale.recovery, killed=killed)


def perform_clock(world: World, tale: Tale, row: ClockRow, end: Picture) -> None:
    """Play a tale with the clock stepped in it; raise AssertionError if the end is another."""
    play = Performance(world, tale, waits_for_leases=True)
    play.before_act = partial(_disturb, world, row)
    picture = play.play()
    world.step_clock(0)
    assert picture is not None
    assert picture == end, picture.difference(end)
    assert play.deaths == bool(row.killed)


def _disturb(world: World, row: ClockRow, act: int) -> None:
    if act != row.act:
        return
    world.step_clock(STEPS_S[row.step])
    if row.killed:
        program = world.monitor if row.killed == "monitor" else world.api
        program.send(signal.SIGKILL)
