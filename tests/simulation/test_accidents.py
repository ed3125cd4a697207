"""Accidents that others met: each once, named as people tell them, with what must become of it.

Everything is compared with the exchange's own books (`proof`), and what is left to see is checked:
orders, fills, the position, the alarms. The races among them are told in `stories`, too; here they
are looked at from the side of the accident.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest

from core.domain.cycle import CloseReason, Cycle, EndedBy, OperatorAction, Phase, Role
from core.domain.settings import CycleSettings
from core.domain.step import Step
from core.engine import carry_out
from simulation.faults import Fault, FaultKind
from simulation.loop import run
from simulation.streams import Weather
from tests.simulation.proof import open_orders, prove_ended, prove_protected, watch
from tests.simulation.stage import SYMBOL, Stage, alert, trailing_alert

D = Decimal
ZERO = D(0)
MINUTES = 60
HOURS = 60 * MINUTES
DAYS = 24 * HOURS


def lived(
    path: Callable[[Stage], Awaitable[None]], settings: CycleSettings | None = None, **options: bool
) -> Stage:
    """Live through an accident and prove that the cycle ended with the exchange's own books."""

    async def main() -> Stage:
        async with Stage(settings or alert()) as stage:
            stage.world.change_options(**options)
            watch(stage)
            await path(stage)
            await stage.finish()
            prove_ended(stage)
        return stage

    return run(main())


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
        await stage.walk("59700", "59103")
        late = Fault(kind=FaultKind.LATE_REQUEST, method="post", client_id="-hg1-", delay_ms=900)
        stage.gateway.faults.add(late)
        await stage.trade("57920.9", "57500")
        await stage.settle()
        prove_protected(stage)
        await stage.close()

    cycle = lived(path).cycle
    assert sum(o.executed for o in cycle.of(Role.HEDGE_MARKET, 1)) + sum(
        o.executed for o in cycle.of(Role.HEDGE, 1)
    ) == D("0.103")


def test_a_guard_would_trigger_immediately_and_the_trailing_stop_decides() -> None:
    async def path(stage: Stage) -> None:
        await stage.enter("60000")
        late = Fault(kind=FaultKind.LATE_REQUEST, method="post", client_id="-gd0-", delay_ms=900)
        stage.gateway.faults.add(late)
        await stage.trade("60290")
        await stage.settle(0.2)
        await stage.trade("60200")
        await stage.settle()

    cycle = lived(path, trailing_alert()).cycle
    assert cycle.close_reason is CloseReason.TRAILING


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


# --- What the accidents are made of ---


def alarms(cycle: Cycle) -> list[str]:
    """Return the causes of the cycle's alarms."""
    return [alarm.key for alarm in cycle.alarms]


def refusals(stage: Stage, role: Role) -> set[int]:
    """Return the codes with which the exchange refused orders of a role at any time."""
    orders = [order for step in stage.steps for order in step.cycle.of(role)]
    return {order.refusal_code for order in orders if order.refusal_code is not None}


def record_of(stage: Stage, name: str) -> dict[str, object]:
    """Return an order's record as the exchange shows it."""
    asked = {"symbol": SYMBOL, "origClientOrderId": name}
    body = stage.world.request("GET", "/fapi/v1/order", asked, stage.clock.now_ms()).body
    assert isinstance(body, dict)
    return body


def answered(body: dict[str, object], *, method: str, client_id: str) -> Fault:
    """Return the fault that answers a request with `body`; it takes no effect."""
    return Fault(
        kind=FaultKind.ANSWERED,
        method=method,
        client_id=client_id,
        status=200,
        body=json.dumps(body).encode(),
    )
