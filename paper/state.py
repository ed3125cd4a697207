"""Everything that exists in the paper world, as plain data that can be written down and read back.

Amounts are exact Decimals; money never has more than 8 decimals, because every posting is rounded
there once. Times are integer milliseconds.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from paper.options import Options
from paper.rules import SymbolRules

ZERO = Decimal(0)


class Side(StrEnum):
    """Direction of an order."""

    BUY = "BUY"
    SELL = "SELL"


class PositionSide(StrEnum):
    """The leg that an order works on; BOTH exists in one-way mode only."""

    BOTH = "BOTH"
    LONG = "LONG"
    SHORT = "SHORT"


class OrderStatus(StrEnum):
    """Where a plain order is in its life."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    EXPIRED_IN_MATCH = "EXPIRED_IN_MATCH"


class AlgoStatus(StrEnum):
    """Where a conditional order is in its life."""

    NEW = "NEW"
    TRIGGERING = "TRIGGERING"
    TRIGGERED = "TRIGGERED"
    FINISHED = "FINISHED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"


OPEN = (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


@dataclass(slots=True, kw_only=True)
class PlainOrder:
    """A LIMIT or MARKET order, or the order that a triggered conditional order became."""

    order_id: int
    client_id: str
    symbol: str
    side: Side
    position_side: PositionSide
    type: str
    time_in_force: str
    price: Decimal
    quantity: Decimal
    reduce_only: bool
    created_ms: int
    updated_ms: int
    queue: int  # place in the queue at its price; an amendment takes a new one
    executed: Decimal = ZERO
    quote: Decimal = ZERO
    status: OrderStatus = OrderStatus.NEW
    close_position: bool = False
    algo_id: int | None = None
    amendments: int = 0
    stp_mode: str = "EXPIRE_MAKER"
    good_till_ms: int = 0
    price_match: str = "NONE"
    origin: str = ""  # the type of the conditional order that it was, where that is to be seen

    @property
    def remaining(self) -> Decimal:
        """Return what is not executed yet."""
        return self.quantity - self.executed

    @property
    def average(self) -> Decimal:
        """Return the average fill price, 0 before the first fill."""
        return self.quote / self.executed if self.executed else ZERO

    @property
    def is_open(self) -> bool:
        """Return whether it may still fill."""
        return self.status in OPEN


@dataclass(slots=True, kw_only=True)
class AlgoOrder:
    """A conditional order; once triggered, `order_id` names the plain order that it became."""

    algo_id: int
    client_id: str
    symbol: str
    side: Side
    position_side: PositionSide
    type: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    trigger: Decimal
    working_type: str
    close_position: bool
    price_protect: bool
    reduce_only: bool
    created_ms: int
    updated_ms: int
    status: AlgoStatus = AlgoStatus.NEW
    triggered_ms: int = 0
    order_id: int | None = None
    reason: str = ""
    stp_mode: str = "EXPIRE_MAKER"
    good_till_ms: int = 0
    price_match: str = "NONE"
    activate_price: Decimal = ZERO  # trailing stops only, as are the next three
    callback_rate: Decimal = ZERO  # percent
    extreme: Decimal = ZERO  # the best price since it was activated
    is_activated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution of one of our orders."""

    trade_id: int
    symbol: str
    order_id: int
    client_id: str
    side: Side
    position_side: PositionSide
    price: Decimal
    quantity: Decimal
    quote: Decimal
    realised: Decimal
    commission: Decimal
    maker: bool
    time_ms: int


@dataclass(slots=True, kw_only=True)
class Leg:
    """One position side of a symbol. `amount` is negative for SHORT; `cost` is |amount| × entry.

    `isolated` is the part of the wallet that is set aside for it, 0 with cross margin.
    """

    symbol: str
    position_side: PositionSide
    amount: Decimal = ZERO
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    commission: Decimal = ZERO
    funding: Decimal = ZERO
    isolated: Decimal = ZERO
    updated_ms: int = 0

    @property
    def entry(self) -> Decimal:
        """Return the average entry price, 0 when flat."""
        return self.cost / abs(self.amount) if self.amount else ZERO

    def profit_at(self, price: Decimal) -> Decimal:
        """Return the unrealised profit at `price`."""
        return self.amount * price - (self.cost if self.amount > 0 else -self.cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One double-entry posting: `amount` leaves account `source` and arrives at `target`."""

    entry_id: int
    time_ms: int
    kind: str  # the exchange's incomeType
    source: str
    target: str
    amount: Decimal
    symbol: str = ""
    position_side: str = ""
    order_id: int = 0
    trade_id: int = 0


@dataclass(slots=True, kw_only=True)
class Books:
    """The account's money: postings, balances per ledger account, legs and fills."""

    asset: str = "USDT"
    balances: dict[str, Decimal] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    legs: dict[str, dict[PositionSide, Leg]] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)  # the symbols with a leg that is not flat


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRate:
    """One settlement of the funding of a symbol."""

    time_ms: int
    rate: Decimal
    mark: Decimal


@dataclass(slots=True, kw_only=True)
class Market:
    """Prices of one symbol and its counters."""

    last: Decimal | None = None
    mark: Decimal | None = None
    index: Decimal | None = None  # None: like the mark price
    mark_follows_last: bool = True
    bid: Decimal = ZERO
    ask: Decimal = ZERO
    last_ms: int = 0
    liquidity: Decimal | None = None  # what takers still find; None: everything they ask for
    taken_bid: Decimal = ZERO  # what takers took off the modelled book since the last trade
    taken_ask: Decimal = ZERO
    update_id: int = 1_000_000  # of the order book
    next_trade_id: int = 1_000_001
    next_aggregate_id: int = 500_001
    leverage: int = 20
    margin_type: str = "CROSSED"
    funding_rate: Decimal = Decimal("0.00010000")
    next_funding_ms: int = 0  # in market time; 0: the next full interval
    fundings: list[FundingRate] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Countdown:
    """A running countdownCancelAll."""

    length_ms: int
    due_ms: int


@dataclass(slots=True, kw_only=True)
class State:
    """The whole world."""

    options: Options
    rules: dict[str, SymbolRules]
    markets: dict[str, Market]
    now_ms: int
    dual_side: bool = True
    books: Books = field(default_factory=Books)
    orders: dict[int, PlainOrder] = field(default_factory=dict)
    algos: dict[int, AlgoOrder] = field(default_factory=dict)
    # beyond 2**53 on purpose: the exchange's ids do not fit a float either
    next_order_id: int = 9_007_199_254_741_001
    next_algo_id: int = 4_000_001_900_000_001
    next_queue: int = 1
    next_serial: int = 1
    listen_key: str = ""
    listen_key_until_ms: int = 0
    countdowns: dict[str, Countdown] = field(default_factory=dict)
    warned: list[str] = field(default_factory=list)  # symbols that got their MARGIN_CALL
