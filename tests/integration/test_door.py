"""The webhook's door: who may come in, what is the same alert, what does not open."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

import operate
from config import Settings
from core.alert_secrets import digest_of, new_secret
from core.domain.cycle import OperatorAction
from core.domain.webhook import WebhookStatus
from flows.door import WRONG_AT_ONCE
from tests.integration.api_world import SYMBOL, Api, running_api
from tests.unit.samples import body

CLOSE = '{"action": "close", "symbol": "BTCUSDT"}'


async def made_secret(api: Api, *, may_close_all: bool = False) -> str:
    """Return a secret that was made before the API looked for the first time."""
    text = new_secret()
    await api.store.add_secret(
        "tradingview",
        digest_of(text),
        may_close_all=may_close_all,
        created_by="a test",
        created_at_ms=api.clock.now_ms(),
    )
    return text


async def asked(api: Api) -> list[OperatorAction]:
    return [request.action for request in await api.store.operator_requests([SYMBOL])]


# --- Secrets ---


async def test_a_secret_opens_in_the_body_and_in_the_address(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        first, second = await made_secret(api), await made_secret(api)
        assert (await api.send(body())).status_code == 401
        assert (await api.send(body(secret="wrong"))).status_code == 401
        assert (await api.send(body(), path="/webhook/wrong")).status_code == 401
        assert (await api.send(body(secret=first), path="/webhook/wrong")).status_code == 401
        assert (await api.send(body(secret="wrong"), path=f"/webhook/{first}")).status_code == 401
        accepted = await api.send(body(secret=first))
        assert accepted.json()["status"] == "accepted"
        row = await api.webhook(accepted)
        assert row.secret_id == 1
        assert "secret" not in row.payload
        assert first not in str(row)
        closed = await api.send(CLOSE, path=f"/webhook/{second}")
        assert closed.json()["status"] == "accepted"
        used = {each.secret_id: each.last_used_at_ms for each in await api.store.secrets()}
        assert all(used.values())


async def test_the_installations_own_secret_stays_valid_beside_others(
    migrated_url: str,
) -> None:
    async with running_api(migrated_url, webhook_secret="the-installations-own") as api:
        await made_secret(api)
        answer = await api.send(body(), path="/webhook/the-installations-own")
        assert answer.json()["status"] == "accepted"


async def test_a_secret_in_the_query_opens_nothing(migrated_url: str) -> None:
    """Proxies log queries; nobody is to get used to a secret there."""
    async with running_api(migrated_url, webhook_secret="the-installations-own") as api:
        answer = await api.send(body(), path="/webhook?token=the-installations-own")
        assert answer.status_code == 401


async def test_a_secret_with_a_slash_may_stand_in_the_address(migrated_url: str) -> None:
    async with running_api(migrated_url, webhook_secret="one/half-and/another") as api:
        for path, status in {
            "/webhook/one%2Fhalf-and%2Fanother": 200,
            "/webhook/one/half-and/another": 200,
            "/webhook/one/half-and": 401,
            "/webhook/": 401,
        }.items():
            assert (await api.send(body(), path=path)).status_code == status, path


async def test_once_a_secret_was_made_the_door_stays_closed(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        text = await made_secret(api)
        assert await api.store.revoke_secret(1, at_ms=api.clock.now_ms())
        assert not await api.store.revoke_secret(1, at_ms=api.clock.now_ms())
        assert (await api.send(body(secret=text))).status_code == 401
        assert (await api.send(body())).status_code == 401


async def test_nothing_of_a_wrong_secret_is_stored(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        await made_secret(api)
        await api.send(body(secret="wrong"))
        await api.send("not JSON")
        assert await api.store.webhook(1) is None


# --- Addresses, certificates, rates ---


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://localhost"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
async def test_a_web_page_may_not_send_alerts(migrated_url: str, headers: dict[str, str]) -> None:
    async with running_api(migrated_url) as api:
        answer = await api.http.post("/webhook", content=body(), headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (403, "refused")
        assert api.entries() == []


async def test_only_listed_addresses_may_send(migrated_url: str) -> None:
    async with running_api(migrated_url, alert_sources="tradingview") as api:
        answer = await api.http.post(
            "/webhook", content=body(), headers={"X-Forwarded-For": "52.89.214.238"}
        )
        assert answer.status_code == 403
        assert (await api.http.get("/ping")).status_code == 200


async def test_a_trusted_proxy_says_who_sends_and_shows_his_certificate(
    migrated_url: str,
) -> None:
    settings: dict[str, Any] = {
        "alert_sources": "tradingview",
        "trusted_proxies": "127.0.0.1",
        "client_cert_header": "X-Client-Subject",
        "client_cert_value": "CN=TradingView Webhooks",
    }
    shown = {"X-Client-Subject": "CN=TradingView Webhooks"}
    async with running_api(migrated_url, **settings) as api:

        async def sent(headers: dict[str, str]) -> int:
            return (await api.http.post("/webhook", content=b"{}", headers=headers)).status_code

        assert await sent(shown | {"X-Forwarded-For": "52.89.214.238"}) == 422
        assert await sent({"X-Forwarded-For": "52.89.214.238"}) == 403
        assert await sent(shown | {"X-Forwarded-For": "203.0.113.9"}) == 403
        assert await sent(shown | {"X-Forwarded-For": "52.89.214.238, 203.0.113.9"}) == 403


async def test_the_certificate_header_of_a_stranger_means_nothing(migrated_url: str) -> None:
    settings: dict[str, Any] = {
        "trusted_proxies": "10.0.0.1",
        "client_cert_header": "X-Client-Subject",
        "client_cert_value": "yes",
    }
    async with running_api(migrated_url, **settings) as api:
        answer = await api.http.post("/webhook", content=b"{}", headers={"X-Client-Subject": "yes"})
        assert answer.status_code == 403


async def test_guessing_ends_soon_and_a_right_address_still_opens(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        text = await made_secret(api)
        tries = int(WRONG_AT_ONCE) + 10
        statuses = [(await api.send("{}", path=f"/webhook/{n}")).status_code for n in range(tries)]
        assert statuses[0] == 401
        assert statuses[-1] == 429
        assert (await api.send(body(secret=text))).status_code == 429
        assert (await api.send(body(), path=f"/webhook/{text}")).status_code == 200


async def test_who_showed_a_secret_is_not_kept_out_by_others_at_his_address(
    migrated_url: str,
) -> None:
    async with running_api(migrated_url) as api:
        text = await made_secret(api)
        assert (await api.send(body(secret=text))).status_code == 200
        for _ in range(int(WRONG_AT_ONCE) + 10):
            await api.send('{"secret": "wrong"}')
        assert (await api.send(body(secret=text, name="another"))).status_code == 409


async def test_a_source_keeps_to_its_rate(migrated_url: str) -> None:
    async with running_api(migrated_url, alert_rate=0.2) as api:
        answers = [await api.send(CLOSE) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 503, 503]
        assert answers[1].headers["Retry-After"] == "5"


@pytest.mark.parametrize("declared", [True, False])
async def test_a_long_body_is_turned_away(migrated_url: str, declared: bool) -> None:
    async with running_api(migrated_url) as api:
        long = b"[" * 70_000

        async def parts() -> Any:
            yield long

        answer = await api.http.post("/webhook", content=long if declared else parts())
        assert answer.status_code == 413
        assert answer.headers["Connection"] == "close"


# --- The same alert again, and an old one ---


async def test_the_same_content_opens_one_cycle_even_at_the_same_moment(migrated_url: str) -> None:
    async with running_api(migrated_url) as one, running_api(migrated_url, world=one.world) as two:
        apis = [one, two, one, two]
        answers = await asyncio.gather(*(api.send(body()) for api in apis))
        told = sorted((a.json()["status"], a.json().get("duplicate_of")) for a in answers)
        first = next(a.json()["webhook_id"] for a in answers if a.json()["status"] == "accepted")
        assert told == [("accepted", None), *[("duplicate", first)] * 3]
        assert len(one.entries()) + len(two.entries()) == 1


async def test_after_the_window_the_same_content_is_another_alert(migrated_url: str) -> None:
    async with running_api(migrated_url, duplicate_window=0) as api:
        await api.send(body())
        assert (await api.send(body())).status_code == 409


async def test_alerts_that_differ_in_their_time_are_not_the_same(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        now = datetime.now(UTC)
        first = await api.send(body(timenow=now.isoformat()))
        second = await api.send(body(timenow=(now + timedelta(seconds=1)).isoformat()))
        assert (first.status_code, second.status_code) == (200, 409)


@pytest.mark.parametrize(
    ("field", "age_s", "status"),
    [
        ("timenow", 30, 200),
        ("timenow", 90, 422),
        ("timenow", -90, 422),
        ("time", 90, 422),
    ],
)
async def test_an_old_alert_is_refused(
    migrated_url: str, field: str, age_s: int, status: int
) -> None:
    async with running_api(migrated_url) as api:
        sent_at = datetime.now(UTC) - timedelta(seconds=age_s)
        answer = await api.send(body(**{field: sent_at.strftime("%Y-%m-%dT%H:%M:%SZ")}))
        assert answer.status_code == status
        if status == 422:
            assert answer.json()["errors"][0]["field"] == field
            assert api.entries() == []


# --- Signals that do not open ---


async def test_close_and_cancel_ask_the_monitor(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        nothing = await api.send(CLOSE)
        assert nothing.json()["status"] == "skipped"
        await api.send(body())
        for action in ("close", "cancel"):
            answer = await api.send(f'{{"action": "{action}", "symbol": "BINANCE:BTCUSDT.P"}}')
            assert answer.json()["status"] == "accepted"
        assert await asked(api) == [OperatorAction.SIGNAL_CLOSE, OperatorAction.CANCEL_LEVELS]


async def test_a_close_is_never_taken_for_an_earlier_one_but_by_its_id(
    migrated_url: str,
) -> None:
    async with running_api(migrated_url) as api:
        await api.send(body())
        named = CLOSE.replace("{", '{"id": "c1", ', 1)
        told = [(await api.send(text)).json()["status"] for text in (CLOSE, CLOSE, named, named)]
        assert told == ["accepted", "accepted", "accepted", "duplicate"]


async def test_a_paused_symbol_opens_nothing_until_it_is_resumed(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        for _ in range(2):
            paused = await api.send('{"action": "pause", "symbol": "BTCUSDT"}')
            assert paused.json()["status"] == "accepted"
        refused = await api.send(body())
        assert refused.status_code == 409
        assert "paused, by webhook 1" in refused.json()["detail"]
        await api.send('{"action": "resume", "symbol": "BTCUSDT"}')
        assert (await api.send(body())).json()["status"] == "accepted"
        await api.send('{"action": "pause", "symbol": "BTCUSDT"}')
        await api.send('{"action": "resume", "symbol": "BTCUSDT"}')
        assert await asked(api) == [OperatorAction.PAUSE, OperatorAction.RESUME]


async def test_close_all_needs_its_own_permission(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        plain, strong = await made_secret(api), await made_secret(api, may_close_all=True)
        await api.send(body(), path=f"/webhook/{plain}")
        order = '{"action": "close_all"}'
        assert (await api.send(order, path=f"/webhook/{plain}")).status_code == 403
        assert await asked(api) == []
        answer = await api.send(order, path=f"/webhook/{strong}")
        assert answer.json()["status"] == "accepted"
        assert SYMBOL in answer.json()["detail"]
        assert await asked(api) == [OperatorAction.SIGNAL_CLOSE]


async def test_an_unknown_symbol_is_refused_for_every_signal(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        for action in ("close", "cancel", "pause", "resume"):
            answer = await api.send(f'{{"action": "{action}", "symbol": "NOSUCHUSDT"}}')
            assert answer.status_code == 422


# --- Test ---


async def test_a_test_shows_everything_and_trades_nothing(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        answer = await api.send(body(test=True, settings__trail_1="1"))
        assert (answer.status_code, answer.json()["status"]) == (200, "tested")
        shown = answer.json()
        rungs = shown["preview"]["rungs"]
        assert [rung["after"] for rung in rungs] == [
            "entry", "level 1", "level 2", "level 3", "hedge 1",
        ]  # fmt: skip
        # At best ask × 1.002: 60120 × 0.004 / 10
        assert rungs[0]["margin"] == "24.048"
        assert rungs[3]["long_quantity"] == "0.046"
        assert Decimal(shown["preview"]["worst_loss"]) > 600
        assert any("trailing can never start" in text for text in shown["warnings"])
        assert shown["ladder"]["levels"][0]["price"] == "59819.4"
        sent = {call.path for call in api.gateway.sent if call.method != "get"}
        assert sent == set()
        assert await api.store.open_cycle(SYMBOL) is None
        assert (await api.webhook(answer)).status is WebhookStatus.TESTED


async def test_a_test_says_what_would_refuse_a_real_alert(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        await api.send(body())
        await api.send('{"action": "pause", "symbol": "BTCUSDT"}')
        await api.watch(is_good=False)
        warnings = (await api.send(body(test="true"))).json()["warnings"]
        for text in ("is paused", "no monitor watches", "has an open cycle", "in use by"):
            assert any(text in warning for warning in warnings), text


async def test_a_test_of_a_signal_does_nothing(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        await api.send(body())
        for action in ("close", "cancel", "pause", "resume"):
            answer = await api.send(f'{{"action": "{action}", "symbol": "BTCUSDT", "test": 1}}')
            assert answer.json()["status"] == "tested"
        assert await asked(api) == []
        assert await api.store.paused_by(SYMBOL) is None


# --- What senders do wrong ---


MISTAKES = {
    "smart quotes": ("{“symbol”: 1}", "typographic quotes"),
    "an unexpanded placeholder": ('{"symbol": {{ticker}}}', "{{placeholder}}"),
    "one as text": ('{"symbol": "{{ticker}}", "positionSide": "flat"}', "placeholder"),
    "not a number": (body(open__amount="NaN").decode(), "no value for it"),
    "NaN as a number": (body().decode().replace('"0.004"', "NaN"), "no value for it"),
    "a body that broke off": (body().decode()[:-40], "breaks off"),
    "nothing": ("", "empty"),
    "nesting": ('{"a":' * 50 + "1" + "}" * 50, "nested"),
    "deep nesting": ("[" * 60_000, "nested"),
}


@pytest.mark.parametrize(("text", "reason"), MISTAKES.values(), ids=MISTAKES.keys())
async def test_each_mistake_is_named(migrated_url: str, text: str, reason: str) -> None:
    async with running_api(migrated_url) as api:
        answer = await api.send(text)
        assert answer.status_code == 422
        assert reason in answer.json()["detail"]


@pytest.mark.parametrize("form", ["{}\n", "\ufeff{}", " \r\n{}"])
async def test_what_surrounds_an_alert_does_not_matter(migrated_url: str, form: str) -> None:
    async with running_api(migrated_url) as api:
        answer = await api.send(form.replace("{}", body().decode()))
        assert answer.json()["status"] == "accepted"


# --- At the shell ---


async def test_secrets_are_made_listed_and_revoked_at_the_shell(
    migrated_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(db_connection_str=SecretStr(migrated_url))

    async def said(*arguments: str) -> tuple[int, str]:
        options = operate._parser().parse_args(["secret", *arguments])
        code = await operate.keep_secrets(settings, options)
        return code, capsys.readouterr().out

    assert await said("list") == (0, "no secret was made yet\n")
    code, told = await said("create", "tradingview", "--may-close-all")
    made = told.splitlines()[1]
    assert code == 0
    async with running_api(migrated_url) as api:
        assert (await api.send(body(secret=made))).status_code == 200
    code, told = await said("list")
    assert "tradingview: valid, may close all" in told
    assert "last used" in told
    assert made not in told
    assert await said("revoke", "1") == (0, "secret 1 is revoked\n")
    assert await said("revoke", "1") == (1, "secret 1 is not there, or was revoked\n")
    async with running_api(migrated_url) as api:
        assert (await api.send(body(secret=made))).status_code == 401


async def test_a_pause_at_the_shell_keeps_alerts_from_opening(
    migrated_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(db_connection_str=SecretStr(migrated_url))
    async with running_api(migrated_url) as api:
        assert await operate.ask(settings, "pause", SYMBOL, within_s=0) == 0
        assert (await api.send(body())).status_code == 409
        assert await operate.ask(settings, "resume", SYMBOL, within_s=0) == 0
        assert (await api.send(body())).status_code == 200
    assert "is paused" in capsys.readouterr().out
