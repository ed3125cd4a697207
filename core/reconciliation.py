"""The deep check: what the exchange lists of a symbol against what the database has of it.

Pure: everything that was read comes in. What has just happened is not judged, because reads lag and
the monitor may be writing it down this moment; whoever calls looks twice before he believes it.
Executions of others count where a cycle was open (they are booked in it), and not elsewhere.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from core.domain.alarms import Alarm, AlarmKind
from core.domain.cycle import (
    CLIENT_ID_PREFIX,
    Cycle,
    Fill,
    OrderReported,
    PositionChecked,
    PositionSide,
)
from core.domain.ledger import fold
from core.money import ZERO, shown
from core.ports import IncomeRecord

SETTLED_AFTER_MS: Final = 60_000  # what is younger is not judged
# Income may be posted late, and the last funding of an ended cycle is asked for after its end.
POSTED_AFTER_MS: Final = 10 * 60_000
ROUNDING: Final = Decimal("0.00000001")  # the exchange posts each amount to the 8th decimal
CAUSES_TOLD: Final = 3  # in one alarm
NAMELESS: Final = "order-"  # how an order is called whose name the exchange has forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeBooks:
    """What the exchange lists of one symbol."""

    symbol: str
    since_ms: int  # what happened before is not judged
    asked_at_ms: int  # before the first of the reads
    fills: tuple[Fill, ...]  # from a little earlier on, as income: clocks differ
    income: tuple[IncomeRecord, ...]
    position: PositionChecked
    orders: tuple[OrderReported, ...]  # open ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference between the two books."""

    kind: AlarmKind
    symbol: str
    text: str  # with its numbers; the same difference has the same text


def findings(books: ExchangeBooks, cycles: Sequence[Cycle]) -> tuple[Finding, ...]:
    """Return every difference.

    Args:
        books: as read.
        cycles: of the symbol: the open one, and all that ended after `since_ms`.
    """
    lines = {
        AlarmKind.FILLS_DIFFER: tuple(_fills(books, cycles)),
        AlarmKind.POSITION_DIFFERS: tuple(_position(books, cycles)),
        AlarmKind.ORDERS_DIFFER: tuple(_orders(books, cycles)),
        AlarmKind.LEDGER_DIFFERS: tuple(_ledgers(books, cycles)),
    }
    return tuple(
        Finding(kind=kind, symbol=books.symbol, text=text)
        for kind, texts in lines.items()
        for text in texts
    )


def as_alarms(found: Iterable[Finding], *, at_ms: int) -> tuple[tuple[str, Alarm], ...]:
    """Return (symbol, alarm): one of a kind for each symbol, with the first causes."""
    texts: dict[tuple[str, AlarmKind], list[str]] = defaultdict(list)
    for finding in found:
        texts[finding.symbol, finding.kind].append(finding.text)
    return tuple(
        (symbol, Alarm(kind=kind, text=_summary(causes), at_ms=at_ms))
        for (symbol, kind), causes in texts.items()
    )


def _summary(causes: Sequence[str]) -> str:
    more = len(causes) - CAUSES_TOLD
    return "; ".join((*causes[:CAUSES_TOLD], *((f"and {more} more",) if more > 0 else ())))


# --- Executions: each in the database once, and the other way round ---


def _fills(books: ExchangeBooks, cycles: Sequence[Cycle]) -> Iterator[str]:
    until_ms = books.asked_at_ms - SETTLED_AFTER_MS
    theirs = {fill.trade_id: fill for fill in books.fills}
    ours = [(cycle, f) for cycle in cycles for f in cycle.fills if not f.is_adjustment]
    for trade_id, count in sorted(Counter(f.trade_id for _, f in ours).items()):
        if count > 1:
            yield f"trade {trade_id} is in the database {count} times"
    known = {fill.trade_id for _, fill in ours}
    for fill in books.fills:
        is_judged = books.since_ms <= fill.time_ms <= until_ms
        if is_judged and fill.trade_id not in known and _is_expected(fill, cycles):
            yield f"{_named(fill)} is not in the database{_whose(fill, cycles)}"
    for cycle, fill in ours:
        if not books.since_ms <= fill.time_ms <= until_ms:
            continue
        listed = theirs.get(fill.trade_id)
        if listed is None:
            yield f"{_named(fill)} of cycle {cycle.key} is not on the exchange"
        else:
            yield from _altered(fill, listed, cycle)


def _is_expected(fill: Fill, cycles: Sequence[Cycle]) -> bool:
    """Return whether the database must have it: it is ours, or happened while a cycle was open."""
    return fill.client_order_id.startswith(CLIENT_ID_PREFIX) or any(
        cycle.was_open_at(fill.time_ms) for cycle in cycles
    )


def _whose(fill: Fill, cycles: Sequence[Cycle]) -> str:
    name = fill.client_order_id
    if not name.startswith(CLIENT_ID_PREFIX):
        return ", and a cycle was open"
    if any(name.startswith(cycle.client_id_prefix) for cycle in cycles):
        return ""
    return ", nor is its cycle"


def _altered(ours: Fill, theirs: Fill, cycle: Cycle) -> Iterator[str]:
    if theirs.client_order_id.startswith(NAMELESS):
        theirs = replace(theirs, client_order_id=ours.client_order_id)
    if ours == theirs:
        return
    differences = [
        f"{name} {_value(getattr(ours, name))} (exchange: {_value(getattr(theirs, name))})"
        for name in Fill.__dataclass_fields__
        if getattr(ours, name) != getattr(theirs, name)
    ]
    yield f"trade {ours.trade_id} of cycle {cycle.key} has {', '.join(differences)}"


def _named(fill: Fill) -> str:
    what = f"{fill.side} {fill.position_side} {shown(fill.quantity)} at {shown(fill.price)}"
    return f"trade {fill.trade_id} ({what}, order {fill.client_order_id})"


def _value(value: object) -> str:
    return shown(value) if isinstance(value, Decimal) else str(value)


# --- What is held, what rests ---


def _position(books: ExchangeBooks, cycles: Sequence[Cycle]) -> Iterator[str]:
    cycle = next((cycle for cycle in cycles if cycle.is_open), None)
    for side in PositionSide:
        is_long = side is PositionSide.LONG
        held = (books.position.long if is_long else books.position.short).quantity
        if cycle is not None:
            booked = (cycle.long if is_long else cycle.short).quantity
            if held != booked:
                yield f"{side} {shown(held)}, in cycle {cycle.key} {shown(booked)}"
        elif held and not _is_crumb(held, cycles):
            yield f"{side} {shown(held)}, and no cycle is open: nobody watches it"


def _is_crumb(held: Decimal, cycles: Sequence[Cycle]) -> bool:
    """Return whether it is too little for an order: its cycle has told of it (left-over)."""
    return bool(cycles) and held < cycles[-1].rules.step_size


def _orders(books: ExchangeBooks, cycles: Sequence[Cycle]) -> Iterator[str]:
    known = {o.client_order_id: o for c in cycles if c.is_open for o in c.orders if not o.is_over}
    listed = {report.client_order_id for report in books.orders}
    for name in sorted(listed):
        if name.startswith(CLIENT_ID_PREFIX) and name not in known:
            yield f"order {name} rests on the exchange, and no open cycle has it"
    for name, order in sorted(known.items()):
        is_certain = order.is_resting and not order.is_in_flight and not order.is_triggered
        if is_certain and name not in listed:
            yield f"order {name} is open in the database, and the exchange does not list it"


# --- What ended cycles earned ---


def _ledgers(books: ExchangeBooks, cycles: Sequence[Cycle]) -> Iterator[str]:
    until_ms = books.asked_at_ms - POSTED_AFTER_MS
    for cycle in cycles:
        is_whole = cycle.accepted_at_ms >= books.since_ms
        has_adjustments = any(fill.is_adjustment for fill in cycle.fills)
        # What an outside change realised nobody knows: its figures are an estimate, and said so.
        if cycle.ended_at_ms is None or cycle.ended_at_ms > until_ms:
            continue
        if is_whole and not has_adjustments:
            for text in _ledger(books.income, cycle):
                yield f"cycle {cycle.key}: {text}"


def _ledger(income: Sequence[IncomeRecord], cycle: Cycle) -> Iterator[str]:
    trades = {fill.trade_id for fill in cycle.fills}
    paid: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for record in income:
        if record.trade_id in trades:
            paid[record.kind, record.asset] += record.amount
    quote = cycle.rules.quote_asset
    tolerance = ROUNDING * len(trades)
    folded = fold(cycle.orders, cycle.fills, cycle.rules, dict(cycle.asset_prices))
    yield from _compared(
        "realised", cycle.ledger.realised, paid["REALIZED_PNL", quote], tolerance=tolerance
    )
    for asset, commission in sorted(_commissions(cycle).items()):
        theirs = -paid["COMMISSION", asset]
        yield from _compared(f"fees in {asset}", commission, theirs, tolerance=tolerance)
    if cycle.ledger.commissions != folded.commissions:
        pair = f"{shown(cycle.ledger.commissions)}, its executions make {shown(folded.commissions)}"
        yield f"fees are {pair}"
    yield from _funding(income, cycle)


def _commissions(cycle: Cycle) -> Mapping[str, Decimal]:
    by_asset: dict[str, Decimal] = defaultdict(Decimal)
    for fill in cycle.fills:
        by_asset[fill.commission_asset] += fill.commission
    return by_asset


def _funding(income: Sequence[IncomeRecord], cycle: Cycle) -> Iterator[str]:
    assert cycle.ended_at_ms is not None, "only ended cycles are asked about"
    theirs = {
        record.transaction_id: record.amount
        for record in income
        if record.kind == "FUNDING_FEE"
        and cycle.accepted_at_ms <= record.time_ms <= cycle.ended_at_ms
    }
    yield from _compared("funding", cycle.funding, sum(theirs.values(), ZERO), tolerance=ZERO)


def _compared(name: str, ours: Decimal, theirs: Decimal, *, tolerance: Decimal) -> Iterator[str]:
    if abs(ours - theirs) > tolerance:
        yield f"{name} {shown(ours)}, the exchange's income says {shown(theirs)}"
