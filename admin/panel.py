"""The panel at /rust_admin: read-only tables, a first page, secrets, kill switch; behind a login.

SQLAdmin gives lists and details. Its routes that change something are taken out: it has no tokens,
and logs out by GET. What changes something is ours: a POST with the session's token, and behind
`SameOrigin`.
"""

from pathlib import Path
from typing import Any, Final

import structlog
from fastapi import FastAPI
from sqladmin import Admin
from sqladmin.authentication import login_required
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from admin.formats import moment, money, rounded
from admin.forms import read_own_form, token_of
from admin.kill_switch import KillSwitch
from admin.login import LoginRefused, OperatorLogin
from admin.origin import SameOrigin
from admin.overview import read_overview
from admin.secret_page import SecretPage
from admin.sessions import is_secure
from admin.views import VIEWS
from config import Settings
from core.clients.alert_store import AlertStore
from core.clients.db_sync import READ_ONLY
from core.errors import StoreError

PANEL: Final = "/rust_admin"
_HERE: Final = Path(__file__).parent
_KEPT: Final = ("index", "list", "details", "login")  # of SQLAdmin's routes
_log = structlog.get_logger(__name__)


def add_panel(app: FastAPI, engine: AsyncEngine, store: AlertStore, settings: Settings) -> None:
    """Mount the panel; it reads through `engine` without taking a lock, and writes by `store`."""
    password, secret = settings.admin_password, settings.session_secret
    login = OperatorLogin(
        path=PANEL,
        user=settings.admin_user,
        password=None if password is None else password.get_secret_value(),
        session_secret=None if secret is None else secret.get_secret_value(),
        trusted=settings.trusted_proxies,
    )
    asked_by = f"{settings.admin_user} in the panel"
    secret_page = SecretPage(
        store, asked_by=asked_by, has_installation=settings.webhook_secret is not None
    )
    kill_switch = KillSwitch(store, asked_by=asked_by)
    reading = engine.execution_options(**{READ_ONLY: True})
    panel = _Panel(app, reading, login, secret_page, kill_switch)
    for view in VIEWS:
        panel.add_view(view)


class _Panel(Admin):
    """SQLAdmin with a login, a first page and a page of secrets of our own."""

    def __init__(
        self,
        app: FastAPI,
        reading: AsyncEngine,
        login: OperatorLogin,
        secret_page: SecretPage,
        kill_switch: KillSwitch,
    ) -> None:
        super().__init__(
            app,
            session_maker=async_sessionmaker(bind=reading, class_=AsyncSession),
            base_url=PANEL,
            title="Tradebox",
            templates_dir=str(_HERE / "templates"),
            middlewares=[Middleware(SameOrigin)],
            authentication_backend=login,
        )
        self.engine = reading
        self._login, self._secret_page, self._kill_switch = login, secret_page, kill_switch
        self.templates.env.filters.update(money=money, moment=moment, rounded=rounded)
        self.templates.env.globals["token_of"] = token_of
        kept = [route for route in self.admin.router.routes if getattr(route, "name", "") in _KEPT]
        self.admin.router.routes = [
            Mount("/statics", _Files(packages=["sqladmin"]), name="statics"),
            Mount("/files", _Files(directory=_HERE / "files"), name="files"),
            Route("/logout", self.logout, name="logout", methods=["POST"]),
            Route("/kill", self.kill, name="kill", methods=["POST"]),
            Route("/secrets", self.secrets, name="secrets", methods=["GET", "POST"]),
            *kept,
        ]
        self.admin.exception_handlers = {
            HTTPException: self._on_http,
            StoreError: self._on_database,
            SQLAlchemyError: self._on_database,
        }

    @login_required
    async def index(self, request: Request) -> Response:
        """Show what is open and who watches it."""
        assert isinstance(self.engine, AsyncEngine)
        overview = await read_overview(self.engine)
        return await self._page(request, "overview", title="Overview", overview=overview)

    @login_required
    async def secrets(self, request: Request) -> Response:
        """Show the secrets of alerts; make one, or revoke one."""
        shown = await self._secret_page.answer(request)
        return await self._page(
            request, "secrets", status=shown.status, title="Secrets", page=shown
        )

    @login_required
    async def kill(self, request: Request) -> Response:
        """Throw the kill switch or take it back, and show the first page, which says so."""
        await self._kill_switch.answer(request)
        return RedirectResponse(request.url_for("admin:index"), 303)

    async def login(self, request: Request) -> Response:
        """Show the login, or let the operator in."""
        if request.method != "POST":
            if self._login.is_logged_in(request):
                return RedirectResponse(request.url_for("admin:index"), 303)
            return await self._page(request, "login", needs_https=_needs_https(request))
        try:
            device = await self._login.enter(request)
        except LoginRefused as refusal:
            answer = await self._page(
                request,
                "login",
                status=refusal.status,
                error=refusal.text,
                needs_https=_needs_https(request),
            )
            if refusal.wait_s:
                answer.headers["Retry-After"] = str(refusal.wait_s)
            return answer
        answer = RedirectResponse(request.url_for("admin:index"), 303)
        self._login.devices.remember(device, request, answer)
        return answer

    @login_required
    async def logout(self, request: Request) -> Response:
        """End the session."""
        await read_own_form(request)
        await self._login.logout(request)
        return RedirectResponse(request.url_for("admin:login"), 303)

    async def _page(
        self, request: Request, name: str, *, status: int = 200, **context: Any
    ) -> Response:
        template = f"tradebox/{name}.html"
        return await self.templates.TemplateResponse(request, template, context, status)

    async def _on_http(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        # Another method would do: whoever is meant to know does.
        status = 404 if error.status_code == 405 else error.status_code
        message = "There is nothing here." if status == 404 else error.detail
        answer = await self._page(
            request, "error", status=status, status_code=status, message=message
        )
        answer.headers.update(error.headers or {} if status != 404 else {})
        return answer

    async def _on_database(self, request: Request, error: Exception) -> Response:
        _log.error("the panel could not use the database", error=str(error).splitlines()[0])
        text = "The database is away, or too slow. What is shown here cannot be read now."
        return await self._page(request, "error", status=503, status_code=503, message=text)


class _Files(StaticFiles):
    """Files that browsers keep, but ask about each time."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """Return the file."""
        answer = super().file_response(*arguments, **options)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def _needs_https(request: Request) -> bool:
    """Return whether this browser would not send the session's cookie back."""
    return is_secure(request.url) and request.url.scheme != "https"
