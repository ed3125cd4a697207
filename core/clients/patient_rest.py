"""Requests of work that nobody waits for: they take what room is left in the limits, and wait."""

import asyncio
from dataclasses import replace
from typing import Final

import structlog

from core.clients.rest_call import Call, RestTransport
from core.errors import RateLimited

PATIENCE_S: Final = 300.0  # for one request; a ban lasts longer

_log = structlog.get_logger(__name__)


class PatientRest:
    """A `RestTransport` over another one: nothing is urgent, and nothing fails for want of room."""

    def __init__(self, transport: RestTransport) -> None:
        self._transport = transport

    def now_ms(self) -> int:
        """Return the exchange's clock."""
        return self._transport.now_ms()

    async def sync_clock(self) -> None:
        """Measure the exchange's clock against ours."""
        await self._transport.sync_clock()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def send(self, call: Call) -> bytes:
        """Send once there is room. RateLimited where that would take too long."""
        assert not call.changes, "an order's timestamp would grow old"
        # What is kept for protecting and closing orders is not for this.
        call = replace(call, is_urgent=False)
        waited_s = 0.0
        while True:
            try:
                return await self._transport.send(call)
            except RateLimited as limited:
                pause_s = limited.retry_after_ms / 1000
                if waited_s + pause_s > PATIENCE_S:
                    raise
            _log.info("waiting for room in the exchange's limits", seconds=pause_s)
            await asyncio.sleep(pause_s)
            waited_s += pause_s
