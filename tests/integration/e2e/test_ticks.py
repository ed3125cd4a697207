"""The monitor's decisions on a tick file equal `apply`, trade by trade.

The ticks go through the monitor's own path: frame, `MarketStream`, `Band`, `Desk`. Beside it,
`apply` is given every single trade, without any band; after each one both must stand the same.
"""

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from core.clients.binance_stream import MarketStream
from core.domain.cycle import Cycle, Fact, RequestsDecided, TradePrice
from core.domain.diff import decide
from core.domain.settings import CycleSettings
from core.domain.step import Step
from core.domain.strategy import apply
from core.engine import Desk, handle
from simulation.loop import run
from tests.simulation.stage import SYMBOL, Stage, alert, trailing_alert

D = Decimal
TICKS = 4_000
QUIET_S = 15.0  # virtual: until every answer is there


@dataclass(slots=True)
class EveryTrade:
    """`apply` on every trade, to be compared with the desk that sees few of them."""

    stage: Stage
    cycle: Cycle
    turn: tuple[Fact, ...] = ()
    dropped: int = 0
    judged: int = 0
    is_stepped: bool = field(default=False)

    async def handle(self, desk: Desk, facts: tuple[Fact, ...]) -> None:
        """Let the desk take its turn; a turn without a step must be one without consequences."""
        self.turn, self.is_stepped = facts, False
        await handle(desk, facts)
        if not self.is_stepped:
            self._apply(facts)
            self._compare(desk.open_cycle)

    def stepped(self, step: Step) -> None:
        """Compare a step of the desk with what `apply` and `decide` make of all trades."""
        self.is_stepped = True
        has_trades = any(isinstance(fact, TradePrice) for fact in self.turn)
        facts = self.turn if has_trades else step.facts
        self._apply(tuple(f for f in facts if not isinstance(f, RequestsDecided)))
        decision = decide(self.cycle, self.stage.clock.now_ms())
        assert decision.requests == step.requests
        self.cycle = decision.cycle
        self._compare(step.cycle)

    def drop(self, price: Decimal) -> None:
        """Apply a trade that the band held back: it must not matter."""
        now_ms = self.stage.clock.now_ms()
        before = self.cycle
        self._apply((TradePrice(at_ms=now_ms, price=price),))
        self.dropped += 1
        assert _priceless(self.cycle) == _priceless(before)
        assert decide(self.cycle, now_ms).requests == decide(before, now_ms).requests

    def _apply(self, facts: tuple[Fact, ...]) -> None:
        for fact in facts:
            self.cycle = apply(self.cycle, fact)
            self.judged += isinstance(fact, TradePrice)

    def _compare(self, cycle: Cycle | None) -> None:
        if cycle is not None:
            assert _priceless(cycle) == _priceless(self.cycle)


@pytest.mark.parametrize(
    ("settings", "corners", "reason", "roles"),
    [
        (
            alert(offset_short=D("0.3"), offset_pluse=D("0.4")),
            [60000, 59650, 59950, 59050, 59400, 57870, 57500, 58060, 57300, 57450, 55000],
            "pnl",
            {"level1", "level2", "level3", "hedge1", "hedge_stop1", "hedge2"},
        ),
        (
            trailing_alert(tp=D(3), trail_2=D("0.15")),
            [60000, 59700, 59900, 60150, 60120, 60300, 60260, 60700, 60640, 60900, 60500],
            "trailing",
            {"level1", "guard", "close_long"},
        ),
        (
            alert(max_loss=D(12), extramarg=D(0), grid_ahead=3),
            [60000, 59500, 59950, 59000, 59200, 57800, 58500, 57000],
            "max_loss",
            {"level1", "level2", "level3", "close_long"},
        ),
    ],
    ids=["averaged and hedged", "trailing", "maximum loss"],
)
def test_tick_file(
    tmp_path: Path, settings: CycleSettings, corners: list[int], reason: str, roles: set[str]
) -> None:
    path = tmp_path / f"{SYMBOL}-aggTrades.csv"
    _write_ticks(path, corners)

    async def play() -> None:
        async with Stage(settings) as stage:
            await stage.enter("60000")
            reference = EveryTrade(stage=stage, cycle=_known(stage))
            reader = _reader(stage)
            stage.desk._around.handler = reference.handle
            stage.after_step.append(reference.stepped)
            luck = random.Random(7)
            for frame, price in _frames(path):
                if not stage.cycle.is_open:
                    break
                stage.streams.trade(SYMBOL, price)
                handed_on = reader(frame)
                if not handed_on:
                    reference.drop(price)
                # Bursts find the desk at work; pauses find it at rest.
                await stage.settle(luck.choice((0, 0, 0, 0.001, 0.05, 0.4)))
            await stage.settle(QUIET_S)
            assert stage.cycle.close_reason == reason
            used = {f"{o.role}{o.number or ''}" for o in stage.cycle.orders}
            assert roles <= used
            assert reference.dropped > TICKS / 4
            assert reference.judged > reference.dropped

    run(play())


def _known(stage: Stage) -> Cycle:
    cycle = stage.desk.open_cycle
    assert cycle is not None
    return cycle


def _priceless(cycle: Cycle) -> Cycle:
    return replace(cycle, last_price=None)


class _Reader:
    """The monitor's reader; tells whether a frame's trade was handed on."""

    def __init__(self, stage: Stage) -> None:
        self._is_handed_on = False
        self._desk = stage.desk
        bands = {SYMBOL: stage.band}
        self._stream = MarketStream(base_url="ws://none", bands=bands, on_trade=self._traded)

    def __call__(self, frame: bytes) -> bool:
        self._is_handed_on = False
        self._stream.received(frame)
        return self._is_handed_on

    def _traded(self, symbol: str, price: Decimal, time_ms: int) -> None:
        self._is_handed_on = True
        self._desk.traded(price, time_ms)


def _reader(stage: Stage) -> _Reader:
    # The frames below take the place of the simulation's own way of telling trades.
    stage.streams.on_trade = lambda symbol, price, time_ms: None
    stage.streams.bands = {}
    return _Reader(stage)


def _write_ticks(path: Path, corners: list[int]) -> None:
    """Write a random walk from corner to corner in the form of Binance's public dumps."""
    luck = random.Random(11)
    price = D(corners[0])
    legs = len(corners) - 1
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        for number in range(TICKS):
            leg, part = divmod(number * legs / TICKS, 1)
            start, end = corners[int(leg)], corners[int(leg) + 1]
            aim = D(str(round(start + (end - start) * part, 1)))
            price += ((aim - price) * D("0.2")).quantize(D("0.1")) + luck.randint(-40, 40) * D(
                "0.1"
            )
            time_ms = 1_780_000_000_000 + number * 250
            rows.writerow([number, price, "0.5", number, number, time_ms, "true"])


def _frames(path: Path) -> Iterator[tuple[bytes, Decimal]]:
    """Yield each tick as the market stream's frame, and its price."""
    with path.open(newline="", encoding="utf-8") as file:
        for number, price, quantity, first, last, time_ms, is_maker in csv.reader(file):
            data = {
                "e": "aggTrade",
                "E": int(time_ms),
                "s": SYMBOL,
                "a": int(number),
                "p": price,
                "q": quantity,
                "f": int(first),
                "l": int(last),
                "T": int(time_ms),
                "m": is_maker == "true",
            }
            envelope = {"stream": f"{SYMBOL.lower()}@aggTrade", "data": data}
            yield msgspec.json.encode(envelope), D(price)
