"""Trading rules of symbols."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Insert, Update, bindparam, insert, select, update

from core.queries.tables import SYMBOL, Rows


def symbol(name: str) -> Rows:
    """Select the rules of one symbol."""
    return select(SYMBOL).where(SYMBOL.c.symbol == name)


def lock_symbols() -> Rows:
    """Select all rules, and keep them from changing until the transaction ends."""
    return select(SYMBOL).order_by(SYMBOL.c.symbol).with_for_update()


def symbols() -> Rows:
    """Select the rules of all symbols."""
    return select(SYMBOL).order_by(SYMBOL.c.symbol)


def insert_symbols() -> Insert:
    """Insert rules."""
    return insert(SYMBOL)


def update_symbol() -> Update:
    """Change the rules of the symbol named by `of_symbol`."""
    return update(SYMBOL).where(SYMBOL.c.symbol == bindparam("of_symbol"))


def mark_unlisted(names: Sequence[str], *, status: str, at: datetime) -> Update:
    """Mark symbols that the exchange lists no longer."""
    return update(SYMBOL).where(SYMBOL.c.symbol.in_(names)).values(status=status, updated_at=at)
