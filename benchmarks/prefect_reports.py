"""What does reporting runs to a Prefect server cost the flows that trade?

    .venv/bin/python -m benchmarks.prefect_reports [RUNS] [postgresql]

Runs flows of two tasks, inline as the monitor runs them: unreported, reported to a server that is
well, dead, frozen (SIGSTOP), and back. Prints each flow's latency beside the same run's baseline,
memory and threads, and at the end whether the server has every run once.
"""

import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from sqlalchemy.engine import make_url

from core.clients.prefect_reporter import PrefectReporter
from flows.runtime import flow, report_to, task
from tests.postgres import running_server
from tests.prefect_server import Prefect, until


@task
async def _decide() -> int:
    return sum(range(200))


@task
async def _send() -> None:
    await asyncio.sleep(0)


@flow(tags_of=lambda: ("symbol:BTCUSDT", "cycle:benchmark"))
async def measured_flow() -> None:
    """Do what an engine's step does, without an exchange."""
    await _decide()
    await _send.submit()


async def _latencies(runs: int) -> list[float]:
    found = []
    for _ in range(runs):
        begun = time.perf_counter()
        await measured_flow()
        found.append((time.perf_counter() - begun) * 1e6)
        await asyncio.sleep(0.001)
    return found


def _phase(name: str, runs: int, baseline: float | None) -> float:
    latencies = asyncio.run(_latencies(runs))
    median = statistics.median(latencies)
    process = psutil.Process()
    ratio = "" if baseline is None else f"  {median / baseline:5.2f} × the baseline"
    sys.stdout.write(
        f"{name:<34} median {median:7.0f} µs  worst {max(latencies):8.0f} µs"
        f"  {process.memory_info().rss / 2**20:5.0f} MiB  {process.num_threads()} threads{ratio}\n"
    )
    return median


def main(runs: int, *, on_postgresql: bool) -> int:
    """Measure and print; return 0 only if the server has every run once."""
    if not on_postgresql:
        return _measure(runs, None)
    with running_server() as postgres:
        url = make_url(postgres.create_database()).set(drivername="postgresql+asyncpg")
        return _measure(runs, url.render_as_string(hide_password=False))


def _measure(runs: int, database_url: str | None) -> int:
    sys.stdout.write(f"{runs} flows a phase; {platform.machine()}, {os.cpu_count()} cores\n")
    asyncio.run(_latencies(100))  # warm
    baseline = _phase("not reported (baseline)", runs, None)
    phases: list[tuple[str, Callable[[Prefect], object]]] = [
        ("no server yet", lambda server: None),
        ("server well", lambda server: server.start()),
        ("server frozen", lambda server: server.freeze(is_frozen=True)),
        ("server let go", lambda server: server.freeze(is_frozen=False)),
        ("server killed", lambda server: server.kill()),
    ]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        server = Prefect(home, database_url=database_url)
        reporter = PrefectReporter(server.url, spool=home / "spool", name="benchmark")
        reporter.start()
        report_to(reporter)
        try:
            for name, act in phases:
                act(server)
                _phase(name, runs, baseline)
            report_to(None)
            server.start()
            begun = time.monotonic()
            until(lambda: not reporter.figures.waiting, lambda: reporter.figures, within_s=1_800)
            took = time.monotonic() - begun
            states = server.states()["measured_flow"]
        finally:
            report_to(None)
            reporter.close()
            server.kill()
    wanted = runs * len(phases)
    is_whole = states == ["Completed"] * wanted
    sys.stdout.write(
        f"delivered within {took:.0f} s of its return: {reporter.figures}\n"
        f"{len(states)} runs on the server, {wanted} reported: "
        f"{'each once, completed' if is_whole else 'NOT the same'}\n"
    )
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(
        main(
            next((int(word) for word in sys.argv[1:] if word.isdecimal()), 200),
            on_postgresql="postgresql" in sys.argv[1:],
        )
    )
