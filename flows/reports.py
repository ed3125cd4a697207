"""Where runs are reported, as the settings say: entry points start it and close it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from config import Settings
from core.clients.prefect_reporter import PrefectReporter
from core.logging_setup import Redaction, secret_texts
from flows.runtime import report_to

SPOOL: Final = Path("data/reports")


@contextmanager
def reporting(settings: Settings, *, name: str) -> Iterator[None]:
    """Report every run inside to the server of PREFECT_API_URL; without one, to nobody.

    `name` is that of the process: what it could not deliver is left for the next of that name.
    """
    if settings.prefect_api_url is None:
        yield
        return
    reporter = PrefectReporter(
        settings.prefect_api_url,
        spool=SPOOL,
        name=name,
        hide=Redaction(secret_texts(settings)).hide,
    )
    reporter.start()
    report_to(reporter)
    try:
        yield
    finally:
        report_to(None)
        reporter.close()
