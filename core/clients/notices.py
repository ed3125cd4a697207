"""Notices on their way to people, on a thread of their own: trading never waits for them."""

import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Final

import structlog

from core.domain.alarms import Alarm
from core.notice_rules import NoticeRules
from core.ports import Notice, Notifier

MOST_WAITING: Final = 1000  # a notifier that hangs must not fill the memory
_CLOSE_WITHIN_S: Final = 2.0

_log = structlog.get_logger(__name__)


def notice_of(alarm: Alarm, *, symbol: str, cycle: str | None) -> Notice:
    """Return what is told of an alarm: what happened, then what to do."""
    return Notice(
        kind=alarm.kind.value,
        symbol=symbol,
        cycle=cycle,
        title=f"{symbol}: {alarm.kind}",
        text=f"{alarm.text}. {alarm.guide.action}",
        severity=alarm.guide.severity,
        at_ms=alarm.at_ms,
    )


class NoticeQueue:
    """Hands notices to a notifier, one by one, in order; `put` returns at once and never raises.

    What the notifier cannot deliver is logged and not tried again: the alarm itself stays in the
    database until somebody settles it.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._waiting: SimpleQueue[Notice | None] = SimpleQueue()  # None: there is no more
        self._thread: threading.Thread | None = None

    def put(self, notice: Notice) -> None:
        """Let a notice be delivered soon; beyond the bound it is dropped, and said so."""
        if self._waiting.qsize() >= MOST_WAITING:
            _log.warning("notice dropped, too many wait", kind=notice.kind, symbol=notice.symbol)
            return
        self._waiting.put(notice)
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver, name="notices", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Let the thread end once what waits is delivered."""
        if self._thread is not None:
            self._waiting.put(None)

    def wait(self, within_s: float) -> None:
        """Block until the thread has ended, or for so long."""
        if self._thread is not None:
            self._thread.join(within_s)

    def _deliver(self) -> None:
        while (notice := self._waiting.get()) is not None:
            try:
                self._notifier.notify(notice)
            except Exception:  # noqa: BLE001 - the top of this thread, whatever a channel raises
                _log.exception("notice not delivered", kind=notice.kind, symbol=notice.symbol)


class Notices:
    """Hands what people want to hear to all channels; one that is dead or slow delays no other.

    `put` returns at once and never raises.
    """

    def __init__(
        self, notifiers: Sequence[Notifier] = (), rules: NoticeRules | None = None
    ) -> None:
        self._queues = tuple(NoticeQueue(notifier) for notifier in notifiers)
        self._rules = rules or NoticeRules()

    def put(self, notice: Notice) -> None:
        """Let a notice be delivered soon, if it is wanted now."""
        if self._queues and self._rules.let_through(notice):
            for queue in self._queues:
                queue.put(notice)

    def close(self, *, within_s: float = _CLOSE_WITHIN_S) -> None:
        """Give what waits some time to be delivered, then leave it; blocks as long."""
        deadline = time.monotonic() + within_s
        for queue in self._queues:
            queue.end()
        for queue in self._queues:
            queue.wait(max(0.0, deadline - time.monotonic()))
