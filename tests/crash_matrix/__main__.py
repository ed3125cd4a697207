"""Kill API and monitor at every point of whole cycles, restart them, and compare the ends.

    python -m tests.crash_matrix [--database postgresql] [--tales hedged,…] [--workers 8]

Each tale is first played undisturbed: that gives the points and the end. Then it is played once
for each point and mode, see `performance.Mode`. The table goes to standard output, its last line
has the figures; the exit status is 0 only if everything held.
"""

import argparse
import itertools
import queue
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crash_matrix.clock import (
    ClockRow,
    clock_rows,
    perform_clock,
)
from tests.crash_matrix.forked import ForkedProgram, start_fork_server
from tests.crash_matrix.performance import Death, FrozenWithDatabase, Mode, Performance, Picture
from tests.crash_matrix.points import Point, points_of
from tests.crash_matrix.tales import HEDGED, PRICES, TALES, Tale
from tests.integration.e2e.world import World, running
from tests.integration.store_worlds import migrate
from tests.postgres import running_server

REHEARSALS: Final = 2  # undisturbed runs: what the second one tells anew is a point, too
CLOCK_TALE: Final = HEDGED
_SHOWN: Final = 3_000  # characters of a log beside a failure

SAME, HOLDS, NOT_MET, FAILED = "same end", "holds", "NOT MET", "FAILED"


@dataclass(frozen=True, slots=True)
class Try:
    """How a point is looked for again: in a world like that in which it was told.

    Attributes:
        is_later: the account has had a cycle, and a start still looks at it; else it is the first.
        news: faults by which the exchange's news come in another order: what came together comes
            apart, the stream before the answer, the answer after somebody asked.
    """

    is_later: bool = False
    news: tuple[Mapping[str, object], ...] = ()


_LATE: Final = {"action": "late", "route": "private", "count": 10_000}
_SLOW: Final = {"action": "delay", "when": "after", "count": 10_000}
TRIES: Final = (
    Try(),  # in whatever world there is
    Try(),
    Try(is_later=True),
    Try(news=({**_LATE, "delay_ms": 300},)),
    Try(news=({**_SLOW, "delay_ms": 300, "method": "POST"},)),
    Try(news=({**_SLOW, "delay_ms": 2_000, "method": "POST", "client_id": "-en0-"},)),
    Try(news=({**_LATE, "delay_ms": 200, "chance": 0.5, "seed": 1},)),
    Try(news=({**_SLOW, "delay_ms": 100, "chance": 0.5, "seed": 1},), is_later=True),
)


@dataclass(frozen=True, slots=True)
class Job:
    """One point in one mode."""

    point: Point
    mode: Mode


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job."""

    job: Job
    result: str
    text: str = ""


@dataclass(slots=True)
class Matrix:
    """The jobs, and what came of them."""

    ends: dict[str, Picture] = field(default_factory=dict)
    moments: int = 0
    points: list[Point] = field(default_factory=list)
    outcomes: dict[tuple[Point, Mode], Outcome] = field(default_factory=dict)
    clocks: dict[ClockRow, str] = field(default_factory=dict)
    ended_workers: int = 0  # by what was no point's outcome; their jobs went to the others

    def rehearse(self, world: World, tale: Tale) -> tuple[int, list[Point]]:
        """Play a tale undisturbed; note its end, return how many moments it has, and its points."""
        told, moments = [], 0
        for number in range(REHEARSALS):
            plays = [Performance(world, tale)]
            plays += [Performance(world, tale, death=_comes_back(p)) for p in ("api", "monitor")]
            for play in plays:
                picture = play.play()
                assert picture is not None
                end = self.ends.setdefault(tale.name, picture)
                assert picture == end, f"{tale.name}: {picture.difference(end)}"
                is_whole = play.death is None
                found = [t for t in play.told() if is_whole or t.is_recovery]
                moments += len(found) if not number else 0
                told += found
        return moments, list(points_of(tale, told))

    def add(self, points: Iterable[Point]) -> None:
        """Take points on; what the API does, a start and a timer are the same in every tale."""
        known = {
            point.death
            for point in self.points
            if point.death.program == "api" or point.death.is_recovery or point.death.act is None
        }
        self.points += [point for point in points if point.death not in known]

    def jobs(self, modes: Sequence[Mode]) -> list[Job]:
        """Return what is to be played: every point, or those beside a change of the exchange."""
        return [
            Job(point, mode)
            for mode in modes
            for point in self.points
            if mode in (Mode.HELD, Mode.GOES_ON)
            or (point.tale is HEDGED and point.changes_the_exchange and not point.death.is_recovery)
        ]


def _comes_back(program: str) -> Death:
    return Death(act=None, program=program, point="", is_recovery=True)


class Stage:
    """Worlds, one for each worker; one in which something failed is left as it is."""

    def __init__(self, folder: Path, database: str) -> None:
        self._folder, self._database = folder, database
        self._number = itertools.count(1)

    @contextmanager
    def opened(self) -> Iterator["Stage"]:
        """Have what all worlds need."""
        if self._database == "sqlite":
            self._template = f"sqlite:///{self._folder / 'template.db'}"
            migrate(self._template)
            yield self
            return
        with running_server() as server:
            self._server = server
            self._template = server.create_database()
            migrate(self._template)
            yield self

    @contextmanager
    def world(self) -> Iterator[World]:
        """Run a new world."""
        folder = self._folder / f"world-{next(self._number)}"
        folder.mkdir()
        if self._database == "sqlite":
            shutil.copy(self._folder / "template.db", folder / "tradebox.db")
            url = f"sqlite:///{folder / 'tradebox.db'}"
        else:
            url = self._server.create_database(template=self._template)
        with running(World(folder, url, PRICES, mortal=True, kind=ForkedProgram)) as world:
            yield world


def perform(world: World, job: Job, end: Picture, tries: int) -> Outcome:
    """Play one job; raise AssertionError where it did not hold."""
    tale, one = job.point.tale, TRIES[tries - 1]
    if one.is_later:
        Performance(world, tale).play()
    death = job.point.known_by(tries)
    play = Performance(world, tale, death=death, mode=job.mode, news=one.news)
    try:
        picture = play.play()
    except FrozenWithDatabase:
        return Outcome(job, NOT_MET)
    if picture is not None:
        assert picture == end, picture.difference(end)
    if not play.deaths:
        return Outcome(job, NOT_MET)
    return Outcome(job, HOLDS if picture is None else SAME)


def work(stage: Stage, matrix: Matrix, jobs: "queue.SimpleQueue[Job]", total: int) -> None:
    """Play jobs until there are none.

    What failed leaves its world behind. What did not come to its point is tried again, in a new
    world: the leverage is set once in the life of an account, other things once in a minute. A new
    exchange has a new budget, too: that of an old one would have to be waited for.
    """
    job: Job | None = None
    tries = 0
    while job is not None or not jobs.empty():
        with stage.world() as world:
            while job is not None or world.has_room():
                if job is None:
                    try:
                        job, tries = jobs.get_nowait(), 0
                    except queue.Empty:
                        return
                tries += 1
                try:
                    outcome = perform(world, job, matrix.ends[job.point.tale.name], tries)
                except Exception as error:  # noqa: BLE001  # whatever it is, it is the outcome
                    outcome = Outcome(job, FAILED, f"{type(error).__name__}: {error}")
                if outcome.result == NOT_MET and tries < len(TRIES):
                    break
                job = None
                matrix.outcomes[outcome.job.point, outcome.job.mode] = outcome
                _tell_progress(matrix, outcome, total, world)
                if outcome.result == FAILED:
                    break


def step_clocks(stage: Stage, matrix: Matrix, tale: Tale) -> None:
    """Step the machine's clock in every act of a tale, and once more beside a death."""
    rows = list(clock_rows(tale))
    while rows:
        with stage.world() as world:
            while rows:
                row = rows.pop(0)
                try:
                    perform_clock(world, tale, row, matrix.ends[tale.name])
                except Exception as error:  # noqa: BLE001  # whatever it is, it is the outcome
                    matrix.clocks[row] = FAILED
                    text = f"{type(error).__name__}: {error}"
                    _say(f"{FAILED}: {tale.acts[row.act].name}, {row}: {text}\n  {world.folder}")
                    break
                matrix.clocks[row] = SAME


def _tell_progress(matrix: Matrix, outcome: Outcome, total: int, world: World) -> None:
    done = len(matrix.outcomes)
    if outcome.result in (FAILED, NOT_MET):
        job = outcome.job
        where = f"{job.point.tale.name}, {job.point.act_name}, {job.point.death.program}"
        _say(f"{outcome.result}: {where}, {job.point.name}, {job.mode}: {outcome.text}")
        if outcome.result == FAILED:
            _say(f"  its logs and database: {world.folder}")
    if done % 50 == 0:
        _say(f"{done} of {total} done")


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def table(matrix: Matrix, modes: Sequence[Mode]) -> Iterator[str]:
    """Yield the rows: a point, and what came of it in each mode."""
    rows = [("tale", "act", "process", "point", *(str(mode) for mode in modes))]
    for point in matrix.points:
        shown = []
        for mode in modes:
            outcome = matrix.outcomes.get((point, mode))
            shown.append("" if outcome is None else outcome.result)
        rows.append((point.tale.name, point.act_name, point.death.program, point.name, *shown))
    yield from _in_columns(rows)


def clock_table(matrix: Matrix) -> Iterator[str]:
    """Yield the rows of the stepped clock."""
    acts = CLOCK_TALE.acts
    yield from _in_columns(
        (CLOCK_TALE.name, acts[row.act].name, str(row), result)
        for row, result in matrix.clocks.items()
    )


def _in_columns(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def figures(matrix: Matrix, seconds: float) -> str:
    """Return the last line."""
    results = Counter(outcome.result for outcome in matrix.outcomes.values())
    by_mode = Counter(outcome.job.mode for outcome in matrix.outcomes.values())
    modes = ", ".join(f"{mode} {count}" for mode, count in by_mode.items())
    stepped = Counter(matrix.clocks.values())
    clocks = f"clock stepped in {stepped.total()} runs: {stepped[SAME]} same end"
    return (
        f"crash matrix: {len(matrix.ends)} tales, {matrix.moments} moments told, "
        f"{len(matrix.points)} points; {len(matrix.outcomes)} runs ({modes}): "
        f"{results[SAME]} same end, {results[HOLDS]} invariants held, "
        f"{results[NOT_MET]} not met, {results[FAILED]} failed; {clocks}; {seconds / 60:.0f} min"
    )


def rehearse_all(stage: Stage, matrix: Matrix, tales: Sequence[Tale], workers: int) -> None:
    """Play every tale undisturbed, each in a world of its own."""

    def rehearsed(tale: Tale) -> tuple[int, list[Point]]:
        with stage.world() as world:
            return matrix.rehearse(world, tale)

    with ThreadPoolExecutor(workers) as rehearsals:
        for moments, points in rehearsals.map(rehearsed, tales):
            matrix.moments += moments
            matrix.add(points)


def play_all(stage: Stage, matrix: Matrix, planned: Sequence[Job], workers: int) -> None:
    """Play every job, in so many worlds at a time."""
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in planned:
        jobs.put(job)
    with ThreadPoolExecutor(workers) as pool:
        working = [pool.submit(work, stage, matrix, jobs, len(planned)) for _ in range(workers)]
        for one in working:
            if (error := one.exception()) is not None:  # a world did not start, say
                _say(f"a worker ended: {error}")
                matrix.ended_workers += 1


def main(arguments: Sequence[str]) -> int:
    """Play everything; return the exit status."""
    asked = _asked(arguments)
    folder = Path(tempfile.mkdtemp(prefix="tradebox-crash-matrix-"))
    began, matrix = time.monotonic(), Matrix()
    start_fork_server()
    with Stage(folder, asked.database).opened() as stage:
        rehearse_all(stage, matrix, asked.tales, asked.workers)
        matrix.points = [point for point in matrix.points if asked.only in point.name]
        planned = [] if asked.list else matrix.jobs(asked.modes)
        _say(f"{matrix.moments} moments told, {len(matrix.points)} points, {len(planned)} runs")
        play_all(stage, matrix, planned, asked.workers)
        if asked.clock and not asked.list:
            step_clocks(stage, matrix, CLOCK_TALE)
    for line in itertools.chain(table(matrix, asked.modes), clock_table(matrix)):
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{figures(matrix, time.monotonic() - began)}\n")
    results = [outcome.result for outcome in matrix.outcomes.values()]
    has_held = all(result in (SAME, HOLDS) for result in (*results, *matrix.clocks.values()))
    is_complete = len(results) == len(planned) and not matrix.ended_workers
    if has_held:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if has_held and is_complete else 1


def _asked(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash_matrix")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--tales", default=",".join(TALES), help="which, separated by commas")
    parser.add_argument("--modes", default=",".join(Mode), help="which, separated by commas")
    parser.add_argument("--only", default="", help="points with this in their name")
    parser.add_argument("--no-clock", dest="clock", action="store_false", help="step no clock")
    parser.add_argument("--list", action="store_true", help="list the points and kill nobody")
    parser.add_argument("--workers", type=int, default=8, help="worlds at a time")
    asked = parser.parse_args(arguments)
    asked.tales = [TALES[name] for name in asked.tales.split(",")]
    asked.modes = [Mode(name) for name in asked.modes.split(",") if name]
    asked.clock = asked.clock and CLOCK_TALE in asked.tales
    return asked


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
