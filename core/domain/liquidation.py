"""The distance to liquidation while a cycle is open: watched, told, and no more averaging below it.

The exchange's own liquidation price is taken, which knows everything else in the account. It stands
for what was held when it was read: after every fill it is read again.
"""

from dataclasses import replace
from decimal import Decimal

from core.domain.alarms import AlarmKind
from core.domain.cycle import Cycle, LiquidationRead, PositionChecked
from core.domain.levels import levels_left
from core.domain.turns import withdraw_levels
from core.money import HUNDRED, ONE, shown


def is_liquidation_asked(cycle: Cycle) -> bool:
    """Return whether the exchange has to be asked for the liquidation price of what is held."""
    is_held = bool(cycle.long.quantity or cycle.short.quantity)
    is_due = is_held and cycle.last_price is not None and current(cycle) is None
    return is_due and _is_watched(cycle)


def current(cycle: Cycle) -> LiquidationRead | None:
    """Return the liquidation prices of what is held now; None: what was read is of another."""
    read = cycle.liquidation
    if read is None or (read.long, read.short) != (cycle.long.quantity, cycle.short.quantity):
        return None
    return read


def liquidation_read(cycle: Cycle, fact: PositionChecked) -> Cycle:
    """Return the cycle after a position that agrees with the fills told its liquidation prices."""
    last = cycle.last_price
    if not _is_watched(cycle) or last is None:
        return cycle
    # With cross margin both sides may tell one price for both, so the market says where it lies.
    prices = [p for p in (fact.long.liquidation_price, fact.short.liquidation_price) if p]
    read = LiquidationRead(
        long=fact.long.quantity,
        short=fact.short.quantity,
        below=max((price for price in prices if price <= last), default=None),
        above=min((price for price in prices if price > last), default=None),
    )
    return _judged(replace(cycle, liquidation=read, is_near_liquidation=False), last)


def liquidation_neared(cycle: Cycle, price: Decimal) -> Cycle:
    """Return the cycle after a trade at `price`."""
    return cycle if cycle.is_near_liquidation else _judged(cycle, price)


def averaging_stopped(before: Cycle, cycle: Cycle, at_ms: int) -> Cycle:
    """Return the cycle without levels to fill, and an alarm, where liquidation has come near."""
    if not cycle.is_near_liquidation:
        return cycle
    left = levels_left(cycle)
    if not before.is_near_liquidation:
        cycle = cycle.with_another_alarm(AlarmKind.NEAR_LIQUIDATION, _text(cycle, left), at_ms)
    return withdraw_levels(cycle, left)


def liquidation_bounds(cycle: Cycle) -> tuple[Decimal | None, Decimal | None]:
    """Return the prices, below and above the market, at which liquidation counts as near."""
    read, distance = current(cycle), cycle.policy.min_liquidation_distance
    if read is None or distance is None or cycle.is_near_liquidation:
        return None, None
    share = distance / HUNDRED
    return (
        None if read.below is None else read.below / (ONE - share),
        None if read.above is None else read.above / (ONE + share),
    )


def _is_watched(cycle: Cycle) -> bool:
    return cycle.policy.min_liquidation_distance is not None and not cycle.is_hands_off


def _judged(cycle: Cycle, price: Decimal) -> Cycle:
    low, high = liquidation_bounds(cycle)
    is_near = (low is not None and price <= low) or (high is not None and price >= high)
    return replace(cycle, is_near_liquidation=True) if is_near else cycle


def _text(cycle: Cycle, left: tuple[int, ...]) -> str:
    read, price = cycle.liquidation, cycle.last_price
    assert read is not None
    assert price is not None
    ends = [shown(end) for end in (read.below, read.above) if end is not None]
    stopped = f"; levels {', '.join(map(str, left))} are withdrawn" if left else ""
    return (
        f"the price {shown(price)} is within {shown(cycle.policy.min_liquidation_distance or ONE)} "
        f"% of the liquidation price {' or '.join(ends)}{stopped}"
    )
