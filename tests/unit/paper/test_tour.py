"""The default scenario against the sample alert's orders: the demo must end in profit."""

from decimal import ROUND_FLOOR, Decimal

import pytest

from paper import ledger
from paper.feeds import Holding, Tick
from paper.rules import BUILT_IN
from paper.scenarios import scenario
from paper.state import PositionSide
from tests.unit.paper.bench import BTC, START_MS, Bench

D = Decimal
LEVELS = {1: ("0.995", "0.006"), 2: ("0.980075", "0.012"), 3: ("0.960473", "0.024")}


class _Hedger:
    """Plays the sample alert's ladder: levels one by one, a hedge below them, a net-PNL close."""

    def __init__(self, seed: int) -> None:
        self.bench = Bench(price=None)
        rules = {BTC: BUILT_IN[BTC]}
        self.feed = scenario("tour", rules, seed=seed, look=self.look, start={})
        self.entry = D(0)
        self.next_level = 1
        self.hedge = D(0)
        self.closed_after_s = 0.0

    def look(self, symbol: str) -> Holding:
        books = self.bench.world.state.books
        held = ledger.leg(books, symbol, PositionSide.LONG)
        return Holding(long=held.amount, short=self.bench.short(), long_entry=held.entry)

    def run(self) -> None:
        for tick in self.feed:
            self.bench.now_ms = START_MS + round(tick.at_ms)
            self.bench.trade(f"{tick.price:f}", f"{tick.quantity:f}")
            if not self.entry and tick.at_ms > 5000:
                self._enter(tick)
            elif self.entry:
                self._follow(tick)
            if self.closed_after_s or tick.at_ms > 120_000:
                return

    def _enter(self, tick: Tick) -> None:
        self.bench.ok("POST", "v1/leverage", symbol=BTC, leverage=10)
        self.bench.buy_long("0.004")
        self.entry = tick.price
        self._place_level()

    def _place_level(self) -> None:
        factor, quantity = LEVELS[self.next_level]
        price = (self.entry * D(factor)).quantize(D("0.1"), ROUND_FLOOR)
        self.bench.buy_long(quantity, price=f"{price:f}", id=f"level-{self.next_level}")
        if self.next_level == 3:
            trigger = (price * D("0.998")).quantize(D("0.1"), ROUND_FLOOR)
            self.bench.stop("SELL", "SHORT", f"{trigger:f}", quantity="0.103", id="hedge")

    def _follow(self, tick: Tick) -> None:
        story = self.bench.order_story(f"level-{self.next_level}")
        if self.next_level < 3 and story[-1][1] == "FILLED":
            self.next_level += 1
            self._place_level()
        if self.bench.short() and not self.hedge:
            self.hedge = D(self.bench.seen("ORDER_TRADE_UPDATE")[-1]["o"]["L"])
            stop = (self.hedge * D("1.005")).quantize(D("0.1"))
            assert self.bench.stop("BUY", "SHORT", f"{stop:f}", id="hedge-stop").status == 200
        if self.hedge and self._net(tick.price) > 0:
            self.bench.order("SELL", "LONG", f"{self.bench.long():f}")
            self.bench.order("BUY", "SHORT", f"{self.bench.short():f}")
            self.closed_after_s = tick.at_ms / 1000

    def _net(self, price: Decimal) -> Decimal:
        books = self.bench.world.state.books
        legs = [ledger.leg(books, BTC, side) for side in (PositionSide.LONG, PositionSide.SHORT)]
        fees = sum(leg.commission for leg in legs)
        held = self.bench.long() + self.bench.short()
        return sum((leg.profit_at(price) for leg in legs), D(0)) - fees - D("0.0007") * price * held


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_sample_alert_visits_everything_and_closes_in_profit(seed: int) -> None:
    hedger = _Hedger(seed)
    hedger.run()
    books = hedger.bench.world.ledger()
    assert hedger.next_level == 3
    assert hedger.hedge
    assert 50 < hedger.closed_after_s < 80
    assert D(books["realised"]) - D(books["commission"]) > 0
    assert D(books["wallet"]) > 10_000
