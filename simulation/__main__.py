"""The simulation as a command: many seeds, or one history from a file.

    python -m simulation --seeds 1-200
    python -m simulation --seeds 1-50 --prices FILUSDT-1m-2023-06.csv.gz
    python -m simulation --replay data/simulation/seed-17.json

Exit status 0 only if every invariant held. The last line says how much was played.
"""

import argparse
import gc
import sys
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random

from paper.feeds import FeedError, parse_plan
from paper.replay import replay, symbols_of
from paper.rules import BUILT_IN
from simulation.events import HistoryError, load, save
from simulation.run import MOST_TRIES, Outcome, Recorded, play_again, play_seed, shrink

_TOLD_LINES = 25  # of a failed history


def main(arguments: Sequence[str]) -> int:
    """Play what the command line asks for; return the exit status."""
    options = _parser().parse_args(arguments)
    gc.set_threshold(50_000)  # one seed's objects die together at its end
    try:
        if options.replay:
            return _replay(Path(options.replay), tries=options.shrink)
        seeds = _seeds(options.seeds)
        symbol, recorded = _recorded(options)
    except (HistoryError, FeedError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return _play_seeds(seeds, symbol, recorded, folder=Path(options.folder), tries=options.shrink)


def _play_seeds(
    seeds: Sequence[int], symbol: str | None, recorded: Recorded, *, folder: Path, tries: int
) -> int:
    started = time.process_time()
    steps = cycles = looks = failures = 0
    for seed in seeds:
        outcome = play_seed(seed, symbol=symbol, recorded=recorded)
        steps, cycles, looks = (
            steps + outcome.steps,
            cycles + outcome.cycles,
            looks + outcome.looks,
        )
        if outcome.failure:
            failures += 1
            _tell_failure(outcome, folder=folder, tries=tries)
    seconds = max(time.process_time() - started, 0.001)
    _say(
        f"seeds {len(seeds)}, steps {steps}, cycles {cycles}, looks at rest {looks}, "
        f"{cycles / seconds * 60:.0f} cycles per minute of CPU, failures {failures}"
    )
    return 1 if failures else 0


def _replay(path: Path, *, tries: int) -> int:
    outcome = play_again(load(path))
    _say("\n".join(outcome.told))
    if outcome.failure:
        _say(f"seed {outcome.history.seed}: {outcome.failure}")
    _say(
        f"events {len(outcome.history.events)}, steps {outcome.steps}, cycles {outcome.cycles}, "
        f"failures {1 if outcome.failure else 0}"
    )
    return 1 if outcome.failure else 0


def _tell_failure(outcome: Outcome, *, folder: Path, tries: int) -> None:
    """Print a failure and write its shortest history to a file."""
    seed, whole = outcome.history.seed, len(outcome.history.events)
    _say(f"seed {seed}: {outcome.failure}")
    short = shrink(outcome, tries=tries)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"seed-{seed}.json"
    save(short.history, path, why=[short.failure])
    _say(f"  {len(short.history.events)} of {whole} events are enough: {short.failure}")
    for line in short.told[-_TOLD_LINES:]:
        _say(f"    {line}")
    _say(f"  again: make simulate REPLAY={path}")


def _seeds(text: str) -> list[int]:
    """Return the seeds of `1-200`, `7`, or several of these with commas between."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise ValueError(f"SEEDS: {text!r} is not like 1-200, 7 or 1-5,9")
        found += range(int(first), int(last or first) + 1)
    if not found:
        raise ValueError(f"SEEDS: {text!r} names no seed; the smaller number comes first")
    return found


def _recorded(options: argparse.Namespace) -> tuple[str | None, Recorded]:
    """Return the symbol and the prices of a recording; (None, None): they are drawn."""
    if not options.prices:
        return None, None
    plan = parse_plan(f"replay:{options.prices}", options.from_time, options.to_time)
    wanted = symbols_of(plan) or ([options.symbol] if options.symbol else [])
    prices = [tick.price for tick in replay(plan, BUILT_IN, wanted)]

    def path(seed: int) -> Iterator[Decimal]:
        return iter(prices[Random(seed).randrange(1 + len(prices) * 3 // 4) :])

    return wanted[0], path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulation", description="Play cycles in virtual time and check everything."
    )
    parser.add_argument("--seeds", default="1-200", help="e.g. 1-200, 7 or 1-5,9")
    parser.add_argument("--replay", metavar="FILE", help="play a history that was written down")
    parser.add_argument("--prices", metavar="FILE", help="klines or aggTrades of Binance's dumps")
    parser.add_argument("--from", dest="from_time", default="", help="of the recording")
    parser.add_argument("--to", dest="to_time", default="", help="of the recording")
    parser.add_argument("--symbol", help="of the recording, where its name does not say it")
    parser.add_argument(
        "--shrink", type=int, default=MOST_TRIES, help="replays to shorten a failure"
    )
    parser.add_argument("--folder", default="data/simulation", help="where failures are written")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
