"""The panel as the operator sees it: the login, every list, nothing that could change anything."""

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Page, expect
from sqlalchemy import update
from sqlmodel import col

from core.clients.db_async import make_engine
from core.domain.alarms import AlarmKind
from core.domain.cycle import PositionSide
from core.domain.step import take_step
from core.models import BinancePosition, Order
from tests.integration.api_world import SYMBOL, Api, running_api
from tests.integration.store_worlds import migrate
from tests.unit.samples import body

PASSWORD = "the-operators-password"
WHY = "rule 4: hedge 1 of at most 5, trigger 57761.6, margin left 588.16129032"
NOTHING_IS_CUT_OFF = """
[...document.querySelectorAll(".table-responsive")].every(t => t.scrollWidth <= t.clientWidth)
"""
SHOTS = os.environ.get("PANEL_SHOTS")  # a folder that pictures of the pages are put in
TABLES = [
    "web-hook",
    "cycle",
    "binance-position",
    "order",
    "fill",
    "binance-symbol",
    "alarm",
]


class _Server(uvicorn.Server):
    """Leaves the test run's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel with something to show."""

    url: str
    api: Api


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def panel(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Panel]:
    """Return a panel over sockets: one open cycle, one refused alert, one alarm."""
    url = f"sqlite:///{tmp_path_factory.mktemp('panel') / 'tradebox.db'}"
    await asyncio.to_thread(migrate, url)
    async with running_api(url, admin_user="operator", admin_password=PASSWORD) as api:
        await api.send(body(name="<b>a name</b>"))
        await api.send(body())
        await _raise_alarm(api)
        await _fill_in_long_values(url)
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(api.app, log_config=None, lifespan="off", access_log=False)
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        yield Panel(f"http://127.0.0.1:{listener.getsockname()[1]}/rust_admin", api)
        server.should_exit = True
        await serving


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


async def log_in(page: Page, panel: Panel, *, password: str = PASSWORD) -> None:
    """Fill the login in and send it."""
    await page.goto(f"{panel.url}/login")
    await page.fill("input[name=username]", "operator")
    await page.fill("input[name=password]", password)
    await page.click("button[type=submit]")


async def picture(page: Page, name: str) -> None:
    """Keep a picture of the page, if somebody wants to look."""
    if SHOTS:
        await page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


async def test_nothing_is_shown_before_the_login(page: Page, panel: Panel) -> None:
    for path in ["/", *(f"/{table}/list" for table in TABLES), "/order/details/1"]:
        await page.goto(f"{panel.url}{path}")
        assert page.url == f"{panel.url}/login"
    await picture(page, "login")


async def test_a_wrong_password_is_refused(page: Page, panel: Panel) -> None:
    await log_in(page, panel, password="wrong")
    await expect(page.locator(".invalid-feedback").first).to_contain_text("Invalid")
    await picture(page, "login-refused")
    await page.goto(f"{panel.url}/")
    assert page.url == f"{panel.url}/login"


async def test_the_first_page_shows_what_is_open_and_who_watches(page: Page, panel: Panel) -> None:
    await log_in(page, panel)
    await expect(page.locator("h2.page-title")).to_have_text("Overview")
    cycles = page.locator("#open-cycles tbody tr")
    await expect(cycles).to_have_count(1)
    for text in (SYMBOL, "trading", "0.004 at 60000", "watched"):
        await expect(cycles.first).to_contain_text(text)
    await expect(page.locator("#watches")).to_contain_text(SYMBOL)
    await expect(page.locator("#alarms")).to_contain_text("something to <i>look</i> at")
    await expect(page.locator("#alarms")).to_contain_text("If it was you: nothing")
    alerts = page.locator("#alerts tbody tr")
    await expect(alerts).to_have_count(2)
    await expect(alerts.first).to_contain_text("409")
    await picture(page, "overview")


async def test_the_first_page_says_that_the_kill_switch_is_on(page: Page, panel: Panel) -> None:
    await log_in(page, panel)
    await expect(page.locator("#killed")).to_have_count(0)
    await panel.api.store.kill_trading(by="<b>ann</b>")
    try:
        await page.reload()
        await expect(page.locator("#killed")).to_contain_text("thrown by <b>ann</b>: no cycle is")
        await picture(page, "killed")
    finally:
        await panel.api.store.revive_trading()


@pytest.mark.parametrize("table", TABLES)
async def test_every_table_can_be_looked_at_and_not_changed(
    page: Page, panel: Panel, table: str
) -> None:
    await log_in(page, panel)
    await page.goto(f"{panel.url}/{table}/list")
    rows = page.locator("table tbody tr")
    assert await rows.count() > 0
    text = await page.inner_text("body")
    assert not re.search(r"0E-\d|\d\.\d{9,}|\.\d{6}\b.*\+00:00", text)
    for word in ("create", "edit", "delete", "import", "export", "action"):
        assert await page.locator(f"a[href*='/{word}']").count() == 0, word
    for word in ("New", "Delete", "Edit", "Actions", "Export"):
        assert await page.get_by_text(word, exact=False).locator("visible=true").count() == 0, word
    await picture(page, f"list-{table}")
    # A bare machine has one wide font, others have narrower ones.
    await page.add_style_tag(content='* { font-family: "DejaVu Sans", sans-serif !important }')
    assert await page.evaluate(NOTHING_IS_CUT_OFF)
    await rows.first.locator("a[href*='/details/']").first.click()
    await expect(page.locator("table")).to_be_visible()
    assert await page.locator("a.btn:has-text('Edit'), a.btn:has-text('Delete')").count() == 0
    await picture(page, f"details-{table}")


@pytest.mark.parametrize(
    "request_of",
    ["POST order/create", "POST order/edit/1", "DELETE order/delete?pks=1", "POST order/import"],
)
async def test_what_is_not_offered_is_refused_too(
    page: Page, panel: Panel, request_of: str
) -> None:
    await log_in(page, panel)
    method, path = request_of.split()
    answer = await page.request.fetch(f"{panel.url}/{path}", method=method)
    assert answer.status == 403


@pytest.mark.parametrize(
    "bad",
    [
        "order/details/abc",
        "order/details/99999999999999999999999",
        "order/details/7777",
        "binance-symbol/details/a%00b",
        "nothing/list",
        "order/list?search=%00",
        "order/list?page=99999999999999999999",
        "order/list?sortBy=nothing",
    ],
)
async def test_a_bad_address_is_no_error_of_ours(page: Page, panel: Panel, bad: str) -> None:
    await log_in(page, panel)
    answer = await page.request.get(f"{panel.url}/{bad}")
    assert answer.status < 500
    assert "Traceback" not in await answer.text()


async def test_numbers_and_reasons_are_shown_whole(page: Page, panel: Panel) -> None:
    await log_in(page, panel)
    await expect(page.locator("#open-cycles")).to_contain_text("0.103 at 49561.83043478")
    assert await page.evaluate(NOTHING_IS_CUT_OFF)
    await page.goto(f"{panel.url}/binance-position/list")
    await expect(page.locator("thead")).to_contain_text("Activation before")
    await page.goto(f"{panel.url}/order/list")
    why = page.locator("tbody td", has_text="rule 4")
    await expect(why).to_have_text(WHY)
    assert await why.evaluate("cell => cell.scrollWidth <= cell.clientWidth"), "it is cut off"


async def test_texts_from_outside_are_shown_as_text(page: Page, panel: Panel) -> None:
    await log_in(page, panel)
    await page.goto(f"{panel.url}/web-hook/details/1")
    await expect(page.locator("pre").first).to_contain_text("<b>a name</b>")


async def test_searching_finds(page: Page, panel: Panel) -> None:
    await log_in(page, panel)
    await page.goto(f"{panel.url}/web-hook/list?search=refused")
    await expect(page.locator("table tbody tr")).to_have_count(1)


async def test_the_cookie_is_for_this_site_only_and_the_logout_ends_it(
    page: Page, panel: Panel
) -> None:
    await log_in(page, panel)
    (cookie,) = await page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert cookie["path"] == "/rust_admin"
    answer = await page.request.get(f"{panel.url}/")
    assert answer.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    await page.click("text=Logout")
    await page.goto(f"{panel.url}/")
    assert page.url == f"{panel.url}/login"
