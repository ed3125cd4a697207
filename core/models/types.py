"""Column types that mean the same on PostgreSQL and SQLite."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Integer,
    Numeric,
    Text,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine
from sqlmodel import SQLModel

# Constraints need names of our own choosing, or a migration could not take one back.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "ux_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

# SQLite numbers rows by itself only in a column that is an INTEGER to the letter.
BigId = BigInteger().with_variant(Integer, "sqlite")


class Money(TypeDecorator[Decimal]):
    """An exact decimal: NUMERIC without limits on PostgreSQL, plain text on SQLite.

    Text neither sorts nor compares as a number: no arithmetic, comparison or ordering in SQL.
    """

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return TEXT for SQLite, whose NUMERIC is a float."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Text())
        return dialect.type_descriptor(Numeric(asdecimal=True))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Refuse what is not an exact, finite decimal."""
        if value is None:
            return None
        if not isinstance(value, Decimal):
            raise TypeError(f"money is a Decimal, not {type(value).__name__}: {value!r}")
        if not value.is_finite():
            raise ValueError(f"money is finite, was {value}")
        return format(value, "f") if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Return the decimal that was stored."""
        if value is None or isinstance(value, Decimal):
            return value
        return Decimal(value)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; naive times are refused, and SQLite's are made aware again."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone means nothing: {value}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment, aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def money(*, nullable: bool = False) -> "Column[Any]":
    """Return a column for an exact decimal."""
    return Column(Money, nullable=nullable)


def moment(*, nullable: bool = False) -> "Column[Any]":
    """Return a column for a moment in UTC."""
    return Column(UtcDateTime, nullable=nullable)


def choice(values: type[StrEnum], *, nullable: bool = False) -> "Column[Any]":
    """Return a column that holds an enum by its value, as text."""
    kind = Enum(values, native_enum=False, length=32, values_callable=_values)
    return Column(kind, nullable=nullable)


def text(*, nullable: bool = False) -> "Column[Any]":
    """Return a column for text of any length."""
    return Column(Text, nullable=nullable)


def json(*, nullable: bool = False) -> "Column[Any]":
    """Return a column for JSON. Not JSONB: that one refuses what an alert may hold (NUL)."""
    return Column(JSON(none_as_null=True), nullable=nullable)


def big(*, nullable: bool = False) -> "Column[Any]":
    """Return a column for the exchange's numbers, which outgrow 32 bits."""
    return Column(BigInteger, nullable=nullable)


def identity() -> "Column[Any]":
    """Return the column of a row's own number."""
    return Column(BigId, primary_key=True, autoincrement=True)


def reference(
    target: str, *, unique: bool = False, is_indexed: bool = True, nullable: bool = False
) -> "Column[Any]":
    """Return a column that names a row of another table."""
    is_indexed = is_indexed and not unique
    return Column(
        BigId,
        ForeignKey(target),
        nullable=nullable,
        unique=unique or None,
        index=is_indexed or None,
    )


def _values(kind: type[StrEnum]) -> Sequence[str]:
    return [member.value for member in kind]
