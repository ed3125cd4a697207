"""Does a flood of bad requests delay an alert that is meant? Does a stalled exchange?

    python -m benchmarks.flood [--rate 2000] [--alerts 200]

One API process on SQLite, a secret, and an exchange that takes connections and never answers.
Alerts that are meant carry the secret and are stored and answered (they are disabled, so that only
the door, the database and the parsing are measured); the flood comes from another address and
carries wrong secrets. The quiet run of the same process is the baseline. All on this machine.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config

from core.alert_secrets import digest_of, new_secret
from core.clients.db_async import make_engine
from core.clients.sql_store import SqlCycleStore
from core.domain.settings import Bracket, SymbolRules
from tests.ports import free_port

ROOT: Final = Path(__file__).resolve().parent.parent
EVERY_S: Final = 0.05
CONNECTIONS: Final = 40
FLOODER: Final = "127.0.0.2"
ALERT: Final[dict[str, Any]] = {
    "symbol": "BTCUSDT",
    "side": "buy",
    "positionSide": "long",
    "open": {"amount": "0.004", "leverage": "10"},
    "settings": {
        "deposit": "300",
        "extramarg": "0",
        "tp": "0.5",
        "order_quan": "1",
        "grid_long": "0.5",
        "mg_long": "1.5",
    },
}


@dataclass(frozen=True, slots=True)
class Target:
    """The API under test."""

    port: int
    secret: str


def request(body: dict[str, Any], path: str = "/webhook") -> bytes:
    """Return an alert as bytes for the wire."""
    raw = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


async def answer(reader: asyncio.StreamReader) -> int:
    """Return the status of the next answer, read to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
    await reader.readexactly(length)
    return int(lines[0].split()[1])


def tell(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


# --- The flood, in a process of its own ---


def flood(target: Target, rate: int, sending: Connection) -> None:
    """Send wrong alerts at `rate` until told to stop; then tell what was answered."""
    sending.send(asyncio.run(_flood(target, rate, sending)))


async def _flood(target: Target, rate: int, told: Connection) -> tuple[Counter[str], float]:
    counts: Counter[str] = Counter()
    wrong = [
        request({**ALERT, "secret": "wrong"}),
        request(ALERT, "/webhook/wrong"),
        request({"junk": "x" * 2000}),
    ]
    began = time.monotonic()

    async def one(number: int) -> None:
        next_at = began + number / rate
        reader = writer = None
        sent = 0
        while not told.poll():
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
            next_at += CONNECTIONS / rate
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", target.port, local_addr=(FLOODER, 0)
                    )
                assert reader is not None
                writer.write(wrong[sent % len(wrong)])
                sent += 1
                counts[str(await answer(reader))] += 1
            except (OSError, asyncio.IncompleteReadError):
                counts["connection ended"] += 1
                writer = None
        if writer is not None:
            writer.close()

    await asyncio.gather(*(one(number) for number in range(CONNECTIONS)))
    return counts, time.monotonic() - began


# --- The alerts that are meant ---


async def timed(target: Target, bodies: Sequence[dict[str, Any]]) -> tuple[list[float], set[int]]:
    """Return how long each alert took from connecting to its answer, ms, and the statuses."""
    took: list[float] = []
    statuses: set[int] = set()
    for number, body in enumerate(bodies):
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        writer.write(request({**body, "name": f"{number} {began}", "secret": target.secret}))
        statuses.add(await answer(reader))
        took.append((time.perf_counter() - began) * 1000)
        writer.close()
        await asyncio.sleep(EVERY_S)
    return took, statuses


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


# --- Around it ---


@asynccontextmanager
async def api(folder: Path) -> AsyncIterator[tuple[Target, SqlCycleStore]]:
    """Yield an API whose exchange is stalled."""
    url = f"sqlite:///{folder / 'flood.sqlite3'}"
    config = Config(str(ROOT / "alembic.ini"))
    config.attributes.update(url=url, logs=False)
    await asyncio.to_thread(command.upgrade, config, "head")
    stalled = await asyncio.start_server(_never_answer, "127.0.0.1", 0)
    store = SqlCycleStore(make_engine(url.replace("sqlite", "sqlite+aiosqlite", 1)))
    secret = new_secret()
    now_ms = time.time_ns() // 1_000_000
    await store.add_secret(
        "flood", digest_of(secret), may_close_all=False, created_by="", created_at_ms=now_ms
    )
    await store.save_rules([_rules()], read_at_ms=now_ms)
    port = free_port()
    environment = {
        "TRADEBOX_ENV_FILE": os.devnull,
        "DB_CONNECTION_STR": url,
        "PORT": str(port),
        "PAPER_URL": f"http://127.0.0.1:{stalled.sockets[0].getsockname()[1]}",
        "LOG_LEVEL": "WARNING",
        "ALERT_RATE": "1000",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "main.py", cwd=ROOT, env={**os.environ, **environment}
    )
    try:
        await until_it_listens(port)
        yield Target(port, secret), store
    finally:
        process.terminate()
        await process.wait()
        stalled.close()
        await store.close()


async def until_it_listens(port: int) -> None:
    """Return when somebody takes connections there."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.2)
            else:
                writer.close()
                return


async def _never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass
    writer.close()


def _rules() -> SymbolRules:
    decimals = {
        "tick_size": "0.1",
        "min_price": "0.1",
        "max_price": "1000000",
        "step_size": "0.001",
        "min_quantity": "0.001",
        "max_quantity": "1000",
        "market_min_quantity": "0.001",
        "market_max_quantity": "120",
        "market_step_size": "0.001",
        "min_notional": "5",
        "multiplier_up": "1.05",
        "multiplier_down": "0.95",
        "maker_rate": "0.0002",
        "taker_rate": "0.0005",
    }
    bracket = Bracket(
        initial_leverage=125,
        notional_cap=Decimal(1_000_000),
        maintenance_rate=Decimal("0.004"),
        cumulative=Decimal(0),
    )
    return SymbolRules(
        symbol="BTCUSDT",
        base_asset="BTC",
        quote_asset="USDT",
        status="TRADING",
        brackets=(bracket,),
        **{name: Decimal(value) for name, value in decimals.items()},
    )


async def measure(rate: int, alerts: int) -> None:
    """Print the quiet run, the run in the flood, and the run with a stalled exchange."""
    disabled = [{**ALERT, "settings": {**ALERT["settings"], "start": False}}] * alerts
    with tempfile.TemporaryDirectory() as folder:
        async with api(Path(folder)) as (target, store):
            await timed(target, disabled[:10])
            quiet, statuses = await timed(target, disabled)
            say("quiet", quiet, statuses)
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.get_context("spawn").Process(
                target=flood, args=(target, rate, theirs)
            )
            process.start()
            await asyncio.sleep(2)  # until it runs at its rate
            flooded, statuses = await timed(target, disabled)
            ours.send("stop")
            counts, seconds = await asyncio.to_thread(ours.recv)
            process.join()
            say("flood", flooded, statuses)
            sent = sum(counts.values())
            tell(f"       {sent / seconds:.0f} bad requests/s over {seconds:.0f} s: {dict(counts)}")
            ratio = percentile(flooded, 99) / percentile(quiet, 99)
            tell(f"       p99 in the flood / p99 quiet = {ratio:.2f}")
            lease = await store.acquire_lease("BTCUSDT", "benchmark")
            assert lease is not None
            await store.record_checks({lease: True})
            stalled, statuses = await timed(target, [ALERT] * 4)
            say("stalled exchange", stalled, statuses)


def say(name: str, took: Sequence[float], statuses: set[int]) -> None:
    """Print one run's figures."""
    p50, p99 = percentile(took, 50), percentile(took, 99)
    shown = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {max(took):.1f} ms"
    tell(f"{name}: {len(took)} alerts, {shown}, answered {sorted(statuses)}")


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, default=2000, help="bad requests a second")
    parser.add_argument("--alerts", type=int, default=200, help="alerts that are meant, per run")
    options = parser.parse_args()
    cpus, load = os.cpu_count(), os.getloadavg()[0]
    tell(f"{platform.platform()}, {cpus} CPUs, load {load:.1f}, Python {platform.python_version()}")
    asyncio.run(measure(options.rate, options.alerts))


if __name__ == "__main__":
    main()
