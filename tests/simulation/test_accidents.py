"""Accidents that others met: each once, named as people tell them, with what must become of it.

Everything is compared with the exchange's own books (`proof`), and what is left to see is checked:
orders, fills, the position, the alarms. The races among them are told in `stories`, too; here they
are looked at from the side of the accident. What the exchange itself does is in
`test_accidents_outside`.
"""

import asyncio
from collections import Counter

import pytest

from core.domain.cycle import CloseReason, EndedBy, OperatorAction, Phase, Role
from core.domain.step import Step
from simulation.faults import Fault, FaultKind
from simulation.invariants import prove_protected
from simulation.streams import Weather
from tests.simulation.accidents import (
    MINUTES,
    ZERO,
    D,
    alarms,
    answered,
    lived,
    record_of,
    refusals,
)
from tests.simulation.stage import SYMBOL, Stage, alert, trailing_alert

# --- A grid order placed late, after the close ---


@pytest.mark.parametrize("price", ["59400", "59000"], ids=["it rests", "it fills at once"])
def test_a_grid_order_arrives_after_the_close(price: str) -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        late = Fault(kind=FaultKind.LATE_REQUEST, method="post", client_id="-lv2-", delay_ms=4_600)
        stage.gateway.faults.add(late)
        await stage.trade("59700")
        await stage.settle(1)
        await stage.trade(price)
        await stage.close()

    cycle = lived(path).cycle
    level = cycle.live(Role.LEVEL, 2) or cycle.last(Role.LEVEL, 2)
    assert level is not None
    assert level.attempt == 1
    assert level.ended_by is (EndedBy.US if price == "59400" else EndedBy.FILLED)
    assert cycle.close_reason is CloseReason.OPERATOR


def test_a_grid_order_arrives_after_the_end_of_its_cycle() -> None:
    """Taken for not placed, since reads lag, and yet there: what it bought is closed again."""

    async def path(stage: Stage) -> None:
        lost = Fault(kind=FaultKind.LOST_REQUEST, method="post", client_id="-lv1-")
        stage.gateway.faults.add(lost)
        await stage.enter_only("60000")
        await stage.settle(1)
        await stage.close()
        await stage.settle(20)
        assert stage.cycle.phase is Phase.ENDED
        name = f"tb-{stage.key}-lv1-1"
        order = {
            "symbol": SYMBOL,
            "side": "BUY",
            "positionSide": "LONG",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": "0.006",
            "price": "60400",
            "newClientOrderId": name,
        }
        answer = stage.world.request("POST", "/fapi/v1/order", order, stage.clock.now_ms())
        assert answer.status == 200, answer.body
        stage.streams.pump()
        assert stage.world.position(SYMBOL, "LONG") == D("0.006")
        await stage.settle()

    cycle = lived(path).cycle
    assert [a.key for a in cycle.alarms if a.key.startswith("late-")]


# --- A fill counted twice; cancelled with zero filled although it filled ---


def test_a_fill_is_told_by_every_mouth_and_again_after_a_restart() -> None:
    async def path(stage: Stage) -> None:
        stage.streams.weather = Weather(doubled=1.0)
        await stage.enter("60000")
        await stage.walk("59700")
        await stage.restart_desk()
        await stage.settle(2 * MINUTES)
        assert stage.cycle.long.quantity == D("0.010")
        await stage.walk("60119.1")

    cycle = lived(path).cycle
    assert Counter(f.trade_id for f in cycle.fills).most_common(1)[0][1] == 1
    assert alarms(cycle) == []


def test_an_order_says_cancelled_with_zero_filled_although_it_filled() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        await stage.settle(MINUTES)
        name = f"tb-{stage.key}-tp0-1"
        untrue = record_of(stage, name) | {"status": "CANCELED", "executedQty": "0"}
        stage.streams.weather = Weather(lost=1.0)
        stage.gateway.faults.add(answered(untrue, method="delete", client_id="-tp0-"))
        await stage.trade("60180", "60300")  # trailing cancels what fills at this moment
        await stage.settle(2 * MINUTES)

    cycle = lived(path, trailing_alert()).cycle
    (taken,) = cycle.of(Role.TAKE_PROFIT)
    assert taken.executed == D("0.004")
    assert cycle.close_reason is CloseReason.TAKE_PROFIT
    assert not any(fill.is_adjustment for fill in cycle.fills)


# --- The take-profit restored, and not restored ---


def test_the_take_profit_is_restored_after_an_outside_cancel() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        stage.world.outside_cancel(f"tb-{stage.key}-tp0-1", stage.clock.now_ms())
        stage.streams.pump()
        await stage.settle()
        prove_protected(stage)
        await stage.walk("60300")

    cycle = lived(path).cycle
    assert [o.ended_by for o in cycle.of(Role.TAKE_PROFIT)] == [EndedBy.PERSON, EndedBy.FILLED]
    assert alarms(cycle) == ["cancelled-tb-aaaaaaaaaa-tp0-1"]


def test_the_take_profit_is_not_restored_when_the_position_is_gone() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        stage.world.outside_cancel(f"tb-{stage.key}-tp0-1", stage.clock.now_ms())
        stage.world.outside_market(SYMBOL, "SELL", "LONG", D("0.004"), stage.clock.now_ms())
        stage.streams.weather = Weather(delay_ms=(5, 2_000), keeps_order=False)
        stage.streams.pump()
        await stage.settle()

    stage = lived(path)
    assert stage.cycle.close_reason is CloseReason.OUTSIDE
    filled = [o for o in stage.cycle.of(Role.TAKE_PROFIT) if o.executed]
    assert filled == []
    assert stage.world.ledger()["legs"], "nothing was opened by it"


# --- A restart that forgets one leg; equal legs ---


def test_a_restart_forgets_no_leg_though_the_hedge_opened_meanwhile() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        await stage.walk("59700", "59103", "57920.9")
        await stage.kill_desk()
        await stage.trade("57805")
        await asyncio.sleep(3 * MINUTES)
        await stage.restart_desk()
        await stage.settle()
        cycle = stage.cycle
        assert (cycle.long.quantity, cycle.short.quantity) == (D("0.046"), D("0.103"))
        prove_protected(stage)
        for _ in range(2):
            await stage.restart_desk()
            await stage.settle()
            prove_protected(stage)
        await stage.walk("57000", "56900")

    assert lived(path).cycle.close_reason is CloseReason.PNL


def test_equal_legs_are_not_flat() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        await stage.walk("59700", "59103", "57920.9", "57805")
        assert stage.world.position(SYMBOL, "LONG") == stage.world.position(SYMBOL, "SHORT")
        await stage.settle(5 * MINUTES)
        await stage.restart_desk()
        await stage.settle(5 * MINUTES)
        prove_protected(stage)
        assert stage.cycle.phase is Phase.TRADING
        assert not await stage.gateway.all_positions_flat()
        await stage.close()

    cycle = lived(path, alert(extramarg=D(266))).cycle
    assert {o.role for o in cycle.orders if o.ended_by is EndedBy.FILLED} >= {
        Role.CLOSE_LONG,
        Role.CLOSE_SHORT,
    }


# --- Closing that is refused ---


@pytest.mark.parametrize("over_close", ["reject", "cut"])
def test_a_resting_take_profit_blocks_the_closing_order(over_close: str) -> None:
    async def path(stage: Stage) -> None:
        stage.world.change_options(over_close=over_close)
        lost = Fault(kind=FaultKind.LOST_ANSWER, method="post", client_id="-tp0-")
        stage.gateway.faults.add(lost)
        stage.streams.weather = Weather(lost=1.0)

        def lag(step: Step) -> None:
            if any(order.role is Role.TAKE_PROFIT for order in step.requests):
                stage.world.freeze_reads(stage.clock.now_ms() + 6_000)

        stage.after_step.append(lag)
        await stage.enter_only("60000")
        await stage.settle(5)  # it rests; all that is known here is that no answer came
        await stage.close()

    stage = lived(path)
    closes = list(stage.cycle.of(Role.CLOSE_LONG))
    assert [o.executed for o in closes if o.executed] == [D("0.004")]
    assert -2022 in refusals(stage, Role.CLOSE_LONG)
    assert [o.ended_by for o in stage.cycle.of(Role.TAKE_PROFIT)] == [EndedBy.US]


@pytest.mark.parametrize("code", [-2022, -4118])
def test_a_closing_order_is_refused_for_what_rests_again_and_again(code: int) -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        stage.gateway.faults.refuse(code, method="post", client_id="-cl0-", count=6)
        await stage.close()
        assert stage.cycle.phase is Phase.CLOSING
        await stage.settle(MINUTES)

    cycle = lived(path).cycle
    assert len(list(cycle.of(Role.CLOSE_LONG))) == 1
    assert [a for a in alarms(cycle) if a.startswith("refused-")]


def test_a_market_close_is_refused_by_percent_price_and_not_believed_done() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        stage.world.set_mark(SYMBOL, D(65000), stage.clock.now_ms())  # the best bid is 8 % below
        await stage.close()
        await stage.settle(2 * MINUTES)
        assert stage.cycle.phase is Phase.CLOSING
        assert stage.cycle.long.quantity == D("0.004")
        stage.world.set_mark(SYMBOL, D(60000), stage.clock.now_ms())
        await stage.settle(MINUTES)

    stage = lived(path)
    closes = list(stage.cycle.of(Role.CLOSE_LONG))
    assert sum(o.executed for o in closes) == D("0.004")
    assert -4131 in refusals(stage, Role.CLOSE_LONG)
    assert alarms(stage.cycle) == ["ended-close_long-0"]


# --- Stops that would trigger immediately ---


def test_a_stop_loss_would_trigger_immediately_and_short_is_closed_at_once() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        await stage.walk("59700", "59103", "57920.9")
        await stage.trade("57805", "58150")  # past the stop-loss before it can be placed
        await stage.settle(3)
        assert stage.world.position(SYMBOL, "SHORT") == ZERO
        await stage.settle()
        await stage.close()

    cycle = lived(path).cycle
    (stop,) = cycle.of(Role.HEDGE_STOP, 1)
    assert stop.refusal_code == -2021
    (close,) = cycle.of(Role.HEDGE_STOP_MARKET, 1)
    assert close.executed == D("0.103")


def test_a_hedge_s_stop_would_trigger_immediately_and_it_goes_by_market() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        await stage.walk("59700")
        late = Fault(kind=FaultKind.LATE_REQUEST, method="post", client_id="-hg1-", delay_ms=900)
        stage.gateway.faults.add(late)
        await stage.trade("59103")
        await stage.settle(0.5)
        await stage.trade("57920.9", "57500")
        await stage.settle()
        prove_protected(stage)
        await stage.close()

    stage = lived(path)
    assert refusals(stage, Role.HEDGE) == {-2021}
    (hedge,) = stage.cycle.of(Role.HEDGE_MARKET, 1)
    assert hedge.executed == D("0.103")


def test_a_guard_would_trigger_immediately_and_the_trailing_stop_decides() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        late = Fault(kind=FaultKind.LATE_REQUEST, method="post", client_id="-gd0-", delay_ms=900)
        stage.gateway.faults.add(late)
        await stage.trade("60290")
        await stage.settle(0.2)
        await stage.trade("60100")  # below the guard, which is still on its way
        await stage.settle()

    stage = lived(path, trailing_alert())
    assert refusals(stage, Role.GUARD) == {-2021}
    assert stage.cycle.close_reason is CloseReason.TRAILING


# --- Dust ---


def test_a_partial_fill_leaves_dust_below_the_minimum_notional() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        await stage.walk("60300", quantity="0.003")
        assert stage.world.position(SYMBOL, "LONG") == D("0.001")  # worth 60; the minimum is 100
        prove_protected(stage)
        await stage.close()

    assert lived(path).cycle.ledger.long.quantity == ZERO


def test_an_exchange_that_takes_no_order_for_dust_is_asked_patiently_and_a_person_told() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        await stage.walk("60300", quantity="0.003")
        stage.gateway.faults.refuse(-4164, method="post", client_id="-cl0-", count=10_000)
        await stage.close()
        before = len(stage.gateway.sent)
        await stage.settle(10 * MINUTES)
        asked = [c for c in stage.gateway.sent[before:] if "-cl0-" in str(c.parameters)]
        assert stage.cycle.phase is Phase.CLOSING
        assert 5 <= len(asked) <= 20
        stage.world.outside_market(SYMBOL, "SELL", "LONG", D("0.001"), stage.clock.now_ms())
        stage.streams.pump()
        await stage.settle()

    assert [a for a in alarms(lived(path).cycle) if a.startswith("refused-")]


# --- Amendments, levels and signals that meet ---


@pytest.mark.parametrize("delay_ms", [100, 500, 900, 1_500, 3_000])
@pytest.mark.parametrize("price", ["60119.1", "60300"])
def test_an_amendment_races_the_fill(delay_ms: int, price: str) -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        late = Fault(
            kind=FaultKind.LATE_REQUEST, method="put", client_id="-tp0-", delay_ms=delay_ms
        )
        stage.gateway.faults.add(late)
        await stage.trade("59700")
        await stage.settle(1.0)
        await stage.trade(price, quantity="0.003")
        await stage.settle(0.3)
        await stage.trade(price)
        await stage.settle()
        await stage.walk("60400")

    cycle = lived(path).cycle
    assert sum(o.executed for o in cycle.of(Role.TAKE_PROFIT)) <= D("0.010")
    assert cycle.close_reason is CloseReason.TAKE_PROFIT


def test_all_levels_fill_within_one_second() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        for price in ("59700", "59103", "57920.9"):
            await stage.trade(price)
            await asyncio.sleep(0.3)
        await stage.settle()
        prove_protected(stage)
        assert stage.cycle.long.quantity == D("0.046")
        assert "hedge1" in stage.resting()
        await stage.walk("58935.4")

    cycle = lived(path, alert(grid_ahead=3)).cycle
    assert [o.executed for o in cycle.of(Role.LEVEL)] == [D("0.006"), D("0.012"), D("0.024")]
    assert cycle.close_reason is CloseReason.TAKE_PROFIT


@pytest.mark.parametrize("kind", [FaultKind.LATE_REQUEST, FaultKind.LATE_ANSWER])
@pytest.mark.parametrize("delay_ms", [300, 2_500, 4_600, 6_000])
def test_open_and_close_signals_in_the_same_second(kind: FaultKind, delay_ms: int) -> None:
    async def path(stage: Stage) -> None:
        fault = Fault(kind=kind, method="post", client_id="-en0-", delay_ms=delay_ms)
        stage.gateway.faults.add(fault)
        entering = asyncio.ensure_future(stage.enter_only("60000"))
        await asyncio.sleep(0.2)
        await stage.ask(OperatorAction.SIGNAL_CLOSE)
        await entering
        await stage.settle(30)

    cycle = lived(path).cycle
    (entry,) = cycle.of(Role.ENTRY)
    sold = sum(o.executed for o in cycle.of(Role.CLOSE_LONG))
    assert sold == entry.executed
    assert cycle.close_reason in (CloseReason.SIGNAL, CloseReason.ENTRY_EXPIRED)
