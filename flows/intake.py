"""What becomes of an alert, from its stored row to its answer, in the order of the strategy.

Parse and validate → stale → disabled → `flat` → duplicate → what does not open (`signals`) → kill
switch → paused → nobody watches → symbol busy → the account's limits → the entry's checks and the
entry (`positions_flow`); with `test` the entry is only shown (`preview`). An alert is stored before
anything is done about it.

An answer is due after two seconds, because the sender gives up after three. By then either the
entry's intent is committed (answer: accepted, the work goes on), or one transaction takes the alert
back and nothing is sent for it any more (`AlertTimedOut`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, NoReturn

import structlog

from core.domain.cycle import Cycle
from core.domain.settings import MultiplierMode
from core.domain.webhook import AlertContent, WebhookStatus
from core.errors import (
    AlertClosed,
    AlertInvalid,
    AlertTimedOut,
    CommitUnclear,
    DuplicateAlert,
    GuardRefused,
    StoreError,
    StoreUnavailable,
    SymbolBusy,
    SymbolInUse,
    TradeboxError,
)
from core.grid import Grid
from core.schemas.payload import Body, content_digest
from core.schemas.webhook import Alert, AlertKind, parse_alert, require_fresh
from flows.alert_checks import AlertChecks
from flows.positions_flow import Entries, EntryOrdered, open_long_position
from flows.preview import Previewed, preview_position
from flows.signals import SIGNALS, Signal, carry_out_signal

ANSWER_WITHIN_S: Final = 2.0
HTTP_BUG: Final = 500  # recorded where an error of ours is raised on to the shell
_ASKED_BY: Final = "webhook {}"
_FORGOTTEN_AFTER_MS: Final = 60_000  # many times what any alert is worked on before its cycle
_LOOK_FOR_FORGOTTEN_EVERY_S: Final = 60.0
_FORGOTTEN: Final = "the API ended while it took this alert; nothing was opened, nobody was told"

_log = structlog.get_logger(__name__)


TimeIsUp = Callable[[], Coroutine[Any, Any, object]]


async def two_seconds() -> None:
    """Return when an alert that came at the call has to be answered."""
    await asyncio.sleep(ANSWER_WITHIN_S)


class AlertStatus(StrEnum):
    """What an alert that was not refused is told."""

    ACCEPTED = "accepted"
    SKIPPED = "skipped"
    DUPLICATE = "duplicate"
    TESTED = "tested"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sent an alert, as its secret says."""

    secret_id: int | None = None  # None: by the installation's own secret, or without any
    may_close_all: bool = False


ANYONE: Final = Sender()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What still counts as the same alert, and as a new one; 0 switches a check off."""

    max_age_ms: int = 60_000  # of an alert that says when it was sent
    same_content_for_ms: int = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is known of an alert when it is answered."""

    status: AlertStatus
    webhook_id: int
    symbol: str
    text: str
    cycle: Cycle | None = None
    grid: Grid | None = None  # from the fill; before that, as planned
    warnings: tuple[str, ...] = ()
    duplicate_of: str | None = None  # the webhook that was accepted before
    previewed: Previewed | None = None


class AlertRefused(Exception):
    """A stored alert that was not acted on, or whose entry was refused; `cause` says why."""

    def __init__(self, webhook_id: int, symbol: str | None, cause: TradeboxError) -> None:
        self.webhook_id = webhook_id
        self.symbol = symbol
        self.cause = cause
        super().__init__(str(cause))


@dataclass(slots=True, kw_only=True)
class _Progress:
    """How far one alert has come, for whoever answers it in time."""

    received_at_ms: int
    sender: Sender
    webhook_id: int | None = None
    symbol: str | None = None
    ordered: EntryOrdered | None = None
    is_answered: bool = False


class Intake:
    """Takes alerts; one per process."""

    def __init__(
        self,
        entries: Entries,
        *,
        http_status_of: Callable[[TradeboxError | None], int],
        mg_mode_default: MultiplierMode | None,
        flat_closes: bool,
        tolerance: Tolerance = Tolerance(),
        time_is_up: TimeIsUp = two_seconds,
    ) -> None:
        """Take alerts for `entries`.

        Args:
            entries: what entries are made with.
            http_status_of: the status of the answer to an error (None: no error), to be recorded.
            mg_mode_default: the installation's choice for payloads that do not state `mg_mode`.
            flat_closes: FLAT_ACTION=close.
            tolerance: how old an alert may be, how long its content is remembered.
            time_is_up: returns when an alert that came now has to be answered.
        """
        self._entries = entries
        self._store = entries.store
        self._checks = AlertChecks(entries)
        self._http_status_of = http_status_of
        self._mg_mode_default = mg_mode_default
        self._flat_closes = flat_closes
        self._tolerance = tolerance
        self._time_is_up = time_is_up
        self._running: set[asyncio.Future[Any]] = set()

    async def take(self, body: Body, sender: Sender = ANYONE) -> Answer:
        """Store the alert, act on it, and answer in time.

        Raises:
            AlertRefused: it was stored and refused.
            StoreError: it could not be stored; nothing was done.
        """
        progress = _Progress(received_at_ms=self._entries.clock.now_ms(), sender=sender)
        work = asyncio.get_running_loop().create_task(self._process(body, progress))
        self._keep(work)
        timer = asyncio.ensure_future(self._time_is_up())
        await asyncio.wait({work, timer}, return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        if work.done():
            return work.result()
        return await self._answer_late(work, progress)

    async def refuse_unreadable(self, error: AlertInvalid, sender: Sender = ANYONE) -> NoReturn:
        """Store that an alert came which is not a JSON object, without its text; raise."""
        raise AlertRefused(await self._record_invalid({}, error, sender), None, error)

    async def give_up_forgotten(self) -> None:
        """Give up, again and again until cancelled, alerts whose API died while it took them.

        Nobody answered them and nothing was opened; a process that was only frozen finds its alert
        closed.
        """
        while True:
            try:
                before_ms = self._entries.clock.now_ms() - _FORGOTTEN_AFTER_MS
                for webhook_id in await self._store.forgotten_webhooks(
                    received_before_ms=before_ms
                ):
                    if await self._store.abandon_webhook(
                        webhook_id, http_status=None, outcome=_FORGOTTEN
                    ):
                        _log.warning("alert given up", webhook=webhook_id, reason=_FORGOTTEN)
            except StoreError as error:
                _log.warning("forgotten alerts not looked for", error=str(error))
            await asyncio.sleep(_LOOK_FOR_FORGOTTEN_EVERY_S)

    async def close(self, *, within_s: float) -> None:
        """Let the work that goes on after its answer end; give up what takes longer."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=within_s)
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    # --- The answer, when time is up ---

    async def _answer_late(self, work: asyncio.Task[Answer], progress: _Progress) -> Answer:
        late = AlertTimedOut(f"nothing had begun after {ANSWER_WITHIN_S:g} s; send it again")
        ordered, webhook_id = progress.ordered, progress.webhook_id
        if ordered is None or not ordered.is_beginning:
            # Between this look and the cancellation nothing runs: no intent can be committed.
            work.cancel()
            _log.warning("alert not begun in time", webhook=webhook_id, symbol=progress.symbol)
            if webhook_id is None:
                raise late
            self._keep(asyncio.ensure_future(self._abandon(webhook_id, late)))
            raise AlertRefused(webhook_id, progress.symbol, late)
        assert webhook_id is not None
        progress.is_answered = True
        if ordered.cycle is None:
            try:
                if await self._abandon(webhook_id, late):
                    _log.warning("alert taken back", webhook=webhook_id, symbol=progress.symbol)
                    raise AlertRefused(webhook_id, progress.symbol, late)
            except StoreError:
                # Only the transaction under way knows how it ends; nothing true can be said before.
                await asyncio.wait({work})
        if work.done():
            return work.result()
        _log.info("alert answered before its outcome", webhook=webhook_id, symbol=progress.symbol)
        with contextlib.suppress(StoreError):  # the monitor may know more by now
            ordered.cycle = await self._store.cycle_of_webhook(webhook_id) or ordered.cycle
        return self._accepted(progress, "the entry's intent is committed; its outcome follows")

    async def _abandon(self, webhook_id: int, late: AlertTimedOut) -> bool:
        status = self._http_status_of(late)
        try:
            return await self._store.abandon_webhook(
                webhook_id, http_status=status, outcome=str(late)
            )
        except StoreError as error:
            _log.warning("alert not taken back", webhook=webhook_id, error=str(error))
            raise

    def _accepted(self, progress: _Progress, text: str) -> Answer:
        ordered, webhook_id = progress.ordered, progress.webhook_id
        assert ordered is not None
        assert webhook_id is not None
        return Answer(
            status=AlertStatus.ACCEPTED,
            webhook_id=webhook_id,
            symbol=ordered.settings.symbol,
            text=text,
            cycle=ordered.cycle,
            grid=ordered.cycle.grid or ordered.grid if ordered.cycle else ordered.grid,
            warnings=ordered.warnings,
        )

    # --- The work ---

    async def _process(self, body: Body, progress: _Progress) -> Answer:
        try:
            alert = parse_alert(body, mg_mode_default=self._mg_mode_default)
        except AlertInvalid as error:
            webhook_id = await self._record_invalid(body.payload, error, progress.sender)
            raise AlertRefused(webhook_id, None, error) from None
        webhook_id = await self._store.record_webhook(
            alert.payload,
            received_at_ms=progress.received_at_ms,
            symbol=alert.symbol or None,
            # `flat` goes before the check for duplicates and uses no id up: it may be the entry's.
            alert_id=None if alert.kind is AlertKind.FLAT else alert.alert_id,
            secret_id=progress.sender.secret_id,
            warnings=alert.warnings,
        )
        progress.webhook_id, progress.symbol = webhook_id, alert.symbol
        try:
            answer = await self._decide(alert, progress)
        except CommitUnclear as error:
            answer = await self._begun_after_all(progress, error)
        except DuplicateAlert as error:
            answer = replace(
                _answered(alert, webhook_id, AlertStatus.DUPLICATE, str(error)),
                duplicate_of=error.first,
            )
        except AlertClosed as error:  # taken back meanwhile, and answered so
            raise AlertRefused(webhook_id, alert.symbol, error) from None
        except TradeboxError as error:
            await self._finish_refused(progress, error)
            raise AlertRefused(webhook_id, alert.symbol, error) from None
        except Exception:
            await self._finish(progress, WebhookStatus.FAILED, HTTP_BUG, "internal error")
            if progress.is_answered:
                _log.exception("alert failed", webhook=webhook_id, symbol=alert.symbol)
            raise
        status, code = WebhookStatus(answer.status.value), self._http_status_of(None)
        await self._finish(progress, status, code, answer.text, answer.warnings)
        _log.info(
            "alert answered", webhook=webhook_id, symbol=alert.symbol, status=answer.status.value
        )
        return answer

    async def _decide(self, alert: Alert, progress: _Progress) -> Answer:
        webhook_id = progress.webhook_id
        assert webhook_id is not None
        require_fresh(
            alert,
            received_at_ms=progress.received_at_ms,
            max_age_ms=self._tolerance.max_age_ms,
        )
        if alert.settings is None:
            if alert.symbol:
                await self._checks.require_tradable_or_open(alert)
            rules = None
        else:
            rules = await self._checks.valid_rules(alert)
        if alert.kind is AlertKind.SKIPPED:
            return _answered(alert, webhook_id, AlertStatus.SKIPPED, "disabled by its sender")
        if alert.kind is AlertKind.FLAT:
            return await self._flat(alert, progress)
        if alert.kind in SIGNALS:
            return await self._signal(alert, progress)
        assert alert.settings is not None
        assert rules is not None
        ordered = EntryOrdered(
            webhook_id=webhook_id,
            settings=alert.settings,
            rules=rules,
            warnings=alert.warnings,
            content=self._content(alert, progress),
        )
        if alert.is_test:
            return await self._preview(alert, ordered)
        await self._checks.require_new(alert, ordered.content)
        try:
            async for obstacle in self._checks.obstacles(alert.settings):
                raise obstacle
            progress.ordered = ordered
            opened = await open_long_position(self._entries, ordered)
        except (SymbolBusy, SymbolInUse, AlertInvalid, GuardRefused):
            if ordered.cycle is None:  # in its way may be what it asked for itself, a moment ago
                await self._checks.require_new(alert, ordered.content)
            raise
        return self._accepted(progress, _entry_text(opened.cycle))

    def _content(self, alert: Alert, progress: _Progress) -> AlertContent | None:
        window_ms = self._tolerance.same_content_for_ms
        if alert.alert_id is not None or not window_ms:
            return None
        digest = content_digest(alert.payload)
        return AlertContent(digest=digest, since_ms=progress.received_at_ms - window_ms)

    async def _preview(self, alert: Alert, ordered: EntryOrdered) -> Answer:
        obstacles = [str(obstacle) async for obstacle in self._checks.obstacles(ordered.settings)]
        previewed = await preview_position(self._entries, ordered)
        return Answer(
            status=AlertStatus.TESTED,
            webhook_id=ordered.webhook_id,
            symbol=alert.symbol,
            text="test: this is what would be traded; nothing was",
            grid=previewed.grid,
            previewed=previewed,
            warnings=(
                *(f"{text}: a real alert would be refused now" for text in obstacles),
                *previewed.warnings,
            ),
        )

    async def _signal(self, alert: Alert, progress: _Progress) -> Answer:
        if not alert.is_test:
            await self._checks.require_new(alert, None)
        return await self._carry_out(alert, progress)

    async def _flat(self, alert: Alert, progress: _Progress) -> Answer:
        webhook_id = progress.webhook_id
        assert webhook_id is not None
        if alert.is_test:
            text = f"test: FLAT_ACTION={'close' if self._flat_closes else 'ignore'} would decide"
            return _answered(alert, webhook_id, AlertStatus.TESTED, text)
        if not self._flat_closes:
            text = "FLAT_ACTION is ignore: nothing is closed"
            return _answered(alert, webhook_id, AlertStatus.SKIPPED, text)
        return await self._carry_out(alert, progress)

    async def _carry_out(self, alert: Alert, progress: _Progress) -> Answer:
        webhook_id = progress.webhook_id
        assert webhook_id is not None
        asked = await carry_out_signal(
            Signal(
                store=self._store,
                alert=alert,
                asked_by=_ASKED_BY.format(webhook_id),
                asked_at_ms=self._entries.clock.now_ms(),
                may_close_all=progress.sender.may_close_all,
            )
        )
        status = AlertStatus.ACCEPTED if asked.is_accepted else AlertStatus.SKIPPED
        if alert.is_test:
            status = AlertStatus.TESTED
        return _answered(alert, webhook_id, status, asked.text)

    # --- The row ---

    async def _record_invalid(
        self, payload: Mapping[str, object], error: AlertInvalid, sender: Sender
    ) -> int:
        _log.info("alert refused", reason=str(error))
        return await self._store.record_webhook(
            payload,
            received_at_ms=self._entries.clock.now_ms(),
            secret_id=sender.secret_id,
            status=WebhookStatus.REFUSED,
            http_status=self._http_status_of(error),
            outcome=str(error),
        )

    async def _finish_refused(self, progress: _Progress, error: TradeboxError) -> None:
        webhook_id, symbol = progress.webhook_id, progress.symbol
        _log.info("alert refused", webhook=webhook_id, symbol=symbol, reason=str(error))
        is_ours = isinstance(error, StoreError) and not isinstance(error, SymbolBusy)
        status = WebhookStatus.FAILED if is_ours else WebhookStatus.REFUSED
        await self._finish(progress, status, self._http_status_of(error), str(error))

    async def _finish(
        self,
        progress: _Progress,
        status: WebhookStatus,
        http_status: int,
        text: str,
        warnings: tuple[str, ...] = (),
    ) -> None:
        """Record the answer, or what became of the alert after it had been answered."""
        assert progress.webhook_id is not None
        try:
            await self._store.finish_webhook(
                progress.webhook_id,
                status=status,
                http_status=self._http_status_of(None) if progress.is_answered else http_status,
                outcome=text,
                warnings=warnings,
            )
        except StoreError as error:
            _log.warning(
                "alert's outcome not recorded", webhook=progress.webhook_id, error=str(error)
            )

    async def _begun_after_all(self, progress: _Progress, error: CommitUnclear) -> Answer:
        """Return the answer after an unclear commit of the intent: the row is read again.

        Nothing is sent from here; an intent that is committed is the monitor's.
        """
        ordered, webhook_id = progress.ordered, progress.webhook_id
        assert webhook_id is not None
        if ordered is None or not ordered.is_beginning:
            away = StoreUnavailable(str(error))  # for the alert it is the same: nothing began
            await self._finish_refused(progress, away)
            raise AlertRefused(webhook_id, progress.symbol, away) from None
        late = AlertTimedOut("the database did not confirm the entry's intent; it is taken back")
        try:
            is_abandoned = await self._abandon(webhook_id, late)
        except StoreError:
            raise AlertRefused(webhook_id, progress.symbol, error) from None
        if is_abandoned:
            raise AlertRefused(webhook_id, progress.symbol, late) from None
        ordered.cycle = await self._store.cycle_of_webhook(webhook_id)
        return self._accepted(progress, "the entry's intent is committed; the monitor sends it")

    def _keep(self, task: asyncio.Future[Any]) -> None:
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits is told; after a late answer it was logged


def _answered(alert: Alert, webhook_id: int, status: AlertStatus, text: str) -> Answer:
    return Answer(
        status=status,
        webhook_id=webhook_id,
        symbol=alert.symbol,
        text=text,
        warnings=alert.warnings,
    )


def _entry_text(cycle: Cycle) -> str:
    entry = cycle.entry_order
    assert entry is not None, "a cycle begins with its entry"
    if entry.is_over:
        return "the entry is filled" if entry.executed else "the exchange ended the entry unfilled"
    if entry.executed:
        return "the entry is partly filled"
    if entry.refusal_code is not None:
        return f"not yet taken by the exchange ({entry.refusal_code}); tried again for 15 s"
    return "the entry's outcome is not known yet; the monitor finds it out"
