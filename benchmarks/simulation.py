"""How many cycles a minute does one core play, and what do the invariants cost?

    python -m benchmarks.simulation [--seeds 40]

Plays the same seeds as `make simulate` twice in one process: with every invariant checked after
every step, and, as the baseline of the same run, the engine, the flows and the exchange alone.
Counts CPU seconds, so that other work on the machine matters little.
"""

import argparse
import gc
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from unittest.mock import patch

from simulation.invariants import Watcher
from simulation.player import Player
from simulation.run import play_seed


@dataclass(frozen=True, slots=True)
class Figures:
    """What was played in how many CPU seconds."""

    cycles: int
    steps: int
    seconds: float

    @property
    def a_minute(self) -> float:
        """Return the cycles per minute of CPU."""
        return self.cycles / self.seconds * 60

    def __str__(self) -> str:
        """Return one line."""
        each_ms = self.seconds / self.cycles * 1000
        return (
            f"{self.cycles} cycles, {self.steps} steps in {self.seconds:.1f} s of CPU: "
            f"{self.a_minute:.0f} cycles a minute, {each_ms:.1f} ms each"
        )


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation")
    parser.add_argument("--seeds", type=int, default=40)
    seeds = range(1, parser.parse_args(arguments).seeds + 1)
    gc.set_threshold(50_000)
    play_seed(0)  # everything is imported and compiled before the clock runs
    checked = _play(seeds)
    bare = _without_invariants(lambda: _play(seeds))
    sys.stdout.write(
        f"checked   {checked}\n"
        f"baseline  {bare}\n"
        f"ratio     {checked.a_minute / bare.a_minute:.2f} of the baseline's speed\n"
        f"machine   {platform.processor() or platform.machine()}, "
        f"Python {platform.python_version()}\n"
    )
    return 0


def _play(seeds: Sequence[int]) -> Figures:
    started, cycles, steps = time.process_time(), 0, 0
    for seed in seeds:
        outcome = play_seed(seed)
        cycles, steps = cycles + outcome.cycles, steps + outcome.steps
    return Figures(cycles, steps, time.process_time() - started)


def _without_invariants(measure: Callable[[], Figures]) -> Figures:
    """Return what `measure` gives while nothing is checked."""
    with (
        patch.object(Watcher, "step", lambda self, step: None),
        patch.object(Watcher, "look", Watcher.is_quiet),
        patch.object(Player, "_foreseen", lambda self, price: None),
        patch("simulation.player.prove_books", lambda *_, **__: None),
    ):
        return measure()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
