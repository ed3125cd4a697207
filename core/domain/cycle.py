"""The trading cycle as data: its state, the facts that change it, the orders that it wants.

Nothing here decides; `strategy.py` does. All values are immutable. Times are integer milliseconds
UTC on the exchange's clock, prices quote per base, quantities base, percentages as in the alert.

Read in this order: `Cycle` (what is known), `OrderState` (one order and the request under way for
it), the facts (what can be learnt), `WantedOrder` (what should be open now).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from core.domain.alarms import Alarm, AlarmKind
from core.domain.settings import CycleSettings, Policy, SymbolRules
from core.grid import Grid
from core.money import ZERO


class Side(StrEnum):
    """Direction of an order."""

    BUY = "BUY"
    SELL = "SELL"


class PositionSide(StrEnum):
    """Which of the two positions of Hedge Mode an order belongs to."""

    LONG = "LONG"
    SHORT = "SHORT"

    @property
    def opening_side(self) -> Side:
        """Return the direction that adds to it."""
        return Side.BUY if self is PositionSide.LONG else Side.SELL


class Kind(StrEnum):
    """How an order is sent; STOP_MARKET goes to the exchange's algo service."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"  # good till cancelled
    LIMIT_IOC = "LIMIT_IOC"
    STOP_MARKET = "STOP_MARKET"


class Role(StrEnum):
    """What an order is for."""

    ENTRY = "entry"
    LEVEL = "level"
    TAKE_PROFIT = "take_profit"
    GUARD = "guard"
    HEDGE = "hedge"
    HEDGE_STOP = "hedge_stop"
    HEDGE_MARKET = "hedge_market"
    HEDGE_STOP_MARKET = "hedge_stop_market"
    CLOSE_LONG = "close_long"
    CLOSE_SHORT = "close_short"
    FOREIGN = "foreign"  # placed by a person or another program on the cycle's symbol


class Phase(StrEnum):
    """Where a cycle stands; it only moves downwards, but for a late fill after the end."""

    ENTERING = "entering"  # the entry is not over
    TRADING = "trading"
    CLOSING = "closing"
    ENDED = "ended"


class CloseReason(StrEnum):
    """Why a cycle closed; a closed list."""

    TAKE_PROFIT = "take_profit"
    TRAILING = "trailing"
    PNL = "pnl"
    MAX_LOSS = "max_loss"
    SIGNAL = "signal"
    OPERATOR = "operator"
    HEDGE_FAILED = "hedge_failed"
    OUTSIDE = "outside"
    LIQUIDATION = "liquidation"
    ADL = "adl"
    ENTRY_FAILED = "entry_failed"
    ENTRY_EXPIRED = "entry_expired"


class OrderStatus(StrEnum):
    """What is known of an order's life."""

    INTENDED = "intended"  # not known to exist on the exchange
    OPEN = "open"
    OVER = "over"


class Request(StrEnum):
    """The one request that may be under way for an order."""

    NONE = "none"
    PLACE = "place"
    AMEND = "amend"
    CANCEL = "cancel"


class EndedBy(StrEnum):
    """Who ended an order."""

    FILLED = "filled"
    US = "us"
    EXCHANGE = "exchange"
    PERSON = "person"
    REFUSED = "refused"  # never existed: the exchange said no
    WITHDRAWN = "withdrawn"  # never existed: no longer wanted before it was placed
    ABSENT = "absent"  # forgotten by the exchange

    @property
    def was_inferred(self) -> bool:
        """Return whether no report of the order itself told its end."""
        return self in (EndedBy.REFUSED, EndedBy.WITHDRAWN, EndedBy.ABSENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderState:
    """One order: what it is, what became of it, and the request under way for it."""

    client_order_id: str
    role: Role
    number: int  # grid level or hedge; foreign orders are counted; 0 for all others
    attempt: int
    side: Side
    position_side: PositionSide
    kind: Kind
    price: Decimal | None  # limit price or trigger in force on the exchange; None for MARKET
    quantity: Decimal | None  # total, not remaining; None with close_position
    close_position: bool = False
    status: OrderStatus = OrderStatus.INTENDED
    request: Request = Request.NONE
    target_price: Decimal | None = None  # what the request under way asks for
    target_quantity: Decimal | None = None
    requested_at_ms: int = 0  # timestamp that the request carries
    is_unresolved: bool = False  # the request got no answer that could be read
    executed: Decimal = ZERO
    average_price: Decimal | None = None  # of `executed`, where the exchange told it
    is_triggered: bool = False  # algo order whose child order is with the matching engine
    triggered_at_ms: int = 0
    cancel_asked: bool = False
    is_superseded: bool = False  # a repeated close may run beside it
    amend_refused: bool = False
    refusals: int = 0  # in a row
    refusal_code: int | None = None
    refusal_text: str = ""
    retry_at_ms: int = 0
    absent_reads: int = 0
    absent_read_at_ms: int = 0
    ended_by: EndedBy | None = None
    over_at_ms: int = 0
    exchange_order_id: int | None = None
    reason: str = ""
    created_at_ms: int = 0
    changed_at_ms: int = 0  # when price, quantity or status were last learnt

    @property
    def is_over(self) -> bool:
        """Return whether nothing can happen to it any more."""
        return self.status is OrderStatus.OVER

    @property
    def is_resting(self) -> bool:
        """Return whether the exchange is known to hold it."""
        return self.status is OrderStatus.OPEN

    @property
    def is_in_flight(self) -> bool:
        """Return whether a request for it is under way or unresolved."""
        return self.request is not Request.NONE

    @property
    def remaining(self) -> Decimal:
        """Return the quantity not yet executed; 0 for close-position orders."""
        return ZERO if self.quantity is None else max(ZERO, self.quantity - self.executed)

    @property
    def is_out(self) -> bool:
        """Return whether the exchange holds it, or may."""
        return not self.is_over and (self.is_resting or self.is_in_flight)

    @property
    def is_opening(self) -> bool:
        """Return whether it adds to its position side."""
        return self.side is self.position_side.opening_side

    @property
    def is_algo(self) -> bool:
        """Return whether it is placed through the algo service."""
        return self.kind is Kind.STOP_MARKET


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution. The exchange's trade id is unique per symbol and orders the fills."""

    trade_id: int
    client_order_id: str
    side: Side
    position_side: PositionSide
    price: Decimal
    quantity: Decimal
    commission: Decimal  # positive is paid
    commission_asset: str
    is_maker: bool
    time_ms: int
    is_adjustment: bool = False  # an outside change whose fills nobody could show

    @property
    def is_opening(self) -> bool:
        """Return whether it adds to its position side."""
        return self.side is self.position_side.opening_side


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One position side as the fills make it."""

    quantity: Decimal = ZERO
    entry: Decimal = ZERO  # average price of what is held; 0 when flat
    held_commission: Decimal = ZERO  # quote: paid for the part still held
    closed_by: str = ""  # client id of the order whose fill brought it to 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """One hedge from its first fill to SHORT = 0, as the fills make it."""

    number: int  # 0: opened by a person
    opened: Decimal  # base, all its opening fills
    average_price: Decimal  # of the opening fills
    realised: Decimal  # quote, gross
    commissions: Decimal  # quote, opening and closing
    is_closed: bool
    closed_by: str  # client id of the closing order


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Everything that follows from the fills."""

    long: Leg = field(default_factory=Leg)
    short: Leg = field(default_factory=Leg)
    realised: Decimal = ZERO  # quote, gross of commissions, both sides
    commissions: Decimal = ZERO  # quote, paid is positive
    hedges: tuple[Hedge, ...] = ()
    is_priced: bool = True  # False: a total is known whose price is not
    is_over_closed: bool = False  # more was closed than is known to have been opened


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeFallback:
    """Rule 4's second try: refused for margin, the hedge goes by MARKET, cut to what is there."""

    number: int
    quantity: Decimal | None = None  # base; None until the balance was read


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectPosition:
    """A reported position that differs from the fills; believed when a second read agrees."""

    long: Decimal
    short: Decimal
    asked_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidationRead:
    """Where the exchange would liquidate, for what was held when it was read; None: nowhere."""

    long: Decimal
    short: Decimal
    below: Decimal | None  # the market
    above: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One webhook's trade, from the intent of its entry to the proof that both sides are flat."""

    cycle_id: int
    key: str  # prefix of its client order ids, unique for ever
    symbol: str
    settings: CycleSettings
    rules: SymbolRules
    policy: Policy
    accepted_at_ms: int
    phase: Phase = Phase.ENTERING
    close_reason: CloseReason | None = None
    orders: tuple[OrderState, ...] = ()
    fills: tuple[Fill, ...] = ()  # in order of trade id
    ledger: Ledger = field(default_factory=Ledger)
    funding: Decimal = ZERO  # quote, received is positive
    funding_ids: tuple[int, ...] = ()
    grid: Grid | None = None  # laid once the entry is over
    withdrawn: tuple[int, ...] = ()  # levels that will not be placed (again)
    hedge_triggers: tuple[Decimal, ...] = ()  # h₁, h₂, … as armed
    hedge_fallback: HedgeFallback | None = None
    hedge_passed: int = 0  # number of the hedge that goes by MARKET: its trigger was passed
    hedge_watched: int = 0  # number of the hedge whose trigger is watched here: it may not rest
    hedge_failed: bool = False
    hedges_stopped: bool = False  # until the operator says so
    levels_stopped: bool = False  # h₁ was passed or a hedge opened: levels still waiting are out
    short_closer: str = ""  # client id of the order whose closing of SHORT was last drawn upon
    short_stop_due: bool = False  # the stop-loss price was reached while none rested
    stop_needs_slot: bool = False  # -4045: the guard gives its place to the stop-loss
    trailing_stop: Decimal | None = None  # S
    trailing_entry: Decimal | None = None  # LONG entry that S was started from
    guard_waits: bool = False  # -2021: not before the next trade
    activation_price: Decimal | None = None  # A
    old_activation_price: Decimal | None = None
    close_long_asked: bool = False
    close_short_asked: bool = False
    is_paused: bool = False
    is_hands_off: bool = False
    is_outlived: bool = False  # a later cycle was on the symbol: this one had ended by then
    rules_are_stale: bool = False
    account_refused_at_ms: int = 0  # nothing new is placed until a later read succeeds
    forgets_missing: bool = False  # the operator's word: what three reads do not show is over
    asset_prices: tuple[tuple[str, Decimal], ...] = ()  # quote; of assets that commissions came in
    last_price: Decimal | None = None
    mark_price: Decimal | None = None  # read when a price bound refused an order
    flat_read_at_ms: int | None = None  # first of the two reads that prove the end
    suspect: SuspectPosition | None = None
    liquidation: LiquidationRead | None = None  # as last read, where its distance is watched
    is_near_liquidation: bool = False
    update_due_ms: int = 0  # a side's update that no known execution explains; 0: none
    update_read_ms: int = 0  # the newest such update for which the executions were read
    alarms: tuple[Alarm, ...] = ()
    ended_at_ms: int | None = None

    @property
    def is_open(self) -> bool:
        """Return whether the cycle still has anything to do."""
        return self.phase is not Phase.ENDED

    def was_open_at(self, time_ms: int) -> bool:
        """Return whether the time lies between its alert's acceptance and its end."""
        has_begun = self.accepted_at_ms <= time_ms
        return has_begun and (self.ended_at_ms is None or time_ms <= self.ended_at_ms)

    @property
    def client_id_prefix(self) -> str:
        """Return what the client ids of its orders begin with, and no other's."""
        return f"{CLIENT_ID_PREFIX}{self.key}-"

    @property
    def long(self) -> Leg:
        """Return the LONG side."""
        return self.ledger.long

    @property
    def short(self) -> Leg:
        """Return the SHORT side."""
        return self.ledger.short

    @property
    def entry_order(self) -> OrderState | None:
        """Return the entry order; None only for a cycle without orders."""
        return next((order for order in self.orders if order.role is Role.ENTRY), None)

    def order(self, client_order_id: str) -> OrderState | None:
        """Return the order with that client id, if it belongs to the cycle."""
        return next((o for o in self.orders if o.client_order_id == client_order_id), None)

    def of(self, role: Role, number: int | None = None) -> Iterator[OrderState]:
        """Yield the orders of a role (and number) in order of attempt."""
        return (o for o in self.orders if o.role is role and number in (None, o.number))

    def live(self, role: Role, number: int | None = None) -> OrderState | None:
        """Return the order of that role and number which is not over (superseded ones apart)."""
        return next(
            (o for o in self.of(role, number) if not o.is_over and not o.is_superseded), None
        )

    def last(self, role: Role, number: int | None = None) -> OrderState | None:
        """Return the newest attempt of that role and number."""
        return max(self.of(role, number), key=lambda o: o.attempt, default=None)

    def with_order(self, order: OrderState) -> "Cycle":
        """Return the cycle with `order` in the place of the one with its client id, or added."""
        if self.order(order.client_order_id) is None:
            return replace(self, orders=(*self.orders, order))
        orders = tuple(
            order if o.client_order_id == order.client_order_id else o for o in self.orders
        )
        return replace(self, orders=orders)

    def with_alarm(self, kind: AlarmKind, text: str, at_ms: int, *, about: object = "") -> "Cycle":
        """Return the cycle with an alarm raised, unless its cause was raised before.

        Args:
            kind: what it is.
            text: what happened, with its numbers.
            at_ms: when.
            about: tells causes of one kind apart.
        """
        alarm = Alarm(kind=kind, about=str(about), text=text, at_ms=at_ms)
        if any(known.key == alarm.key for known in self.alarms):
            return self
        return replace(self, alarms=(*self.alarms, alarm))

    def with_another_alarm(self, kind: AlarmKind, text: str, at_ms: int) -> "Cycle":
        """Return the cycle with an alarm of what may happen again, counted if it did before."""
        earlier = sum(known.kind is kind for known in self.alarms)
        return self.with_alarm(kind, text, at_ms, about=earlier or "")


# --- Facts: what can be learnt. Each carries `at_ms`, when we learnt it. ---


class ReportedStatus(StrEnum):
    """An order's state as the exchange tells it, algo orders included."""

    OPEN = "open"
    TRIGGERED = "triggered"  # algo order handed to the matching engine; fills follow
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"  # by the exchange, also self-trade prevention
    REJECTED = "rejected"

    @property
    def is_terminal(self) -> bool:
        """Return whether the order is over."""
        return self not in (ReportedStatus.OPEN, ReportedStatus.TRIGGERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReported:
    """Any news of one order: a placement's answer, a stream event, a look-up. Totals, not steps."""

    at_ms: int
    client_order_id: str
    status: ReportedStatus
    side: Side
    position_side: PositionSide
    kind: Kind
    price: Decimal | None  # limit price or trigger
    quantity: Decimal | None  # total; None where the exchange does not say
    executed: Decimal | None  # cumulative; None where the message does not say
    average_price: Decimal | None
    exchange_order_id: int | None = None
    fill: Fill | None = None
    asked_at_ms: int | None = None  # when the look-up was sent; None for stream events and answers
    answers: Request | None = None  # the request of ours that this is the success answer of


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRefused:
    """The exchange said no to the request under way."""

    at_ms: int
    client_order_id: str
    request: Request
    code: int
    text: str
    requested_at_ms: int | None = None  # of the request answered; None: not told


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestNotSent:
    """The request under way never left us (too late, rate limit, no lease)."""

    at_ms: int
    client_order_id: str
    retry_at_ms: int
    requested_at_ms: int | None = None  # of the request meant; None: not told


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeUnknown:
    """The request under way may or may not have taken effect."""

    at_ms: int
    client_order_id: str
    requested_at_ms: int | None = None  # of the request meant; None: not told


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderMissing:
    """The order's record, the open lists, the fills and the position showed nothing of it."""

    at_ms: int
    client_order_id: str
    asked_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FillsRead:
    """Executions of the symbol read from the exchange's list."""

    at_ms: int
    fills: tuple[Fill, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideReport:
    """One side of a reported position."""

    quantity: Decimal  # ≥ 0
    entry: Decimal
    updated_at_ms: int  # 0: the exchange did not say
    liquidation_price: Decimal = ZERO  # 0: there is none, or the exchange did not say


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionChecked:
    """The exchange's own word on both sides; a check, not a source."""

    at_ms: int
    asked_at_ms: int
    long: SideReport
    short: SideReport


@dataclass(frozen=True, slots=True, kw_only=True)
class TradePrice:
    """A market trade at or outside the band."""

    at_ms: int
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSeen:
    """The last trade, told beside other news; nothing is tested against it but rule 2's placing."""

    at_ms: int
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRead:
    """The mark price, read because a price bound refused an order."""

    at_ms: int
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceRead:
    """The available balance in the quote asset, read for rule 4's second try."""

    at_ms: int
    available: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetPriced:
    """The price, in the quote asset, of an asset that commissions were paid in."""

    at_ms: int
    asset: str
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRefused:
    """A request of another symbol was refused for reasons that concern the whole account."""

    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesRead:
    """The symbol's rules, read again because the exchange refused what they allowed."""

    at_ms: int
    rules: SymbolRules


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingPaid:
    """A funding payment; positive is received. `transaction_id` is counted once."""

    at_ms: int
    transaction_id: int
    amount: Decimal


class OperatorAction(StrEnum):
    """What a person may ask of a cycle."""

    CLOSE = "close"
    CLOSE_LONG = "close_long"
    CLOSE_SHORT = "close_short"
    SIGNAL_CLOSE = "signal_close"  # the alert `flat`
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL_LEVELS = "cancel_levels"  # withdraw every level that is not filled
    HANDS_OFF = "hands_off"
    HANDS_ON = "hands_on"
    ALLOW_HEDGES = "allow_hedges"
    FORGET_MISSING = "forget_missing"  # what three reads do not show is over, however young


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAsked:
    """A person (or the `flat` alert) asked for something."""

    at_ms: int
    action: OperatorAction


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePassed:
    """Nothing happened but time; rule 1's limit depends on it."""

    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsDecided:
    """A turn ended here: what was due became requests with this timestamp. Our own doing, told as a
    fact so that the journal alone gives the state again.
    """

    at_ms: int


Fact = (
    OrderReported
    | OrderRefused
    | RequestNotSent
    | OutcomeUnknown
    | OrderMissing
    | FillsRead
    | PositionChecked
    | TradePrice
    | PriceSeen
    | MarkRead
    | BalanceRead
    | AssetPriced
    | AccountRefused
    | RulesRead
    | FundingPaid
    | OperatorAsked
    | TimePassed
    | RequestsDecided
)


# --- Wishes and commands ---


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedOrder:
    """An order that should be open now, and why."""

    role: Role
    number: int
    side: Side
    position_side: PositionSide
    kind: Kind
    price: Decimal | None
    quantity: Decimal | None  # total; None with close_position
    close_position: bool = False
    follows: bool = False  # an open one is adapted when price or quantity differ
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Send `wanted`; under `client_order_id` again where that order is known not to exist."""

    wanted: WantedOrder
    client_order_id: str | None  # None: a new attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Amend:
    """Change price and total quantity in place."""

    client_order_id: str
    price: Decimal
    quantity: Decimal
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Take the order back."""

    client_order_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Forget an order that was never placed and is no longer wanted."""

    client_order_id: str


Command = Place | Amend | Cancel | Withdraw

_ROLE_CODES = {
    Role.ENTRY: "en",
    Role.LEVEL: "lv",
    Role.TAKE_PROFIT: "tp",
    Role.GUARD: "gd",
    Role.HEDGE: "hg",
    Role.HEDGE_STOP: "hs",
    Role.HEDGE_MARKET: "hm",
    Role.HEDGE_STOP_MARKET: "sm",
    Role.CLOSE_LONG: "cl",
    Role.CLOSE_SHORT: "cs",
}

_ROLES = {code: role for role, code in _ROLE_CODES.items()}

CLIENT_ID_PREFIX = "tb-"
_CLIENT_ID = re.compile(rf"{CLIENT_ID_PREFIX}([0-9a-z]+)-({'|'.join(_ROLES)})(\d+)-(\d+)")


def client_order_id(*, key: str, role: Role, number: int, attempt: int) -> str:
    """Return an order's client id: `tb-<cycle key>-<role><number>-<attempt>`, at most 35 long."""
    text = f"{CLIENT_ID_PREFIX}{key}-{_ROLE_CODES[role]}{number}-{attempt}"
    assert len(text) <= 35, f"client id too long: {text}"
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOrderId:
    """What a client id of ours says."""

    key: str  # of the cycle; later cycles have keys that sort behind it
    role: Role
    number: int
    attempt: int


def parse_client_order_id(text: str) -> ClientOrderId | None:
    """Return what a client id says; None: it is not one of ours."""
    found = _CLIENT_ID.fullmatch(text)
    if found is None:
        return None
    key, code, number, attempt = found.groups()
    return ClientOrderId(key=key, role=_ROLES[code], number=int(number), attempt=int(attempt))
