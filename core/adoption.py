"""Taking on a LONG that this database did not open: a person's, or one of a cycle that was lost.

Only on the operator's word, and with settings that he gives. What comes of it is an ordinary cycle
whose entry is the position as the exchange tells it: nothing is bought for it, and from then on
every rule holds. So nothing may follow from it at once: no level that lies above the market, no
reason to close. Pure; the shell reads an `AdoptionPicture` and hands it in.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from core.domain.cycle import (
    Cycle,
    EndedBy,
    Fill,
    OrderReported,
    OrderStatus,
    Phase,
    PositionChecked,
    PositionSide,
    Request,
    Side,
    TimePassed,
    TradePrice,
    parse_client_order_id,
)
from core.domain.order_news import with_fills
from core.domain.settings import CycleSettings, Policy, SymbolRules
from core.domain.step import take_step
from core.entry_checks import begun_cycle, cap_errors
from core.errors import AlertInvalid, FieldError
from core.grid import Grid, calculate_grid_orders
from core.money import ZERO, shown
from core.ports import BestPrices, SymbolConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionPicture:
    """What the exchange says of the symbol at one moment."""

    prices: BestPrices
    config: SymbolConfig
    position: PositionChecked
    open_orders: tuple[OrderReported, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """A cycle that may begin, and how it will look."""

    cycle: Cycle
    grid: Grid
    warnings: tuple[str, ...]


def plan_adoption(
    settings: CycleSettings,
    rules: SymbolRules,
    picture: AdoptionPicture,
    *,
    policy: Policy,
    key: str,
    now_ms: int,
) -> Adoption:
    """Return the cycle that takes the position on.

    Args:
        settings: as of an alert; its amount is not looked at.
        rules: the symbol's, brackets included.
        picture: what was read.
        policy: the installation's choices.
        key: of the cycle; unique for ever.
        now_ms: the exchange's clock.

    Raises:
        AlertInvalid: with everything that stands against it, all at once.
    """
    long, short = picture.position.long, picture.position.short
    errors = [*_position_errors(rules, long.quantity, short.quantity)]
    if errors:
        raise AlertInvalid(errors)
    initial = long.entry if settings.entry_price is None else settings.entry_price
    grid = calculate_grid_orders(
        settings, initial, rules, long.quantity, entry_fill_price=long.entry
    )
    cycle = _adopted(
        settings,
        rules,
        long.quantity,
        long.entry,
        policy=policy,
        key=key,
        now_ms=now_ms,
    )
    errors += [
        FieldError(field="settings", value=rules.symbol, reason=violation.text)
        for violation in grid.violations
    ]
    errors += [
        *_leverage_errors(settings, picture.config),
        *cap_errors(settings, rules, grid),
        *_price_errors(grid, picture.prices.bid),
        *_closing_errors(cycle, picture.prices.bid, now_ms),
    ]
    if errors:
        raise AlertInvalid(errors)
    return Adoption(cycle=cycle, grid=grid, warnings=tuple(_warnings(picture.open_orders)))


def _position_errors(rules: SymbolRules, long: Decimal, short: Decimal) -> Iterator[FieldError]:
    value = f"LONG {shown(long)}, SHORT {shown(short)}"
    if not long:
        reason = "there is no LONG to take on"
        yield FieldError(field="position", value=value, reason=reason)
    elif long % rules.step_size:
        reason = f"LONG is no multiple of the step {shown(rules.step_size)}: close it by hand"
        yield FieldError(field="position", value=value, reason=reason)
    if short:
        reason = "a SHORT cannot be taken on; close it by hand first"
        yield FieldError(field="position", value=value, reason=reason)


def _leverage_errors(settings: CycleSettings, config: SymbolConfig) -> Iterator[FieldError]:
    if config.leverage != settings.leverage:
        reason = f"the symbol is set to {config.leverage}: give that, or change it there"
        yield FieldError(field="open.leverage", value=str(settings.leverage), reason=reason)


def _price_errors(grid: Grid, bid: Decimal) -> Iterator[FieldError]:
    """Yield what would be bought or sold as soon as the ladder is laid."""
    what, first = grid.next_below
    if first is not None and first >= bid:
        reason = (
            f"{what} would lie at {shown(first)}, not below the best bid {shown(bid)}: it would "
            "follow at once; give open.entry_price, from which the ladder is laid"
        )
        yield FieldError(field="open.entry_price", value=shown(grid.entry_price), reason=reason)


def _closing_errors(cycle: Cycle, bid: Decimal, now_ms: int) -> Iterator[FieldError]:
    facts = (TimePassed(at_ms=now_ms), TradePrice(at_ms=now_ms, price=bid))
    then = take_step(cycle, facts, now_ms=now_ms, may_request=False).cycle
    if then.phase is not Phase.TRADING:
        reason = f"at the best bid {shown(bid)} it would be closed at once ({then.close_reason})"
        yield FieldError(field="settings", value=cycle.symbol, reason=reason)


def _adopted(
    settings: CycleSettings,
    rules: SymbolRules,
    quantity: Decimal,
    price: Decimal,
    *,
    policy: Policy,
    key: str,
    now_ms: int,
) -> Cycle:
    cycle = begun_cycle(settings, rules, quantity=quantity, policy=policy, key=key, now_ms=now_ms)
    (entry,) = cycle.orders
    entry = replace(
        entry,
        status=OrderStatus.OVER,
        ended_by=EndedBy.FILLED,
        request=Request.NONE,
        target_quantity=None,
        executed=quantity,
        average_price=price,
        over_at_ms=now_ms,
        reason=f"adopted: LONG {shown(quantity)} at {shown(price)} was there before the cycle",
    )
    fill = Fill(
        trade_id=0,
        client_order_id=entry.client_order_id,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        price=price,
        quantity=quantity,
        commission=ZERO,
        commission_asset=rules.quote_asset,
        is_maker=False,
        time_ms=now_ms - 1,  # no execution read for the cycle is as old, so that none replaces it
        is_adjustment=True,
    )
    return with_fills(replace(cycle, orders=(entry,), fills=(fill,)), ())


def _warnings(orders: tuple[OrderReported, ...]) -> Iterator[str]:
    for order in orders:
        name = order.client_order_id
        if parse_client_order_id(name) is not None:
            yield f"order {name} of a cycle that is not known here will be cancelled"
        else:
            yield f"order {name} is not ours: it stays, and is counted"
