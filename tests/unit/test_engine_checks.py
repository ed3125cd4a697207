"""What a desk reads besides orders and positions, against a gateway that knows one price."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import cast

from core.clients.memory_store import MemoryCycleStore
from core.domain.cycle import Cycle, TimePassed
from core.engine import Desk, Surroundings
from core.ports import OrderGateway
from tests.builders import StoppedClock, Story, dec


class PriceList:
    """Knows mark prices and nothing else."""

    def __init__(self, prices: dict[str, str]) -> None:
        self.asked: list[str] = []
        self._prices = prices

    async def mark_price(self, symbol: str) -> Decimal:
        """Return the price listed for the symbol."""
        self.asked.append(symbol)
        return dec(self._prices[symbol])


def paid_in_bnb() -> Cycle:
    """Return a cycle whose entry was charged 0.0002 BNB."""
    cycle = Story().entered().cycle
    fills = tuple(
        replace(fill, commission=dec("0.0002"), commission_asset="BNB") for fill in cycle.fills
    )
    return replace(cycle, fills=fills)


async def test_commissions_in_bnb_are_valued_at_its_price() -> None:
    gateway, clock = PriceList({"BNBUSDT": "600"}), StoppedClock(after_ms=100_000)
    store = MemoryCycleStore(now_ms=clock.now_ms)
    webhook = await store.record_webhook({}, received_at_ms=clock.now_ms(), symbol="BTCUSDT")
    cycle = await store.begin_cycle(webhook, paid_in_bnb())
    around = Surroundings(gateway=cast(OrderGateway, gateway), store=store, clock=clock)
    desk = Desk("BTCUSDT", around)
    desk.adopt(cycle)
    running = asyncio.get_running_loop().create_task(desk.run())
    try:
        await desk.check_asset_prices()
        nothing_more = TimePassed(at_ms=clock.now_ms())
        await desk.tell_and_wait(nothing_more, cycle_id=cycle.cycle_id)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    saved = await store.load(cycle.cycle_id)
    assert saved is not None
    assert gateway.asked == ["BNBUSDT"]
    assert saved.ledger.commissions == dec("0.12")  # 0.0002 BNB at 600
    await desk.check_asset_prices()
    assert gateway.asked == ["BNBUSDT"]  # known now
