"""The database is older than the exchange: a backup was restored, and everything started again.

At a step of a story a copy of the store is kept; the story goes on; then the monitor dies, the copy
takes the store's place, and the monitor starts on it. What happened in between is known to the
exchange alone. No order may be placed twice, no client id given out twice, each fill counts once,
and what is held has its exits.
"""

import asyncio
import copy
from typing import Any

import pytest

from core.clients.memory_store import MemoryCycleStore
from core.domain.cycle import CloseReason, EndedBy, OperatorAction, Phase, Role
from simulation.faults import Fault, FaultKind
from simulation.invariants import open_names, prove_ended, prove_protected, watch
from simulation.loop import run
from tests.simulation.stage import SYMBOL, D, Stage, alert, trailing_alert
from tests.simulation.stories import RACES, STORIES

HOUR = 3600
ALL = {**STORIES, **RACES}
_DATA = ("_cycles", "_keys", "_open", "_trades", "_webhooks", "_requests", "_contents", "_paused")


def backup_of(store: MemoryCycleStore) -> dict[str, Any]:
    """Return a copy of everything that the store holds."""
    return {name: copy.deepcopy(getattr(store, name)) for name in _DATA}


async def restore(stage: Stage, backup: dict[str, Any]) -> None:
    """Kill the monitor, put the copy in the place of the database, start again."""
    await stage.kill_desk()
    for name, value in backup.items():
        setattr(stage.store, name, copy.deepcopy(value))
    await stage.restart_desk()


@pytest.mark.parametrize("name", ALL)
def test_every_story_survives_a_backup_of_any_of_its_steps(
    name: str, subtests: pytest.Subtests
) -> None:
    story = ALL[name]

    async def tell(step: int) -> int:
        backups: list[dict[str, Any]] = []
        async with Stage(story.settings) as stage:
            watch(stage)
            stage.after_step.append(
                lambda _: (
                    backups.append(backup_of(stage.store)) if len(stage.steps) == step else None
                )
            )
            await story.path(stage)
            if not backups:
                return len(stage.steps)
            stage.market.calm()
            await stage.settle(30)
            await restore(stage, backups[0])
            await stage.settle(90)
            prove_protected(stage)
            if stage.cycle.is_open:
                await stage.close()
            await stage.finish()
            prove_ended(stage)
        return len(stage.steps)

    steps = run(tell(100_000))
    for step in range(1, steps, max(1, steps // 3)):
        with subtests.test(step=step):
            run(tell(step))


def test_levels_that_filled_since_the_backup_are_counted_and_not_bought_again() -> None:
    async def main() -> Stage:
        async with Stage(alert()) as stage:
            watch(stage)
            await stage.enter("60000")
            kept = backup_of(stage.store)
            await stage.walk("59700", "59103", "57920.9")
            await asyncio.sleep(HOUR)
            await restore(stage, kept)
            await stage.settle()
            prove_protected(stage)
            assert stage.cycle.long.quantity == D("0.046")
            assert "hedge1" in stage.resting()
            await stage.walk("58935.4")
            await stage.finish()
            prove_ended(stage)
        return stage

    cycle = run(main()).cycle
    assert [(o.number, o.ended_by) for o in cycle.of(Role.LEVEL)] == [
        (number, EndedBy.FILLED) for number in (1, 2, 3)
    ]
    assert list(cycle.of(Role.FOREIGN)) == []
    assert [alarm.key for alarm in cycle.alarms] == ["restored"]
    assert cycle.close_reason is CloseReason.TAKE_PROFIT


def test_the_id_of_an_order_that_came_to_nothing_is_not_given_out_again() -> None:
    """Its record answers a later look-up of the same id: what rests would be taken for ended."""

    async def main() -> Stage:
        async with Stage(trailing_alert()) as stage:
            watch(stage)
            await stage.enter("60000")
            kept = backup_of(stage.store)
            await stage.walk("60180", "60250")
            guards = [o.client_order_id for o in stage.cycle.of(Role.GUARD)]
            await stage.kill_desk()
            stage.world.outside_cancel(guards[-1], stage.clock.now_ms())
            stage.streams.pump()
            await asyncio.sleep(HOUR)
            await restore(stage, kept)
            lost = Fault(kind=FaultKind.LOST_ANSWER, method="post", client_id="-gd0-")
            stage.gateway.faults.add(lost)
            await stage.settle()
            await stage.walk("60250", "60270")
            await stage.settle(30)
            newest = stage.cycle.last(Role.GUARD)
            assert newest is not None
            assert newest.client_order_id not in guards
            assert newest.is_resting
            await stage.walk("60100")
            await stage.finish()
            prove_ended(stage)
        return stage

    assert run(main()).cycle.close_reason is CloseReason.TRAILING


def test_a_later_cycle_that_the_database_does_not_know_is_left_alone() -> None:
    async def main() -> tuple[Stage, list[str]]:
        async with Stage(alert()) as stage:
            await stage.enter("60000")
            kept, first = backup_of(stage.store), stage.cycle_id
            await stage.walk("60300")
            await stage.finish()
            stage.key = "bbbbbbbbbb"
            await stage.enter("60300")
            await stage.walk("59990")
            theirs = sorted(open_names(stage.world, SYMBOL))
            assert len(theirs) >= 2
            stage.cycle_id = first
            await asyncio.sleep(HOUR)
            await restore(stage, kept)
            await stage.settle(300)
            await stage.ask(OperatorAction.HANDS_ON)
            await stage.settle(300)
            assert sorted(open_names(stage.world, SYMBOL)) == theirs
            assert stage.world.position(SYMBOL, "LONG") == D("0.010")
        return stage, theirs

    stage, _ = run(main())
    cycle = stage.cycle
    assert (cycle.phase, cycle.close_reason) == (Phase.ENDED, CloseReason.TAKE_PROFIT)
    assert "outlived" in [alarm.key for alarm in cycle.alarms]
    assert cycle.ledger.realised == D("1.2")


def test_an_order_of_an_earlier_cycle_that_turns_up_is_taken_back() -> None:
    """A grid order placed late, after the close, while the next cycle is open."""

    async def main() -> Stage:
        async with Stage(alert(), key="bbbbbbbbbb") as stage:
            watch(stage)
            await stage.enter("60000")
            order = {
                "symbol": SYMBOL,
                "side": "BUY",
                "positionSide": "LONG",
                "type": "LIMIT",
                "timeInForce": "GTC",
                "quantity": "0.012",
                "price": "59500",
                "newClientOrderId": "tb-aaaaaaaaaa-lv2-1",
            }
            answer = stage.world.request("POST", "/fapi/v1/order", order, stage.clock.now_ms())
            assert answer.status == 200, answer.body
            stage.streams.pump()
            await stage.settle(90)
            assert "tb-aaaaaaaaaa-lv2-1" not in open_names(stage.world, SYMBOL)
            await stage.walk("59700", "60119.1")
            await stage.finish()
            prove_ended(stage)
        return stage

    cycle = run(main()).cycle
    assert [alarm.key for alarm in cycle.alarms] == ["foreign-tb-aaaaaaaaaa-lv2-1"]
