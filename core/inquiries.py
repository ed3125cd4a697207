"""The questions that a symbol's cycles have, asked until an answer makes them vanish."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass

import structlog

from core.domain.asks import Question, asks
from core.domain.cycle import Cycle, Fact
from core.errors import ExchangeError, RateLimited
from core.ports import Clock
from core.symbol_reads import SymbolReads

_READ_RETRY_MS = 1_000

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Pace:
    """When a question was asked last, and when it may be asked again."""

    is_under_way: bool = False
    last_ms: int = 0
    not_before_ms: int = 0


class Inquiries:
    """Asks each question in a task of its own, one at a time, as often as its pace allows."""

    def __init__(
        self,
        symbol: str,
        reads: SymbolReads,
        clock: Clock,
        *,
        on_answer: Callable[[Cycle, tuple[Fact, ...]], None],
        spawn: Callable[[Coroutine[object, object, None]], None],
    ) -> None:
        """Prepare; `on_answer` hears what was learnt about a cycle, `spawn` begins a task."""
        self._symbol = symbol
        self._reads = reads
        self._clock = clock
        self._on_answer = on_answer
        self._spawn = spawn
        self._paces: dict[Question, _Pace] = {}

    def ask(self, cycle: Cycle) -> int | None:
        """Ask what is due; return when something else will be, None: nothing waits for its time."""
        now = self._clock.now_ms()
        waiting: list[int] = []
        for ask in asks(cycle):
            pace = self._paces.setdefault(ask.question, _Pace())
            if pace.is_under_way:
                continue
            due = max(ask.not_before_ms, pace.last_ms + ask.every_ms, pace.not_before_ms)
            if due > now:
                waiting.append(due)
                continue
            pace.last_ms, pace.is_under_way = now, True
            self._spawn(self._ask(pace, ask.question, cycle))
        return min(waiting, default=None)

    def forget(self) -> None:
        """Let everything be asked at once: what is under way was asked of an older state."""
        self._paces.clear()

    async def _ask(self, pace: _Pace, question: Question, cycle: Cycle) -> None:
        try:
            self._on_answer(cycle, await self._reads.answer(question, cycle))
        except RateLimited as error:
            pace.not_before_ms = self._clock.now_ms() + error.retry_after_ms
        except ExchangeError as error:
            pace.not_before_ms = self._clock.now_ms() + _READ_RETRY_MS
            log.warning(
                "question unanswered",
                symbol=self._symbol,
                question=type(question).__name__,
                error=str(error),
            )
        finally:
            pace.is_under_way = False
