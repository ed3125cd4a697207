"""How much of the panel those get who are not logged in: a flood of them must not delay an alert.

A page costs half a millisecond of the process that alerts come in at, a file a whole one; to turn
somebody away costs a seventh of that. Whoever is logged in, or has been with the same browser, is
not kept out by others; nor is who sits at the machine itself.
"""

import time
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from admin.sessions import Devices
from core.rates import Bucket, Buckets
from core.senders import Networks, Source
from flows.outside import request_source
from flows.turned_away import TurnedAway

# The login page and its files are ten requests.
RATE: Final = 20.0  # a second, of one source
AT_ONCE: Final = 200.0
TOTAL_RATE: Final = 100.0  # of all strangers together
TOTAL_AT_ONCE: Final = 500.0


class Crowd:
    """ASGI middleware between the session and the pages."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        devices: Devices,
        trusted: Networks,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let everybody through to `app` who is known, or comes with few others."""
        self._app, self._devices, self._trusted, self._clock = app, devices, trusted, clock
        self._of_one = Buckets(rate=RATE, burst=AT_ONCE)
        self._of_all = Bucket(TOTAL_RATE, TOTAL_AT_ONCE, TOTAL_AT_ONCE, clock())
        self._turned_away = TurnedAway("too many requests to the panel turned away")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429."""
        if scope["type"] == "http" and not self._has_room(Request(scope)):
            self._turned_away.note("requests", self._clock())
            headers = {"Retry-After": "5"}
            await PlainTextResponse("too many requests\n", 429, headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _has_room(self, request: Request) -> bool:
        if "user" in request.session or self._devices.known(request) is not None:
            return True
        source, now = request_source(request.scope, self._trusted), self._clock()
        if not self._of_one.of(source.key, now).take(now):
            return False
        return is_at_the_machine(source) or self._of_all.take(now)


def is_at_the_machine(source: Source) -> bool:
    """Return whether a request comes from the machine that the panel runs on."""
    return source.address is not None and source.address.is_loopback
