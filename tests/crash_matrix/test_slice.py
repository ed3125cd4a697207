"""A slice of the matrix for every day, and what it is made of; `make crash-matrix` plays it all."""

from collections.abc import Iterator

import pytest

from tests.crash_matrix.forked import ForkedProgram, start_fork_server
from tests.crash_matrix.performance import Death, Mode, Performance, Picture, Told
from tests.crash_matrix.points import points_of
from tests.crash_matrix.tales import AVERAGED
from tests.integration.e2e.world import World, running
from tests.integration.store_worlds import migrate

SLICE = [
    (Death(act=0, program="api", point="before commit of begin_cycle"), Mode.HELD),
    (Death(act=1, program="monitor", point="on its way: POST order lv2-1"), Mode.HELD),
    (Death(act=2, program="monitor", point="before commit of tp0-1 over"), Mode.GOES_ON),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a world with one symbol whose API and monitor can be killed."""
    start_fork_server()
    folder = tmp_path_factory.mktemp("matrix")
    url = f"sqlite:///{folder / 'tradebox.db'}"
    migrate(url)
    prices = {AVERAGED.symbol: "60000"}
    with running(World(folder, url, prices, mortal=True, kind=ForkedProgram)) as world:
        yield world


@pytest.fixture(scope="module")
def rehearsal(world: World) -> tuple[Picture, set[str]]:
    """Return how a tale ends undisturbed, and its points."""
    play = Performance(world, AVERAGED)
    end = play.play()
    assert end is not None
    return end, {point for told in play.told() for point, _ in told.points}


@pytest.mark.parametrize(
    ("death", "mode"), SLICE, ids=lambda case: str(getattr(case, "point", case))
)
def test_a_slice_of_the_matrix(
    world: World, rehearsal: tuple[Picture, set[str]], death: Death, mode: Mode
) -> None:
    end, points = rehearsal
    assert death.point in points
    play = Performance(world, AVERAGED, death=death, mode=mode)
    picture = play.play()
    assert play.deaths == 1
    assert mode is Mode.GOES_ON or picture == end


def told(*points: str, act: int = 0, number: int = 1, is_recovery: bool = False) -> Told:
    """Return one moment of the monitor's, about one or several things."""
    numbered = tuple((point, number) for point in points)
    return Told(act=act, program="monitor", points=numbered, is_recovery=is_recovery)


CASES: dict[str, tuple[list[Told], list[tuple[str, int | None, int]]]] = {
    "every commit and request of every act is a point": (
        [told("before PUT order tp0-1"), told("before PUT order tp0-1", act=1)],
        [("before PUT order tp0-1", 0, 1), ("before PUT order tp0-1", 1, 1)],
    ),
    "the second of its kind in an act is another": (
        [told("before GET positionRisk"), told("before GET positionRisk", number=2)],
        [("before GET positionRisk", 0, 1), ("before GET positionRisk", 0, 2)],
    ),
    "what came together in one run and apart in another is one": (
        [told("after commit of lv1-1 over", "after commit of tp0-1 amend wanted"),
         told("after commit of tp0-1 amend wanted")],
        [("after commit of lv1-1 over", 0, 1)],
    ),
    "a timer's is one in all acts": (
        [
            told("before commit of show_prices", number=2, is_recovery=True),
            told("before commit of show_prices", act=2),
        ],
        [("before commit of show_prices", None, 1)],
    ),
    "so are rules that are read one by one, and funding of the hour": (
        [
            told("after GET exchangeInfo"),
            told("after GET exchangeInfo", number=2, is_recovery=True),
            told("after GET income", act=1),
            told("after GET income", act=2),
            told("after GET income", act=2, number=2),
        ],
        [
            ("after GET exchangeInfo", None, 1),
            ("after GET income", None, 1),
            ("after GET income", 2, 1),
        ],
    ),
    "a flow begins once, whatever the news": (
        [told("begin of order_new_flow OrderReported lv1-1"),
         told("begin of order_new_flow OrderReported tp0-1", act=1),
         told("end of order_new_flow OrderReported lv1-1")],
        [("begin of order_new_flow", None, 1), ("end of order_new_flow", None, 1)],
    ),
    "coming back is apart from the act that it happens in": (
        [told("before GET time"), told("before GET time", is_recovery=True)],
        [("before GET time", 0, 1), ("before GET time", None, 1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("moments", "wanted"), CASES.values(), ids=CASES.keys())
def test_points(moments: list[Told], wanted: list[tuple[str, int | None, int]]) -> None:
    deaths = [point.death for point in points_of(AVERAGED, moments)]
    assert [(death.point, death.act, death.number) for death in deaths] == wanted
