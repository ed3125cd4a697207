"""The panel's kill switch: no new cycles; on request also the close of all that are open."""

import time
from collections.abc import Callable

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request

from admin.forms import read_own_form
from core.clients.alert_store import AlertStore
from flows.positions_flow import close_positions

_log = structlog.get_logger(__name__)


class KillSwitch:
    """Does what the form of the first page asks for; each may be asked for again without harm."""

    def __init__(
        self, store: AlertStore, *, asked_by: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._asked_by, self._clock = store, asked_by, clock

    async def answer(self, request: Request) -> None:
        """Throw the switch, or take it back. HTTPException: this is no form of the panel."""
        form = await read_own_form(request)
        match form.get("do"):
            case "kill":
                await self._kill(close_all=form.get("close_all") == "yes")
            case "undo":
                if await self._store.revive_trading():
                    _log.info("kill switch taken back", by=self._asked_by)
            case _:
                raise HTTPException(400, "The form does not say what to do.")

    async def _kill(self, *, close_all: bool) -> None:
        if await self._store.kill_trading(by=self._asked_by):
            _log.warning("kill switch thrown", by=self._asked_by)
        # Afterwards no cycle begins: none is missed.
        for symbol in await self._store.open_symbols() if close_all else ():
            number = await close_positions(
                self._store,
                symbol,
                close_long=True,
                close_short=True,
                asked_by=self._asked_by,
                asked_at_ms=int(self._clock() * 1000),
            )
            _log.warning("close asked for", symbol=symbol, request=number, by=self._asked_by)
