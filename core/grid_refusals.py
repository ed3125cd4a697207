"""What a grid breaks, as its sender reads it: the alert's field, its value, and what would do."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Final

from core.domain.settings import AmountType, CycleSettings, SymbolRules
from core.errors import FieldError
from core.grid import MIN_HEDGE_NOTIONAL, Grid, Violation, ViolationCode, entry_quantity_for
from core.money import ceil_tick, shown

# Quote amounts are named to the cent, upwards, so that what is named does fit.
_CENT: Final = Decimal("0.01")


def grid_errors(
    settings: CycleSettings, rules: SymbolRules, *, planned: Grid, costly: Grid, cheap: Grid
) -> Iterator[FieldError]:
    """Yield what stands against the grid, each thing once.

    Args:
        settings: the alert's.
        rules: the symbol's.
        planned: the grid at the pre-check price, whose own violations count.
        costly: with the entry at the highest price that it may cost; its funds count.
        cheap: with the entry at the best ask; its entry's notional counts.
    """
    broken: dict[Violation, None] = dict.fromkeys(
        v for v in planned.violations if v.code is not ViolationCode.FUNDS
    )
    broken |= dict.fromkeys(v for v in costly.violations if v.code is ViolationCode.FUNDS)
    if not any(v.code is ViolationCode.NOTIONAL and v.level == 0 for v in broken):
        is_small = (v for v in cheap.violations if v.code is ViolationCode.NOTIONAL)
        broken |= dict.fromkeys(v for v in is_small if v.level == 0)
    for violation in broken:
        field = _field_of(violation)
        step = _next_step(field, violation, settings, rules, planned, costly, cheap)
        yield FieldError(
            field=field, value=_value_of(field, settings), reason=f"{violation.text}{step}"
        )


def _field_of(violation: Violation) -> str:
    match violation.code:
        case ViolationCode.FUNDS:
            return "settings.deposit"
        case ViolationCode.HEDGE:
            return "settings.extramarg"
        case ViolationCode.LOT | ViolationCode.NOTIONAL if violation.level:
            return "settings.mg_long"
        case _ if violation.level:
            return "settings.grid_long"
        case ViolationCode.PRICE:
            return "settings.tp"
        case ViolationCode.TOO_LARGE:
            return "settings"
    return "open.amount"


def _value_of(field: str, settings: CycleSettings) -> str:
    match field:
        case "settings.deposit":
            return shown(settings.deposit)
        case "settings.extramarg":
            return shown(settings.extramarg)
        case "settings.mg_long":
            return _listed(settings.mg_long)
        case "settings.grid_long":
            return _listed(settings.grid_long)
        case "settings.tp":
            return shown(settings.tp)
        case "open.amount":
            return shown(settings.amount)
    return f"amount {shown(settings.amount)}, mg_long {_listed(settings.mg_long)}"


def _listed(values: tuple[Decimal, ...]) -> str:
    text = "|".join(shown(value) for value in values)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _next_step(
    field: str,
    violation: Violation,
    settings: CycleSettings,
    rules: SymbolRules,
    planned: Grid,
    costly: Grid,
    cheap: Grid,
) -> str:
    """Return what to change, with the number where one can be named; empty: the text says it."""
    if field == "settings.deposit":
        least = ceil_tick(costly.total_notional / settings.leverage, _CENT)
        return f"; a deposit of {shown(least)} or more carries it"
    if field == "settings.mg_long":
        is_small = planned.level(violation.level or 0).quantity <= rules.max_quantity
        return f"; {'raise' if is_small else 'lower'} open.amount or mg_long"
    try:
        if field == "open.amount":
            price = min(planned.entry_fill_price, cheap.entry_fill_price)
            return _amount_that_fits(settings, rules, price, costly.entry_fill_price)
        if field == "settings.extramarg":
            return _extramarg_that_fits(settings, rules, planned)
    except InvalidOperation:  # numbers so far apart have no number between them to name
        pass
    return ""


def _amount_that_fits(
    settings: CycleSettings, rules: SymbolRules, lowest: Decimal, highest: Decimal
) -> str:
    """Name the least amount of the entry, if that is what is wrong with it."""
    quantity = _least_quantity(rules, lowest)
    most = min(rules.max_quantity, rules.market_max_quantity)
    if entry_quantity_for(settings, highest, rules) >= quantity or quantity > most:
        return ""
    if settings.amount_type is AmountType.BASE:
        return f"; an amount of {shown(quantity)} or more does"
    return f"; an amount of {shown(ceil_tick(quantity * highest, _CENT))} or more does"


def _extramarg_that_fits(settings: CycleSettings, rules: SymbolRules, grid: Grid) -> str:
    if grid.hedge_trigger is None or grid.hedge_trigger < max(rules.min_price, rules.tick_size):
        return ""
    notional = _least_quantity(rules, grid.hedge_trigger) * grid.hedge_trigger
    least = ceil_tick(max(notional, MIN_HEDGE_NOTIONAL) / settings.leverage, _CENT)
    return f"; {shown(least)} or more does" if least > settings.extramarg else ""


def _least_quantity(rules: SymbolRules, price: Decimal) -> Decimal:
    """Return the smallest quantity that a MARKET order at `price` may have."""
    least = max(rules.min_quantity, rules.market_min_quantity, rules.min_notional / price)
    return ceil_tick(least, max(rules.step_size, rules.market_step_size))
