"""Databases with our tables in them."""

import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.clients import db_async
from core.clients.alert_store import LEASE_MS
from core.clients.memory_store import MemoryCycleStore
from core.clients.sql_store import SqlCycleStore
from core.queries.tables import LEASE
from tests.integration.held import held_transactions
from tests.integration.store_worlds import START_MS, StoreWorld, migrate
from tests.postgres import PostgresServer

HOUR_MS = 3_600_000
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_is_held_meanwhile() -> Iterator[None]:
    """Let no test pass in which the exchange was waited for inside a transaction."""
    with held_transactions() as seen:
        yield
    assert seen == []


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "tradebox.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the address of a migrated PostgreSQL database, to be copied."""
    url = postgres_server.create_database()
    migrate(url)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def migrated_sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Return the address of a fresh, migrated SQLite database."""
    path = tmp_path / "migrated.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def migrated_postgres_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """Return the address of a fresh, migrated PostgreSQL database."""
    url = postgres_server.create_database(template=postgres_template)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """Return the address of a fresh, migrated database; the test runs once on each kind."""
    is_sqlite = request.param == "sqlite"
    url: str = request.getfixturevalue(
        "migrated_sqlite_url" if is_sqlite else "migrated_postgres_url"
    )
    return url


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[StoreWorld]:
    """Return an empty store, and the same as another process sees it."""
    if request.param == "memory":
        now_ms = START_MS

        async def wait(symbol: str) -> None:
            nonlocal now_ms
            now_ms += LEASE_MS

        async def go_back(symbol: str) -> None:
            nonlocal now_ms
            now_ms -= HOUR_MS

        memory = MemoryCycleStore(now_ms=lambda: now_ms)
        yield StoreWorld(store=memory, other=memory, run_out=wait, set_back=go_back)
        return
    url = request.getfixturevalue(
        "migrated_sqlite_url" if request.param == "sqlite" else "migrated_postgres_url"
    )
    engines = db_async.make_engine(url), db_async.make_engine(url)

    async def set_expiry(symbol: str, at: datetime) -> None:
        held = LEASE.c.symbol == symbol
        async with engines[0].begin() as connection:
            await connection.execute(LEASE.update().where(held).values(expires_at=at))

    async def expire(symbol: str) -> None:
        await set_expiry(symbol, LONG_AGO)

    async def set_far(symbol: str) -> None:
        await set_expiry(symbol, datetime.now(UTC) + timedelta(milliseconds=LEASE_MS + HOUR_MS))

    yield StoreWorld(
        store=SqlCycleStore(engines[0]),
        other=SqlCycleStore(engines[1]),
        run_out=expire,
        set_back=set_far,
    )
    for engine in engines:
        await engine.dispose()
