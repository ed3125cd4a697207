"""Transactions on PostgreSQL and SQLite, and what their drivers' errors mean for us."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import CursorResult, Executable
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core.clients.db_sync import READ_ONLY
from core.errors import CommitUnclear, StoreConflict, StoreUnavailable

# What a driver raises when the database is away, slow, or gone in the middle.
_AWAY = (DBAPIError, PoolTimeout, OSError, TimeoutError)
# What it raises when a statement of ours is wrong: a bug, not an outage.
_BUGS = (ProgrammingError, DataError, NotSupportedError)


class SqlTransactions:
    """Opens transactions on one database; whatever goes wrong becomes an error of ours."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        # SQLite lets a waiting writer sleep between tries; among ourselves we can queue.
        self._writer = asyncio.Lock() if self._is_sqlite else None

    async def close(self) -> None:
        """Give the connections back."""
        await self._engine.dispose()

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that is rolled back unless `commit` is called in it."""
        queue = self._writer or contextlib.nullcontext()
        async with queue, _outages(), self._engine.connect() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that sees one state of the database and takes no lock."""
        options: dict[str, Any] = {READ_ONLY: True}
        if not self._is_sqlite:
            options["isolation_level"] = "REPEATABLE READ"
        async with _outages(), self._engine.connect() as connection:
            yield await connection.execution_options(**options)

    async def changes_one(self, statement: Executable) -> bool:
        """Execute a statement in a transaction of its own; return whether it changed one row."""
        async with self.writing() as connection:
            changed = await connection.execute(statement)
            assert isinstance(changed, CursorResult)
            await commit(connection)
            return changed.rowcount == 1


@contextlib.asynccontextmanager
async def _outages() -> AsyncIterator[None]:
    """Turn a driver's errors into ours; what was begun is rolled back by then, or by the server."""
    try:
        yield
    except _BUGS as error:
        if error.connection_invalidated:
            raise StoreUnavailable(str(error.orig)) from error
        raise
    except IntegrityError as error:
        raise StoreConflict(str(error.orig)) from error
    except _AWAY as error:
        text = str(error) or type(error).__name__
        raise StoreUnavailable(f"the database cannot be used now: {text}") from error


async def commit(connection: AsyncConnection) -> None:
    """End the transaction; CommitUnclear where nobody says whether it happened."""
    try:
        await connection.commit()
    except _AWAY as error:
        await connection.invalidate()  # it may still be inside the transaction
        raise CommitUnclear(str(error) or type(error).__name__) from error
