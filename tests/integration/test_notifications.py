"""What is asked of a monitor reaches it at once on PostgreSQL, and by polling everywhere."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

import ws_monitor_async
from core.clients import db_notify
from core.clients.db_async import make_engine
from core.clients.db_notify import Notifications
from core.clients.sql_store import SqlCycleStore
from core.domain.cycle import OperatorAction
from core.errors import SymbolBusy
from paper.exchange import wall_ms
from paper.world import World
from tests.integration.store_worlds import START_MS, begun, terminate_all
from tests.integration.test_monitor_start import BTC, monitor

ETH = "ETHUSDT"
NOWHERE = "postgresql://nobody:nothing@127.0.0.1:1/nowhere"


class Ear:
    """Everything that was heard."""

    def __init__(self, url: str) -> None:
        self.notifications = Notifications(url)
        self.heard: list[str | None] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen, from the first line on."""
        task = asyncio.create_task(self.notifications.run(self.heard.append))
        try:
            await until(lambda: self.notifications.is_listening)
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(holds: Callable[[], bool]) -> None:
    """Return when the condition holds."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(0.01)


@pytest.fixture
async def store(migrated_postgres_url: str) -> AsyncIterator[SqlCycleStore]:
    """Return a store on PostgreSQL, as the API has it."""
    store = SqlCycleStore(make_engine(migrated_postgres_url))
    yield store
    await store.close()


async def test_what_was_committed_is_told_and_nothing_else(
    store: SqlCycleStore, migrated_postgres_url: str
) -> None:
    ear = Ear(migrated_postgres_url)
    async with ear.listening():
        cycle = await begun(store)
        with pytest.raises(SymbolBusy):  # after its notification, within the same transaction
            await begun(store, key="k2")
        await begun(store, key="k3", symbol=ETH)
        await store.ask_operator(
            cycle.cycle_id, OperatorAction.PAUSE, asked_by="me", asked_at_ms=START_MS
        )
        await until(lambda: len(ear.heard) >= 4)
    assert ear.heard == [None, "BTCUSDT", ETH, "BTCUSDT"]


async def test_a_line_that_was_cut_is_replaced_and_said_to_have_been_away(
    store: SqlCycleStore, migrated_postgres_url: str
) -> None:
    ear = Ear(migrated_postgres_url)
    async with ear.listening():
        terminate_all(migrated_postgres_url)
        await until(lambda: ear.heard == [None, None])  # lost: have a look by yourself
        await until(lambda: ear.heard == [None, None, None])  # and again, once it is back
        assert ear.notifications.is_listening
        await begun(store)
        await until(lambda: ear.heard[3:] == ["BTCUSDT"])


async def test_a_line_that_died_without_a_word_is_noticed(
    store: SqlCycleStore, migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_notify, "ASK_EVERY_S", 0.05)
    monkeypatch.setattr(db_notify, "ANSWER_WITHIN_S", 0.5)
    async with swallowing(migrated_postgres_url) as (url, swallow):
        ear = Ear(url)
        async with ear.listening():
            swallow.set()
            await until(lambda: not ear.notifications.is_listening)
            swallow.clear()
            await until(lambda: ear.notifications.is_listening)
            await begun(store)
            await until(lambda: ear.heard[-1] == "BTCUSDT")


async def test_there_is_nothing_to_hear_on_sqlite(migrated_sqlite_url: str) -> None:
    ear, store = Ear(migrated_sqlite_url), SqlCycleStore(make_engine(migrated_sqlite_url))
    listening = asyncio.create_task(ear.notifications.run(ear.heard.append))
    await begun(store)
    await store.close()
    assert not listening.done()
    listening.cancel()
    await asyncio.wait({listening})
    assert not ear.notifications.is_listening
    assert ear.heard == []


async def test_a_request_reaches_the_monitor_without_being_looked_for(
    migrated_postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ws_monitor_async, "POLL_EVERY_S", 3600)
    monkeypatch.setattr(ws_monitor_async, "POLL_LISTENING_S", 3600)
    await ask_for_a_pause(migrated_postgres_url, Notifications(migrated_postgres_url))


async def test_a_request_that_nobody_is_told_of_is_found(
    migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await ask_for_a_pause(migrated_url, Notifications(NOWHERE))


async def ask_for_a_pause(database_url: str, notifications: Notifications) -> None:
    """Start a monitor, begin a cycle and ask for its pause, as another process does."""
    world = World(now_ms=wall_ms(), symbols=[BTC])
    async with monitor(world, database_url, notifications=notifications) as (watching, store):
        running = asyncio.create_task(watching.run())
        await until(lambda: watching.ready.is_set() or running.done())
        cycle = await begun(store)
        action = OperatorAction.PAUSE
        number = await store.ask_operator(
            cycle.cycle_id, action, asked_by="me", asked_at_ms=START_MS
        )
        assert number is not None
        async with asyncio.timeout(30):
            while await store.operator_result(number) is None:  # noqa: ASYNC110 - a row tells
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait({running})
        paused = await store.load(cycle.cycle_id)
        assert paused is not None
        assert paused.is_paused


@asynccontextmanager
async def swallowing(url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Yield the address of a way to the database, and what makes it swallow everything."""
    address, swallow = urlsplit(url), asyncio.Event()
    ways: set[asyncio.StreamWriter] = set()

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        ways.add(target)
        with suppress(OSError):
            while data := await source.read(65536):
                if not swallow.is_set():
                    target.write(data)
                    await target.drain()
            target.close()

    async def take(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        assert address.hostname is not None
        there = await asyncio.open_connection(address.hostname, address.port)
        await asyncio.gather(carry(source, there[1]), carry(there[0], target))

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    netloc = f"{address.username}:{address.password}@127.0.0.1:{port}"
    try:
        yield urlunsplit(address._replace(netloc=netloc)), swallow
    finally:
        server.close()
        for way in ways:
            way.close()
