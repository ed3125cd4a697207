"""REST answers of USDⓈ-M futures as they are on the wire; read by `core.translate` only.

Field names are the exchange's, made readable by `rename="camel"`. Amounts arrive as text and become
`Decimal`; a number (leverage brackets) is read from its own digits, never through a float. Fields
that an answer may lack have a default; fields that we do not use are not listed.
"""

from decimal import Decimal

import msgspec


class Wire(msgspec.Struct, frozen=True, rename="camel"):
    """Base of all answers: unknown fields are ignored, since the exchange adds some every month."""


class ErrorBody(Wire, frozen=True):
    """What comes with a refusal."""

    code: int
    msg: str = ""


class ServerTime(Wire, frozen=True):
    """GET /fapi/v1/time."""

    server_time: int


class PlainOrder(Wire, frozen=True):
    """An ordinary order: the answer to placing, amending, cancelling, or its record."""

    symbol: str
    order_id: int
    client_order_id: str
    status: str
    side: str
    position_side: str
    type: str
    orig_qty: Decimal
    executed_qty: Decimal
    price: Decimal
    time_in_force: str = "GTC"
    avg_price: Decimal | None = None  # absent from answers to requests since June 2026
    time: int = 0  # of its creation; in records only
    update_time: int = 0


class AlgoOrder(Wire, frozen=True):
    """A conditional order in the algo service."""

    client_algo_id: str
    symbol: str
    side: str
    position_side: str
    algo_status: str
    trigger_price: Decimal
    quantity: Decimal | None = None
    close_position: bool = False
    create_time: int = 0
    update_time: int = 0
    actual_order_id: str | int | None = None  # "" before it triggered


class AlgoCancelled(Wire, frozen=True):
    """DELETE /fapi/v1/algoOrder; it has no order fields."""

    client_algo_id: str


class UserTrade(Wire, frozen=True):
    """One execution of the account; it names its order by number only."""

    symbol: str
    id: int
    order_id: int
    side: str
    position_side: str
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: str
    time: int
    maker: bool


class PositionRow(Wire, frozen=True):
    """One side of one symbol in GET /fapi/v2/positionRisk; SHORT amounts are negative."""

    symbol: str
    position_side: str
    position_amt: Decimal
    entry_price: Decimal
    update_time: int = 0
    liquidation_price: str | int | float | None = None  # beside the point: it must not spoil a read


class BalanceRow(Wire, frozen=True):
    """One asset in GET /fapi/v3/balance."""

    asset: str
    balance: Decimal
    available_balance: Decimal


class IncomeRow(Wire, frozen=True):
    """One entry of GET /fapi/v1/income."""

    symbol: str
    income: Decimal
    time: int
    tran_id: int  # unique among those of its type
    income_type: str = ""
    asset: str = ""
    trade_id: str = ""  # empty: of no trade


class BookTicker(Wire, frozen=True):
    """GET /fapi/v1/ticker/bookTicker."""

    bid_price: Decimal
    ask_price: Decimal


class PremiumIndex(Wire, frozen=True):
    """GET /fapi/v1/premiumIndex."""

    mark_price: Decimal


class SymbolConfigRow(Wire, frozen=True):
    """One symbol in GET /fapi/v1/symbolConfig."""

    symbol: str
    margin_type: str
    leverage: int


class PositionMode(Wire, frozen=True):
    """GET /fapi/v1/positionSide/dual."""

    dual_side_position: bool


class CommissionRate(Wire, frozen=True):
    """GET /fapi/v1/commissionRate."""

    maker_commission_rate: Decimal
    taker_commission_rate: Decimal


class ListenKey(Wire, frozen=True):
    """POST and PUT /fapi/v1/listenKey."""

    listen_key: str = ""


class Filter(Wire, frozen=True):
    """One entry of a symbol's `filters`; which fields it has depends on `filter_type`."""

    filter_type: str
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    tick_size: Decimal | None = None
    min_qty: Decimal | None = None
    max_qty: Decimal | None = None
    step_size: Decimal | None = None
    notional: Decimal | None = None
    multiplier_up: Decimal | None = None
    multiplier_down: Decimal | None = None


class SymbolInfo(Wire, frozen=True):
    """One symbol in GET /fapi/v1/exchangeInfo."""

    symbol: str
    contract_type: str
    status: str
    base_asset: str
    quote_asset: str
    filters: tuple[Filter, ...]


class ExchangeInfo(Wire, frozen=True):
    """GET /fapi/v1/exchangeInfo."""

    symbols: tuple[SymbolInfo, ...]


class BracketRow(Wire, frozen=True):
    """One leverage bracket; its amounts are JSON numbers."""

    initial_leverage: int
    notional_cap: Decimal
    maint_margin_ratio: Decimal
    cum: Decimal


class SymbolBrackets(Wire, frozen=True):
    """One symbol in GET /fapi/v1/leverageBracket."""

    symbol: str
    brackets: tuple[BracketRow, ...]


class Nothing(Wire, frozen=True):
    """An answer whose content does not matter."""
