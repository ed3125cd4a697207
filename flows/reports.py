"""Where runs and errors are reported, as the settings say: entry points start it and close it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from config import VERSION, Settings
from core.clients.prefect_reporter import PrefectReporter
from core.logging_setup import Redaction, secret_texts
from core.ports import Reporter, RunReport
from flows.runtime import report_to

SPOOL: Final = Path("data/reports")


def start_error_reports(settings: Settings, *, component: str) -> None:
    """Report errors to Sentry from now on, if there is a SENTRY_DSN; `component` is a tag."""
    if settings.sentry_dsn is None:
        return
    # Not at the top: without a DSN nothing of it is even loaded.
    from core.clients.sentry import start_sentry

    start_sentry(
        settings.sentry_dsn.get_secret_value(),
        release=f"tradebox@{VERSION}",
        environment=settings.sentry_environment or settings.exchange.value,
        component=component,
        traces=settings.sentry_traces,
        redaction=Redaction(secret_texts(settings)),
    )


@contextmanager
def reporting(settings: Settings, *, name: str) -> Iterator[None]:
    """Report every run inside to the server of PREFECT_API_URL, and a share of them to Sentry.

    Without the one and the other, to nobody. `name` is that of the process: what it could not
    deliver is left for the next of that name.
    """
    reporters: list[Reporter] = []
    if settings.sentry_dsn is not None and settings.sentry_traces:
        from core.clients.sentry import FlowTraces

        reporters.append(FlowTraces())
    prefect = _prefect_reporter(settings, name)
    if prefect is not None:
        prefect.start()
        reporters.append(prefect)
    report_to(_All(reporters) if reporters else None)
    try:
        yield
    finally:
        report_to(None)
        if prefect is not None:
            prefect.close()


def _prefect_reporter(settings: Settings, name: str) -> PrefectReporter | None:
    if settings.prefect_api_url is None:
        return None
    return PrefectReporter(
        settings.prefect_api_url,
        spool=SPOOL,
        name=name,
        hide=Redaction(secret_texts(settings)).hide,
    )


class _All:
    """Tells every reporter."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = tuple(reporters)

    def report(self, run: RunReport) -> None:
        for reporter in self._reporters:
            reporter.report(run)
