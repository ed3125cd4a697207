"""The outermost layer of the app: how a request came, and the headers of every answer."""

from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.senders import Networks, Source, source_of

Header = tuple[bytes, bytes]

# The panel's pages use files of their own origin and nothing else: no inline script or style.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# What no page here needs, so that no injected one has it either.
_DEVICES: Final = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
HEADERS: Final[tuple[Header, ...]] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-frame-options", b"DENY"),  # for browsers that do not know frame-ancestors
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # no-referrer would make a form's Origin null
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", _DEVICES.encode()),
    (b"cache-control", b"no-store"),
)
# Only where https was used: the browser then asks for nothing else for half a year.
ONLY_HTTPS: Final[Header] = (b"strict-transport-security", b"max-age=15552000")


def request_source(scope: Scope, trusted: Networks) -> Source:
    """Return who sent a request; only trusted proxies may speak for others."""
    peer = scope["client"][0] if scope["client"] else None
    return source_of(peer, header_values(scope, b"x-forwarded-for"), trusted=trusted)


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Return the values of a header, in order."""
    headers: Iterable[Header] = scope["headers"]
    return [value.decode("latin-1").strip() for key, value in headers if key == name]


class Outside:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, *, trusted: Networks) -> None:
        """Believe the proxies in `trusted` when they say that the request came by https."""
        self._app, self._trusted = app, trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its real scheme; add the headers to what is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._is_https(scope):
            scope["scheme"] = "https"
        added = (*HEADERS, ONLY_HTTPS) if scope["scheme"] == "https" else HEADERS

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                given: list[Header] = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                message["headers"] = given + [pair for pair in added if pair[0] not in names]
            await send(message)

        await self._app(scope, receive, send_safely)

    def _is_https(self, scope: Scope) -> bool:
        # Read from its end, like X-Forwarded-For: there the nearest proxy wrote.
        said = ",".join(header_values(scope, b"x-forwarded-proto")).rpartition(",")[2]
        is_said = said.strip().lower() == "https"
        return is_said and request_source(scope, self._trusted).is_by_proxy
