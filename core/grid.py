"""The martingale grid: prices, quantities, averages and what they violate. Pure arithmetic.

Worked example (BTCUSDT, tick 0.1, step 0.001, taker 0.0005, maker 0.0002): 0.004 bought at 60000,
levels 0.5 | 1 | 2 % below each other, quantities × 1.5 | 2 | 2, take-profit 0.5 %:

    level  exact price  price     quantity  average entry after it
    0      60000        60000.0   0.004     60000
    1      59700        59700.0   0.006     59820
    2      59103        59103.0   0.012     59428.909…
    3      57920.94     57920.9   0.024     58642.121…

Total notional 2697.5376; take-profit of the bare entry 60300.0; with offset_short 0.2 the first
hedge trigger is floor_tick(57920.94 × 0.998) = 57805.0 and, with extramarg 600 at leverage 10, its
quantity floor_step(6000 / 57805.0) = 0.103.
"""

from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from core.domain.settings import (
    AmountType,
    CycleSettings,
    GridMode,
    MultiplierMode,
    SymbolRules,
)
from core.money import (
    HUNDRED,
    ONE,
    ZERO,
    Price,
    Quantity,
    ceil_tick,
    floor_step,
    floor_tick,
    percent_above,
    percent_below,
    to_wire,
)

# Below this a hedge is not worth its fees, and the exchange's minimum notional is near.
MIN_HEDGE_NOTIONAL = Decimal(11)


class ViolationCode(StrEnum):
    """Which rule a grid breaks."""

    PRICE = "PRICE_FILTER"
    LOT = "LOT_SIZE"
    MARKET_LOT = "MARKET_LOT_SIZE"
    NOTIONAL = "MIN_NOTIONAL"
    SAME_PRICE = "SAME_PRICE"
    FUNDS = "FUNDS"
    HEDGE = "HEDGE"
    TOO_LARGE = "TOO_LARGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken rule; `level` is the grid level, 0 the entry, None the grid as a whole."""

    code: ViolationCode
    level: int | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GridLevel:
    """One rung; the exact values carry full precision, the others are rounded once."""

    number: int
    exact_price: Decimal
    price: Price
    exact_quantity: Decimal
    quantity: Quantity
    average_price: Decimal  # LONG entry once this level and all above it are filled
    break_even: Decimal  # price at which a MARKET close then covers all commissions


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A whole ladder as it would be laid, good enough to print as a preview."""

    entry_price: Decimal  # p₀: where the ladder hangs
    entry_fill_price: Decimal  # what the entry costs: the same, unless `open.entry_price` is given
    entry_quantity: Quantity
    entry_break_even: Decimal
    levels: tuple[GridLevel, ...]
    take_profit: Price
    hedge_trigger: Price | None  # h₁; None: no hedge asked for
    hedge_quantity: Quantity | None
    total_notional: Decimal
    notional_left: Decimal  # deposit × leverage − total; negative is a violation
    violations: tuple[Violation, ...]

    def level(self, number: int) -> GridLevel:
        """Return level `number`, counted from 1."""
        return self.levels[number - 1]

    @property
    def next_below(self) -> tuple[str, Price | None]:
        """Return what lies next below the entry, by name and price; None: nothing does."""
        if self.levels:
            return "level 1", self.levels[0].price
        return "the hedge's trigger", self.hedge_trigger


def calculate_grid_orders(
    payload: CycleSettings,
    initial_price: Decimal,
    symbol: SymbolRules,
    entry_quantity: Decimal | None = None,
    *,
    entry_fill_price: Decimal | None = None,
) -> Grid:
    """Lay the grid from `initial_price` and return it with everything that it violates.

    Args:
        payload: the alert's settings.
        initial_price: p₀, quote per base.
        symbol: the symbol's rules; prices go down to its tick, quantities down to its step.
        entry_quantity: executed q₀; None: what `open.amount` buys at `initial_price`.
        entry_fill_price: what the entry cost, where the ladder hangs from another price.
    """
    fill_price = initial_price if entry_fill_price is None else entry_fill_price
    try:
        return _lay(payload, initial_price, symbol, entry_quantity, fill_price)
    except InvalidOperation:
        # More digits than the arithmetic carries: nothing of it can be laid.
        text = (
            "the numbers are too large to calculate with; make amount, mg_long, order_quan, "
            "extramarg or tp smaller"
        )
        violation = Violation(code=ViolationCode.TOO_LARGE, level=None, text=text)
        return Grid(
            entry_price=initial_price,
            entry_fill_price=fill_price,
            entry_quantity=Quantity(ZERO),
            entry_break_even=fill_price,
            levels=(),
            take_profit=Price(ZERO),
            hedge_trigger=None,
            hedge_quantity=None,
            total_notional=ZERO,
            notional_left=ZERO,
            violations=(violation,),
        )


def entry_quantity_for(payload: CycleSettings, price: Decimal, symbol: SymbolRules) -> Quantity:
    """Return the base quantity that `open.amount` asks for, rounded down to the step."""
    if payload.amount_type is AmountType.QUOTE:
        return floor_step(payload.amount / price, symbol.step_size)
    return floor_step(payload.amount, symbol.step_size)


def hedge_quantity(
    *, margin: Decimal, leverage: int, trigger: Decimal, symbol: SymbolRules
) -> Quantity:
    """Return floor_step(margin × leverage / trigger), cut to what one MARKET order may carry."""
    wanted = floor_step(margin * leverage / trigger, symbol.step_size)
    return Quantity(min(wanted, symbol.market_max_quantity))


def hedge_fits(quantity: Decimal, price: Decimal, symbol: SymbolRules) -> bool:
    """Return whether a hedge of `quantity` satisfies minQty and MIN_NOTIONAL at `price`."""
    enough = quantity >= max(symbol.min_quantity, symbol.market_min_quantity)
    return enough and quantity * price >= symbol.min_notional


def _lay(
    payload: CycleSettings,
    initial_price: Decimal,
    symbol: SymbolRules,
    entry_quantity: Decimal | None,
    fill_price: Decimal,
) -> Grid:
    quantity = (
        entry_quantity_for(payload, initial_price, symbol)
        if entry_quantity is None
        else Quantity(entry_quantity)
    )
    entry_cost = fill_price * quantity
    entry_fee = entry_cost * symbol.taker_rate
    levels = _levels(payload, initial_price, quantity, symbol, entry_cost, entry_fee)
    last_exact = levels[-1].exact_price if levels else initial_price
    trigger, hedge = _hedge(payload, last_exact, symbol)
    total = entry_cost + sum((level.price * level.quantity for level in levels), ZERO)
    grid = Grid(
        entry_price=initial_price,
        entry_fill_price=fill_price,
        entry_quantity=quantity,
        entry_break_even=_break_even(quantity, entry_cost, entry_fee, symbol) or fill_price,
        levels=levels,
        take_profit=ceil_tick(percent_above(fill_price, payload.tp), symbol.tick_size),
        hedge_trigger=trigger,
        hedge_quantity=hedge,
        total_notional=total,
        notional_left=payload.deposit * payload.leverage - total,
        violations=(),
    )
    return replace(grid, violations=tuple(_violations(payload, grid, symbol)))


def _levels(
    payload: CycleSettings,
    initial_price: Decimal,
    entry_quantity: Decimal,
    symbol: SymbolRules,
    entry_cost: Decimal,
    entry_fee: Decimal,
) -> tuple[GridLevel, ...]:
    levels: list[GridLevel] = []
    exact_price, exact_quantity = initial_price, entry_quantity
    held, cost, fees = entry_quantity, entry_cost, entry_fee
    for number, (offset, growth) in enumerate(
        zip(payload.grid_long, payload.mg_long, strict=True), start=1
    ):
        base = exact_price if payload.grid_mode is GridMode.STEP else initial_price
        exact_price = percent_below(base, offset)
        factor = growth if payload.mg_mode is MultiplierMode.MULTIPLIER else ONE + growth / HUNDRED
        exact_quantity = exact_quantity * factor
        price = floor_tick(exact_price, symbol.tick_size)
        quantity = floor_step(exact_quantity, symbol.step_size)
        held, cost = held + quantity, cost + price * quantity
        fees += price * quantity * symbol.maker_rate
        levels.append(
            GridLevel(
                number=number,
                exact_price=exact_price,
                price=price,
                exact_quantity=exact_quantity,
                quantity=quantity,
                average_price=cost / held if held else exact_price,
                break_even=_break_even(held, cost, fees, symbol) or exact_price,
            )
        )
    return tuple(levels)


def _break_even(held: Decimal, cost: Decimal, fees: Decimal, symbol: SymbolRules) -> Decimal | None:
    return (cost + fees) / (held * (ONE - symbol.taker_rate)) if held else None


def _hedge(
    payload: CycleSettings, last_exact: Decimal, symbol: SymbolRules
) -> tuple[Price | None, Quantity | None]:
    if not payload.extramarg or payload.offset_short is None:
        return None, None
    trigger = floor_tick(percent_below(last_exact, payload.offset_short), symbol.tick_size)
    if trigger <= 0:
        return trigger, Quantity(ZERO)
    quantity = hedge_quantity(
        margin=payload.extramarg, leverage=payload.leverage, trigger=trigger, symbol=symbol
    )
    return trigger, quantity


def _violations(payload: CycleSettings, grid: Grid, symbol: SymbolRules) -> list[Violation]:
    found = _entry_violations(grid, symbol)
    previous: Price | None = None
    for level in grid.levels:
        found += _level_violations(level, previous, symbol)
        previous = level.price
    found += _take_profit_violations(grid, symbol)
    found += _hedge_violations(payload, grid, symbol)
    if grid.notional_left < 0:
        limit = payload.deposit * payload.leverage
        text = (
            f"the ladder needs {to_wire(grid.total_notional)} {symbol.quote_asset}, more than "
            f"deposit {to_wire(payload.deposit)} × leverage {payload.leverage} = {to_wire(limit)}"
        )
        found.append(Violation(code=ViolationCode.FUNDS, level=None, text=text))
    return found


def _entry_violations(grid: Grid, symbol: SymbolRules) -> list[Violation]:
    quantity, found = grid.entry_quantity, _lot_violations(grid.entry_quantity, 0, symbol)
    low, high = symbol.market_min_quantity, symbol.market_max_quantity
    if not low <= quantity <= high or floor_step(quantity, symbol.market_step_size) != quantity:
        text = (
            f"entry: quantity {to_wire(quantity)} is outside {to_wire(low)} … {to_wire(high)} "
            f"in steps of {to_wire(symbol.market_step_size)} for MARKET orders"
        )
        found.append(Violation(code=ViolationCode.MARKET_LOT, level=0, text=text))
    return found + _notional_violations(grid.entry_fill_price, quantity, 0, symbol)


def _level_violations(
    level: GridLevel, previous: Price | None, symbol: SymbolRules
) -> list[Violation]:
    found = _price_violations(level.price, level.number, symbol)
    if previous is not None and level.price == previous:
        text = (
            f"level {level.number}: rounds to {to_wire(level.price)}, the price of the level above"
        )
        found.append(Violation(code=ViolationCode.SAME_PRICE, level=level.number, text=text))
    found += _lot_violations(level.quantity, level.number, symbol)
    return found + _notional_violations(level.price, level.quantity, level.number, symbol)


def _price_violations(price: Decimal, level: int | None, symbol: SymbolRules) -> list[Violation]:
    # A limit of 0 means that the exchange does not check that bound.
    too_low = price <= 0 or price < symbol.min_price
    too_high = symbol.max_price > 0 and price > symbol.max_price
    if not too_low and not too_high:
        return []
    text = (
        f"{_place(level)}: price {to_wire(price)} is outside "
        f"{to_wire(symbol.min_price)} … {to_wire(symbol.max_price)}"
    )
    return [Violation(code=ViolationCode.PRICE, level=level, text=text)]


def _lot_violations(quantity: Decimal, level: int | None, symbol: SymbolRules) -> list[Violation]:
    low, high = symbol.min_quantity, symbol.max_quantity
    if low <= quantity <= high and quantity > 0:
        return []
    text = (
        f"{_place(level)}: quantity {to_wire(quantity)} is outside {to_wire(low)} … {to_wire(high)}"
    )
    return [Violation(code=ViolationCode.LOT, level=level, text=text)]


def _notional_violations(
    price: Decimal, quantity: Decimal, level: int | None, symbol: SymbolRules
) -> list[Violation]:
    if price * quantity >= symbol.min_notional:
        return []
    text = (
        f"{_place(level)}: {to_wire(quantity)} at {to_wire(price)} is {to_wire(price * quantity)} "
        f"{symbol.quote_asset}, less than the minimum notional {to_wire(symbol.min_notional)}"
    )
    return [Violation(code=ViolationCode.NOTIONAL, level=level, text=text)]


def _take_profit_violations(grid: Grid, symbol: SymbolRules) -> list[Violation]:
    found = _price_violations(grid.take_profit, None, symbol)
    total = sum((level.quantity for level in grid.levels), grid.entry_quantity)
    if total > symbol.max_quantity:
        text = (
            f"take-profit: all levels together are {to_wire(total)}, more than one order may "
            f"carry ({to_wire(symbol.max_quantity)})"
        )
        found.append(Violation(code=ViolationCode.LOT, level=None, text=text))
    return found


def _hedge_violations(payload: CycleSettings, grid: Grid, symbol: SymbolRules) -> list[Violation]:
    if grid.hedge_trigger is None or grid.hedge_quantity is None:
        return []
    notional = payload.extramarg * payload.leverage
    if grid.hedge_trigger <= 0:
        text = "hedge: its trigger rounds to 0; make grid_long or offset_short smaller"
    elif grid.hedge_trigger < symbol.min_price:
        text = (
            f"hedge: its trigger {to_wire(grid.hedge_trigger)} is below the lowest price "
            f"{to_wire(symbol.min_price)}; make grid_long or offset_short smaller"
        )
    elif notional < MIN_HEDGE_NOTIONAL:
        text = (
            f"hedge: extramarg × leverage is {to_wire(notional)} {symbol.quote_asset}, at least "
            f"{MIN_HEDGE_NOTIONAL} is needed; set extramarg to 0 for no hedge"
        )
    elif not hedge_fits(grid.hedge_quantity, grid.hedge_trigger, symbol):
        text = (
            f"hedge: {to_wire(grid.hedge_quantity)} at {to_wire(grid.hedge_trigger)} is below the "
            f"minimum quantity {to_wire(symbol.min_quantity)} or notional "
            f"{to_wire(symbol.min_notional)}; raise extramarg or set it to 0 for no hedge"
        )
    else:
        return []
    return [Violation(code=ViolationCode.HEDGE, level=None, text=text)]


def _place(level: int | None) -> str:
    if level is None:
        return "take-profit"
    return f"level {level}" if level else "entry"
