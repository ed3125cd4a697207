"""Who may see the panel: one operator, by name and password, for a limited time."""

import asyncio
import secrets
import time
from typing import Final

import structlog
from sqladmin.authentication import AuthenticationBackend
from starlette.requests import Request
from starlette.responses import Response

SESSION_LASTS_S: Final = 12 * 3600
# Every wrong password costs this long, one after the other, whoever sends it.
WRONG_PASSWORD_COSTS_S: Final = 0.5
_log = structlog.get_logger(__name__)


class OperatorLogin(AuthenticationBackend):
    """A signed cookie that is sent to this site only and ends by itself."""

    def __init__(
        self,
        *,
        user: str,
        password: str | None,
        session_secret: str | None,
        is_https_only: bool,
        wrong_password_costs_s: float = WRONG_PASSWORD_COSTS_S,
    ) -> None:
        """Let `user` in with `password`; None: nobody. Without a secret, sessions end with us."""
        super().__init__(
            session_secret or secrets.token_urlsafe(32),
            session_cookie="tradebox_session",
            max_age=SESSION_LASTS_S,
            same_site="strict",
            https_only=is_https_only,
            path="/rust_admin",
        )
        self._user = user.encode()
        self._password = None if password is None else password.encode()
        self._wrong_password_costs_s = wrong_password_costs_s
        self._one_at_a_time = asyncio.Lock()

    async def login(self, request: Request) -> bool:
        """Return whether the form's name and password are right, and remember it."""
        form = await request.form()
        user, password = str(form.get("username", "")), str(form.get("password", ""))
        if not self._is_right(user, password):
            _log.warning("login refused", client=request.client.host if request.client else "?")
            async with self._one_at_a_time:
                await asyncio.sleep(self._wrong_password_costs_s)
            return False
        request.session.clear()
        request.session.update(user=self._user.decode(), since=int(time.time()))
        _log.info("operator logged in")
        return True

    async def logout(self, request: Request) -> bool:
        """Forget the session."""
        request.session.clear()
        return True

    async def authenticate(self, request: Request) -> Response | bool:
        """Return whether the session is the operator's and not too old."""
        user, since = request.session.get("user"), request.session.get("since")
        if user != self._user.decode() or not isinstance(since, int):
            return False
        return 0 <= time.time() - since < SESSION_LASTS_S  # the cookie's age starts anew each time

    def _is_right(self, user: str, password: str) -> bool:
        if self._password is None:
            return False
        # Both are compared in any case, so that the time taken tells nothing.
        is_user = secrets.compare_digest(_bytes(user), self._user)
        is_password = secrets.compare_digest(_bytes(password), self._password)
        return is_user and is_password


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
