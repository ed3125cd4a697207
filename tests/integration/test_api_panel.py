"""The panel without a browser, on both databases: every page answers, no address is our error."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.domain.cycle import OperatorAction
from tests.integration.api_world import SYMBOL, Api, running_api
from tests.integration.panel_login import HASH, PASSWORD, send_form, token_in, try_login
from tests.unit.samples import body

LISTS = ["web-hook", "cycle", "binance-position", "order", "fill", "binance-symbol", "alarm"]


@pytest.fixture
async def api(migrated_url: str) -> AsyncIterator[Api]:
    """Return an API with an open cycle, seen by the operator."""
    async with running_api(migrated_url, admin_password=HASH) as running:
        await running.send(body())
        await log_in(running)
        yield running


async def log_in(api: Api, *, user: str = "admin", password: str = PASSWORD) -> bool:
    """Return whether the login let us in."""
    return (await try_login(api.http, user=user, password=password)).status_code == 303


async def test_every_page_answers(api: Api) -> None:
    overview = await api.http.get("/rust_admin/")
    assert "0.004 at 60000" in overview.text
    for name in LISTS:
        for query in ("", "?search=BTC", "?search=%00%25'", "?page=2&pageSize=50", "?sort=desc"):
            answer = await api.http.get(f"/rust_admin/{name}/list{query}")
            assert answer.status_code in (200, 302), (name, query)
    for path in ("web-hook/details/1", "order/details/1", "binance-symbol/details/BTCUSDT"):
        answer = await api.http.get(f"/rust_admin/{path}")
        assert answer.status_code == 200
        assert "0E-" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "order/details/abc",
        "order/details/99999999999999999999999",
        "order/details/-1",
        "order/details/1;2",
        "binance-symbol/details/a%00b",
        "nothing/list",
        "order/list?page=99999999999999999999",
        "order/list?page=-1",
        "order/list?pageSize=99999999999999999999",
        "order/list?sortBy=nothing",
        "order/export/csv",
        "order/ajax/lookup?name=x&term=y",
        "order/1/reason/download/",
    ],
)
async def test_a_bad_address_is_no_error_of_ours(api: Api, path: str) -> None:
    answer = await api.http.get(f"/rust_admin/{path}")
    assert answer.status_code < 500


async def test_the_writing_of_alerts_does_not_wait_for_a_reader(api: Api) -> None:
    pages = (api.http.get("/rust_admin/web-hook/list") for _ in range(5))
    alerts = (api.send(body(settings__start=False)) for _ in range(5))
    answers = await asyncio.gather(*pages, *alerts)
    assert {answer.status_code for answer in answers} == {200}


async def test_the_kill_switch_opens_nothing_more_and_closes_only_where_it_is_asked_for(
    api: Api,
) -> None:
    async def press(**form: str) -> int:
        token = token_in(await api.http.get("/rust_admin/"))
        answer = await send_form(api.http, "/rust_admin/kill", {"token": token, **form})
        return answer.status_code

    async def asked() -> list[OperatorAction]:
        return [each.action for each in await api.store.operator_requests([SYMBOL])]

    assert await press(do="nothing") == 400
    assert await press(do="kill") == 303
    thrown = await api.store.killed()
    assert thrown is not None
    assert thrown.by == "admin in the panel"
    assert "thrown by admin in the panel" in (await api.http.get("/rust_admin/")).text
    assert await asked() == []
    assert await press(do="kill", close_all="yes") == 303
    assert await asked() == [OperatorAction.CLOSE]
    assert (await api.store.killed()) == thrown, "it was thrown before"
    assert await press(do="undo") == 303
    assert await press(do="undo") == 303
    assert await api.store.killed() is None
    assert await asked() == [OperatorAction.CLOSE], "a close is not taken back"


async def test_only_the_right_name_and_password_open_it(migrated_url: str) -> None:
    async with running_api(migrated_url, admin_password=HASH, admin_user="operator") as api:
        assert not await log_in(api, user="operator", password="")
        assert not await log_in(api, user="admin")
        assert (await api.http.get("/rust_admin/order/list")).status_code == 404
        assert await log_in(api, user="operator")
        assert (await api.http.get("/rust_admin/order/list")).status_code == 200
        assert PASSWORD not in str(api.http.cookies)


async def test_without_a_password_nobody_can_log_in(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        assert not await log_in(api, password="")
        assert not await log_in(api, password="None")


async def test_off_loopback_the_cookie_needs_https(migrated_url: str) -> None:
    async with running_api(migrated_url, admin_password=HASH, host="0.0.0.0") as api:
        answer = await api.http.get("http://192.168.1.5:8009/rust_admin/login")
        assert "; secure" in answer.headers["set-cookie"]
        assert "over https only" in answer.text
