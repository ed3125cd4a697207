"""Accidents that the exchange has: settlement, answers that say nothing, forgetting, modes."""

import asyncio
import json

import pytest

from core.domain.cycle import CloseReason, Phase, Role
from core.sending import carry_out
from simulation.faults import Fault, FaultKind
from simulation.invariants import open_orders, prove_protected
from tests.simulation.accidents import DAYS, HOURS, MINUTES, ZERO, D, alarms, lived, refusals
from tests.simulation.stage import SYMBOL, Stage

# --- Settlement and delisting ---


def test_a_symbol_goes_into_settlement_with_a_cycle_open() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        stage.world.set_status(SYMBOL, "SETTLING")
        await stage.trade("59700")  # the level's fill is the last thing before trading stops
        await stage.settle(3 * MINUTES)
        assert stage.cycle.long.quantity == D("0.010")
        offered = [name for name, _ in open_orders(stage.world, SYMBOL) if "-tp0-" in name]
        assert offered, "the take-profit that rests is not given up for one that is refused"
        stage.world.settle(SYMBOL, stage.clock.now_ms())
        stage.streams.pump()
        await stage.settle()

    stage = lived(path)
    assert stage.cycle.close_reason is CloseReason.OUTSIDE
    requests = [c for c in stage.gateway.sent if c.changes]
    assert len(requests) < 40


def test_a_symbol_is_delisted_while_nobody_watches() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        await stage.walk("59700", "59103", "57920.9", "57805")
        await stage.kill_desk()
        stage.world.settle(SYMBOL, stage.clock.now_ms())
        await asyncio.sleep(2 * HOURS)
        await stage.restart_desk()
        await stage.settle(2 * MINUTES)

    cycle = lived(path).cycle
    assert cycle.close_reason is CloseReason.OUTSIDE
    assert not any(fill.is_adjustment for fill in cycle.fills)


# --- Answers that are empty or cannot be read ---

_SHORT_ONLY = [{"symbol": SYMBOL, "positionSide": "SHORT", "positionAmt": "0.000"}]
UNREADABLE = {
    "empty list": b"[]",
    "empty object": b"{}",
    "null": b"null",
    "nothing": b"",
    "a page": b"<html>busy</html>",
    "one side missing": json.dumps(_SHORT_ONLY).encode(),
    "no quantities": json.dumps(
        [{"symbol": SYMBOL, "positionSide": side} for side in ("LONG", "SHORT")]
    ).encode(),
    "quantities that are none": json.dumps(
        [
            {"symbol": SYMBOL, "positionSide": side, "positionAmt": "", "entryPrice": ""}
            for side in ("LONG", "SHORT")
        ]
    ).encode(),
    "NaN": json.dumps(
        [
            {"symbol": SYMBOL, "positionSide": side, "positionAmt": "NaN", "entryPrice": "0"}
            for side in ("LONG", "SHORT")
        ]
    ).encode(),
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_position_that_is_empty_or_unreadable_is_never_flat(body: bytes) -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        bad = Fault(
            kind=FaultKind.ANSWERED, method="get", path="positionRisk", status=200, body=body,
            count=1000,
        )  # fmt: skip
        stage.gateway.faults.add(bad)
        await stage.settle(5 * MINUTES)
        prove_protected(stage)
        await stage.restart_desk()
        await stage.settle(2 * MINUTES)
        assert stage.cycle.long.quantity == D("0.004")
        assert alarms(stage.cycle) == []
        await stage.close()
        await stage.settle(MINUTES)
        assert stage.cycle.phase is Phase.CLOSING, "the end is not proven by such an answer"

    lived(path)


@pytest.mark.parametrize("body", [b"[]", b"{}", b"null", b"", b'[{"asset":"USDT"}]'])
def test_a_balance_that_is_empty_or_unreadable_sizes_no_hedge(body: bytes) -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        await stage.walk("59700", "59103", "57920.9")
        for role in ("-hg1-", "-hm1-"):
            stage.gateway.faults.refuse(-2019, method="post", client_id=role)
        bad = Fault(
            kind=FaultKind.ANSWERED, method="get", path="balance", status=200, body=body, count=8
        )
        stage.gateway.faults.add(bad)
        stage.world.expire(f"tb-{stage.key}-hg1-1", stage.clock.now_ms())
        stage.streams.pump()
        await stage.settle()
        await stage.walk("57800", "57799")
        await stage.settle(MINUTES)
        assert stage.world.position(SYMBOL, "SHORT") > ZERO, "it was sized once it could be read"
        prove_protected(stage)
        await stage.close()

    lived(path)


# --- Older than the exchange's memory ---


def test_a_position_is_older_than_the_exchange_s_trade_history() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        await stage.kill_desk()
        await asyncio.sleep(100 * DAYS)
        asked = {"symbol": SYMBOL, "fromId": "0"}
        trades = stage.world.request("GET", "/fapi/v1/userTrades", asked, stage.clock.now_ms())
        assert (trades.status, trades.body) == (200, []), "the entry is forgotten"
        await stage.restart_desk()
        await stage.settle(2 * MINUTES)
        prove_protected(stage)
        assert stage.cycle.long.quantity == D("0.004")
        await stage.walk("59700")
        await stage.kill_desk()
        await asyncio.sleep(10 * DAYS)
        await stage.trade("60119.1")
        await stage.restart_desk()
        await stage.settle(2 * MINUTES)

    cycle = lived(path).cycle
    assert cycle.close_reason is CloseReason.TAKE_PROFIT
    assert alarms(cycle) == []


# --- A retry storm ---

NO_MARGIN = {"-lv": 45, "-tp": 25, "-hs": 25, "-cl": 25, "-hg": 3, "-hm": 3}


@pytest.mark.parametrize("role", NO_MARGIN)
def test_no_storm_of_retries_against_a_lack_of_margin(role: str) -> None:
    async def path(stage: Stage) -> None:
        stage.gateway.faults.refuse(-2019, method="post", client_id=role, count=10_000)
        await stage.enter("60000")
        down = ["57700"] if role == "-hm" else ["59700", "59103", "57920.9", "57805", "57700"]
        await stage.walk(*down)
        if role == "-cl":
            await stage.close()
        before = len(stage.gateway.sent)
        await stage.settle(10 * MINUTES)
        asked = [c for c in stage.gateway.sent[before:] if role in str(c.parameters) and c.changes]
        assert len(asked) <= NO_MARGIN[role]
        stage.market.calm()
        if stage.cycle.phase is Phase.TRADING:
            await stage.close()
        await stage.settle(2 * MINUTES)

    cycle = lived(path).cycle
    assert alarms(cycle), "a person is told"
    assert len(alarms(cycle)) <= 4, "and not again and again"


# --- One-way mode ---


def test_the_account_is_switched_to_one_way_mode_by_hand_before_the_entry_arrives() -> None:
    async def path(stage: Stage) -> None:
        stage.world.state.dual_side = False
        entry = await stage.begin("60000")
        fact = await carry_out(stage.gateway, stage.clock, SYMBOL, entry)  # as the API does
        stage.desk.tell(fact, cycle_id=stage.cycle_id)
        await stage.settle()
        assert stage.cycle.phase is Phase.ENDED
        stage.world.state.dual_side = True

    stage = lived(path)
    assert stage.cycle.close_reason is CloseReason.ENTRY_FAILED
    assert refusals(stage, Role.ENTRY) == {-4061}
    assert stage.cycle.fills == ()


def test_one_way_mode_though_a_cycle_is_open_stops_what_is_new_and_nothing_is_flat() -> None:
    """The exchange does not allow it while anything is open; if it ever does, nothing is lost."""

    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        stage.world.state.dual_side = False
        await stage.walk("59700")
        await stage.settle(5 * MINUTES)
        assert stage.cycle.long.quantity == D("0.010")
        assert stage.cycle.phase is Phase.TRADING
        assert "account-refused" in alarms(stage.cycle)
        stage.world.state.dual_side = True
        await stage.settle(3 * MINUTES)
        prove_protected(stage)
        assert "level2" in stage.resting()
        await stage.walk("60119.1")

    assert lived(path).cycle.close_reason is CloseReason.TAKE_PROFIT
