"""The desk: one commit before anything is sent, every answer a fact, no timer and no news lost."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from core.clients.memory_store import MemoryCycleStore, Moment
from core.domain.cycle import (
    Cycle,
    OperatorAction,
    OperatorAsked,
    OrderReported,
    OrderState,
    PriceSeen,
    ReportedStatus,
    Request,
    Role,
    TimePassed,
    TradePrice,
)
from core.engine import (
    KEEP_ENDED_MS,
    MOST_WAITING,
    Desk,
    Surroundings,
)
from core.errors import (
    CommitUnclear,
    ExchangeError,
    LeaseLost,
    StoreUnavailable,
)
from core.ports import Lease
from simulation.faults import Fault, FaultKind
from simulation.loop import VirtualClock, run
from tests.builders import T0, StoppedClock, Story
from tests.simulation.stage import Stage, alert

D = Decimal


# --- Timers and news ---


def test_a_timer_survives_news_that_do_not_look_at_the_time() -> None:
    async def main() -> Stage:
        async with Stage(alert(grid_ahead=3)) as stage:
            await stage.enter("60000")
            await stage.trade("59700")
            await stage.settle(0.3)
            await stage.trade("59103")  # the next amendment may go only a second after the first
            await stage.settle(0.1)
            stage.desk.spawn(asyncio.sleep(0))  # its end wakes the desk
            await stage.settle(3)
            assert stage.resting()["take_profit"] == (D("59726.1"), D("0.022"))
            await stage.close()
        return stage

    run(main())


def test_what_is_learnt_is_judged_by_the_last_price_even_if_the_row_never_saw_it() -> None:
    async def main() -> Stage:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            await stage.trade("60250", "60251")  # inside the band: changes nothing, is not written
            await stage.settle(1)
            saved = stage.cycle.last_price
            stage.desk.tell(OperatorAsked(at_ms=stage.clock.now_ms(), action=OperatorAction.PAUSE))
            await stage.settle(1)
            assert (saved, stage.cycle.last_price) == (D(60000), D(60251))
            assert any(isinstance(fact, PriceSeen) for fact in stage.steps[-1].facts)
        return stage

    run(main())


def test_while_facts_wait_every_trade_is_wanted_and_afterwards_the_band_again() -> None:
    async def main() -> list[object]:
        bands: list[object] = []
        async with Stage(alert(max_loss=D(20))) as stage:
            await stage.enter("60000")
            around = stage.desk._around
            stage.desk._around = replace(around, on_band=lambda symbol, band: bands.append(band))
            stage.desk.tell(TimePassed(at_ms=stage.clock.now_ms()))
            assert bands == [None]
            await stage.settle(1)
        return bands

    bands = run(main())
    assert bands[-1] is not None


def test_trades_beyond_the_bound_are_folded_into_highest_lowest_and_last() -> None:
    desk = Desk("BTCUSDT", Surroundings(gateway=None, store=None, clock=StoppedClock()))  # type: ignore[arg-type] # unused
    desk.tell(TimePassed(at_ms=T0))
    for number in range(MOST_WAITING):
        desk.traded(D(60_000 + number % 100), T0 + number)
    prices = [q.fact.price for q in desk._facts if isinstance(q.fact, TradePrice)]
    assert {D(60_000), D(60_099)} <= set(prices)
    assert len(prices) == 4
    assert isinstance(next(iter(desk._facts)).fact, TimePassed)  # other facts are never folded


def test_events_beyond_the_bound_are_kept_and_their_stream_is_not_trusted_any_more() -> None:
    desk = Desk("BTCUSDT", Surroundings(gateway=None, store=None, clock=StoppedClock()))  # type: ignore[arg-type] # unused
    story = Story().fill("entry", "60000")
    (report,) = (fact for fact in story.steps[-1].facts if isinstance(fact, OrderReported))
    for number in range(100):
        desk.traded(D(60_000 + number), T0)  # make room: the lowest and the last are enough
    assert all(desk.reported(report) for _ in range(MOST_WAITING - 2))
    assert not desk.reported(report)
    kept = [q.fact for q in desk._facts if isinstance(q.fact, OrderReported)]
    assert len(kept) == MOST_WAITING - 1


# --- The database ---


def fails(times: int, moment: Moment, error: Exception) -> Callable[[str, Moment], None]:
    """Return a hook that lets the next updates fail."""
    left = times

    def fail(operation: str, at: Moment) -> None:
        nonlocal left
        if operation == "update" and at is moment and left:
            left -= 1
            raise error

    return fail


def test_while_the_database_is_away_nothing_is_sent_and_nothing_is_forgotten() -> None:
    async def main() -> None:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            sent = len(stage.gateway.sent)
            stage.store.fail = fails(3, Moment.BEFORE_COMMIT, StoreUnavailable("away"))
            await stage.trade("59700")
            await stage.settle(1.0)
            assert len(stage.gateway.sent) == sent
            await stage.settle()
            assert stage.resting()["take_profit"] == (D("60119.1"), D("0.010"))
            assert [(f.price, f.quantity) for f in stage.cycle.fills][-1] == (D(59700), D("0.006"))
            await stage.close()

    run(main())


def test_after_an_unclear_commit_nothing_is_sent_and_the_rows_say_what_is_unresolved() -> None:
    async def main() -> None:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            stage.store.fail = fails(1, Moment.AFTER_COMMIT, CommitUnclear("no answer"))
            sent = len(stage.gateway.sent)
            await stage.trade("59700")
            await stage.settle(1.0)
            asked = [o for o in stage.cycle.orders if o.is_in_flight]
            assert {o.request for o in asked} == {Request.AMEND, Request.PLACE}
            assert len(stage.gateway.sent) == sent
            await stage.settle(15)  # found out that nothing was placed, and asked anew
            assert stage.resting()["take_profit"] == (D("60119.1"), D("0.010"))
            assert "level2" in stage.resting()
            await stage.close()

    run(main())


def test_a_lost_lease_ends_the_desk() -> None:
    async def main() -> None:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            await stage.kill_desk()
            lease = Lease(symbol=stage.symbol, owner="another", epoch=7)
            desk = Desk(stage.symbol, stage.desk._around, lease=lease)
            desk.adopt(stage.cycle)
            desk.tell(OperatorAsked(at_ms=stage.clock.now_ms(), action=OperatorAction.CLOSE))
            with pytest.raises(LeaseLost):
                await desk.run()
            assert stage.cycle.close_reason is None

    run(main())


def test_a_desk_told_to_fail_ends_with_that_error() -> None:
    async def main() -> None:
        store = MemoryCycleStore(now_ms=VirtualClock().now_ms)
        desk = Desk("BTCUSDT", Surroundings(gateway=None, store=store, clock=VirtualClock()))  # type: ignore[arg-type] # unused
        desk.fail(LeaseLost("BTCUSDT"))
        with pytest.raises(LeaseLost):
            await desk.run()

    run(main())


def test_without_the_right_to_send_requests_wait_and_go_out_when_it_is_back() -> None:
    async def main() -> None:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            stage.desk._around = replace(stage.desk._around, may_send=lambda symbol: False)
            sent = len(stage.gateway.sent)
            await stage.trade("59700")
            await stage.settle(0.2)
            assert len(stage.gateway.sent) == sent
            stage.desk._around = replace(stage.desk._around, may_send=lambda symbol: True)
            await stage.settle(3)
            assert stage.resting()["take_profit"] == (D("60119.1"), D("0.010"))
            await stage.close()

    run(main())


# --- Several cycles ---


def test_a_report_of_a_cycle_not_loaded_yet_waits_for_it() -> None:
    async def main() -> None:
        unknown: list[str] = []
        async with Stage(alert()) as stage:
            around = replace(
                stage.desk._around,
                on_unknown_cycle=lambda symbol, name: unknown.append(name),
            )
            stage.desk._around = around
            adopt, stage.desk.adopt = stage.desk.adopt, lambda cycle: None  # type: ignore[method-assign] # the API tells nobody
            await stage.begin("60000")
            await stage._send_entry(stage.cycle.orders[0], is_recorded=False)
            await stage.settle(1)
            assert set(unknown) == {stage.cycle.orders[0].client_order_id}
            assert stage.cycle.long.quantity == 0
            stage.desk.adopt = adopt  # type: ignore[method-assign] # as above
            stage.desk.adopt(stage.cycle)
            await stage.settle(0.001)
            assert stage.cycle.long.quantity == D("0.004")
            await stage.settle()
            await stage.close()

    run(main())


def test_a_report_whose_cycle_nobody_finds_is_let_go() -> None:
    async def main() -> None:
        async with Stage(alert()) as stage:
            report = Story().entered().steps[-1].facts[0]
            assert isinstance(report, OrderReported)
            stage.desk.tell(report)
            await stage.settle(4)
            assert len(stage.desk._orphans) == 1
            await stage.settle(2)
            assert stage.desk._orphans == []

    run(main())


def test_an_ended_cycle_is_watched_for_a_minute_and_then_forgotten() -> None:
    async def main() -> None:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            await stage.walk("60300")
            ended_at_ms = stage.cycle.ended_at_ms
            assert ended_at_ms is not None
            assert stage.desk.open_cycle is None
            assert stage.desk.knows(stage.cycle_id)
            await stage.settle((ended_at_ms + KEEP_ENDED_MS - stage.clock.now_ms()) / 1000 + 1)
            stage.desk.tell(TimePassed(at_ms=stage.clock.now_ms()))
            await stage.settle(1)
            assert not stage.desk.knows(stage.cycle_id)

    run(main())


# --- Questions ---


def asked(stage: Stage, path: str) -> int:
    return sum(call.path == path for call in stage.gateway.sent)


def test_a_question_without_an_answer_is_asked_again_a_second_later() -> None:
    async def main() -> None:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            stage.gateway.faults.add(Fault(kind=FaultKind.RESET, path="userTrades", count=2))
            level = next(stage.cycle.of(Role.LEVEL))
            before = asked(stage, "userTrades")
            stage.desk.tell(total_without_fills(stage, level))
            await stage.settle(0.5)
            assert asked(stage, "userTrades") == before + 1
            await stage.settle(2.5)
            assert asked(stage, "userTrades") >= before + 3

    run(main())


def test_a_throttled_question_waits_as_long_as_it_was_told() -> None:
    async def main() -> None:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            stage.gateway.faults.refuse(-1003, "too many", status=429, path="userTrades")
            before = asked(stage, "userTrades")
            stage.desk.tell(total_without_fills(stage, next(stage.cycle.of(Role.LEVEL))))
            await stage.settle(0.9)
            assert asked(stage, "userTrades") == before + 1
            await stage.settle(2)
            assert asked(stage, "userTrades") > before + 1

    run(main())


def total_without_fills(stage: Stage, order: OrderState) -> OrderReported:
    """Return the news that something of an order filled, without the executions."""
    return OrderReported(
        at_ms=stage.clock.now_ms(),
        client_order_id=order.client_order_id,
        status=ReportedStatus.OPEN,
        side=order.side,
        position_side=order.position_side,
        kind=order.kind,
        price=order.price,
        quantity=order.quantity,
        executed=D("0.001"),
        average_price=None,
    )


def test_a_check_finds_what_no_stream_told() -> None:
    async def main() -> Cycle:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            stage.market.disconnect()
            await stage.trade("59700")
            await stage.settle(1)
            assert stage.cycle.long.quantity == D("0.004")
            await stage.desk.check()
            await stage.settle(2)
            assert stage.cycle.long.quantity == D("0.010")
            await stage.close()
        return stage.cycle

    run(main())


def test_a_check_finds_what_came_to_life_after_the_end() -> None:
    async def main() -> None:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            await stage.walk("60300")
            entry = stage.cycle.entry_order
            assert entry is not None
            assert not stage.cycle.is_open
            stage.market.disconnect()
            again = replace(entry, requested_at_ms=stage.clock.now_ms())
            await stage.gateway.place(stage.symbol, again)  # an id that is free fills twice
            await stage.settle(1)
            assert not stage.cycle.is_open
            await stage.desk.check()
            await stage.settle()
            assert any(alarm.key.startswith("late") for alarm in stage.cycle.alarms)
            await stage.finish()
            assert not stage.cycle.is_open
            assert not (await stage.gateway.positions(stage.symbol)).long.quantity

    run(main())


def test_funding_that_nobody_lived_to_ask_for_at_the_end_is_asked_for_by_the_next() -> None:
    async def main() -> None:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            stage.market.disconnect()
            stage.world.funding(stage.symbol, D("0.001"), stage.clock.now_ms())
            await stage.trade("60000")
            stage.market.connect()  # which tells nothing of it any more
            stage.gateway.faults.add(Fault(kind=FaultKind.RESET, path="income", count=1))
            await stage.walk("60300")
            assert not stage.cycle.is_open
            assert stage.cycle.funding == 0
            await stage.restart_desk()
            await stage.settle()
            assert stage.cycle.funding == D("-0.24")

    run(main())


def test_an_entry_that_filled_before_it_was_accepted_by_a_clock_that_is_ahead_is_found() -> None:
    async def main() -> None:
        async with Stage(alert()) as stage:
            stage.market.disconnect()
            entry = await stage.begin("60000")
            row = stage.store._cycles[stage.cycle_id]
            row.cycle = replace(row.cycle, accepted_at_ms=row.cycle.accepted_at_ms + 900)
            await stage.gateway.place(stage.symbol, entry)
            await stage.settle()
            assert [fill.quantity for fill in stage.cycle.fills] == [D("0.004")]
            await stage.close()

    run(main())


def test_a_check_without_an_answer_concludes_nothing_and_says_so() -> None:
    async def main() -> None:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            steps = len(stage.steps)
            stage.gateway.faults.add(Fault(kind=FaultKind.RESET, path="positionRisk"))
            with pytest.raises(ExchangeError):
                await stage.desk.check()
            await stage.settle(1)
            assert len(stage.steps) == steps

    run(main())


# --- The end of a desk ---


def test_a_desk_that_winds_down_records_answers_but_asks_for_nothing_new() -> None:
    async def main() -> None:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            stage.gateway.faults.add(
                Fault(kind=FaultKind.LATE_REQUEST, method="put", client_id="-tp", delay_ms=800)
            )
            await stage.trade("59700")
            await stage.settle(0.4)  # the amendment is under way
            took_profit = stage.cycle.live(Role.TAKE_PROFIT)
            assert took_profit is not None
            assert took_profit.is_in_flight
            await stage.desk.wind_down(3)
            sent = len(stage.gateway.sent)
            assert not any(o.is_in_flight for o in stage.cycle.orders)
            await stage.trade("59103")
            await stage.settle(2)
            assert len(stage.gateway.sent) == sent
            assert stage.cycle.long.quantity == D("0.022")  # recording is never refused

    run(main())


async def test_stopping_cancels_what_is_under_way() -> None:
    desk = Desk("BTCUSDT", Surroundings(gateway=None, store=None, clock=StoppedClock()))  # type: ignore[arg-type] # unused
    ended: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    desk.spawn(work())
    await asyncio.sleep(0)
    assert not desk.is_idle
    await desk.stop()
    assert (ended, desk.is_idle) == ([True], True)
