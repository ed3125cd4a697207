"""Messages of the account stream, as news: each about an order, a position, or the account."""

from dataclasses import dataclass

from core.domain.cycle import Fill, Kind, OrderReported, ReportedStatus, SideReport
from core.money import ZERO
from core.schemas import binance_stream as stream
from core.translate import words
from core.translate.orders import child_order_id


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderNews:
    """Something happened to an order of `symbol`."""

    symbol: str
    report: OrderReported
    text: str = ""  # why a conditional order was rejected at its trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionNews:
    """The exchange pushed one or both sides of a symbol; None: that side was not mentioned."""

    symbol: str
    at_ms: int
    long: SideReport | None
    short: SideReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingNews:
    """Funding was booked; the income list has the amount. None: the symbol was not named."""

    symbol: str | None
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverageNews:
    """Somebody changed a symbol's leverage."""

    symbol: str
    leverage: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginCallNews:
    """The exchange warns that these symbols are close to liquidation."""

    symbols: tuple[str, ...]
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenKeyExpired:
    """The account connection is silent from now on."""

    at_ms: int


AccountEvent = (
    OrderNews | PositionNews | FundingNews | LeverageNews | MarginCallNews | ListenKeyExpired
)


def account_events(message: stream.AccountMessage, *, at_ms: int) -> tuple[AccountEvent, ...]:
    """Return what an account message tells; nothing for what is told better elsewhere.

    Raises Untranslatable for a status, side or type that we do not know.
    """
    match message:
        case stream.OrderTradeUpdate():
            return (_order_news(message.order, at_ms),)
        case stream.AlgoUpdate():
            return (_algo_news(message.order, at_ms),)
        case stream.AccountUpdate():
            return _account_news(message, at_ms)
        case stream.AccountConfigUpdate(leverage=stream.LeverageDetail() as changed):
            return (LeverageNews(symbol=changed.symbol, leverage=changed.leverage, at_ms=at_ms),)
        case stream.MarginCall():
            symbols = tuple(sorted({row.symbol for row in message.positions}))
            return (MarginCallNews(symbols=symbols, at_ms=at_ms),)
        case stream.ListenKeyExpired():
            return (ListenKeyExpired(at_ms=at_ms),)
        case _:
            return ()


def _order_news(order: stream.OrderDetail, at_ms: int) -> OrderNews:
    return OrderNews(
        symbol=order.symbol,
        report=OrderReported(
            at_ms=at_ms,
            client_order_id=order.client_order_id,
            status=words.plain_status(order.status),
            side=words.side(order.side),
            position_side=words.position_side(order.position_side, order.side),
            kind=words.plain_kind(order.type, order.time_in_force),
            price=order.price or None,
            quantity=order.quantity,
            executed=order.executed,
            average_price=words.average(order.average_price, order.executed),
            exchange_order_id=order.order_id,
            fill=_stream_fill(order),
        ),
    )


def _stream_fill(order: stream.OrderDetail) -> Fill | None:
    # Liquidations are also told by events without a quantity.
    if not order.trade_id or not order.last_quantity:
        return None
    return Fill(
        trade_id=order.trade_id,
        client_order_id=order.client_order_id,
        side=words.side(order.side),
        position_side=words.position_side(order.position_side, order.side),
        price=order.last_price,
        quantity=order.last_quantity,
        commission=order.commission or ZERO,
        commission_asset=order.commission_asset or "",
        is_maker=order.is_maker,
        time_ms=order.trade_time,
    )


def _algo_news(order: stream.AlgoDetail, at_ms: int) -> OrderNews:
    status = words.algo_status(order.status)
    executed = order.executed if status is ReportedStatus.TRIGGERED else ZERO
    report = OrderReported(
        at_ms=at_ms,
        client_order_id=order.client_algo_id,
        status=status,
        side=words.side(order.side),
        position_side=words.position_side(order.position_side, order.side),
        kind=Kind.STOP_MARKET,
        price=order.trigger_price or None,
        quantity=None if order.close_position else order.quantity,
        executed=executed,
        average_price=words.average(order.average_price, executed),
        exchange_order_id=child_order_id(order.order_id),
    )
    return OrderNews(symbol=order.symbol, report=report, text=order.reason)


def _account_news(message: stream.AccountUpdate, at_ms: int) -> tuple[AccountEvent, ...]:
    told: dict[str, dict[str, SideReport]] = {}
    for row in message.account.positions:
        if row.position_side == "BOTH":  # pushed along in Hedge Mode, always empty
            continue
        told.setdefault(row.symbol, {})[row.position_side] = SideReport(
            quantity=abs(row.amount),
            entry=row.entry_price,
            updated_at_ms=message.transaction_time,
        )
    news: list[AccountEvent] = [
        PositionNews(symbol=symbol, at_ms=at_ms, long=s.get("LONG"), short=s.get("SHORT"))
        for symbol, s in told.items()
    ]
    if message.account.reason == "FUNDING_FEE":
        news.append(FundingNews(symbol=message.account.symbol, at_ms=at_ms))
    return tuple(news)
