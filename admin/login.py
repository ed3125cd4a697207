"""Who may see the panel: one operator, by name and password, for a limited time."""

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from typing import Final

import structlog
from sqladmin.authentication import AuthenticationBackend
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from admin.crowd import Crowd, is_at_the_machine
from admin.forms import STALE, has_token, read_form, renew_token
from admin.sessions import SESSION_LASTS_S, Devices, Sessions, derived_key
from admin.throttle import LoginThrottle
from core.passwords import fits, hashed, is_hash
from core.senders import Networks
from flows.outside import request_source
from flows.turned_away import TurnedAway

TOUCH_AFTER_S: Final = 60
WRONG: Final = "Wrong name or password."
_log = structlog.get_logger(__name__)


class LoginRefused(Exception):
    """Nobody was let in; `wait_s` seconds from now it may be tried again."""

    def __init__(self, text: str, *, status: int = 403, wait_s: int = 0) -> None:
        self.text, self.status, self.wait_s = text, status, wait_s
        super().__init__(text)


class OperatorLogin(AuthenticationBackend):
    """Names, passwords and sessions.

    A session is a signed cookie. It ends two hours after the last page, twelve hours after the
    login, at the logout, with another password, and with another session secret.
    """

    def __init__(
        self,
        *,
        path: str,
        user: str,
        password: str | None,
        session_secret: str | None,
        trusted: Networks = (),
        clock: Callable[[], float] = time.time,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let `user` in.

        Args:
            path: where the panel is.
            user: the operator's name.
            password: the operator's, or its argon2id hash; None: nobody is let in.
            session_secret: signs the cookies; None: made up, so that logins end with the process.
            trusted: proxies that say for whom they speak.
            clock: seconds UTC, for sessions.
            stopwatch: seconds since whenever, for delays; nobody sets it back.
        """
        secret = session_secret or secrets.token_urlsafe(32)
        # With the password in it: whoever was logged in with another one is so no longer.
        key = derived_key(secret, "session", user, password or "")
        super().__init__(key)
        device_key = derived_key(secret, "device", user, password or "")
        self.devices = Devices(key=device_key, path=path)
        self.middlewares = [
            Middleware(Sessions, key=key, path=path),
            Middleware(Crowd, devices=self.devices, trusted=trusted),
        ]
        self._path = path
        self._user = user
        self._hash = password if password is None or is_hash(password) else hashed(password)
        self._trusted = trusted
        self._clock, self._stopwatch = clock, stopwatch
        self._throttle = LoginThrottle()
        self._turned_away = TurnedAway("logins put off")
        self._one_at_a_time = asyncio.Lock()  # a check takes 64 MiB and all of a processor
        self._ended: dict[str, float] = {}  # sessions that were logged out, until they had expired

    async def enter(self, request: Request) -> str:
        """Log in with the form of the request; return which browser it is.

        Raises:
            LoginRefused: a wrong name or password, too soon after the last, or not our form.
        """
        form = await read_form(request)
        if not has_token(request.session, form):
            raise LoginRefused(STALE)
        device, source = self.devices.known(request), request_source(request.scope, self._trusted)
        sender = f"browser {device}" if device else source.key
        is_stranger = device is None and not is_at_the_machine(source)
        wait_s = self._throttle.begin(sender, self._stopwatch(), is_stranger=is_stranger)
        if wait_s > 0:
            self._turned_away.note("too_soon", self._stopwatch())
            whole = math.ceil(wait_s)
            text = f"Too many wrong passwords. Try again in {whole} s."
            raise LoginRefused(text, status=429, wait_s=whole)
        if not await self._is_right(form.get("username", ""), form.get("password", "")):
            _log.warning("login refused", client=source.key)
            raise LoginRefused(WRONG)
        self._throttle.succeed(sender, is_stranger=is_stranger)
        self._begin_session(request)
        _log.info("operator logged in", client=source.key)
        return device or secrets.token_urlsafe(16)

    async def login(self, request: Request) -> bool:
        """Log in; SQLAdmin's own name for it."""
        await self.enter(request)
        return True

    async def logout(self, request: Request) -> bool:
        """End the session, also for whoever has copied the cookie."""
        now, number = self._clock(), request.session.get("id")
        self._ended = {key: until for key, until in self._ended.items() if until > now}
        if isinstance(number, str):
            self._ended[number] = now + SESSION_LASTS_S
        request.session.clear()
        _log.info("operator logged out")
        return True

    async def authenticate(self, request: Request) -> Response | bool:
        """Return whether the session is the operator's and not too old.

        Without one, the first page leads to the login, and all others are not found: nobody learns
        what there would be.
        """
        if self.is_logged_in(request):
            return True
        if request.url.path.rstrip("/") != self._path:
            raise HTTPException(404)
        return False

    def is_logged_in(self, request: Request) -> bool:
        """Return whether the request is the operator's; the session then lasts on."""
        session, now = request.session, self._clock()
        since, number = session.get("since"), session.get("id")
        if session.get("user") != self._user or not isinstance(since, int) or number in self._ended:
            return False
        if not 0 <= now - since < SESSION_LASTS_S:
            return False
        if now - session.get("seen", 0) >= TOUCH_AFTER_S:
            session["seen"] = int(now)  # which signs the cookie anew
        return True

    def _begin_session(self, request: Request) -> None:
        now = int(self._clock())
        request.session.clear()  # what a stranger may have known of it means nothing now
        request.session.update(user=self._user, id=secrets.token_urlsafe(16), since=now, seen=now)
        renew_token(request.session)

    async def _is_right(self, user: str, password: str) -> bool:
        if self._hash is None:
            return False
        async with self._one_at_a_time:
            try:
                is_password = await asyncio.to_thread(fits, password, self._hash)
            except ValueError as error:
                _log.error("nobody can log in", error=str(error))
                return False
        # The password is checked in any case, so that the time taken does not tell the name.
        is_user = secrets.compare_digest(_bytes(user), _bytes(self._user))
        return is_user and is_password


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
