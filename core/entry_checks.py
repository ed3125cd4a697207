"""What must hold before an entry (strategy, section 3), judged from what was read. Pure.

The shell reads an `EntryPicture` and hands it to `plan_entry`, which gives the entry as it may be
sent, or raises with every number that stands against it. `begun_cycle` makes the cycle of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from core.domain.cycle import (
    Cycle,
    Kind,
    OrderReported,
    OrderState,
    PositionChecked,
    PositionSide,
    Request,
    Role,
    Side,
    client_order_id,
)
from core.domain.settings import CycleSettings, Policy, SymbolRules
from core.domain.warnings import settings_warnings
from core.errors import AlertInvalid, FieldError, SymbolInUse
from core.grid import Grid, calculate_grid_orders, entry_quantity_for
from core.grid_refusals import grid_errors
from core.liquidation_checks import liquidation_errors
from core.money import ZERO, Quantity, to_wire
from core.ports import Balance, BestPrices, SymbolConfig

# A MARKET order may fill above the best ask; what must hold is tested with this much room.
ASK_MARGIN: Final = Decimal("1.002")
CONDITIONAL_ORDERS_LIMIT: Final = 200  # of the account
CONDITIONAL_ORDERS_NEEDED: Final = 3  # guard, hedge and its stop-loss


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPicture:
    """What the exchange and the database say at one moment, read in parallel."""

    prices: BestPrices
    config: SymbolConfig  # leverage and margin type as they are now
    is_cross_margin: bool  # as it will be for the entry
    position: PositionChecked
    open_orders: tuple[OrderReported, ...]  # of the symbol, ordinary and algo
    conditional_orders: int  # open on the whole account
    balance: Balance  # in the symbol's quote asset
    open_cycles_margin: Decimal  # quote: deposit + extramarg of all open cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPlan:
    """An entry that may be sent."""

    quantity: Quantity
    grid: Grid  # as it would be laid if the entry cost best ask × 1.002
    warnings: tuple[str, ...]


def require_hedge_mode(is_hedge_mode: bool) -> None:
    """Raise AlertInvalid in one-way mode, where not even the position can be read as two sides."""
    if not is_hedge_mode:
        error = FieldError(
            field="account",
            value="one-way mode",
            reason="the account must be in Hedge Mode; the monitor sets it while it is flat",
        )
        raise AlertInvalid([error])


def plan_entry(
    settings: CycleSettings,
    rules: SymbolRules,
    picture: EntryPicture,
    *,
    policy: Policy,
    lack_of_funds_warns: bool,
) -> EntryPlan:
    """Return the entry to send.

    Args:
        settings: the alert's.
        rules: the symbol's, brackets included.
        picture: what was read.
        policy: the installation's choices for the cycle.
        lack_of_funds_warns: FUNDS_CHECK=warn.

    Raises:
        SymbolInUse: the symbol is not free.
        AlertInvalid: with everything else that stands against the entry, all at once.
    """
    _require_free(settings.symbol, picture)
    highest = picture.prices.ask * ASK_MARGIN
    quantity = _quantity(settings, highest, rules)
    initial = highest if settings.entry_price is None else settings.entry_price
    planned = calculate_grid_orders(settings, initial, rules, quantity)
    costly = calculate_grid_orders(settings, initial, rules, quantity, entry_fill_price=highest)
    cheap = calculate_grid_orders(
        settings, initial, rules, quantity, entry_fill_price=picture.prices.ask
    )
    short_of = tuple(_lack_of_funds(settings, rules, picture))
    errors = [
        *_account_errors(picture),
        *grid_errors(settings, rules, planned=planned, costly=costly, cheap=cheap),
        *_entry_price_errors(settings, picture.prices, planned),
        *cap_errors(settings, rules, costly),
        *liquidation_errors(
            settings,
            costly,
            rules,
            wallet=_behind(picture),
            min_distance=policy.min_liquidation_distance,
        ),
        *(() if lack_of_funds_warns else short_of),
    ]
    if errors:
        raise AlertInvalid(errors)
    wallet = picture.balance.wallet if picture.is_cross_margin else None
    warnings = (
        *settings_warnings(settings, costly, rules, policy=policy, wallet=wallet),
        *(str(error) for error in short_of),
        *_crowded(settings, rules, picture),
    )
    return EntryPlan(quantity=quantity, grid=costly, warnings=warnings)


def begun_cycle(
    settings: CycleSettings,
    rules: SymbolRules,
    *,
    quantity: Decimal,
    policy: Policy,
    key: str,
    now_ms: int,
) -> Cycle:
    """Return the cycle as it begins: its entry intended, the request for it about to be sent.

    Args:
        settings: the alert's.
        rules: the symbol's.
        quantity: of the entry.
        policy: the installation's choices.
        key: unique for ever; all client order ids of the cycle begin with it.
        now_ms: the exchange's clock; the request carries it, and is not started 2 s later.
    """
    entry = OrderState(
        client_order_id=client_order_id(key=key, role=Role.ENTRY, number=0, attempt=1),
        role=Role.ENTRY,
        number=0,
        attempt=1,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        kind=Kind.MARKET,
        price=None,
        quantity=quantity,
        request=Request.PLACE,
        target_quantity=quantity,
        requested_at_ms=now_ms,
        created_at_ms=now_ms,
        reason=f"rule 1: {to_wire(quantity)} {rules.base_asset} as the alert asks for",
    )
    return Cycle(
        cycle_id=0,  # given by the store
        key=key,
        symbol=settings.symbol,
        settings=settings,
        rules=rules,
        policy=policy,
        accepted_at_ms=now_ms,
        orders=(entry,),
    )


def _quantity(settings: CycleSettings, highest: Decimal, rules: SymbolRules) -> Quantity:
    try:
        return entry_quantity_for(settings, highest, rules)
    except InvalidOperation:
        raise AlertInvalid(
            [
                FieldError(
                    field="open.amount",
                    value=to_wire(settings.amount),
                    reason=f"more steps of {to_wire(rules.step_size)} than can be counted",
                )
            ]
        ) from None


def _require_free(symbol: str, picture: EntryPicture) -> None:
    held = [
        f"{side} {to_wire(report.quantity)}"
        for side, report in (("LONG", picture.position.long), ("SHORT", picture.position.short))
        if report.quantity
    ]
    orders = [f"order {report.client_order_id}" for report in picture.open_orders]
    if held or orders:
        found = ", ".join([*held, *orders[:5], *(["…"] if len(orders) > 5 else [])])
        raise SymbolInUse(f"{symbol} is in use by somebody else: {found}")


def _account_errors(picture: EntryPicture) -> Iterator[FieldError]:
    most = CONDITIONAL_ORDERS_LIMIT - CONDITIONAL_ORDERS_NEEDED
    if picture.conditional_orders > most:
        yield FieldError(
            field="account",
            value=f"{picture.conditional_orders} conditional orders",
            reason=(
                f"a cycle needs room for {CONDITIONAL_ORDERS_NEEDED} more, and an account may "
                f"have {CONDITIONAL_ORDERS_LIMIT}"
            ),
        )


def _entry_price_errors(
    settings: CycleSettings, prices: BestPrices, grid: Grid
) -> Iterator[FieldError]:
    if settings.entry_price is None:
        return
    highest = prices.ask * ASK_MARGIN
    value = to_wire(settings.entry_price)
    if settings.entry_price > highest:
        reason = (
            f"above the market: at most best ask {to_wire(prices.ask)} × 1.002 = {_plain(highest)}"
        )
        yield FieldError(field="open.entry_price", value=value, reason=reason)
    what, first = grid.next_below
    if first is not None and first >= prices.bid:
        reason = f"{what} would lie at {to_wire(first)}, not below the best bid {prices.bid:f}"
        yield FieldError(field="open.entry_price", value=value, reason=reason)


def cap_errors(settings: CycleSettings, rules: SymbolRules, grid: Grid) -> Iterator[FieldError]:
    """Yield what the exchange's leverage brackets have against both sides of a cycle."""
    value = str(settings.leverage)
    cap = rules.notional_cap(settings.leverage)
    if cap is None:
        reason = f"the exchange's leverage brackets for {rules.symbol} are not known"
        yield FieldError(field="open.leverage", value=value, reason=reason)
        return
    hedge = (grid.hedge_trigger or ZERO) * (grid.hedge_quantity or ZERO)
    if grid.total_notional + hedge > cap:
        reason = (
            f"LONG {_plain(grid.total_notional)} + hedge {_plain(hedge)} {rules.quote_asset} is "
            f"more than the {to_wire(cap)} that {rules.symbol} allows at this leverage"
        )
        yield FieldError(field="open.leverage", value=value, reason=reason)


def _lack_of_funds(
    settings: CycleSettings, rules: SymbolRules, picture: EntryPicture
) -> Iterator[FieldError]:
    needed, available = settings.deposit + settings.extramarg, picture.balance.available
    if available < needed:
        yield FieldError(
            field="settings.deposit",
            value=to_wire(settings.deposit),
            reason=(
                f"deposit + extramarg is {to_wire(needed)} {rules.quote_asset}, "
                f"the account has {to_wire(available)} available"
            ),
        )


def _behind(picture: EntryPicture) -> Decimal | None:
    """Return what stands behind the cycle if all others lose what was set aside for them."""
    if not picture.is_cross_margin:
        return None
    return picture.balance.wallet - picture.open_cycles_margin


def _crowded(settings: CycleSettings, rules: SymbolRules, picture: EntryPicture) -> Iterator[str]:
    together = picture.open_cycles_margin + settings.deposit + settings.extramarg
    if together > picture.balance.wallet:
        yield (
            f"all open cycles together may use {to_wire(together)} {rules.quote_asset}, the wallet "
            f"holds {to_wire(picture.balance.wallet)}"
        )


def _plain(value: Decimal) -> str:
    """Return a calculated number without the zeros that calculating left at its end."""
    return to_wire(value.normalize())
