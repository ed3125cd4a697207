"""Pages of somebody else, opened by the operator while he is logged in, get nothing done.

Two such pages: of another host (to browsers another site), and of another port of the panel's own
host. Browsers take the second for the same site and send it the panel's strict cookie.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Frame, Page, expect
from starlette.responses import HTMLResponse
from starlette.types import Receive, Scope, Send

from tests.browser.panel_world import Panel, Seen, log_in, running_panel, serving
from tests.integration.panel_login import TOKEN
from tests.unit.samples import body

OTHER_HOST, OTHER_PORT = "localhost", "127.0.0.1"  # the panel is at 127.0.0.1
FORMS = {
    "make a secret": ("secrets", {"do": "create", "name": "mallory", "may_close_all": "yes"}),
    "revoke a secret": ("secrets", {"do": "revoke", "number": "1"}),
    "throw the kill switch": ("kill", {"do": "kill", "close_all": "yes"}),
    "log the operator out": ("logout", {}),
    "log in as somebody": ("login", {"username": "operator", "password": "mallory's"}),
}


@dataclass
class Mallory:
    """Somebody else's web server."""

    port: int = 0
    html: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer whatever is asked for with the same page."""
        await HTMLResponse(self.html)(scope, receive, send)

    def form(self, panel: Panel, path: str, fields: dict[str, str]) -> str:
        """Return a page that sends a form to the panel by itself."""
        inputs = "".join(f'<input name="{k}" value="{v}">' for k, v in fields.items())
        form = f'<form action="{panel.url}/{path}" method="post">{inputs}</form>'
        return f"{form}<script>document.forms[0].submit()</script>"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def panel(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Panel]:
    """Return a panel with one secret."""
    async with running_panel(tmp_path_factory.mktemp("panel")) as running:
        made = {"may_close_all": False, "created_by": "a test", "created_at_ms": 1}
        await running.api.store.add_secret("tradingview", "digest", **made)  # type: ignore[arg-type]
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def mallory() -> AsyncIterator[Mallory]:
    """Return somebody else's web server."""
    server = Mallory()
    async with serving(server) as server.port:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def logged_in(browser: Browser, panel: Panel) -> AsyncIterator[BrowserContext]:
    """Return the operator's browser, logged in once: no page of somebody else may end that."""
    context = await browser.new_context()
    context.set_default_timeout(10_000)
    page = await context.new_page()
    await log_in(page, panel)
    await page.close()
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def operator(logged_in: BrowserContext, panel: Panel) -> AsyncIterator[Page]:
    """Return a page of the operator's browser that shows the panel."""
    page = await logged_in.new_page()
    await page.goto(f"{panel.url}/")
    await expect(page.locator("h2.page-title")).to_have_text("Overview")
    panel.seen.clear()
    yield page
    await page.close()


def of_others(panel: Panel) -> list[Seen]:
    """Return the requests that a browser said to be another page's."""
    return [one for one in panel.seen if one.site in ("same-site", "cross-site")]


async def nothing_was_done(operator: Page, panel: Panel) -> None:
    """See that there is the one secret still, and that the operator is logged in still."""
    (secret,) = await panel.api.store.secrets()
    assert (secret.name, secret.revoked_at_ms) == ("tradingview", None)
    assert await panel.api.store.killed() is None
    await operator.goto(f"{panel.url}/")
    await expect(operator.locator("h2.page-title")).to_have_text("Overview")


@pytest.mark.parametrize("host", [OTHER_HOST, OTHER_PORT])
@pytest.mark.parametrize("what", FORMS)
async def test_a_form_that_sends_itself_is_refused(
    operator: Page, panel: Panel, mallory: Mallory, host: str, what: str
) -> None:
    path, fields = FORMS[what]
    token = TOKEN.search(await operator.content())
    assert token is not None
    # Not even the session's token, were it known, would help.
    mallory.html = mallory.form(panel, path, {**fields, "token": token[1]})
    async with operator.expect_response(lambda answer: answer.request.method == "POST") as sent:
        await operator.goto(f"http://{host}:{mallory.port}/")
    answer = await sent.value
    assert (answer.url, answer.status) == (f"{panel.url}/{path}", 403)
    (request,) = of_others(panel)
    assert request.has_session is (host == OTHER_PORT), "as browsers take it for the same site"
    assert request.site == ("same-site" if host == OTHER_PORT else "cross-site")
    await nothing_was_done(operator, panel)


@pytest.mark.parametrize("host", [OTHER_HOST, OTHER_PORT])
async def test_a_script_can_neither_send_nor_read(
    operator: Page, panel: Panel, mallory: Mallory, host: str
) -> None:
    mallory.html = "<p>nice pictures</p>"
    await operator.goto(f"http://{host}:{mallory.port}/")
    tried = await operator.evaluate(
        """async url => {
            const asked = {credentials: "include"};
            const body = new URLSearchParams({do: "create", name: "mallory"});
            const result = {};
            for (const [name, path, options] of [
                ["sent", "/secrets", {...asked, method: "POST", mode: "no-cors", body}],
                ["sent as JSON", "/secrets", {...asked, method: "POST", headers:
                    {"Content-Type": "application/json"}, body: "{}"}],
                ["deleted", "/order/delete?pks=1", {...asked, method: "DELETE"}],
                ["read", "/secrets", asked],
                ["read blindly", "/secrets", {...asked, mode: "no-cors"}],
            ]) {
                try { result[name] = (await fetch(url + path, options)).type; }
                catch (error) { result[name] = "failed"; }
            }
            return result;
        }""",
        panel.url,
    )
    # What may not be read is "opaque" at best; blindly asked for, it may not even be embedded.
    assert tried == {
        "sent": "failed",
        "sent as JSON": "failed",
        "deleted": "failed",
        "read": "failed",
        "read blindly": "failed",
    }
    assert {one.status for one in of_others(panel)} == {403}
    await nothing_was_done(operator, panel)


@pytest.mark.parametrize("host", [OTHER_HOST, OTHER_PORT])
async def test_the_panel_is_shown_in_no_frame_and_as_no_script(
    operator: Page, panel: Panel, mallory: Mallory, host: str
) -> None:
    mallory.html = f"""
        <iframe id="overview" src="{panel.url}/"></iframe>
        <iframe id="login" src="{panel.url}/login"></iframe>
        <object data="{panel.url}/secrets"></object>
        <script>window.ran = []</script>
        <script src="{panel.url}/statics/js/main.js" onload="ran.push('script')"></script>
        <img src="{panel.url}/logout" onload="ran.push('image')">
    """
    await operator.goto(f"http://{host}:{mallory.port}/", wait_until="load")
    assert await operator.evaluate("window.ran") == []
    for frame in operator.frames[1:]:
        assert await _text_of(frame) in (
            "",
            "refused: this did not come from the panel's own pages",
        )
        assert "chrome-error" in frame.url or frame.url == "about:blank" or panel.url in frame.url
    assert {one.status for one in of_others(panel)} == {403}
    await nothing_was_done(operator, panel)


async def test_a_script_cannot_send_an_alert_either(
    operator: Page, panel: Panel, mallory: Mallory
) -> None:
    mallory.html = "<p>nice pictures</p>"
    await operator.goto(f"http://{OTHER_HOST}:{mallory.port}/")
    await operator.evaluate(
        """async ([url, alert]) => {
            try { await fetch(url, {method: "POST", mode: "no-cors", body: alert}); } catch {}
        }""",
        [panel.url.replace("rust_admin", "webhook"), body(symbol="ETHUSDT").decode()],
    )
    assert [(one.method, one.status) for one in of_others(panel)] == [("POST", 403)]


async def test_a_link_that_is_followed_shows_the_panel_and_changes_nothing(
    operator: Page, panel: Panel, mallory: Mallory
) -> None:
    mallory.html = f'<a href="{panel.url}/logout">pictures</a>'
    await operator.goto(f"http://{OTHER_PORT}:{mallory.port}/")
    async with operator.expect_response(f"{panel.url}/logout") as followed:
        await operator.click("text=pictures")
    assert (await followed.value).status == 404
    await nothing_was_done(operator, panel)


async def _text_of(frame: Frame) -> str:
    text: str = await frame.evaluate("document.body ? document.body.innerText : ''")
    return text.strip()
