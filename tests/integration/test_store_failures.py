"""What the store does when processes compete, connections break, and commits get no answer."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import Connection, event, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from core import queries
from core.clients import db_async, db_sync
from core.clients.sql_store import SqlCycleStore
from core.domain.cycle import Cycle, Ledger, Leg
from core.domain.step import Step
from core.errors import (
    CommitUnclear,
    DuplicateAlert,
    StoreConflict,
    StoreUnavailable,
    SymbolBusy,
)
from core.queries.tables import CYCLE, LEASE, POSITION
from tests.integration.store_worlds import (
    PAYLOAD,
    ROOT,
    START_MS,
    begun,
    changed,
    funded,
    new_cycle,
    takes_writes,
    terminate_all,
)
from tests.orphans import ends_with_us

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

ANOTHER_PROCESS = """
import asyncio, sys
from core.clients.db_async import make_engine
from core.clients.sql_store import SqlCycleStore
from tests.integration.store_worlds import funded

async def main(url, cycle_id):
    store = SqlCycleStore(make_engine(url))
    for number in range(1_000_000, 1_000_025):
        await store.update(cycle_id, funded(number), lease=None)
    await store.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


# Freezes itself between reading the cycle and writing it, its transaction open.
A_FROZEN_PROCESS = """
import asyncio, os, signal, sys
from core.clients import db_sync
db_sync.POSTGRESQL_SETTINGS["idle_in_transaction_session_timeout"] = "300"
from core.clients.db_async import make_engine
from core.clients.sql_store import SqlCycleStore
from core.errors import StoreUnavailable
from tests.integration.store_worlds import funded

async def main(url, cycle_id):
    store = SqlCycleStore(make_engine(url))
    def freeze(cycle):
        os.kill(os.getpid(), signal.SIGSTOP)
        return funded(1)(cycle)
    try:
        await store.update(cycle_id, freeze, lease=None)
    except StoreUnavailable:
        sys.exit(42)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""

# Takes the lease, freezes, and writes when it is thawed.
A_LATE_WRITER = """
import asyncio, os, signal, sys
from core.clients.db_async import make_engine
from core.clients.sql_store import SqlCycleStore
from core.errors import LeaseLost
from tests.integration.store_worlds import funded

async def main(url, cycle_id):
    store = SqlCycleStore(make_engine(url))
    lease = await store.acquire_lease("BTCUSDT", "the late one")
    await store.update(cycle_id, funded(1), lease=lease)
    os.kill(os.getpid(), signal.SIGSTOP)
    assert await store.renew_leases([lease]) == ()
    try:
        await store.update(cycle_id, funded(2), lease=lease)
    except LeaseLost:
        await store.close()
        sys.exit(42)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A store with connections and memory of its own, as one process of ours has it."""

    url: str
    engine: AsyncEngine
    store: SqlCycleStore

    @classmethod
    def start(cls, url: str) -> "Process":
        """Return a process of ours on this database."""
        engine = db_async.make_engine(url)
        return cls(url=url, engine=engine, store=SqlCycleStore(engine))


@pytest.fixture
async def processes(migrated_url: str) -> AsyncIterator[tuple[Process, Process]]:
    """Return two processes on one database."""
    both = Process.start(migrated_url), Process.start(migrated_url)
    yield both
    for process in both:
        await process.store.close()


@pytest.fixture
async def on_either(migrated_url: str) -> AsyncIterator[Process]:
    """Return a process on each kind of database."""
    process = Process.start(migrated_url)
    yield process
    await process.store.close()


@pytest.fixture
async def on_sqlite(migrated_sqlite_url: str) -> AsyncIterator[Process]:
    """Return a process on SQLite."""
    process = Process.start(migrated_sqlite_url)
    yield process
    await process.store.close()


@pytest.fixture
async def on_postgres(migrated_postgres_url: str) -> AsyncIterator[Process]:
    """Return a process on PostgreSQL."""
    process = Process.start(migrated_postgres_url)
    yield process
    await process.store.close()


class TestProcessesCompete:
    @pytest.mark.parametrize("attempt", range(3))
    async def test_for_a_symbol_and_one_begins(
        self, processes: tuple[Process, Process], attempt: int
    ) -> None:
        results = await asyncio.gather(
            *(begun(each.store, key=f"k{n}") for n, each in enumerate(processes)),
            return_exceptions=True,
        )
        (cycle,) = [result for result in results if isinstance(result, Cycle)]
        (refusal,) = [result for result in results if isinstance(result, SymbolBusy)]
        assert refusal.holder == str(await processes[0].store.busy_webhook("BTCUSDT"))
        for process in processes:
            assert await process.store.open_cycle("BTCUSDT") == cycle

    @pytest.mark.parametrize("attempt", range(3))
    async def test_for_an_alert_id_and_one_begins(
        self, processes: tuple[Process, Process], attempt: int
    ) -> None:
        results = await asyncio.gather(
            *(
                begun(each.store, key=f"k{n}", symbol=f"S{n}USDT", alert_id="same")
                for n, each in enumerate(processes)
            ),
            return_exceptions=True,
        )
        assert {type(result) for result in results} == {Cycle, DuplicateAlert}

    @pytest.mark.parametrize("attempt", range(3))
    async def test_to_begin_and_to_give_up_and_one_of_them_happens(
        self, processes: tuple[Process, Process], attempt: int
    ) -> None:
        first, second = processes[0].store, processes[1].store
        webhook_id = await first.record_webhook(PAYLOAD, received_at_ms=START_MS)
        begin, given_up = await asyncio.gather(
            first.begin_cycle(webhook_id, new_cycle()),
            second.abandon_webhook(webhook_id, http_status=503, outcome="slow"),
            return_exceptions=True,
        )
        assert isinstance(begin, Cycle) == (given_up is False)
        assert (await first.open_cycle("BTCUSDT") is None) == (given_up is True)

    async def test_for_a_lease_and_one_holds_it(self, processes: tuple[Process, Process]) -> None:
        results = await asyncio.gather(
            *(each.store.acquire_lease("BTCUSDT", f"m{n}") for n, each in enumerate(processes))
        )
        assert len([lease for lease in results if lease is not None]) == 1

    async def test_over_one_cycle_and_no_step_is_lost(
        self, processes: tuple[Process, Process]
    ) -> None:
        here, _ = processes
        cycle = await begun(here.store)
        there = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ANOTHER_PROCESS, here.url, str(cycle.cycle_id), cwd=ROOT
        )
        number = 0
        running = asyncio.create_task(there.wait())
        while not running.done():
            number += 1
            await here.store.update(cycle.cycle_id, funded(number), lease=None)
        assert running.result() == 0
        after = await here.store.load(cycle.cycle_id)
        assert after is not None
        assert sorted(after.funding_ids) == [*range(1, number + 1), *range(1_000_000, 1_000_025)]
        assert len(await here.store.journal(cycle.cycle_id)) == number + 25

    async def test_and_one_frozen_in_its_transaction_does_not_keep_the_lock(
        self, on_postgres: Process
    ) -> None:
        cycle = await begun(on_postgres.store)
        frozen = await _started(A_FROZEN_PROCESS, on_postgres.url, cycle)
        await _until_frozen(frozen)
        step = await on_postgres.store.update(cycle.cycle_id, funded(2), lease=None)
        assert step.before == cycle
        frozen.send_signal(signal.SIGCONT)
        assert await frozen.wait() == 42, "its transaction was ended under it"
        after = await on_postgres.store.load(cycle.cycle_id)
        assert after is not None
        assert after.funding_ids == (2,)

    async def test_and_one_that_comes_after_its_lease_writes_nothing(
        self, processes: tuple[Process, Process]
    ) -> None:
        here, _ = processes
        cycle = await begun(here.store)
        late = await _started(A_LATE_WRITER, here.url, cycle)
        await _until_frozen(late)
        async with here.engine.begin() as connection:
            is_its = LEASE.c.symbol == "BTCUSDT"
            over = LEASE.update().where(is_its).values(expires_at=LONG_AGO)
            await connection.execute(over)
        lease = await here.store.acquire_lease("BTCUSDT", "the next one")
        assert lease is not None
        assert lease.epoch == 2
        await here.store.update(cycle.cycle_id, funded(3), lease=lease)
        late.send_signal(signal.SIGCONT)
        assert await late.wait() == 42
        after = await here.store.load(cycle.cycle_id)
        assert after is not None
        assert after.funding_ids == (1, 3)


class TestACommitWithoutAnswer:
    """Nothing may be sent after it, and nothing remembered of it."""

    async def test_that_did_not_happen(self, on_either: Process) -> None:
        cycle = await begun(on_either.store)

        @event.listens_for(on_either.engine.sync_engine, "commit", once=True)
        def _break(connection: Connection) -> None:
            raise _broken()

        with pytest.raises(CommitUnclear):
            await on_either.store.update(cycle.cycle_id, funded(1), lease=None)
        step = await on_either.store.update(cycle.cycle_id, funded(2), lease=None)
        assert step.before == cycle
        assert await on_either.store.journal(cycle.cycle_id) == step.facts

    async def test_that_did_happen(
        self, on_either: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cycle = await begun(on_either.store)
        _lose_the_answer(on_either.engine, monkeypatch)
        with pytest.raises(CommitUnclear):
            await on_either.store.update(cycle.cycle_id, funded(1), lease=None)
        monkeypatch.undo()
        step = await on_either.store.update(cycle.cycle_id, funded(2), lease=None)
        assert step.before.funding_ids == (1,)
        assert len(await on_either.store.journal(cycle.cycle_id)) == 2

    async def test_of_a_beginning_that_did_happen(
        self, on_either: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = on_either.store
        webhook_id = await store.record_webhook(PAYLOAD, received_at_ms=START_MS)
        _lose_the_answer(on_either.engine, monkeypatch)
        with pytest.raises(CommitUnclear):
            await store.begin_cycle(webhook_id, new_cycle())
        monkeypatch.undo()
        assert await store.cycle_of_webhook(webhook_id) is not None
        assert not await store.abandon_webhook(webhook_id, http_status=503, outcome="slow")

    async def test_because_the_server_cut_the_connection(self, on_postgres: Process) -> None:
        cycle = await begun(on_postgres.store)

        @event.listens_for(on_postgres.engine.sync_engine, "commit", once=True)
        def _cut(connection: Connection) -> None:
            terminate_all(on_postgres.url)

        with pytest.raises(CommitUnclear):
            await on_postgres.store.update(cycle.cycle_id, funded(1), lease=None)
        step = await on_postgres.store.update(cycle.cycle_id, funded(2), lease=None)
        assert step.before == cycle


class TestTheDatabaseIsAway:
    async def test_a_step_cut_off_in_the_middle_wrote_nothing(self, on_postgres: Process) -> None:
        cycle = await begun(on_postgres.store)

        def cut(before: Cycle) -> Step:
            terminate_all(on_postgres.url)
            return funded(1)(before)

        with pytest.raises(StoreUnavailable):
            await on_postgres.store.update(cycle.cycle_id, cut, lease=None)
        assert await on_postgres.store.load(cycle.cycle_id) == cycle
        step = await on_postgres.store.update(cycle.cycle_id, funded(2), lease=None)
        assert step.before == cycle

    async def test_a_server_that_takes_no_writes_is_left_once_the_address_is_another_s(
        self, on_postgres: Process
    ) -> None:
        """As a standby is during a failover; it answers reads and pings."""
        store = on_postgres.store
        cycle = await begun(store)
        takes_writes(on_postgres.url, "off")
        terminate_all(on_postgres.url)
        with pytest.raises(StoreUnavailable, match="read-only"):
            await store.record_webhook(PAYLOAD, received_at_ms=START_MS)
        assert await store.load(cycle.cycle_id) == cycle
        with pytest.raises(StoreUnavailable, match="read-only"):
            await store.update(cycle.cycle_id, funded(1), lease=None)
        takes_writes(on_postgres.url, "on")
        await store.update(cycle.cycle_id, funded(1), lease=None)

    async def test_idle_connections_that_died_are_not_noticed(self, on_postgres: Process) -> None:
        cycle = await begun(on_postgres.store)
        terminate_all(on_postgres.url)
        assert await on_postgres.store.load(cycle.cycle_id) == cycle

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.load_open(["BTCUSDT"], ended_after_ms=0),
            lambda store: store.update(1, funded(1), lease=None),
            lambda store: store.record_webhook(PAYLOAD, received_at_ms=START_MS),
            lambda store: store.acquire_lease("BTCUSDT", "m"),
            lambda store: store.is_watched("BTCUSDT"),
        ],
        ids=["load_open", "update", "record_webhook", "acquire_lease", "is_watched"],
    )
    async def test_nobody_listens(self, call: Callable[[SqlCycleStore], object]) -> None:
        nobody = Process.start("postgresql://nobody:nothing@127.0.0.1:1/nowhere")
        with pytest.raises(StoreUnavailable):
            await call(nobody.store)  # type: ignore[misc]  # each is a coroutine
        await nobody.store.close()

    async def test_another_keeps_the_row_for_too_long(
        self, migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(db_sync.POSTGRESQL_SETTINGS, "lock_timeout", "100")
        here, there = (Process.start(migrated_postgres_url) for _ in range(2))
        cycle = await begun(here.store)
        async with there.engine.begin() as connection:
            await connection.execute(queries.cycles.lock_cycle(cycle.cycle_id))
            with pytest.raises(StoreUnavailable, match="lock timeout"):
                await here.store.update(cycle.cycle_id, funded(1), lease=None)
            assert await here.store.load(cycle.cycle_id) == cycle, "readers do not wait"
        await here.store.update(cycle.cycle_id, funded(1), lease=None)
        for process in (here, there):
            await process.store.close()

    async def test_a_step_that_waits_for_its_row_lets_the_leases_be_renewed(
        self, migrated_postgres_url: str
    ) -> None:
        """Else one stuck row would stop every symbol of the process."""
        here, there = (Process.start(migrated_postgres_url) for _ in range(2))
        cycle = await begun(here.store)
        lease = await here.store.acquire_lease("BTCUSDT", "m")
        assert lease is not None
        async with there.engine.begin() as connection:
            await connection.execute(queries.cycles.lock_cycle(cycle.cycle_id))
            stepping = asyncio.create_task(
                here.store.update(cycle.cycle_id, funded(1), lease=lease)
            )
            await _until_somebody_waits_for_a_lock(there.engine)
            assert await here.store.renew_leases([lease]) == (lease,)
            assert not stepping.done()
        await stepping
        for process in (here, there):
            await process.store.close()

    async def test_a_server_that_takes_connections_and_says_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(db_async, "CONNECT_TIMEOUT_S", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as silent:  # nobody takes what is connected
            port = silent.getsockname()[1]
            process = Process.start(f"postgresql://me:secret@127.0.0.1:{port}/nothing")
            with pytest.raises(StoreUnavailable):
                await process.store.is_watched("BTCUSDT")
            await process.store.close()

    async def test_all_connections_of_the_process_are_taken(
        self, migrated_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(db_async, "POOL_TIMEOUT_S", 0.1)
        process = Process.start(migrated_url)
        async with AsyncExitStack() as taken:
            for _ in range(db_sync.POOL_SIZE):
                _ = await taken.enter_async_context(process.engine.connect())
            with pytest.raises(StoreUnavailable, match="limit of size 5"):
                await process.store.is_watched("BTCUSDT")
        assert not await process.store.is_watched("BTCUSDT")
        await process.store.close()

    async def test_another_writer_takes_too_long(self, on_sqlite: Process) -> None:
        event.listen(on_sqlite.engine.sync_engine, "connect", _impatient)
        cycle = await begun(on_sqlite.store)
        other = Process.start(on_sqlite.url)
        async with other.engine.begin() as connection:
            await connection.execute(queries.leases.clock())
            with pytest.raises(StoreUnavailable, match="locked"):
                await on_sqlite.store.update(cycle.cycle_id, funded(1), lease=None)
            assert await on_sqlite.store.load(cycle.cycle_id) == cycle, "readers do not wait"
        await other.store.close()
        await on_sqlite.store.update(cycle.cycle_id, funded(1), lease=None)

    async def test_a_caller_that_gave_up_waiting_leaves_no_lock(
        self, processes: tuple[Process, Process]
    ) -> None:
        here, there = processes
        if here.engine.dialect.name == "sqlite":  # whose driver cannot be interrupted
            event.listen(here.engine.sync_engine, "connect", _impatient)
        cycle = await begun(here.store)
        async with there.engine.begin() as connection:
            await connection.execute(queries.cycles.lock_cycle(cycle.cycle_id))
            with suppress(TimeoutError, StoreUnavailable):
                async with asyncio.timeout(0.05):
                    await here.store.update(cycle.cycle_id, funded(1), lease=None)
        step = await here.store.update(cycle.cycle_id, funded(2), lease=None)
        assert step.before == cycle


class TestWhatIsWritten:
    async def test_nothing_for_a_step_that_changes_nothing(
        self, processes: tuple[Process, Process]
    ) -> None:
        here, _ = processes
        cycle = await begun(here.store)
        await here.store.update(cycle.cycle_id, changed(is_paused=True), lease=None)
        written = _writes(here.engine)
        await here.store.update(cycle.cycle_id, changed(is_paused=True), lease=None)
        assert written == []
        version = select(CYCLE.c.version).where(CYCLE.c.id == cycle.cycle_id)
        async with here.engine.connect() as connection:
            assert (await connection.execute(version)).scalar() == 1

    async def test_only_the_order_that_changed(self, processes: tuple[Process, Process]) -> None:
        here, there = processes
        cycle = await begun(here.store)
        (entry,) = cycle.orders
        levels = (replace(entry, client_order_id=f"tb-k1-lv{n}-1", number=n) for n in range(4))
        orders = (entry, *levels)
        await here.store.update(cycle.cycle_id, changed(orders=orders), lease=None)
        written = _writes(here.engine)
        moved = (*orders[:4], replace(orders[4], is_unresolved=True))
        await here.store.update(cycle.cycle_id, changed(orders=moved), lease=None)
        assert sorted(one.split()[1].strip('"') for one in written) == [
            "INTO",  # the fact
            "cycle",
            "order",
        ]
        after = await there.store.load(cycle.cycle_id)
        assert after is not None
        assert after.orders == moved

    async def test_a_known_cycle_is_not_read_again(
        self, processes: tuple[Process, Process]
    ) -> None:
        here, there = processes
        cycle = await begun(here.store)
        step = await there.store.update(cycle.cycle_id, funded(1), lease=None)
        assert await here.store.load_open(["BTCUSDT"], ended_after_ms=0) == (step.cycle,)
        read = _statements(here.engine, "SELECT")
        assert await here.store.load_open(["BTCUSDT"], ended_after_ms=0) == (step.cycle,)
        assert len(read) == 1

    async def test_a_shown_price_for_people_only(self, processes: tuple[Process, Process]) -> None:
        here, there = processes
        cycle = await begun(here.store)
        leg = Leg(quantity=Decimal("0.004"), entry=Decimal(60000))
        step = await here.store.update(cycle.cycle_id, changed(ledger=Ledger(long=leg)), lease=None)
        await here.store.show_prices([(step.cycle, Decimal(61000))])
        async with here.engine.connect() as connection:
            shown = (await connection.execute(select(POSITION))).mappings().all()
        assert {row["last_price"] for row in shown} == {Decimal(61000)}
        # 0.004 × 1000 less (0.0005 + 0.0002) × 61000 × 0.004
        assert {row["pnl_diff"] for row in shown} == {Decimal("3.8292")}
        assert await there.store.load(cycle.cycle_id) == step.cycle

    async def test_the_prices_of_all_symbols_are_shown_by_one_commit(
        self, processes: tuple[Process, Process]
    ) -> None:
        here, _ = processes
        names = ("AUSDT", "BUSDT", "CUSDT")
        cycles = [await begun(here.store, key=name, symbol=name) for name in names]
        commits: list[Connection] = []
        event.listen(here.engine.sync_engine, "commit", commits.append)
        await here.store.show_prices([(cycles[1], Decimal(2)), (cycles[0], Decimal(1))])
        assert len(commits) == 1
        async with here.engine.connect() as connection:
            rows = (await connection.execute(select(POSITION))).mappings().all()
        shown = {(row["symbol"], row["last_price"]) for row in rows}
        assert shown == {("AUSDT", Decimal(1)), ("BUSDT", Decimal(2)), ("CUSDT", None)}

    async def test_nothing_stays_open_behind_a_call(
        self, processes: tuple[Process, Process]
    ) -> None:
        here, _ = processes
        cycle = await begun(here.store)
        with pytest.raises(SymbolBusy):
            await begun(here.store, key="k2")
        with pytest.raises(StoreConflict):
            await here.store.update(4711, funded(1), lease=None)
        await here.store.update(cycle.cycle_id, changed(), lease=None)
        assert here.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a bounded pool


def _broken() -> OperationalError:
    return OperationalError("COMMIT", None, ConnectionError("the line went dead"))


def _lose_the_answer(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commits happen and raise."""
    commit = engine.dialect.do_commit

    def commit_and_fail(connection: object) -> None:
        commit(connection)  # type: ignore[arg-type]  # the driver's own connection
        raise _broken()

    monkeypatch.setattr(engine.dialect, "do_commit", commit_and_fail)


async def _started(program: str, url: str, cycle: Cycle) -> asyncio.subprocess.Process:
    """Start another process of ours on this cycle."""
    words = (*ends_with_us(), sys.executable, "-c", program, url, str(cycle.cycle_id))
    return await asyncio.create_subprocess_exec(*words, cwd=ROOT)


async def _until_frozen(process: asyncio.subprocess.Process) -> None:
    """Wait until it has stopped itself in its tracks."""
    async with asyncio.timeout(60):
        while not _is_frozen(process.pid):  # noqa: ASYNC110 - another process; nobody tells
            await asyncio.sleep(0.01)


async def _until_somebody_waits_for_a_lock(engine: AsyncEngine) -> None:
    wanted = text("SELECT 1 FROM pg_locks WHERE NOT granted")
    async with asyncio.timeout(30), engine.connect() as connection:
        while (await connection.execute(wanted)).first() is None:  # noqa: ASYNC110 - a view tells
            await asyncio.sleep(0.01)


def _is_frozen(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None


def _impatient(connection: object, _: object) -> None:
    connection.cursor().execute("PRAGMA busy_timeout=50")  # type: ignore[attr-defined]


def _writes(engine: AsyncEngine) -> list[str]:
    return _statements(engine, "INSERT", "UPDATE", "DELETE")


def _statements(engine: AsyncEngine, *kinds: str) -> list[str]:
    """Return a list that collects the statements of these kinds."""
    seen: list[str] = []

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def _collect(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.split()[0] in kinds:
            seen.append(statement)

    return seen
