"""Rule 3: the averaging levels below the entry, the first few of which rest on the book."""

from decimal import Decimal

from core.domain.cycle import Cycle, EndedBy, Kind, PositionSide, Role, Side, WantedOrder
from core.money import ZERO, floor_step, floor_tick, shown


def rule_3_averaging(cycle: Cycle) -> tuple[WantedOrder, ...]:
    """Return the first `grid_ahead` levels that are neither filled nor withdrawn."""
    if not cycle.long.quantity or cycle.close_long_asked:
        return ()
    return tuple(
        _level(cycle, number)
        for number in levels_ahead(cycle)
        if not cycle.is_paused or _is_out(cycle, number)
    )


def levels_ahead(cycle: Cycle) -> tuple[int, ...]:
    """Return the numbers of the levels that should rest on the book now."""
    return levels_left(cycle)[: cycle.settings.grid_ahead]


def levels_left(cycle: Cycle) -> tuple[int, ...]:
    """Return the levels that are neither filled nor withdrawn, from the top down."""
    levels = () if cycle.grid is None else cycle.grid.levels
    return tuple(
        level.number
        for level in levels
        if level.number not in cycle.withdrawn and not _is_filled(cycle, level.number)
    )


def waiting_levels(cycle: Cycle) -> tuple[int, ...]:
    """Return the levels left that the exchange does not hold and nobody is asking it to."""
    return tuple(number for number in levels_left(cycle) if not _is_out(cycle, number))


def _is_filled(cycle: Cycle, number: int) -> bool:
    return any(o.ended_by is EndedBy.FILLED for o in cycle.of(Role.LEVEL, number))


def _is_out(cycle: Cycle, number: int) -> bool:
    live = cycle.live(Role.LEVEL, number)
    return live is not None and live.is_out


def _level(cycle: Cycle, number: int) -> WantedOrder:
    assert cycle.grid is not None
    level, rules = cycle.grid.level(number), cycle.rules
    price: Decimal = level.price
    if cycle.mark_price is not None:
        # Above the market by more than the exchange allows: at its bound, which fills at once.
        price = min(price, cycle.mark_price * rules.multiplier_up)
    # What an attempt that ended early had bought already is not bought again.
    bought = sum((o.executed for o in cycle.of(Role.LEVEL, number) if o.is_over), ZERO)
    return WantedOrder(
        role=Role.LEVEL,
        number=number,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        kind=Kind.LIMIT,
        price=floor_tick(price, rules.tick_size),  # the rules may be newer than the grid
        quantity=floor_step(level.quantity - bought, rules.step_size),
        reason=f"rule 3: level {number} of {len(cycle.grid.levels)}, {shown(level.price)}",
    )
