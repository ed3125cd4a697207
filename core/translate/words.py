"""The exchange's words for states, sides and kinds of orders, in ours."""

from collections.abc import Mapping
from decimal import Decimal

from core.domain.cycle import Kind, PositionSide, ReportedStatus, Side


class Untranslatable(ValueError):
    """The exchange said something that has no meaning for us."""


_PLAIN_STATUS = {
    "NEW": ReportedStatus.OPEN,
    "PARTIALLY_FILLED": ReportedStatus.OPEN,
    "NEW_INSURANCE": ReportedStatus.OPEN,  # liquidation taken over by the insurance fund
    "NEW_ADL": ReportedStatus.OPEN,
    "FILLED": ReportedStatus.FILLED,
    "CANCELED": ReportedStatus.CANCELED,
    "EXPIRED": ReportedStatus.EXPIRED,
    "EXPIRED_IN_MATCH": ReportedStatus.EXPIRED,
    "REJECTED": ReportedStatus.REJECTED,
}

# FINISHED says that the child order is filled or cancelled, but not which: only the child's own
# record ends the order (`BinanceGateway.find`).
_ALGO_STATUS = {
    "NEW": ReportedStatus.OPEN,
    "TRIGGERING": ReportedStatus.TRIGGERED,
    "TRIGGERED": ReportedStatus.TRIGGERED,
    "FINISHED": ReportedStatus.TRIGGERED,
    "CANCELED": ReportedStatus.CANCELED,
    "EXPIRED": ReportedStatus.EXPIRED,
    "REJECTED": ReportedStatus.REJECTED,
}

_CONDITIONAL_TYPES = frozenset(
    {"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"}
)


def plain_status(text: str) -> ReportedStatus:
    """Return the state of an ordinary order. Raises Untranslatable."""
    return _status(_PLAIN_STATUS, text)


def algo_status(text: str) -> ReportedStatus:
    """Return the state of a conditional order. Raises Untranslatable."""
    return _status(_ALGO_STATUS, text)


def side(text: str) -> Side:
    """Return BUY or SELL. Raises Untranslatable."""
    try:
        return Side(text)
    except ValueError:
        raise Untranslatable(f"side {text!r}") from None


def position_side(text: str, side: str) -> PositionSide:
    """Return LONG or SHORT; `side` decides for an order without. Raises Untranslatable."""
    if text == "BOTH":  # an account not (yet) in Hedge Mode; only ever a person's order
        return PositionSide.LONG if side == "BUY" else PositionSide.SHORT
    try:
        return PositionSide(text)
    except ValueError:
        raise Untranslatable(f"position side {text!r}") from None


def plain_kind(order_type: str, time_in_force: str) -> Kind:
    """Return what kind an ordinary order is. Raises Untranslatable."""
    # People's orders may be of kinds that we never send; they are over or cancelled like these.
    if order_type in ("MARKET", "LIQUIDATION"):
        return Kind.MARKET
    if order_type == "LIMIT":
        return Kind.LIMIT_IOC if time_in_force in ("IOC", "FOK") else Kind.LIMIT
    if order_type in _CONDITIONAL_TYPES:  # a child order told under its parent's type
        return Kind.MARKET if order_type.endswith("MARKET") else Kind.LIMIT
    raise Untranslatable(f"order type {order_type!r}")


def average(price: Decimal | None, executed: Decimal | None) -> Decimal | None:
    """Return the average price of what was executed; None: of nothing."""
    # "0" stands for "nothing executed yet", and may lag behind the quantity.
    return price if price and executed else None


def _status(table: Mapping[str, ReportedStatus], text: str) -> ReportedStatus:
    try:
        return table[text]
    except KeyError:
        raise Untranslatable(f"order status {text!r}") from None
