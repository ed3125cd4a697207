"""Where errors and traces are reported, as the settings say: by default nowhere."""

from config import VERSION, Settings
from core.logging_setup import Redaction, secret_texts
from flows.runtime import report_to


def start_error_reports(settings: Settings, *, component: str) -> None:
    """Report errors (and a share of the flows) to Sentry, if there is a SENTRY_DSN."""
    if settings.sentry_dsn is None:
        return
    # Not at the top: without a DSN nothing of it is even loaded.
    from core.clients.sentry import FlowTraces, start_sentry

    start_sentry(
        settings.sentry_dsn.get_secret_value(),
        release=f"tradebox@{VERSION}",
        environment=settings.sentry_environment or settings.exchange.value,
        component=component,
        traces=settings.sentry_traces,
        redaction=Redaction(secret_texts(settings)),
    )
    if settings.sentry_traces:
        report_to(FlowTraces())
