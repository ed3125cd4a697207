"""News of the account stream reach their desk; what the stream does not tell is found out."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from core.account_news import STREAM_MAY_LAG_S, AccountNews
from core.domain.cycle import Cycle, OrderReported, ReportedStatus, SideReport
from core.domain.step import Step
from core.engine import MOST_WAITING, Desk, Surroundings
from core.told_executions import GAP_IS_READ_WITHIN_S
from core.translate.events import FundingNews, OrderNews, PositionNews
from simulation.loop import run
from tests.builders import T0, StoppedClock, Story

BTC, ETH = "BTCUSDT", "ETHUSDT"
HELD = Story().entered().cycle  # LONG 0.004
ENTRY = HELD.orders[0]
SOON_S = STREAM_MAY_LAG_S + 1


@dataclass
class Listener:
    """A stream, a check and two desks, without anything behind them."""

    is_connected: bool = True
    happened: list[str] = field(default_factory=list)
    desks: dict[str, Desk] = field(default_factory=dict)

    def __post_init__(self) -> None:
        around = Surroundings(gateway=None, store=None, clock=StoppedClock())  # type: ignore[arg-type] # unused
        self.desks = {symbol: Desk(symbol, around) for symbol in (BTC, ETH)}
        self.news = AccountNews(
            desks=self.desks,
            is_connected=lambda: self.is_connected,
            reconnect=lambda reason: self.happened.append(f"reconnect: {reason}"),
            check=self._check,
            check_all_soon=lambda: self.happened.append("check all"),
        )

    def holds(self, cycle: Cycle) -> None:
        """Let the cycle be what BTC's desk knows."""
        self.desks[BTC].adopt(cycle)

    async def _check(self, symbol: str) -> None:
        self.happened.append(f"check {symbol}")


def played(tale: Callable[[Listener], Coroutine[Any, Any, None]]) -> list[str]:
    """Return what happened by the end of the tale, a little later."""

    async def main() -> list[str]:
        listener = Listener()
        listener.holds(HELD)
        await tale(listener)
        await asyncio.sleep(SOON_S)
        return listener.happened

    return run(main())


def position(long: str) -> PositionNews:
    """Return the news that LONG is so much."""
    side = SideReport(quantity=Decimal(long), entry=Decimal(60_000), updated_at_ms=T0)
    return PositionNews(symbol=BTC, at_ms=T0, long=side, short=None)


def executed(*, asked_at_ms: int | None) -> OrderReported:
    """Return an execution: told by the stream (None), or found by a check."""
    return OrderReported(
        at_ms=T0,
        client_order_id=ENTRY.client_order_id,
        status=ReportedStatus.FILLED,
        side=ENTRY.side,
        position_side=ENTRY.position_side,
        kind=ENTRY.kind,
        price=None,
        quantity=ENTRY.quantity,
        executed=ENTRY.quantity,
        average_price=None,
        asked_at_ms=asked_at_ms,
    )


TOLD, FOUND = executed(asked_at_ms=None), executed(asked_at_ms=T0)
UNTOLD = "reconnect: a check found an execution that the stream did not tell"


class TestAPositionThatTheFillsDoNotMake:
    """The exchange is asked, unless the fill that explains it was right behind."""

    def test_is_asked_about(self) -> None:
        async def tale(listener: Listener) -> None:
            listener.news.take(position("0.010"))

        assert played(tale) == [f"check {BTC}"]

    def test_is_explained_by_the_fill_behind_it(self) -> None:
        async def tale(listener: Listener) -> None:
            listener.news.take(position("0.010"))
            leg = replace(HELD.long, quantity=Decimal("0.010"))
            listener.holds(replace(HELD, ledger=replace(HELD.ledger, long=leg)))

        assert played(tale) == []

    def test_is_asked_about_once_however_often_it_was_told(self) -> None:
        async def tale(listener: Listener) -> None:
            for _ in range(3):
                listener.news.take(position("0.010"))

        assert played(tale) == [f"check {BTC}"]

    @pytest.mark.parametrize("known", ["0.004", "0.0040"])
    def test_is_none_where_both_agree(self, known: str) -> None:
        async def tale(listener: Listener) -> None:
            listener.news.take(position(known))

        assert played(tale) == []


class TestAnExecutionThatACheckFound:
    """The stream has to tell it within seconds, or it is replaced."""

    @staticmethod
    def found(listener: Listener) -> None:
        """Let the engine record what a check found."""
        listener.news.step_taken(Step(before=HELD, cycle=HELD, facts=(FOUND,)))

    def test_gives_a_silent_stream_away(self) -> None:
        async def tale(listener: Listener) -> None:
            self.found(listener)
            self.found(listener)  # one new connection is enough

        assert played(tale) == [UNTOLD]

    def test_may_be_told_a_moment_later(self) -> None:
        async def tale(listener: Listener) -> None:
            self.found(listener)
            await asyncio.sleep(STREAM_MAY_LAG_S - 1)
            listener.news.take(OrderNews(symbol=BTC, report=TOLD))

        assert played(tale) == []

    def test_may_be_of_the_time_before_the_stream_was_connected(self) -> None:
        async def tale(listener: Listener) -> None:
            listener.news.connected()
            self.found(listener)
            await asyncio.sleep(GAP_IS_READ_WITHIN_S)
            self.found(listener)  # by then it tells everything

        assert played(tale) == ["check all", UNTOLD]

    def test_is_no_matter_of_a_stream_that_is_gone_meanwhile(self) -> None:
        async def tale(listener: Listener) -> None:
            self.found(listener)
            listener.is_connected = False

        assert played(tale) == []


class TestNewsForDesks:
    """Each desk hears what is about its symbol."""

    def test_an_order_s_news_is_queued_at_its_symbol_s_desk(self) -> None:
        async def tale(listener: Listener) -> None:
            listener.news.take(OrderNews(symbol="XRPUSDT", report=TOLD))  # not watched here
            assert listener.desks[ETH].is_idle
            listener.news.take(OrderNews(symbol=ETH, report=TOLD))
            assert not listener.desks[ETH].is_idle

        assert played(tale) == []

    def test_more_than_can_be_trusted_replaces_the_stream(self) -> None:
        async def tale(listener: Listener) -> None:
            for _ in range(MOST_WAITING):
                listener.news.take(OrderNews(symbol=BTC, report=TOLD))

        assert played(tale) == ["reconnect: too many of its events wait; it is not trusted"]

    @pytest.mark.parametrize(
        ("symbol", "due"), [(BTC, [BTC]), (ETH, [ETH]), (None, [BTC, ETH])], ids=str
    )
    def test_funding_is_read_for_whom_it_was_told(self, symbol: str | None, due: list[str]) -> None:
        async def tale(listener: Listener) -> None:
            listener.desks[ETH].adopt(HELD)
            for desk in listener.desks.values():
                desk.tell_funding((), asked_at_ms=T0 + 3_600_000)  # all is accounted for
            listener.news.take(FundingNews(symbol=symbol, at_ms=T0))
            told = [
                name
                for name, desk in listener.desks.items()
                if desk.funding_due_since() is not None
            ]
            assert told == due

        assert played(tale) == ["check all"]
