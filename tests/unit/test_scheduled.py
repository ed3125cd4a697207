"""Scheduled work's command line, and what Prefect is told of it."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.utilities.importtools import import_object

from flows import deployments, jobs, scheduled
from flows.scheduled import EXIT_USAGE, main
from flows.symbol_rules import Listed


@pytest.fixture(autouse=True)
def _no_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduled, "set_up_logging", lambda *_, **__: None)


def test_nothing_is_served_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == EXIT_USAGE
    assert "PREFECT_API_URL is not set" in capsys.readouterr().err


BAD = {
    "no work": (["run"], "WORK"),
    "unknown work": (["run", "sweep"], "sweep"),
    "a day that is none": (["run", "daily-report", "--day", "27.11.2026"], "such as 2026-11-27"),
    "no days": (["run", "deep-check", "--days", "0"], "from 1 to 89"),
    "too many days": (["run", "deep-check", "--days", "90"], "from 1 to 89"),
    "days that are no number": (["run", "deep-check", "--days", "٣"], "from 1 to 89"),
}


@pytest.mark.parametrize(("arguments", "told"), BAD.values(), ids=BAD.keys())
def test_wrong_words_end_in_one_message(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == EXIT_USAGE
    assert told in capsys.readouterr().err


def test_an_exchange_that_is_away_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAPER_URL", "http://127.0.0.1:9")
    assert main(["run", "symbol-refresh"]) == scheduled.EXIT_NOT_DONE
    error = capsys.readouterr().err
    assert error.startswith("symbol-refresh: ")
    assert error.count("\n") == 1


def test_every_deployment_has_a_schedule_and_names_a_flow_that_can_be_imported() -> None:
    made = deployments._deployments()
    assert {deployment.name for deployment in made} == deployments.SCHEDULES.keys()
    for deployment, work in zip(made, deployments.FLOWS, strict=True):
        (schedule,) = deployment.schedules or []
        assert schedule.schedule is not None
        assert deployment.entrypoint is not None
        assert import_object(deployment.entrypoint) is work
        assert work.retries == deployments.RETRIES


class Server:
    """A Prefect server as its client sees it, with one deployment, or none (a new database)."""

    def __init__(self, *, is_new: bool = False, is_paused: bool = False) -> None:
        self.is_new = is_new
        schedule = SimpleNamespace(
            active=True, schedule=CronSchedule(cron="12 0 * * *", timezone="UTC")
        )
        self.known = SimpleNamespace(id=uuid4(), paused=is_paused, schedules=[schedule])
        self.runs: list[datetime] = []
        self.deployed: list[str] = []

    async def read_deployment_by_name(self, name: str) -> SimpleNamespace:
        if self.is_new:
            raise ObjectNotFound(Exception("404"))
        return self.known

    async def read_flow_runs(self, **_: Any) -> list[SimpleNamespace]:
        return [SimpleNamespace(expected_start_time=at) for at in self.runs]

    async def create_flow_run_from_deployment(self, _: UUID, *, state: Any, **__: Any) -> None:
        self.runs.append(state.state_details.scheduled_time)

    async def aadd_deployment(self, deployment: RunnerDeployment) -> None:
        self.deployed.append(deployment.name)


async def look(server: Server) -> None:
    (report,) = (made for made in deployments._deployments() if made.name == "daily-report")
    client: Any = server  # as the runner and as the client
    await deployments.look_after_one(client, client, report)


async def test_the_next_run_is_scheduled_once() -> None:
    server = Server()
    await look(server)
    await look(server)
    (at,) = server.runs
    assert (at.hour, at.minute) == (0, 12)
    assert timedelta(0) < at - datetime.now(tz=UTC) <= timedelta(days=1)
    assert server.deployed == []


async def test_nothing_is_scheduled_while_paused() -> None:
    server = Server(is_paused=True)
    await look(server)
    assert (server.runs, server.deployed) == ([], [])


async def test_a_server_with_a_new_database_is_told_of_the_deployment() -> None:
    server = Server(is_new=True)
    await look(server)
    assert (server.runs, server.deployed) == ([], ["daily-report"])


LISTED: dict[str, tuple[dict[str, Any], str]] = {
    "all there": ({}, "rules of 8 perpetuals stored"),
    "one delisted": (
        {"unlisted": ("LUNAUSDT",)},
        "rules of 8 perpetuals stored; not listed any more: LUNAUSDT",
    ),
    "one mistyped": (
        {"unlisted": ("BTCUSDX",), "unknown": ("BTCUSDX",)},
        "SYMBOLS: BTCUSDX is not listed by the exchange as a perpetual; nothing was stored",
    ),
}


@pytest.mark.parametrize(("what", "text"), LISTED.values(), ids=LISTED.keys())
def test_what_a_refresh_says(what: dict[str, Any], text: str) -> None:
    listed = replace(Listed(count=8, unlisted=(), unknown=()), **what)
    assert jobs.described_listed(listed) == text


def test_days_are_read() -> None:
    options = scheduled._parser().parse_args(["run", "daily-report", "--day", "2026-11-27"])
    assert options.day == date(2026, 11, 27)
    assert scheduled._parser().parse_args(["run", "deep-check", "--days", "7"]).days == 7
