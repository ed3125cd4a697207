"""The API's process: HTTP around the intake of alerts, the panel, health. No decisions.

`python main.py` serves on HOST:PORT. Everything is put together in `create_app` and its lifespan.
"""

import asyncio
import contextlib
import gc
import json
import math
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from admin import add_panel
from config import FlatAction, FundsCheck, MarginType, Settings, env_file, get_settings
from core.clients.binance import BinanceGateway
from core.clients.db_async import make_engine
from core.clients.key_permissions import Key
from core.clients.sql_notices import keeping
from core.clients.sql_store import SqlCycleStore
from core.errors import (
    AlertClosed,
    AlertForbidden,
    AlertInvalid,
    AlertTimedOut,
    CommitUnclear,
    ConfigInvalid,
    ExchangeError,
    FieldError,
    GuardRefused,
    RateLimited,
    RequestRefused,
    StoreError,
    StoreUnavailable,
    SymbolBusy,
    SymbolInUse,
    SymbolPaused,
    SymbolUnwatched,
    TradeboxError,
)
from core.logging_setup import secret_texts, set_up_logging
from core.schemas.alert_document import ALERT_DOCUMENT, ANSWERS
from core.schemas.payload import read_body
from core.senders import Networks
from core.unwatched import Unwatched
from flows.answers import shown_answer
from flows.body import read_limited
from flows.connections import Connections, guarded_by
from flows.door import BODY_LIMIT, SENDER, Door, DoorRules
from flows.gateway import make_gateway
from flows.health import Health
from flows.intake import AlertRefused, Intake, Sender, TimeIsUp, Tolerance, two_seconds
from flows.notices import make_notices
from flows.outside import Outside
from flows.positions_flow import Entries
from flows.reports import reporting, start_error_reports
from flows.secret_book import SecretBook
from flows.startup import file_findings, tell, watch_key

# After the signal: answers under way get the first, entries that outlive theirs the second.
FINISH_ANSWERS_WITHIN_S: Final = 3
FINISH_ENTRIES_WITHIN_S: Final = 1.0
EXIT_TAKEN_PORT: Final = 1
EXIT_BAD_CONFIG: Final = 2

# What an error is answered with; the first that fits. Senders repeat what was answered with 503.
STATUS_OF: Final[tuple[tuple[type[TradeboxError], int], ...]] = (
    (AlertInvalid, 422),
    (AlertForbidden, 403),
    (GuardRefused, 409),
    (SymbolPaused, 409),
    (SymbolInUse, 409),
    (SymbolBusy, 409),
    (SymbolUnwatched, 503),
    (AlertTimedOut, 503),
    (AlertClosed, 503),
    (RequestRefused, 422),
    (ExchangeError, 503),
    (StoreUnavailable, 503),
    (CommitUnclear, 500),
)

Connect = Callable[[Settings], BinanceGateway]
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Services:
    """What the routes work with while the app runs."""

    intake: Intake
    health: Health
    book: SecretBook


class _App(FastAPI):
    """FastAPI inside `Outside`, so that its own answers to a bug have the headers too."""

    def __init__(self, trusted: Networks, **options: Any) -> None:
        super().__init__(**options)
        self._trusted = trusted

    def build_middleware_stack(self) -> ASGIApp:
        return Outside(super().build_middleware_stack(), trusted=self._trusted)


def http_status_of(error: TradeboxError | None) -> int:
    """Return the status that an error is answered with; None is a success."""
    if error is None:
        return 200
    return next((status for kind, status in STATUS_OF if isinstance(error, kind)), 500)


def create_app(
    settings: Settings,
    *,
    connect: Connect = make_gateway,
    time_is_up: TimeIsUp = two_seconds,
) -> FastAPI:
    """Return the app; `connect` gives the exchange, `time_is_up` ends an alert's time."""
    engine = make_engine(settings.async_url)
    notices = make_notices(settings)
    store = SqlCycleStore(engine, notices=notices)
    book = SecretBook(store, installation=settings.webhook_secret)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await book.open()
        gateway = connect(settings)
        intake = _make_intake(settings, gateway, store, time_is_up)
        health = Health(engine=engine, store=store, gateway=gateway, symbols=settings.symbols)
        unwatched = Unwatched(store, now_ms=gateway.now_ms, monotonic_s=time.monotonic)
        app.state.services = Services(intake=intake, health=health, book=book)
        background = [
            asyncio.create_task(health.keep_time()),
            asyncio.create_task(intake.give_up_forgotten()),
            asyncio.create_task(unwatched.run()),
        ]
        _log.info(
            "api started",
            address=f"http://{settings.host}:{settings.port}",
            exchange=settings.exchange.value,
            database=settings.shown_url,
        )
        try:
            async with keeping(engine, notices):
                try:
                    yield
                finally:
                    for task in background:
                        task.cancel()
                    await asyncio.gather(*background, return_exceptions=True)
                    await intake.close(within_s=FINISH_ENTRIES_WITHIN_S)
                    await gateway.close()
        finally:
            await store.close()
            _log.info("api stopped")

    app = _App(
        settings.trusted_proxies,
        title="Tradebox",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    _add_routes(app)
    _add_error_handlers(app)
    add_panel(app, engine, store, settings)
    app.add_middleware(Door, rules=door_rules(settings), book=book)
    return app


def _make_intake(
    settings: Settings, gateway: BinanceGateway, store: SqlCycleStore, time_is_up: TimeIsUp
) -> Intake:
    margin_type = None if settings.margin_type is MarginType.KEEP else settings.margin_type
    entries = Entries(
        gateway=gateway,
        store=store,
        clock=gateway,
        policy=settings.policy,
        margin_type=margin_type,
        lack_of_funds_warns=settings.funds_check is FundsCheck.WARN,
        guards=settings.guards,
    )
    return Intake(
        entries,
        http_status_of=http_status_of,
        mg_mode_default=settings.mg_mode,
        flat_closes=settings.flat_action is FlatAction.CLOSE,
        tolerance=Tolerance(
            max_age_ms=int(settings.max_signal_age * 1000),
            same_content_for_ms=int(settings.duplicate_window * 1000),
        ),
        time_is_up=time_is_up,
    )


def door_rules(settings: Settings) -> DoorRules:
    """Return who may send alerts, and how many, as the settings say."""
    return DoorRules(
        allowed=settings.alert_sources,
        trusted=settings.trusted_proxies,
        certificate=settings.client_certificate,
        rate=settings.alert_rate,
        total_rate=settings.alert_total_rate,
    )


# --- Routes ---


def _add_routes(app: FastAPI) -> None:
    @app.post("/webhook", openapi_extra=ALERT_DOCUMENT, responses=ANSWERS)
    async def webhook(request: Request) -> JSONResponse:
        """Take an alert whose secret, if any is needed, stands in its body."""
        return await take_alert(request, None)

    @app.post("/webhook/{token:path}", openapi_extra=ALERT_DOCUMENT, responses=ANSWERS)
    async def webhook_of_token(request: Request, token: str) -> JSONResponse:
        """Take an alert whose secret is the rest of the address: it may hold a slash."""
        return await take_alert(request, token or None)

    async def take_alert(request: Request, token: str | None) -> JSONResponse:
        """Take an alert: 200 accepted, skipped, duplicate or tested; else see `STATUS_OF`.

        Where a secret is known, a wrong or a missing one is 401 and nothing is stored.
        """
        services: Services = request.app.state.services
        raw = await read_limited(request, BODY_LIMIT)
        try:
            body = read_body(raw)
        except AlertInvalid as error:
            # What cannot be read has no secret in it: only the address can bring it.
            sender = await _sender(services.book, token)
            await services.intake.refuse_unreadable(error, sender)
        else:
            given = None if body.secret is None else body.secret.get_secret_value()
            sender = await _sender(services.book, given, token)
            request.scope[SENDER] = sender  # the door remembers that its source knows a secret
            answer = await services.intake.take(body, sender)
        return JSONResponse(shown_answer(answer))

    @app.get("/ping")
    async def ping() -> dict[str, str]:
        """Answer, to show that somebody is there."""
        return {"ping": "pong"}

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """Answer while the process works at all."""
        return {"status": "alive"}

    @app.get("/health/ready")
    async def ready(request: Request) -> JSONResponse:
        """Say whether alerts can be taken: 200 or 503, and what is missing."""
        services: Services = request.app.state.services
        report = await services.health.report()
        return JSONResponse(report, status_code=200 if report["ready"] else 503)


async def _sender(book: SecretBook, *given: str | None) -> Sender:
    """Return who sent it; 401 unless something was given and all of it is right."""
    sender = await book.sender_of(*given)
    if sender is None:
        raise HTTPException(401, "the webhook's secret is missing or wrong")
    return sender


# --- Errors ---


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(AlertRefused)
    async def on_refused(request: Request, error: AlertRefused) -> JSONResponse:
        about = {"webhook_id": error.webhook_id, "symbol": error.symbol}
        return _problem(as_http_exception(error.cause), about)

    @app.exception_handler(TradeboxError)
    async def on_our_error(request: Request, error: TradeboxError) -> JSONResponse:
        if isinstance(error, StoreError):
            _log.error("nothing could be stored", error=str(error))
        return _problem(as_http_exception(error))

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            FieldError(
                field=".".join(map(str, details["loc"])),
                value=repr(details.get("input"))[:80],
                reason=details["msg"],
            )
            for details in error.errors()
        ]
        return _problem(as_http_exception(AlertInvalid(errors)))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        # Another method would do: whoever is meant to know does.
        is_hint = error.status_code == 405
        return _problem(HTTPException(404, "Not Found") if is_hint else error)

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> JSONResponse:
        route = getattr(request.scope.get("route"), "path", "(none)")  # the path may hold a secret
        _log.error("request failed", method=request.method, route=route, exc_info=error)
        return _problem(HTTPException(500, "internal error; the log says more"))


def as_http_exception(error: TradeboxError) -> HTTPException:
    """Return an error of ours for HTTP: each wrong field, or the exchange's code and text."""
    detail: dict[str, Any] = {"detail": str(error)}
    headers: dict[str, str] = {}
    match error:
        case AlertInvalid() | GuardRefused():
            detail["errors"] = [
                {"field": e.field, "value": e.value, "reason": e.reason} for e in error.errors
            ]
        case RequestRefused():
            detail = {"detail": error.text, "code": error.code}
        case RateLimited():
            headers["Retry-After"] = str(math.ceil(error.retry_after_ms / 1000))
    return HTTPException(http_status_of(error), json.dumps(detail), headers)


def _problem(error: HTTPException, about: dict[str, Any] | None = None) -> JSONResponse:
    try:
        detail = json.loads(error.detail)
    except ValueError:
        detail = {"detail": error.detail}
    kind = "error" if error.status_code == 500 else "refused"
    if error.status_code == 503:
        kind = "unavailable"
    content = {"status": kind, **(about or {}), **detail}
    return JSONResponse(content, status_code=error.status_code, headers=error.headers)


# --- The process ---


class _Server(uvicorn.Server):
    """Uvicorn's server; a signal ends it and not, by being raised again, the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop, signals = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


def main() -> int:
    """Serve until told to stop; return the exit code."""
    try:
        settings = get_settings()
    except ConfigInvalid as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_BAD_CONFIG
    set_up_logging(settings.log_level.value, secrets=secret_texts(settings))
    start_error_reports(settings, component="api")
    found = file_findings(env_file=env_file(), sqlite_file=settings.sqlite_path)
    if dangers := tell(found, is_live=settings.is_live):
        sys.stderr.writelines(f"{danger}\n" for danger in dangers)
        return EXIT_BAD_CONFIG
    try:
        listener = _listen(settings.host, settings.port)
    except OSError as error:
        reason = error.strerror or str(error)
        sys.stderr.write(f"The API cannot listen on {settings.host}:{settings.port}: {reason}\n")
        return EXIT_TAKEN_PORT
    with reporting(settings, name="api"):
        return uvloop.run(_serve(settings, listener))


async def _serve(settings: Settings, listener: socket.socket) -> int:
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,  # it would show the secret of an address
        server_header=False,
        http=guarded_by(Connections(trusted=settings.trusted_proxies)),
        ws="none",
        proxy_headers=False,  # it would believe anyone on this machine; the door knows better
        lifespan="on",
        timeout_graceful_shutdown=FINISH_ANSWERS_WITHIN_S,
    )
    server = _Server(config)
    dangers: list[str] = []

    def stop(danger: str) -> None:
        dangers.append(danger)
        server.should_exit = True

    watching = asyncio.create_task(_watch_key(settings, stop))
    try:
        await server.serve(sockets=[listener])
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    if dangers:
        sys.stderr.writelines(f"{danger}\n" for danger in dangers)
        return EXIT_BAD_CONFIG
    return 0 if server.started else 1


async def _watch_key(settings: Settings, on_danger: Callable[[str], None]) -> None:
    if settings.permissions_url is not None:
        await watch_key(
            settings.permissions_url,
            Key(key=settings.api_key, secret=settings.api_secret),
            now_ms=lambda: time.time_ns() // 1_000_000,
            on_danger=on_danger,
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


if __name__ == "__main__":
    code = main()
    gc.freeze()  # or the interpreter's end would search all that was imported for cycles: seconds
    sys.exit(code)
