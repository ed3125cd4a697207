"""The operator's login and what stands around it: tokens, origins, delays, sessions, headers."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from itsdangerous import TimestampSigner
from sqlalchemy import text
from structlog.testing import capture_logs

from admin.forms import FORM_LIMIT
from admin.login import OperatorLogin
from admin.sessions import IDLE_LASTS_S, SESSION_LASTS_S
from core.clients.db_async import make_engine
from core.clients.sql_store import SqlCycleStore
from core.passwords import hashed
from flows.outside import HEADERS
from tests.integration.api_world import Api, running_api
from tests.integration.panel_login import HASH, PASSWORD, send_form, token_in, try_login

SECRET = "a session secret that is long enough"
LOGIN, SECRETS = "/rust_admin/login", "/rust_admin/secrets"
KILL = "/rust_admin/kill"
OWN = {"Origin": "http://localhost"}


@pytest.fixture
async def api(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """Return an API whose panel nobody has logged in to, and where no delay ever ends."""
    login = functools.partial(OperatorLogin, stopwatch=lambda: 0.0)
    monkeypatch.setattr("admin.panel.OperatorLogin", login)
    async with running_api(migrated_url, admin_password=HASH) as running:
        yield running


def visitor(api: Api, address: str = "203.0.113.9", **options: Any) -> httpx.AsyncClient:
    """Return somebody else's browser, at an address of its own."""
    transport = httpx.ASGITransport(app=api.app, client=(address, 1), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", **options)


async def log_in(http: httpx.AsyncClient, password: str = PASSWORD) -> int:
    return (await try_login(http, user="admin", password=password)).status_code


async def is_in(http: httpx.AsyncClient) -> bool:
    answer = await http.get("/rust_admin/")
    assert answer.status_code in (200, 302)
    return answer.status_code == 200


# --- Passwords ---


async def test_a_hash_in_the_settings_opens_to_its_password_and_not_to_itself(
    migrated_url: str,
) -> None:
    known = hashed("pässwörd & so on")
    async with running_api(migrated_url, admin_password=known) as api:
        assert await log_in(api.http, known) == 403
        assert await log_in(api.http, "pässwörd & so on") == 303
        assert await is_in(api.http)


# --- Forms: a token of the session, from our own origin ---


PAGE = "refused: this did not come"
STALE = "This form is out of date"


@pytest.mark.parametrize("path", [LOGIN, "/rust_admin/logout", SECRETS, KILL])
async def test_a_form_needs_the_sessions_token_and_our_origin(api: Api, path: str) -> None:
    if path != LOGIN:
        assert await log_in(api.http) == 303
    do = "kill" if path == KILL else "create"
    form = {"username": "admin", "password": PASSWORD, "do": do, "name": "x"}
    right = {"token": token_in(await api.http.get(LOGIN if path == LOGIN else SECRETS))}
    for token, headers, said in (
        (right, {}, PAGE),
        (right, {"Origin": "http://localhost:9999"}, PAGE),
        (right, {**OWN, "Sec-Fetch-Site": "same-site"}, PAGE),
        ({"token": "wrong"}, OWN, STALE),
        ({}, OWN, STALE),
    ):
        answer = await api.http.post(path, data={**form, **token}, headers=headers)
        assert (answer.status_code, said in answer.text) == (403, True), (token, headers)
        assert await api.store.secrets() == ()
        assert await api.store.killed() is None
        assert await is_in(api.http) is (path != LOGIN)
    assert (await api.http.post(path, data={**form, **right}, headers=OWN)).status_code < 400


async def test_a_token_of_another_session_is_wrong(api: Api) -> None:
    async with visitor(api) as mallory:
        token = token_in(await mallory.get(LOGIN))
    assert await log_in(api.http) == 303
    form = {"token": token, "do": "create", "name": "x"}
    assert (await send_form(api.http, SECRETS, form)).status_code == 403


async def test_the_login_leaves_nothing_of_what_a_stranger_could_have_known(api: Api) -> None:
    before = token_in(await api.http.get(LOGIN))
    assert await log_in(api.http) == 303
    assert token_in(await api.http.get(SECRETS)) != before


NONSENSE: list[tuple[int, dict[str, str]]] = [
    (422, {"do": "create", "name": "x" * 65}),
    (422, {"do": "create", "name": "a\x00b"}),
    (422, {"do": "create"}),
    (200, {"do": "revoke", "number": "1"}),  # there is none, and it says so
    (400, {"do": "revoke", "number": "99999999999999999999"}),
    (400, {"do": "revoke", "number": "1; drop"}),
    (400, {"do": "revoke"}),
    (400, {"do": "nothing"}),
    (400, {}),
    (413, {"name": "x" * FORM_LIMIT}),
    (400, {str(n): "x" for n in range(30)}),
]


async def test_a_form_that_makes_no_sense_does_nothing(api: Api) -> None:
    assert await log_in(api.http) == 303
    token = token_in(await api.http.get(SECRETS))
    for status, form in NONSENSE:
        answer = await send_form(api.http, SECRETS, {"token": token, **form})
        assert answer.status_code == status, form
        assert await api.store.secrets() == ()


# --- Delays ---


async def test_wrong_passwords_cost_their_sender_time_and_nobody_else(api: Api) -> None:
    async with visitor(api) as mallory, visitor(api, "203.0.113.10") as operator:
        assert [await log_in(mallory, "wrong") for _ in range(3)] == [403] * 3
        answer = await try_login(mallory, user="admin", password=PASSWORD)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert "Try again in 1 s." in answer.text
        assert await log_in(operator) == 303


async def test_a_crowd_of_strangers_does_not_keep_the_operator_out(api: Api) -> None:
    async with visitor(api, "203.0.113.10") as known, visitor(api, "203.0.113.11") as stranger:
        assert await log_in(known) == 303
        await send_form(known, "/rust_admin/logout", {"token": token_in(await known.get(SECRETS))})
        for n in range(20):
            async with visitor(api, f"198.51.100.{n}") as bot:
                assert await log_in(bot, "wrong") == 403
        assert await log_in(stranger) == 429
        assert await log_in(known) == 303, "a browser that was logged in with before"
        assert await log_in(api.http) == 303, "at the machine itself"


async def test_a_browser_that_only_says_it_is_known_is_a_stranger(api: Api) -> None:
    async with visitor(api, cookies={"tradebox_device": "forged.aaaa.bbbb"}) as mallory:
        waits = [await log_in(mallory, "wrong") for _ in range(4)]
        assert waits == [403, 403, 403, 429]
        mallory.cookies.set("tradebox_device", "another.aaaa.bbbb")
        assert await log_in(mallory, "wrong") == 429


async def test_many_logins_at_once_are_checked_one_by_one_and_few(api: Api) -> None:
    async with visitor(api) as mallory:
        token = token_in(await mallory.get(LOGIN))
        form = {"token": token, "username": "admin", "password": "wrong"}
        answers = await asyncio.gather(*(send_form(mallory, LOGIN, form) for _ in range(30)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(403), statuses.count(429)) == (3, 27)


# --- Sessions ---


async def test_a_session_ends_when_nobody_comes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await log_in(api.http) == 303
    now = int(time.time())
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: now + IDLE_LASTS_S - 60)
    assert await is_in(api.http)
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: now + IDLE_LASTS_S + 60)
    assert not await is_in(api.http)


async def test_a_session_lasts_on_while_somebody_comes_and_ends_all_the_same(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: int(now))
    login = functools.partial(OperatorLogin, clock=lambda: now)
    monkeypatch.setattr("admin.panel.OperatorLogin", login)
    async with running_api(migrated_url, admin_password=HASH) as api:
        assert await log_in(api.http) == 303
        begun, step = now, IDLE_LASTS_S * 0.9
        while now + step < begun + SESSION_LASTS_S:
            now += step
            assert await is_in(api.http), (now - begun) / 3600
        now = begun + SESSION_LASTS_S + 1
        assert not await is_in(api.http)


@pytest.mark.parametrize(
    ("values", "lasts"),
    [
        ({"session_secret": SECRET}, True),
        ({"session_secret": SECRET, "admin_password": "another"}, False),
        ({"session_secret": SECRET, "admin_user": "ann"}, False),
        ({"session_secret": SECRET + "!"}, False),
        ({}, False),  # made up anew
    ],
)
async def test_what_a_session_outlives(
    migrated_url: str, values: dict[str, Any], lasts: bool
) -> None:
    first: dict[str, Any] = {"admin_password": HASH, "session_secret": SECRET}
    async with running_api(migrated_url, **first) as api:
        assert await log_in(api.http) == 303
        cookies = api.http.cookies
    async with running_api(migrated_url, **{"admin_password": HASH, **values}) as api:
        api.http.cookies = cookies
        assert await is_in(api.http) is lasts


# --- Schemes and headers ---


async def test_cookies_and_addresses_are_https_where_a_trusted_proxy_says_so(
    migrated_url: str,
) -> None:
    values: dict[str, Any] = {"admin_password": HASH, "trusted_proxies": "127.0.0.1"}
    said = {"X-Forwarded-Proto": "https", "Host": "panel.example"}
    async with running_api(migrated_url, **values) as api:
        page = await api.http.get(LOGIN, headers=said)
        assert "; secure" in page.headers["set-cookie"]
        assert 'action="https://panel.example/rust_admin/login"' in page.text
        assert "over https only" not in page.text
        assert page.headers["strict-transport-security"] == "max-age=15552000"
        lied = await api.http.get(LOGIN, headers={**said, "X-Forwarded-Proto": "https, http"})
        assert "over https only" in lied.text
        async with visitor(api) as stranger:
            page = await stranger.get(LOGIN, headers=said)
            assert "strict-transport-security" not in page.headers
            assert 'action="http://panel.example/rust_admin/login"' in page.text


async def test_every_answer_has_the_headers(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: SqlCycleStore, *args: object, **kwargs: object) -> object:
        raise ZeroDivisionError("a detail of our insides")

    async with running_api(
        migrated_url, admin_password=HASH, webhook_secret="sixteen or more…"
    ) as api:
        monkeypatch.setattr(SqlCycleStore, "paused_by", broken)
        assert await log_in(api.http) == 303
        asked = [
            (200, await api.http.get("/ping")),
            (200, await api.http.get("/rust_admin/")),
            (200, await api.http.get("/rust_admin/statics/js/main.js")),
            (200, await api.http.get("/rust_admin/files/panel.css")),
            (200, await api.http.get(SECRETS)),
            (303, await api.http.get(LOGIN)),
            (307, await api.http.get("/rust_admin")),
            (404, await api.http.get("/nothing")),
            (404, await api.http.get("/rust_admin/nothing")),
            (404, await api.http.get("/rust_admin/statics/nothing")),
            (404, await api.http.get("/rust_admin/logout")),
            (403, await api.http.post("/rust_admin/logout")),
            (401, await api.send("{}", path="/webhook/wrong")),
            (401, await api.send('{"secret": "wrong"}')),
            (413, await api.send("x" * 70_000)),
        ]
    for status, answer in asked:
        assert answer.status_code == status, answer.url
        assert "unsafe" not in answer.headers["content-security-policy"]
        for name, value in HEADERS:
            if name == b"cache-control" and ("/statics/" in answer.url.path or status == 200):
                continue
            assert answer.headers[name.decode()] == value.decode(), (answer.url, name)


async def test_a_bug_is_answered_with_the_headers_too(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: object) -> object:
        raise ZeroDivisionError("a detail of our insides")

    async with running_api(migrated_url, admin_password=HASH) as api:
        assert await log_in(api.http) == 303
        monkeypatch.setattr("admin.panel.read_overview", broken)
        monkeypatch.setattr("flows.health.Health.report", broken)
        for path in ("/health/ready", "/rust_admin/"):
            with capture_logs() as logs:
                answer = await api.http.get(path)
            assert [line["event"] for line in logs] == ["request failed"]
            assert answer.status_code == 500
            assert "insides" not in answer.text
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_without_its_database_the_panel_says_so(migrated_url: str) -> None:
    async with running_api(migrated_url, admin_password=HASH) as api:
        assert await log_in(api.http) == 303
        engine = make_engine(migrated_url)
        async with engine.begin() as connection:
            for table in ("alert_secret", "monitor_lease", "alarm"):
                await connection.execute(text(f"DROP TABLE {table}"))
        await engine.dispose()
        for page in ("/rust_admin/", SECRETS, "/rust_admin/alarm/list"):
            answer = await api.http.get(page)
            assert answer.status_code == 503, page
            assert "The database is away" in answer.text
