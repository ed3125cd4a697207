"""What can happen in a simulated history, as values that can be written to a file and read again.

A history is what it was drawn from (seed, symbol, exchange) and every disturbance in order. Played
again it is the same story, to the last digit; with events left out it is another one.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from core.clients.memory_store import Moment as StoreMoment
from core.domain.cycle import OperatorAction
from core.domain.guards import NO_GUARDS, Guards
from core.domain.settings import CycleSettings, OnHedgeFailed
from simulation.faults import FaultKind
from simulation.loop import START_MS
from simulation.stage import Moment

VERSION: Final = 1


class HistoryError(Exception):
    """A file that is not a history; the text is one line for the person who named it."""


class Wait(msgspec.Struct, frozen=True, tag="wait"):
    """Time passes."""

    ms: int


class Alert(msgspec.Struct, frozen=True, tag="alert"):
    """An alert arrives; the API that takes it may die so long after."""

    settings: CycleSettings
    dies_after_ms: int | None = None


class Trade(msgspec.Struct, frozen=True, tag="trade"):
    """Somebody else trades."""

    price: Decimal
    quantity: Decimal


class Liquidity(msgspec.Struct, frozen=True, tag="liquidity"):
    """From now on takers find so much at most; None: all they ask for."""

    quantity: Decimal | None


class Disturb(msgspec.Struct, frozen=True, tag="disturb"):
    """Something happens to the next requests of a kind; the fields are those of `Fault`."""

    kind: FaultKind
    method: str = ""
    path: str = ""
    client_id: str = ""
    count: int = 1
    delay_ms: int = 0
    status: int = 400
    body: str = ""


class NewWeather(msgspec.Struct, frozen=True, tag="weather"):
    """Account events come late, twice, in another order, or not at all."""

    low_ms: int
    high_ms: int
    keeps_order: bool
    doubled: float
    lost: float


class BreakOff(msgspec.Struct, frozen=True, tag="break_off"):
    """Both streams are lost for a while."""

    ms: int


class Lag(msgspec.Struct, frozen=True, tag="lag"):
    """For a while reads are answered from how things are now."""

    ms: int


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """The monitor is killed, and started again after a while."""

    down_ms: int


class KillSoon(msgspec.Struct, frozen=True, tag="kill_soon"):
    """The monitor dies within one of its next steps."""

    steps: int
    moment: Moment


class LoseDatabase(msgspec.Struct, frozen=True, tag="lose_database"):
    """The next transactions of a kind fail, before their commit or during it."""

    operation: str
    count: int
    moment: StoreMoment


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """The operator asks for something."""

    action: OperatorAction


class CancelByHand(msgspec.Struct, frozen=True, tag="cancel_by_hand"):
    """A person cancels the open order whose client id has this part, e.g. `-tp0-`."""

    order: str


class Expire(msgspec.Struct, frozen=True, tag="expire"):
    """The exchange ends the open order whose client id has this part."""

    order: str
    is_self_trade: bool


class TradeByHand(msgspec.Struct, frozen=True, tag="trade_by_hand"):
    """A person places an order, by MARKET or, with a price, a limit."""

    side: str
    position_side: str
    quantity: Decimal
    price: Decimal | None = None


class Fund(msgspec.Struct, frozen=True, tag="fund"):
    """Time passes until the next full hour, when funding is settled."""

    rate: Decimal


class Deleverage(msgspec.Struct, frozen=True, tag="deleverage"):
    """The exchange takes a part of a side (ADL)."""

    side: str
    quantity: Decimal


class Liquidate(msgspec.Struct, frozen=True, tag="liquidate"):
    """The exchange takes everything."""


class Haunt(msgspec.Struct, frozen=True, tag="haunt"):
    """The exchange executes once more an order of the newest cycle that was believed over."""

    order: str
    quantity: Decimal


class Freeze(msgspec.Struct, frozen=True, tag="freeze"):
    """One of the account's monitors is frozen, with what it has in hand, and thawed later."""

    monitor: int
    ms: int


class SetDatabaseClock(msgspec.Struct, frozen=True, tag="set_database_clock"):
    """The database's clock is set ahead, or back."""

    ms: int


class SlowDatabase(msgspec.Struct, frozen=True, tag="slow_database"):
    """For a while every transaction takes so long to arrive, and its answer as long again."""

    latency_ms: int
    ms: int


class ThrowSwitch(msgspec.Struct, frozen=True, tag="throw_switch"):
    """A person throws the account's kill switch, or takes it back."""

    is_on: bool


class ClearUp(msgspec.Struct, frozen=True, tag="clear_up"):
    """Nothing goes wrong for a while; then everything has to be in its place."""


class End(msgspec.Struct, frozen=True, tag="end"):
    """The weather clears, the operator closes what is open, people take home what is theirs."""


FromOutside = Ask | CancelByHand | Expire | TradeByHand | Fund | Deleverage | Liquidate | Haunt
OfOneSymbol = (
    Wait
    | Alert
    | Trade
    | Liquidity
    | Disturb
    | NewWeather
    | BreakOff
    | Lag
    | Kill
    | KillSoon
    | LoseDatabase
    | FromOutside
    | ClearUp
    | End
)


class On(msgspec.Struct, frozen=True, tag="on"):
    """In an account of several symbols, what happens to one of them."""

    symbol: str
    event: OfOneSymbol


OfAccount = On | Freeze | SetDatabaseClock | SlowDatabase | ThrowSwitch
Event = OfOneSymbol | OfAccount


class History(msgspec.Struct, frozen=True, kw_only=True):
    """One seed's story: the exchange it plays on, and what happens.

    With `symbols` it is an account's, whose monitors hold leases; else one symbol's, without them.
    """

    version: int = VERSION
    seed: int
    symbol: str
    symbols: tuple[str, ...] = ()
    monitors: int = 0
    guards: Guards = NO_GUARDS
    min_liquidation_distance: Decimal | None = None
    start_ms: int = START_MS
    on_hedge_failed: OnHedgeFailed = OnHedgeFailed.HOLD
    options: Mapping[str, Any] = {}  # of `paper.world.World`; amounts as text
    events: tuple[Event, ...] = ()


def save(history: History, path: Path, *, why: Sequence[str] = ()) -> None:
    """Write a history, one event a line, so that a person can read it and take lines out.

    `why` are lines for people, kept beside the history and not read again.
    """
    head = msgspec.to_builtins(history)
    events = [msgspec.json.encode(event).decode() for event in head.pop("events")]
    fields = [f'"why": {msgspec.json.encode(list(why)).decode()}'] if why else []
    fields += [f'"{name}": {msgspec.json.encode(value).decode()}' for name, value in head.items()]
    lines = ",\n    ".join(events)
    text = "{\n  " + ",\n  ".join([*fields, f'"events": [\n    {lines}\n  ]']) + "\n}\n"
    path.write_text(text, encoding="utf-8")


def load(path: Path) -> History:
    """Read a history. Raises HistoryError, saying what is wrong with the file."""
    try:
        history = msgspec.json.decode(path.read_bytes(), type=History)
    except OSError as error:
        raise HistoryError(f"{path}: {error.strerror}") from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise HistoryError(f"{path}: not a history of a simulation: {error}") from error
    if history.version != VERSION:
        raise HistoryError(f"{path}: version {history.version}, this program reads {VERSION}")
    return history
