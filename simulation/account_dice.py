"""Draws the histories of accounts: several symbols, monitors with leases, limits over all of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random

import msgspec

from core.clients.memory_store import Moment as StoreMoment
from core.domain.guards import DAY_MS, Guards
from simulation import events as e
from simulation.account import SharedStage
from simulation.dice import Dice, drawn_options, drawn_policy
from simulation.loop import START_MS

D = Decimal
SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT", "AVAXUSDT", "FILUSDT")
ROUNDS = 4  # of events with an end, so that limits remember what was before
EVENTS_A_ROUND = (20, 40)
MIDNIGHT_MS = START_MS - START_MS % DAY_MS + DAY_MS
# What a person buys beside a cycle, times what brings liquidation as near as the account allows.
BURDENS = (D("0.5"), D("0.93"), D("0.97"), D("1.2"))


def account_beginning(seed: int) -> e.History:
    """Return the account that the seed's history plays on; nothing has happened on it yet."""
    dice = Random(f"account {seed}")
    symbols = tuple(dice.sample(SYMBOLS, dice.choice([1, 2, 2, 3])))
    distance = dice.choice([None, "15", "15", "30", "60"])
    options = drawn_options(dice) | {"wallet": dice.choice(["10000", "3000", "1500"])}
    return e.History(
        seed=seed,
        symbol=symbols[0],
        symbols=symbols,
        monitors=dice.choice([1, 2, 2, 2]),
        guards=_drawn_guards(dice),
        min_liquidation_distance=None if distance is None else D(distance),
        start_ms=dice.choice([START_MS, MIDNIGHT_MS - 600_000, MIDNIGHT_MS - 300_000]),
        on_hedge_failed=drawn_policy(dice),
        options=options,
    )


def _drawn_guards(dice: Random) -> Guards:
    notional = dice.choice([None, None, 10_000, 25_000])
    loss = dice.choice([None, 1, 5, 20])
    return Guards(
        max_total_notional=None if notional is None else D(notional),
        max_open_cycles=dice.choice([None, None, 1, 2]),
        max_daily_loss=None if loss is None else D(loss),
        symbol_cooldown_ms=dice.choice([0, 0, 60_000, 1_800_000]),
    )


# What befalls monitors, their database, and the clock that their leases go by.
KINDS = (
    "freeze",
    "freeze",
    "freeze",
    "hold",
    "unrenewed",
    "slow",
    "clock",
    "kill",
    "burden",
    "burden",
)


@dataclass(slots=True)
class _Place:
    stage: SharedStage
    dice: Dice


class AccountDice:
    """Draws one event after the other for an account."""

    def __init__(self, history: e.History, stages: Sequence[SharedStage]) -> None:
        """Prepare the dice of a seed."""
        self._dice = Random(f"play account {history.seed}")
        self._monitors = history.monitors
        wallet, distance = D(str(history.options["wallet"])), history.min_liquidation_distance
        self._burden = None if distance is None else wallet * 100 / distance
        self._places = [
            _Place(stage, Dice(_of_one(history, stage.symbol), stage, salt=stage.symbol))
            for stage in stages
        ]

    def events(self) -> Iterator[e.Event]:
        """Yield the events of the whole history."""
        for _ in range(ROUNDS):
            yield from self._round()
        yield e.ThrowSwitch(is_on=False)

    def _round(self) -> Iterator[e.Event]:
        dice = self._dice
        for place in self._places:
            place.dice.draw_mood()
        trouble, calm = dice.choice([0.0, 0.05, 0.2]), dice.choice([0.03, 0.08])
        for _ in range(dice.choice(EVENTS_A_ROUND)):
            place = dice.choice(self._places)
            yield from self._on(place, self._happening(place))
            if dice.random() < trouble:
                yield from self._trouble(place)
            if self._burden is not None and place.stage.is_open and dice.random() < 0.06:
                burden = int(self._burden * dice.choice(BURDENS))
                yield from self._on(place, place.dice.buy_by_hand(burden))
            if dice.random() < 0.03:
                yield e.ThrowSwitch(is_on=dice.random() < 0.6)
            if dice.random() < calm:
                yield e.ClearUp()
        yield e.End()

    def _happening(self, place: _Place) -> Iterator[e.OfOneSymbol]:
        if place.stage.is_open:
            return place.dice.happening()
        return place.dice.begin() if self._dice.random() < 0.7 else place.dice.drift()

    def _on(self, place: _Place, events: Iterator[e.OfOneSymbol]) -> Iterator[e.Event]:
        for event in events:
            is_for_all = isinstance(event, e.Wait)
            yield event if is_for_all else e.On(symbol=place.stage.symbol, event=event)

    # --- What befalls all of it ---

    def _trouble(self, place: _Place) -> Iterator[e.Event]:
        dice = self._dice
        kind = dice.choice(KINDS)
        if kind == "freeze":
            yield self._freeze()
        elif kind == "hold":  # with requests in hand: what is drawn next makes some
            yield from self._on(place, place.dice.go_to_where_it_matters())
            yield e.Wait(ms=dice.choice([0, 1, 5]))
            yield self._freeze()
        elif kind == "unrenewed":
            yield e.LoseDatabase(
                operation=dice.choice(["renew_leases", "renew_leases", "acquire_lease"]),
                count=dice.randint(1, 5),
                moment=dice.choice(list(StoreMoment)),
            )
            yield e.Wait(ms=dice.choice([9_000, 12_000, 16_000]))
        elif kind == "slow":
            latency_ms, ms = dice.choice([300, 3_000, 6_000]), dice.choice([10_000, 30_000])
            yield e.SlowDatabase(latency_ms=latency_ms, ms=ms)
            yield e.Wait(ms=dice.choice([8_000, 16_000]))
        elif kind == "clock":
            yield e.SetDatabaseClock(ms=dice.choice([-3_600_000, -8_000, 8_000, 20_000, 3_600_000]))
        else:
            yield from self._on(place, iter([e.Kill(down_ms=1_000)]))
        yield from self._on(place, place.dice.go_to_where_it_matters())

    def _freeze(self) -> e.Event:
        ms = self._dice.choice([3_000, 9_000, 11_000, 14_500, 16_000, 25_000])
        return e.Freeze(monitor=self._dice.randrange(self._monitors), ms=ms)


def _of_one(history: e.History, symbol: str) -> e.History:
    return msgspec.structs.replace(history, symbol=symbol)
