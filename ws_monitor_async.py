"""The monitor: streams and checks become facts, facts become flows. It decides nothing itself.

    python ws_monitor_async.py --symbols BTCUSDT,ETHUSDT

One process watches any number of symbols; each symbol has a lease in the database, so that two
monitors never decide for the same one. Composition is in `main`, everything that runs in `Monitor`.
"""

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from config import Settings, get_settings, parse_symbols
from core.account_checks import AccountChecks
from core.account_news import AccountNews
from core.clients.binance import BinanceGateway
from core.clients.binance_stream import AccountStream, MarketStream
from core.clients.db_async import make_engine
from core.clients.db_notify import Notifications
from core.clients.notices import Notices
from core.clients.sql_notices import keeping
from core.clients.sql_store import SqlCycleStore
from core.clients.sql_summaries import SqlSummaries
from core.domain.band import Band
from core.domain.cycle import AccountRefused, OperatorAsked
from core.domain.step import Step
from core.domain.strategy import Band as Limits
from core.engine import Desk, Surroundings
from core.errors import (
    ConfigInvalid,
    RequestRefused,
    StartRefused,
    StoreError,
)
from core.lease_keeper import LeaseKeeper, load_cycles
from core.logging_setup import secret_texts, set_up_logging
from core.narration import narrate
from core.patience import is_called_within, until_it_works
from core.ports import Clock
from flows.daily_summary import tell_each_day
from flows.gateway import make_gateway
from flows.heartbeat import beat
from flows.news import handle_by_flow
from flows.notices import make_notices
from flows.reports import reporting, start_error_reports
from flows.watched_rules import WatchedRules

log = structlog.get_logger(__name__)

POLL_EVERY_S = 0.5  # new cycles and operator's requests
POLL_LISTENING_S = 5.0  # the same while the database tells of them
CHECK_EVERY_S = 60.0
CHECK_AGAIN_S = 5.0
SHOW_PRICE_EVERY_S = 2.0
SYNC_CLOCK_EVERY_S = 1800.0
WIND_DOWN_S = 4.5  # a request's time-out and a little
_BEGIN_AGAIN_S = 1.0
_OPERATOR_WAITS_S = 10.0


def check_pause_s(failed: int) -> float:
    """Return how long after a check the next one is due; `failed`: so many in a row got no answer.

    Nobody is watched until one succeeds, so it is made again soon; then later and later, or one
    symbol that never answers (delisted) would use up the budget that all are checked with.
    """
    if not failed:
        return CHECK_EVERY_S
    return min(CHECK_EVERY_S, CHECK_AGAIN_S * 2.0 ** min(failed - 1, 10))


class Monitor:
    """Watches symbols: one desk each, two streams and the periodic checks for all of them."""

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        gateway: BinanceGateway,
        store: SqlCycleStore,
        notifications: Notifications,
        settings: Settings,
        owner: str,
    ) -> None:
        self.symbols = tuple(symbols)
        self._gateway = gateway
        self._store = store
        self._notifications = notifications
        self._settings = settings
        self._desks: dict[str, Desk] = {}
        self._bands = {symbol: Band() for symbol in symbols}
        self._check_now = asyncio.Event()
        self._poll_now = asyncio.Event()
        self.ready = asyncio.Event()  # set once every symbol is watched
        self._market = MarketStream(
            base_url=settings.stream_url,
            bands=self._bands,
            on_trade=self._traded,
            on_connect=self._check_now.set,
            on_disconnect=self._stream_lost,
            silence_seconds=settings.stream_timeout,
        )
        self.rules = WatchedRules(
            symbols,
            gateway=gateway,
            store=store,
            on_unlisted=self._market.leave_out,
            is_in_use=self._has_cycle,
        )
        self._checks = AccountChecks(
            gateway=gateway,
            store=store,
            clock=gateway,
            desks=self._desks,
            is_heard=lambda symbol: self._account.is_connected and self._market.is_heard(symbol),
        )
        self._news = AccountNews(
            desks=self._desks,
            is_connected=lambda: self._account.is_connected,
            reconnect=lambda reason: self._account.reconnect(reason),
            check=self._checks.run_for,
            check_all_soon=self._check_now.set,
        )
        self._account = AccountStream(
            base_url=settings.stream_url,
            keys=gateway,
            clock=gateway,
            on_event=self._news.take,
            on_connect=self._news.connected,
            on_disconnect=self._stream_lost,
            keep_key_seconds=settings.user_timeout,
        )
        self._leases = LeaseKeeper(
            store=store,
            owner=owner,
            desks=self._desks,
            on_start=self._desk_started,
            on_end=lambda symbol: self._bands[symbol].set(None, None),
        )
        self._around = Surroundings(
            gateway=gateway,
            store=store,
            clock=gateway,
            handler=handle_by_flow,
            on_band=self._set_band,
            last_price=lambda symbol: self._bands[symbol].last_price,
            on_step=self._step_taken,
            on_unknown_cycle=lambda symbol, name: self._poll_now.set(),
            may_send=self._leases.may_send,
        )

    async def run(self) -> None:
        """Watch until cancelled. Raises StartRefused where watching makes no sense."""
        await until_it_works("exchange clock", self._gateway.sync_clock)
        await until_it_works("rules", self.rules.refresh)
        await until_it_works("hedge mode", self._require_hedge_mode)
        self._account.start()
        self._market.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                for symbol in self.symbols:
                    watch = self._leases.watch(symbol, self._around)
                    tasks.create_task(watch, name=f"watch {symbol}")
                for name, work in (
                    ("leases", self._leases.renew),
                    ("poll", self._poll),
                    ("notifications", partial(self._notifications.run, self._look_for)),
                    ("checks", self._check),
                    ("shown prices", self._show_prices),
                    ("rules", self.rules.refresh_daily),
                    ("fees", self.rules.read_fees),
                    ("clock", self._keep_clock),
                ):
                    tasks.create_task(self._keep_up(name, work), name=name)
                tasks.create_task(self._market.wait(), name="market stream")
                tasks.create_task(self._account.wait(), name="account stream")
        finally:
            await self._market.close()
            await self._account.close()

    async def _keep_up(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do for ever what serves all symbols: an error that nobody foresaw ends no watch."""
        while True:
            try:
                await work()
            except Exception:  # the top of a task
                log.exception("work stopped; begun again", work=name)
            await asyncio.sleep(_BEGIN_AGAIN_S)

    async def wind_down(self) -> None:
        """Decide nothing new, and record the answers to what is under way."""
        desks = tuple(self._desks.values())
        await asyncio.gather(*(desk.wind_down(WIND_DOWN_S) for desk in desks))

    # --- Start ---

    async def _require_hedge_mode(self) -> None:
        if await self._gateway.is_hedge_mode():
            return
        if not await self._gateway.all_positions_flat() or await self._gateway.open_orders(None):
            raise StartRefused(
                "the account is in one-way mode and has positions or open orders; close them, or "
                "switch it to Hedge Mode yourself (Binance: Preferences, Position Mode)"
            )
        try:
            await self._gateway.set_hedge_mode()
        except RequestRefused as error:
            raise StartRefused(f"the account cannot be switched to Hedge Mode: {error}") from error
        log.info("account switched to Hedge Mode")

    def _has_cycle(self, symbol: str) -> bool:
        desk = self._desks.get(symbol)
        return desk is not None and desk.open_cycle is not None

    async def _keep_clock(self) -> None:
        while True:
            await asyncio.sleep(SYNC_CLOCK_EVERY_S)
            await until_it_works("exchange clock", self._gateway.sync_clock)

    def _desk_started(self, desk: Desk) -> None:
        self._check_now.set()
        self._poll_now.set()  # requests may wait, and cycles may have begun since they were read

    # --- Periodic work ---

    async def _poll(self) -> None:
        """Find new cycles and what the operator asks for."""
        while True:
            is_told = self._notifications.is_listening
            pause = POLL_LISTENING_S if is_told else POLL_EVERY_S
            await is_called_within(pause, self._poll_now)
            if not self._desks:
                continue
            try:
                for cycle in await load_cycles(self._store, self._gateway, tuple(self._desks)):
                    desk = self._desks.get(cycle.symbol)
                    if desk is not None and not desk.knows(cycle.cycle_id):
                        log.info("cycle taken on", symbol=cycle.symbol, cycle=cycle.key)
                        desk.adopt(cycle)
                await self._carry_out_operator_requests()
            except StoreError as error:
                log.warning("database away", error=str(error))

    def _look_for(self, symbol: str | None) -> None:
        """Look at once at what the database tells of; None: at all, something may be untold."""
        if symbol is None or symbol in self._desks:
            self._poll_now.set()

    async def _carry_out_operator_requests(self) -> None:
        for request in await self._store.operator_requests(tuple(self._desks)):
            desk = self._desks.get(request.symbol)
            if desk is None or not desk.knows(request.cycle_id):
                continue
            log.info("operator asked", symbol=request.symbol, action=request.action)
            fact = OperatorAsked(at_ms=self._gateway.now_ms(), action=request.action)
            try:
                async with asyncio.timeout(_OPERATOR_WAITS_S):
                    await desk.tell_and_wait(fact, cycle_id=request.cycle_id)
            except TimeoutError:
                log.warning("operator's request waits", symbol=request.symbol)
                continue  # its row still waits; asking twice does no harm
            await self._store.finish_operator_request(request.action_id, "done")

    async def _check(self) -> None:
        """Compare with the exchange at start, after every (re)connect and every minute."""
        pause, failed = CHECK_EVERY_S, 0
        while True:
            was_asked_for = await is_called_within(pause, self._check_now)
            began = time.monotonic()
            failed = 0 if await self._checks.run() else failed + 1
            # Again soon also after a connect: reads lag behind, so what happened right before it
            # may not show yet, and no stream is going to tell it.
            is_settling = was_asked_for and not failed
            pause = CHECK_AGAIN_S if is_settling else check_pause_s(failed)
            if not self.ready.is_set() and self._is_watching():
                self.ready.set()
                log.info("monitor ready", symbols=",".join(self.symbols))
            await asyncio.sleep(max(0.0, began + self._checks.apart_s - time.monotonic()))

    def _is_watching(self) -> bool:
        streams = self._market.is_connected and self._account.is_connected
        return streams and len(self._desks) == len(self.symbols)

    async def _show_prices(self) -> None:
        """Keep pnl_diff and the last price on the position rows fresh between two decisions."""
        shown: dict[str, Decimal] = {}
        while True:
            await asyncio.sleep(SHOW_PRICE_EVERY_S)
            new = {}
            for symbol, desk in self._desks.items():
                cycle, price = desk.open_cycle, self._bands[symbol].last_price
                if cycle is not None and price is not None and shown.get(symbol) != price:
                    new[symbol] = cycle, price
            if not new:
                continue
            try:
                await self._store.show_prices(tuple(new.values()))
                shown |= {symbol: price for symbol, (_, price) in new.items()}
            except StoreError as error:
                log.warning("prices not shown", symbols=",".join(new), error=str(error))

    # --- News ---

    def _stream_lost(self, reason: str) -> None:
        self._check_now.set()  # which records that nobody watches now

    def _traded(self, symbol: str, price: Decimal, time_ms: int) -> None:
        desk = self._desks.get(symbol)
        if desk is not None:
            desk.traded(price, self._gateway.now_ms())

    def _set_band(self, symbol: str, limits: Limits | None) -> None:
        band = self._bands[symbol]
        if limits is None:
            band.want_all()
        else:
            band.set(limits.low, limits.high)

    def _step_taken(self, symbol: str, step: Step) -> None:
        for line in narrate(step):
            (log.warning if line.is_alarm else log.info)(line.text, symbol=symbol)
        if step.cycle.account_refused_at_ms > step.before.account_refused_at_ms:
            self._tell_others(symbol)
        self._news.step_taken(step)

    def _tell_others(self, symbol: str) -> None:
        """Let every symbol know that the account is refused, unless it was told so itself."""
        now = self._gateway.now_ms()
        for other, desk in self._desks.items():
            cycle = desk.open_cycle
            if other != symbol and cycle is not None and not cycle.account_refused_at_ms:
                desk.tell(AccountRefused(at_ms=now))


async def main(arguments: Sequence[str]) -> int:
    """Compose the monitor and run it until SIGINT or SIGTERM; return the exit status."""
    settings = get_settings()
    symbols, heartbeat = _options(arguments, settings)
    set_up_logging(settings.log_level, secrets=secret_texts(settings))
    start_error_reports(settings, component="monitor")
    gateway = make_gateway(settings)
    notices, engine = make_notices(settings), make_engine(settings.async_url)
    store = SqlCycleStore(engine, notices=notices)
    monitor = Monitor(
        symbols=symbols,
        gateway=gateway,
        store=store,
        notifications=Notifications(settings.async_url),
        settings=settings,
        owner=f"{socket.gethostname()}-{os.getpid()}-{time.time_ns() % 10**6}",
    )
    log.info("monitor starts", symbols=",".join(symbols), exchange=settings.exchange)
    try:
        async with keeping(engine, notices):
            beside = [asyncio.create_task(_tell_each_day(settings, engine, gateway, notices))]
            if heartbeat is not None:
                beside.append(asyncio.create_task(beat(store, symbols, heartbeat)))
            try:
                with reporting(settings, name="monitor"):
                    return await _until_stopped(monitor)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
    finally:
        await gateway.close()
        await store.close()


async def _tell_each_day(
    settings: Settings, engine: AsyncEngine, clock: Clock, notices: Notices
) -> None:
    if settings.notify_urls is None or settings.notify_summary_at is None:
        return
    await tell_each_day(
        SqlSummaries(engine, notices=notices),
        at=settings.notify_summary_at,
        zone=ZoneInfo(settings.notify_timezone),
        now_ms=clock.now_ms,
    )


async def _until_stopped(monitor: Monitor) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    running = asyncio.create_task(monitor.run(), name="monitor")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not running.done():
        log.info("monitor stops")
        await monitor.wind_down()
        running.cancel()
    await asyncio.wait({running})
    if running.cancelled():
        return 0
    error = running.exception()
    refused = _refusal_in(error)
    if refused is not None:
        log.error("refused to start", reason=str(refused))
        return 1
    if error is not None:
        raise error
    return 0


def _refusal_in(error: BaseException | None) -> StartRefused | None:
    if isinstance(error, StartRefused):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for e in error.exceptions if (found := _refusal_in(e))), None)
    return None


def _options(arguments: Sequence[str], settings: Settings) -> tuple[tuple[str, ...], Path | None]:
    """Return the symbols, and the file that shows that they are watched."""
    parser = argparse.ArgumentParser(description="Watch symbols and run their trading cycles.")
    parser.add_argument("--symbols", help="e.g. BTCUSDT,ETHUSDT; without it SYMBOLS counts")
    parser.add_argument(
        "--heartbeat",
        metavar="FILE",
        type=Path,
        help="touch this file every few seconds while all of them are watched",
    )
    given = parser.parse_args(arguments)
    if given.symbols is None:
        return settings.symbols, given.heartbeat
    try:
        return parse_symbols(given.symbols), given.heartbeat
    except ValueError as error:
        parser.error(f"--symbols: {error}")


def _start() -> int:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main(sys.argv[1:]))
    except ConfigInvalid as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        gc.freeze()  # or the interpreter's end would search all that was imported for cycles


if __name__ == "__main__":
    sys.exit(_start())
