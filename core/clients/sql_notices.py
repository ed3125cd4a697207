"""Notices from the commit of what they tell until they are told, though the process dies meanwhile.

A notice is written in the transaction that brings it about, and deleted once every channel has had
it. While it waits, the process that hands it out says every few seconds that it still does; one
that nobody has kept for long belongs to a process that is gone, and the next to look takes it on.
A process that dies between the telling and the deleting has its notice told twice.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core import queries
from core.clients import rows
from core.clients.notices import Notices
from core.clients.sql_leases import database_ms
from core.clients.sql_transactions import SqlTransactions, commit
from core.errors import StoreError
from core.ports import Notice

TEND_EVERY_S: Final = 5.0
LEFT_AFTER_MS: Final = 30_000  # not kept for so long: its process is gone
# Rounds without an outage before somebody else's are taken: they had none to say so, either.
_ROUNDS_BEFORE_TAKING: Final = 3

_log = structlog.get_logger(__name__)


class SqlTelling(SqlTransactions):
    """Transactions that people are told of."""

    def __init__(self, engine: AsyncEngine, *, notices: Notices) -> None:
        super().__init__(engine)
        self._notices = notices

    async def commit_and_tell(self, connection: AsyncConnection, notices: Sequence[Notice]) -> None:
        """End the transaction, then tell what happened in it.

        Also where the commit is unclear: told twice is better than not at all.
        """
        wanted = [notice for notice in notices if self._notices.wants(notice)]
        keys = await _written(connection, wanted)
        try:
            await commit(connection)
        finally:
            for notice, key in zip(wanted, keys, strict=True):
                self._notices.put(notice, key=key)


class NoticeKeeper(SqlTransactions):
    """Looks after the rows of one process's notices, and of those that nobody looks after."""

    def __init__(
        self, engine: AsyncEngine, notices: Notices, *, left_after_ms: int = LEFT_AFTER_MS
    ) -> None:
        super().__init__(engine)
        self._notices = notices
        self._left_after_ms = left_after_ms
        self._told: frozenset[str] = frozenset()  # their rows are still to be deleted
        self._good_rounds = 0

    async def run(self, *, every_s: float = TEND_EVERY_S) -> None:
        """Look after them for ever."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.tend()
                self._good_rounds += 1
                if self._good_rounds > _ROUNDS_BEFORE_TAKING:
                    await self.take_left()
            except StoreError as error:
                self._good_rounds = 0
                _log.warning("notices wait for the database", error=str(error))
            except Exception:  # noqa: BLE001 - the top of a task
                _log.exception("notices not looked after; tried again")

    async def tend(self) -> None:
        """Delete what was told, and say of the rest that it is being told."""
        waiting = self._notices.waiting()  # first: told meanwhile, it is in both
        self._told |= self._notices.take_told()
        if not waiting and not self._told:
            return
        async with self.writing() as connection:
            if self._told:
                await connection.execute(queries.alarms.delete_notices(self._told))
            if waiting:
                at = rows.moment(await database_ms(connection))
                await connection.execute(queries.alarms.keep_notices(waiting, at=at))
            await commit(connection)
        self._told = frozenset()

    async def take_left(self) -> None:
        """Tell what nobody has kept for long."""
        async with self.reading() as connection:  # which is nearly always all
            outside = self._outside(await database_ms(connection))
            if (await connection.execute(queries.alarms.left_notice(**outside))).first() is None:
                return
        async with self.writing() as connection:
            now_ms = await database_ms(connection)
            taken = queries.alarms.take_notices(**self._outside(now_ms), at=rows.moment(now_ms))
            found = (await connection.execute(taken)).mappings().all()
            await commit(connection)
        for row in sorted(found, key=lambda row: row["happened_at"]):
            self._notices.put(_told_late(rows.to_notice(row)), key=row["key"])

    def _outside(self, now_ms: int) -> dict[str, datetime]:
        return {
            "before": rows.moment(now_ms - self._left_after_ms),
            "after": rows.moment(now_ms + self._left_after_ms),
        }


@asynccontextmanager
async def keeping(engine: AsyncEngine, notices: Notices) -> AsyncIterator[None]:
    """Look after the notices; in the end give what waits two seconds, and close them."""
    keeper = NoticeKeeper(engine, notices)
    running = asyncio.create_task(keeper.run(), name="notices") if notices.is_heard else None
    try:
        yield
    finally:
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await asyncio.to_thread(notices.close)
        with suppress(StoreError):  # then the next process tells once more what was told
            await keeper.tend()


async def _written(connection: AsyncConnection, notices: Sequence[Notice]) -> list[str]:
    """Write what is to be told once this transaction is committed; return the keys."""
    if not notices:
        return []
    kept_at = rows.moment(await database_ms(connection))
    # Random, not counted: a number that SQLite gives out anew would delete another's notice.
    keys = [secrets.token_hex(16) for _ in notices]
    values = [
        {"key": key, **rows.notice_values(notice), "kept_at": kept_at}
        for key, notice in zip(keys, notices, strict=True)
    ]
    await connection.execute(queries.alarms.insert_notices(), values)
    return keys


def _told_late(notice: Notice) -> Notice:
    at = datetime.fromtimestamp(notice.at_ms / 1000, tz=UTC)
    return replace(notice, text=f"{notice.text} (told late, of {at:%Y-%m-%d %H:%M:%S} UTC)")
