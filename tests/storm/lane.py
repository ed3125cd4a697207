"""One symbol in the storm: alert after alert, each with a path of prices and a proof."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random
from typing import Any

from sqlmodel import Session, col, select

from core.clients import rows
from core.domain.cycle import Fact as FactLearnt
from core.domain.cycle import FillsRead, OrderReported, Role
from core.models import Alarm, Cycle, Fact, Order
from paper.rules import BUILT_IN
from tests.integration.e2e.world import Answer, Story, World

D = Decimal
ACCEPTED_WITHIN_S = 240.0  # two minutes of 418, and what else may come together
ENDED_WITHIN_S = 420.0
FILLS_WITHIN_S = 150.0  # after the end: a read each second, and bans of two minutes
FLOOD = 4_000  # trades in one go, three times: more than a desk lets wait
HELD_S = 3.0  # how long the flood's database is held
OPENING = (Role.ENTRY, Role.LEVEL, Role.HEDGE, Role.HEDGE_MARKET)
MOST_SLIPPAGE = D("1.005")  # an entry's fill against the price that it was checked at

# Paths in percent of the entry's price. Every one is followed by waves that end any cycle.
PATHS: dict[str, Sequence[float]] = {
    "rise": (1.2,),
    "dip": (-0.7, 1.2),
    "fall and rise": (-1.8, 2.2),
    "crash": (-2.5, -8.0),
    "whipsaw": (-2.6, -0.5, -3.4, 0.0, -4.0, 1.5),
    "trail": (0.5, 0.1, 0.9, 1.4, 0.7),
    "gap": (-6.0, 3.0),
    "loss": (-1.0, -6.0),
    "hand": (-0.7,),
    "signal": (-0.4, -0.9),
    "operator": (-2.6, -3.0),
    "flood": (-0.3,),
}


class Violation(Exception):
    """Something that must never happen did: a fill lost, an order doubled, a cycle stuck, …"""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One cycle that ended as its fills imply."""

    symbol: str
    path: str
    reason: str
    fills: int
    orders: int
    alarms: int
    slowest_ms: int  # from an execution until we knew of it
    slowest_at_ms: int
    answers: tuple[int, ...]  # HTTP statuses of the alert, the last one accepted it


class Lane(Story):
    """A symbol whose prices this alone moves."""

    def __init__(self, world: World, symbol: str, base: str, seed: int) -> None:
        super().__init__(world, symbol)
        self._base = D(base)
        self._price = D(base)
        self._rules = BUILT_IN[symbol]
        self._dice = Random(f"{symbol} {seed}")
        self._seen_trade = 0
        self._row = 0  # of the cycle under way

    def ride(self, path: str) -> Told:
        """Open a cycle, let it live through `path` and end, and prove its books."""
        self._price = self._base
        answers = self._open(path)
        entry = self._price
        if path == "flood":
            self._flood(entry)
        for target in PATHS[path]:
            self._go(entry, target)
            self._interfere(path)
        self._make_waves(entry)
        return self._prove(path, answers)

    # --- The alert ---

    def _open(self, path: str) -> tuple[int, ...]:
        """Send an alert until it is accepted, as TradingView does; return the answers' statuses."""
        alert, statuses = self._new_alert(path), list[int]()
        give_up = time.monotonic() + ACCEPTED_WITHIN_S
        while time.monotonic() < give_up:
            self._trade(self._price)
            answer = self.world.send_alert(alert)
            statuses.append(answer.status)
            row = self._begun_by(answer)
            if row is not None and answer.status == 503:
                raise Violation("doubled", f"{self.symbol}: 503, and yet begun: {answer}")
            if row is not None:
                self._row = row
                return tuple(statuses)
            if answer.status not in (409, 422, 429, 503):
                raise Violation("answer", f"{self.symbol}: an alert was answered with {answer}")
            time.sleep(self._dice.uniform(2, 5))  # each costs request weight
        raise Violation("stuck", f"{self.symbol}: no alert was accepted any more: {answer}")

    def _begun_by(self, answer: Answer) -> int | None:
        """Return the cycle that this very alert began."""
        webhook_id = answer.body.get("webhook_id")  # None: it could not even be stored
        found = [] if webhook_id is None else self.world.rows(Cycle, webhook_id=webhook_id)
        return found[0].id if found else None

    def _new_alert(self, path: str) -> dict[str, Any]:
        dice = self._dice
        levels = dice.choice([0, 1, 2, 2, 3])
        is_hedged = path in ("crash", "whipsaw", "operator") or dice.random() < 0.5
        fields: dict[str, Any] = {
            "open_amountType": "quote",
            "open_amount": dice.choice(["150", "300"]),
            "open_leverage": "10",
            "deposit": "600",
            "extramarg": "200" if is_hedged else "0",
            "tp": dice.choice(["0.4", "0.6", "1"]),
            "order_quan": levels,
            "grid_long": [dice.choice([0.4, 0.6]) for _ in range(levels)] or None,
            "mg_long": [dice.choice([1, 1.5, 2]) for _ in range(levels)] or None,
            "grid_ahead": dice.choice([1, 1, 2]),
            "offset_short": dice.choice(["0.2", "0.4"]),
            "sl_short": dice.choice(["0.5", "1"]),
        }
        if path == "trail" or dice.random() < 0.2:
            fields |= {"tp": "3", "trail_1": "0.3", "trail_2": "0.15", "trail_step": "0.05"}
        if path == "loss":
            fields |= {"max_loss": "4", "extramarg": "0"}
        return self.alert(**fields)

    # --- The prices ---

    def _trade(self, *prices: Decimal) -> None:
        few = str((D(30) / prices[0]).quantize(self._rules.step) + self._rules.step)
        quantity = few if self._dice.random() < 0.15 else "10000000"
        self.trade(*(str(self._on_tick(price)) for price in prices), quantity=quantity)

    def _on_tick(self, price: Decimal) -> Decimal:
        tick = self._rules.tick
        return max(tick, (price / tick).quantize(D(1), ROUND_HALF_EVEN) * tick)

    def _go(self, entry: Decimal, percent: float) -> None:
        """Walk to a place beside the entry's price; now and then in one leap."""
        goal = entry * (1 + D(str(percent)) / 100)
        steps = 1 if self._dice.random() < 0.2 else self._dice.randint(3, 8)
        start = self._price
        for step in range(1, steps + 1):
            if self._has_ended():
                return
            noise = 1 + D(str(round(self._dice.gauss(0, 0.0003), 6)))
            self._price = (start + (goal - start) * step / steps) * noise
            self._trade(self._price * D("1.0001"), self._price)
            time.sleep(self._dice.choice([0.02, 0.1, 0.2, 0.5, 1.5]))
        self._price = goal
        self._trade(goal)

    def _make_waves(self, entry: Decimal) -> None:
        """Let the price rise and fall, higher each time: it ends whatever is still open."""
        give_up = time.monotonic() + ENDED_WITHIN_S
        height = 1.5
        while not self._has_ended():
            if time.monotonic() > give_up:
                raise Violation("stuck", f"{self.symbol} {self.cycle.key}: {self.shown()}")
            self._go(entry, height)
            time.sleep(1)
            self._go(entry, height - 0.8)
            time.sleep(1)
            height = min(height + 0.5, 12)

    def _flood(self, entry: Decimal) -> None:
        """Hold the database while more trades come than may wait, all of them wanted."""
        high, low = (str(self._on_tick(entry * D(f))) for f in ("1.012", "1.0119"))
        with self.world.database_held():
            until = time.monotonic() + HELD_S
            for _ in range(3):
                self.trade(*(high, low) * (FLOOD // 2))
            time.sleep(max(0.0, until - time.monotonic()))
        self._price = D(low)

    def _interfere(self, path: str) -> None:
        """Let a person, or the strategy's own exit, end it."""
        if self._has_ended():
            return
        match path:
            case "hand":
                held = self.legs().get("LONG")
                if held is not None:
                    # refused while the take-profit reserves it; then it is as if nobody had come
                    self.world.http.post(
                        f"{self.world.paper_url}/paper/outside",
                        json={"action": "order", "symbol": self.symbol, "side": "SELL"}
                        | {"position_side": "LONG", "quantity": str(held[0])},
                    )
            case "signal":
                self.world.send_alert({"symbol": self.symbol, "positionSide": "flat"})
            case "operator":
                self.world.send_alert({"symbol": self.symbol, "action": "close"})

    def _has_ended(self) -> bool:
        wanted = select(Cycle.ended_at).where(col(Cycle.id) == self._row)
        with Session(self.world.engine) as session:
            return session.exec(wanted).one() is not None

    # --- The proof ---

    def _prove(self, path: str, answers: tuple[int, ...]) -> Told:
        cycle = self.cycle
        if cycle.id != self._row:
            raise Violation("doubled", f"{self.symbol}: no alert of ours opened {cycle.key}")
        ledger = self.world.control("ledger")
        theirs = [
            f
            for f in ledger["fills"]
            if f["symbol"] == self.symbol and f["trade_id"] > self._seen_trade
        ]
        self._hold(lambda: self._compare(theirs, ledger["orders"]), kind="lost", path=path)
        self._hold(self._prove_single, kind="doubled", path=path)
        self._seen_trade = max((f["trade_id"] for f in theirs), default=self._seen_trade)
        slowest_ms, slowest_at_ms = self._slowest({f["trade_id"]: f["time_ms"] for f in theirs})
        assert cycle.close_reason is not None
        return Told(
            symbol=self.symbol,
            path=path,
            reason=cycle.close_reason.value,
            fills=len(theirs),
            orders=len(self.orders()),
            alarms=len(self.world.rows(Alarm, cycle_id=cycle.id)),
            slowest_ms=slowest_ms,
            slowest_at_ms=slowest_at_ms,
            answers=answers,
        )

    def _hold(self, prove: Callable[[], None], *, kind: str, path: str) -> None:
        """Return once the proof holds: totals may end a cycle whose fills are still being read."""
        give_up = time.monotonic() + FILLS_WITHIN_S
        while True:
            try:
                return prove()
            except AssertionError as error:
                if time.monotonic() > give_up:
                    line = traceback.extract_tb(error.__traceback__)[-1].line
                    text = f"{self.symbol} {self.cycle.key} ({path}): {line} {error}"
                    raise Violation("doubled" if "doubled" in text else kind, text) from error
            time.sleep(1)

    def _prove_single(self) -> None:
        """Check that nothing was opened twice, and that LONG stayed within its deposit."""
        orders: list[Order] = self.orders()
        for role, number in {(o.role, o.order_number) for o in orders if o.role in OPENING}:
            same = [o for o in orders if (o.role, o.order_number) == (role, number)]
            executed = sum(o.executed for o in same)
            planned = max(o.quantity or D(0) for o in same)
            assert executed <= planned, f"{role} {number} executed {executed} of {planned}"
        bought = sum(
            o.executed * (o.average_price or D(0))
            for o in orders
            if o.role in (Role.ENTRY, Role.LEVEL)
        )
        cycle = self.cycle
        assert bought <= cycle.deposit * cycle.leverage * MOST_SLIPPAGE, f"bought for {bought}"

    def _journal(self) -> Iterator[FactLearnt]:
        wanted = select(Fact.kind, Fact.payload).where(
            col(Fact.cycle_id) == self._row, col(Fact.number) > 0
        )
        with self.world.engine.connect() as connection:
            for row in connection.execute(wanted).mappings():
                yield rows.to_fact(row)

    def _slowest(self, executed_at: dict[int, int]) -> tuple[int, int]:
        """Return how long we did not know of an execution, at most, and when that began."""
        known_at: dict[int, int] = {}
        for fact in self._journal():
            found = fact.fills if isinstance(fact, FillsRead) else ()
            if isinstance(fact, OrderReported) and fact.fill is not None:
                found = (fact.fill,)
            for fill in found:
                known_at.setdefault(fill.trade_id, fact.at_ms)
        waits = [(known_at.get(t, at) - at, at) for t, at in executed_at.items()]
        return max(waits, default=(0, 0))
