"""The account as a whole: the kill switch, and what guards look at."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Update, or_, select, update

from core.domain.cycle import CloseReason, PositionSide
from core.models.trading_switch import THE_ONE
from core.queries.tables import CYCLE, POSITION, TRADING_SWITCH, Rows, is_open


def trading_switch() -> Rows:
    """Select the kill switch."""
    return select(TRADING_SWITCH).where(TRADING_SWITCH.c.id == THE_ONE)


def lock_trading_switch() -> Rows:
    """Select the kill switch, and let no other transaction do so until this one ends."""
    return trading_switch().with_for_update()


def set_trading_switch(*, at: datetime | None, by: str | None) -> Update:
    """Throw the kill switch, or take it back (None)."""
    is_it = TRADING_SWITCH.c.id == THE_ONE
    return update(TRADING_SWITCH).where(is_it).values(killed_at=at, killed_by=by)


def open_exposures() -> Rows:
    """Select what every open cycle may hold and stands at."""
    side = (POSITION.c.cycle_id == CYCLE.c.id) & (POSITION.c.position_side == PositionSide.LONG)
    columns = (
        CYCLE.c.symbol,
        CYCLE.c.deposit,
        CYCLE.c.extramarg,
        CYCLE.c.leverage,
        CYCLE.c.net_pnl,
        POSITION.c.pnl_diff,  # of both sides, on each
    )
    return select(*columns).select_from(CYCLE.outerjoin(POSITION, side)).where(is_open())


def net_pnls_ended(*, since: datetime) -> Rows:
    """Select what each cycle that ended since then earned; added up outside, where it is exact."""
    return select(CYCLE.c.net_pnl).where(CYCLE.c.ended_at >= since)


def last_ended(symbol: str, *, never_traded: Sequence[CloseReason]) -> Rows:
    """Select when the symbol's last cycle ended, but for those that ended for these reasons."""
    traded = or_(CYCLE.c.close_reason.is_(None), CYCLE.c.close_reason.not_in(never_traded))
    ended = CYCLE.c.ended_at.is_not(None)
    last = CYCLE.c.ended_at.desc()
    return (
        select(CYCLE.c.ended_at)
        .where(CYCLE.c.symbol == symbol, ended, traded)
        .order_by(last)
        .limit(1)
    )
