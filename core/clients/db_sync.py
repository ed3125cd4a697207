"""The database from synchronous code: migrations, the command line, the panel.

Never called on an event loop: `db_async` is for that.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry
from sqlmodel import Session
from sqlmodel.sql.expression import SelectOfScalar

from config import get_settings

Result = TypeVar("Result")
Row = TypeVar("Row")

POOL_SIZE = 5  # a process of ours has one writer per symbol, and they do not hold connections
POOL_TIMEOUT_S = 5.0
BUSY_TIMEOUT_MS = 5_000  # SQLite: how long to wait for another writer
CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 10_000
# PostgreSQL: a process that was frozen in mid-transaction must not keep its row locks for ever.
POSTGRESQL_SETTINGS = {
    "application_name": "tradebox",
    "lock_timeout": "5000",
    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
    "idle_in_transaction_session_timeout": "15000",
}
_READ_ONLY_TRANSACTION = "25006"  # what a standby says to whoever writes
READ_ONLY = "tradebox_read_only"  # execution option: SQLite then takes no write lock


def execute_sqlmodel_query(
    query: Callable[[Session], Result], *, engine: Engine | None = None
) -> Result:
    """Run `query` in one transaction and return what it returns; its rows stay readable."""
    with Session(engine or get_engine(), expire_on_commit=False) as session, session.begin():
        return query(session)


def execute_sqlmodel_query_single(
    statement: SelectOfScalar[Row], *, engine: Engine | None = None
) -> Row | None:
    """Read in one transaction and return the first row of `statement`, or None."""
    with Session(engine or get_engine(), expire_on_commit=False) as session, session.begin():
        return session.exec(statement).first()


@cache
def get_engine() -> Engine:
    """Return the engine of the configured database, made at the first call."""
    return make_engine(get_settings().sync_url)


def make_engine(url: str) -> Engine:
    """Return an engine with our settings for `postgresql://…` or `sqlite:///…`."""
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        make_private_file(address)
        engine = create_engine(
            address.set(drivername="sqlite"),
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            hide_parameters=True,  # errors are logged, what alerts say is not
            connect_args={"timeout": BUSY_TIMEOUT_MS / 1000},
        )
        prepare_sqlite(engine)
        return engine
    options = " ".join(f"-c {name}={value}" for name, value in POSTGRESQL_SETTINGS.items())
    engine = create_engine(
        address.set(drivername="postgresql+psycopg2"),
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        hide_parameters=True,
        pool_pre_ping=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": options},
    )
    leave_read_only_servers(engine)
    return engine


def leave_read_only_servers(engine: Engine) -> None:
    """Give up all connections once one of them turns out to lead to a server that takes no writes.

    In a failover the address may still be the old primary's, a standby by now, when we connect
    again. It answers every ping, so without this the pool would stay with it for ever.
    """

    @event.listens_for(engine, "handle_error")
    def _refused(context: ExceptionContext) -> None:
        error = context.original_exception
        code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if code == _READ_ONLY_TRANSACTION:
            context.is_disconnect = True


def make_private_file(address: URL) -> None:
    """Make a SQLite file, and its directory, unless it is there; the file is its owner's alone.

    SQLite gives the files beside it (-wal, -shm) the same permissions.
    """
    if not address.database or address.database == ":memory:":
        return
    path = Path(address.database)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The alerts and the whole trading history are in it. One that exists may be shared on purpose.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def prepare_sqlite(engine: Engine) -> None:
    """Make SQLite durable, patient, and honest about transactions, on every connection."""

    @event.listens_for(engine, "connect")
    def _connected(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver's own transactions begin late and without the write lock: ours begin below.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        # Taking the write lock at once means that no transaction fails halfway for want of it.
        is_read_only = connection.get_execution_options().get(READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if is_read_only else "BEGIN IMMEDIATE")
