"""Errors and traces for a Sentry server. Import this module only where SENTRY_DSN is set.

The SDK sends from a thread of its own, with a bounded queue: nobody waits for it. None of its
automatic integrations with frameworks is on: they would report addresses, headers and bodies. What
leaves is made here, and passes the same redaction as the logs.
"""

import logging
from datetime import UTC, datetime
from typing import Any, Final

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import event_from_exception

from core.logging_setup import FAILURE, Redaction
from core.ports import RunReport

MOST_TASKS_KEPT: Final = 1000
_FLUSH_WITHIN_S: Final = 2
_TAGS: Final = ("symbol", "cycle", "webhook", "kind")
_HANDLED: Final = {"type": "logging", "handled": True}


def start_sentry(
    dsn: str,
    *,
    release: str,
    environment: str,
    component: str,
    traces: float,
    redaction: Redaction,
) -> None:
    """Report from now on what this process logs as an error, and what ends it or a thread.

    Args:
        dsn: where to, as Sentry shows it.
        release: which version of the program this is.
        environment: paper, demo, live, or what the operator calls it.
        component: which process of ours this is; a tag.
        traces: share of the flows that are reported by `FlowTraces`, 0 to 1.
        redaction: what hides secrets.
    """

    def scrubbed(event: Event, hint: Hint) -> Event:
        clean: Event = redaction.clean(event)
        return clean

    sentry_sdk.init(
        dsn=dsn,
        release=release,
        environment=environment,
        traces_sample_rate=traces,
        before_send=scrubbed,
        before_send_transaction=scrubbed,
        max_breadcrumbs=0,
        include_local_variables=False,
        max_request_body_size="never",
        send_client_reports=False,
        auto_session_tracking=False,
        default_integrations=False,
        auto_enabling_integrations=False,
        shutdown_timeout=_FLUSH_WITHIN_S,
        integrations=[
            AtexitIntegration(callback=lambda pending, timeout: None),
            DedupeIntegration(),
            ExcepthookIntegration(),
            ThreadingIntegration(),
        ],
    )
    sentry_sdk.set_tag("component", component)
    root = logging.getLogger()
    root.handlers[:] = [h for h in root.handlers if not isinstance(h, ErrorReports)]
    root.addHandler(ErrorReports())


class ErrorReports(logging.Handler):
    """Reports every log line of level ERROR with its fields; symbol, cycle and the like as tags."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one line to the SDK, which queues it."""
        if record.name.partition(".")[0] in ("sentry_sdk", "urllib3"):
            return  # it would report about its own reports
        try:
            _capture(record)
        except Exception:  # noqa: BLE001 - as every handler of the standard library's
            self.handleError(record)


def _capture(record: logging.LogRecord) -> None:
    fields: dict[str, Any] = dict(record.msg) if isinstance(record.msg, dict) else {}
    error = fields.get(FAILURE) or (record.exc_info[1] if record.exc_info else None)
    event: Event = {}
    hint: Hint = {}
    if isinstance(error, BaseException):
        event, hint = event_from_exception(
            error, client_options=sentry_sdk.get_client().options, mechanism=_HANDLED
        )
    shown = {name: value for name, value in fields.items() if not name.startswith("_")}
    event["level"] = "fatal" if record.levelno >= logging.CRITICAL else "error"
    event["logger"] = record.name
    event["logentry"] = {"message": str(shown.pop("event", None) or record.getMessage())}
    event["tags"] = {name: str(shown[name]) for name in _TAGS if name in shown}
    event["extra"] = {name: str(value) for name, value in shown.items()}
    sentry_sdk.capture_event(event, hint)


class FlowTraces:
    """A reporter of runs: each flow is a transaction, its tasks are spans, its tags are tags."""

    def __init__(self) -> None:
        self._tasks: dict[str, list[RunReport]] = {}  # of flows that have not ended, by run id

    def report(self, run: RunReport) -> None:
        """Keep the end of a task; hand over a flow that has ended, which the SDK may drop."""
        if run.ended_at_ms is None:
            return
        if run.task_name is None:
            _send(run, self._tasks.pop(run.run_id, []))
        elif run.parent_run_id is not None:
            while len(self._tasks) >= MOST_TASKS_KEPT and run.parent_run_id not in self._tasks:
                del self._tasks[next(iter(self._tasks))]
            self._tasks.setdefault(run.parent_run_id, []).append(run)


def _send(flow: RunReport, tasks: list[RunReport]) -> None:
    transaction = sentry_sdk.start_transaction(
        op="flow", name=flow.flow_name, start_timestamp=_moment(flow.started_at_ms)
    )
    for tag in flow.tags:
        name, separator, value = tag.partition(":")
        transaction.set_tag(name if separator else "tag", value or tag)
    transaction.set_status("ok" if flow.state == "Completed" else "internal_error")
    for task in tasks:
        span = transaction.start_child(
            op="task", name=task.task_name, start_timestamp=_moment(task.started_at_ms)
        )
        span.finish(end_timestamp=_moment(task.ended_at_ms))
    transaction.finish(end_timestamp=_moment(flow.ended_at_ms))


def _moment(at_ms: int | None) -> datetime:
    return datetime.fromtimestamp((at_ms or 0) / 1000, tz=UTC)
