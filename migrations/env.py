"""Where Alembic finds the tables and the database.

The address is, in this order: `config.attributes["url"]` (programs), `alembic -x url=…` (people),
DB_CONNECTION_STR (the settings).
"""

from logging.config import fileConfig
from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, Enum
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from config import get_settings
from core import models
from core.clients.db_sync import make_engine
from core.models import types

MIGRATION_LOCK = 7_240_811  # any number that nobody else takes: one migration at a time
assert models.Cycle.metadata is SQLModel.metadata, "the tables are not all known"


def migrate() -> None:
    """Run the migrations that Alembic was asked for."""
    given = context.config.attributes.get("connection")
    if given is not None:
        _migrate_over(given)
        return
    engine = make_engine(_url())
    try:
        with engine.connect() as connection:
            _migrate_over(connection)
    finally:
        engine.dispose()


def _url() -> str:
    given: str | None = context.config.attributes.get("url")
    asked: str | None = context.get_x_argument(as_dictionary=True).get("url")
    return given or asked or get_settings().sync_url


def _migrate_over(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        # A table that is rebuilt under a new shape is dropped in between.
        _driver(connection).execute("PRAGMA foreign_keys=OFF")
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_as_batch=True,
        transactional_ddl=True,  # SQLite can, now that its driver does not interfere
        compare_type=True,
        render_item=_render_item,
    )
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        context.run_migrations()


def _driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def _render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write our own column types by their names, and what is text in the database as text."""
    if kind == "type" and isinstance(item, types.Money | types.UtcDateTime):
        autogen.imports.add("from core.models import types")
        return f"types.{type(item).__name__}()"
    if kind == "type" and isinstance(item, Enum | AutoString):
        return f"sa.String(length={item.length})"
    return False


if context.config.config_file_name is not None and context.config.attributes.get("logs", True):
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)
migrate()
