"""One transaction each: what synchronous and asynchronous code reach the database through."""

import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import Session, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from core.clients import db_async, db_sync, rows
from core.models import BinanceSymbol, MonitorLease
from tests.unit.samples import sample_rules

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    """Return a synchronous engine on a migrated database."""
    engine = db_sync.make_engine(migrated_url)
    yield engine
    engine.dispose()


@pytest.fixture
async def async_engine(migrated_url: str) -> AsyncIterator[AsyncEngine]:
    """Return an asynchronous engine on a migrated database."""
    engine = db_async.make_engine(migrated_url)
    yield engine
    await engine.dispose()


@pytest.mark.parametrize("make_engine", [db_sync.make_engine, db_async.make_engine])
def test_a_database_file_is_its_owner_s_alone(
    tmp_path: Path, make_engine: Callable[[str], object]
) -> None:
    path = tmp_path / "new" / "tradebox.sqlite3"
    make_engine(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (n INTEGER)")
        modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}


def test_a_database_file_that_is_shared_on_purpose_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "tradebox.sqlite3"
    path.touch()
    path.chmod(0o660)
    db_sync.make_engine(f"sqlite:///{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def a_symbol() -> BinanceSymbol:
    """Return a row that nobody stored yet."""
    return BinanceSymbol(**rows.from_rules(sample_rules(), read_at_ms=0))


def a_lease() -> MonitorLease:
    """Return a row without which nothing is watched."""
    return MonitorLease(symbol="BTCUSDT", owner="m", epoch=1, expires_at=NOW, renewed_at=NOW)


TICK = select(BinanceSymbol).where(col(BinanceSymbol.symbol) == "BTCUSDT")


class TestSynchronously:
    def test_a_query_is_one_transaction(self, engine: Engine) -> None:
        db_sync.execute_sqlmodel_query(lambda session: session.add(a_symbol()), engine=engine)
        found = db_sync.execute_sqlmodel_query_single(TICK, engine=engine)
        assert found is not None
        assert found.tick_size == Decimal("0.1")
        assert found.updated_at.tzinfo is not None

    def test_a_query_that_raises_leaves_nothing(self, engine: Engine) -> None:
        def half_done(session: Session) -> None:
            session.add(a_symbol())
            session.flush()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            db_sync.execute_sqlmodel_query(half_done, engine=engine)
        assert db_sync.execute_sqlmodel_query_single(TICK, engine=engine) is None

    def test_a_query_returns_what_it_found(self, engine: Engine) -> None:
        db_sync.execute_sqlmodel_query(lambda session: session.add(a_lease()), engine=engine)
        leases = db_sync.execute_sqlmodel_query(
            lambda session: session.exec(select(MonitorLease)).all(), engine=engine
        )
        assert [(lease.symbol, lease.expires_at) for lease in leases] == [("BTCUSDT", NOW)]


class TestAsynchronously:
    async def test_a_query_is_one_transaction(self, async_engine: AsyncEngine) -> None:
        async def store(session: AsyncSession) -> None:
            session.add(a_symbol())

        await db_async.execute_sqlmodel_query(store, engine=async_engine)
        found = await db_async.execute_sqlmodel_query_single(TICK, engine=async_engine)
        assert found is not None
        assert found.tick_size == Decimal("0.1")

    async def test_a_query_that_raises_leaves_nothing(self, async_engine: AsyncEngine) -> None:
        async def half_done(session: AsyncSession) -> None:
            session.add(a_symbol())
            await session.flush()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await db_async.execute_sqlmodel_query(half_done, engine=async_engine)
        assert await db_async.execute_sqlmodel_query_single(TICK, engine=async_engine) is None


class TestSqlite:
    async def test_is_durable_and_patient(self, migrated_sqlite_url: str) -> None:
        engine = db_async.make_engine(migrated_sqlite_url)
        async with engine.connect() as connection:
            settings = {
                name: (await connection.execute(text(f"PRAGMA {name}"))).scalar()
                for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
            }
        await engine.dispose()
        expected = {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 5000}
        assert settings == expected | {"foreign_keys": 1}

    def test_makes_the_folder_of_its_file(self, tmp_path: object) -> None:
        engine = db_sync.make_engine(f"sqlite:///{tmp_path}/a/b/tradebox.db")
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1
        engine.dispose()
