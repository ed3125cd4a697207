"""The tables' column types, and the rules that a stored symbol knows."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, make_url
from sqlalchemy.exc import StatementError

from core.clients import rows
from core.domain.cycle import Kind, OrderState, PositionSide, Role, Side
from core.domain.settings import SymbolRules
from core.models import BinanceSymbol, Order, OrderType
from core.models.types import Money, UtcDateTime
from tests.unit.samples import sample_rules

THINGS = Table(
    "thing",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("amount", Money),
    Column("at", UtcDateTime),
)


def stored(**values: object) -> dict[str, object]:
    """Return values as they come back from SQLite."""
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            THINGS.create(connection)
            connection.execute(THINGS.insert(), values)
            return dict(connection.execute(THINGS.select()).mappings().one())
    finally:
        engine.dispose()


class TestMoney:
    @given(st.decimals(allow_nan=False, allow_infinity=False, places=18))
    def test_comes_back_to_the_last_digit(self, amount: Decimal) -> None:
        assert stored(amount=amount)["amount"] == amount

    @pytest.mark.parametrize(
        "text", ["0.00000001", "1E-8", "1E+20", "-0", "123456789.123456789012"]
    )
    def test_comes_back_whatever_its_form(self, text: str) -> None:
        assert stored(amount=Decimal(text))["amount"] == Decimal(text)

    @pytest.mark.parametrize("value", [0.1, 1, "0.1", True])
    def test_is_never_anything_but_a_decimal(self, value: object) -> None:
        with pytest.raises((TypeError, StatementError), match="money is a Decimal"):
            stored(amount=value)

    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
    def test_is_finite(self, text: str) -> None:
        with pytest.raises((ValueError, StatementError), match="money is finite"):
            stored(amount=Decimal(text))

    def test_is_numeric_without_limits_or_text(self) -> None:
        assert Money().compile(dialect=make_url("postgresql://").get_dialect()()) == "NUMERIC"
        assert Money().compile(dialect=make_url("sqlite://").get_dialect()()) == "TEXT"


class TestMoments:
    def test_come_back_aware_and_in_utc(self) -> None:
        at = datetime(2026, 11, 22, 12, 0, 0, 123000, tzinfo=timezone(timedelta(hours=3)))
        back = stored(at=at)["at"]
        assert back == at
        assert isinstance(back, datetime)
        assert back.tzinfo is UTC

    def test_without_a_zone_are_refused(self) -> None:
        with pytest.raises((ValueError, StatementError), match="without a zone"):
            stored(at=datetime(2026, 11, 22))  # noqa: DTZ001  # the very thing that is refused

    @given(st.integers(min_value=-(10**12), max_value=4 * 10**12))
    def test_keep_every_millisecond(self, at_ms: int) -> None:
        assert rows.to_ms(rows.moment(at_ms)) == at_ms


def symbol() -> BinanceSymbol:
    """Return the worked example's symbol as a row."""
    return BinanceSymbol(**rows.from_rules(sample_rules(), read_at_ms=0))


class TestSymbol:
    def test_has_a_column_for_every_rule(self) -> None:
        columns = set(BinanceSymbol.model_fields) - {"updated_at"}
        assert columns == {field.name for field in fields(SymbolRules)}

    @pytest.mark.parametrize(
        ("price", "rounding", "adjusted"),
        [("60000.04", ROUND_FLOOR, "60000.0"), ("60000.04", ROUND_CEILING, "60000.1")],
    )
    def test_adjusts_prices_to_its_tick(self, price: str, rounding: str, adjusted: str) -> None:
        assert symbol().adjust_price(Decimal(price), rounding=rounding) == Decimal(adjusted)

    def test_shows_prices_at_the_nearest_tick(self) -> None:
        assert symbol().adjust_price(Decimal("60000.06")) == Decimal("60000.1")

    def test_refuses_a_price_below_one_tick(self) -> None:
        with pytest.raises(ValueError, match=r"BTCUSDT: price 0\.09 is below one tick of 0\.1"):
            symbol().adjust_price(Decimal("0.09"), rounding=ROUND_FLOOR)

    def test_adjusts_quantities_down_to_its_step(self) -> None:
        assert symbol().adjust_quantity(Decimal("0.0049999")) == Decimal("0.004")

    def test_refuses_a_quantity_below_the_smallest(self) -> None:
        with pytest.raises(ValueError, match=r"BTCUSDT: quantity 0\.0009 is below the smallest"):
            symbol().adjust_quantity(Decimal("0.0009"))


def order(
    role: Role,
    *,
    kind: Kind = Kind.MARKET,
    side: Side = Side.BUY,
    position_side: PositionSide = PositionSide.LONG,
) -> OrderState:
    """Return an order of a role."""
    return OrderState(
        client_order_id="x",
        role=role,
        number=0,
        attempt=1,
        side=side,
        position_side=position_side,
        kind=kind,
        price=None,
        quantity=None,
    )


class TestOrders:
    def test_have_a_column_for_every_field(self) -> None:
        columns = set(Order.model_fields) - {"id", "cycle_id", "symbol", "type"}
        assert columns == set(rows.order_values(order(Role.ENTRY))) - {"type"}

    @pytest.mark.parametrize(
        ("role", "name"),
        [
            (Role.ENTRY, OrderType.LONG_MARKET),
            (Role.LEVEL, OrderType.LONG_LIMIT),
            (Role.TAKE_PROFIT, OrderType.LONG_TAKE_PROFIT),
            (Role.GUARD, OrderType.LONG_TRAILING_GUARD),
            (Role.HEDGE, OrderType.SHORT_MARKET_STOP_OPEN),
            (Role.HEDGE_STOP, OrderType.SHORT_MARKET_STOP_LOSS),
            (Role.HEDGE_MARKET, OrderType.SHORT_MARKET),
            (Role.HEDGE_STOP_MARKET, OrderType.SHORT_MARKET),
            (Role.CLOSE_LONG, OrderType.LONG_MARKET),
            (Role.CLOSE_SHORT, OrderType.SHORT_MARKET),
        ],
    )
    def test_of_ours_are_called_by_their_role(self, role: Role, name: OrderType) -> None:
        assert rows.order_type(order(role)) is name

    @pytest.mark.parametrize(
        ("nature", "name"),
        [
            ("LONG MARKET BUY", OrderType.LONG_MARKET),
            ("LONG MARKET SELL", OrderType.LONG_MARKET),
            ("LONG LIMIT BUY", OrderType.LONG_LIMIT),
            ("LONG LIMIT SELL", OrderType.LONG_TAKE_PROFIT),
            ("LONG LIMIT_IOC BUY", OrderType.LONG_LIMIT),
            ("LONG LIMIT_IOC SELL", OrderType.LONG_TAKE_PROFIT),
            ("LONG STOP_MARKET BUY", OrderType.LONG_MARKET),
            ("LONG STOP_MARKET SELL", OrderType.LONG_TRAILING_GUARD),
            ("SHORT MARKET BUY", OrderType.SHORT_MARKET),
            ("SHORT MARKET SELL", OrderType.SHORT_MARKET),
            ("SHORT LIMIT BUY", OrderType.SHORT_LIMIT),
            ("SHORT LIMIT SELL", OrderType.SHORT_LIMIT),
            ("SHORT LIMIT_IOC BUY", OrderType.SHORT_LIMIT),
            ("SHORT LIMIT_IOC SELL", OrderType.SHORT_LIMIT),
            ("SHORT STOP_MARKET BUY", OrderType.SHORT_MARKET_STOP_LOSS),
            ("SHORT STOP_MARKET SELL", OrderType.SHORT_MARKET_STOP_OPEN),
        ],
    )
    def test_of_others_are_called_by_their_nature(self, nature: str, name: OrderType) -> None:
        position_side, kind, side = nature.split()
        foreign = order(
            Role.FOREIGN,
            kind=Kind(kind),
            side=Side(side),
            position_side=PositionSide(position_side),
        )
        assert rows.order_type(foreign) is name
