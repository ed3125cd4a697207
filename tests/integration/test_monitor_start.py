"""How the monitor starts, or refuses to: the account's position mode and the symbols' names."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from config import Settings
from core.clients.alert_store import UNLISTED
from core.clients.binance_rest import connect_gateway
from core.clients.db_async import make_engine
from core.clients.db_notify import Notifications
from core.clients.sql_store import SqlCycleStore
from core.engine import Desk
from core.errors import StartRefused
from core.ports import OperatorRequest
from paper.exchange import Exchange, wall_ms
from paper.server import listening
from paper.world import World
from tests.builders import btc_rules
from ws_monitor_async import Monitor, check_pause_s

BTC = "BTCUSDT"


@asynccontextmanager
async def monitor(
    world: World,
    database_url: str,
    symbols: Sequence[str] = (BTC,),
    store_type: type[SqlCycleStore] = SqlCycleStore,
    *,
    notifications: Notifications | None = None,
) -> AsyncIterator[tuple[Monitor, SqlCycleStore]]:
    """Yield a monitor of the world's account, not yet started."""
    world.trade(BTC, Decimal(60000), Decimal(1), time_ms=wall_ms(), now_ms=wall_ms())
    async with listening(Exchange(world)) as address:
        settings = Settings(paper_url=address, db_connection_str=SecretStr(database_url))
        gateway = connect_gateway(
            base_url=address,
            api_key=settings.api_key.get_secret_value(),
            api_secret=settings.api_secret,
            share_percent=50,
        )
        store = store_type(make_engine(database_url))
        try:
            yield (
                Monitor(
                    symbols=symbols,
                    gateway=gateway,
                    store=store,
                    notifications=notifications or Notifications(database_url),
                    settings=settings,
                    owner="test",
                ),
                store,
            )
        finally:
            await gateway.close()
            await store.close()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's settings out."""
    monkeypatch.chdir(tmp_path)


async def until_watched(store: SqlCycleStore, running: "asyncio.Task[None]") -> None:
    """Wait until the running monitor watches; its own error, if it ends instead."""
    async with asyncio.timeout(20):
        while not await store.is_watched(BTC):
            if running.done():
                running.result()
            await asyncio.sleep(0.05)


async def test_a_flat_account_in_one_way_mode_is_switched(migrated_url: str) -> None:
    world = World(now_ms=wall_ms(), symbols=[BTC], dual_side=False)
    async with monitor(world, migrated_url) as (watching, store):
        running = asyncio.create_task(watching.run())
        await until_watched(store, running)
        running.cancel()
        await asyncio.wait({running})
    answer = world.request("GET", "/fapi/v1/positionSide/dual", {}, wall_ms())
    assert answer.body == {"dualSidePosition": True}


async def test_an_account_in_one_way_mode_with_a_position_is_refused(
    migrated_url: str,
) -> None:
    world = World(now_ms=wall_ms(), symbols=[BTC], dual_side=False)
    async with monitor(world, migrated_url) as (watching, store):
        world.outside_market(BTC, "BUY", "BOTH", Decimal("0.01"), wall_ms())
        with pytest.raises(StartRefused, match="one-way mode and has positions"):
            await watching.run()
        assert not await store.is_watched(BTC)


async def test_a_symbol_that_is_not_listed_is_refused_by_name(migrated_url: str) -> None:
    world = World(now_ms=wall_ms(), symbols=[BTC])
    async with monitor(world, migrated_url, [BTC, "NOPEUSDT"]) as (watching, store):
        with pytest.raises(StartRefused, match="NOPEUSDT is not listed"):
            await watching.run()
        assert await store.all_rules() == ()


async def test_a_symbol_that_stops_unexpectedly_raises_an_alarm_and_is_begun_anew(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(now_ms=wall_ms(), symbols=[BTC])
    runs = 0
    run = Desk.run

    async def run_at_the_second_try(self: Desk) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ZeroDivisionError("a bug of ours")
        await run(self)

    monkeypatch.setattr(Desk, "run", run_at_the_second_try)
    async with monitor(world, migrated_url) as (watching, store):
        running = asyncio.create_task(watching.run())
        async with asyncio.timeout(20):
            while not await store.is_watched(BTC):  # noqa: ASYNC110 - another process's table
                await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.wait({running})
        (alarm,) = await store.raised_alarms(10)
    assert (alarm.symbol, alarm.kind, alarm.cycle_id) == (BTC, "symbol-stopped", None)
    assert alarm.text == "ZeroDivisionError: the log has the whole text"


async def test_a_symbol_that_was_delisted_does_not_leave_the_others_unwatched(
    migrated_url: str,
) -> None:
    world = World(now_ms=wall_ms(), symbols=[BTC])
    async with monitor(world, migrated_url, ["GONEUSDT", BTC]) as (watching, store):
        await store.save_rules([replace(btc_rules(), symbol="GONEUSDT")], read_at_ms=wall_ms())
        running = asyncio.create_task(watching.run())
        await until_watched(store, running)
        gone = await store.rules("GONEUSDT")
        assert gone is not None
        assert gone.status == UNLISTED
        running.cancel()
        await asyncio.wait({running})


class StumblingStore(SqlCycleStore):
    """Meets a bug of ours at its first look for requests of people."""

    looks = 0

    async def operator_requests(self, symbols: Sequence[str]) -> tuple[OperatorRequest, ...]:
        """Return them, but for the first time."""
        type(self).looks += 1
        if type(self).looks == 1:
            raise KeyError("nobody foresaw this")
        return await super().operator_requests(symbols)


async def test_an_error_that_nobody_foresaw_ends_no_watch(migrated_url: str) -> None:
    world = World(now_ms=wall_ms(), symbols=[BTC])
    async with monitor(world, migrated_url, store_type=StumblingStore) as (watching, store):
        running = asyncio.create_task(watching.run())
        async with asyncio.timeout(20):
            while StumblingStore.looks < 2:
                assert not running.done()
                await asyncio.sleep(0.05)
        await until_watched(store, running)
        running.cancel()
        await asyncio.wait({running})


def test_a_check_without_an_answer_is_made_again_soon_and_then_later_and_later() -> None:
    assert [check_pause_s(failed) for failed in (0, 1, 2, 3, 4, 5, 99)] == [
        60, 5, 10, 20, 40, 60, 60,
    ]  # fmt: skip


async def test_a_symbol_that_is_not_listed_any_more_ends_nobody_else_s_watch(
    migrated_url: str,
) -> None:
    world = World(now_ms=wall_ms(), symbols=[BTC, "ETHUSDT"])
    async with monitor(world, migrated_url, [BTC, "ETHUSDT"]) as (watching, store):
        await watching.rules.refresh()  # both were listed once
        del world.state.rules["ETHUSDT"], world.state.markets["ETHUSDT"]
        running = asyncio.create_task(watching.run())
        async with asyncio.timeout(20):
            while not await store.is_watched(BTC):  # noqa: ASYNC110 - another process's table
                await asyncio.sleep(0.05)
        await watching.rules.refresh()  # the daily one
        assert not running.done()
        assert not await store.is_watched("ETHUSDT")
        running.cancel()
        await asyncio.wait({running})
        alarms = await store.raised_alarms(10)
    assert [(alarm.symbol, alarm.kind, alarm.count) for alarm in alarms] == [
        ("ETHUSDT", "unlisted", 1)
    ]
