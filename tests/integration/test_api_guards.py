"""What the account's limits and the kill switch do to alerts, and what operate.py does to them."""

import asyncio
from contextlib import AsyncExitStack
from decimal import Decimal as D
from pathlib import Path

import pytest

import operate
from core.clients.db_async import make_engine
from core.clients.sql_store import SqlCycleStore
from core.domain.alarms import AlarmKind
from core.domain.cycle import OperatorAction
from core.domain.webhook import WebhookStatus
from paper.world import World
from tests.integration.api_world import SYMBOL, Api, WallClock, running_api
from tests.integration.store_worlds import begun
from tests.integration.test_safety import raising
from tests.unit.samples import body

OTHER = "ETHUSDT"


def other_alert() -> bytes:
    """Return an alert for the other symbol, sized for its price."""
    return body(symbol=f"{OTHER}.P", open__amount="0.08")


async def test_two_alerts_at_the_same_instant_in_two_processes_do_not_both_open(
    migrated_url: str,
) -> None:
    clock = WallClock()
    world = World(now_ms=clock.now_ms(), symbols=[SYMBOL, OTHER])
    now_ms = clock.now_ms()
    world.trade(OTHER, D(3000), D(1000), time_ms=now_ms, now_ms=now_ms)
    async with AsyncExitStack() as running:
        apis: list[Api] = []
        for _ in range(2):
            starting = running_api(migrated_url, world=world, max_open_cycles=1)
            apis.append(await running.enter_async_context(starting))
        await apis[0].learn_rules(OTHER)
        await apis[0].watch(OTHER)
        for api in apis:
            api.gateway.reads.clear()
        sending = [
            asyncio.create_task(api.send(alert))
            for api, alert in zip(apis, (body(), other_alert()), strict=True)
        ]
        for api in apis:  # both have found room for one more
            await api.gateway.read_came.wait()
        for api in apis:
            api.gateway.reads.set()
        answers = await asyncio.gather(*sending)
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        (refused,) = [answer.json() for answer in answers if answer.status_code == 409]
        assert [error["field"] for error in refused["errors"]] == ["MAX_OPEN_CYCLES"]
        assert sum(len(api.entries()) for api in apis) == 1
        assert len(await apis[0].store.open_symbols()) == 1


async def test_a_refusal_says_the_numbers_and_is_not_sent_again(migrated_url: str) -> None:
    async with running_api(migrated_url, max_total_notional=D(8999)) as api:
        answer = await api.send(body())
        assert (answer.status_code, answer.json()["status"]) == (409, "refused")
        assert answer.json()["errors"] == [
            {
                "field": "MAX_TOTAL_NOTIONAL",
                "value": "8999",
                "reason": "(deposit + extramarg) × leverage is 9000, and the open cycles may hold "
                "0 already: 9000 together",
            }
        ]
        row = await api.webhook(answer)
        assert (row.status, row.http_status) == (WebhookStatus.REFUSED, 409)
        assert api.entries() == []


async def test_a_ladder_that_comes_too_near_to_liquidation_is_refused(migrated_url: str) -> None:
    clock = WallClock()
    world = World(now_ms=clock.now_ms(), symbols=[SYMBOL], wallet=D(1000))
    async with running_api(migrated_url, world=world, min_liquidation_distance=D(60)) as api:
        answer = await api.send(body())
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert (error["field"], error["value"]) == ("MIN_LIQUIDATION_DISTANCE", "60 %")
        assert "the estimated liquidation price is" in error["reason"]
        assert api.entries() == []
    async with running_api(migrated_url, world=world, min_liquidation_distance=D(5)) as api:
        answer = await api.send(body())
        assert answer.status_code == 200
        cycle = await api.store.cycle_by_key(answer.json()["cycle"])
        assert cycle is not None
        assert cycle.policy.min_liquidation_distance == D(5)


async def test_a_symbol_with_an_open_cycle_is_said_to_be_busy_first(migrated_url: str) -> None:
    async with running_api(migrated_url, max_open_cycles=1, duplicate_window=0) as api:
        assert (await api.send(body())).status_code == 200
        answer = await api.send(body())
        assert answer.json()["detail"] == f"{SYMBOL} has an open cycle, started by webhook 1"


async def test_the_same_alert_twice_at_once_is_a_duplicate_under_a_limit_too(
    migrated_url: str,
) -> None:
    async with running_api(migrated_url, max_open_cycles=1) as api:
        api.gateway.reads.clear()
        sending = [asyncio.create_task(api.send(body(id="a1"))) for _ in range(2)]
        await api.gateway.read_came.wait()
        api.gateway.reads.set()
        answers = [answer.json()["status"] for answer in await asyncio.gather(*sending)]
        assert sorted(answers) == ["accepted", "duplicate"]


async def test_killed_alerts_open_nothing_and_what_closes_still_works(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        await api.send(body())
        await api.store.kill_trading(by="ann")
        answer = await api.send(body(name="another", tp="0.6"))
        assert answer.status_code == 409
        assert "no cycle is opened since ann threw it" in answer.json()["detail"]
        tested = await api.send(body(test=True))
        assert tested.status_code == 200
        assert any("kill switch" in warning for warning in tested.json()["warnings"])
        closing = await api.send('{"action": "close", "symbol": "BTCUSDT"}')
        assert (closing.status_code, closing.json()["status"]) == (200, "accepted")


async def test_ready_shows_the_kill_switch_and_alarms_and_stays_ready(migrated_url: str) -> None:
    async with running_api(migrated_url) as api:
        cycle_key = (await api.send(body())).json()["cycle"]
        cycle = await api.store.cycle_by_key(cycle_key)
        assert cycle is not None
        await api.store.update(cycle.cycle_id, raising(AlarmKind.MARGIN, 1), lease=None)
        await api.store.kill_trading(by="ann")
        answer = await api.http.get("/health/ready")
        report = answer.json()
        assert (answer.status_code, report["killed"]["by"]) == (200, "ann")
        (alarm,) = report["alarms"]
        assert (alarm["kind"], alarm["symbol"], alarm["count"]) == ("margin", SYMBOL, 1)
        assert alarm["action"].startswith("Free margin")
        assert [warning.split(":")[0] for warning in report["warnings"]] == [
            "the kill switch is on",
            "1 alarms are not settled",
        ]


# --- At the shell ---


@pytest.fixture
def shell_url(migrated_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Return the address of the database that operate.py finds in its environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB_CONNECTION_STR", migrated_url)
    return migrated_url


async def with_a_cycle(url: str) -> list[OperatorAction]:
    """Return what was asked of the one cycle, which is begun if it is not there."""
    store = SqlCycleStore(make_engine(url))
    try:
        if await store.open_cycle(SYMBOL) is None:
            cycle = await begun(store)
            await store.update(cycle.cycle_id, raising(AlarmKind.MARGIN, 1), lease=None)
        return [request.action for request in await store.operator_requests([SYMBOL])]
    finally:
        await store.close()


def test_kill_and_back(shell_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert operate.main(["kill"]) == 0
    assert operate.main(["status"]) == 0
    assert "KILLED since" in capsys.readouterr().out
    assert operate.main(["kill", "--undo"]) == 0
    assert operate.main(["kill", "--undo"]) == 0
    assert operate.main(["status"]) == 0
    said = capsys.readouterr().out
    assert "alerts open cycles again\nthe kill switch was not thrown\n" in said
    assert "KILLED" not in said


def test_kill_and_close_everything(shell_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert operate.main(["kill", "--close-all"]) == 0
    assert "no cycle is open" in capsys.readouterr().out
    assert operate.main(["kill", "--undo"]) == 0
    assert asyncio.run(with_a_cycle(shell_url)) == []
    # No monitor answers: the request waits for it.
    assert operate.main(["kill", "--close-all", "--wait", "0"]) == 1
    assert f"close {SYMBOL}: request 1 waits for its monitor" in capsys.readouterr().out
    assert asyncio.run(with_a_cycle(shell_url)) == [OperatorAction.CLOSE]


def test_alarms_are_shown_and_settled(shell_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(with_a_cycle(shell_url))
    assert operate.main(["alarms"]) == 0
    said = capsys.readouterr().out
    assert "ALARM 1 BTCUSDT margin, warning" in said
    assert said.endswith("1 not settled\n")
    assert operate.main(["status"]) == 0
    assert "  ALARM 1 BTCUSDT margin" in capsys.readouterr().out
    assert operate.main(["settle", "2"]) == 1
    assert operate.main(["settle", "1"]) == 0
    assert operate.main(["settle", "--all"]) == 0
    assert operate.main(["alarms"]) == 0
    assert capsys.readouterr().out == (
        "there is no alarm 2, or it was settled\nsettled: 1\nsettled: 0\n0 not settled\n"
    )
