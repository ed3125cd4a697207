"""Hundreds of cycles while the exchange does everything wrong that it can.

    make storm SEED=1 CYCLES=200 DATABASE=postgresql

The real API, monitor and paper exchange run as processes, eight symbols beside each other. Every
cycle must end, and its books must be the exchange's to the digit: no fill lost, no order doubled,
none left. The last line has the figures; exit status 0 only if all held.
"""

import argparse
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from random import Random

from core.models import Cycle
from tests.integration.e2e.world import World, running
from tests.integration.store_worlds import migrate
from tests.postgres import running_server
from tests.storm.lane import PATHS, Lane, Told, Violation
from tests.storm.weather import SILENT_AFTER_S, Weather

PRICES = {
    "BTCUSDT": "60000",
    "ETHUSDT": "3000",
    "SOLUSDT": "150",
    "XRPUSDT": "2",
    "AVAXUSDT": "20",
    "FILUSDT": "4",
    "ALGOUSDT": "0.2",
    "LAYERUSDT": "1.5",
}
# A check is due every minute, and is made again 5 s after one that failed.
KNOWN_WITHIN_MS = 75_000
FIRST_BAN_AT, BAN_EVERY = 0.3, 400  # of the cycles; and one more for each so many of them

# What each of these faults must have been reported as, if it happened.
REPORTS = {
    # One that expires while nobody is connected is told to nobody.
    "expire-key": r"the listen key has expired|stream not connected stream=account",
    "silence": r"no message of .* for|the stream did not tell|not what the fills make",
    "close": r"stream disconnected",
    "refuse": r"exchange asks to stop .*pause_ms=1[12]\d{4}",
    "flood": r"trades folded",
    "drop": r"the stream did not tell|not what the fills make|no message of",
}


class StormWorld(World):
    """A world whose stories do not wait for each other."""

    def wait_for_room(self) -> None:
        """Begin at once: being short of request weight is part of it."""


class Storm:
    """Runs the lanes until enough cycles have ended, or something happened that must not."""

    def __init__(self, world: World, *, seed: int, cycles: int) -> None:
        """Prepare `cycles` cycles, their paths shuffled by the seed."""
        self.told: list[Told] = []
        self.violations: list[Violation] = []
        self.weather = Weather(world, seed)
        self._world, self._seed, self._cycles = world, seed, cycles
        paths = [name for _ in range(cycles // len(PATHS) + 1) for name in PATHS][:cycles]
        Random(f"paths {seed}").shuffle(paths)
        self._paths = iter(paths)
        self._bans = iter([*range(int(cycles * FIRST_BAN_AT), cycles, BAN_EVERY)])
        self._next_ban = next(self._bans, cycles)
        self._lock = threading.Lock()

    def run(self) -> None:
        """Return when all is over; `told` and `violations` say how it went."""
        self.weather.begin()
        with ThreadPoolExecutor(len(PRICES)) as lanes:
            list(lanes.map(self._ride, PRICES))
        self.weather.clear_up()
        if not self.violations:
            self._prove_sums()
        for program in (self._world.monitor, self._world.api):
            for line in errors_in(program.text):
                self._violated(Violation("error", f"{program.name}: {line}"))
        if not self.violations:
            self._prove_reports()

    def _ride(self, symbol: str) -> None:
        try:
            lane = Lane(self._world, symbol, PRICES[symbol], self._seed)
            while not self.violations and (path := self._next_path()) is not None:
                told = lane.ride(path)
                with self._lock:
                    self.told.append(told)
                    _say(f"{len(self.told):4} {symbol:10} {path:14} {told.reason:13} {told}")
        except Violation as violation:
            self._violated(violation)
        except Exception as error:  # noqa: BLE001 - the top of a lane; any error fails the storm
            self._violated(Violation("error", f"{symbol}: {error!r}"))

    def _violated(self, violation: Violation) -> None:
        _say(f"VIOLATION {violation}")
        self.violations.append(violation)

    def _next_path(self) -> str | None:
        with self._lock:
            is_time = len(self.told) >= self._next_ban
            if is_time:
                self._next_ban = next(self._bans, self._cycles + 1)
            path = next(self._paths, None)
        if is_time and path is not None:
            self.weather.ban()
        return path

    def _prove_sums(self) -> None:
        """Check that all cycles of a symbol together earned what the exchange says."""
        entries = self._world.control("ledger")["entries"]
        for symbol in PRICES:
            earned = sum(
                Decimal(e["amount"]) * (1 if e["target"] == "wallet" else -1)
                for e in entries
                if e["symbol"] == symbol
            )
            ours = sum(cycle.net_pnl for cycle in self._world.rows(Cycle, symbol=symbol))
            if earned != ours:
                text = f"{symbol}: the exchange booked {earned}, we {ours}"
                self._violated(Violation("lost", text))
        for told in self.told:
            is_banned = any(
                start - KNOWN_WITHIN_MS <= told.slowest_at_ms <= end
                for start, end in self.weather.bans
            )
            if told.slowest_ms > KNOWN_WITHIN_MS + (120_000 if is_banned else 0):
                self._violated(Violation("late", f"a fill was unknown for too long: {told}"))

    def _prove_reports(self) -> None:
        """Check that what happened to us stands in the log."""
        happened = {action.split()[0] for action in self.weather.hits}
        happened |= {told.path for told in self.told}
        if not self.weather.bans:
            happened.discard("refuse")
        for fault in happened & REPORTS.keys():
            if not re.search(REPORTS[fault], self._world.monitor.text):
                self._violated(Violation("unreported", f"{fault}: the monitor's log is silent"))

    def figures(self, seconds: float) -> Iterator[str]:
        """Return the report, the figures last."""
        reasons = Counter(told.reason for told in self.told)
        statuses = Counter(status for told in self.told for status in told.answers)
        yield "endings      " + _listed(reasons)
        yield "alerts       " + _listed(Counter({str(s): n for s, n in statuses.items()}))
        yield "faults       " + _listed(self.weather.hits)
        yield "unanswered   placements by role: " + _listed(self.weather.unanswered)
        yield (
            f"known        the slowest fill {max((t.slowest_ms for t in self.told), default=0)} ms "
            f"after it happened; bans of two minutes: {len(self.weather.bans)}"
        )
        kinds = Counter(violation.kind for violation in self.violations)
        others = Counter(kind for kind in kinds.elements() if kind not in ("lost", "doubled"))
        yield (
            f"storm: seed {self._seed}, {len(self.told)} of {self._cycles} cycles, "
            f"{sum(t.orders for t in self.told)} orders, {sum(t.fills for t in self.told)} fills, "
            f"{sum(self.weather.hits.values())} faults of {len(self.weather.hits)} kinds, "
            f"lost {kinds['lost']}, doubled {kinds['doubled']}, other {_listed(others) or 0}; "
            f"{seconds:.0f} s"
        )


def errors_in(log: str) -> list[str]:
    """Return the first lines of a log that only a mistake of ours writes."""
    lines: list[str] = re.findall(r"^.*(?:\bERROR\b|Traceback).*$", log, re.MULTILINE)
    # A flood holds the database longer than an alert may take: it is refused, and that is said.
    return [line for line in lines if "nothing could be stored" not in line][:5]


def main(arguments: Sequence[str]) -> int:
    """Run one storm and return the exit status."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="tradebox-storm-"))
    started = time.monotonic()
    with _database(options.database, folder) as url:
        world = StormWorld(
            folder,
            url,
            PRICES,
            paper_options=("--wallet", "1000000"),
            STREAM_TIMEOUT=str(SILENT_AFTER_S),
            FLAT_ACTION="close",
            RATE_SHARE="0.5",  # as it comes: alerts must not use up what finding out needs
        )
        with running(world):
            storm = Storm(world, seed=options.seed, cycles=options.cycles)
            storm.run()
    if storm.violations:
        _say(f"logs and database: {folder}")
    for line in storm.figures(time.monotonic() - started):
        _say(line)
    if storm.violations or len(storm.told) < options.cycles:
        return 1
    shutil.rmtree(folder)
    return 0


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'tradebox.db'}"
        migrate(url)
        yield url
        return
    with running_server() as server:
        url = server.create_database()
        migrate(url)
        yield url


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    return parser


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counted.most_common())


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
