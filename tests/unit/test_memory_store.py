"""What the store in memory does beyond the promises that all stores make: it fails on demand."""

import asyncio

import pytest

from core.clients.alert_store import AlertStore
from core.clients.memory_store import FailureHook, MemoryCycleStore, Moment
from core.errors import CommitUnclear, StoreUnavailable
from core.ports import CycleStore
from tests.integration.store_worlds import PAYLOAD, START_MS, begun, funded, new_cycle


@pytest.fixture
def store() -> MemoryCycleStore:
    """Return an empty store whose clock stands still."""
    return MemoryCycleStore(now_ms=lambda: START_MS)


def failing(operation: str, moment: Moment, error: Exception) -> FailureHook:
    """Return a hook that raises at one moment of one operation."""

    def fail(at_operation: str, at_moment: Moment) -> None:
        if (at_operation, at_moment) == (operation, moment):
            raise error

    return fail


def test_it_is_a_store_for_the_engine_and_for_the_api(store: MemoryCycleStore) -> None:
    for_the_engine: CycleStore = store
    for_the_api: AlertStore = store
    assert for_the_engine is for_the_api


async def test_a_failure_before_the_commit_leaves_everything_as_it_was(
    store: MemoryCycleStore,
) -> None:
    cycle = await begun(store)
    store.fail = failing("update", Moment.BEFORE_COMMIT, StoreUnavailable("away"))
    with pytest.raises(StoreUnavailable):
        await store.update(cycle.cycle_id, funded(1), lease=None)
    assert await store.load(cycle.cycle_id) == cycle
    assert await store.journal(cycle.cycle_id) == ()


async def test_a_failure_at_the_commit_is_unclear_but_it_happened(store: MemoryCycleStore) -> None:
    cycle = await begun(store)
    store.fail = failing("update", Moment.AFTER_COMMIT, CommitUnclear("?"))
    with pytest.raises(CommitUnclear):
        await store.update(cycle.cycle_id, funded(1), lease=None)
    after = await store.load(cycle.cycle_id)
    assert after is not None
    assert after.funding_ids == (1,)
    assert len(await store.journal(cycle.cycle_id)) == 1


async def test_a_cycle_may_have_begun_although_nobody_was_told(store: MemoryCycleStore) -> None:
    webhook_id = await store.record_webhook(PAYLOAD, received_at_ms=START_MS)
    store.fail = failing("begin_cycle", Moment.AFTER_COMMIT, CommitUnclear("?"))
    with pytest.raises(CommitUnclear):
        await store.begin_cycle(webhook_id, new_cycle())
    assert await store.cycle_of_webhook(webhook_id) is not None
    assert not await store.abandon_webhook(webhook_id, http_status=503, outcome="slow")


async def test_a_slow_store_still_takes_steps_one_by_one(store: MemoryCycleStore) -> None:
    cycle = await begun(store)
    store.latency_s = 0.001
    steps = await asyncio.gather(
        *(store.update(cycle.cycle_id, funded(number), lease=None) for number in range(1, 6))
    )
    after = await store.load(cycle.cycle_id)
    assert after is not None
    assert sorted(after.funding_ids) == [1, 2, 3, 4, 5]
    assert sorted(len(step.before.funding_ids) for step in steps) == [0, 1, 2, 3, 4]
