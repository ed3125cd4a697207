"""Waiting: for what is away, since nothing is decided on a stale picture, and for a next time."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from core.errors import ExchangeError, StoreError

_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)

log = structlog.get_logger(__name__)


async def until_it_works(what: str, attempt: Callable[[], Awaitable[None]]) -> None:
    """Try until neither the exchange nor the database fails; `what` names it in the log."""
    tries = 0
    while True:
        try:
            return await attempt()
        except (ExchangeError, StoreError) as error:
            pause = _PAUSES_S[min(tries, len(_PAUSES_S) - 1)]
            tries += 1
            log.warning("waiting", what=what, error=str(error), again_in_s=pause)
            await asyncio.sleep(pause)


async def is_called_within(seconds: float, event: asyncio.Event) -> bool:
    """Return True once the event is set, or False after `seconds`; it is clear then."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
    finally:
        event.clear()
