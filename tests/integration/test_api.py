"""The webhook, answer by answer, over a real database and the paper world in memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import pytest

from core import unwatched
from core.clients.db_async import make_engine
from core.clients.sql_store import SqlCycleStore
from core.domain.cycle import CloseReason, OperatorAction, Phase, Request
from core.domain.webhook import Webhook, WebhookStatus
from core.errors import AlertClosed, CommitUnclear, StoreUnavailable
from flows.health import SYNC_EVERY_S
from main import http_status_of
from paper.world import World
from simulation.faults import Fault, FaultKind
from tests.integration.api_world import SYMBOL, Api, WallClock, running_api
from tests.unit.samples import body

NOW = WallClock().now_ms


@pytest.fixture
async def api(migrated_url: str) -> AsyncIterator[Api]:
    """Return an API on SQLite; the symbol is watched and free."""
    async with running_api(migrated_url) as running:
        yield running


# --- accepted ---


async def test_an_alert_becomes_a_filled_entry_on_both_databases(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        answer = await api.send(body())
        assert answer.status_code == 200
        shown = answer.json()
        assert (shown["status"], shown["symbol"]) == ("accepted", SYMBOL)
        assert shown["detail"] == "the entry is filled"
        entry = shown["entry"]
        assert (entry["quantity"], entry["average_price"]) == ("0.004", "60000")
        ladder = shown["ladder"]
        assert [level["price"] for level in ladder["levels"]] == ["59700", "59103", "57920.9"]
        assert (ladder["take_profit"], ladder["hedge_trigger"]) == ("60300", "57805")
        assert (ladder["hedge_quantity"], ladder["total_notional"]) == ("0.103", "2697.5376")
        cycle = await api.store.cycle_by_key(shown["cycle"])
        assert cycle is not None
        assert cycle.phase is Phase.TRADING
        assert cycle.long.quantity == api.world.position(SYMBOL, "LONG") == Decimal("0.004")
        row = await api.webhook(answer)
        assert (row.status, row.http_status) == (WebhookStatus.ACCEPTED, 200)
        # Nothing after the entry is the API's.
        assert len(api.entries()) == 1
        assert [order.role for order in cycle.orders] == ["entry"]


async def test_leverage_is_set_where_it_differs_and_nothing_where_not(api: Api) -> None:
    await api.send(body())
    assert api.sent("post", "leverage") == [{"symbol": SYMBOL, "leverage": "10"}]
    assert api.sent("post", "marginType") == []
    config = await api.gateway.symbol_config(SYMBOL)
    assert config.leverage == 10


async def test_the_margin_type_is_set_where_it_differs(migrated_url: str) -> None:
    async with running_api(migrated_url, margin_type="ISOLATED") as api:
        assert (await api.send(body())).status_code == 200
        assert api.sent("post", "marginType") == [{"symbol": SYMBOL, "marginType": "ISOLATED"}]


async def test_an_amount_in_quote_is_bought_at_the_ask_and_a_margin(api: Api) -> None:
    answer = await api.send(body(open__amountType="quote", open__amount="241"))
    # 241 / (60000 × 1.002) = 0.00400…
    assert answer.json()["entry"]["wanted_quantity"] == "0.004"


async def test_the_ladder_hangs_from_the_entry_price_of_the_alert(api: Api) -> None:
    answer = await api.send(body(open__entry_price="59900"))
    assert answer.json()["ladder"]["levels"][0]["price"] == "59600.5"
    assert answer.json()["ladder"]["take_profit"] == "60300"


async def test_the_key_and_the_client_ids_fit_the_exchange(api: Api) -> None:
    shown = (await api.send(body())).json()
    assert len(shown["cycle"]) == 14
    assert shown["entry"]["client_order_id"] == f"tb-{shown['cycle']}-en0-1"


# --- skipped, flat, duplicate ---


@pytest.mark.parametrize("switch", ["open__enabled", "settings__start"])
async def test_a_disabled_alert_is_stored_and_skipped(api: Api, switch: str) -> None:
    answer = await api.send(body(**{switch: "false"}))
    assert (answer.status_code, answer.json()["status"]) == (200, "skipped")
    assert (await api.webhook(answer)).status is WebhookStatus.SKIPPED
    assert api.entries() == []


async def given_up(store: SqlCycleStore, webhook_id: int) -> Webhook:
    """Return an alert once it is final."""
    async with asyncio.timeout(30):
        row = await store.webhook(webhook_id)
        while row is None or not row.status.is_final:
            await asyncio.sleep(0.01)
            row = await store.webhook(webhook_id)
    return row


async def test_an_alert_that_was_left_behind_by_a_dead_api_is_given_up(
    migrated_url: str,
) -> None:
    store = SqlCycleStore(make_engine(migrated_url))
    left = await store.record_webhook({"symbol": "BTCUSDT"}, received_at_ms=NOW() - 70_000)
    fresh = await store.record_webhook({"symbol": "BTCUSDT"}, received_at_ms=NOW())
    async with running_api(migrated_url):
        row = await given_up(store, left)
        assert (row.status, row.http_status) == (WebhookStatus.TIMED_OUT, None)
        assert "nothing was opened" in row.outcome
        other = await store.webhook(fresh)
        assert other is not None
        assert other.status is WebhookStatus.PROCESSING
    await store.close()


async def test_flat_is_ignored_by_default(api: Api) -> None:
    answer = await api.send('{"symbol": "BTCUSDT.P", "positionSide": "flat"}')
    assert (answer.status_code, answer.json()["status"]) == (200, "skipped")


async def test_flat_closes_the_open_cycle_where_that_is_wanted(migrated_url: str) -> None:
    async with running_api(migrated_url, flat_action="close") as api:
        flat = '{"symbol": "BTCUSDT.P", "positionSide": "flat"}'
        nothing = await api.send(flat)
        assert nothing.json()["status"] == "skipped"
        await api.send(body())
        answer = await api.send(flat)
        assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
        asked = await api.store.operator_requests([SYMBOL])
        assert [request.action for request in asked] == [OperatorAction.SIGNAL_CLOSE]


def test_an_alert_that_was_taken_back_may_be_sent_again() -> None:
    assert http_status_of(AlertClosed(1, status=WebhookStatus.TIMED_OUT)) == 503


async def test_flat_uses_no_id_up_and_may_have_its_entrys(migrated_url: str) -> None:
    async with running_api(migrated_url, flat_action="close") as api:
        await api.send(body(id="a1"))
        for used, status in (("a1", "duplicate"), ("b2", "refused")):  # refused: the symbol is busy
            flat = f'{{"symbol": "BTCUSDT.P", "positionSide": "flat", "id": "{used}"}}'
            closes = await api.send(flat)
            assert (closes.status_code, closes.json()["status"]) == (200, "accepted")
            assert (await api.webhook(closes)).status is WebhookStatus.ACCEPTED
            assert (await api.send(body(id=used))).json()["status"] == status


async def test_flat_for_a_symbol_that_nobody_lists_is_refused(api: Api) -> None:
    answer = await api.send('{"symbol": "NOSUCHUSDT", "positionSide": "flat"}')
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "symbol"


async def test_only_an_accepted_alert_uses_its_id_up(api: Api) -> None:
    skipped = await api.send(body(id="a1", settings__start=False))
    assert skipped.json()["status"] == "skipped"
    first = await api.send(body(id="a1"))
    again = await api.send(body(id="a1"))
    assert (first.json()["status"], again.json()["status"]) == ("accepted", "duplicate")
    assert str(first.json()["webhook_id"]) in again.json()["detail"]
    assert again.status_code == 200
    assert len(api.entries()) == 1


# --- refused before anything is sent ---


async def test_every_wrong_field_is_named_at_once(api: Api) -> None:
    answer = await api.send(body(side="sell", open__amount="-1", settings__tp="x"))
    assert answer.status_code == 422
    errors = {error["field"]: error for error in answer.json()["errors"]}
    assert set(errors) == {"side", "open.amount", "settings.tp"}
    assert errors["open.amount"]["value"] == "-1"
    assert "above 0" in errors["open.amount"]["reason"]
    assert (await api.webhook(answer)).status is WebhookStatus.REFUSED


@pytest.mark.parametrize("raw", [b"", b"buy now", b"[1]", b"\xff\xfe"])
async def test_what_is_not_an_object_is_refused_without_being_quoted(api: Api, raw: bytes) -> None:
    answer = await api.send(raw)
    assert answer.status_code == 422
    assert (await api.webhook(answer)).payload == {}


async def test_a_body_beyond_the_limit_is_not_read(api: Api) -> None:
    answer = await api.send(b"{" + b" " * 65 * 1024 + b"}")
    assert answer.status_code == 413


async def test_an_alert_that_nobody_watches_comes_back(api: Api) -> None:
    await api.watch(is_good=False)
    answer = await api.send(body())
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert "no monitor watches BTCUSDT" in answer.json()["detail"]
    assert await api.store.open_cycle(SYMBOL) is None
    assert api.entries() == []


async def test_a_busy_symbol_names_the_webhook_that_holds_it(api: Api) -> None:
    first = await api.send(body())
    second = await api.send(body(name="another"))
    assert second.status_code == 409
    assert f"webhook {first.json()['webhook_id']}" in second.json()["detail"]
    assert len(api.entries()) == 1


async def test_two_alerts_at_the_same_moment_open_one_cycle(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        answers = await asyncio.gather(*(api.send(body(name=f"no {n}")) for n in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        assert len(api.entries()) == 1


async def test_a_symbol_that_the_exchange_does_not_list_is_refused(api: Api) -> None:
    answer = await api.send(body(symbol="NOSUCHUSDT"))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["reason"] == "the exchange lists no such perpetual"


async def test_a_symbol_that_is_not_trading_is_refused(api: Api) -> None:
    rules = await api.store.rules(SYMBOL)
    assert rules is not None
    await api.store.save_rules([replace(rules, status="SETTLING")], read_at_ms=NOW())
    answer = await api.send(body())
    assert answer.status_code == 422
    assert "SETTLING" in answer.json()["errors"][0]["reason"]


async def test_a_ladder_beyond_the_deposit_is_refused_with_its_numbers(api: Api) -> None:
    answer = await api.send(body(settings__deposit="250"))
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    # The entry is counted at 60000 × 1.002.
    assert error["field"] == "settings.deposit"
    assert "deposit 250 × leverage 10 = 2500" in error["reason"]


async def test_lack_of_funds_is_refused_with_its_numbers(migrated_url: str) -> None:
    poor = World(now_ms=NOW(), symbols=[SYMBOL], wallet=Decimal(800))
    async with running_api(migrated_url, world=poor) as api:
        answer = await api.send(body())
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert "deposit + extramarg is 900 USDT" in error["reason"]
        assert "800" in error["reason"]
        assert api.entries() == []
        assert api.sent("post", "leverage") == []


async def test_lack_of_funds_is_a_warning_where_that_is_wanted(migrated_url: str) -> None:
    poor = World(now_ms=NOW(), symbols=[SYMBOL], wallet=Decimal(800))
    async with running_api(migrated_url, world=poor, funds_check="warn") as api:
        answer = await api.send(body())
        assert answer.status_code == 200
        assert any("deposit + extramarg is 900" in text for text in answer.json()["warnings"])
        assert (await api.webhook(answer)).warnings == tuple(answer.json()["warnings"])


async def test_a_persons_position_is_never_taken_over(api: Api) -> None:
    api.world.outside_market(SYMBOL, "BUY", "LONG", Decimal("0.010"), NOW())
    answer = await api.send(body())
    assert answer.status_code == 409
    assert "in use by somebody else: LONG 0.010" in answer.json()["detail"]
    assert api.entries() == []


async def test_a_persons_order_keeps_the_symbol_too(api: Api) -> None:
    order = api.world.outside_limit(SYMBOL, "BUY", "LONG", Decimal("0.010"), Decimal(58000), NOW())
    answer = await api.send(body())
    assert answer.status_code == 409
    assert f"order {order}" in answer.json()["detail"]


async def test_one_way_mode_is_refused(migrated_url: str) -> None:
    one_way = World(now_ms=NOW(), symbols=[SYMBOL], dual_side=False)
    async with running_api(migrated_url, world=one_way) as api:
        answer = await api.send(body())
        assert answer.status_code == 422
        assert "Hedge Mode" in answer.json()["detail"]


# --- the exchange refuses, or does not answer ---


async def test_an_entry_refused_for_good_ends_its_cycle(api: Api) -> None:
    api.gateway.faults.refuse(-2019, "Margin is insufficient.", method="post", path="=order")
    answer = await api.send(body())
    assert answer.status_code == 422
    assert (answer.json()["code"], answer.json()["detail"]) == (-2019, "Margin is insufficient.")
    assert await api.store.open_cycle(SYMBOL) is None
    cycle = await api.store.cycle_of_webhook(answer.json()["webhook_id"])
    assert cycle is not None
    assert cycle.phase is Phase.ENDED
    assert cycle.close_reason is CloseReason.ENTRY_FAILED


async def test_an_entry_refused_for_the_moment_is_left_to_the_monitor(api: Api) -> None:
    api.gateway.faults.refuse(-1008, "overloaded", status=503, method="post", path="=order")
    answer = await api.send(body())
    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
    cycle = await api.store.open_cycle(SYMBOL)
    assert cycle is not None
    entry = cycle.entry_order
    assert entry is not None
    assert cycle.phase is Phase.ENTERING
    assert (entry.request, entry.executed) == (Request.NONE, Decimal(0))
    assert len(api.entries()) == 1


async def test_an_entry_without_an_answer_is_recorded_and_not_sent_again(api: Api) -> None:
    """The answer is lost after the order took effect, as when the process dies there."""
    api.gateway.faults.add(Fault(kind=FaultKind.RESET, method="post", path="=order"))
    answer = await api.send(body())
    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
    assert "not known" in answer.json()["detail"]
    cycle = await api.store.open_cycle(SYMBOL)
    assert cycle is not None
    entry = cycle.entry_order
    assert entry is not None
    assert (entry.request, entry.is_unresolved) == (Request.PLACE, True)
    assert api.world.position(SYMBOL, "LONG") == Decimal("0.004")
    assert len(api.entries()) == 1


async def test_a_refused_leverage_is_told_with_code_and_text(api: Api) -> None:
    api.gateway.faults.refuse(-4028, "Leverage 10 is not valid", method="post", path="leverage")
    answer = await api.send(body())
    assert answer.status_code == 422
    assert (answer.json()["code"], answer.json()["detail"]) == (-4028, "Leverage 10 is not valid")
    assert await api.store.open_cycle(SYMBOL) is None
    assert (await api.webhook(answer)).outcome.startswith("-4028")


async def test_an_exchange_that_is_away_is_told_so(api: Api) -> None:
    fault = Fault(
        kind=FaultKind.ANSWERED, path="bookTicker", status=503, body=b"Service Unavailable"
    )
    api.gateway.faults.add(fault)
    answer = await api.send(body())
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert await api.store.open_cycle(SYMBOL) is None


# --- in time ---


async def test_after_the_time_is_up_nothing_is_sent_if_nothing_had_begun(
    migrated_url: str,
) -> None:
    async with running_api(migrated_url, time_is_up=lambda g: g.read_came.wait()) as api:
        api.gateway.reads.clear()
        answer = await api.send(body())
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
        api.gateway.reads.set()
        await api.stop()
        assert api.entries() == []
        row = await api.webhook(answer)
        assert (row.status, row.http_status) == (WebhookStatus.TIMED_OUT, 503)
        assert await api.store.open_cycle(SYMBOL) is None


async def test_after_the_time_is_up_a_committed_entry_goes_on(migrated_url: str) -> None:
    async with running_api(migrated_url, time_is_up=lambda g: g.order_came.wait()) as api:
        api.gateway.orders.clear()
        answer = await api.send(body())
        assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
        assert answer.json()["entry"]["state"] == "intended"
        assert answer.json()["ladder"]["entry_quantity"] == "0.004"
        api.gateway.orders.set()
        await api.stop()
        cycle = await api.store.open_cycle(SYMBOL)
        assert cycle is not None
        assert cycle.long.quantity == Decimal("0.004")
        row = await api.webhook(answer)
        assert (row.status, row.outcome) == (WebhookStatus.ACCEPTED, "the entry is filled")


async def test_an_entry_that_begins_while_time_runs_out_is_told_as_it_is(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The intent's transaction is under way when the answer is due: the database decides."""
    begin, may_commit, came = SqlCycleStore.begin_cycle, asyncio.Event(), asyncio.Event()

    async def slowly(self: SqlCycleStore, *args: object, **kwargs: object) -> object:
        came.set()
        await may_commit.wait()
        return await begin(self, *args, **kwargs)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(SqlCycleStore, "begin_cycle", slowly)
    async with running_api(migrated_url, time_is_up=lambda _: came.wait()) as api:
        answer = await api.send(body())
        assert answer.status_code == 503
        may_commit.set()  # too late: the alert was taken back in the meantime
        await api.stop()
        assert api.entries() == []
        assert await api.store.open_cycle(SYMBOL) is None


async def test_an_entry_whose_commit_comes_first_is_accepted(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The intent is committed, and its transaction's end was not yet heard of here."""
    begin, heard, committed = SqlCycleStore.begin_cycle, asyncio.Event(), asyncio.Event()

    async def heard_late(self: SqlCycleStore, *args: object, **kwargs: object) -> object:
        cycle = await begin(self, *args, **kwargs)  # type: ignore[arg-type]  # handed on
        committed.set()
        await heard.wait()
        return cycle

    monkeypatch.setattr(SqlCycleStore, "begin_cycle", heard_late)
    async with running_api(migrated_url, time_is_up=lambda _: committed.wait()) as api:
        answer = await api.send(body())
        assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
        cycle = await api.store.open_cycle(SYMBOL)
        assert cycle is not None
        assert answer.json()["cycle"] == cycle.key
        heard.set()
        await api.stop()
        assert len(api.entries()) == 1


async def test_an_unclear_commit_is_read_again_and_nothing_is_sent(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = SqlCycleStore.begin_cycle

    async def unclear(self: SqlCycleStore, *args: object, **kwargs: object) -> object:
        await begin(self, *args, **kwargs)  # type: ignore[arg-type]  # handed on
        raise CommitUnclear("the connection broke")

    monkeypatch.setattr(SqlCycleStore, "begin_cycle", unclear)
    async with running_api(migrated_url) as api:
        answer = await api.send(body())
        assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
        assert api.entries() == []
        cycle = await api.store.open_cycle(SYMBOL)
        assert cycle is not None
        assert answer.json()["cycle"] == cycle.key


async def test_a_commit_that_did_not_happen_is_taken_back(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(self: SqlCycleStore, *args: object, **kwargs: object) -> object:
        raise CommitUnclear("the connection broke")

    monkeypatch.setattr(SqlCycleStore, "begin_cycle", lost)
    async with running_api(migrated_url) as api:
        answer = await api.send(body())
        assert answer.status_code == 503
        assert (await api.webhook(answer)).status is WebhookStatus.TIMED_OUT
        assert api.entries() == []


async def test_a_database_that_is_away_is_told_so(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: SqlCycleStore, *args: object, **kwargs: object) -> object:
        raise StoreUnavailable("no connection")

    monkeypatch.setattr(SqlCycleStore, "record_webhook", away)
    async with running_api(migrated_url) as api:
        answer = await api.send(body())
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
        assert api.entries() == []


async def test_a_fill_is_recorded_though_the_database_stumbles(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, fails = SqlCycleStore.update, [StoreUnavailable("busy"), CommitUnclear("broke")]

    async def stumbling(self: SqlCycleStore, *args: object, **kwargs: object) -> object:
        if fails:
            raise fails.pop()
        return await update(self, *args, **kwargs)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(SqlCycleStore, "update", stumbling)
    async with running_api(migrated_url) as api:
        answer = await api.send(body())
        assert answer.json()["detail"] == "the entry is filled"
        cycle = await api.store.open_cycle(SYMBOL)
        assert cycle is not None
        assert cycle.long.quantity == Decimal("0.004")


# --- the secret ---

SECRET = "correct horse battery"


@pytest.fixture
async def guarded(migrated_url: str) -> AsyncIterator[Api]:
    """Return an API that asks for a secret."""
    async with running_api(migrated_url, webhook_secret=SECRET) as running:
        yield running


async def test_the_secret_may_come_in_the_body_or_in_the_address(guarded: Api) -> None:
    in_body = await guarded.send(body(secret=SECRET, settings__start=False))
    in_path = await guarded.send(body(settings__start=False), path=f"/webhook/{SECRET}")
    assert (in_body.status_code, in_path.status_code) == (200, 200)
    assert SECRET not in json.dumps(dict((await guarded.webhook(in_body)).payload))


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/webhook", None),
        ("/webhook", "wrong"),
        ("/webhook/wrong", None),
        ("/webhook/wrong", SECRET),
        (f"/webhook/{SECRET}", "wrong"),
    ],
)
async def test_a_wrong_secret_is_turned_away_and_nothing_stored(
    guarded: Api, path: str, given: str | None
) -> None:
    answer = await guarded.send(body(secret=given), path=path)
    assert answer.status_code == 401
    assert SECRET not in answer.text
    assert await guarded.store.webhook(1) is None


async def test_an_unreadable_body_needs_the_secret_too(guarded: Api) -> None:
    assert (await guarded.send(b"buy now")).status_code == 401
    assert (await guarded.send(b"buy now", path=f"/webhook/{SECRET}")).status_code == 422


# --- the other routes ---


async def test_ping_and_live_answer(api: Api) -> None:
    assert (await api.http.get("/ping")).json() == {"ping": "pong"}
    assert (await api.http.get("/health/live")).status_code == 200


async def test_ready_says_what_is_ready_and_who_is_watched(api: Api) -> None:
    answer = await api.http.get("/health/ready")
    assert answer.status_code == 200
    report = answer.json()
    assert report.pop("exchange_answered_s_ago") <= SYNC_EVERY_S
    assert report == {
        "ready": True,
        "database": "ok",
        "exchange": "ok",
        "watched": {SYMBOL: True},
        "killed": None,
        "alarms": [],
        "warnings": [],
    }


async def test_a_symbol_that_nobody_watches_is_a_warning_and_the_others_go_on(
    migrated_url: str,
) -> None:
    async with running_api(migrated_url, symbols=(SYMBOL, "ETHUSDT")) as api:
        answer = await api.http.get("/health/ready")
    assert answer.status_code == 200
    report = answer.json()
    assert report["ready"] is True
    assert report["watched"] == {SYMBOL: True, "ETHUSDT": False}
    (warning,) = report["warnings"]
    assert warning.startswith("nobody watches ETHUSDT: alerts for it are answered 503")


async def test_an_open_cycle_whose_monitor_is_gone_raises_an_alarm_until_one_is_there_again(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unwatched, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(unwatched, "TOLD_AFTER_S", 0.1)

    async def told(api: Api) -> list[str]:
        report = (await api.http.get("/health/ready")).json()
        return [alarm["kind"] for alarm in report["alarms"]]

    async def until(api: Api, kinds: list[str]) -> None:
        async with asyncio.timeout(30):
            while await told(api) != kinds:  # noqa: ASYNC110 - another task's rows
                await asyncio.sleep(0.02)

    async with running_api(migrated_url) as api:
        assert (await api.send(body())).status_code == 200
        lease = await api.store.acquire_lease(SYMBOL, "a monitor")
        assert lease is not None
        await api.store.release_lease(lease)
        await until(api, ["unwatched"])
        await api.watch()
        await until(api, [])


async def test_an_unknown_route_and_a_wrong_method_are_alike(api: Api) -> None:
    nothing = await api.http.get("/nothing")
    assert (nothing.status_code, nothing.json()["status"]) == (404, "refused")
    for path in ("/webhook", "/webhook/tb_x", "/docs", "/redoc", "/openapi.json"):
        answer = await api.http.get(path)
        assert (answer.status_code, answer.content) == (404, nothing.content), path
        assert "allow" not in answer.headers


async def test_an_error_of_ours_shows_nothing_of_our_insides(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: SqlCycleStore, *args: object, **kwargs: object) -> object:
        raise ZeroDivisionError("a detail of our insides")

    monkeypatch.setattr(SqlCycleStore, "is_watched", broken)
    async with running_api(migrated_url) as api:
        answer = await api.send(body())
        assert answer.status_code == 500
        assert "insides" not in answer.text
        row = await api.store.webhook(1)
        assert row is not None
        assert (row.status, row.http_status) == (WebhookStatus.FAILED, 500)
