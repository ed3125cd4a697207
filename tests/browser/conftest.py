"""A real browser for the tests in this folder: fixture `page`, a fresh one for each test."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Error, Page, Playwright, async_playwright

from tests.browser import chromium

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run every test of this folder on one event loop: the browser's connection lives on it."""
    one_loop = pytest.mark.asyncio(loop_scope="session")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(one_loop, append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Return a headless Chromium that reaches this machine only."""
    try:
        driver = await async_playwright().start()
    except Exception as error:  # noqa: BLE001 - the driver's process failing to start has no type of its own
        _give_up(f"Playwright does not start ({error})")
    try:
        running = await _launch(driver)
        yield running
        await running.close()
    finally:
        await driver.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """Return an empty page; an error in a script, or something its policy forbids, is a failure."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(10_000)
    page = await context.new_page()
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda message: _note_violation(message.text, broken))
    yield page
    await context.close()
    assert broken == [], "scripts of the page failed"


def _note_violation(text: str, broken: list[str]) -> None:
    if "Content Security Policy" in text:
        broken.append(text)


async def _launch(driver: Playwright) -> Browser:
    own = not os.environ.get("CHROMIUM_PATH") and chromium.playwright_has_its_own()
    path = None if own else chromium.on_this_machine()
    if not own and path is None:
        _give_up("there is no Chromium")
    try:
        return await driver.chromium.launch(executable_path=path, args=list(chromium.FLAGS))
    except Error as error:
        _give_up(f"{path or 'the browser'} does not start: {error.message.splitlines()[0]}")


def _give_up(why: str) -> NoReturn:
    message = f"{why}; see to it with: {chromium.advice()}"
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
