"""Notices on their way to people, on a thread of their own: trading never waits for them."""

import threading
from queue import SimpleQueue
from typing import Final

import structlog

from core.domain.alarms import Alarm
from core.ports import Notice, Notifier

MOST_WAITING: Final = 1000  # a notifier that hangs must not fill the memory
_CLOSE_WITHIN_S: Final = 2.0

_log = structlog.get_logger(__name__)


class Silence:
    """The notifier that tells nobody."""

    def notify(self, notice: Notice) -> None:
        """Do nothing."""


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

    def close(self, *, within_s: float = _CLOSE_WITHIN_S) -> None:
        """Give what waits some time to be delivered, then leave it; blocks as long."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(within_s)

    def _deliver(self) -> None:
        while (notice := self._waiting.get()) is not None:
            try:
                self._notifier.notify(notice)
            except Exception:  # noqa: BLE001 - the top of this thread, whatever a channel raises
                _log.exception("notice not delivered", kind=notice.kind, symbol=notice.symbol)
