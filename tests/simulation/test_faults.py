"""Requests and answers that get lost, come late or are refused; streams and reads that mislead.

For every kind of request that a story sends (place, amend, cancel × the order's role), each thing
that can happen to it on its way; for every refusal that the exchange knows, the orders it may hit.
"""

from collections.abc import Callable
from functools import cache

import pytest

from core.domain.cycle import CloseReason
from core.domain.step import Step
from simulation.faults import Fault, FaultKind
from simulation.invariants import prove_ended, prove_protected, watch
from simulation.loop import run
from simulation.streams import Weather
from tests.simulation.stage import Stage
from tests.simulation.stories import RACES, STORIES, Story, enter, play, walk

# Together they send every kind of request.
TOLD = {
    name: {**STORIES, **RACES}[name]
    for name in (
        "hedge stopped out until max_hedges is reached",
        "whole grid, hedge, closed by net PNL",
        "the price gaps below several levels and the hedge's trigger",
        "trailing",
        "a level fills during the close",
    )
}

ON_THE_WAY = {
    "its answer is lost": {"kind": FaultKind.LOST_ANSWER},
    "its answer is lost, and the next": {"kind": FaultKind.LOST_ANSWER, "count": 2},
    "it is lost": {"kind": FaultKind.LOST_REQUEST},
    "the connection breaks after it": {"kind": FaultKind.RESET},
    "its answer takes 3 s": {"kind": FaultKind.LATE_ANSWER, "delay_ms": 3_000},
    "its answer takes 6 s": {"kind": FaultKind.LATE_ANSWER, "delay_ms": 6_000},
    "it takes 3 s": {"kind": FaultKind.LATE_REQUEST, "delay_ms": 3_000},
    "it takes 6 s, too long": {"kind": FaultKind.LATE_REQUEST, "delay_ms": 6_000},
}


@cache
def kinds_of_requests(name: str) -> tuple[tuple[str, str], ...]:
    """Return method and role code of every kind of request that the story sends."""
    found: dict[tuple[str, str], None] = {}
    for call in play(TOLD[name]).gateway.sent:
        ids = [text for text in call.parameters.values() if text.startswith("tb-")]
        if call.changes and ids:
            found[call.method, ids[0].split("-")[2][:2]] = None
    return tuple(found)


@cache
def stories_of_requests() -> dict[tuple[str, str], str]:
    """Return every kind of request and the first story that sends it."""
    found: dict[tuple[str, str], str] = {}
    for name in TOLD:
        for kind in kinds_of_requests(name):
            found.setdefault(kind, name)
    return found


def test_the_stories_send_every_kind_of_request() -> None:
    assert set(stories_of_requests()) == {
        *(("post", role) for role in ("en", "lv", "tp", "gd", "hg", "hs", "hm", "cl", "cs")),
        *(("put", "tp"), ("delete", "tp"), ("delete", "lv"), ("delete", "gd")),
        ("delete", "hs"),
    }


@pytest.mark.parametrize("fault", ON_THE_WAY.values(), ids=ON_THE_WAY.keys())
def test_whatever_happens_to_a_request_on_its_way(
    fault: dict[str, object], subtests: pytest.Subtests
) -> None:
    for (method, role), name in stories_of_requests().items():
        with subtests.test(method=method, role=role):
            play(TOLD[name], faults=(_fault(method, role, fault),))


def _fault(method: str, role: str, fault: dict[str, object]) -> Fault:
    return Fault(method=method, client_id=f"-{role}", **fault)  # type: ignore[arg-type] # by name


REFUSALS = {  # code: what it may hit, as method and role
    -2021: (("post", "hg"), ("post", "hs"), ("post", "gd")),
    -2019: (("post", "lv"), ("post", "hg"), ("post", "hm"), ("post", "tp"), ("post", "hs")),
    -2022: (("post", "cl"), ("post", "cs"), ("post", "tp"), ("put", "tp")),
    -4118: (("post", "cl"), ("post", "tp")),
    -4131: (("post", "cl"), ("post", "cs"), ("post", "hm")),
    -4130: (("post", "hs"), ("post", "gd")),
    -4045: (("post", "hg"), ("post", "hs"), ("post", "gd")),
    -4116: (("post", "lv"), ("post", "tp"), ("post", "hg"), ("post", "cl")),
    -4016: (("post", "lv"), ("post", "tp")),
    -4024: (("post", "lv"), ("post", "tp"), ("put", "tp")),
    -1111: (("post", "lv"), ("post", "tp"), ("post", "hg"), ("post", "hs"), ("put", "tp")),
    -1008: (
        *(("post", role) for role in ("lv", "tp", "gd", "hg", "hs", "hm", "cl", "cs")),
        *(("put", "tp"), ("delete", "tp"), ("delete", "lv"), ("delete", "gd")),
    ),
    -5028: (("post", "lv"), ("post", "tp"), ("post", "cl"), ("put", "tp"), ("delete", "tp")),
    -1021: (("post", "lv"), ("post", "hs"), ("post", "cs"), ("put", "tp"), ("delete", "tp")),
    -2011: (("delete", "tp"), ("delete", "lv"), ("delete", "gd")),
    -2013: (("put", "tp"), ("delete", "gd")),
    -2015: (("post", "lv"), ("post", "hg"), ("post", "tp"), ("post", "cl"), ("put", "tp")),
    -9999: (("post", "lv"), ("post", "tp"), ("post", "hg"), ("post", "hs"), ("post", "cl")),
}


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("code", REFUSALS)
def test_whatever_the_exchange_refuses(code: int, times: int, subtests: pytest.Subtests) -> None:
    for method, role in REFUSALS[code]:
        with subtests.test(method=method, role=role):
            story = TOLD[stories_of_requests()[method, role]]
            play(story, faults=(_refused(code, method, role, times),))


def _refused(code: int, method: str, role: str, times: int) -> Fault:
    body = b'{"code":%d,"msg":"refused"}' % code
    return Fault(
        kind=FaultKind.ANSWERED,
        method=method,
        client_id=f"-{role}",
        count=times,
        status=400,
        body=body,
    )


# --- Streams and reads ---

WEATHERS = {
    "every event comes twice": Weather(doubled=1.0),
    "events overtake each other": Weather(delay_ms=(5, 3_000), keeps_order=False),
    "events come late": Weather(delay_ms=(4_000, 9_000)),
    "half of the events get lost": Weather(lost=0.5),
    "all events get lost": Weather(lost=1.0),
    "all at once": Weather(delay_ms=(5, 5_000), keeps_order=False, doubled=0.4, lost=0.3),
}


def disturbed(story: Story, disturb: Callable[[Stage], None], seed: int = 0) -> Stage:
    """Play a story whose market is disturbed from the entry on; nothing is missed for good."""

    async def main() -> Stage:
        async with Stage(story.settings, seed=seed) as stage:
            watch(stage)
            disturb(stage)
            await story.path(stage)
            await stage.settle(70)  # a check finds what no event told
            await stage.finish()
            if stage.cycle.is_open:
                prove_protected(stage)
                await stage.close()
            prove_ended(stage)
        return stage

    return run(main())


@pytest.mark.parametrize("weather", WEATHERS.values(), ids=WEATHERS.keys())
@pytest.mark.parametrize("name", TOLD)
def test_whatever_becomes_of_the_account_s_events(
    name: str, weather: Weather, subtests: pytest.Subtests
) -> None:
    for seed in range(2):
        with subtests.test(seed=seed):

            def disturb(stage: Stage) -> None:
                stage.streams.weather = weather

            disturbed(TOLD[name], disturb, seed)


@pytest.mark.parametrize("name", [*STORIES, *RACES])
def test_reads_lag_behind_whatever_happens(name: str) -> None:
    def disturb(stage: Stage) -> None:
        stage.after_step.append(
            lambda step: (
                stage.world.freeze_reads(stage.clock.now_ms() + 2_500) if step.requests else None
            )
        )

    disturbed({**STORIES, **RACES}[name], disturb)


@pytest.mark.parametrize("seconds", [1, 90])
@pytest.mark.parametrize("name", TOLD)
def test_the_streams_break_off_after_any_step_for_a_while(
    name: str, seconds: int, subtests: pytest.Subtests
) -> None:
    for number in range(1, len(play(TOLD[name]).steps) + 1, 4):
        with subtests.test(step=number):

            def disturb(stage: Stage, number: int = number) -> None:
                stage.breaks_off_at(number, seconds)

            disturbed(TOLD[name], disturb)


@pytest.mark.parametrize("name", TOLD)
def test_reads_fail_for_a_while(name: str) -> None:
    def disturb(stage: Stage) -> None:
        def fail(_: Step) -> None:
            if len(stage.steps) in (2, 8, 14):
                fault = Fault(kind=FaultKind.RESET, method="get", count=15)
                stage.gateway.faults.add(fault)

        stage.after_step.append(fail)

    disturbed(TOLD[name], disturb)


# --- Late and unseen: the exchange alone would take it twice ---


async def _entry_arrives_late_and_unseen(stage: Stage) -> None:
    await stage.trade("60000")
    stage.world.freeze_reads(stage.clock.now_ms() + 7_500)
    await enter(stage)
    await stage.settle()
    await walk(stage, "60300")


async def _hedge_arrives_late_and_unseen(stage: Stage) -> None:
    await enter(stage)
    stage.world.freeze_reads(stage.clock.now_ms() + 7_500)
    await walk(stage, "57000", "56500")


async def _close_arrives_late_and_unseen(stage: Stage) -> None:
    await enter(stage)
    await walk(stage, "59700", "59103", "57920.9", "57805")
    stage.world.freeze_reads(stage.clock.now_ms() + 7_500)
    await walk(stage, "56900")


LATE = {
    "en": _entry_arrives_late_and_unseen,
    "hm": _hedge_arrives_late_and_unseen,
    "cs": _close_arrives_late_and_unseen,
}


@pytest.mark.parametrize("role", LATE)
def test_a_market_order_that_arrives_late_is_not_sent_twice_though_reads_lag(role: str) -> None:
    story = Story(path=LATE[role], reason=CloseReason.TAKE_PROFIT, net="0")
    late = Fault(kind=FaultKind.LATE_REQUEST, method="post", client_id=f"-{role}", delay_ms=4_600)
    cycle = play(story, faults=(late,)).cycle
    markets = [o for o in cycle.orders if f"-{role}" in o.client_order_id and o.executed]
    assert len(markets) == 1
