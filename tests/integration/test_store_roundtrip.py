"""Whatever a cycle may be, it comes back from the database as it was."""

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.clients import db_async
from core.clients.sql_store import SqlCycleStore
from core.domain.cycle import Cycle, Fact, Phase
from core.domain.ledger import in_trade_order
from core.domain.step import Step
from tests.integration.anything import anything
from tests.integration.store_worlds import PAYLOAD, START_MS, StoreWorld, new_cycle

NUMBERS = count(1)  # keys, symbols and ids that no other example has
FEW = settings(max_examples=20, suppress_health_check=list(HealthCheck))


@pytest.fixture
async def world(migrated_url: str) -> AsyncIterator[StoreWorld]:
    """Return two stores on one database."""
    engines = db_async.make_engine(migrated_url), db_async.make_engine(migrated_url)

    async def never(symbol: str) -> None:
        raise NotImplementedError

    yield StoreWorld(
        store=SqlCycleStore(engines[0]),
        other=SqlCycleStore(engines[1]),
        run_out=never,
        set_back=never,
    )
    for engine in engines:
        await engine.dispose()


def named(cycle: Cycle, begun: Cycle) -> Cycle:
    """Return an arbitrary cycle under the name of the one that has begun, its parts unique."""
    orders = tuple(
        replace(order, client_order_id=f"{begun.key}-{number}")
        for number, order in enumerate(cycle.orders)
    )
    fills = tuple(replace(fill, trade_id=next(NUMBERS)) for fill in cycle.fills)
    alarms = tuple(
        replace(alarm, about=f"{number} {alarm.about}") for number, alarm in enumerate(cycle.alarms)
    )
    return replace(
        cycle,
        cycle_id=begun.cycle_id,
        key=begun.key,
        symbol=begun.symbol,
        orders=(*begun.orders, *orders),
        fills=in_trade_order(fills),
        alarms=alarms,
    )


async def begin(world: StoreWorld) -> Cycle:
    number = next(NUMBERS)
    webhook_id = await world.store.record_webhook(PAYLOAD, received_at_ms=START_MS)
    return await world.store.begin_cycle(
        webhook_id, new_cycle(key=f"k{number}", symbol=f"S{number}USDT")
    )


@FEW
@given(first=anything(Cycle), second=anything(Cycle))
async def test_a_cycle_with_anything_in_it(world: StoreWorld, first: Cycle, second: Cycle) -> None:
    begun = await begin(world)
    first = named(first, begun)
    second = named(second, begun)
    # Orders stay, whatever becomes of them.
    changed = tuple(replace(order, request=second.orders[0].request) for order in first.orders)
    added = tuple(
        replace(order, client_order_id=f"{order.client_order_id}-2") for order in second.orders
    )
    second = replace(
        second, orders=(*changed, *added), fills=in_trade_order((*first.fills[1:], *second.fills))
    )
    for after in (first, second):
        fact = get_args(Fact)[-1](at_ms=START_MS)

        def step(before: Cycle, after: Cycle = after, fact: Fact = fact) -> Step:
            return Step(before=before, cycle=after, facts=(fact,))

        await world.store.update(begun.cycle_id, step, lease=None)
        assert await world.other.load(begun.cycle_id) == after


@FEW
@given(cycle=anything(Cycle, phase=st.just(Phase.ENTERING)))
async def test_a_cycle_that_begins_with_anything_in_it(world: StoreWorld, cycle: Cycle) -> None:
    number = next(NUMBERS)
    blank = replace(new_cycle(key=f"k{number}", symbol=f"S{number}USDT"), orders=())
    webhook_id = await world.store.record_webhook(PAYLOAD, received_at_ms=START_MS)
    begun = await world.store.begin_cycle(webhook_id, named(cycle, blank))
    assert await world.other.load(begun.cycle_id) == begun
    assert await world.other.begun_as(begun.cycle_id) == begun


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("kind", get_args(Fact), ids=lambda kind: kind.__name__)
async def test_a_fact_of_any_kind(world: StoreWorld, kind: type[Fact], data: st.DataObject) -> None:
    facts = tuple(data.draw(st.lists(anything(kind), min_size=1, max_size=4)))
    begun = await begin(world)

    def step(before: Cycle) -> Step:
        return Step(before=before, cycle=replace(before, is_paused=True), facts=facts)

    await world.store.update(begun.cycle_id, step, lease=None)
    assert await world.other.journal(begun.cycle_id) == facts
