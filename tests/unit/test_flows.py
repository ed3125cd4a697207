"""Flows and tasks are Prefect's, run inline, and tell what ran to whoever asked."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import prefect
import pytest

from core.clients.memory_store import MemoryCycleStore
from core.domain.cycle import (
    Fact,
    Kind,
    OrderState,
    PositionSide,
    Role,
    Side,
    TimePassed,
)
from core.engine import Desk, Surroundings
from core.ports import RunReport
from flows.order_cancel_flow import order_cancel_flow
from flows.order_filled_flow import order_filled_flow
from flows.order_new_flow import order_new_flow
from flows.positions_flow import (
    close_positions,
    new_cycle_key,
    open_long_position,
    positions_flow,
)
from flows.runtime import InlineFlow, flow, report_to, tag, task
from flows.tasks import record_and_decide, send_request
from paper.world import World
from simulation.gateway import SimulatedGateway
from simulation.loop import VirtualClock

ORDER_FLOWS = [order_new_flow, order_filled_flow, order_cancel_flow, positions_flow]


@dataclass
class Runs:
    """A reporter that remembers."""

    reports: list[RunReport] = field(default_factory=list)

    def report(self, run: RunReport) -> None:
        """Remember."""
        self.reports.append(run)

    def told(self) -> list[tuple[str, str | None, str]]:
        """Return flow, task and state of every report, in order."""
        return [(run.flow_name, run.task_name, run.state) for run in self.reports]


@pytest.fixture
def runs() -> Iterator[Runs]:
    """Return the reports of this test's runs."""
    remembered = Runs()
    report_to(remembered)
    yield remembered
    report_to(None)


@task
async def add(first: int, second: int) -> int:
    """Add."""
    await asyncio.sleep(0)
    return first + second


@task
async def fail() -> None:
    """Fail."""
    raise ValueError("on purpose")


@flow(tags_of=lambda number: (f"number:{number}",))
async def sum_up(number: int) -> int:
    """Add twice, the second time beside the caller."""
    waited_for = await add(number, 1)
    return await add.submit(waited_for, 1)


def test_they_are_prefects_own_objects() -> None:
    for each in (*ORDER_FLOWS, open_long_position, close_positions):
        assert isinstance(each, prefect.Flow)
    for one in (record_and_decide, send_request):
        assert isinstance(one, prefect.Task)
    names = {each.name for each in ORDER_FLOWS} | {open_long_position.name, close_positions.name}
    assert names == {
        "order_new_flow",
        "order_filled_flow",
        "order_cancel_flow",
        "positions_flow",
        "open_long_position",
        "close_positions",
    }


async def test_a_flow_runs_on_the_callers_loop_and_returns_its_value() -> None:
    assert await sum_up(1) == 3


async def test_runs_are_told_with_tags_parents_and_times(runs: Runs) -> None:
    await sum_up(5)
    assert runs.told() == [
        ("sum_up", None, "Running"),
        ("sum_up", "add", "Running"),
        ("sum_up", "add", "Completed"),
        ("sum_up", "add", "Running"),
        ("sum_up", "add", "Completed"),
        ("sum_up", None, "Completed"),
    ]
    flow_run = runs.reports[0].run_id
    assert all(run.tags == ("number:5",) for run in runs.reports)
    assert [run.parent_run_id for run in runs.reports] == [None, *[flow_run] * 4, None]
    assert all((run.ended_at_ms is None) == (run.state == "Running") for run in runs.reports)


async def test_a_run_ends_with_its_last_task_and_does_not_hold_its_caller_up(runs: Runs) -> None:
    may_end, kept = asyncio.Event(), []

    @task
    async def wait() -> None:
        await may_end.wait()

    @flow(tags_of=lambda: ())
    async def start() -> None:
        kept.append(wait.submit())

    await start()
    await asyncio.sleep(0)
    assert runs.told()[-1] == ("start", "wait", "Running")
    may_end.set()
    await kept[0]
    assert runs.told()[-2:] == [("start", "wait", "Completed"), ("start", None, "Completed")]


async def test_a_failure_is_raised_and_told(runs: Runs) -> None:
    @flow(tags_of=lambda: ())
    async def try_it() -> None:
        await fail()

    with pytest.raises(ValueError, match="on purpose"):
        await try_it()
    assert [run.state for run in runs.reports] == ["Running", "Running", "Failed", "Failed"]
    assert runs.reports[-1].message == "ValueError('on purpose')"


async def test_a_cancelled_task_is_told_and_its_run_ends(runs: Runs) -> None:
    @flow(tags_of=lambda: ())
    async def start() -> "asyncio.Task[int]":
        return add.submit(1, 2)

    started = await start()
    started.cancel()  # before its first step
    await asyncio.gather(started, return_exceptions=True)
    assert runs.told()[-1][1:] == (None, "Completed")


async def test_tags_can_be_added_as_they_become_known(runs: Runs) -> None:
    @flow(tags_of=lambda: ("symbol:X",))
    async def begin() -> None:
        tag("cycle:k1", "symbol:X")

    await begin()
    assert [run.tags for run in runs.reports] == [("symbol:X",), ("symbol:X", "cycle:k1")]
    tag("nobody")  # outside of a run it is nothing


async def test_a_flow_within_a_flow_names_its_parent(runs: Runs) -> None:
    @flow(tags_of=lambda: ())
    async def outer() -> int:
        return await sum_up(1)

    await outer()
    by_name = {run.flow_name: run for run in runs.reports if run.task_name is None}
    assert by_name["sum_up"].parent_run_id == by_name["outer"].run_id


class TwoRequests(Desk):
    """A desk that always has two requests to send, and notes which were sent."""

    def __init__(self, requests: tuple[OrderState, ...]) -> None:
        """Want these."""
        store, clock = MemoryCycleStore(now_ms=lambda: 0), VirtualClock()
        gateway = SimulatedGateway(World(now_ms=0), clock)
        super().__init__("BTCUSDT", Surroundings(gateway=gateway, store=store, clock=clock))
        self._requests = requests
        self.sent: list[OrderState] = []
        self.facts: tuple[Fact, ...] = ()
        self.may_send = asyncio.Event()

    async def record_and_decide(self, facts: tuple[Fact, ...]) -> tuple[OrderState, ...]:
        """Return the requests."""
        self.facts = facts
        return self._requests

    async def send(self, order: OrderState) -> None:
        """Note it."""
        await self.may_send.wait()
        self.sent.append(order)

    async def settle(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._tasks)


def an_order(name: str) -> OrderState:
    """Return an order to send."""
    return OrderState(
        client_order_id=name,
        role=Role.LEVEL,
        number=1,
        attempt=1,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        kind=Kind.LIMIT,
        price=None,
        quantity=None,
    )


@pytest.mark.parametrize("handler", ORDER_FLOWS, ids=lambda each: each.name)
async def test_an_order_flow_decides_once_and_sends_each_request_beside_it(
    handler: "InlineFlow[[Desk, tuple[Fact, ...]], None]", runs: Runs
) -> None:
    desk = TwoRequests((an_order("a"), an_order("b")))
    facts: tuple[Fact, ...] = (TimePassed(at_ms=1),)
    await handler(desk, facts)
    assert (desk.facts, desk.sent) == (facts, [])
    desk.may_send.set()
    await desk.settle()
    assert [order.client_order_id for order in desk.sent] == ["a", "b"]
    await asyncio.sleep(0)
    assert [run.task_name for run in runs.reports if run.state == "Completed"] == [
        "record_and_decide",
        "send_request",
        "send_request",
        None,
    ]
    assert runs.reports[0].tags == ("symbol:BTCUSDT",)


async def test_stopping_the_desk_ends_what_its_flow_started() -> None:
    desk = TwoRequests((an_order("a"),))
    await order_new_flow(desk, ())
    await asyncio.wait_for(desk.stop(), 1)
    desk.may_send.set()
    await asyncio.sleep(0)
    assert desk.sent == []


def test_keys_are_short_sort_by_time_and_do_not_repeat() -> None:
    early, late = new_cycle_key(1_790_000_000_000), new_cycle_key(1_790_000_001_000)
    assert len(early) == len(late) == 14
    assert early < late
    assert len({new_cycle_key(1_790_000_000_000) for _ in range(200)}) == 200
