"""Scheduled work as plain coroutines: no server is needed to run one, and none of them trades.

Each opens what it needs and closes it again. They have a small share of the exchange's limits and
wait where it is used up: what watches positions comes first. `deployments.py` gives them to
Prefect, `scheduled.py` to people.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Final

import structlog

from config import Settings
from core.account_picture import AccountPicture, read_account
from core.clients.binance import BinanceGateway
from core.clients.binance_rest import BinanceRest
from core.clients.db_async import make_engine
from core.clients.patient_rest import PatientRest
from core.clients.sql_history import Forgotten, SqlHistory
from core.clients.sql_notices import keeping
from core.clients.sql_store import SqlCycleStore
from core.daily_report import DailyReport, daily_report
from core.domain.cycle import CLIENT_ID_PREFIX, Cycle
from core.errors import RequestRefused
from core.ports import IncomeRecord
from core.reconciliation import ExchangeBooks, Finding, as_alarms, findings
from flows.notices import make_notices
from flows.symbol_rules import Listed, store_listed, store_own

CHECKED_DAYS: Final = 3
# The exchange lists income of three months; of an older cycle the rest is checked.
MOST_DAYS: Final = 89
SHARE_PERCENT = 20  # of the exchange's limits
LOOK_AGAIN_AFTER_S: Final = 10.0
_PAUSE_S: Final = 0.1  # between two batches: others write, too
_DAY: Final = timedelta(days=1)
_DAY_MS: Final = 24 * 3600 * 1000
_CLOCKS_MAY_DIFFER_MS: Final = 60_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a deep check looked at, and every difference that two looks showed."""

    symbols: tuple[str, ...]
    cycles: int
    fills: int  # that the exchange lists
    findings: tuple[Finding, ...]
    refused: tuple[str, ...] = ()  # symbols that the exchange does not tell about, each with why

    def as_text(self) -> str:
        """Return what a person reads."""
        what = f"{len(self.symbols)} symbols, {self.cycles} cycles, {self.fills} executions"
        lines = [f"{x.symbol} {x.kind}: {x.text}" for x in self.findings]
        lines += [f"not checked: {text}" for text in self.refused]
        return "\n".join((f"{what}: {len(self.findings)} differences", *lines)) + "\n"


async def refresh_symbols(settings: Settings) -> Listed:
    """Store what the exchange lists now: rules of all perpetuals, fees of those in SYMBOLS."""
    async with _gateway(settings) as gateway, _store(settings) as store:
        listed = await store_listed(gateway, store, settings.symbols)
        own = () if listed.unknown else sorted(set(settings.symbols) - set(listed.unlisted))
        for symbol in own:
            await store_own(gateway, store, symbol)
    log.info("rules stored", listed=listed.count, unlisted=",".join(listed.unlisted))
    return listed


async def check_deeply(
    settings: Settings,
    *,
    days: int = CHECKED_DAYS,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Checked:
    """Compare the exchange's books of the last days with the database, and raise alarms.

    A difference counts once a second look shows the same: the monitor may be writing meanwhile.
    """
    async with _gateway(settings) as gateway, _store(settings) as store:
        check = _DeepCheck(gateway, store, settings, days=days)
        checked = await check.look()
        if checked.findings:
            await wait(LOOK_AGAIN_AFTER_S)
            seen = await check.look({finding.symbol for finding in checked.findings})
            confirmed = tuple(x for x in checked.findings if x in seen.findings)
            checked = replace(checked, findings=confirmed)
        for symbol, alarm in as_alarms(checked.findings, at_ms=gateway.now_ms()):
            await store.raise_alarm(symbol, alarm)
    log.info("deep check", symbols=len(checked.symbols), findings=len(checked.findings))
    return checked


async def report_day(settings: Settings, *, day: date) -> DailyReport:
    """Return what the cycles that ended on this UTC day earned."""
    async with _history(settings) as history:
        start_ms = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
        ended = await history.ended_cycles(start_ms=start_ms, end_ms=start_ms + _DAY_MS)
    return daily_report(day, ended)


async def forget_old(settings: Settings, *, now: datetime) -> Forgotten:
    """Delete, in small batches, what RETENTION_DAYS says is not kept any longer.

    It may be cut off anywhere; the next run goes on. Cycles, orders, fills and alarms stay.
    """
    forgotten = Forgotten()
    if not settings.retention_days:
        return forgotten
    before_ms = int((now - settings.retention_days * _DAY).timestamp() * 1000)
    async with _history(settings) as history:
        while journals := await history.old_journals(ended_before_ms=before_ms):
            for journal in journals:
                forgotten += await _all_of(partial(history.forget, journal))
        forget_webhooks = partial(history.forget_webhooks, received_before_ms=before_ms)
        forgotten += await _all_of(forget_webhooks)
    log.info("old rows forgotten", facts=forgotten.facts, webhooks=forgotten.webhooks)
    return forgotten


async def _all_of(forget: Callable[[], Awaitable[Forgotten]]) -> Forgotten:
    """Forget batch by batch until there is none."""
    forgotten = Forgotten()
    while not (batch := await forget()).is_nothing:
        forgotten += batch
        await asyncio.sleep(_PAUSE_S)
    return forgotten


def described_listed(listed: Listed) -> str:
    """Return one line about a refresh of the rules."""
    if listed.unknown:
        names = ", ".join(listed.unknown)
        return f"SYMBOLS: {names} is not listed by the exchange as a perpetual; nothing was stored"
    missing = f"; not listed any more: {', '.join(listed.unlisted)}" if listed.unlisted else ""
    return f"rules of {listed.count} perpetuals stored{missing}"


def described_forgotten(forgotten: Forgotten) -> str:
    """Return one line about what the retention deleted."""
    return (
        f"deleted: {forgotten.facts} facts and the text of {forgotten.payloads} alerts of ended "
        f"cycles, {forgotten.webhooks} alerts that began none"
    )


class _DeepCheck:
    """Reads both books, as often as it is asked to."""

    def __init__(
        self, gateway: BinanceGateway, store: SqlCycleStore, settings: Settings, *, days: int
    ) -> None:
        self._gateway = gateway
        self._store = store
        self._settings = settings
        self._days = days

    async def look(self, only: Collection[str] | None = None) -> Checked:
        """Compare everything, or only these symbols."""
        picture = await read_account(self._gateway, self._gateway)
        ended_after_ms = picture.asked_at_ms - self._days * _DAY_MS
        symbols = await self._symbols(picture, ended_after_ms) if only is None else sorted(only)
        cycles = fills = 0
        found: list[Finding] = []
        refused: list[str] = []
        for symbol in symbols:
            of_symbol = await self._store.load_open([symbol], ended_after_ms=ended_after_ms)
            try:
                books = await self._books(symbol, of_symbol, ended_after_ms)
            except RequestRefused as error:  # delisted; the others are checked all the same
                refused.append(f"{symbol}: {error}")
                continue
            # Once more, now that the exchange has told: what it told may have been stored since.
            of_symbol = await self._store.load_open([symbol], ended_after_ms=ended_after_ms)
            found += findings(books, of_symbol)
            cycles, fills = cycles + len(of_symbol), fills + len(books.fills)
        return Checked(
            symbols=tuple(symbols),
            cycles=cycles,
            fills=fills,
            findings=tuple(found),
            refused=tuple(refused),
        )

    async def _symbols(self, picture: AccountPicture, ended_after_ms: int) -> tuple[str, ...]:
        """Return all that Tradebox has, or may have, something to do with."""
        async with _history(self._settings) as history:
            traded = await history.symbols_since(ended_after_ms)
        with_orders = {
            symbol
            for symbol, orders in picture.orders.items()
            if any(order.client_order_id.startswith(CLIENT_ID_PREFIX) for order in orders)
        }
        listed = set(self._settings.symbols) & picture.positions.keys()
        return tuple(sorted(listed | set(traded) | with_orders))

    async def _books(
        self, symbol: str, cycles: tuple[Cycle, ...], ended_after_ms: int
    ) -> ExchangeBooks:
        asked_at_ms = self._gateway.now_ms()
        # Cycles are checked as a whole, from their first execution on.
        since_ms = min([ended_after_ms, *(cycle.accepted_at_ms for cycle in cycles)])
        since_ms = max(since_ms, asked_at_ms - MOST_DAYS * _DAY_MS)
        read_from_ms = since_ms - _CLOCKS_MAY_DIFFER_MS
        fills = await self._gateway.fills(symbol, since_ms=read_from_ms, after_trade_id=None)
        income: tuple[IncomeRecord, ...] = ()
        if any(not cycle.is_open for cycle in cycles):  # the dearest read
            income = await self._gateway.income(symbol, since_ms=read_from_ms)
        # Last, because the cycles are read next, and these must be of the same moment.
        orders = await self._gateway.open_orders(symbol)
        return ExchangeBooks(
            symbol=symbol,
            since_ms=since_ms,
            asked_at_ms=asked_at_ms,
            fills=fills,
            income=income,
            position=await self._gateway.positions(symbol),
            orders=tuple(report for _, report in orders),
        )


@asynccontextmanager
async def _gateway(settings: Settings) -> AsyncIterator[BinanceGateway]:
    transport = BinanceRest(
        base_url=settings.rest_url,
        api_key=settings.api_key.get_secret_value(),
        api_secret=settings.api_secret,
        share_percent=SHARE_PERCENT,
    )
    gateway = BinanceGateway(PatientRest(transport))
    try:
        await gateway.sync_clock()
        yield gateway
    finally:
        await gateway.close()


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[SqlCycleStore]:
    notices, engine = make_notices(settings), make_engine(settings.async_url)
    store = SqlCycleStore(engine, notices=notices)
    try:
        async with keeping(engine, notices):
            yield store
    finally:
        await store.close()


@asynccontextmanager
async def _history(settings: Settings) -> AsyncIterator[SqlHistory]:
    history = SqlHistory(make_engine(settings.async_url))
    try:
        yield history
    finally:
        await history.close()
