"""What leaves for a Sentry server: errors with their tags, a share of the flows, and no secret."""

import gzip
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
import structlog
from pydantic import SecretStr

from config import Settings
from core.clients.sentry import MOST_TASKS_KEPT, ErrorReports, FlowTraces
from core.logging_setup import secret_texts, set_up_logging
from core.ports import RunReport
from flows.reports import reporting, start_error_reports
from flows.runtime import flow, report_to
from tests.integration.e2e.programs import ROOT
from tests.integration.receivers import Receiver, receiving

SECRET = "abcd-efgh-ijkl"
KEY = "0123456789abcdef0123456789abcdef"
MADE = "tb_" + "x" * 43
UNLISTED = "-".join("xyz")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.init()  # to nobody
    report_to(None)
    root = logging.getLogger()
    root.handlers[:] = [h for h in root.handlers if not isinstance(h, ErrorReports)]


def start(receiver: Receiver, **values: Any) -> Settings:
    dsn = SecretStr(f"http://{KEY}@127.0.0.1:{receiver.port}/42")
    settings = Settings(sentry_dsn=dsn, webhook_secret=SecretStr(SECRET), **values)
    set_up_logging("INFO", secrets=secret_texts(settings))
    start_error_reports(settings, component="api")
    return settings


def items(came: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """Return what the envelopes hold, each with the type that its header says."""
    found = []
    for path, body in came:
        assert path == "/api/42/envelope/"
        lines = gzip.decompress(body).split(b"\n")
        found.append({"type": json.loads(lines[1])["type"], **json.loads(lines[2])})
    return found


def fail() -> None:
    password = SECRET  # local variables do not leave
    raise RuntimeError(f"refused {password} and {MADE}")


def test_an_error_leaves_with_its_tags_and_without_its_secrets(receiver: Receiver) -> None:
    start(receiver)
    try:
        fail()
    except RuntimeError:
        structlog.get_logger("tradebox").exception(
            "entry failed", symbol="BTCUSDT", cycle="k1", webhook=3, api_key=UNLISTED, text=SECRET
        )
    sentry_sdk.flush()
    ((path, body),) = receiver.wait_for(1)
    (event,) = items([(path, body)])
    assert event["release"] == "tradebox@0.1.0"
    assert event["environment"] == "paper"
    assert event["tags"] == {
        "component": "api",
        "symbol": "BTCUSDT",
        "cycle": "k1",
        "webhook": "3",
    }
    assert event["logentry"]["message"] == "entry failed"
    (raised,) = event["exception"]["values"]
    assert (raised["type"], raised["value"]) == ("RuntimeError", "refused *** and ***")
    assert raised["stacktrace"]["frames"][-1]["function"] == "fail"
    assert event["extra"]["api_key"] == event["extra"]["text"] == "***"
    whole = gzip.decompress(body).decode()
    assert [secret for secret in (SECRET, MADE, UNLISTED) if secret in whole] == []


def test_a_library_s_error_leaves_too_and_lesser_lines_do_not(receiver: Receiver) -> None:
    start(receiver, sentry_environment="my-server")
    structlog.get_logger("tradebox").warning("nothing")
    logging.getLogger("urllib3").error("about the report itself")
    logging.getLogger("library").error("failed with %s", SECRET)
    sentry_sdk.flush()
    (event,) = items(receiver.wait_for(1))
    assert event["logentry"]["message"] == "failed with ***"
    assert event["environment"] == "my-server"
    assert "exception" not in event


def run(**changes: Any) -> RunReport:
    values: dict[str, Any] = {
        "run_id": "f1",
        "flow_name": "order_filled_flow",
        "task_name": None,
        "parent_run_id": None,
        "tags": ("symbol:BTCUSDT", "cycle:k1", SECRET),
        "started_at_ms": 1_780_000_000_000,
        "ended_at_ms": 1_780_000_000_250,
        "state": "Completed",
    }
    return RunReport(**(values | changes))


def test_flows_are_transactions_and_their_tasks_spans(receiver: Receiver) -> None:
    start(receiver, sentry_traces=1.0)
    traces = FlowTraces()
    traces.report(run(ended_at_ms=None, state="Running"))
    traces.report(run(run_id="t1", task_name="send", parent_run_id="f1"))
    traces.report(run())
    sentry_sdk.flush()
    (event,) = items(receiver.wait_for(1))
    assert event["type"] == "transaction"
    assert event["transaction"] == "order_filled_flow"
    assert event["tags"]["cycle"] == "k1"
    assert event["tags"]["symbol"] == "BTCUSDT"
    assert event["tags"]["tag"] == "***"
    assert [span["op"] for span in event["spans"]] == ["task"]


async def test_a_process_reports_its_flows_while_it_runs(receiver: Receiver) -> None:
    settings = start(receiver, sentry_traces=1.0)

    @flow(tags_of=lambda: ("cycle:k7",))
    async def some_flow() -> None:
        return

    await some_flow()
    with reporting(settings, name="api"):
        await some_flow()
    await some_flow()
    sentry_sdk.flush()
    told = [event for event in items(receiver.wait_for(1)) if event["type"] == "transaction"]
    assert [(event["transaction"], event["tags"]["cycle"]) for event in told] == [
        ("some_flow", "k7")
    ]


def test_none_is_reported_unless_a_share_was_asked_for(receiver: Receiver) -> None:
    start(receiver)
    FlowTraces().report(run())
    structlog.get_logger("tradebox").error("the only thing")
    sentry_sdk.flush()
    assert [event["type"] for event in items(receiver.wait_for(1))] == ["event"]


def test_tasks_whose_flow_never_ends_do_not_pile_up() -> None:
    traces = FlowTraces()
    for number in range(MOST_TASKS_KEPT + 5):
        traces.report(run(run_id=f"t{number}", task_name="send", parent_run_id=f"f{number}"))
    assert len(traces._tasks) == MOST_TASKS_KEPT


def test_by_default_it_is_not_even_loaded() -> None:
    program = (
        "import sys, main, ws_monitor_async\n"
        "from config import Settings\n"
        "from flows.reports import start_error_reports\n"
        "start_error_reports(Settings(), component='api')\n"
        "main.create_app(Settings())\n"
        "print([name for name in ('sentry_sdk', 'apprise.plugins') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
