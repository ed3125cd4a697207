"""PostgreSQL with all our processes on it: they compete, it goes away, and no decision is lost."""

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from threading import Barrier

import httpx
import psycopg2
import pytest

from core.models import Cycle
from tests.integration.e2e.programs import until
from tests.integration.e2e.test_crashes import (
    BARE,
    HEDGED,
    LADDER,
    freeze_between_commit_and_send,
)
from tests.integration.e2e.world import Answer, Story, World, running, standing
from tests.integration.store_worlds import terminate_all
from tests.postgres import PostgresProgram, PostgresServer

D = Decimal
PRICES = {"BTCUSDT": "60000", "ETHUSDT": "3000", "SOLUSDT": "150"}
WAITING_S = 2.0  # less than the four seconds that a request may take


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """Return the database of this module's world."""
    url = postgres_server.create_database(template=postgres_template)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="module")
def world(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a world on PostgreSQL whose processes can be killed at a request."""
    folder = tmp_path_factory.mktemp("on-postgres")
    with running(World(folder, url, PRICES, mortal=True, FLAT_ACTION="close")) as world:
        yield world
        for program in (world.monitor, world.api, world.paper):
            program.stop()
        for program in world.programs:
            assert "Traceback" not in program.text
            errors = [line for line in program.text.splitlines() if " ERROR " in line]
            assert all("nothing could be stored" in line for line in errors), errors


@pytest.fixture
def server(postgres_server: PostgresServer) -> Iterator[PostgresProgram]:
    """Return the server's own process; it runs again afterwards."""
    program = postgres_server.program
    if program is None:
        pytest.skip("TEST_DATABASE_URL names a server that is not ours to stop")
    yield program
    program.stop()
    program.start()


# --- One cycle ---


def test_a_hedged_story_with_a_monitor_killed_in_it(world: World) -> None:
    story = Story(world, "SOLUSDT")
    story.enter("150", story.alert(**HEDGED))
    story.until_resting(lv1=("148.5", "1"), tp0=("150.75", "1"))
    story.trade("148.5")
    story.until_resting(lv2=("147.01", "1"), hg1=("146.72", "6.81"), tp0=("150", "2"))
    assert world.send_alert(story.alert(**HEDGED)).status == 409
    world.monitor.kill()
    story.trade("147", "146.7")
    world.start_monitor()
    story.until_resting(hs1=("147.44", None), tp0=("149.25", "3"))
    story.trade("140")
    cycle = story.until_ended("pnl")
    assert cycle.realised == 3 * D("140") - D("445.51") + D("6.81") * D("6.7")


def test_an_exit_by_alert(world: World) -> None:
    story = Story(world, "SOLUSDT")
    story.enter("150", story.alert(**BARE))
    story.until_resting(hg1=("149.7", "6.68"), tp0=("150.75", "1"))
    flat = world.send_alert({"symbol": "SOLUSDT", "positionSide": "flat", "side": "sell"})
    assert (flat.status, flat.body["status"]) == (200, "accepted")
    assert story.until_ended("signal").realised == 0


# --- Processes compete ---


def test_two_apis_and_the_same_alert_at_the_same_instant(world: World) -> None:
    world.other_api.start()
    until(lambda: _is_ready(world.other_api_url), lambda: world.other_api.text[-2000:])
    story = Story(world, "ETHUSDT")
    alert, together = story.alert(**LADDER | {"open_amount": "0.1"}), Barrier(6)
    before = standing(world)

    def send(api_url: str) -> Answer:
        together.wait()
        return world.send_alert(alert, api_url=api_url)

    with ThreadPoolExecutor(6) as senders:
        answers = list(senders.map(send, (world.api_url, world.other_api_url) * 3))
    # Those that come while it is being checked find the symbol taken, the later ones the alert.
    said = Counter(answer.body["status"] for answer in answers)
    assert said["accepted"] == 1, answers
    assert {a.status for a in answers if a.body["status"] != "accepted"} <= {200, 409}, answers
    story.until_resting(lv1=("2970", "0.2"), tp0=("3030", "0.1"))
    assert standing(world) == (before[0] + 3, before[1] + 1, before[2] + 1)
    again = world.send_alert(alert, api_url=world.other_api_url)
    assert (again.status, again.body["status"]) == (200, "duplicate")
    world.other_api.stop()
    story.trade("3030")
    story.until_ended("take_profit")


def test_two_monitors_and_the_frozen_one_comes_too_late(world: World) -> None:
    freeze_between_commit_and_send(world)


# --- The server goes away ---


def test_connections_are_cut_at_every_stage(world: World, url: str) -> None:
    story = Story(world, "BTCUSDT")
    terminate_all(url)
    story.enter("60000", story.alert(**LADDER))
    terminate_all(url)
    story.until_resting(lv1=("59400", "0.02"), tp0=("60600", "0.01"))
    terminate_all(url)
    story.trade("59400")
    terminate_all(url)
    story.until_resting(lv2=("58806", "0.04"), tp0=("60196", "0.03"))
    terminate_all(url)
    story.trade("60196")
    terminate_all(url)
    story.until_ended("take_profit")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
def test_the_server_is_away_while_the_market_goes_on(
    world: World, server: PostgresProgram, how: signal.Signals
) -> None:
    """A level and the hedge fill, a close falls due, an alert comes: nobody can write it down."""
    hedged, plain = Story(world, "SOLUSDT"), Story(world, "BTCUSDT")
    hedged.enter("150", hedged.alert(**BARE))
    plain.enter("60000", plain.alert(**LADDER))
    hedged.until_resting(hg1=("149.7", "6.68"), tp0=("150.75", "1"))
    plain.until_resting(lv1=("59400", "0.02"), tp0=("60600", "0.01"))
    server.stop(how)
    hedged.trade("149.7")
    plain.trade("59400")
    until(lambda: not _is_ready(world.api_url), lambda: "ready, without a database")
    said = world.monitor.text.count("database away")
    until(lambda: world.monitor.text.count("database away") > said, lambda: world.monitor.text)
    cycles_before = standing_on_exchange(world)
    refused = world.send_alert(Story(world, "ETHUSDT").alert(**LADDER))
    assert (refused.status, refused.body["status"]) == (503, "unavailable")
    assert standing_on_exchange(world) == cycles_before
    server.start()
    hedged.until_resting(hs1=("154.2", None), tp0=("150.75", "1"))
    plain.until_resting(lv2=("58806", "0.04"), tp0=("60196", "0.03"))
    world.wait_ready()
    server.stop(how)
    hedged.trade("141")  # the net PNL's close falls due while nothing can be decided
    plain.trade("60196")  # the take-profit fills
    server.start()
    assert hedged.until_ended("pnl").realised == D("-9") + D("6.68") * D("8.7")
    plain.until_ended("take_profit")
    assert all(c.ended_at is not None for c in world.rows(Cycle))


# --- Nothing is held while the exchange is waited for ---

HELD = {
    "by the API, before the entry": ("GET", "bookTicker", ""),
    "by the API, for the entry": ("POST", "order", "-en0-"),
    "by the monitor, for the take-profit": ("POST", "order", "-tp0-"),
    "by the monitor, for the hedge": ("POST", "algoOrder", "-hg1-"),
    "by the monitor, for a cancel": ("DELETE", "order", "-tp0-"),
}


@pytest.mark.parametrize(("method", "path", "order"), HELD.values(), ids=HELD.keys())
def test_no_transaction_is_open_while_the_exchange_is_waited_for(
    world: World, url: str, method: str, path: str, order: str
) -> None:
    story = Story(world, "SOLUSDT")
    story.trade("150")
    world.wait_ready()
    world.fault("hold", when="before", method=method, path=path, client_id=order)
    with ThreadPoolExecutor(1) as sender:
        sending = sender.submit(world.send_alert, story.alert(**BARE))
        if method == "DELETE":
            story.until_resting(hg1=("149.7", "6.68"), tp0=("150.75", "1"))
            world.send_alert({"symbol": "SOLUSDT", "positionSide": "flat"})
        until(lambda: world.control("faults")["held"] == 1, lambda: "nothing is held")
        with closing(psycopg2.connect(url)) as looking, closing(psycopg2.connect(url)) as another:
            looking.autocommit = True
            look, begun = looking.cursor(), another.cursor()
            begun.execute("SELECT now()")
            look.execute("SELECT now()")
            (since,) = look.fetchone() or ()

            def open_since() -> list[tuple[object, ...]]:
                look.execute(_OLD_TRANSACTIONS, (since,))
                return look.fetchall()

            assert open_since(), "one that is open would be seen"
            another.rollback()
            until(lambda: not open_since(), lambda: str(open_since()), within_s=WAITING_S)
        assert world.control("faults")["held"] == 1, "it did not wait any more"
        world.control("faults/release", {})
        sending.result()
    if sending.result().status == 503:  # checks that took longer than an alert's two seconds
        return
    until(lambda: _is_told_to_close(story), lambda: repr(story.cycle))
    story.until_ended("signal")


_OLD_TRANSACTIONS = """
SELECT application_name, state, query FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < %s
"""


def _is_ready(api_url: str) -> bool:
    try:
        return httpx.get(f"{api_url}/health/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _is_told_to_close(story: Story) -> bool:
    """Ask for the exit until the cycle takes it: the entry may not be known yet."""
    if story.cycle.close_reason is None:
        story.world.send_alert({"symbol": story.symbol, "positionSide": "flat"})
    return story.cycle.close_reason is not None


def standing_on_exchange(world: World) -> tuple[int, int]:
    """Return how many orders and fills the exchange has seen."""
    ledger = world.control("ledger")
    return len(ledger["orders"]), len(ledger["fills"])
