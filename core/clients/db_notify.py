"""Hear at once that something was asked of a monitor: NOTIFY and LISTEN of PostgreSQL.

A notification is part of the transaction that it tells of (`queries.operator.notify`): it is sent
when that is committed, and only then. It carries the symbol and is no more than a reason to look:
whoever misses one finds the rows by polling. SQLite has nothing of the kind; there polling is all.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import asyncpg
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core.clients.db_async import make_engine
from core.queries.operator import CHANNEL

ASK_EVERY_S: Final = 5.0  # a line that died without a word is silent like one without news
ANSWER_WITHIN_S: Final = 2.0
_RETRY_S: Final = (0.5, 1.0, 2.0, 5.0)
_LOST = (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)

_log = structlog.get_logger(__name__)

OnNews = Callable[[str | None], None]


class Notifications:
    """Hears what other processes ask for, over a connection of its own."""

    def __init__(self, url: str) -> None:
        """Prepare; `url` is the database's, of either kind."""
        self.is_listening = False  # False: only polling finds what is new
        self._url = url

    async def run(self, on_news: OnNews) -> None:
        """Listen until cancelled, over another line when one is lost; on SQLite, only wait.

        `on_news` is called with the symbol that something was asked for, or with None when the line
        was lost or is new: something may have been told to nobody.
        """
        engine = make_engine(self._url)
        try:
            if engine.dialect.name == "sqlite":
                await asyncio.Event().wait()
            await self._keep_listening(engine, on_news)
        finally:
            await engine.dispose()

    async def _keep_listening(self, engine: AsyncEngine, on_news: OnNews) -> None:
        tries = 0
        while True:
            try:
                async with engine.connect() as connection:
                    tries = 0
                    await self._listen(connection, on_news)
            except _LOST as error:
                _log.warning("notifications lost; polling goes on", error=type(error).__name__)
            finally:
                self.is_listening = False
            on_news(None)
            await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
            tries += 1

    async def _listen(self, connection: AsyncConnection, on_news: OnNews) -> None:
        """Hand on what is told until the line is lost. Raises one of `_LOST`."""
        line: Any = (await connection.get_raw_connection()).driver_connection
        lost = asyncio.Event()
        line.add_termination_listener(lambda _: lost.set())
        await line.add_listener(CHANNEL, lambda _line, _pid, _name, text: on_news(text))
        self.is_listening = True
        _log.info("notifications heard")
        on_news(None)
        try:
            while not lost.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(ASK_EVERY_S):
                        await lost.wait()
                await line.execute("SELECT 1", timeout=ANSWER_WITHIN_S)
        except _LOST:
            await connection.invalidate()  # not closed politely: nobody would answer
            raise
