"""The monitor dies after every step of every story, and the API around the entry's request.

Either nothing of the step was sent, or its first request took effect and no answer was recorded.
The monitor is back a second later with what is saved, the market goes on meanwhile, and the end is
as clean as without: no order doubled, exits present, ledgers equal.
"""

from functools import cache

import pytest

from tests.simulation.stage import Death, Moment
from tests.simulation.stories import RACES, STORIES, play

ALL = {**STORIES, **RACES}


@cache
def deaths() -> dict[str, tuple[Death, ...]]:
    """Return where to die in each story; a beginning that another story shares is done there."""
    done: set[tuple[object, ...]] = set()
    found: dict[str, tuple[Death, ...]] = {}
    for name, story in ALL.items():
        steps = play(story).steps
        points: list[Death] = []
        for number, step in enumerate(steps, start=1):
            beginning = (story.settings, number, step.cycle)
            if beginning in done:
                continue
            done.add(beginning)
            points.append(Death(step=number, moment=Moment.COMMITTED))
            if step.requests:
                points.append(Death(step=number, moment=Moment.SENT))
        found[name] = tuple(points)
    return found


@pytest.mark.parametrize("name", ALL)
def test_the_monitor_may_die_after_any_step(name: str, subtests: pytest.Subtests) -> None:
    for death in deaths()[name]:
        with subtests.test(step=death.step, moment=str(death.moment)):
            stage = play(ALL[name], dies_at=death)
            assert stage.deaths == 1


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("name", [name for number, name in enumerate(ALL) if number % 3 == 0])
def test_the_api_may_die_around_the_entry_s_request(name: str, moment: Moment) -> None:
    play(ALL[name], api_dies=moment)
