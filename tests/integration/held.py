"""Catches whoever waits for the exchange, or for a second connection, inside a transaction."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from core.clients.binance_rest import BinanceRest
from core.clients.rest_call import Call
from core.clients.sql_transactions import SqlTransactions
from simulation.gateway import _SimulatedTransport

Open = Callable[[SqlTransactions], AbstractAsyncContextManager[AsyncConnection]]


@dataclass(slots=True)
class Transaction:
    """A transaction as the tasks see it that were begun in it."""

    is_open: bool = True


_INSIDE: ContextVar[Transaction | None] = ContextVar("_INSIDE", default=None)


@contextmanager
def held_transactions() -> Iterator[list[str]]:
    """Yield a list that collects what was done inside a transaction of the store."""
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("writing", "reading"):
            patch.setattr(SqlTransactions, name, _noting(getattr(SqlTransactions, name), seen))
        for transport in (BinanceRest, _SimulatedTransport):
            patch.setattr(transport, "send", _sending(transport.send, seen))
        yield seen


def _is_inside() -> bool:
    transaction = _INSIDE.get()
    return transaction is not None and transaction.is_open


def _noting(original: Open, seen: list[str]) -> Open:
    @asynccontextmanager
    async def noted(self: SqlTransactions) -> AsyncIterator[AsyncConnection]:
        if _is_inside():
            seen.append("another transaction")
        outer, transaction = _INSIDE.get(), Transaction()
        _INSIDE.set(transaction)
        try:
            async with original(self) as connection:
                yield connection
        finally:
            transaction.is_open = False
            _INSIDE.set(outer)

    return noted


def _sending(
    original: Callable[..., Awaitable[bytes]], seen: list[str]
) -> Callable[..., Awaitable[bytes]]:
    async def sent(self: object, call: Call) -> bytes:
        if _is_inside():
            seen.append(f"{call.method} {call.path}")
        return await original(self, call)

    return sent
