"""Which requests the panel takes: its own pages', and addresses that somebody went to.

Browsers say where a request comes from, in `Sec-Fetch-Site` and `Origin`, and no page can make them
say otherwise. The cookie alone is not enough: `same_site` takes every port of a host for one site.
"""

import time
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.turned_away import TurnedAway

READING: Final = ("GET", "HEAD")
REFUSAL: Final = "refused: this did not come from the panel's own pages"


def is_welcome(method: str, headers: Mapping[str, str], *, scheme: str) -> bool:
    """Return whether the panel takes a request with these headers (names in lower case).

    What changes something must say that it comes from here. What only reads must not come from
    another page, unless it is a link that was followed: into a window of its own, not into a frame.
    """
    site = headers.get("sec-fetch-site")
    if method in READING:
        is_link = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == (
            "navigate",
            "document",
        )
        return site in (None, "same-origin", "none") or is_link
    origin = headers.get("origin")
    if origin is None and site is None:
        return False  # no browser of today leaves both out
    is_own = origin is None or origin == f"{scheme}://{headers.get('host', '')}"
    return is_own and site in (None, "same-origin")


class SameOrigin:
    """ASGI middleware in front of the panel."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turned_away = TurnedAway("requests of other pages refused by the panel")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if not is_welcome(scope["method"], headers, scheme=scope["scheme"]):
                site = headers.get("sec-fetch-site", "no-site")
                self._turned_away.note(_word(site), time.monotonic())
                await PlainTextResponse(f"{REFUSAL}\n", 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _word(site: str) -> str:
    """Return what the browser said, as a name to count by; a stranger may say anything."""
    known = ("same-origin", "same-site", "cross-site", "none", "no-site")
    return site.replace("-", "_") if site in known else "unknown"
