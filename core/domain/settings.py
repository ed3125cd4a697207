"""What a cycle is asked to do (the alert, parsed) and the exchange's rules that it must obey."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class AmountType(StrEnum):
    """How `open.amount` is meant."""

    BASE = "amount"
    QUOTE = "quote"


class GridMode(StrEnum):
    """From where each level's percentage is counted."""

    STEP = "step"
    OFFSET = "offset"


class MultiplierMode(StrEnum):
    """How `mg_long` is meant: a factor, or percent added."""

    MULTIPLIER = "multiplier"
    PERCENT = "percent"


class OnHedgeFailed(StrEnum):
    """What to do when the hedge that was asked for cannot be had."""

    HOLD = "hold"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleSettings:
    """One alert's trading parameters, validated; percentages as in the payload (0.5 is 0.5 %)."""

    symbol: str
    amount_type: AmountType
    amount: Decimal  # base asset, or quote asset with AmountType.QUOTE
    leverage: int
    entry_price: Decimal | None  # the grid is laid from it instead of the fill price
    deposit: Decimal  # quote: margin that LONG may use
    extramarg: Decimal  # quote: margin set aside for the SHORT hedge; 0 is no hedge
    tp: Decimal  # %
    order_quan: int
    grid_long: tuple[Decimal, ...]  # %, one per level
    grid_mode: GridMode
    mg_long: tuple[Decimal, ...]  # × or %, one per level
    mg_mode: MultiplierMode
    trail_1: Decimal  # %, 0 is trailing off
    trail_2: Decimal  # %
    trail_step: Decimal  # %
    trail_guard: bool
    offset_short: Decimal | None  # %
    offset_pluse: Decimal | None  # %, may be negative
    sl_short: Decimal | None  # %, absolute value
    max_hedges: int
    pnl_target: Decimal  # quote
    max_loss: Decimal | None  # quote, > 0
    grid_ahead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The installation's choices, copied into each cycle: a restart cannot change them midway."""

    exit_slippage: Decimal = Decimal("0.0002")
    on_hedge_failed: OnHedgeFailed = OnHedgeFailed.HOLD
    min_liquidation_distance: Decimal | None = None  # % of the price; None: not watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """One leverage bracket: up to `notional_cap` quote, `initial_leverage` is allowed."""

    initial_leverage: int
    notional_cap: Decimal
    maintenance_rate: Decimal
    cumulative: Decimal  # quote, subtracted from the maintenance margin


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolRules:
    """Trading rules of one symbol as the exchange lists them, and the account's fee rates on it."""

    symbol: str
    base_asset: str
    quote_asset: str
    status: str  # TRADING, …
    tick_size: Decimal
    min_price: Decimal
    max_price: Decimal
    step_size: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    market_min_quantity: Decimal
    market_max_quantity: Decimal
    market_step_size: Decimal
    min_notional: Decimal
    multiplier_up: Decimal
    multiplier_down: Decimal
    maker_rate: Decimal
    taker_rate: Decimal
    brackets: tuple[Bracket, ...] = ()  # by rising cap; empty: not known

    @property
    def max_leverage(self) -> int | None:
        """Return the highest leverage any bracket allows; None while the brackets are unknown."""
        return max((b.initial_leverage for b in self.brackets), default=None)

    def notional_cap(self, leverage: int) -> Decimal | None:
        """Return the largest notional (quote) one side may have at `leverage`; None if unknown."""
        return max(
            (b.notional_cap for b in self.brackets if b.initial_leverage >= leverage), default=None
        )
