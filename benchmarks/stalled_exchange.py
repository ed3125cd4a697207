"""How late is an answer when the exchange stalls? TradingView gives up after three seconds.

    python -m benchmarks.stalled_exchange [--alerts 14] [--at-once 4]

One API process on SQLite, a paper exchange, and between them a relay that can stop relaying: then
connections are taken and nothing is answered. Three runs of the same processes:

- running: alerts with `test: true`, which read all that an entry reads. The baseline.
- stalled: the same alerts, and alerts that are meant, while nothing is relayed.
- stalled at the order: alerts that are meant, each on a symbol of its own; the relay stops when the
  entry's order passes, so that it is sent and its answer never comes.
"""

import argparse
import asyncio
import contextlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from alembic import command
from alembic.config import Config

from benchmarks.flood import (
    ALERT,
    ROOT,
    answer,
    percentile,
    request,
    say,
    tell,
    until_it_listens,
)
from core.clients.db_async import make_engine
from core.clients.sql_store import SqlCycleStore
from tests.ports import free_port

GIVES_UP_AFTER_MS: Final = 3000
ORDER: Final = b"POST /fapi/v1/order"
RENEW_EVERY_S: Final = 4.0
SYMBOLS: Final = {  # price, and an amount that suits it
    "BTCUSDT": ("60000", "0.004"),
    "ETHUSDT": ("3000", "0.08"),
    "SOLUSDT": ("150", "2"),
    "XRPUSDT": ("2", "120"),
    "AVAXUSDT": ("20", "12"),
    "FILUSDT": ("4", "60"),
}


@dataclass(slots=True)
class Relay:
    """Passes bytes on to the exchange and back, until it is stopped."""

    to_port: int
    stop_at: bytes = b""  # a request that begins like this is the last to pass
    runs: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection."""
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.to_port)
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                await self.runs.wait()
                writer.write(chunk)
                if self.stop_at and chunk.startswith(self.stop_at):
                    self.runs.clear()
        writer.close()


@dataclass(slots=True, kw_only=True)
class Bench:
    """What the runs work with."""

    port: int
    relay: Relay


async def timed(
    bench: Bench, alerts: Sequence[dict[str, Any]], at_once: int, *, status: int
) -> list[float]:
    """Send the alerts, so many at once; print and return how long each answer took, ms.

    Each must be answered with `status`, or something else than meant was measured: more alerts than
    the exchange's request weight of a minute allows, for example, are refused at once.
    """
    took: list[float] = []
    statuses: set[int] = set()
    waiting = iter(enumerate(alerts))

    async def sender() -> None:
        for number, alert in waiting:
            began = time.perf_counter()
            reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
            writer.write(request({**alert, "name": f"{number} {began}"}))
            statuses.add(await answer(reader))
            took.append((time.perf_counter() - began) * 1000)
            writer.close()

    await asyncio.gather(*(sender() for _ in range(at_once)))
    say(f"  {at_once} at once", took, statuses)
    if statuses != {status}:
        raise SystemExit(f"answered {sorted(statuses)}, not {status}: the figures mean nothing")
    return took


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Bench]:
    """Yield an API whose exchange is reached through the relay; its symbols are watched."""
    url = f"sqlite:///{folder / 'stalled.sqlite3'}"
    config = Config(str(ROOT / "alembic.ini"))
    config.attributes.update(url=url, logs=False)
    await asyncio.to_thread(command.upgrade, config, "head")
    paper_port, port = free_port(), free_port()
    relay = Relay(paper_port)
    relay.runs.set()
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    environment = {
        **os.environ,
        "TRADEBOX_ENV_FILE": os.devnull,
        "DB_CONNECTION_STR": url,
        "PORT": str(port),
        "PAPER_URL": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        "SYMBOLS": ",".join(SYMBOLS),
        "LOG_LEVEL": "ERROR",
        "ALERT_RATE": "1000",
        "RATE_SHARE": "1",
    }
    exchange = ("-m", "paper", "--feed", "manual", "--port", str(paper_port))
    monitor = ("ws_monitor_async.py", "--symbols", ",".join(SYMBOLS))
    async with contextlib.AsyncExitStack() as stack:
        paper = f"http://127.0.0.1:{paper_port}"
        await stack.enter_async_context(_process(exchange, environment))
        await until_it_listens(paper_port)
        await _price_all(paper)
        # It stores the rules of all symbols; then it goes: its reads are not to be in the figures.
        async with _process(monitor, environment):
            store = SqlCycleStore(make_engine(url.replace("sqlite", "sqlite+aiosqlite", 1)))
            stack.push_async_callback(store.close)
            await _until_watched(store)
        watching = asyncio.create_task(_watch(store))
        stack.callback(watching.cancel)
        await stack.enter_async_context(_process(("main.py",), environment))
        await until_it_listens(port)
        yield Bench(port=port, relay=relay)
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def _process(arguments: Sequence[str], environment: dict[str, str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _price_all(paper: str) -> None:
    async with httpx.AsyncClient(base_url=paper) as http:
        for symbol, (price, _) in SYMBOLS.items():
            answered = await http.post("/paper/trade", json={"symbol": symbol, "price": price})
            answered.raise_for_status()


async def _until_watched(store: SqlCycleStore) -> None:
    async with asyncio.timeout(120):
        # Another process's doing: only the rows tell.
        while not all([await store.is_watched(symbol) for symbol in SYMBOLS]):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def _watch(store: SqlCycleStore) -> None:
    """Hold the leases of a monitor that sees nothing: alerts are taken, nothing else happens."""
    while True:
        for symbol in SYMBOLS:
            lease = await store.acquire_lease(symbol, "benchmark")
            if lease is not None:
                await store.record_checks({lease: True})
        await asyncio.sleep(RENEW_EVERY_S)


def alert_for(symbol: str, **more: Any) -> dict[str, Any]:
    """Return an alert that suits the symbol's price."""
    opening = {**ALERT["open"], "amount": SYMBOLS[symbol][1]}
    return {**ALERT, "symbol": symbol, "open": opening, **more}


async def measure(count: int, at_once: int) -> None:
    """Print the three runs and their ratios."""
    names = list(SYMBOLS)
    tested = [alert_for(names[n % len(names)], test=True) for n in range(count)]
    meant = [alert_for(names[n % len(names)]) for n in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder)) as bench:
            tell("first ones:")
            await timed(bench, tested[: len(names)], 1, status=200)
            tell("running (baseline):")
            baseline = await timed(bench, tested, at_once, status=200)
            bench.relay.runs.clear()
            tell("stalled:")
            stalled = await timed(bench, tested, at_once, status=503)
            stalled += await timed(bench, meant, at_once, status=503)
            for symbol in names:
                bench.relay.stop_at = b""
                bench.relay.runs.set()
                tell(f"running again ({symbol}), then stalled at its order:")
                await timed(bench, [alert_for(symbol, test=True)], 1, status=200)
                bench.relay.stop_at = ORDER
                stalled += await timed(bench, [alert_for(symbol)], 1, status=200)
            bench.relay.runs.set()
            _compare(baseline, stalled)


def _compare(baseline: Sequence[float], stalled: Sequence[float]) -> None:
    quiet, late = percentile(baseline, 99), percentile(stalled, 99)
    tell(f"all stalled runs: {len(stalled)} alerts, p99 {late:.0f} ms, most {max(stalled):.0f} ms")
    tell(f"p99 stalled / p99 running = {late:.0f} / {quiet:.0f} = {late / quiet:.1f}")
    tell(f"p99 stalled / TradingView's {GIVES_UP_AFTER_MS} ms = {late / GIVES_UP_AFTER_MS:.2f}")


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--alerts", type=int, default=14, help="alerts of each run")
    parser.add_argument("--at-once", type=int, default=4, help="senders at the same time")
    options = parser.parse_args()
    cpus, load = os.cpu_count(), os.getloadavg()[0]
    tell(f"{platform.platform()}, {cpus} CPUs, load {load:.1f}, Python {platform.python_version()}")
    asyncio.run(measure(options.alerts, options.at_once))


if __name__ == "__main__":
    main()
