"""What a cycle came to, and whether the exchange's own books say the same, to the last digit. Pure.

The exchange's executions of the cycle are all those of its symbol since the alert was accepted,
whoever placed them, without those that belong to another cycle: one that we have missed shows.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from core.domain.cycle import Cycle, EndedBy, Leg, OrderState, OrderStatus, PositionSide, Role, Side
from core.money import ZERO, shown
from core.narration import net_pnl

EARLIER_MS: Final = 1_000  # the two clocks need not agree better than that
AGREED: Final = "cycle ledger = exchange ledger, difference 0"
_NEVER_PLACED: Final = (EndedBy.REFUSED, EndedBy.WITHDRAWN, EndedBy.ABSENT)
_SIDES: Final = tuple((side, leg) for leg in PositionSide for side in Side)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution, as far as both ledgers tell it."""

    trade_id: int
    side: str
    position_side: str
    price: Decimal
    quantity: Decimal
    commission: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeBooks:
    """What the paper exchange's ledger says of one cycle."""

    executions: tuple[Execution, ...]
    realised: Decimal
    funding: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number that both ledgers must agree on."""

    name: str
    ours: Decimal
    theirs: Decimal

    @property
    def difference(self) -> Decimal:
        """Return ours minus theirs."""
        return self.ours - self.theirs


def exchange_books(
    ledger: Mapping[str, Any],
    cycle: Cycle,
    *,
    not_ours: Collection[int] = (),
    until_ms: int | None = None,
) -> ExchangeBooks:
    """Return the part of `GET /paper/ledger` that is this cycle's.

    Args:
        ledger: the answer, amounts as text.
        cycle: the cycle.
        not_ours: trade ids of the symbol's other cycles.
        until_ms: when the symbol's next cycle was accepted, for funding.
    """
    since_ms = cycle.accepted_at_ms - EARLIER_MS
    executions, realised = [], ZERO
    for fill in ledger["fills"]:
        is_ours = fill["symbol"] == cycle.symbol and fill["time_ms"] >= since_ms
        if is_ours and fill["trade_id"] not in not_ours:
            executions.append(_execution(fill))
            realised += Decimal(fill["realised"])
    funding = ZERO
    for entry in ledger["entries"]:
        at_ms = entry["time_ms"]
        is_ours = entry["symbol"] == cycle.symbol and since_ms <= at_ms
        if entry["kind"] == "FUNDING_FEE" and is_ours and (until_ms is None or at_ms < until_ms):
            funding += Decimal(entry["amount"])
    return ExchangeBooks(executions=tuple(executions), realised=realised, funding=funding)


def compare(cycle: Cycle, books: ExchangeBooks) -> tuple[Figure, ...]:
    """Return every number that is compared; realised PNL counts once both sides are flat.

    While a side is open, its realised part depends on how the entry's division is rounded; the
    cash that flowed does not.
    """
    ours = [
        Execution(
            trade_id=fill.trade_id,
            side=fill.side,
            position_side=fill.position_side,
            price=fill.price,
            quantity=fill.quantity,
            commission=fill.commission,
        )
        for fill in cycle.fills
        if not fill.is_adjustment
    ]
    theirs = books.executions
    figures = [Figure(name="fills", ours=Decimal(len(ours)), theirs=Decimal(len(theirs)))]
    figures += [
        Figure(
            name=f"{side} {leg}",
            ours=_quantity(ours, side, leg),
            theirs=_quantity(theirs, side, leg),
        )
        for side, leg in _SIDES
    ]
    figures.append(Figure(name="cash flow", ours=_cash(ours), theirs=_cash(theirs)))
    fees = sum((one.commission for one in theirs), ZERO)
    figures.append(Figure(name="fees", ours=cycle.ledger.commissions, theirs=fees))
    figures.append(Figure(name="funding", ours=cycle.funding, theirs=books.funding))
    if not cycle.long.quantity and not cycle.short.quantity:
        realised = cycle.ledger.realised
        figures.append(Figure(name="realised", ours=realised, theirs=books.realised))
    return tuple(figures)


def reconciliation(figures: Sequence[Figure]) -> str:
    """Return the one line that says whether the ledgers agree, and where they do not."""
    wrong = [figure for figure in figures if figure.difference]
    if not wrong:
        return AGREED
    return "cycle ledger ≠ exchange ledger: " + ", ".join(
        f"{f.name} {shown(f.ours)} against {shown(f.theirs)}, difference {shown(f.difference)}"
        for f in wrong
    )


def summary(cycle: Cycle, *, now_ms: int) -> list[str]:
    """Return what the cycle came to so far, as aligned lines."""
    quote, ledger = cycle.rules.quote_asset, cycle.ledger
    makers = sum(fill.is_maker for fill in cycle.fills)
    ended_ms = now_ms if cycle.ended_at_ms is None else cycle.ended_at_ms
    rows = [
        ("orders", _orders(cycle.orders)),
        ("fills", f"{len(cycle.fills)} ({makers} as maker)"),
        ("realised", f"{_signed(ledger.realised)} {quote}"),
        ("fees", f"{_signed(-ledger.commissions)} {quote}"),
        ("funding", f"{_signed(cycle.funding)} {quote}"),
        ("net PNL", f"{_signed(net_pnl(cycle))} {quote}"),
        ("duration", duration(ended_ms - cycle.accepted_at_ms)),
    ]
    if cycle.is_open:
        rows.insert(0, ("held", f"LONG {_leg(cycle.long)}, SHORT {_leg(cycle.short)}"))
    return [f"{name:<9} {text}" for name, text in rows]


def duration(milliseconds: int) -> str:
    """Return a span of time for people."""
    seconds = max(0, round(milliseconds / 1000))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def _leg(leg: Leg) -> str:
    return f"{shown(leg.quantity)} at {shown(leg.entry)}" if leg.quantity else "0"


def _orders(orders: Iterable[OrderState]) -> str:
    placed = [o for o in orders if o.role is not Role.FOREIGN and _was_placed(o)]
    filled = sum(o.executed > 0 for o in placed)
    cancelled = sum(o.is_over and not o.executed for o in placed)
    foreign = sum(o.role is Role.FOREIGN for o in orders)
    parts = [f"{filled} filled", f"{cancelled} ended unfilled"]
    parts += (
        [f"{len(placed) - filled - cancelled} open"] if len(placed) > filled + cancelled else []
    )
    parts += [f"{foreign} placed outside besides"] if foreign else []
    return f"{len(placed)} placed: {', '.join(parts)}"


def _was_placed(order: OrderState) -> bool:
    if order.executed:
        return True
    return order.status is not OrderStatus.INTENDED and order.ended_by not in _NEVER_PLACED


def _signed(amount: Decimal) -> str:
    return f"+{shown(amount)}" if amount > 0 else shown(amount)


def _execution(fill: Mapping[str, Any]) -> Execution:
    return Execution(
        trade_id=fill["trade_id"],
        side=fill["side"],
        position_side=fill["position_side"],
        price=Decimal(fill["price"]),
        quantity=Decimal(fill["quantity"]),
        commission=Decimal(fill["commission"]),
    )


def _quantity(executions: Iterable[Execution], side: str, position_side: str) -> Decimal:
    return sum(
        (e.quantity for e in executions if (e.side, e.position_side) == (side, position_side)), ZERO
    )


def _cash(executions: Iterable[Execution]) -> Decimal:
    flows = (e.price * e.quantity * (1 if e.side == Side.SELL else -1) for e in executions)
    return sum(flows, ZERO)
