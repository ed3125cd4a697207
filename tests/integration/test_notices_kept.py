"""Notices outlive the process that owes them, and are told once where nothing goes wrong."""

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
import structlog.testing
from sqlalchemy import func, select

from core.clients.db_async import make_engine
from core.clients.notices import MOST_WAITING, Notices
from core.clients.sql_notices import NoticeKeeper, keeping
from core.clients.sql_store import SqlCycleStore
from core.domain.alarms import Alarm, AlarmKind
from core.errors import StoreUnavailable
from core.notice_rules import NoticeLevel, NoticeRules
from core.ports import Notice
from core.queries.tables import NOTICE
from tests.integration.store_worlds import ROOT, START_MS, begun
from tests.integration.tellers import Told
from tests.integration.test_safety import earned

STOPPED = Alarm(kind=AlarmKind.SYMBOL_STOPPED, text="a bug", at_ms=START_MS)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

# Dies between the commit of an alarm and telling anybody of it.
A_PROCESS_THAT_DIES = """
import asyncio, os, signal, sys
from core.clients.db_async import make_engine
from core.clients.notices import Notices
from core.clients.sql_store import SqlCycleStore
from tests.integration.tellers import Told
from tests.integration.test_notices_kept import STOPPED

class Dying(Notices):
    def put(self, notice, *, key=None):
        os.kill(os.getpid(), signal.SIGKILL)

store = SqlCycleStore(make_engine(sys.argv[1]), notices=Dying([Told()]))
asyncio.run(store.raise_alarm("BTCUSDT", STOPPED))
"""


class Process:
    """What one process of ours has: a store, notices, and who looks after them."""

    def __init__(self, url: str, *, rules: NoticeRules | None = None) -> None:
        self.told = Told()
        self.notices = Notices([self.told], rules)
        self.engine = make_engine(url)
        self.store = SqlCycleStore(self.engine, notices=self.notices)
        self.keeper = NoticeKeeper(self.engine, self.notices)

    async def alarm(self, symbol: str) -> None:
        """Raise an alarm."""
        await self.store.raise_alarm(symbol, STOPPED)

    async def kept(self) -> int:
        """Return how many notices wait in the database."""
        async with self.engine.connect() as connection:
            counted = select(func.count()).select_from(NOTICE)
            return int((await connection.execute(counted)).scalar_one())

    async def until_told(self) -> None:
        """Wait until the channel has had everything."""
        while self.notices.waiting():  # noqa: ASYNC110 - a thread changes it
            await asyncio.sleep(0.001)

    async def abandon(self, kept_at: datetime = LONG_AGO) -> None:
        """Make all notices look as if nobody had looked after them for long."""
        async with self.engine.begin() as connection:
            await connection.execute(NOTICE.update().values(kept_at=kept_at))


@pytest.fixture
async def start(migrated_url: str) -> AsyncIterator[Callable[..., Process]]:
    """Return what starts processes on one database."""
    started: list[Process] = []

    def one(rules: NoticeRules | None = None) -> Process:
        started.append(Process(migrated_url, rules=rules))
        return started[-1]

    yield one
    for process in started:
        process.notices.close()
        await process.store.close()


async def test_what_was_told_is_not_kept(start: Callable[..., Process]) -> None:
    process = start()
    await process.alarm("BTCUSDT")
    assert process.told.wait().title == "BTCUSDT: symbol-stopped"
    assert await process.kept() == 1
    await process.until_told()
    await process.keeper.tend()
    await process.keeper.tend()
    assert await process.kept() == 0
    await process.keeper.take_left()
    assert process.told.titles == ["BTCUSDT: symbol-stopped"]


async def test_one_whose_process_was_killed_after_the_commit_is_told_by_another_once(
    migrated_url: str, start: Callable[..., Process]
) -> None:
    dying = await asyncio.create_subprocess_exec(
        sys.executable, "-c", A_PROCESS_THAT_DIES, migrated_url, cwd=ROOT
    )
    assert await dying.wait() == -signal.SIGKILL
    first, second = start(), start()
    assert len(await first.store.raised_alarms(10)) == 1
    await first.keeper.take_left()
    assert first.told.titles == [], "it may be about to be told"
    await first.abandon()
    await asyncio.gather(first.keeper.take_left(), second.keeper.take_left())
    for process in (first, second):
        await process.until_told()
        await process.keeper.tend()
        await process.keeper.take_left()
        await process.until_told()
    assert first.told.titles + second.told.titles == ["BTCUSDT: symbol-stopped"]
    (heir,) = (process for process in (first, second) if process.told.titles)
    assert heir.told.wait().text.endswith("(told late, of 2026-05-28 20:26:40 UTC)")
    assert await first.kept() == 0


async def test_one_that_a_slow_channel_keeps_waiting_is_left_to_its_process(
    start: Callable[..., Process],
) -> None:
    slow, other = start(), start()
    may_go_on = threading.Event()
    notify = slow.told.notify

    def wait_and_notify(notice: Notice) -> None:
        assert may_go_on.wait(60)
        notify(notice)

    slow.told.notify = wait_and_notify  # type: ignore[method-assign]  # the channel hangs
    await slow.alarm("BTCUSDT")
    await slow.abandon()
    await slow.keeper.tend()
    await other.keeper.take_left()
    assert other.told.titles == []
    may_go_on.set()
    await slow.until_told()
    await slow.keeper.tend()
    assert slow.told.titles == ["BTCUSDT: symbol-stopped"]
    assert await slow.kept() == 0


async def test_one_from_before_the_clock_was_set_back_does_not_wait_for_its_time(
    start: Callable[..., Process],
) -> None:
    gone, following = start(), start()
    gone.notices.close()
    gone.told.notify = lambda notice: None  # type: ignore[method-assign]
    await gone.alarm("BTCUSDT")
    await gone.abandon(datetime.now(tz=UTC) + timedelta(hours=1))
    await following.keeper.take_left()
    assert following.told.wait().title == "BTCUSDT: symbol-stopped"


async def test_cycles_too_and_only_what_somebody_wants_to_hear(
    start: Callable[..., Process],
) -> None:
    eager, alarms_only = start(), start(NoticeRules(level=NoticeLevel.ALARMS))
    for number, process in enumerate((eager, alarms_only)):
        cycle = await begun(process.store, key=f"k{number}")
        await process.store.update(cycle.cycle_id, earned("1", START_MS + 9), lease=None)
        assert await process.kept() == 1
    nobody = SqlCycleStore(eager.engine)
    await nobody.raise_alarm("BTCUSDT", STOPPED)
    assert await eager.kept() == 1
    await eager.until_told()
    assert eager.told.titles == ["BTCUSDT: closed, net 1 USDT"]
    assert alarms_only.told.titles == []


async def test_what_a_full_queue_drops_is_not_kept(start: Callable[..., Process]) -> None:
    process = start()
    may_go_on = threading.Event()
    process.told.notify = lambda notice: may_go_on.wait(60)  # type: ignore[method-assign,assignment]  # it hangs
    some = Notice(
        kind="x", symbol="X", cycle=None, title="t", text="", severity=None, at_ms=START_MS
    )
    with structlog.testing.capture_logs():
        for _ in range(MOST_WAITING + 2):
            process.notices.put(some)
        await process.alarm("BTCUSDT")
    await process.keeper.tend()
    assert await process.kept() == 0
    may_go_on.set()


async def test_the_end_deletes_what_was_told_and_leaves_the_rest_to_the_next(
    start: Callable[..., Process],
) -> None:
    process, following = start(), start()
    async with keeping(process.engine, process.notices):
        await process.alarm("BTCUSDT")
    assert process.told.titles == ["BTCUSDT: symbol-stopped"]
    assert await process.kept() == 0
    await process.alarm("ETHUSDT")  # its thread has ended
    await following.abandon()
    await following.keeper.take_left()
    assert following.told.wait().title == "ETHUSDT: symbol-stopped"


async def test_after_an_outage_nobody_takes_what_others_could_not_look_after(
    start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, process = start(), start()
    other.told.notify = lambda notice: None  # type: ignore[method-assign]
    await other.alarm("BTCUSDT")
    await other.until_told()
    await other.abandon()  # told, and for as long as the outage lasts its row stays
    outages, rounds, enough = [StoreUnavailable("away"), ZeroDivisionError()], 0, asyncio.Event()
    tend = NoticeKeeper.tend

    async def failing(keeper: NoticeKeeper) -> None:
        nonlocal rounds
        if outages:
            raise outages.pop(0)
        rounds += 1
        if rounds == 2:  # the other one reaches the database again
            await tend(other.keeper)
        if rounds == 8:
            enough.set()
        await tend(keeper)

    monkeypatch.setattr(NoticeKeeper, "tend", failing)
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(process.keeper.run(every_s=0))
        await enough.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [line["event"] for line in logs] == [
        "notices wait for the database",
        "notices not looked after; tried again",
    ]
    assert process.told.titles == []
    assert await process.kept() == 0
