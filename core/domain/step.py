"""One turn of the loop, pure: what was known, what was learnt, what is known now, what to send."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.domain.cycle import Cycle, Fact, OrderState, PriceSeen, RequestsDecided, TradePrice
from core.domain.diff import Decision, decide
from core.domain.strategy import apply, band


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The result of applying facts to a cycle; the store saves it, the engine sends requests."""

    before: Cycle
    cycle: Cycle
    facts: tuple[Fact, ...]  # the journal's: applied to `before` one by one they make `cycle`
    requests: tuple[OrderState, ...] = ()  # each with `request`, targets and timestamp set
    wake_at_ms: int | None = None  # when a command that had to wait is due

    @property
    def changes_nothing(self) -> bool:
        """Return whether there is nothing worth a transaction; a new last price alone is not."""
        before, after = self.before, self.cycle
        if before.last_price != after.last_price:
            after = replace(after, last_price=before.last_price)
        return before == after


def take_step(
    cycle: Cycle, facts: Sequence[Fact], *, now_ms: int, may_request: bool = True
) -> Step:
    """Return the step that these facts make: applied in order, then compared with what is wanted.

    A trade strictly inside the band, as it stands when its turn comes, only sets the last price.
    `may_request` is False where only facts may be recorded.
    """
    before = cycle
    counted: list[Fact] = []
    for fact in facts:
        if isinstance(fact, TradePrice) and is_inside_band(cycle, fact):
            fact = PriceSeen(at_ms=fact.at_ms, price=fact.price)
            if counted and isinstance(counted[-1], PriceSeen):
                counted.pop()  # of prices that change nothing, the last one counts
        cycle = apply(cycle, fact)
        counted.append(fact)
    decision = decide(cycle, now_ms) if may_request else Decision(cycle=cycle)
    if decision.cycle is not cycle:
        counted.append(RequestsDecided(at_ms=now_ms))
    return Step(
        before=before,
        cycle=decision.cycle,
        facts=tuple(counted),
        requests=decision.requests,
        wake_at_ms=decision.wake_at_ms,
    )


def is_inside_band(cycle: Cycle, trade: TradePrice) -> bool:
    """Return whether the trade can change nothing."""
    limits = band(cycle)
    is_above = limits.low is None or trade.price > limits.low
    return is_above and (limits.high is None or trade.price < limits.high)
