"""Runs on their way to a Prefect server: one that refuses, fails, freezes, and a real one."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from core.clients import prefect_reporter
from core.clients.prefect_reporter import PrefectReporter
from core.ports import RunReport
from tests.prefect_server import Prefect, until

URL = "http://prefect.test/api"


def run_of(flow: str = "order_filled_flow", **changes: Any) -> RunReport:
    """Return the end of a flow's run."""
    run = RunReport(
        run_id=str(uuid4()),
        flow_name=flow,
        task_name=None,
        parent_run_id=None,
        tags=("symbol:BTCUSDT", "cycle:key"),
        started_at_ms=1_790_000_000_000,
        ended_at_ms=1_790_000_000_012,
        state="Completed",
    )
    return replace(run, **changes)


class Server:
    """As much of Prefect's API as runs are reported to, and `answers` instead, one a request."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response | Exception] = []
        self.refuses = ""  # a text; what contains it is answered 422
        self.runs: dict[str, dict[str, Any]] = {}  # by idempotency or dynamic key
        self.requests = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        body = json.loads(request.content)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        if self.refuses and self.refuses in request.content.decode():
            return httpx.Response(422, json={"detail": "no"})
        if request.url.path == "/api/flows/":
            return httpx.Response(201, json={"id": f"flow-{body['name']}"})
        if request.url.path.endswith("_runs/"):
            key = body.get("idempotency_key") or body["dynamic_key"]
            self.runs.setdefault(key, body | {"id": key, "states": []})
            return httpx.Response(201, json={"id": key})
        run = self.runs.get(request.url.path.split("/")[3])
        if run is None:
            return httpx.Response(404, json={"detail": "not found"})
        if request.method == "PATCH":
            run["tags"] = body["tags"]
            return httpx.Response(204)
        run["states"].append(body["state"])
        return httpx.Response(201, json={"status": "ACCEPT"})

    def ended(self) -> dict[str, str]:
        """Return the last state of every run."""
        return {key: run["states"][-1]["name"] for key, run in self.runs.items() if run["states"]}


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def reporter(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PrefectReporter]:
    monkeypatch.setattr(prefect_reporter, "_PAUSE_S", (0.01, 0.05))
    made = PrefectReporter(
        URL,
        spool=tmp_path,
        name="test",
        hide=lambda text: text.replace("hunter2", "***"),
        most_on_disk=50,
        transport=httpx.MockTransport(server),
    )
    made.start()
    yield made
    made.close()


def settled(reporter: PrefectReporter, delivered: int, dropped: int = 0) -> None:
    """Wait until so many were delivered and dropped, and nothing waits."""
    until(
        lambda: (
            (reporter.figures.delivered, reporter.figures.dropped) == (delivered, dropped)
            and not reporter.figures.waiting
        ),
        lambda: reporter.figures,
    )


def test_a_flow_and_its_task_are_told_with_their_true_times(
    server: Server, reporter: PrefectReporter
) -> None:
    flow = run_of()
    task = run_of(
        task_name="send_request", parent_run_id=flow.run_id, state="Failed", message="hunter2 fell"
    )
    reporter.report(replace(flow, ended_at_ms=None, state="Running", tags=("symbol:BTCUSDT",)))
    settled(reporter, 1)
    assert server.runs[flow.run_id]["state"]["type"] == "RUNNING"
    assert server.runs[flow.run_id]["name"] == "BTCUSDT 2026-09-21T14:13:20.000Z"
    reporter.report(task)
    reporter.report(flow)
    settled(reporter, 3)
    assert server.ended() == {flow.run_id: "Completed", task.run_id: "Failed"}
    assert server.runs[flow.run_id]["tags"] == ["symbol:BTCUSDT", "cycle:key"]
    assert server.runs[task.run_id]["flow_run_id"] == flow.run_id
    message = server.runs[task.run_id]["states"][-1]["message"]
    assert message == (
        "started 2026-09-21T14:13:20.000Z, ended 2026-09-21T14:13:20.012Z, took 12 ms: *** fell"
    )


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(httpx.ConnectError("refused"), id="nobody listens"),
        pytest.param(httpx.ReadTimeout("frozen"), id="no answer in time"),
        pytest.param(httpx.Response(503), id="503"),
        pytest.param(httpx.Response(429), id="429"),
        pytest.param(httpx.Response(200, text="<html>"), id="not Prefect's answer"),
        pytest.param(httpx.Response(200, json={}), id="somebody else's answer"),
        pytest.param(httpx.Response(200, json=[1]), id="somebody else's list"),
        pytest.param(httpx.Response(500), id="500 for a while"),
    ],
)
def test_while_the_server_is_away_everything_waits(
    server: Server, reporter: PrefectReporter, trouble: httpx.Response | Exception
) -> None:
    server.answers = [trouble] * 7
    runs = [run_of() for _ in range(3)]
    for run in runs:
        reporter.report(run)
    settled(reporter, 3)
    assert server.ended() == {run.run_id: "Completed" for run in runs}


def test_what_is_refused_again_and_again_makes_way(
    server: Server, reporter: PrefectReporter
) -> None:
    poison, good = run_of(tags=("poison",)), run_of()
    server.refuses = "poison"
    reporter.report(poison)
    reporter.report(good)
    settled(reporter, 1, dropped=1)
    assert server.ended() == {good.run_id: "Completed"}


def test_a_server_with_another_database_gets_the_run_anew(
    server: Server, reporter: PrefectReporter
) -> None:
    flow = run_of()
    reporter.report(replace(flow, ended_at_ms=None, state="Running"))
    settled(reporter, 1)
    server.runs.clear()
    reporter.report(flow)
    settled(reporter, 2)
    assert server.ended() == {flow.run_id: "Completed"}


def test_beyond_the_bound_the_oldest_are_dropped_and_counted(
    server: Server, reporter: PrefectReporter
) -> None:
    server.answers = [httpx.ConnectError("away")] * 40
    runs = [run_of() for _ in range(60)]
    for run in runs:
        reporter.report(run)
    until(lambda: reporter.figures.dropped == 10, lambda: reporter.figures)
    settled(reporter, 50, dropped=10)
    assert set(server.ended()) == {run.run_id for run in runs[10:]}


def test_what_was_not_delivered_is_delivered_by_the_next_process(
    server: Server, reporter: PrefectReporter, tmp_path: Path
) -> None:
    server.answers = [httpx.ConnectError("away")] * 1_000
    run = run_of()
    reporter.report(run)
    until(lambda: reporter.figures.waiting == 1, lambda: reporter.figures)
    reporter.close(within_s=0)
    server.answers = []
    after = PrefectReporter(URL, spool=tmp_path, name="test", transport=httpx.MockTransport(server))
    after.start()
    settled(after, 1)
    after.close()
    assert server.ended() == {run.run_id: "Completed"}


# --- The real server ---


@pytest.fixture
def prefect(tmp_path: Path) -> Iterator[Prefect]:
    home = tmp_path / "prefect"
    home.mkdir()
    made = Prefect(home)
    try:
        yield made
    finally:
        made.kill()


@pytest.mark.timeout(300)
def test_a_real_server_has_every_run_once_whatever_it_went_through(
    prefect: Prefect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_reporter, "_PAUSE_S", (0.05, 0.5))
    reporter = PrefectReporter(prefect.url, spool=tmp_path / "spool", name="test")
    reporter.start()
    before = [run_of("order_new_flow") for _ in range(5)]  # nobody listens yet
    for run in before:
        reporter.report(run)
    prefect.start()
    settled(reporter, 5)
    for run in before:  # told again, it is still one
        reporter.report(run)
    stuck = run_of("positions_flow", ended_at_ms=None, state="Running")
    failed = run_of("order_filled_flow", state="Failed", message="RuntimeError('boom')")
    task = run_of("order_filled_flow", task_name="send", parent_run_id=failed.run_id)
    for run in (stuck, task, failed):
        reporter.report(run)
    settled(reporter, 13)
    assert prefect.states() == {
        "order_new_flow": ["Completed"] * 5,
        "positions_flow": ["Running"],
        "order_filled_flow": ["Failed"],
    }
    reporter.close()
