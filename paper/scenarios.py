"""Seeded price paths that react to the account: most wait for a LONG, so that the moment at which
an alert arrives does not matter.

A path is a list of legs, each a target in percent of the entry price and a time to get there.
"""

import heapq
import random
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from paper.feeds import FeedError, Look, Tick, Ticks, to_step, to_tick
from paper.rules import SymbolRules

START_PRICES = {
    "BTCUSDT": "60000",
    "ETHUSDT": "3000",
    "SOLUSDT": "150",
    "XRPUSDT": "0.6000",
    "AVAXUSDT": "25",
    "FILUSDT": "4.000",
    "ALGOUSDT": "0.2000",
    "LAYERUSDT": "1.2000",
}
DEFAULT_START = "10"
TAKEN_UP = -0.2  # percent below the entry at which a path counts as begun already
CREEP = 0.000005  # part of the price per trade, about 0.14 % in a minute
NOISE = 0.00008  # standard deviation of one trade around the path, as a part of the price


class PathLeg(NamedTuple):
    """Go to `percent` of the entry (0: the entry itself) within `seconds`."""

    percent: float
    seconds: float


# With the sample alert (grid 0.5|1|2, offset_short 0.2): levels lie at −0.50, −1.50 and −3.47 %,
# the hedge at −3.66 %, and from −5.08 % down SHORT has earned more than LONG has lost.
# The pauses leave a bot time to place what it wants next.
PATHS: dict[str, tuple[PathLeg, ...]] = {
    "tour": (
        PathLeg(0.02, 4),
        PathLeg(-0.65, 9),
        PathLeg(-0.40, 4),
        PathLeg(-1.65, 10),
        PathLeg(-1.35, 4),
        PathLeg(-3.54, 13),
        PathLeg(-3.52, 3),
        PathLeg(-3.80, 4),
        PathLeg(-5.60, 16),
        PathLeg(-6.20, 8),
        PathLeg(1.20, 60),
    ),
    "dip-and-recover": (
        PathLeg(0.02, 3),
        PathLeg(-0.65, 8),
        PathLeg(-0.45, 3),
        PathLeg(-1.65, 9),
        PathLeg(1.00, 25),
        PathLeg(1.60, 20),
    ),
    "crash": (PathLeg(0.0, 2), PathLeg(-4.0, 25), PathLeg(-3.6, 4), PathLeg(-12.0, 60)),
    "rally": (PathLeg(0.0, 3), PathLeg(1.2, 25), PathLeg(0.9, 5), PathLeg(3.0, 40)),
    "chop": (),
}


def scenario(
    name: str,
    rules: Mapping[str, SymbolRules],
    *,
    seed: int,
    look: Look,
    start: Mapping[str, Decimal],
) -> Ticks:
    """Return the ticks of a named scenario for all symbols, without end.

    `start` gives the prices that are already known (a loaded state); `look` shows the account.
    """
    if name not in PATHS:
        raise FeedError(f"unknown scenario {name!r}: {', '.join(sorted(PATHS))}")
    walks = [
        _Walk(PATHS[name], r, seed=seed, look=look, price=start.get(r.symbol)).ticks()
        for r in rules.values()
    ]
    return heapq.merge(*walks, key=lambda tick: tick.at_ms)


class _Walk:
    """The path of one symbol."""

    def __init__(
        self,
        path: tuple[PathLeg, ...],
        rules: SymbolRules,
        *,
        seed: int,
        look: Look,
        price: Decimal | None,
    ) -> None:
        self._path = path
        self._rules = rules
        self._look = look
        self._random = random.Random(f"{seed}:{rules.symbol}")
        self._at_ms = 0.0
        self._home = START_PRICES.get(rules.symbol, DEFAULT_START)
        self._price = float(price or self._home)
        self._shown = Decimal(0)

    def ticks(self) -> Iterator[Tick]:
        """Yield trades for ever: steady while flat, along the path while a LONG is open."""
        yield self._tick(self._price)
        while True:
            yield from self._rest()
            if self._path:
                yield from self._follow()

    def _rest(self) -> Iterator[Tick]:
        """Hover around one price until a LONG is open; a chop goes further and never ends."""
        centre, home = self._price, float(self._home)
        reach = 0.0015 if self._path else 0.006
        while not self._path or not self._holding_long():
            # many tours must not wear the price out: it creeps back to where it began
            centre += max(-1.0, min(1.0, (home - centre) / home * 1000)) * centre * CREEP
            pull = (centre - self._price) * 0.02
            self._price += pull + self._random.gauss(0, centre * reach * 0.05)
            yield self._tick(self._price)

    def _follow(self) -> Iterator[Tick]:
        entry = float(self._look(self._rules.symbol).long_entry)
        begun = (self._price / entry - 1) * 100
        legs = list(self._path)
        # taken up in the middle (a restart): never walk back up to a part of the way down
        while begun < TAKEN_UP and len(legs) > 1 and legs[0].percent > begun:
            legs.pop(0)
        for leg in legs:
            yield from self._go(entry * (1 + leg.percent / 100), leg.seconds * 1000)
            if self._is_flat():
                return
        while not self._is_flat():
            yield from self._go(self._price, 5000)

    def _go(self, target: float, duration_ms: float) -> Iterator[Tick]:
        begin_ms, begin = self._at_ms, self._price
        while self._at_ms < begin_ms + duration_ms and not self._is_flat():
            part = (self._at_ms - begin_ms) / duration_ms
            self._price = begin + (target - begin) * part
            yield self._tick(self._price * (1 + self._random.gauss(0, NOISE)))

    def _tick(self, price: float) -> Tick:
        shown = to_tick(Decimal(f"{price:.10f}"), self._rules)
        falls, self._shown = shown < self._shown, shown
        # one trade in four is small, so that resting orders also fill in parts
        quote = self._random.uniform(60, 500)
        if self._random.random() > 0.25:
            quote = self._random.uniform(2_000, 60_000)
        tick = Tick(
            at_ms=self._at_ms,
            symbol=self._rules.symbol,
            price=shown,
            quantity=to_step(Decimal(f"{quote / price:.8f}"), self._rules),
            is_buyer_maker=falls,
        )
        self._at_ms += self._random.uniform(120, 320)
        return tick

    def _holding_long(self) -> bool:
        return self._look(self._rules.symbol).long > 0

    def _is_flat(self) -> bool:
        holding = self._look(self._rules.symbol)
        return not holding.long and not holding.short
