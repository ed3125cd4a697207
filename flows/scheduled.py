"""Scheduled work: served to Prefect, or one piece of it by hand, without any server.

    python -m flows.scheduled                            # serve, until SIGINT or SIGTERM
    python -m flows.scheduled run symbol-refresh
    python -m flows.scheduled run deep-check --days 7
    python -m flows.scheduled run daily-report --day 2026-11-27
    python -m flows.scheduled run retention

Serving needs PREFECT_API_URL. By hand the plain function runs, server or not: Prefect without one
would start a server of its own first.
Exit codes: 0 done, 1 not done, or the deep check found something, 2 a wrong word or setting.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

import structlog

from config import Settings, load_settings
from core.daily_report import as_markdown
from core.errors import ConfigInvalid, ExchangeError, StoreError
from core.logging_setup import secret_texts, set_up_logging
from flows import jobs

EXIT_NOT_DONE: Final = 1
EXIT_USAGE: Final = 2
SERVER_RETRY_S: Final = 5.0

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Serve, or run one piece of work; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
    except ConfigInvalid as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    is_by_hand = options.command == "run"
    # By hand, what is asked for goes to standard output, and the log does not mix with it.
    set_up_logging(
        settings.log_level,
        secrets=secret_texts(settings),
        stream=sys.stderr if is_by_hand else sys.stdout,
    )
    try:
        if is_by_hand:
            return asyncio.run(run_by_hand(settings, options))
        return serve(settings)
    except (ExchangeError, StoreError) as error:
        sys.stderr.write(f"{options.work}: {str(error).splitlines()[0]}\n")
        return EXIT_NOT_DONE
    except KeyboardInterrupt:
        return EXIT_NOT_DONE


async def run_by_hand(settings: Settings, options: argparse.Namespace) -> int:
    """Run one piece of work here and now, and print what came of it."""
    now = datetime.now(tz=UTC)
    match options.work:
        case "symbol-refresh":
            listed = await jobs.refresh_symbols(settings)
            _say(jobs.described_listed(listed))
            return EXIT_NOT_DONE if listed.unknown else 0
        case "deep-check":
            checked = await jobs.check_deeply(settings, days=options.days)
            _say(checked.as_text().rstrip())
            return EXIT_NOT_DONE if checked.findings or checked.refused else 0
        case "daily-report":
            day = options.day or now.date() - timedelta(days=1)
            _say(as_markdown(await jobs.report_day(settings, day=day)).rstrip())
        case _:
            _say(jobs.described_forgotten(await jobs.forget_old(settings, now=now)))
    return 0


def serve(settings: Settings) -> int:
    """Serve all work to the Prefect server, whenever it answers, until this process is stopped."""
    if settings.prefect_api_url is None:
        sys.stderr.write(
            "PREFECT_API_URL is not set, so nothing keeps the schedules. Start a server "
            "(prefect server start) and name it, or run one piece of work by hand: "
            "python -m flows.scheduled run daily-report\n"
        )
        return EXIT_USAGE
    # Prefect reads its environment when it is imported, and so do the processes of the runs.
    os.environ["PREFECT_API_URL"] = settings.prefect_api_url
    from prefect.client.orchestration import get_client

    import flows.runtime  # noqa: F401 - the rest of Prefect's environment
    from flows.deployments import serve_all

    while True:
        with get_client(sync_client=True) as client:
            away = client.api_healthcheck()
        if away is None:
            log.info("scheduled work is served", server=settings.prefect_api_url)
            try:
                asyncio.run(serve_all())
            except Exception as error:  # noqa: BLE001 - the top of the process: begun again
                log.warning("serving ended", error=repr(error)[:200])
        else:
            log.warning("waiting for the Prefect server", error=repr(away)[:200])
        time.sleep(SERVER_RETRY_S)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.scheduled", description=(__doc__ or "").splitlines()[0]
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    run = commands.add_parser("run", help="run one piece of work by hand, without a server")
    works = run.add_subparsers(dest="work", required=True, metavar="WORK")
    works.add_parser("symbol-refresh", help="store what the exchange lists")
    check = works.add_parser("deep-check", help="compare the exchange's books with the database")
    check.add_argument("--days", type=_days, default=jobs.CHECKED_DAYS, help="default: %(default)s")
    report = works.add_parser("daily-report", help="what the cycles that ended in a day earned")
    report.add_argument("--day", type=_day, help="YYYY-MM-DD, UTC (default: yesterday)")
    works.add_parser("retention", help="delete what RETENTION_DAYS does not keep")
    return parser


def _days(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= jobs.MOST_DAYS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {jobs.MOST_DAYS}")
    return int(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a day such as 2026-11-27") from None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
