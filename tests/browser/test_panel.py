"""The panel as the operator sees it: the login, every list, nothing that could change anything."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from core.domain.cycle import OperatorAction
from tests.browser.panel_world import WHY, WIDE_FONT, Panel, log_in, picture, running_panel
from tests.integration.api_world import SYMBOL

NOTHING_IS_CUT_OFF = """
[...document.querySelectorAll(".table-responsive")].every(t => t.scrollWidth <= t.clientWidth)
"""
TABLES = [
    "web-hook",
    "cycle",
    "binance-position",
    "order",
    "fill",
    "binance-symbol",
    "alarm",
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def panel(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Panel]:
    """Return a panel with something to show."""
    async with running_panel(tmp_path_factory.mktemp("panel")) as running:
        yield running


async def test_nothing_is_shown_before_the_login(page: Page, panel: Panel) -> None:
    await page.goto(f"{panel.url}/")
    assert page.url == f"{panel.url}/login"
    await picture(page, "login")
    nothing = await page.request.get(f"{panel.url}/there/is/nothing")
    paths = ["secrets", "order/details/1", *(f"{table}/list" for table in TABLES)]
    for path in paths:
        answer = await page.request.get(f"{panel.url}/{path}")
        assert (answer.status, await answer.body()) == (404, await nothing.body()), path
    await page.goto(f"{panel.url}/order/list")
    await picture(page, "not-found")
    await page.click("text=To the first page")
    assert page.url == f"{panel.url}/login"


async def test_a_wrong_password_is_refused(page: Page, panel: Panel) -> None:
    await log_in(page, panel, password="wrong")
    await expect(page.locator("#error")).to_have_text("Wrong name or password.")
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


async def test_the_kill_switch_is_thrown_and_taken_back_by_a_button(
    page: Page, panel: Panel
) -> None:
    store = panel.api.store
    await log_in(page, panel)
    try:
        await page.click("text=Open no more cycles")
        await expect(page.locator("#killed")).to_contain_text("thrown by operator in the panel")
        await expect(page.locator("#kill")).to_have_count(0)
        assert await store.killed() is not None
        assert await store.operator_requests([SYMBOL]) == ()
        await page.click("text=Open cycles again")
        await expect(page.locator("#killed")).to_have_count(0)
        assert await store.killed() is None
        await picture(page, "kill-switch")
        await page.check("input[name=close_all]")
        await page.click("text=Open no more cycles")
        await expect(page.locator("#killed")).to_be_visible()
        (request,) = await store.operator_requests([SYMBOL])
        assert request.action is OperatorAction.CLOSE
        await store.finish_operator_request(request.action_id, "done")
    finally:
        await store.revive_trading()


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
    await page.evaluate(WIDE_FONT)
    assert await page.evaluate(NOTHING_IS_CUT_OFF)
    await rows.first.locator("a[href*='/details/']").first.click()
    await expect(page.locator("table")).to_be_visible()
    assert await page.locator("a.btn:has-text('Edit'), a.btn:has-text('Delete')").count() == 0
    await picture(page, f"details-{table}")


@pytest.mark.parametrize(
    "request_of",
    [
        "POST order/create",
        "POST order/edit/1",
        "DELETE order/delete?pks=1",
        "POST order/import",
        "GET logout",
    ],
)
async def test_what_is_not_offered_is_not_there(page: Page, panel: Panel, request_of: str) -> None:
    await log_in(page, panel)
    method, path = request_of.split()
    own = {"Origin": panel.url.removesuffix("/rust_admin")}
    answer = await page.request.fetch(f"{panel.url}/{path}", method=method, headers=own)
    assert answer.status == 404


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


async def test_the_cookies_are_for_this_site_only_and_the_logout_ends_the_session(
    page: Page, panel: Panel
) -> None:
    await log_in(page, panel)
    cookies = {cookie["name"]: cookie for cookie in await page.context.cookies()}
    assert cookies.keys() == {"tradebox_session", "tradebox_device"}
    for cookie in cookies.values():
        assert cookie["path"] == "/rust_admin"
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    await page.click("text=Logout")
    assert page.url == f"{panel.url}/login"
    # Nor does a copy of the cookie open anything, whoever has it.
    await page.context.add_cookies([cookies["tradebox_session"]])  # type: ignore[list-item]
    await page.goto(f"{panel.url}/")
    assert page.url == f"{panel.url}/login"
