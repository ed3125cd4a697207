"""All that the engine needs from outside, as Protocols."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from core.domain.alarms import Severity
from core.domain.cycle import (
    Cycle,
    Fact,
    Fill,
    OperatorAction,
    OrderReported,
    OrderState,
    PositionChecked,
)
from core.domain.settings import SymbolRules
from core.domain.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class BestPrices:
    """The top of the book."""

    bid: Decimal
    ask: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolConfig:
    """The account's settings on one symbol."""

    leverage: int
    margin_type: str  # CROSSED or ISOLATED


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """The account's money in one asset, quote units."""

    wallet: Decimal
    available: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRecord:
    """One funding payment; positive is received."""

    transaction_id: int
    symbol: str
    amount: Decimal
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomeRecord:
    """One change of the account's money, as the exchange lists it; positive is received."""

    kind: str  # the exchange's incomeType
    transaction_id: int  # unique among those of its kind
    trade_id: int | None  # None: of no trade
    asset: str
    amount: Decimal
    time_ms: int


class Clock(Protocol):
    """The exchange's time."""

    def now_ms(self) -> int:
        """Return the exchange's clock, milliseconds UTC."""
        ...


class OrderGateway(Protocol):
    """What we may ask an exchange; Binance, the paper exchange and the simulator satisfy it.

    Every method may raise, and each error calls for a different next step:
        RequestRefused: the exchange said no; `code` says why.
        RateLimited: it was not processed; ask again after `retry_after_ms`.
        OutcomeUnknown: it may have been processed; `find` the order before asking again.
        ExchangeUnavailable: a read got no answer; nothing is known, ask again.
    Requests carry the order's `requested_at_ms` as their timestamp, so that a late one is refused.
    """

    async def place(self, symbol: str, order: OrderState) -> OrderReported:
        """Send a new order with the order's target price and quantity."""
        ...

    async def amend(self, symbol: str, order: OrderState) -> OrderReported:
        """Change a LIMIT order to its target price and target total quantity."""
        ...

    async def cancel(self, symbol: str, order: OrderState) -> OrderReported:
        """Cancel; a triggered algo order through its child order."""
        ...

    async def find(self, symbol: str, order: OrderState) -> OrderReported | None:
        """Return what became of the order; None if its record and all lists show nothing of it.

        A finished algo order is reported with its child order's totals and end.
        """
        ...

    async def open_orders(self, symbol: str | None) -> tuple[tuple[str, OrderReported], ...]:
        """Return (symbol, report) of all open ordinary and algo orders; None: of the account."""
        ...

    async def orders_since(self, symbol: str, *, since_ms: int) -> tuple[OrderReported, ...]:
        """Return all orders created since a time, whatever became of them, oldest first.

        What ended unfilled is forgotten by the exchange after some days.
        """
        ...

    async def positions(self, symbol: str) -> PositionChecked:
        """Return both sides of the symbol, also at 0; a missing row is ExchangeUnavailable."""
        ...

    async def all_positions(self) -> Mapping[str, PositionChecked]:
        """Return both sides of every symbol, also at 0; one with a missing row is left out."""
        ...

    async def fills(
        self, symbol: str, *, since_ms: int, after_trade_id: int | None
    ) -> tuple[Fill, ...]:
        """Return executions since a time or after a trade id, each with its order's client id."""
        ...

    async def balance(self, asset: str) -> Balance:
        """Return wallet and available balance of one asset."""
        ...

    async def mark_price(self, symbol: str) -> Decimal:
        """Return the mark price."""
        ...

    async def rules(self, symbol: str) -> SymbolRules:
        """Return the symbol's current rules and fee rates."""
        ...

    async def funding(self, symbol: str | None, *, since_ms: int) -> tuple[FundingRecord, ...]:
        """Return funding payments of a symbol, or of all (None), since a time, oldest first."""
        ...


class AccountGateway(OrderGateway, Protocol):
    """What the entry's checks and the monitor's start ask beyond orders."""

    async def sync_clock(self) -> None:
        """Measure the exchange's clock against ours."""
        ...

    async def all_rules(self, symbols: Sequence[str] | None) -> tuple[SymbolRules, ...]:
        """Return the rules of these symbols (None: of all perpetuals); fee rates as last read."""
        ...

    async def best_prices(self, symbol: str) -> BestPrices:
        """Return the best bid and ask."""
        ...

    async def symbol_config(self, symbol: str) -> SymbolConfig:
        """Return leverage and margin type in force."""
        ...

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Set the symbol's leverage, for both sides."""
        ...

    async def set_margin_type(self, symbol: str, margin_type: str) -> None:
        """Set CROSSED or ISOLATED; already so is success."""
        ...

    async def is_hedge_mode(self) -> bool:
        """Return whether the account keeps LONG and SHORT apart."""
        ...

    async def set_hedge_mode(self) -> None:
        """Switch the account to Hedge Mode; refused while anything is open."""
        ...

    async def all_positions_flat(self) -> bool:
        """Return whether no symbol has a position."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRequest:
    """A row of `operator_action` that waits to be carried out."""

    action_id: int
    cycle_id: int
    symbol: str
    action: OperatorAction
    asked_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to decide for one symbol; `epoch` grows with each holder."""

    symbol: str
    owner: str
    epoch: int


StepFunction = Callable[[Cycle], Step]


class CycleStore(Protocol):
    """Where cycles live. One call is one transaction; each may raise StoreUnavailable.

    CommitUnclear: the commit got no answer; nothing may be sent, the row must be read again.
    LeaseLost: another monitor holds the symbol; memory must be discarded.
    """

    async def load_open(self, symbols: Sequence[str], *, ended_after_ms: int) -> tuple[Cycle, ...]:
        """Return the open cycles of these symbols, and those ended after the given time."""
        ...

    async def update(self, cycle_id: int, step: StepFunction, *, lease: Lease | None) -> Step:
        """Lock the cycle's row, apply `step` to it, save state, facts, fills and orders, commit.

        `step` is pure and may be called again. With a lease, its epoch is checked in the same
        transaction; None (the API recording its entry's answer) is only for facts without requests.
        A step that changes nothing is not written.
        """
        ...

    async def journal(self, cycle_id: int) -> tuple[Fact, ...]:
        """Return the cycle's facts in the order in which they were applied."""
        ...

    async def acquire_lease(self, symbol: str, owner: str) -> Lease | None:
        """Take (or renew, as the same owner) the symbol's lease; None while another holds it."""
        ...

    async def renew_leases(self, leases: Sequence[Lease]) -> tuple[Lease, ...]:
        """Renew in one transaction; return those still ours."""
        ...

    async def release_lease(self, lease: Lease) -> None:
        """Give the symbol back at once."""
        ...

    async def record_checks(self, results: Mapping[Lease, bool]) -> tuple[Lease, ...]:
        """Record all symbols' checks in one transaction; return the leases that are over."""
        ...

    async def operator_requests(self, symbols: Sequence[str]) -> tuple[OperatorRequest, ...]:
        """Return the waiting operator actions of open cycles, oldest first."""
        ...

    async def finish_operator_request(self, action_id: int, result: str) -> None:
        """Record what became of an operator action."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One flow or task run, for whoever watches runs."""

    run_id: str
    flow_name: str
    task_name: str | None  # None: the flow itself
    parent_run_id: str | None
    tags: tuple[str, ...]
    started_at_ms: int
    ended_at_ms: int | None = None  # None: it just started
    state: str = "Running"  # Running, Completed, Failed
    message: str = ""


class Topic(StrEnum):
    """What a notice is about; people choose how much of it they want to hear."""

    ALARM = "alarm"
    CYCLE = "cycle"  # one was opened or closed; the summary of a day
    DETAIL = "detail"  # what happens within a cycle: a level, a hedge


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that people may want to hear of at once."""

    kind: str  # of the alarm, or what happened
    symbol: str
    cycle: str | None  # its key; None: of the symbol as such
    title: str  # one short line
    text: str  # what happened, and what to do
    severity: Severity | None  # of the alarm; None: it is none
    at_ms: int
    topic: Topic = Topic.ALARM


class Notifier(Protocol):
    """How people hear of it: mail, messenger, … Called once what happened is committed.

    It is called on a thread of its own, never on the event loop, for one notice at a time: it may
    take its time and may raise, trading waits for neither.
    """

    def notify(self, notice: Notice) -> None:
        """Deliver one notice."""
        ...


class Reporter(Protocol):
    """Where runs are reported. Must return at once and never raise."""

    def report(self, run: RunReport) -> None:
        """Take note of a start or an end."""
        ...
