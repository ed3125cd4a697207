"""The panel at /rust_admin: read-only tables and a first page, behind the operator's login."""

from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from sqladmin import Admin
from sqladmin.authentication import login_required
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin.formats import moment, money, rounded
from admin.login import WRONG_PASSWORD_COSTS_S, OperatorLogin
from admin.overview import read_overview
from admin.views import VIEWS
from config import Settings
from core.clients.db_sync import READ_ONLY

PANEL: Final = "/rust_admin"
_TEMPLATES: Final = Path(__file__).parent / "templates"
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_HEADERS: Final = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    # SQLAdmin's pages carry scripts and styles of their own inline.
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline'; "
        b"style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
        b"frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    ),
)


def add_panel(
    app: FastAPI,
    engine: AsyncEngine,
    settings: Settings,
    *,
    wrong_password_costs_s: float = WRONG_PASSWORD_COSTS_S,
) -> None:
    """Mount the panel; it reads through `engine` without taking a lock."""
    password, secret = settings.admin_password, settings.session_secret
    login = OperatorLogin(
        user=settings.admin_user,
        password=None if password is None else password.get_secret_value(),
        session_secret=None if secret is None else secret.get_secret_value(),
        is_https_only=settings.host not in _LOOPBACK,
        wrong_password_costs_s=wrong_password_costs_s,
    )
    reading = engine.execution_options(**{READ_ONLY: True})
    panel = _Panel(
        app,
        session_maker=async_sessionmaker(bind=reading, class_=AsyncSession),
        base_url=PANEL,
        title="Tradebox",
        templates_dir=str(_TEMPLATES),
        middlewares=[Middleware(_SafeHeaders)],
        authentication_backend=login,
    )
    panel.engine = reading
    panel.templates.env.filters.update(money=money, moment=moment, rounded=rounded)
    for view in VIEWS:
        panel.add_view(view)


class _Panel(Admin):
    """SQLAdmin with a first page of our own."""

    @login_required
    async def index(self, request: Request) -> Response:
        """Show what is open and who watches it."""
        assert isinstance(self.engine, AsyncEngine)
        context: dict[str, Any] = {
            "title": "Overview",
            "overview": await read_overview(self.engine),
        }
        return await self.templates.TemplateResponse(request, "tradebox/overview.html", context)


class _SafeHeaders:
    """Adds to every answer what keeps other sites from showing or using it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_safely)
