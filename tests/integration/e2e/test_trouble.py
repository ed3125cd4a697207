"""Trouble that kills nobody: streams that break, a database that is away, a monitor that froze."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from core.domain.cycle import Phase
from core.models import Cycle
from tests.integration.e2e.conftest import PRICES
from tests.integration.e2e.programs import until
from tests.integration.e2e.test_crashes import BARE, HEDGED, LADDER
from tests.integration.e2e.world import Story, World, standing

D = Decimal


def test_many_alerts_at_one_moment_open_one_cycle(world: World) -> None:
    story = Story(world, "ETHUSDT")
    story.trade("3000")
    before = len(world.rows(Cycle))
    alerts = [story.alert(**LADDER | {"open_amount": "0.1"}) for _ in range(6)]
    with ThreadPoolExecutor(6) as senders:
        answers = list(senders.map(world.send_alert, alerts))
    assert Counter(answer.status for answer in answers) == {200: 1, 409: 5}
    assert len(world.rows(Cycle)) == before + 1
    story.until_resting(lv1=("2970", "0.2"), tp0=("3030", "0.1"))
    story.trade("3030")
    assert story.until_ended("take_profit").realised == D("3")


def test_fills_that_no_stream_told_are_found_after_the_reconnect(world: World) -> None:
    story = Story(world, "SOLUSDT")
    story.enter("150", story.alert(**HEDGED))
    story.until_resting(lv1=("148.5", "1"), tp0=("150.75", "1"))
    world.control("streams", {"action": "drop"})
    story.trade("148.5")
    story.until_resting(lv2=("147.01", "1"), hg1=("146.72", "6.81"), tp0=("150", "2"))
    world.control("streams", {"action": "drop"})
    story.trade("147", "146.7")
    story.until_resting(hs1=("147.44", None), tp0=("149.25", "3"))
    world.control("streams", {"action": "drop", "route": "private"})
    # Both streams may still be away; trades missed are missed, the first one after it counts.
    until(lambda: _trades_on(story, "140") is not Phase.TRADING, lambda: repr(story.cycle))
    story.until_ended("pnl")


def _trades_on(story: Story, price: str) -> Phase:
    story.trade(price)
    return story.cycle.phase


def test_person_trades_along(world: World) -> None:
    """A person buys more of it: counted, offered and sold with the rest."""
    story = Story(world, "AVAXUSDT")
    story.enter("20", story.alert(**LADDER | {"open_amount": "20"}))
    story.until_resting(lv1=("19.8", "40"), tp0=("20.2", "20"))
    story.by_hand("BUY", "LONG", "5")
    story.until_resting(lv1=("19.8", "40"), tp0=("20.2", "25"))
    story.trade("20.2")
    story.until_ended("take_profit", alarms=["not ours"])


def test_reads_that_lag_behind_do_not_end_a_cycle_early(world: World) -> None:
    story = Story(world, "XRPUSDT")
    story.enter("2", story.alert(**BARE | {"open_amount": "75"}))
    story.until_resting(hg1=("1.996", "501"), tp0=("2.01", "75"))
    world.fault("stale", delay_ms=6000)  # the account's picture stands still: LONG 75
    story.trade("2.01")
    cycle = story.until_ended("take_profit")
    assert cycle.realised == D("0.75")


def test_database_away_while_levels_fill(world: World) -> None:
    story = Story(world, "BTCUSDT")
    story.enter("60000", story.alert(**LADDER))
    story.until_resting(lv1=("59400", "0.02"), tp0=("60600", "0.01"))
    with world.database_held():
        story.trade("59400")
        until(
            lambda: "database away" in world.monitor.text,
            lambda: world.monitor.text[-2000:],
        )
    story.until_resting(lv2=("58806", "0.04"), tp0=("60196", "0.03"))
    story.trade("60196")
    story.until_ended("take_profit")


def test_entry_that_takes_too_long_is_accepted_meanwhile(world: World) -> None:
    story = Story(world, "ETHUSDT")
    story.trade("3000")
    world.fault("hold", method="POST", client_id="-en0-")
    answer = world.send_alert(story.alert(**LADDER | {"open_amount": "0.1"}))
    assert (answer.status, answer.body["status"]) == (200, "accepted")
    world.control("faults/release", {})
    story.until_resting(lv1=("2970", "0.2"), tp0=("3030", "0.1"))
    story.trade("3030")
    story.until_ended("take_profit")


def test_checks_that_take_too_long_are_unavailable_and_trade_nothing(world: World) -> None:
    story = Story(world, "ETHUSDT")
    story.trade("3000")
    before = standing(world)
    world.fault("hold", method="GET", path="bookTicker")
    answer = world.send_alert(story.alert(**LADDER | {"open_amount": "0.1"}))
    assert (answer.status, answer.body["status"]) == (503, "unavailable")
    world.control("faults/release", {})
    # Sent again, as TradingView does: only this one opens.
    story.enter("3000", story.alert(**LADDER | {"open_amount": "0.1"}))
    story.until_resting(lv1=("2970", "0.2"), tp0=("3030", "0.1"))
    assert standing(world) == (before[0] + 3, before[1] + 1, before[2] + 1)
    story.trade("3030")
    story.until_ended("take_profit")


def test_check_that_got_no_answer_is_soon_made_again(world: World) -> None:
    failed = world.monitor.text.count("check failed")
    # A read whose connection broke goes again once: both are lost, for every symbol.
    world.fault("lose", method="GET", path="positionRisk", count=2 * len(PRICES))
    world.control("streams", {"action": "drop", "route": "market"})
    until(
        lambda: world.monitor.text.count("check failed") > failed,
        lambda: world.monitor.text[-2000:],
    )
    world.wait_ready()  # and not only a minute later
