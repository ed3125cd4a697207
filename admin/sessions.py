"""Sessions as signed cookies: `Secure` unless the panel is used on the machine itself."""

import hashlib
import hmac
from typing import Final

from itsdangerous import BadSignature, TimestampSigner
from starlette.datastructures import URL
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

SESSION_COOKIE: Final = "tradebox_session"
DEVICE_COOKIE: Final = "tradebox_device"
SESSION_LASTS_S: Final = 12 * 3600
IDLE_LASTS_S: Final = 2 * 3600  # between two pages
DEVICE_LASTS_S: Final = 90 * 86_400
_LOOPBACK: Final = ("127.0.0.1", "::1", "[::1]", "localhost")


def derived_key(secret: str, *parts: str) -> str:
    """Return a key for one purpose; whoever knows it knows nothing of the secret."""
    message = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hmac.new(secret.encode("utf-8", "surrogatepass"), message, hashlib.sha256).hexdigest()


def is_secure(url: URL) -> bool:
    """Return whether cookies for this address need https: all but the machine's own names."""
    return url.scheme == "https" or url.hostname not in _LOOPBACK


class Sessions:
    """ASGI middleware: Starlette's sessions, `Secure` or not as the request's address wants it."""

    def __init__(self, app: ASGIApp, *, key: str, path: str) -> None:
        """Sign with `key`; browsers send the cookie below `path` only."""

        def sessions(*, https_only: bool) -> SessionMiddleware:
            return SessionMiddleware(
                app,
                secret_key=key,
                session_cookie=SESSION_COOKIE,
                max_age=IDLE_LASTS_S,
                path=path,
                same_site="strict",
                https_only=https_only,
            )

        self._app, self._secure, self._local = (
            app,
            sessions(https_only=True),
            sessions(https_only=False),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its session."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif is_secure(URL(scope=scope)):
            await self._secure(scope, receive, send)
        else:
            await self._local(scope, receive, send)


class Devices:
    """Browsers that the operator has logged in with before, known by a cookie of their own."""

    def __init__(self, *, key: str, path: str) -> None:
        """Sign with `key`; browsers send the cookie below `path` only."""
        self._signer, self._path = TimestampSigner(key, digest_method=hashlib.sha256), path

    def known(self, request: Request) -> str | None:
        """Return which browser this is; None: nobody has logged in with it lately."""
        try:
            cookie = request.cookies.get(DEVICE_COOKIE, "")
            return self._signer.unsign(cookie, max_age=DEVICE_LASTS_S).decode()
        except BadSignature:
            return None

    def signed(self, device: str) -> str:
        """Return the cookie of a browser, as of now."""
        return self._signer.sign(device).decode()

    def remember(self, device: str, request: Request, response: Response) -> None:
        """Let the browser be known from now on."""
        response.set_cookie(
            DEVICE_COOKIE,
            self.signed(device),
            max_age=DEVICE_LASTS_S,
            path=self._path,
            secure=is_secure(request.url),
            httponly=True,
            samesite="strict",
        )
