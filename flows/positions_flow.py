"""Opening and closing: a LONG position for an alert, the request to close, and all other news.

`open_long_position` is the API's whole part in a cycle: check, prepare the symbol, write the
entry's intent down, send it once, write down what came of it. It resolves nothing: an entry without
outcome, or refused for the moment, is the monitor's.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from core.clients.alert_store import AlertStore
from core.domain.cycle import (
    Cycle,
    EndedBy,
    Fact,
    FillsRead,
    Kind,
    OperatorAction,
)
from core.domain.guards import NO_GUARDS, Guards
from core.domain.settings import CycleSettings, Policy, SymbolRules
from core.domain.step import take_step
from core.domain.webhook import AlertContent
from core.engine import Desk
from core.entry_checks import (
    CONDITIONAL_ORDERS_NEEDED,
    EntryPicture,
    EntryPlan,
    begun_cycle,
    plan_entry,
    require_hedge_mode,
)
from core.errors import (
    AlertInvalid,
    CommitUnclear,
    ExchangeError,
    FieldError,
    OutcomeUnknown,
    RequestRefused,
    StoreUnavailable,
)
from core.grid import Grid
from core.ports import AccountGateway, Clock, SymbolConfig
from core.sending import carry_out
from core.symbol_reads import fills_since_ms
from flows.runtime import flow, tag, task
from flows.tasks import desk_tags, record_and_decide, send_request

CROSSED: Final = "CROSSED"
# Reads that cost much of the request budget and change seldom. An order that comes in between is
# refused by the exchange by name (-4061, -4045): then the answer is less kind, not wrong.
_HEDGE_MODE_FOR_MS: Final = 600_000
_CONDITIONAL_ORDERS_FOR_MS: Final = 60_000
_RECORD_AGAIN_AFTER_S: Final = (0.2, 0.5, 1.0, 2.0)
_KEY_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # nothing that looks like something else
_KEY_EPOCH_S: Final = 1_577_836_800  # 2020: thirty bits of seconds last until 2054

_log = structlog.get_logger(__name__)


def new_cycle_key(now_ms: int) -> str:
    """Return a key that sorts by time: six characters of seconds, eight of chance.

    It must never repeat: the exchange's client ids begin with it.
    """
    number = (now_ms // 1000 - _KEY_EPOCH_S) % 2**30 << 40 | secrets.randbits(40)
    return "".join(_KEY_ALPHABET[number >> shift & 31] for shift in range(65, -1, -5))


@dataclass(slots=True, kw_only=True)
class Entries:
    """What entries are made with and by; composed once per process."""

    gateway: AccountGateway
    store: AlertStore
    clock: Clock  # the exchange's
    policy: Policy
    margin_type: str | None  # None: left as it is
    lack_of_funds_warns: bool
    guards: Guards = NO_GUARDS
    new_key: Callable[[int], str] = new_cycle_key
    _hedge_mode_read_at_ms: int | None = None
    _conditional_orders: tuple[int, int] | None = None  # count, when it was read

    async def is_hedge_mode(self) -> bool:
        """Return whether the account is in Hedge Mode; believed for a while once it was."""
        now = self.clock.now_ms()
        read_at = self._hedge_mode_read_at_ms
        if read_at is not None and now < read_at + _HEDGE_MODE_FOR_MS:
            return True
        is_it = await self.gateway.is_hedge_mode()
        self._hedge_mode_read_at_ms = now if is_it else None
        return is_it

    async def conditional_orders(self) -> int:
        """Return how many conditional orders the account has open, at most a minute old."""
        now = self.clock.now_ms()
        known = self._conditional_orders
        if known is not None and now < known[1] + _CONDITIONAL_ORDERS_FOR_MS:
            return known[0]
        reports = await self.gateway.open_orders(None)
        count = sum(report.kind is Kind.STOP_MARKET for _, report in reports)
        self._conditional_orders = (count, now)
        return count

    def cycle_began(self, needed: int) -> None:
        """Count the conditional orders that a new cycle is going to place."""
        if self._conditional_orders is not None:
            count, read_at = self._conditional_orders
            self._conditional_orders = (count + needed, read_at)


@dataclass(slots=True, kw_only=True)
class EntryOrdered:
    """One alert's entry, and how far it has come, for whoever waits for the flow."""

    webhook_id: int
    settings: CycleSettings
    rules: SymbolRules
    warnings: tuple[str, ...] = ()  # of the alert itself
    is_beginning: bool = False  # the transaction that commits the intent may have started
    cycle: Cycle | None = None  # as last known; None: the intent is not known to be committed
    grid: Grid | None = None
    content: AlertContent | None = None  # None: only the alert's own id tells it from others


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What came of an entry while it was watched from here."""

    cycle: Cycle
    grid: Grid  # as laid from the fill; before that, as planned
    warnings: tuple[str, ...]


def _entry_tags(entries: Entries, ordered: EntryOrdered) -> tuple[str, ...]:
    return (f"symbol:{ordered.settings.symbol}", f"webhook:{ordered.webhook_id}")


@flow(tags_of=_entry_tags)
async def open_long_position(entries: Entries, ordered: EntryOrdered) -> Opened:
    """Check, prepare the symbol, commit the entry's intent, send it; return what is known then.

    Raises:
        SymbolInUse, AlertInvalid: the checks refused it; nothing was traded.
        ExchangeError: before the intent, the exchange did not answer; nothing was traded.
        RequestRefused: it refused the symbol's settings, or the entry for good.
        StoreError: what `AlertStore.begin_cycle` raises.
    """
    picture = await read_picture(entries, ordered)
    plan = plan_entry(
        ordered.settings,
        ordered.rules,
        picture,
        policy=entries.policy,
        lack_of_funds_warns=entries.lack_of_funds_warns,
    )
    ordered.grid = plan.grid
    ordered.warnings = (*ordered.warnings, *plan.warnings)
    await prepare_symbol(entries, ordered.settings, picture.config)
    cycle = await begin_cycle(entries, ordered, plan)
    tag(f"cycle:{cycle.key}")
    cycle = await send_entry(entries, cycle)
    ordered.cycle, ordered.grid = cycle, cycle.grid or plan.grid
    _require_not_refused(cycle)
    return Opened(cycle=cycle, grid=ordered.grid, warnings=ordered.warnings)


@task
async def read_picture(entries: Entries, ordered: EntryOrdered) -> EntryPicture:
    """Read in parallel what the checks look at (the account's mode first: it is mostly known)."""
    gateway, symbol = entries.gateway, ordered.settings.symbol
    require_hedge_mode(await entries.is_hedge_mode())
    try:
        async with asyncio.TaskGroup() as reads:
            prices = reads.create_task(gateway.best_prices(symbol))
            position = reads.create_task(gateway.positions(symbol))
            orders = reads.create_task(gateway.open_orders(symbol))
            conditional = reads.create_task(entries.conditional_orders())
            balance = reads.create_task(gateway.balance(ordered.rules.quote_asset))
            config = reads.create_task(gateway.symbol_config(symbol))
            margin = reads.create_task(entries.store.open_cycles_margin())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None  # one that says why is enough
    margin_type = entries.margin_type or config.result().margin_type
    return EntryPicture(
        prices=prices.result(),
        config=config.result(),
        is_cross_margin=margin_type == CROSSED,
        position=position.result(),
        open_orders=tuple(report for _, report in orders.result()),
        conditional_orders=conditional.result(),
        balance=balance.result(),
        open_cycles_margin=margin.result(),
    )


@task
async def prepare_symbol(entries: Entries, settings: CycleSettings, config: SymbolConfig) -> None:
    """Set margin type and leverage where they differ, and read them back."""
    gateway, symbol = entries.gateway, settings.symbol
    if _fits(config, entries, settings):
        return
    try:
        if entries.margin_type not in (None, config.margin_type):
            await gateway.set_margin_type(symbol, entries.margin_type or config.margin_type)
        if config.leverage != settings.leverage:
            await gateway.set_leverage(symbol, settings.leverage)
    except OutcomeUnknown:
        pass  # the read below says what became of it
    config = await gateway.symbol_config(symbol)
    if _fits(config, entries, settings):
        return
    shown = f"{config.leverage} and {config.margin_type}"
    raise AlertInvalid(
        [
            FieldError(
                field="open.leverage",
                value=str(settings.leverage),
                reason=f"the exchange keeps the symbol at {shown} although it was set",
            )
        ]
    )


@task
async def begin_cycle(entries: Entries, ordered: EntryOrdered, plan: EntryPlan) -> Cycle:
    """Commit the cycle with its entry's intent."""
    now_ms = entries.clock.now_ms()
    cycle = begun_cycle(
        ordered.settings,
        ordered.rules,
        quantity=plan.quantity,
        policy=entries.policy,
        key=entries.new_key(now_ms),
        now_ms=now_ms,
    )
    ordered.is_beginning = True
    ordered.cycle = await entries.store.begin_cycle(
        ordered.webhook_id,
        cycle,
        warnings=ordered.warnings,
        content=ordered.content,
        guards=entries.guards,
    )
    entries.cycle_began(needed=CONDITIONAL_ORDERS_NEEDED)
    return ordered.cycle


@task
async def send_entry(entries: Entries, cycle: Cycle) -> Cycle:
    """Send the entry, once, and record what came of it; return the cycle then."""
    entry = cycle.entry_order
    assert entry is not None, "a cycle begins with its entry"
    fact = await carry_out(entries.gateway, entries.clock, cycle.symbol, entry)
    cycle = await _recorded(entries, cycle, fact)
    return cycle if cycle.ledger.is_priced else await _priced(entries, cycle)


async def _priced(entries: Entries, cycle: Cycle) -> Cycle:
    """Return the cycle with its fills read: an order's answer tells how much, not at what price."""
    try:
        fills = await entries.gateway.fills(
            cycle.symbol, since_ms=fills_since_ms(cycle), after_trade_id=None
        )
    except ExchangeError as error:
        _log.info("fills not read", cycle=cycle.key, error=str(error))
        return cycle  # the monitor asks, too
    if not fills:
        return cycle
    return await _recorded(entries, cycle, FillsRead(at_ms=entries.clock.now_ms(), fills=fills))


async def _recorded(entries: Entries, cycle: Cycle, fact: Fact) -> Cycle:
    """Record the fact; where the database stays away, the monitor finds it out by itself."""
    for pause_s in (*_RECORD_AGAIN_AFTER_S, None):
        try:
            step = await entries.store.update(
                cycle.cycle_id,
                lambda c: take_step(c, (fact,), now_ms=entries.clock.now_ms(), may_request=False),
                lease=None,
            )
        except (StoreUnavailable, CommitUnclear) as error:
            _log.warning("entry's outcome not recorded", cycle=cycle.key, error=str(error))
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        else:
            return step.cycle
    return take_step(cycle, (fact,), now_ms=entries.clock.now_ms(), may_request=False).cycle


def _require_not_refused(cycle: Cycle) -> None:
    """Raise what the exchange said, if the cycle is over before it began."""
    entry = cycle.entry_order
    if cycle.is_open or entry is None or entry.ended_by is not EndedBy.REFUSED:
        return
    raise RequestRefused(code=entry.refusal_code or 0, text=entry.refusal_text, http_status=400)


def _fits(config: SymbolConfig, entries: Entries, settings: CycleSettings) -> bool:
    has_margin_type = entries.margin_type in (None, config.margin_type)
    return has_margin_type and config.leverage == settings.leverage


def _close_tags(
    store: AlertStore,
    symbol: str,
    *,
    close_long: bool,
    close_short: bool,
    asked_by: str,
    asked_at_ms: int,
    is_signal: bool = False,
) -> tuple[str, ...]:
    return (f"symbol:{symbol}",)


@flow(tags_of=_close_tags)
async def close_positions(
    store: AlertStore,
    symbol: str,
    *,
    close_long: bool,
    close_short: bool,
    asked_by: str,
    asked_at_ms: int,
    is_signal: bool = False,
) -> int | None:
    """Ask the monitor to close sides of the symbol's cycle (rule 9); return the request's number.

    None: no cycle is open on the symbol. `is_signal` says that an alert asks, not a person.
    """
    assert close_long or close_short, "nothing is asked for"
    cycle = await store.open_cycle(symbol)
    if cycle is None:
        return None
    tag(f"cycle:{cycle.key}")
    action = OperatorAction.SIGNAL_CLOSE if is_signal else OperatorAction.CLOSE
    if not (close_long and close_short):
        action = OperatorAction.CLOSE_LONG if close_long else OperatorAction.CLOSE_SHORT
    return await store.ask_operator(
        cycle.cycle_id, action, asked_by=asked_by, asked_at_ms=asked_at_ms
    )


@flow(tags_of=desk_tags)
async def positions_flow(desk: Desk, facts: tuple[Fact, ...]) -> None:
    """Record prices, checks and what people ask for, then send each request that follows."""
    for order in await record_and_decide(desk, facts):
        desk.keep(send_request.submit(desk, order))
