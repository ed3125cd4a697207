"""The deep check against the paper exchange: books that agree, and books that were spoilt."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Executable, select

from config import Settings
from core.clients.db_async import make_engine
from core.clients.sql_store import SqlCycleStore
from core.domain.cycle import Cycle, OrderStatus, Phase, Request, Side
from core.domain.ledger import fold
from core.queries import tables
from flows import jobs
from paper.exchange import Exchange, wall_ms
from paper.server import listening
from paper.world import World
from tests.integration.store_worlds import PAYLOAD, changed, new_cycle

BTC, D = "BTCUSDT", Decimal
ENTRY, EXIT, LEVEL = "tb-k1-en0-1", "tb-k1-cl0-1", "tb-k1-lv1-1"
TWENTY_MINUTES_MS = 20 * 60_000  # long enough ago to be judged
FILL = tables.FILL.c


class Past:
    """An exchange on which something happened a while ago, one thing a second."""

    def __init__(self) -> None:
        self.now_ms = wall_ms() - TWENTY_MINUTES_MS
        self.world = World(now_ms=self.now_ms)
        self.trade("60000")

    def trade(self, price: str) -> None:
        self.now_ms += 1000
        now_ms = self.now_ms
        self.world.trade(BTC, D(price), D(1000), time_ms=now_ms, now_ms=now_ms)

    def order(self, name: str, side: str, **more: str) -> None:
        self.now_ms += 1000
        what = {"symbol": BTC, "side": side, "positionSide": "LONG", "type": "MARKET"}
        params = what | {"quantity": "0.004", "newClientOrderId": name} | more
        answer = self.world.request("POST", "/fapi/v1/order", params, self.now_ms)
        assert answer.status == 200, answer.body


@dataclass
class Books:
    """The exchange, the database beside it, and the hand that spoils them."""

    past: Past
    settings: Settings
    store: SqlCycleStore
    cycle: Cycle
    execute: Callable[[Executable], Awaitable[None]]

    async def check(self) -> list[tuple[str, str]]:
        """Return what the deep check finds; it must stand as alarms then, and nothing else."""
        before = self.past.world.snapshot()["state"]["books"]
        checked = await jobs.check_deeply(self.settings, wait=at_once)
        assert checked.symbols == (BTC,)
        assert self.past.world.snapshot()["state"]["books"] == before, "it traded"
        alarms = await self.store.raised_alarms(10)
        assert {alarm.kind for alarm in alarms} == {str(x.kind) for x in checked.findings}
        assert all(alarm.symbol == BTC and alarm.action for alarm in alarms)
        return [(str(x.kind), x.text) for x in checked.findings]


async def at_once(seconds: float) -> None:
    """Wait for nothing before the second look."""


@asynccontextmanager
async def books(database_url: str, *, is_ended: bool) -> AsyncIterator[Books]:
    """Yield the books of one cycle that bought and, unless it is open, sold again."""
    past = Past()
    accepted_ms = past.now_ms
    past.order(ENTRY, "BUY")
    if is_ended:
        past.trade("60300")
        past.order(EXIT, "SELL")
    ended_ms = past.now_ms + 3000 if is_ended else None
    engine = make_engine(database_url)
    store = SqlCycleStore(engine)
    async with listening(Exchange(past.world)) as address:
        settings = Settings(paper_url=address, db_connection_str=SecretStr(database_url))
        cycle = await _stored(store, settings, accepted_ms=accepted_ms, ended_ms=ended_ms)

        async def execute(statement: Executable) -> None:
            async with engine.begin() as connection:
                await connection.execute(statement)

        try:
            yield Books(past, settings, store, cycle, execute)
        finally:
            await store.close()


async def _stored(
    store: SqlCycleStore, settings: Settings, *, accepted_ms: int, ended_ms: int | None
) -> Cycle:
    """Store the cycle as the monitor would have, from what the exchange lists."""
    async with jobs._gateway(settings) as gateway:
        fills = await gateway.fills(BTC, since_ms=accepted_ms, after_trade_id=None)
    cycle = replace(new_cycle(), accepted_at_ms=accepted_ms)
    webhook_id = await store.record_webhook(PAYLOAD, received_at_ms=accepted_ms, symbol=BTC)
    cycle = await store.begin_cycle(webhook_id, cycle)
    (entry,) = cycle.orders
    bought = replace(entry, request=Request.NONE, status=OrderStatus.OVER, executed=D("0.004"))
    sold = replace(bought, client_order_id=EXIT, side=Side.SELL)
    orders = [bought] if ended_ms is None else [bought, sold]
    known: dict[str, Any] = {
        "orders": tuple(orders),
        "fills": fills,
        "ledger": fold(orders, fills, cycle.rules, {}),
        "phase": Phase.TRADING if ended_ms is None else Phase.ENDED,
        "ended_at_ms": ended_ms,
    }
    return (await store.update(cycle.cycle_id, changed(**known), lease=None)).cycle


@pytest.fixture(autouse=True)
def _room_in_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SHARE_PERCENT", 100)


@pytest.fixture
async def ended(migrated_url: str) -> AsyncIterator[Books]:
    async with books(migrated_url, is_ended=True) as found:
        yield found


@pytest.fixture
async def opened(migrated_url: str) -> AsyncIterator[Books]:
    async with books(migrated_url, is_ended=False) as found:
        yield found


async def test_books_that_agree(ended: Books) -> None:
    assert await ended.check() == []


async def test_an_open_cycle_that_agrees(opened: Books) -> None:
    assert await opened.check() == []


async def test_a_fill_that_is_missing(ended: Books) -> None:
    lost = ended.cycle.fills[1]
    await ended.execute(tables.FILL.delete().where(FILL.trade_id == lost.trade_id))
    (missing, *_), found = await _twice(ended)
    assert missing == (
        "fills-differ",
        f"trade {lost.trade_id} (SELL LONG 0.004 at 60300, order {EXIT}) is not in the database",
    )
    assert len({kind for kind, _ in found}) == len(await ended.store.raised_alarms(10))
    assert {alarm.count for alarm in await ended.store.raised_alarms(10)} == {2}


async def _twice(of: Books) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return what two checks find: the same, and the second only counts."""
    first, second = await of.check(), await of.check()
    assert first == second
    return first, second


async def test_a_fill_that_is_there_twice_and_one_that_was_changed(ended: Books) -> None:
    bought, sold = ended.cycle.fills
    twice = {"trade_id": 9_999, "cycle_id": ended.cycle.cycle_id, "symbol": BTC}
    values = {
        column.name: getattr(bought, column.name)
        for column in tables.FILL.columns
        if hasattr(bought, column.name)
    }
    at = tables.CYCLE.c.opened_at
    async with ended.store.reading() as connection:
        executed_at = (await connection.execute(select(at))).scalar_one()
    copy = values | twice | {"executed_at": executed_at}
    await ended.execute(tables.FILL.insert().values(copy))
    changed_price = tables.FILL.update().where(FILL.trade_id == sold.trade_id)
    await ended.execute(changed_price.values(price=D("60299.9")))
    found = await ended.check()
    name = f"(BUY LONG 0.004 at 60000, order {ENTRY})"
    assert [text for kind, text in found if kind == "fills-differ"] == [
        f"trade 9999 {name} of cycle k1 is not on the exchange",
        f"trade {sold.trade_id} of cycle k1 has price 60299.9 (exchange: 60300)",
    ]


async def test_figures_that_are_not_what_was_paid(ended: Books) -> None:
    ledger = replace(ended.cycle.ledger, realised=D("1.3"))
    ended_ms = ended.cycle.ended_at_ms
    wrong = changed(at_ms=wall_ms(), ledger=ledger, ended_at_ms=ended_ms)
    await ended.store.update(ended.cycle.cycle_id, wrong, lease=None)
    text = "cycle k1: realised 1.3, the exchange's income says 1.2"
    assert await ended.check() == [("ledger-differs", text)]


async def test_a_position_that_differs(opened: Books) -> None:
    opened.past.world.outside_market(BTC, "SELL", "LONG", D("0.001"), wall_ms())
    assert await opened.check() == [("position-differs", "LONG 0.003, in cycle k1 0.004")]


async def test_an_order_that_no_cycle_has_and_a_position_that_nobody_watches(ended: Books) -> None:
    ended.past.world.outside_market(BTC, "BUY", "LONG", D("0.002"), wall_ms())
    limit = {"type": "LIMIT", "timeInForce": "GTC", "price": "59000"}
    ended.past.order(LEVEL, "BUY", **limit)
    assert await ended.check() == [
        ("position-differs", "LONG 0.002, and no cycle is open: nobody watches it"),
        ("orders-differ", f"order {LEVEL} rests on the exchange, and no open cycle has it"),
    ]


async def test_what_is_gone_at_the_second_look_was_never_there(ended: Books) -> None:
    waits: list[float] = []
    ended.past.world.outside_market(BTC, "BUY", "LONG", D("0.002"), wall_ms())

    async def meanwhile(seconds: float) -> None:
        waits.append(seconds)
        ended.past.world.outside_market(BTC, "SELL", "LONG", D("0.002"), wall_ms())

    checked = await jobs.check_deeply(ended.settings, wait=meanwhile)
    assert (checked.findings, waits) == ((), [jobs.LOOK_AGAIN_AFTER_S])
    assert checked.as_text() == "1 symbols, 1 cycles, 3 executions: 0 differences\n"
    assert await ended.store.count_raised_alarms() == 0


async def test_a_symbol_that_the_exchange_does_not_tell_about(opened: Books) -> None:
    cycle = replace(new_cycle(key="k2", symbol="GONEUSDT"), accepted_at_ms=wall_ms())
    webhook_id = await opened.store.record_webhook(PAYLOAD, received_at_ms=wall_ms())
    await opened.store.begin_cycle(webhook_id, cycle)
    checked = await jobs.check_deeply(opened.settings, wait=at_once)
    assert (checked.symbols, checked.findings) == ((BTC, "GONEUSDT"), ())
    assert [line for line in checked.as_text().splitlines() if "GONE" in line] == [
        "not checked: GONEUSDT: -1121: Invalid symbol. (HTTP 400)"
    ]


async def test_rules_are_stored(ended: Books) -> None:
    listed = await jobs.refresh_symbols(ended.settings)
    rules = await ended.store.rules(BTC)
    assert (listed.unlisted, listed.unknown) == ((), ())
    assert rules is not None
    assert rules.brackets
    assert jobs.described_listed(listed) == f"rules of {listed.count} perpetuals stored"


async def test_a_name_that_was_mistyped_stores_nothing(ended: Books) -> None:
    wrong = ended.settings.model_copy(update={"symbols": (BTC, "BTCUSDX")})
    listed = await jobs.refresh_symbols(wrong)
    assert listed.unknown == ("BTCUSDX",)
    assert await ended.store.all_rules() == ()
    assert "BTCUSDX is not listed" in jobs.described_listed(listed)
