"""Stream messages of USDⓈ-M futures as they are on the wire; read by `core.translate` only.

The exchange names fields by single letters; each is given its meaning here, beside the letter, and
the letters go no further. Messages are told apart by `e`.
"""

from decimal import Decimal

import msgspec
from msgspec import field


class Message(msgspec.Struct, frozen=True, tag_field="e"):
    """Base of all messages; unknown fields are ignored."""


class AggregateTrade(Message, frozen=True, tag="aggTrade"):
    """Market trades at one price within 100 ms. The price stays text: see `core.domain.band`."""

    symbol: str = field(name="s")
    aggregate_id: int = field(name="a")
    price: str = field(name="p")
    trade_time: int = field(name="T")


class MarkPrice(Message, frozen=True, tag="markPriceUpdate"):
    """The mark price, once a second."""

    symbol: str = field(name="s")
    price: Decimal = field(name="p")
    event_time: int = field(name="E")


class MarketEnvelope(msgspec.Struct, frozen=True):
    """A message of a combined market connection; without `data` it answers a SUBSCRIBE."""

    data: AggregateTrade | MarkPrice | None = None


class OrderDetail(msgspec.Struct, frozen=True):
    """`o` of ORDER_TRADE_UPDATE."""

    symbol: str = field(name="s")
    client_order_id: str = field(name="c")
    side: str = field(name="S")
    type: str = field(name="o")
    time_in_force: str = field(name="f")
    quantity: Decimal = field(name="q")
    price: Decimal = field(name="p")
    average_price: Decimal = field(name="ap")
    status: str = field(name="X")
    order_id: int = field(name="i")
    last_quantity: Decimal = field(name="l")
    executed: Decimal = field(name="z")
    last_price: Decimal = field(name="L")
    trade_time: int = field(name="T")
    trade_id: int = field(name="t")
    is_maker: bool = field(name="m")
    position_side: str = field(name="ps")
    commission: Decimal | None = field(name="n", default=None)
    commission_asset: str | None = field(name="N", default=None)


class OrderTradeUpdate(Message, frozen=True, tag="ORDER_TRADE_UPDATE"):
    """News of an ordinary order."""

    order: OrderDetail = field(name="o")


class AlgoDetail(msgspec.Struct, frozen=True):
    """`o` of ALGO_UPDATE."""

    client_algo_id: str = field(name="caid")
    symbol: str = field(name="s")
    side: str = field(name="S")
    position_side: str = field(name="ps")
    status: str = field(name="X")
    trigger_price: Decimal = field(name="tp")
    quantity: Decimal | None = field(name="q", default=None)
    close_position: bool = field(name="cp", default=False)
    order_id: str | int | None = field(name="ai", default=None)  # "" before it triggered
    average_price: Decimal | None = field(name="ap", default=None)
    executed: Decimal | None = field(name="aq", default=None)
    reason: str = field(name="rm", default="")


class AlgoUpdate(Message, frozen=True, tag="ALGO_UPDATE"):
    """News of a conditional order."""

    order: AlgoDetail = field(name="o")


class PositionDetail(msgspec.Struct, frozen=True):
    """One row of `P` in ACCOUNT_UPDATE; SHORT amounts are negative."""

    symbol: str = field(name="s")
    position_side: str = field(name="ps")
    amount: Decimal = field(name="pa")
    entry_price: Decimal = field(name="ep")


class AccountDetail(msgspec.Struct, frozen=True):
    """`a` of ACCOUNT_UPDATE."""

    reason: str = field(name="m")
    positions: tuple[PositionDetail, ...] = field(name="P", default=())
    symbol: str | None = field(name="S", default=None)  # of a FUNDING_FEE, since August 2026


class AccountUpdate(Message, frozen=True, tag="ACCOUNT_UPDATE"):
    """Changed balances and positions."""

    transaction_time: int = field(name="T")
    account: AccountDetail = field(name="a")


class LeverageDetail(msgspec.Struct, frozen=True):
    """`ac` of ACCOUNT_CONFIG_UPDATE."""

    symbol: str = field(name="s")
    leverage: int = field(name="l")


class AccountConfigUpdate(Message, frozen=True, tag="ACCOUNT_CONFIG_UPDATE"):
    """A changed leverage (or multi-asset mode, which has no `ac`)."""

    leverage: LeverageDetail | None = field(name="ac", default=None)


class MarginRow(msgspec.Struct, frozen=True):
    """One position named by MARGIN_CALL."""

    symbol: str = field(name="s")


class MarginCall(Message, frozen=True, tag="MARGIN_CALL"):
    """The exchange warns that positions are close to liquidation."""

    positions: tuple[MarginRow, ...] = field(name="p", default=())


class ListenKeyExpired(Message, frozen=True, tag="listenKeyExpired"):
    """The connection stays open, but nothing more will arrive."""


class TradeLite(Message, frozen=True, tag="TRADE_LITE"):
    """A fill told early without side, total and commission; ORDER_TRADE_UPDATE says it all."""


class StrategyUpdate(Message, frozen=True, tag="STRATEGY_UPDATE"):
    """News of strategies that people run in the exchange's own interface."""


class GridUpdate(Message, frozen=True, tag="GRID_UPDATE"):
    """News of grids that people run in the exchange's own interface."""


class TriggerReject(Message, frozen=True, tag="CONDITIONAL_ORDER_TRIGGER_REJECT"):
    """Not sent since December 2025; ALGO_UPDATE carries the reason."""


AccountMessage = (
    OrderTradeUpdate
    | AlgoUpdate
    | AccountUpdate
    | AccountConfigUpdate
    | MarginCall
    | ListenKeyExpired
    | TradeLite
    | StrategyUpdate
    | GridUpdate
    | TriggerReject
)
