"""What every test stands on: an environment without anyone's settings, and databases."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.postgres import PostgresServer, running_server

# A test must not meet the settings, let alone the keys, of the person who runs it.
FOREIGN_PREFIXES = ("BINANCE_", "OPERATOR_", "PAPER_", "PREFECT_")
FOREIGN_NAMES = {
    *(
        "DB_CONNECTION_STR",
        "EXCHANGE",
        "EXIT_SLIPPAGE",
        "FLAT_ACTION",
        "FUNDS_CHECK",
        "MARGIN_TYPE",
    ),
    *("LIVE_TRADING", "MG_MODE", "ON_HEDGE_FAILED", "STREAM_TIMEOUT", "SYMBOLS", "USER_TIMEOUT"),
    *("WEBHOOK_SECRET", "FEED", "FROM", "PORT", "SPEED", "SYMBOL", "TO"),
}

for name in list(os.environ):
    if name in FOREIGN_NAMES or name.startswith(FOREIGN_PREFIXES):
        del os.environ[name]
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["PREFECT_HOME"] = str(Path(__file__).parent.parent / ".pytest_cache" / "prefect")
os.environ["DO_NOT_TRACK"] = "1"

# Two busy cores make any deadline a coin toss. CI tries the same examples every time.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("quick", deadline=None, max_examples=30)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default")
)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Return the PostgreSQL server of this run, to create databases (from a template) in."""
    with running_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the address of an empty PostgreSQL database: postgresql://..."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the address of a SQLite database that does not exist yet: sqlite:////..."""
    return f"sqlite:///{tmp_path / 'tradebox.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the address of an empty database; the test runs once on each kind."""
    url: str = request.getfixturevalue(
        "sqlite_url" if request.param == "sqlite" else "postgres_url"
    )
    return url
