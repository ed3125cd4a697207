"""The shared world of the stories, and the programs' logs beside a failure."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.e2e.world import World, running
from tests.postgres import PostgresServer

SHOWN = 6_000  # characters of each log

# LAYERUSDT is listed by the exchange too, and watched by nobody.
PRICES = {
    "BTCUSDT": "60000",
    "ETHUSDT": "3000",
    "SOLUSDT": "150",
    "XRPUSDT": "2",
    "AVAXUSDT": "20",
    "FILUSDT": "4",
    "ALGOUSDT": "0.2",
}


@pytest.fixture(scope="session")
def fresh_database(request: pytest.FixtureRequest) -> Iterator[Callable[[Path], str]]:
    """Return what makes a migrated database for a world that lives in a folder.

    STORIES_ON=postgresql lets the stories run there (make test-postgres); test_postgres.py has
    those that always do.
    """
    if os.environ.get("STORIES_ON") != "postgresql":
        file: Path = request.getfixturevalue("sqlite_template")
        yield lambda folder: f"sqlite:///{shutil.copy(file, folder / 'tradebox.db')}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    template: str = request.getfixturevalue("postgres_template")
    made: list[str] = []

    def make(_: Path) -> str:
        made.append(server.create_database(template=template))
        return made[-1]

    yield make
    for url in made:
        server.drop_database(url)


@pytest.fixture(scope="session")
def world(
    fresh_database: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Return the world that the stories share, each on a symbol of its own."""
    folder = tmp_path_factory.mktemp("world")
    with running(World(folder, fresh_database(folder), PRICES)) as world:
        yield world
        for program in (world.monitor, world.api, world.paper):
            program.stop()
        for program in (world.monitor, world.api):
            assert "Traceback" not in program.text
            assert " ERROR " not in program.text


@pytest.fixture(autouse=True)
def _nothing_is_left_to_the_next(request: pytest.FixtureRequest) -> Iterator[None]:
    """Take back what a failed story ordered and did not get."""
    yield
    for world in request.node.funcargs.values():
        if isinstance(world, World) and world.paper.is_alive:
            world.calm()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Put what the programs said during a failed test into its report."""
    report = yield
    funcargs: dict[str, Any] = getattr(item, "funcargs", {})
    for world in (value for value in funcargs.values() if isinstance(value, World)):
        if report.failed:
            for program in world.programs:
                report.sections.append((f"{program.name}'s log", program.text[-SHOWN:]))
    return report
