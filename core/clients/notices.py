"""Notices on their way to people, on a thread of their own: trading never waits for them."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Kept:
    """A notice, and under which key the database keeps it until everybody has had it."""

    notice: Notice
    key: str | None = None  # None: it is not kept


class NoticeQueue:
    """Hands notices to a notifier, one by one, in order; `put` returns at once and never raises.

    What the notifier cannot deliver is logged and not tried again: the alarm itself stays in the
    database until somebody settles it.
    """

    def __init__(self, notifier: Notifier, *, on_had: Callable[[Kept], None]) -> None:
        self._notifier = notifier
        self._on_had = on_had
        self._waiting: SimpleQueue[Kept | None] = SimpleQueue()  # None: there is no more
        self._thread: threading.Thread | None = None

    def put(self, kept: Kept) -> None:
        """Let a notice be delivered soon; beyond the bound it is dropped, and said so."""
        if self._waiting.qsize() >= MOST_WAITING:
            notice = kept.notice
            _log.warning("notice dropped, too many wait", kind=notice.kind, symbol=notice.symbol)
            self._on_had(kept)
            return
        self._waiting.put(kept)
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
        while (kept := self._waiting.get()) is not None:
            notice = kept.notice
            try:
                self._notifier.notify(notice)
            except Exception:  # noqa: BLE001 - the top of this thread, whatever a channel raises
                _log.exception("notice not delivered", kind=notice.kind, symbol=notice.symbol)
            self._on_had(kept)


class Notices:
    """Hands what people want to hear to all channels; one that is dead or slow delays no other.

    `put` returns at once and never raises. A notice with a key counts as waiting until every
    channel has had it, taken or not; `sql_notices` lets it survive the process meanwhile.
    """

    def __init__(
        self, notifiers: Sequence[Notifier] = (), rules: NoticeRules | None = None
    ) -> None:
        self._queues = tuple(NoticeQueue(each, on_had=self._had) for each in notifiers)
        self._rules = rules or NoticeRules()
        self._lock = threading.Lock()  # of what the channels' threads change, below
        self._still_to_have: dict[str, int] = {}  # key to number of channels
        self._told: set[str] = set()

    @property
    def is_heard(self) -> bool:
        """Return whether there is any channel."""
        return bool(self._queues)

    def wants(self, notice: Notice) -> bool:
        """Return whether anybody wants to hear of it."""
        return self.is_heard and self._rules.let_through(notice)

    def put(self, notice: Notice, *, key: str | None = None) -> None:
        """Let a notice be delivered soon, if it is wanted now."""
        if not self.wants(notice):
            return
        if key is not None:
            with self._lock:
                self._still_to_have[key] = len(self._queues)
        for queue in self._queues:
            queue.put(Kept(notice, key))

    def waiting(self) -> frozenset[str]:
        """Return the keys of the notices that not every channel has had."""
        with self._lock:
            return frozenset(self._still_to_have)

    def take_told(self) -> frozenset[str]:
        """Return the keys of the notices that every channel has had since this was asked last."""
        with self._lock:
            told, self._told = frozenset(self._told), set()
            return told

    def close(self, *, within_s: float = _CLOSE_WITHIN_S) -> None:
        """Give what waits some time to be delivered, then leave it; blocks as long."""
        deadline = time.monotonic() + within_s
        for queue in self._queues:
            queue.end()
        for queue in self._queues:
            queue.wait(max(0.0, deadline - time.monotonic()))

    def _had(self, kept: Kept) -> None:
        if kept.key is None:
            return
        with self._lock:
            self._still_to_have[kept.key] -= 1
            if not self._still_to_have[kept.key]:
                del self._still_to_have[kept.key]
                self._told.add(kept.key)
