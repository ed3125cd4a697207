"""The database from the event loop; the same settings as `db_sync`."""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import TypeVar

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from config import get_settings
from core.clients.db_sync import (
    BUSY_TIMEOUT_MS,
    CONNECT_TIMEOUT_S,
    POOL_SIZE,
    POOL_TIMEOUT_S,
    POSTGRESQL_SETTINGS,
    STATEMENT_TIMEOUT_MS,
    leave_read_only_servers,
    make_private_file,
    prepare_sqlite,
)

Result = TypeVar("Result")
Row = TypeVar("Row")


async def execute_sqlmodel_query(
    query: Callable[[AsyncSession], Awaitable[Result]], *, engine: AsyncEngine | None = None
) -> Result:
    """Run `query` in one transaction and return what it returns; its rows stay readable."""
    async with (
        AsyncSession(engine or get_engine(), expire_on_commit=False) as session,
        session.begin(),
    ):
        return await query(session)


async def execute_sqlmodel_query_single(
    statement: SelectOfScalar[Row], *, engine: AsyncEngine | None = None
) -> Row | None:
    """Read in one transaction and return the first row of `statement`, or None."""
    async with (
        AsyncSession(engine or get_engine(), expire_on_commit=False) as session,
        session.begin(),
    ):
        return (await session.exec(statement)).first()


@cache
def get_engine() -> AsyncEngine:
    """Return the engine of the configured database, made at the first call."""
    return make_engine(get_settings().async_url)


def make_engine(url: str) -> AsyncEngine:
    """Return an engine with our settings for `postgresql://…` or `sqlite:///…`."""
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        make_private_file(address)
        engine = create_async_engine(
            address.set(drivername="sqlite+aiosqlite"),
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            hide_parameters=True,  # errors are logged, what alerts say is not
            connect_args={"timeout": BUSY_TIMEOUT_MS / 1000},
        )
        prepare_sqlite(engine.sync_engine)
        return engine
    engine = create_async_engine(
        address.set(drivername="postgresql+asyncpg"),
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        hide_parameters=True,
        pool_pre_ping=True,  # after a restart of the server, the first call must not fail
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": STATEMENT_TIMEOUT_MS / 1000,
            "server_settings": POSTGRESQL_SETTINGS,
        },
    )
    leave_read_only_servers(engine.sync_engine)
    return engine
