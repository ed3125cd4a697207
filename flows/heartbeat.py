"""A file for the container's health check: young while this process sees its symbols watched."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from core.clients.alert_store import AlertStore
from core.errors import StoreError

BEAT_EVERY_S: Final = 5.0

_log = structlog.get_logger(__name__)


async def beat(
    store: AlertStore, symbols: Sequence[str], file: Path, *, every_s: float = BEAT_EVERY_S
) -> None:
    """Touch the file for ever, while all symbols are watched, by whichever monitor.

    `healthcheck.py` looks at its age only: to ask the database itself it would have to import half
    of Tradebox, seconds of a small machine's time, twice a minute.
    """
    while True:
        try:
            if await store.watched(symbols) >= set(symbols):
                await asyncio.to_thread(file.touch)
        except (StoreError, OSError) as error:
            _log.warning("health not told", file=str(file), error=str(error))
        await asyncio.sleep(every_s)
