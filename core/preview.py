"""What a cycle would hold and could lose, rung by rung, before anything is traded. Pure."""

from dataclasses import dataclass, replace
from decimal import Decimal

from core.domain.settings import Bracket, CycleSettings, SymbolRules
from core.domain.warnings import Leg, is_lost_above, liquidation_price
from core.grid import Grid
from core.money import ONE, ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """The position once one more order is filled."""

    place: str  # entry, level 1, …, hedge 1
    price: Decimal
    quantity: Decimal  # of this order
    long_quantity: Decimal
    long_entry: Decimal
    short_quantity: Decimal
    notional: Decimal  # of LONG at its entry, quote
    margin: Decimal  # that both sides then bind, quote
    liquidation_price: Decimal | None  # estimated, with nothing else open; None: there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A whole ladder and its end."""

    rungs: tuple[Rung, ...]
    worst_loss: Decimal  # quote, at most about this much
    worst_loss_when: str


def preview_of(
    settings: CycleSettings, grid: Grid, rules: SymbolRules, *, wallet: Decimal | None
) -> Preview:
    """Return what the ladder comes to.

    Args:
        settings: the alert's.
        grid: the ladder laid from them.
        rules: the symbol's; without brackets no liquidation price is estimated.
        wallet: the wallet balance with cross margin; None: LONG has its own margin only.
    """
    price = grid.entry_fill_price
    rungs = [_rung("entry", price, grid.entry_quantity, ZERO, price)]
    paid = [_paid(rungs[0], grid.entry_break_even, rules)]
    for level in grid.levels:
        held = rungs[-1].long_quantity
        place = f"level {level.number}"
        rungs.append(_rung(place, level.price, level.quantity, held, level.average_price))
        paid.append(_paid(rungs[-1], level.break_even, rules))
    shown = [
        _with_margin(rung, settings, rules, wallet=None if wallet is None else wallet - fees)
        for rung, fees in zip(rungs, paid, strict=True)
    ]
    worst, when = _worst(settings, shown[-1], paid[-1], rules)
    if grid.hedge_trigger is not None and grid.hedge_quantity and settings.max_hedges:
        shown.append(_hedged(shown[-1], settings, grid, rules, wallet, paid[-1]))
    return Preview(rungs=tuple(shown), worst_loss=worst, worst_loss_when=when)


def _rung(place: str, price: Decimal, quantity: Decimal, held: Decimal, average: Decimal) -> Rung:
    return Rung(
        place=place,
        price=price,
        quantity=quantity,
        long_quantity=held + quantity,
        long_entry=average,
        short_quantity=ZERO,
        notional=(held + quantity) * average,
        margin=ZERO,
        liquidation_price=None,
    )


def _paid(rung: Rung, break_even: Decimal, rules: SymbolRules) -> Decimal:
    """Return the commissions paid by then, which the break-even knows."""
    return break_even * (ONE - rules.taker_rate) * rung.long_quantity - rung.notional


def _with_margin(
    rung: Rung, settings: CycleSettings, rules: SymbolRules, *, wallet: Decimal | None
) -> Rung:
    margin = rung.notional / settings.leverage
    long = Leg(quantity=rung.long_quantity, entry=rung.long_entry)
    nothing = Leg(quantity=ZERO, entry=rung.price)
    behind = margin if wallet is None else wallet
    liquidation = estimated_liquidation(long, nothing, rules, behind)
    return replace(rung, margin=margin, liquidation_price=liquidation)


def _hedged(
    full: Rung,
    settings: CycleSettings,
    grid: Grid,
    rules: SymbolRules,
    wallet: Decimal | None,
    paid: Decimal,
) -> Rung:
    trigger, quantity = grid.hedge_trigger or ZERO, grid.hedge_quantity or ZERO
    liquidation = None
    if wallet is not None:  # with margins of their own, each side has its own end
        paid += quantity * trigger * rules.taker_rate
        long = Leg(quantity=full.long_quantity, entry=full.long_entry)
        short = Leg(quantity=quantity, entry=trigger)
        liquidation = estimated_liquidation(long, short, rules, wallet - paid)
    return Rung(
        place="hedge 1",
        price=trigger,
        quantity=quantity,
        long_quantity=full.long_quantity,
        long_entry=full.long_entry,
        short_quantity=quantity,
        notional=full.notional,
        margin=full.margin + quantity * trigger / settings.leverage,
        liquidation_price=liquidation,
    )


def _worst(
    settings: CycleSettings, full: Rung, paid: Decimal, rules: SymbolRules
) -> tuple[Decimal, str]:
    """Return the loss of a fall that takes everything, after every hedge was stopped out."""
    end = full.liquidation_price or ZERO
    where = f"LONG is liquidated at about {end:.8f}".rstrip("0").rstrip(".")
    loss = full.notional + paid - full.long_quantity * end * (ONE - rules.taker_rate)
    if not end:
        where = "the price falls to nothing (no liquidation before that)"
    when = f"every level filled, then {where}"
    if settings.extramarg and settings.max_hedges:
        loss += settings.extramarg
        when += ", after the hedges had lost extramarg"
    if settings.max_loss is not None and settings.max_loss < loss:
        return settings.max_loss, "max_loss closes the cycle; the slippage of that comes on top"
    return loss, when


def estimated_liquidation(
    long: Leg, short: Leg, rules: SymbolRules, wallet: Decimal
) -> Decimal | None:
    """Return where both legs together would be liquidated; None: nowhere, or not known."""
    if not rules.brackets:
        return None
    price = short.entry or long.entry
    return liquidation_price(
        wallet=wallet,
        long=long,
        short=short,
        long_bracket=_bracket(long.quantity * price, rules),
        short_bracket=_bracket(short.quantity * price, rules),
    )


def is_lost_above_market(rung: Rung, rules: SymbolRules) -> bool:
    """Return whether a rising price liquidates both sides of a hedged rung, not a falling one."""
    return is_lost_above(
        long=rung.long_quantity,
        short=rung.short_quantity,
        long_bracket=_bracket(rung.long_quantity * rung.price, rules),
        short_bracket=_bracket(rung.short_quantity * rung.price, rules),
    )


def _bracket(notional: Decimal, rules: SymbolRules) -> Bracket:
    fitting = (bracket for bracket in rules.brackets if notional <= bracket.notional_cap)
    return next(fitting, rules.brackets[-1])
