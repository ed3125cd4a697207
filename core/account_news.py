"""News of the account stream, each handed to the desk that it is about; and whether it tells all.

A stream that is connected may still not tell everything. Two things give it away: a position told
that the fills do not make (then the exchange is asked), and an execution that only a check found
(then the stream is replaced). Both may be a matter of moments, so they are judged a little later.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping

import structlog

from core.domain.cycle import OrderReported
from core.domain.step import Step
from core.engine import Desk
from core.told_executions import ToldExecutions
from core.translate.events import AccountEvent, FundingNews, OrderNews, PositionNews

STREAM_MAY_LAG_S = 5.0  # behind a check before it counts as broken

log = structlog.get_logger(__name__)


class AccountNews:
    """Takes what the account stream tells."""

    def __init__(
        self,
        *,
        desks: Mapping[str, Desk],
        is_connected: Callable[[], bool],
        reconnect: Callable[[str], None],
        check: Callable[[str], Coroutine[object, object, None]],
        check_all_soon: Callable[[], None],
    ) -> None:
        """Prepare.

        Args:
            desks: by symbol; they may change.
            is_connected: whether the stream tells anything at present.
            reconnect: replaces the stream, for the reason given.
            check: compares one symbol with the exchange at once.
            check_all_soon: asks for a check of all symbols.
        """
        self._desks = desks
        self._is_connected = is_connected
        self._reconnect = reconnect
        self._check = check
        self._check_all_soon = check_all_soon
        self._told = ToldExecutions()
        self._told_positions: dict[str, PositionNews] = {}
        self._checks: set[asyncio.Task[None]] = set()

    def connected(self) -> None:
        """Take note that the stream tells everything from now on, but nothing of before."""
        self._told.connected(asyncio.get_running_loop().time())
        self._check_all_soon()

    def take(self, event: AccountEvent) -> None:
        """Hand one event to the desks that it is about."""
        match event:
            case OrderNews(symbol=symbol, report=report):
                self._take_order(symbol, report)
            case PositionNews():
                self._compare_position(event)
            case FundingNews(symbol=symbol):
                log.info("funding", symbol=symbol)
                for desk in self._desks.values():
                    if symbol in (None, desk.symbol):
                        desk.funding_told()
                self._check_all_soon()
            case _:
                log.info("account event", kind=type(event).__name__)

    def step_taken(self, step: Step) -> None:
        """Expect of the stream what a check has found."""
        for fact in step.facts:
            if isinstance(fact, OrderReported):
                self._expect_told(fact)
        if not step.cycle.is_open:
            self._told.forget(step.cycle.client_id_prefix)

    def _take_order(self, symbol: str, report: OrderReported) -> None:
        desk = self._desks.get(symbol)
        if desk is None:
            return
        self._told.told(report)
        if not desk.reported(report):
            self._reconnect("too many of its events wait; it is not trusted")

    def _compare_position(self, news: PositionNews) -> None:
        """Have the exchange asked when the account tells a position that the fills do not make.

        The fill that explains it is usually right behind; only the newest news is judged.
        """
        self._told_positions[news.symbol] = news
        if self._differs(news):
            asyncio.get_running_loop().call_later(STREAM_MAY_LAG_S, self._recheck, news)

    def _recheck(self, news: PositionNews) -> None:
        if self._told_positions.get(news.symbol) is news and self._differs(news):
            log.warning("position told is not what the fills make", symbol=news.symbol)
            check = asyncio.create_task(self._check(news.symbol), name="recheck")
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)

    def _differs(self, news: PositionNews) -> bool:
        desk = self._desks.get(news.symbol)
        cycle = None if desk is None else desk.open_cycle
        if cycle is None:
            return False
        pairs = ((news.long, cycle.long), (news.short, cycle.short))
        return any(told is not None and told.quantity != leg.quantity for told, leg in pairs)

    def _expect_told(self, found: OrderReported) -> None:
        """Reconnect when a check found an execution that the stream does not tell within 5 s."""
        loop = asyncio.get_running_loop()
        if self._told.should_follow(found, loop.time()):
            loop.call_later(STREAM_MAY_LAG_S, self._judge, found)

    def _judge(self, found: OrderReported) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._is_connected() and self._told.should_follow(found, now_s):
            self._told.told(found)
            self._reconnect("a check found an execution that the stream did not tell")
