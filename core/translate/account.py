"""Positions, executions and money, as the exchange lists them."""

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

from core.domain.cycle import Fill, PositionChecked, SideReport
from core.money import ZERO
from core.ports import Balance, FundingRecord, IncomeRecord
from core.schemas import binance_rest as rest
from core.translate import words
from core.translate.words import Untranslatable

ONE_WAY_MODE = (
    "the account is in one-way mode; switch it back to Hedge Mode (Binance: Preferences, Position "
    "Mode)"
)


def position_checked(
    rows: Iterable[rest.PositionRow], symbol: str, *, at_ms: int, asked_at_ms: int
) -> PositionChecked:
    """Return both sides of `symbol`.

    Raises Untranslatable if a side is missing: that never means flat.
    """
    sides = {row.position_side: row for row in rows if row.symbol == symbol}
    if sides.keys() == {"BOTH"}:
        raise Untranslatable(ONE_WAY_MODE)
    if not {"LONG", "SHORT"} <= sides.keys():
        raise Untranslatable(f"{symbol}: the answer lists {sorted(sides) or 'no side'}")
    return PositionChecked(
        at_ms=at_ms,
        asked_at_ms=asked_at_ms,
        long=_side_report(sides["LONG"]),
        short=_side_report(sides["SHORT"]),
    )


def user_trade(trade: rest.UserTrade, client_order_id: str) -> Fill:
    """Return an execution from the exchange's list, which knows its order's number only."""
    return Fill(
        trade_id=trade.id,
        client_order_id=client_order_id,
        side=words.side(trade.side),
        position_side=words.position_side(trade.position_side, trade.side),
        price=trade.price,
        quantity=trade.qty,
        # The sources disagree about the sign in this list; without a rebate a fee is always paid.
        commission=abs(trade.commission),
        commission_asset=trade.commission_asset,
        is_maker=trade.maker,
        time_ms=trade.time,
    )


def balance_of(rows: Iterable[rest.BalanceRow], asset: str) -> Balance:
    """Return the balance of one asset. Raises Untranslatable if it is not listed."""
    for row in rows:
        if row.asset == asset:
            return Balance(wallet=row.balance, available=row.available_balance)
    raise Untranslatable(f"no balance of {asset} in the answer")


def funding_record(row: rest.IncomeRow) -> FundingRecord:
    """Return one funding payment; negative is paid, as on the wire."""
    return FundingRecord(
        transaction_id=row.tran_id, symbol=row.symbol, amount=row.income, time_ms=row.time
    )


def income_record(row: rest.IncomeRow) -> IncomeRecord:
    """Return one change of the account's money, signed as on the wire."""
    return IncomeRecord(
        kind=row.income_type,
        transaction_id=row.tran_id,
        trade_id=int(row.trade_id) if row.trade_id.isdecimal() else None,
        asset=row.asset,
        amount=row.income,
        time_ms=row.time,
    )


def _side_report(row: rest.PositionRow) -> SideReport:
    return SideReport(
        quantity=abs(row.position_amt),
        entry=row.entry_price,
        updated_at_ms=row.update_time,
        liquidation_price=_liquidation_price(row.liquidation_price),
    )


def _liquidation_price(told: str | float | None) -> Decimal:
    """Return the price, or 0 for whatever is none."""
    try:
        price = Decimal(str(told))
    except InvalidOperation:
        return ZERO
    return price if price.is_finite() and price > 0 else ZERO
