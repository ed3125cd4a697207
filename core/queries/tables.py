"""The tables as statements name them, and the clock of the database."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, Table
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import SQLModel

from core import models
from core.domain.cycle import Phase

Rows = Select[Any]


class database_now_ms(FunctionElement[int]):  # reads as the SQL function that it is
    """The database's clock, milliseconds UTC: the only one that all processes share."""

    type = BigInteger()
    inherit_cache = True


@compiles(database_now_ms, "postgresql")
def _postgresql_now(element: database_now_ms, compiler: SQLCompiler, **_: Any) -> str:
    # Not now(): that one stands still while a transaction waits for a lock.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


@compiles(database_now_ms, "sqlite")
def _sqlite_now(element: database_now_ms, compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"


def table(model: type[SQLModel]) -> Table:
    """Return the table of a model."""
    return SQLModel.metadata.tables[str(model.__tablename__)]


ALARM = table(models.Alarm)
ALERT_SECRET = table(models.AlertSecret)
CYCLE = table(models.Cycle)
DAILY_SUMMARY = table(models.DailySummary)
FACT = table(models.Fact)
FILL = table(models.Fill)
LEASE = table(models.MonitorLease)
NOTICE = table(models.Notice)
OPERATOR_ACTION = table(models.OperatorAction)
ORDER = table(models.Order)
POSITION = table(models.BinancePosition)
SYMBOL = table(models.BinanceSymbol)
SYMBOL_PAUSE = table(models.SymbolPause)
TRADING_SWITCH = table(models.TradingSwitch)
WEBHOOK = table(models.WebHook)


def is_open() -> ColumnElement[bool]:
    """Return the condition that a cycle is open."""
    return CYCLE.c.phase != Phase.ENDED
