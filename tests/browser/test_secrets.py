"""The page of the alerts' secrets: made, shown once, revoked."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Page, expect

from core.alert_secrets import digest_of
from tests.browser.panel_world import WIDE_FONT, Panel, log_in, picture, running_panel
from tests.unit.samples import body

FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest_asyncio.fixture(loop_scope="session")
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """Return a panel without any secret."""
    async with running_panel(tmp_path) as running:
        yield running


async def make_secret(page: Page, name: str, *, may_close_all: bool = False) -> str:
    """Make one on the page, and return what is shown."""
    await page.fill("#name", name)
    if may_close_all:
        await page.check("input[name=may_close_all]")
    await page.click("text=Make it")
    return await page.inner_text("#secret")


async def test_a_secret_is_made_shown_once_used_and_revoked(page: Page, panel: Panel) -> None:
    await log_in(page, panel)
    await page.click("text=Secrets")
    await expect(page.locator("#is-open")).to_contain_text("whoever reaches the webhook")
    await picture(page, "secrets-none")
    text = await make_secret(page, " the <b>strategy</b> ", may_close_all=True)
    assert text.startswith("tb_")
    await expect(page.locator("#made")).to_contain_text("of the <b>strategy</b>, shown only now")
    await expect(page.locator("#is-open")).to_have_count(0)
    await picture(page, "secrets-made")
    await page.evaluate(WIDE_FONT)
    assert await page.evaluate(FITS)
    await picture(page, "secrets-made-wide")
    (known,) = await panel.api.store.secrets()
    assert (known.name, known.may_close_all) == ("the <b>strategy</b>", True)
    assert (known.created_by, known.digest) == ("operator in the panel", digest_of(text))
    # It opens; nothing else does any more.
    await panel.api.app.state.services.book.open()  # as two seconds later
    assert (await panel.api.send(body())).status_code == 401
    assert (await panel.api.send(body(secret=text))).status_code == 409
    # Loaded anew, nobody can see it.
    await page.goto(f"{panel.url}/secrets")
    row = page.locator("#secrets tbody tr")
    await expect(row).to_contain_text("valid")
    await expect(row).to_contain_text("20")  # the year that it was last used in
    for path in ("", "/web-hook/list", "/web-hook/details/3", "/secrets"):
        await page.goto(f"{panel.url}{path}")
        content = await page.content()
        assert text not in content
        assert digest_of(text) not in content
    await page.click("text=Revoke")
    await expect(page.locator("#said")).to_contain_text("Secret 1 is revoked")
    await expect(row).to_contain_text("revoked")
    await expect(row.locator("button")).to_have_count(0)
    await picture(page, "secrets-revoked")


async def test_the_same_form_sent_again_makes_no_second_one(page: Page, panel: Panel) -> None:
    await log_in(page, panel)
    await page.goto(f"{panel.url}/secrets")
    await make_secret(page, "tradingview")
    answer = await page.reload()
    assert answer is not None
    assert (answer.request.method, answer.status) == ("POST", 403)
    await expect(page.locator("body")).to_contain_text("This form is out of date")
    await picture(page, "secrets-again")
    assert len(await panel.api.store.secrets()) == 1


async def test_a_name_that_is_none_is_refused_where_it_stands(page: Page, panel: Panel) -> None:
    await log_in(page, panel)
    await page.goto(f"{panel.url}/secrets")
    await page.fill("#name", "   ")
    await page.click("text=Make it")
    await expect(page.locator(".invalid-feedback")).to_contain_text("must be a name of at most 64")
    await picture(page, "secrets-name")
    assert await panel.api.store.secrets() == ()
