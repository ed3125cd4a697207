"""Does the simulation find what is wrong? Each mutant of `mutants`, played until it is found.

    python -m tests.simulation.mutation [--seeds 60] [NAME …]

Each mutant runs in a process of its own that patches the source as it is imported; no file is
changed. Prints a table: mutant, rule, the seed and step at which it was found, the invariant that
found it. Exit status 0 only if every mutant was found, and the source as it is was not.
"""

import argparse
import importlib.util
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, ModuleType

import flows.runtime  # noqa: F401 - Prefect takes seconds; the mutants' processes inherit it
from tests.simulation.account_mutants import ACCOUNT_MUTANTS
from tests.simulation.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ("core", "flows", "paper", "simulation")
MOST_SEEDS = 400  # the rarest has been found by seed 302


@dataclass(frozen=True, slots=True)
class Found:
    """Where a mutant was found; seed 0: nowhere."""

    name: str
    seed: int = 0
    step: int = 0
    cycles: int = 0  # ended well before
    broken: str = ""
    seconds: float = 0.0


class _Patched(SourceFileLoader):
    """Loads one module with the mutant's text in place of the original."""

    def __init__(self, name: str, path: str, mutant: Mutant) -> None:
        super().__init__(name, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        patched = self._mutant.applied(Path(self.path).read_text("utf-8"))
        code: CodeType = compile(patched, self.path, "exec")
        return code


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._module = mutant.file.removesuffix(".py").replace("/", ".")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load the mutant's module; None for any other."""
        if fullname != self._module:
            return None
        file = str(ROOT / self._mutant.file)
        return importlib.util.spec_from_file_location(
            fullname, file, loader=_Patched(fullname, file, self._mutant)
        )


def hunt(mutant: Mutant | None, seeds: Sequence[int]) -> Found:
    """Play seeds on a mutant (None: the source as it is) until an invariant breaks.

    To be called in a process that ends afterwards: the mutant stays imported.
    """
    for name in [n for n in sys.modules if n.split(".")[0] in OURS]:
        del sys.modules[name]
    if mutant is not None:
        sys.meta_path.insert(0, _Finder(mutant))
    run = importlib.import_module("simulation.run")
    if mutant in ACCOUNT_MUTANTS:  # nothing of it is in the others
        seeds = [seed for seed in seeds if seed % run.ACCOUNT_EVERY == 0]
    started, cycles = time.process_time(), 0
    name = "the source as it is" if mutant is None else mutant.name
    for seed in seeds:
        outcome = run.play_seed(seed)
        if outcome.failure:
            seconds = time.process_time() - started
            return Found(name, seed, outcome.steps, cycles, outcome.broken, seconds)
        cycles += outcome.cycles
    return Found(name, cycles=cycles, seconds=time.process_time() - started)


def main(arguments: Sequence[str]) -> int:
    """Hunt all mutants, or those named; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutation")
    parser.add_argument("names", nargs="*", help="parts of mutants' names; none: all of them")
    parser.add_argument("--seeds", type=int, default=MOST_SEEDS, help="how many, at most")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    every = (*MUTANTS, *ACCOUNT_MUTANTS)
    chosen = [m for m in every if not options.names or any(n in m.name for n in options.names)]
    width = max(len(m.name) for m in chosen)
    _say(f"{'mutant':{width}}  {'rule':22}  seed  step  found by")
    missed = 0
    seeds = range(1, options.seeds + 1)
    for mutant, found in zip(chosen, _hunt_all(chosen, seeds, options.jobs), strict=True):
        missed += not found.seed
        where = (
            f"{found.seed:4}  {found.step:4}  {found.broken[:70]}" if found.seed else "NOT FOUND"
        )
        _say(f"{mutant.name:{width}}  {mutant.rule:22}  {where}")
    (sound,) = _hunt_all([None], range(1, 21), 1)
    _say(
        f"mutants {len(chosen)}, found {len(chosen) - missed}, missed {missed}; "
        f"the source as it is: {sound.cycles} cycles, failures {1 if sound.seed else 0}"
    )
    return 1 if missed or sound.seed else 0


def _hunt_all(mutants: Sequence[Mutant | None], seeds: Sequence[int], jobs: int) -> Iterator[Found]:
    """Hunt each in a process of its own, `jobs` at a time; yield them in their order."""
    context = multiprocessing.get_context("fork")
    with ThreadPoolExecutor(jobs) as threads:

        def hunt_apart(mutant: Mutant | None) -> Found:
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=_send, args=(sender, mutant, seeds))
            child.start()
            sender.close()
            found: Found = receiver.recv()
            child.join()
            return found

        yield from threads.map(hunt_apart, mutants)


def _send(sender: Connection, mutant: Mutant | None, seeds: Sequence[int]) -> None:
    sender.send(hunt(mutant, seeds))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
