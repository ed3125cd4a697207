"""Processes killed at the worst moment, answers lost: no order twice, nothing left without exits.

Each story ends as if nothing had happened, with both books being the same to the digit.
"""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.domain.cycle import OrderStatus, Phase, PositionSide, Request, Role
from tests.integration.e2e.programs import until
from tests.integration.e2e.world import Story, World, running

D = Decimal
# Each start of a monitor costs request weight for each symbol, and there are many starts here.
PRICES = {"BTCUSDT": "60000", "ETHUSDT": "3000", "SOLUSDT": "150"}

# Entry 0.01 BTC at 60000, level 1 at 59400, take-profit at 60600.
LADDER: dict[str, Any] = {
    "open_amount": "0.01",
    "open_leverage": "10",
    "deposit": "500",
    "extramarg": "0",
    "tp": "1",
    "order_quan": "2",
    "grid_long": [1, 1],
    "mg_long": [2, 2],
}
# LONG 3 SOL from 150 down, SHORT 6.81 at 146.72; closes in profit far below.
HEDGED: dict[str, Any] = {
    "open_amount": "1",
    "open_leverage": "10",
    "deposit": "60",
    "extramarg": "100",
    "tp": "0.5",
    "order_quan": "2",
    "grid_long": "1|1",
    "mg_long": "1|1",
    "offset_short": "0.2",
    "sl_short": "0.5",
}
# The same without averaging: the hedge is armed at once.
BARE = HEDGED | {"order_quan": "0", "grid_long": None, "mg_long": None, "sl_short": "3"}


@pytest.fixture(scope="module")
def mortal(
    fresh_database: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Return a world whose API and monitor can be killed at a request."""
    folder = tmp_path_factory.mktemp("mortal")
    with running(World(folder, fresh_database(folder), PRICES, mortal=True)) as world:
        yield world


# --- The API dies ---


@pytest.mark.parametrize("when", ["before", "after"])
def test_api_killed_beside_the_entrys_request(mortal: World, when: str) -> None:
    story = Story(mortal, "BTCUSDT")
    story.trade("60000")
    mortal.kill_at(f"{when} POST order en0-1")
    with pytest.raises(httpx.TransportError):
        mortal.send_alert(story.alert(**LADDER))
    mortal.api.wait_killed()
    # Before: eight seconds prove that nothing was placed, then the monitor sends the entry.
    story.until_resting(lv1=("59400", "0.02"), tp0=("60600", "0.01"))
    assert len([o for o in story.orders() if o.role is Role.ENTRY]) == 1
    mortal.start_api()
    assert mortal.send_alert(story.alert(**LADDER)).status == 409
    story.trade("60600")
    assert story.until_ended("take_profit").realised == D("6")


def test_api_killed_while_the_entrys_request_is_on_its_way(mortal: World) -> None:
    story = Story(mortal, "BTCUSDT")
    story.trade("60000")
    mortal.fault("hold", when="before", method="POST", client_id="-en0-")
    with ThreadPoolExecutor(1) as sender:
        sending = sender.submit(mortal.send_alert, story.alert(**LADDER))
        until(lambda: mortal.control("faults")["held"] == 1, lambda: "the entry is not held")
        mortal.api.kill()
        with pytest.raises(httpx.TransportError):
            sending.result()
    mortal.start_api()
    mortal.control("faults/release", {})  # it arrives, from a sender who is no more
    story.until_resting(lv1=("59400", "0.02"), tp0=("60600", "0.01"))
    story.trade("60600")
    assert story.until_ended("take_profit").realised == D("6")


# --- The monitor dies ---


def test_monitor_killed_between_commit_and_send(mortal: World) -> None:
    """One request was not sent, one is on its way, one took effect without an answer."""
    unsent, on_its_way, unanswered = (
        Story(mortal, name) for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    )
    mortal.fault("hold", when="before", method="POST", client_id="-lv1-")
    on_its_way.enter("3000", on_its_way.alert(**LADDER | {"open_amount": "0.1"}))
    until(lambda: mortal.control("faults")["held"] == 1, lambda: "level 1 is not held")
    mortal.fault("hold", when="after", method="POST", client_id="-hs1-")
    unanswered.enter("150", unanswered.alert(**BARE | {"tp": "2"}))
    # h₁ = 150 × 0.998, 1000 / 149.7 = 6.68 SOL
    unanswered.until_resting(hg1=("149.7", "6.68"), tp0=("153", "1"))
    unanswered.trade("149.7")
    until(lambda: mortal.control("faults")["held"] == 2, lambda: "the stop is not held")
    mortal.kill_at("before POST order tp0-1")
    unsent.trade("60000")
    assert mortal.send_alert(unsent.alert(**LADDER)).status == 200
    mortal.monitor.wait_killed()
    mortal.control("faults/release", {})
    mortal.start_monitor()
    unsent.until_resting(lv1=("59400", "0.02"), tp0=("60600", "0.01"))
    on_its_way.until_resting(lv1=("2970", "0.2"), tp0=("3030", "0.1"))
    unanswered.until_resting(hs1=("154.2", None), tp0=("153", "1"))
    unsent.trade("60600")
    on_its_way.trade("3030")
    assert unsent.until_ended("take_profit").realised == D("6")
    assert on_its_way.until_ended("take_profit").realised == D("3")
    unanswered.trade("140")
    assert unanswered.until_ended("pnl").realised == D("-10") + D("6.68") * D("9.7")


@pytest.mark.parametrize("point", ["before POST order cl0-1", "after POST order cs1-1"])
def test_monitor_killed_between_the_two_market_orders_of_a_close(mortal: World, point: str) -> None:
    story = Story(mortal, "SOLUSDT")
    story.enter("150", story.alert(**BARE))
    story.until_resting(hg1=("149.7", "6.68"), tp0=("150.75", "1"))
    story.trade("149.7")
    story.until_resting(hs1=("154.2", None), tp0=("150.75", "1"))
    mortal.kill_at(point)
    story.trade("141")
    mortal.monitor.wait_killed()
    assert story.cycle.phase is Phase.CLOSING
    mortal.start_monitor()
    cycle = story.until_ended("pnl")
    assert cycle.realised == D("-9") + D("6.68") * D("8.7")


def test_monitor_frozen_between_commit_and_send_until_another_has_taken_over(
    mortal: World,
) -> None:
    freeze_between_commit_and_send(mortal)


def freeze_between_commit_and_send(mortal: World) -> None:
    """Freeze the monitor there, let another take over, thaw it: it must send and decide nothing."""
    story = Story(mortal, "BTCUSDT")
    mortal.kill_at("before POST order tp0-1", number=signal.SIGSTOP)
    story.enter("60000", story.alert(**LADDER))
    mortal.monitor.wait_frozen()
    mortal.let_leases_run_out()
    mortal.other.start()
    story.until_resting(lv1=("59400", "0.02"), tp0=("60600", "0.01"))
    mortal.monitor.thaw()  # in the middle of sending, and ten seconds too late for it
    until(lambda: "lease lost" in mortal.monitor.text, lambda: mortal.monitor.text[-2000:])
    story.trade("59400")
    story.until_resting(lv2=("58806", "0.04"), tp0=("60196", "0.03"))
    mortal.other.stop()
    mortal.wait_ready()
    story.trade("60196")
    story.until_ended("take_profit")


def test_monitor_killed_after_a_level_was_filled_unseen(mortal: World) -> None:
    """The fill that moves the take-profit, and the take-profit itself, happen while it is dead."""
    moved, gone = Story(mortal, "ETHUSDT"), Story(mortal, "BTCUSDT")
    moved.enter("3000", moved.alert(**LADDER | {"open_amount": "0.1"}))
    gone.enter("60000", gone.alert(**LADDER))
    moved.until_resting(lv1=("2970", "0.2"), tp0=("3030", "0.1"))
    gone.until_resting(lv1=("59400", "0.02"), tp0=("60600", "0.01"))
    mortal.monitor.kill()
    moved.trade("2970")
    gone.trade("60600")
    mortal.start_monitor()
    assert gone.until_ended("take_profit").realised == D("6")
    # (300 + 594) / 0.3 = 2980, and 1 % on it
    moved.until_resting(lv2=("2940.3", "0.4"), tp0=("3009.8", "0.3"))
    moved.trade("3009.8")
    moved.until_ended("take_profit")


# --- Answers hang or are lost; nobody dies ---


def test_level_fills_while_the_take_profits_amendment_hangs(world: World) -> None:
    story = Story(world, "BTCUSDT")
    story.enter("60000", story.alert(**LADDER))
    story.until_resting(lv1=("59400", "0.02"), tp0=("60600", "0.01"))
    world.fault("hold", when="before", method="PUT", client_id="-tp0-")
    story.trade("59400")
    until(lambda: world.control("faults")["held"] == 1, lambda: "the amendment is not held")
    story.trade("58800")
    until(
        lambda: story.position(PositionSide.LONG).quantity == D("0.07"),
        lambda: repr(story.position(PositionSide.LONG)),
    )
    until(_is_unresolved(story, Request.AMEND), lambda: repr(story.orders()))
    world.control("faults/release", {})  # nobody listens any more, and it takes effect
    # (600 + 1188 + 0.04 × 58806) / 0.07 = 59146.2857…, and 1 % on it
    story.until_resting(tp0=("59737.8", "0.07"))
    story.trade("59737.8")
    assert story.until_ended("take_profit").realised == D("59737.8") * D("0.07") - D("4140.24")


def test_every_answer_of_a_hedged_cycle_is_lost_after_it_took_effect(world: World) -> None:
    story = Story(world, "SOLUSDT")
    for name in ("-en0-", "-lv1-", "-hg1-", "-cs1-"):
        world.fault("lose", method="POST", client_id=name)
    for name in ("-tp0-", "-lv2-", "-hs1-", "-cl0-"):
        world.fault("lose", method="POST", client_id=name, how="503")
    story.enter("150", story.alert(**HEDGED))
    story.until_resting(lv1=("148.5", "1"), tp0=("150.75", "1"))
    world.fault("lose", method="PUT", client_id="-tp0-")
    story.trade("148.5")
    story.until_resting(lv2=("147.01", "1"), hg1=("146.72", "6.81"), tp0=("150", "2"))
    world.fault("lose", method="PUT", client_id="-tp0-", how="503")
    story.trade("147")
    story.until_resting(hg1=("146.72", "6.81"), tp0=("149.25", "3"))
    story.trade("146.7")
    story.until_resting(hs1=("147.44", None), tp0=("149.25", "3"))
    world.fault("lose", method="DELETE", client_id="-tp0-")
    story.trade("140")
    cycle = story.until_ended("pnl")
    assert cycle.realised == 3 * D("140") - D("445.51") + D("6.81") * D("6.7")
    assert world.control("faults")["waiting"] == []


def test_every_answer_of_a_trailing_cycle_is_lost_after_it_took_effect(world: World) -> None:
    story = Story(world, "AVAXUSDT")
    story.enter(
        "20",
        story.alert(
            open_amount="10",
            open_leverage="10",
            deposit="100",
            extramarg="0",
            tp="9",
            order_quan="1",
            grid_long="5",
            mg_long="1",
            trail_1="1",
            trail_2="0.5",
            trail_step="0.1",
        ),
    )
    story.until_resting(lv1=("19", "10"), tp0=("21.8", "10"))
    world.fault("lose", method="DELETE", client_id="-tp0-", how="503")
    world.fault("lose", method="POST", client_id="-gd0-1")
    world.fault("lose", method="DELETE", client_id="-gd0-1")
    world.fault("lose", method="POST", client_id="-gd0-2", how="503")
    story.trade("20.2")
    story.until_resting(lv1=("19", "10"), gd0=("20.058", None))
    story.trade("20.5")
    story.until_resting(lv1=("19", "10"), gd0=("20.356", None))
    world.fault("lose", method="DELETE", client_id="-lv1-")
    world.fault("lose", method="POST", client_id="-cl0-")
    story.trade("20.397")
    assert story.until_ended("trailing").realised == D("3.97")
    assert world.control("faults")["waiting"] == []


def test_request_that_never_arrived_is_made_again(world: World) -> None:
    """Nothing shows it for eight seconds: only then is it proven absent and sent anew."""
    story = Story(world, "ETHUSDT")
    world.fault("lose", when="before", method="POST", client_id="-tp0-")
    world.fault("lose", when="before", method="POST", client_id="-lv1-", how="503")
    story.enter("3000", story.alert(**LADDER | {"open_amount": "0.1"}))
    story.until_resting(lv1=("2970", "0.2"), tp0=("3030", "0.1"))
    assert {o.attempt for o in story.orders()} == {1}
    story.trade("3030")
    assert story.until_ended("take_profit").realised == D("3")


def _is_unresolved(story: Story, request: Request) -> Any:
    def look() -> bool:
        return any(
            o.request is request and o.is_unresolved and o.status is OrderStatus.OPEN
            for o in story.orders()
        )

    return look
