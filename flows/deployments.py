"""The scheduled work as ordinary Prefect flows, with retries, results and a schedule each.

Here, unlike in the trading path, Prefect orchestrates: a run is slow to start and depends on the
server, and nothing depends on the run. Import `flows.runtime` before this: it tells Prefect where
its folder is, and to count nobody. Each run is a process of its own, which imports this module.
"""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.runtime import flow_run
from prefect.server.schemas.schedules import CronSchedule as ServerCronSchedule
from prefect.states import Completed, Scheduled
from prefect.types.entrypoint import EntrypointType

from config import Settings, load_settings
from core.daily_report import as_markdown
from core.logging_setup import secret_texts, set_up_logging
from flows import jobs

RETRIES: Final = 3
RETRY_AFTER_S: Final = 60
LOOK_EVERY_S: Final = 60.0
# Cron, UTC. The report waits until the day's last executions and funding are booked.
SCHEDULES: Final = {
    "symbol-refresh": "7 */6 * * *",
    "deep-check": "37 3 * * *",
    "daily-report": "12 0 * * *",
    "retention": "52 4 * * *",
}

log = structlog.get_logger(__name__)


@flow(name="symbol-refresh", retries=RETRIES, retry_delay_seconds=RETRY_AFTER_S)
async def symbol_refresh() -> "State[Any]":
    """Store what the exchange lists now: rules of all perpetuals, fees of those in SYMBOLS."""
    listed = await jobs.refresh_symbols(_settings())
    return Completed(message=jobs.described_listed(listed))


@flow(name="deep-check", retries=RETRIES, retry_delay_seconds=RETRY_AFTER_S)
async def deep_check(days: int = jobs.CHECKED_DAYS) -> "State[Any]":
    """Compare the exchange's books of the last days with the database; differences are alarms."""
    checked = await jobs.check_deeply(_settings(), days=days)
    text = checked.as_text()
    await acreate_markdown_artifact(f"```\n{text}```", key="deep-check")
    return Completed(message=text.splitlines()[0])


@flow(name="daily-report", retries=RETRIES, retry_delay_seconds=RETRY_AFTER_S)
async def daily_report(day: date | None = None) -> "State[Any]":
    """Tell what the cycles that ended on a UTC day earned; None: the day before the run's."""
    # Also of a run that was started late: each day is reported by the run that was meant for it.
    meant_at = flow_run.get_scheduled_start_time().astimezone(UTC)
    report = await jobs.report_day(_settings(), day=day or meant_at.date() - timedelta(days=1))
    text = as_markdown(report)
    await acreate_markdown_artifact(text, key="daily-report")
    return Completed(message=text.splitlines()[0], data=text)


@flow(name="retention", retries=RETRIES, retry_delay_seconds=RETRY_AFTER_S)
async def retention() -> "State[Any]":
    """Delete what RETENTION_DAYS says is not kept any longer."""
    forgotten = await jobs.forget_old(_settings(), now=datetime.now(tz=UTC))
    return Completed(message=jobs.described_forgotten(forgotten))


FLOWS: Final = (symbol_refresh, deep_check, daily_report, retention)


async def serve_all() -> None:
    """Create or update the deployments, and start their runs when they are due, until stopped.

    The runner outlives short outages of the server; after a long one it raises.
    """
    # Not paused when this process ends: whatever started it again would have to undo that.
    runner = Runner(pause_on_shutdown=False, limit=1)
    for deployment in _deployments():
        await runner.aadd_deployment(deployment)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runner.start())
        tasks.create_task(_look_after(runner))


async def _look_after(runner: Runner) -> None:
    """See that the server knows every deployment, and when its next run is due."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)  # first: a scheduler of the server's own takes seconds
        try:
            async with get_client() as client:
                for deployment in _deployments():
                    await look_after_one(runner, client, deployment)
        except Exception as error:  # noqa: BLE001 - the top of a task: what runs must not end with it
            log.warning("the server was not asked", error=repr(error)[:300])


async def look_after_one(
    runner: Runner, client: PrefectClient, deployment: RunnerDeployment
) -> None:
    """Deploy what the server does not know (any more), or schedule the next run of what it does."""
    try:
        known = await client.read_deployment_by_name(deployment.full_name)
    except ObjectNotFound:  # its database is a new one
        log.warning("deployment was gone from the server", name=deployment.full_name)
        await runner.aadd_deployment(deployment)
        return
    if known.paused:
        return
    for schedule in known.schedules:
        if schedule.active and isinstance(schedule.schedule, CronSchedule):
            await _schedule_next(client, known.id, schedule.schedule)


async def _schedule_next(
    client: PrefectClient, deployment_id: UUID, schedule: CronSchedule
) -> None:
    """Schedule the next run of a deployment, unless it is.

    The scheduler of Prefect 3.8.8 fails on SQLAlchemy 2.1 ("Can't evaluate bulk DML statement"):
    it schedules nothing, and says so in the server's log only.
    """
    times = ServerCronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    (next_at,) = await times.get_dates(n=1, start=datetime.now(tz=UTC))
    waiting = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        ),
        # Both said: this server refuses the client's defaults.
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=200,
    )
    if all(run.expected_start_time != next_at for run in waiting):
        await client.create_flow_run_from_deployment(
            deployment_id,
            state=Scheduled(scheduled_time=next_at),
            idempotency_key=f"next {deployment_id} {next_at}",
        )


def _deployments() -> list[RunnerDeployment]:
    return [
        RunnerDeployment.from_flow(
            work,
            name=work.name,
            cron=SCHEDULES[work.name],
            concurrency_limit=1,
            tags=["tradebox"],
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        for work in FLOWS
    ]


def _settings() -> Settings:
    settings = load_settings()
    set_up_logging(settings.log_level, secrets=secret_texts(settings))
    return settings
