"""A position that nobody here opened: told to a person, and taken on when he says so."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest

import operate
from core.clients.sql_store import SqlCycleStore
from core.domain.cycle import CloseReason, Phase
from paper.exchange import Exchange, wall_ms
from paper.server import listening
from paper.world import World
from tests.integration.test_monitor_start import monitor

BTC = "BTCUSDT"
ALERT = {
    "name": "taken on", "symbol": "BTCUSDT.P", "side": "buy", "positionSide": "long",
    "open": {"amount": "1", "leverage": "10"},
    "settings": {"deposit": "300", "extramarg": "600", "tp": "0.5", "order_quan": "3",
                 "grid_long": "0.5|1|2", "mg_long": "1.5|2|2", "offset_short": "0.2",
                 "sl_short": "0.5"},
}  # fmt: skip


@pytest.fixture
def alert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file with the settings that the position gets."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "alert.json"
    path.write_text(json.dumps(ALERT))
    return path


async def test_a_person_s_position_is_told_adopted_on_his_word_and_looked_after_to_its_end(
    migrated_url: str,
    alert: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = World(now_ms=wall_ms(), symbols=[BTC])
    async with monitor(world, migrated_url) as (watching, store):
        monkeypatch.setenv("PAPER_URL", watching._settings.paper_url)
        monkeypatch.setenv("DB_CONNECTION_STR", migrated_url)
        leverage = {"symbol": BTC, "leverage": "10"}
        world.request("POST", "/fapi/v1/leverage", leverage, wall_ms())
        world.outside_market(BTC, "BUY", "LONG", Decimal("0.004"), wall_ms())
        running = asyncio.create_task(watching.run())
        async with asyncio.timeout(60):
            while not await store.raised_alarms(1):  # noqa: ASYNC110 - another process's table
                await asyncio.sleep(0.05)
            (raised,) = await store.raised_alarms(10)
            assert (raised.kind, raised.text) == ("unclaimed", "LONG 0.004, SHORT 0")
            arguments = ["adopt", BTC, "--alert", str(alert)]
            assert await asyncio.to_thread(operate.main, arguments) == operate.EXIT_NOT_DONE
            assert await store.open_cycle(BTC) is None
            assert await asyncio.to_thread(operate.main, [*arguments, "--yes"]) == 0
            while not await _has_orders(store, 3):  # noqa: ASYNC110 - another process's table
                await asyncio.sleep(0.05)
            cycle = await store.open_cycle(BTC)
            assert cycle is not None
            assert (cycle.long.quantity, cycle.long.entry) == (Decimal("0.004"), Decimal(60000))
            assert await asyncio.to_thread(operate.main, [*arguments, "--yes"]) == 1
            assert await asyncio.to_thread(operate.main, ["close", BTC]) == 0
            while await store.open_cycle(BTC) is not None:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
            ended = await store.load(cycle.cycle_id)
            assert ended is not None
        running.cancel()
        await asyncio.wait({running})
    assert (ended.phase, ended.close_reason) == (Phase.ENDED, CloseReason.OPERATOR)
    assert world.position(BTC, "LONG") == 0
    said = capsys.readouterr()
    assert "level 1: buy 0.006 at 59700" in said.out
    assert "nothing was done; add --yes to take it on" in said.out
    assert "has begun; the monitor takes it on" in said.out
    assert "BTCUSDT" in said.err


async def test_what_stands_against_it_is_said(
    migrated_url: str,
    alert: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = World(now_ms=wall_ms(), symbols=[BTC, "ETHUSDT"])
    for symbol, price in ((BTC, 60000), ("ETHUSDT", 3000)):
        world.trade(symbol, Decimal(price), Decimal(1), time_ms=wall_ms(), now_ms=wall_ms())
    async with listening(Exchange(world)) as address:
        monkeypatch.setenv("PAPER_URL", address)
        monkeypatch.setenv("DB_CONNECTION_STR", migrated_url)
        for symbol, reason in (
            (BTC, "there is no LONG to take on"),
            ("ETHUSDT", "must be an alert that opens a cycle on ETHUSDT"),
        ):
            arguments = ["adopt", symbol, "--alert", str(alert), "--yes"]
            assert await asyncio.to_thread(operate.main, arguments) == operate.EXIT_NOT_DONE
            assert reason in capsys.readouterr().err
    assert await asyncio.to_thread(operate.main, arguments) == operate.EXIT_NOT_DONE
    assert "operate: " in capsys.readouterr().err


async def _has_orders(store: SqlCycleStore, count: int) -> bool:
    cycle = await store.open_cycle(BTC)
    return cycle is not None and len(cycle.orders) == count and cycle.orders[-1].is_resting
