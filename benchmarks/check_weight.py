"""How much of the exchange's request weight does a monitor of 200 symbols use for its checks?

    python -m benchmarks.check_weight [--symbols 200] [--cycles 40]

A whole monitor, on SQLite, watches the symbols on a paper exchange in this process, over HTTP. The
weight is what the exchange itself counts (and tells as X-MBX-USED-WEIGHT-1M), by whole minutes of
its clock. The phases: the start without cycles, the minute after it, a quiet one, a quiet one with
the cycles open, the start again with them (of each, the orders since the last one saved and all
executions are read), a minute in which every position pays funding. The baseline is what one round
costs when each symbol is read by itself.
"""

import argparse
import asyncio
import platform
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from pydantic import SecretStr

from config import Settings
from core.clients.binance import BinanceGateway
from core.clients.binance_rest import connect_gateway
from core.clients.db_async import make_engine
from core.clients.db_notify import Notifications
from core.clients.sql_store import SqlCycleStore
from core.domain.cycle import Cycle, Fact
from core.domain.settings import CycleSettings, Policy
from core.domain.step import Step, take_step
from core.domain.webhook import WebhookStatus
from core.entry_checks import begun_cycle
from core.schemas.webhook import parse_alert
from core.sending import carry_out
from paper.exchange import Exchange, wall_ms
from paper.rules import BUILT_IN
from paper.server import listening
from paper.world import World
from ws_monitor_async import Monitor

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 2400
MINUTE_MS = 60_000
D = Decimal


@dataclass(slots=True)
class Account:
    """The exchange, where it listens, and the database of the monitor."""

    exchange: Exchange
    address: str
    database: str
    symbols: tuple[str, ...]

    def used(self) -> int:
        """Return the weight of the minute that runs, as the exchange counts it."""
        return sum(one.weight for one in self.exchange.limits._addresses.values())

    def gateway(self) -> BinanceGateway:
        """Return a connection with the monitor's share of the limits."""
        return connect_gateway(
            base_url=self.address,
            api_key="paper-key",
            api_secret=SecretStr("paper-secret"),
            share_percent=50,
        )

    def store(self) -> SqlCycleStore:
        """Return the monitor's store."""
        return SqlCycleStore(make_engine(self.database))

    @asynccontextmanager
    async def monitor(self) -> AsyncIterator[Monitor]:
        """Run a monitor of all symbols."""
        settings = Settings(
            paper_url=self.address, db_connection_str=SecretStr(self.database), stream_timeout=3600
        )
        gateway, store = self.gateway(), self.store()
        monitor = Monitor(
            symbols=self.symbols,
            gateway=gateway,
            store=store,
            notifications=Notifications(self.database),
            settings=settings,
            owner="bench",
        )
        running = asyncio.create_task(monitor.run())
        try:
            yield monitor
        finally:
            running.cancel()
            await asyncio.wait({running})
            await gateway.close()
            await store.close()


async def main(arguments: Sequence[str]) -> int:
    """Measure all phases and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--cycles", type=int, default=40)
    options = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    sys.stdout.write(f"{__doc__.splitlines()[0]}\n")
    sys.stdout.write(
        f"{options.symbols} symbols, {options.cycles} cycles, limit {LIMIT} a minute\n"
    )
    symbols = tuple(f"COIN{number:03}USDT" for number in range(options.symbols))
    rules = [replace(BUILT_IN["BTCUSDT"], symbol=name) for name in symbols]
    world = World(now_ms=wall_ms(), symbols=rules, wallet=D(10_000_000))
    for name in symbols:
        world.trade(name, D(60000), D(1), time_ms=wall_ms(), now_ms=wall_ms())
    with tempfile.TemporaryDirectory() as folder:
        database = f"sqlite:///{Path(folder) / 'bench.sqlite3'}"
        await asyncio.to_thread(_migrate, database)
        async with listening(exchange := Exchange(world)) as address:
            await _phases(Account(exchange, address, database, symbols), options.cycles)
    sys.stdout.write(f"Python {platform.python_version()} on {platform.machine()}\n")
    return 0


async def _phases(account: Account, cycles: int) -> None:
    await _next_minute()
    async with account.monitor() as monitor:
        _say("the start, no cycle open", await _minute(account))
        _say("the next, fees being read in the background", await _minute(account))
        monitor.rules.fees_wanted.clear()  # the rest would take a quarter of an hour
        await _next_minute()
        _say("a quiet minute, no cycle open", await _minute(account))
        await _open(account, account.symbols[:cycles])
        await _next_minute()
        quiet = await _minute(account)
        _say(f"a quiet minute, {cycles} cycles open", quiet)
    await _next_minute()
    async with account.monitor() as monitor:
        _say(f"the start again, {cycles} cycles open", await _minute(account))
        monitor.rules.fees_wanted.clear()
        await _next_minute()
        for name in account.symbols[:cycles]:
            account.exchange.world.funding(name, D("0.0001"), wall_ms())
            account.exchange.flush(changed=True, symbol=name)
        _say("a minute in which all pay funding", await _minute(account))
    await _next_minute()
    alone = await _one_by_one(account)
    _say("the baseline: each symbol read by itself, once", alone)
    sys.stdout.write(f"a quiet minute against the baseline: {quiet / alone:.3f}\n")


async def _open(account: Account, symbols: Sequence[str]) -> None:
    """Let the entries of cycles happen, as the API makes them; the monitor does the rest."""
    gateway, store = account.gateway(), account.store()
    for number, symbol in enumerate(symbols):
        leverage = {"symbol": symbol, "leverage": "10"}
        account.exchange.world.request("POST", "/fapi/v1/leverage", leverage, wall_ms())
        settings = _settings(symbol)
        rules = await store.rules(symbol)
        assert rules is not None, "the monitor has stored what is listed"
        cycle = begun_cycle(
            settings,
            rules,
            quantity=settings.amount,
            policy=Policy(),
            key=f"bench{number:03}",
            now_ms=gateway.now_ms(),
        )
        webhook = await store.record_webhook(
            {}, received_at_ms=wall_ms(), symbol=symbol, status=WebhookStatus.PROCESSING
        )
        cycle = await store.begin_cycle(webhook, cycle)
        entry = cycle.entry_order
        assert entry is not None, "a cycle begins with it"
        fact = await carry_out(gateway, gateway, symbol, entry)
        now_ms = gateway.now_ms()

        def record(known: Cycle, fact: Fact = fact, now_ms: int = now_ms) -> Step:
            return take_step(known, (fact,), now_ms=now_ms, may_request=False)

        await store.update(cycle.cycle_id, record, lease=None)
    await gateway.close()
    await store.close()


async def _one_by_one(account: Account) -> int:
    """Return what one round weighs when every symbol is read by itself; the minute is new."""
    gateway = account.gateway()
    for symbol in account.symbols[:100]:  # the budget of one process ends before the second half
        await gateway.positions(symbol)
        await gateway.open_orders(symbol)
    await gateway.close()
    return account.used() * len(account.symbols) // 100


async def _next_minute() -> None:
    await asyncio.sleep((MINUTE_MS - wall_ms() % MINUTE_MS) / 1000 + 0.05)


async def _minute(account: Account) -> int:
    """Return what is used until just before the minute ends; go on when the next has begun."""
    await asyncio.sleep(max(0.0, (MINUTE_MS - wall_ms() % MINUTE_MS - 300) / 1000))
    used = account.used()
    await _next_minute()
    return used


def _say(phase: str, weight: int) -> None:
    sys.stdout.write(f"  {phase:<50}{weight:>6}  {weight / LIMIT:6.1%}\n")
    sys.stdout.flush()


def _settings(symbol: str) -> CycleSettings:
    """Return the sample alert's, on another symbol."""
    alert = parse_alert((ROOT / "docs" / "sample-alert.json").read_bytes(), mg_mode_default=None)
    assert alert.settings is not None, "it opens a cycle"
    return replace(alert.settings, symbol=symbol)


def _migrate(database: str) -> None:
    config = Config(str(ROOT / "alembic.ini"))
    config.attributes |= {"url": database, "logs": False}
    command.upgrade(config, "head")


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
