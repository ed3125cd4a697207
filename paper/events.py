"""The events of the exchange in wire form: account streams and market streams."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from paper import ledger
from paper.state import (
    ZERO,
    AlgoOrder,
    AlgoStatus,
    Books,
    Fill,
    Leg,
    Market,
    PlainOrder,
    PositionSide,
)

TEN = Decimal("0.0000000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One message for the streams; `stream` is the market stream's name or the event's type."""

    channel: Literal["account", "market", "public"]
    stream: str
    data: Any  # an object; a list of objects on the streams of all symbols


def trim(amount: Decimal) -> str:
    """Render an amount the way streams do: no exponent, no trailing zeros."""
    return "0" if amount == 0 else f"{amount.normalize():f}"


def entry_text(entry: Decimal) -> str:
    """Render an average price: up to 10 decimals, at least one."""
    text = trim(entry.quantize(TEN))
    return text if "." in text else f"{text}.0"


def account(name: str, data: dict[str, Any], now_ms: int) -> Event:
    """Wrap an account event; E and T are both the moment it happened."""
    return Event(channel="account", stream=name, data={"e": name, "E": now_ms, "T": now_ms, **data})


def order_update(
    order: PlainOrder,
    execution_type: str,
    now_ms: int,
    *,
    fill: Fill | None = None,
    expiry: str = "0",
    modify_id: int | None = None,
    working_type: str = "CONTRACT_PRICE",
    status: str | None = None,
    book: tuple[Decimal, Decimal] = (ZERO, ZERO),
) -> Event:
    """Return ORDER_TRADE_UPDATE."""
    detail: dict[str, Any] = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side.value,
        "o": order.type,
        "f": order.time_in_force,
        "q": trim(order.quantity),
        "p": trim(order.price),
        "ap": trim(order.average.quantize(TEN)),
        "sp": "0",
        "x": execution_type,
        "X": status or order.status.value,
        "i": order.order_id,
        "l": trim(fill.quantity) if fill else "0",
        "z": trim(order.executed),
        "L": trim(fill.price) if fill else "0",
        "n": trim(fill.commission) if fill else "0",
        "N": "USDT",
        "T": now_ms,
        "t": fill.trade_id if fill else 0,
        "b": trim(book[0]),
        "a": trim(book[1]),
        "m": fill.maker if fill else False,
        "R": order.reduce_only,
        "wt": working_type,
        "ot": order.origin or order.type,
        "ps": order.position_side.value,
        "cp": order.close_position,
        "rp": trim(fill.realised) if fill else "0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": order.stp_mode,
        "pm": order.price_match,
        "gtd": order.good_till_ms,
        "er": expiry,
    }
    if modify_id is not None:
        detail["M"] = modify_id
    return account("ORDER_TRADE_UPDATE", {"o": detail}, now_ms)


def trade_lite(order: PlainOrder, fill: Fill, now_ms: int) -> Event:
    """Return TRADE_LITE, which precedes the full event of the same fill."""
    return account(
        "TRADE_LITE",
        {
            "s": order.symbol,
            "q": trim(order.quantity),
            "p": trim(order.price),
            "m": fill.maker,
            "c": order.client_id,
            "S": order.side.value,
            "L": trim(fill.price),
            "l": trim(fill.quantity),
            "t": fill.trade_id,
            "i": order.order_id,
        },
        now_ms,
    )


def position_row(leg: Leg, market: Market, taker_fee: Decimal) -> dict[str, Any]:
    """Return one row of ACCOUNT_UPDATE's `P`."""
    mark = market.mark or ZERO
    return {
        "s": leg.symbol,
        "pa": trim(leg.amount),
        "ep": trim(leg.entry.quantize(TEN)),
        "bep": trim(break_even(leg, taker_fee).quantize(TEN)),
        "cr": trim(leg.realised),
        "up": trim(leg.profit_at(mark)),
        "mt": "cross" if market.margin_type == "CROSSED" else "isolated",
        "iw": trim(leg.isolated),
        "ps": leg.position_side.value,
        "ma": "USDT",
    }


def break_even(leg: Leg, fee: Decimal) -> Decimal:
    """Return the price at which closing pays back the opening commission."""
    if not leg.amount:
        return ZERO
    return leg.entry * (1 + fee) if leg.amount > 0 else leg.entry * (1 - fee)


def account_update(
    reason: str,
    books: Books,
    positions: list[dict[str, Any]],
    now_ms: int,
    *,
    change: Decimal = ZERO,
    symbol: str | None = None,
) -> Event:
    """Return ACCOUNT_UPDATE; `change` is a change that is neither profit nor commission."""
    balance = {
        "a": books.asset,
        "wb": trim(ledger.wallet(books)),
        "cw": trim(ledger.cross_wallet(books)),
        "bc": trim(change),
    }
    body: dict[str, Any] = {
        "m": reason,
        "B": [balance],
        "P": positions,
    }
    if symbol is not None:
        body["S"] = symbol
    return account("ACCOUNT_UPDATE", {"a": body}, now_ms)


def margin_call(
    legs: list[tuple[Leg, Market, Decimal]], cross_wallet: Decimal | None, now_ms: int
) -> Event:
    """Return MARGIN_CALL for legs with their maintenance margins; upper-case margin types."""
    rows = [
        {
            "s": leg.symbol,
            "ps": leg.position_side.value,
            "pa": trim(leg.amount),
            "mt": market.margin_type,
            "iw": trim(leg.isolated),
            "mp": trim(market.mark or ZERO),
            "up": trim(leg.profit_at(market.mark or ZERO)),
            "mm": trim(needed.quantize(TEN)),
        }
        for leg, market, needed in legs
    ]
    data: dict[str, Any] = {"e": "MARGIN_CALL", "E": now_ms, "p": rows}
    if cross_wallet is not None:
        data["cw"] = trim(cross_wallet)
    return Event(channel="account", stream="MARGIN_CALL", data=data)


def both_row(symbol: str, market: Market) -> dict[str, Any]:
    """Return the empty BOTH row that Hedge Mode pushes along."""
    return position_row(Leg(symbol=symbol, position_side=PositionSide.BOTH), market, ZERO)


def algo_update(
    algo: AlgoOrder, now_ms: int, *, child: PlainOrder | None = None, status: str | None = None
) -> Event:
    """Return ALGO_UPDATE; `ap`, `aq` and `act` exist only once it triggered."""
    detail: dict[str, Any] = {
        "caid": algo.client_id,
        "aid": algo.algo_id,
        "at": "CONDITIONAL",
        "o": algo.type,
        "s": algo.symbol,
        "S": algo.side.value,
        "ps": algo.position_side.value,
        "f": algo.time_in_force,
        "q": trim(algo.quantity),
        "X": status or algo.status.value,
        "ai": "" if algo.order_id is None else str(algo.order_id),
        "tp": trim(algo.trigger),
        "p": trim(algo.price),
        "V": algo.stp_mode,
        "wt": algo.working_type,
        "pm": algo.price_match,
        "cp": algo.close_position,
        "pP": algo.price_protect,
        "R": algo.reduce_only,
        "tt": algo.triggered_ms,
        "gtd": algo.good_till_ms,
        "ia": algo.is_activated,
    }
    if child is not None:
        detail |= {
            "ap": trim(child.average.quantize(TEN)),
            "aq": trim(child.executed),
            "act": child.type,
        }
    if algo.reason or algo.status is AlgoStatus.REJECTED:
        detail["rm"] = algo.reason
    return account("ALGO_UPDATE", {"o": detail}, now_ms)


def agg_trade(
    symbol: str,
    price: Decimal,
    quantity: Decimal,
    *,
    ids: tuple[int, int, int],
    is_buyer_maker: bool,
    time_ms: int,
) -> Event:
    """Return the market's aggTrade; `ids` are its own, its first and its last trade's."""
    return Event(
        channel="market",
        stream=f"{symbol.lower()}@aggTrade",
        data={
            "e": "aggTrade",
            "E": time_ms,
            "s": symbol,
            "a": ids[0],
            "p": f"{price:f}",
            "q": f"{quantity:f}",
            "nq": f"{quantity:f}",
            "f": ids[1],
            "l": ids[2],
            "T": time_ms,
            "m": is_buyer_maker,
            "st": 1,
        },
    )


def mark_price(symbol: str, market: Market, next_funding_ms: int, time_ms: int) -> Event:
    """Return markPriceUpdate (the 1 s stream)."""
    mark = f"{market.mark or ZERO:.8f}"
    index = mark if market.index is None else f"{market.index:.8f}"
    return Event(
        channel="market",
        stream=f"{symbol.lower()}@markPrice@1s",
        data={
            "e": "markPriceUpdate",
            "E": time_ms,
            "s": symbol,
            "p": mark,
            "ap": mark,
            "i": index,
            "P": mark,
            "r": f"{market.funding_rate:f}",
            "T": next_funding_ms,
            "st": 1,
        },
    )
