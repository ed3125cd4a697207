"""A panel over sockets, with something to show, and what an operator does in it."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import uvicorn
from playwright.async_api import Page
from sqlalchemy import update
from sqlmodel import col
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.clients.db_async import make_engine
from core.domain.alarms import AlarmKind
from core.domain.cycle import PositionSide
from core.domain.step import take_step
from core.models import BinancePosition, Order
from tests.integration.api_world import SYMBOL, Api, running_api
from tests.integration.panel_login import HASH, PASSWORD
from tests.integration.store_worlds import migrate
from tests.unit.samples import body

WHY = "rule 4: hedge 1 of at most 5, trigger 57761.6, margin left 588.16129032"
SHOTS = os.environ.get("PANEL_SHOTS")  # a folder that pictures of the pages are put in
# A bare machine has one wide font, others have narrower ones. A style of the page's own would be
# refused, as it should be.
WIDE_FONT = """
const sheet = new CSSStyleSheet();
sheet.replaceSync('* { font-family: "DejaVu Sans", sans-serif !important }');
document.adoptedStyleSheets = [sheet];
"""


class _Server(uvicorn.Server):
    """Leaves the test run's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request as it came to the panel, and its answer's status."""

    method: str
    site: str | None  # as the browser says where it comes from
    has_session: bool
    status: int


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel with something to show, and what was asked of it."""

    url: str
    api: Api
    seen: list[Seen]


@contextlib.asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """Serve the app on a free port of this machine; yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=False)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def running_panel(folder: Path, **values: Any) -> AsyncIterator[Panel]:
    """Yield a panel: one open cycle, one refused alert, one alarm."""
    url = f"sqlite:///{folder / 'tradebox.db'}"
    await asyncio.to_thread(migrate, url)
    async with running_api(url, admin_user="operator", admin_password=HASH, **values) as api:
        await api.send(body(name="<b>a name</b>"))
        await api.send(body())
        await _raise_alarm(api)
        await _fill_in_long_values(url)
        seen: list[Seen] = []
        async with serving(_noting(api.app, seen)) as port:
            yield Panel(f"http://127.0.0.1:{port}/rust_admin", api, seen)


def _noting(app: ASGIApp, seen: list[Seen]) -> ASGIApp:
    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                request = Seen(
                    method=scope["method"],
                    site=headers.get("sec-fetch-site"),
                    has_session="tradebox_session" in headers.get("cookie", ""),
                    status=message["status"],
                )
                seen.append(request)
            await send(message)

        await app(scope, receive, note)

    return noting


async def log_in(page: Page, panel: Panel, *, password: str = PASSWORD) -> None:
    """Fill the login in, send it, and wait until what comes is there with all its scripts."""
    await page.goto(f"{panel.url}/login")
    await page.fill("input[name=username]", "operator")
    await page.fill("input[name=password]", password)
    async with page.expect_navigation(wait_until="load"):
        await page.click("button[type=submit]")


async def picture(page: Page, name: str) -> None:
    """Keep a picture of the page, if somebody wants to look."""
    if SHOTS:
        await page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


async def _raise_alarm(api: Api) -> None:
    cycle = await api.store.open_cycle(SYMBOL)
    assert cycle is not None
    now = api.clock.now_ms()
    await api.store.update(
        cycle.cycle_id,
        lambda c: replace(
            take_step(c, (), now_ms=now, may_request=False),
            cycle=c.with_alarm(AlarmKind.FOREIGN, "something to <i>look</i> at", now),
        ),
        lease=None,
    )


async def _fill_in_long_values(url: str) -> None:
    """Let numbers be as long as divisions make them, and a reason as long as they come."""
    engine = make_engine(url)
    endless = Decimal("49561.83043478260869565217391")
    ours = ("entry_price", "pnl_diff", "long_trailing_price", "old_activation_price")
    values = dict.fromkeys(ours, endless)
    values |= dict.fromkeys(("last_price", "short_trailing_price"), Decimal("49561.80"))
    async with engine.begin() as connection:
        await connection.execute(
            update(BinancePosition)
            .where(col(BinancePosition.position_side) == PositionSide.SHORT)
            .values(quantity=Decimal("0.103"), **values)
        )
        await connection.execute(update(Order).values(reason=WHY))
    await engine.dispose()
