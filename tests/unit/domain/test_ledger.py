"""The books: what stands in for executions that were not read yet, and what they then become."""

from core.domain.cycle import Fill, Kind, OrderState, OrderStatus, PositionSide, Role, Side
from core.domain.ledger import fold, needs_fills
from tests.builders import a_fill, btc_rules, dec


def an_order(
    name: str,
    role: Role,
    number: int,
    side: Side,
    position_side: PositionSide,
    executed: str,
    average: str | None = None,
    *,
    kind: Kind = Kind.MARKET,
) -> OrderState:
    return OrderState(
        client_order_id=name,
        role=role,
        number=number,
        attempt=1,
        side=side,
        position_side=position_side,
        kind=kind,
        price=dec("60300") if kind is Kind.LIMIT else None,
        quantity=dec("1"),
        status=OrderStatus.OPEN,
        executed=dec(executed),
        average_price=None if average is None else dec(average),
    )


def entry(executed: str, average: str | None = "60000") -> OrderState:
    return an_order("en", Role.ENTRY, 0, Side.BUY, PositionSide.LONG, executed, average)


def hedge(number: int, executed: str, average: str | None) -> OrderState:
    name = f"hg{number}"
    return an_order(name, Role.HEDGE, number, Side.SELL, PositionSide.SHORT, executed, average)


def stop(executed: str, average: str | None) -> OrderState:
    return an_order("hs1", Role.HEDGE_STOP, 1, Side.BUY, PositionSide.SHORT, executed, average)


def short(trade_id: int, name: str, quantity: str, price: str, side: Side = Side.SELL) -> Fill:
    return a_fill(trade_id, name, quantity, price, side=side, position_side=PositionSide.SHORT)


def test_a_part_sold_leaves_the_entry_and_takes_its_share_of_the_commissions() -> None:
    fills = (
        a_fill(1, "en", "0.003", "60000", commission="0.09"),
        a_fill(2, "lv1", "0.006", "59700", commission="0.07"),
        a_fill(3, "tp", "0.003", "60300", side=Side.SELL, commission="0.05"),
    )
    ledger = fold((), fills, btc_rules(), {})
    assert (ledger.long.quantity, ledger.long.entry) == (dec("0.006"), dec("59800"))
    assert f"{ledger.long.held_commission:.12f}" == "0.106666666667"
    assert f"{ledger.realised:.12f}" == "1.500000000000"
    assert ledger.commissions == dec("0.21")


def test_a_total_without_fills_counts_at_its_average() -> None:
    ledger = fold((entry("0.004"),), (), btc_rules(), {})
    assert (ledger.long.quantity, ledger.long.entry) == (dec("0.004"), dec("60000"))
    assert ledger.commissions == dec("0.12")  # estimated at the taker's rate
    assert ledger.is_priced


def test_what_is_missing_of_a_total_counts_at_what_is_missing_of_its_average() -> None:
    orders = (entry("0.004", "60000"),)
    fills = (a_fill(1, "en", "0.001", "60300"),)
    assert needs_fills(orders, fills)
    ledger = fold(orders, fills, btc_rules(), {})
    assert (ledger.long.quantity, ledger.long.entry) == (dec("0.004"), dec("60000"))


def test_a_total_without_any_price_is_said_to_be_none() -> None:
    assert not fold((entry("0.004", None),), (), btc_rules(), {}).is_priced


def test_a_limit_order_counts_at_its_own_price_until_more_is_known() -> None:
    sold = an_order(
        "tp", Role.TAKE_PROFIT, 0, Side.SELL, PositionSide.LONG, "0.001", kind=Kind.LIMIT
    )
    ledger = fold((entry("0.004"), sold), (), btc_rules(), {})
    assert ledger.is_priced
    assert (ledger.long.quantity, ledger.realised) == (dec("0.003"), dec("0.3"))


def test_an_opening_known_by_its_total_stands_before_the_close_that_needs_it() -> None:
    fills = (a_fill(9, "tp", "0.001", "60300", side=Side.SELL),)
    ledger = fold((entry("0.004"),), fills, btc_rules(), {})
    assert (ledger.long.quantity, ledger.long.entry) == (dec("0.003"), dec("60000"))
    assert ledger.realised == dec("0.3")


def test_a_close_known_by_its_total_stands_before_the_next_hedge_opens() -> None:
    fills = (short(1, "hg1", "0.103", "57800"), short(9, "hg2", "0.097", "57684"))
    orders = (hedge(1, "0.103", "57800"), hedge(2, "0.097", "57684"), stop("0.103", "58090"))
    first, second = fold(orders, fills, btc_rules(), {}).hedges
    assert (first.number, first.is_closed, first.closed_by) == (1, True, "hs1")
    assert first.realised == dec("-29.870")
    assert (second.number, second.is_closed, second.opened) == (2, False, dec("0.097"))


def test_a_close_of_more_than_is_known_to_be_held_waits_for_its_opening() -> None:
    ledger = fold((), (a_fill(2, "tp", "0.004", "60300", side=Side.SELL),), btc_rules(), {})
    assert (ledger.long.quantity, ledger.realised) == (dec(0), dec(0))


def test_a_flat_short_has_no_hedge_that_is_still_open() -> None:
    fills = (
        short(1, "web", "0.01", "58000"),
        short(2, "hg1", "0.02", "57800"),
        short(3, "hs1", "0.03", "58000", Side.BUY),
    )
    ledger = fold((hedge(1, "0.02", None),), fills, btc_rules(), {})
    assert [(h.number, h.is_closed) for h in ledger.hedges] == [(0, True), (1, True)]
