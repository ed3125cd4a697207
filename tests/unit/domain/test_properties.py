"""What holds for every cycle, however it got there: generated stories, not chosen ones."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.domain.cycle import (
    Amend,
    Cancel,
    Command,
    Cycle,
    EndedBy,
    Fill,
    FillsRead,
    Kind,
    OperatorAction,
    OrderMissing,
    OrderReported,
    OrderState,
    OrderStatus,
    Phase,
    Place,
    PositionSide,
    ReportedStatus,
    Request,
    Role,
    Side,
    TimePassed,
    TradePrice,
    WantedOrder,
    Withdraw,
)
from core.domain.diff import commands
from core.domain.rules import wanted
from core.domain.strategy import apply, apply_all, band
from core.money import ZERO
from tests.builders import T0, Story, begun, btc_rules, dec, name_of

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TICK, STEP = dec("0.1"), dec("0.001")

# --- Generated stories ---

ALERTS = st.fixed_dictionaries(
    {
        "grid_long": st.sampled_from(["", "1", "0.5|1|2", "0.3|0.4|0.5|0.6"]),
        "grid_ahead": st.integers(1, 3),
        "trail_1": st.sampled_from(["0", "0.2", "0.4"]),
        "trail_2": st.sampled_from(["0", "0.1", "0.2"]),
        "trail_step": st.sampled_from(["0", "0.05"]),
        "trail_guard": st.booleans(),
        "extramarg": st.sampled_from(["0", "40", "600"]),
        "max_hedges": st.integers(0, 2),
        "max_loss": st.sampled_from([None, "5", "60"]),
        "pnl_target": st.sampled_from(["0", "3"]),
        "deposit": st.sampled_from(["60", "150", "400"]),
        "offset_pluse": st.sampled_from(["0.2", "-0.3"]),
    }
)
TURNS = [*["trade", "fill", "settle"] * 3, "end", "refuse", "refuse", "lose", "read", "say"]
SAYINGS = [
    OperatorAction.PAUSE,
    OperatorAction.RESUME,
    OperatorAction.ALLOW_HEDGES,
    *OperatorAction,
]
CODES = [-1008, -2019, -2021, -4014, -4024, -4045, -4131, -2022, -2015, -1111, -5027, -2011]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Return a story after some turns of good and bad luck."""
    alert: dict[str, Any] = draw(ALERTS)
    alert["mg_long"] = "|".join(["1.5"] * len([g for g in alert["grid_long"].split("|") if g]))
    story = Story(**alert, rules=btc_rules(min_notional="5")).entered()
    _go_far(draw, story)
    price = float(story.cycle.last_price or 60_000)
    for _ in range(draw(st.integers(0, 14))):
        price *= draw(st.sampled_from([0.97, 0.99, 0.998, 0.9995, 1.0005, 1.002, 1.008]))
        _turn(draw, story, Decimal(f"{price:.1f}"))
    return story


def _go_far(draw: st.DrawFn, story: Story) -> None:
    """Take the story, in some of the cases, to where the later rules act."""
    far = draw(st.integers(0, 4))
    grid = story.cycle.grid
    assert grid is not None
    levels = [level.number for level in grid.levels if level.number not in story.cycle.withdrawn]
    if far >= 1:
        story.averaged(*levels)
    for number in (1, 2)[: max(0, far - 1)]:
        if f"hedge {number}" in story.open:
            story.fill(f"hedge {number}").settle()
        if far >= 3 and f"hedge_stop {number}" in story.open:
            story.fill(f"hedge_stop {number}").settle()
    if far == 0 and draw(st.booleans()):
        story.trade("60250").settle()


def _turn(draw: st.DrawFn, story: Story, price: Decimal) -> None:
    story.now_ms += draw(st.sampled_from([0, 300, 3_000, 9_000]))
    turn = draw(st.sampled_from(TURNS))
    resting = [o for o in story.cycle.orders if o.is_resting and not o.is_in_flight]
    asked = [
        o
        for o in story.cycle.orders
        if o.is_in_flight and not o.is_unresolved and o is story.order(name_of(o))
    ]
    if turn == "trade":
        story.trade(str(price))
    elif turn == "fill" and resting:
        _fill(draw, story, draw(st.sampled_from(resting)), price)
    elif turn == "settle":
        story.settle(most=80)
    elif turn == "end" and resting:
        status = draw(st.sampled_from([ReportedStatus.CANCELED, ReportedStatus.EXPIRED]))
        story.report(draw(st.sampled_from(resting)), status)
    elif turn == "refuse" and asked:
        story.refuse(name_of(draw(st.sampled_from(asked))), draw(st.sampled_from(CODES)))
    elif turn == "lose" and asked:
        story.lose(name_of(draw(st.sampled_from(asked))))
    elif turn == "read":
        story.position()
    elif turn == "say":
        story.operator(draw(st.sampled_from(SAYINGS)))


def _fill(draw: st.DrawFn, story: Story, order: OrderState, price: Decimal) -> None:
    leg = story.cycle.long if order.position_side is PositionSide.LONG else story.cycle.short
    most = leg.quantity if order.close_position else order.remaining
    if not order.is_opening:
        most = min(most, leg.quantity)
    if most < STEP or order is not story.order(name_of(order)):
        return
    part = most if draw(st.booleans()) else max(STEP, (most / 2).quantize(STEP))
    at = price if order.kind is not Kind.LIMIT else None
    story.fill(name_of(order), None if at is None else str(at), str(part))


@QUICK
@given(stories(), st.data())
def test_a_trade_strictly_inside_the_band_changes_nothing_but_the_last_price(
    story: Story, data: st.DataObject
) -> None:
    cycle, limits = story.cycle, band(story.cycle)
    low = dec("1000") if limits.low is None else limits.low
    high = dec("200000") if limits.high is None else limits.high
    first, last = int(low / TICK) + 1, int(high / TICK)
    inside = [n * TICK for n in (first, last) if low < n * TICK < high]
    if first < last:
        inside.append(data.draw(st.integers(first, last - 1)) * TICK)
    for price in inside:
        after = apply(cycle, TradePrice(at_ms=story.now_ms, price=price))
        assert replace(after, last_price=None, guard_waits=False) == replace(
            cycle, last_price=None, guard_waits=False
        ), f"at {price} inside {limits}"
        assert after.guard_waits == cycle.guard_waits


def test_the_band_is_not_trivially_narrow() -> None:
    plain = band(Story().entered().cycle)
    assert (plain.low, plain.high) == (dec("57805.000000057805"), None)
    hedged = band(Story().entered().hedged().cycle)
    assert hedged.high is None
    assert hedged.low is not None
    assert hedged.low < dec("56954")
    trailing = band(Story(trail_1="0.3", trail_2="0.1").entered().trade("60180").settle().cycle)
    assert trailing.low is not None
    assert trailing.high is not None
    assert (trailing.low // 1, trailing.high // 1) == (dec("60119"), dec("60179"))


@QUICK
@given(stories())
def test_what_is_wanted_sits_on_tick_and_step_and_stays_within_the_budget(story: Story) -> None:
    cycle, wishes = story.cycle, wanted(story.cycle)
    asked = cycle.settings
    for wish in wishes:
        assert wish.price is None or wish.price % TICK == 0
        assert wish.quantity is None or (wish.quantity % STEP == 0 and wish.quantity > 0), wish
    bought = sum(
        (
            o.executed * (cycle.grid.entry_fill_price if o.price is None else o.price)
            for o in cycle.orders
            if o.role in (Role.ENTRY, Role.LEVEL) and cycle.grid is not None
        ),
        ZERO,
    )
    ahead = sum(
        (
            (w.quantity - _done(cycle, w)) * w.price
            for w in wishes
            if w.role is Role.LEVEL and w.quantity is not None and w.price is not None
        ),
        ZERO,
    )
    assert bought + ahead <= asked.deposit * asked.leverage
    for wish in wishes:
        if wish.role is Role.HEDGE and wish.quantity is not None and wish.price is not None:
            assert wish.quantity * wish.price <= asked.extramarg * asked.leverage


def _done(cycle: Cycle, wish: WantedOrder) -> Decimal:
    live = cycle.live(wish.role, wish.number)
    return ZERO if live is None else live.executed


@QUICK
@given(stories())
def test_what_never_happens(story: Story) -> None:
    cycle, wishes = story.cycle, wanted(story.cycle)
    live = [(o.role, o.number) for o in cycle.orders if not o.is_over and not o.is_superseded]
    assert len(live) == len(set(live)), "two orders for one role and number"
    if not cycle.long.quantity:
        assert not [w for w in wishes if w.role in (Role.HEDGE, Role.HEDGE_MARKET, Role.LEVEL)]
    if cycle.phase is Phase.CLOSING and cycle.short.quantity:
        resting = {o.role for o in cycle.orders if o.role is Role.HEDGE_STOP and o.is_resting}
        assert resting <= {w.role for w in wishes}, "protection removed before flat"
    assert cycle.long.quantity >= 0
    assert cycle.short.quantity >= 0


@QUICK
@given(stories())
def test_the_trailing_stop_never_falls_while_trailing_lasts(story: Story) -> None:
    stops = [step.cycle.trailing_stop for step in story.steps]
    for before, after in pairwise(stops):
        assert before is None or after is None or after >= before


@QUICK
@given(stories())
def test_a_settled_cycle_asks_for_nothing_more(story: Story) -> None:
    story.settle(most=80)
    cycle = story.cycle
    if (
        cycle.is_hands_off
        or cycle.account_refused_at_ms
        or any(o.is_unresolved for o in cycle.orders)
    ):
        return
    assert commands(wanted(cycle), cycle.orders) == ()


@QUICK
@given(stories())
def test_the_journal_alone_gives_the_cycle_again(story: Story) -> None:
    facts = tuple(fact for step in story.steps for fact in step.facts)
    assert apply_all(story.steps[0].before, facts) == story.cycle


@QUICK
@given(stories(), st.booleans())
def test_told_to_close_every_cycle_ends_flat_once_the_exchange_answers(
    story: Story, lost_ones_were_placed: bool
) -> None:
    story.operator(OperatorAction.HANDS_ON).operator(OperatorAction.CLOSE)
    for _ in range(120):
        if not story.cycle.is_open:
            break
        story.now_ms += 1_000
        for order in story.cycle.orders:
            current = story.cycle.order(order.client_order_id)
            if current is not None and not current.is_over:
                _answered_well(story, current, lost_ones_were_placed)
        story.position()
        story.tell(TimePassed(at_ms=story.now_ms))
    cycle = story.cycle
    assert cycle.phase is Phase.ENDED
    assert all(order.is_over for order in cycle.orders)
    assert (cycle.long.quantity, cycle.short.quantity) == (ZERO, ZERO)


def _answered_well(story: Story, order: OrderState, was_placed: bool) -> None:
    """Tell what an exchange without troubles would, of one order."""
    if order.is_unresolved and order.status is OrderStatus.INTENDED and not was_placed:
        name = order.client_order_id
        story.tell(OrderMissing(at_ms=story.now_ms, client_order_id=name, asked_at_ms=story.now_ms))
    elif order.is_unresolved:
        story.report(
            order,
            ReportedStatus.OPEN,
            price=order.target_price,
            quantity=order.target_quantity,
            asked_at_ms=story.now_ms,
        )
    elif order.is_in_flight:
        story.answer(order)
    elif order.is_triggered or (order.is_resting and order.kind is not Kind.STOP_MARKET):
        leg = story.cycle.long if order.position_side is PositionSide.LONG else story.cycle.short
        part = order.remaining if order.is_opening else min(order.remaining, leg.quantity)
        if order.kind is Kind.MARKET and part and order is story.order(name_of(order)):
            story.fill(name_of(order), "58000", str(part))
        elif order.kind in (Kind.MARKET, Kind.LIMIT_IOC) or order.is_triggered:
            story.report(order, ReportedStatus.EXPIRED)


# --- The difference ---


def as_open(number: int, wish: WantedOrder) -> OrderState:
    """Return the order that fulfils a wish."""
    return OrderState(
        client_order_id=f"o{number}",
        role=wish.role,
        number=wish.number,
        attempt=1,
        side=wish.side,
        position_side=wish.position_side,
        kind=wish.kind,
        price=wish.price,
        quantity=wish.quantity,
        close_position=wish.close_position,
        status=OrderStatus.OPEN,
    )


@QUICK
@given(stories())
def test_what_is_wanted_needs_no_commands_where_it_is_open(story: Story) -> None:
    wishes = wanted(story.cycle)
    assert commands(wishes, [as_open(n, w) for n, w in enumerate(wishes)]) == ()


STRAYS = st.lists(
    st.builds(
        OrderState,
        client_order_id=st.uuids().map(str),
        role=st.sampled_from([r for r in Role if r not in (Role.ENTRY, Role.FOREIGN)]),
        number=st.integers(0, 3),
        attempt=st.integers(1, 3),
        side=st.sampled_from(Side),
        position_side=st.sampled_from(PositionSide),
        kind=st.sampled_from([Kind.LIMIT, Kind.STOP_MARKET]),
        price=st.integers(500_000, 700_000).map(lambda n: n * TICK),
        quantity=st.integers(1, 200).map(lambda n: n * STEP),
        status=st.sampled_from([OrderStatus.INTENDED, OrderStatus.OPEN]),
        is_superseded=st.booleans(),
        amend_refused=st.booleans(),
    ),
    max_size=6,
)


@QUICK
@given(stories(), STRAYS)
def test_from_any_set_of_orders_the_commands_lead_to_what_is_wanted(
    story: Story, orders: list[OrderState]
) -> None:
    wishes = wanted(story.cycle)
    for turn in range(8):
        asked = commands(wishes, orders)
        if not asked:
            break
        for n, command in enumerate(asked):
            orders = _carried_out(orders, command, f"t{turn}-{n}")
    assert commands(wishes, orders) == ()
    live = {(o.role, o.number): o for o in orders if not o.is_over and not o.is_superseded}
    assert live.keys() == {(w.role, w.number) for w in wishes}
    for wish in wishes:
        order = live[wish.role, wish.number]
        assert order.status is OrderStatus.OPEN
        if wish.follows:
            assert (order.price, order.quantity) == (wish.price, wish.quantity)


def _carried_out(orders: Sequence[OrderState], command: Command, name: str) -> list[OrderState]:
    if isinstance(command, Place) and command.client_order_id is None:
        return [*orders, replace(as_open(0, command.wanted), client_order_id=name, attempt=9)]
    return [_one_carried_out(o, command) for o in orders]


def _one_carried_out(order: OrderState, command: Command) -> OrderState:
    if order.client_order_id != command.client_order_id:
        return order
    match command:
        case Place(wanted=wish):
            done = as_open(0, wish)
            return replace(done, client_order_id=order.client_order_id, attempt=order.attempt)
        case Amend():
            return replace(order, price=command.price, quantity=command.quantity)
        case Cancel():
            assert order.status is OrderStatus.OPEN
        case Withdraw():
            assert order.status is OrderStatus.INTENDED
    return replace(order, status=OrderStatus.OVER, ended_by=EndedBy.US)


# --- Fills ---

ORDERS = (
    ("tb-c1-en0-1", Role.ENTRY, 0, Side.BUY, PositionSide.LONG, Kind.MARKET),
    ("tb-c1-lv1-1", Role.LEVEL, 1, Side.BUY, PositionSide.LONG, Kind.LIMIT),
    ("tb-c1-lv2-1", Role.LEVEL, 2, Side.BUY, PositionSide.LONG, Kind.LIMIT),
    ("tb-c1-tp0-1", Role.TAKE_PROFIT, 0, Side.SELL, PositionSide.LONG, Kind.LIMIT),
    ("tb-c1-hg1-1", Role.HEDGE, 1, Side.SELL, PositionSide.SHORT, Kind.STOP_MARKET),
    ("tb-c1-hs1-1", Role.HEDGE_STOP, 1, Side.BUY, PositionSide.SHORT, Kind.STOP_MARKET),
    ("tb-c1-hg2-1", Role.HEDGE, 2, Side.SELL, PositionSide.SHORT, Kind.STOP_MARKET),
    ("tb-c1-cs2-1", Role.CLOSE_SHORT, 2, Side.BUY, PositionSide.SHORT, Kind.MARKET),
    ("web_1", Role.FOREIGN, 1, Side.BUY, PositionSide.LONG, Kind.MARKET),
)


@st.composite
def executions(draw: st.DrawFn) -> list[Fill]:
    """Return fills in order of trade id, none of which closes more than is held."""
    held = {PositionSide.LONG: ZERO, PositionSide.SHORT: ZERO}
    fills: list[Fill] = []
    for trade_id in range(1, draw(st.integers(2, 14))):
        name, _, _, side, leg, _ = ORDERS[0] if trade_id == 1 else draw(st.sampled_from(ORDERS))
        quantity = draw(st.integers(1, 30)) * STEP
        if side is not leg.opening_side:
            quantity = min(quantity, held[leg])
        if not quantity:
            continue
        held[leg] += quantity if side is leg.opening_side else -quantity
        fills.append(
            Fill(
                trade_id=trade_id,
                client_order_id=name,
                side=side,
                position_side=leg,
                price=draw(st.integers(550_000, 610_000)) * TICK,
                quantity=quantity,
                commission=draw(st.integers(0, 900)) * dec("0.0001"),
                commission_asset=draw(st.sampled_from(["USDT", "BNB"])),
                is_maker=draw(st.booleans()),
                time_ms=T0 + trade_id,
            )
        )
    return fills


def reports_of(fills: Sequence[Fill], *, with_fills: bool) -> list[OrderReported]:
    """Return the stream's events: each with its order's total so far."""
    totals: dict[str, Decimal] = {}
    kinds = {name: kind for name, _, _, _, _, kind in ORDERS}
    found: list[OrderReported] = []
    for fill in fills:
        totals[fill.client_order_id] = totals.get(fill.client_order_id, ZERO) + fill.quantity
        found.append(
            OrderReported(
                at_ms=fill.time_ms,
                client_order_id=fill.client_order_id,
                status=ReportedStatus.OPEN,
                side=fill.side,
                position_side=fill.position_side,
                kind=kinds[fill.client_order_id],
                price=fill.price,
                quantity=dec(1),
                executed=totals[fill.client_order_id],
                average_price=None,
                fill=fill if with_fills else None,
            )
        )
    return found


def known_cycle() -> Cycle:
    """Return a cycle whose orders all rest."""
    orders = tuple(
        OrderState(
            client_order_id=name,
            role=role,
            number=number,
            attempt=1,
            side=side,
            position_side=leg,
            kind=kind,
            price=dec("59000"),
            quantity=dec(1),
            status=OrderStatus.OPEN,
            created_at_ms=T0 + n,
        )
        for n, (name, role, number, side, leg, kind) in enumerate(ORDERS)
        if role is not Role.FOREIGN
    )
    return replace(begun(), orders=orders, phase=Phase.TRADING)


def outcome(cycle: Cycle) -> tuple[object, ...]:
    """Return what must not depend on the order of the news."""
    totals = {o.client_order_id: o.executed for o in cycle.orders}
    return cycle.ledger, cycle.fills, totals


@QUICK
@given(executions(), st.data())
def test_any_order_and_repetition_of_fill_news_gives_the_same_books(
    fills: list[Fill], data: st.DataObject
) -> None:
    news = reports_of(fills, with_fills=True)
    told = data.draw(st.permutations([*news, *data.draw(st.lists(st.sampled_from(news)))]))
    expected = outcome(apply_all(known_cycle(), tuple(news)))
    assert outcome(apply_all(known_cycle(), tuple(told))) == expected


@QUICK
@given(executions(), st.data())
def test_totals_first_and_fills_read_later_give_the_same_books(
    fills: list[Fill], data: st.DataObject
) -> None:
    expected = outcome(apply_all(known_cycle(), tuple(reports_of(fills, with_fills=True))))
    totals = data.draw(st.permutations(reports_of(fills, with_fills=False)))
    cut = data.draw(st.integers(0, len(totals)))
    seen = tuple(data.draw(st.permutations(fills)))
    reads = (
        FillsRead(at_ms=T0 + 50, fills=seen[: len(seen) // 2]),
        FillsRead(at_ms=T0 + 60, fills=seen),
    )
    cycle = apply_all(known_cycle(), (*totals[:cut], reads[0], *totals[cut:], reads[1]))
    assert outcome(cycle) == expected


@QUICK
@given(executions())
def test_quantities_follow_from_totals_alone(fills: list[Fill]) -> None:
    known = apply_all(known_cycle(), tuple(reports_of(fills, with_fills=True)))
    told = apply_all(known_cycle(), tuple(reports_of(fills, with_fills=False)))
    assert told.long.quantity == known.long.quantity
    assert told.short.quantity == known.short.quantity


@QUICK
@given(executions())
def test_money_in_is_money_out(fills: list[Fill]) -> None:
    """Cash flow equals realised PNL less what is tied up; commissions stand apart."""
    cycle = apply_all(known_cycle(), tuple(reports_of(fills, with_fills=True)))
    cash = sum(((f.price * f.quantity) * (1 if f.side is Side.SELL else -1) for f in fills), ZERO)
    tied = cycle.long.quantity * cycle.long.entry - cycle.short.quantity * cycle.short.entry
    assert abs(cycle.ledger.realised - (cash + tied)) < dec("1e-15")
    hedges = sum((h.realised for h in cycle.ledger.hedges), ZERO)
    longs = cycle.ledger.realised - hedges
    if not cycle.short.quantity:
        shorts = sum(
            (
                (f.price * f.quantity) * (1 if f.side is Side.SELL else -1)
                for f in fills
                if f.position_side is PositionSide.SHORT
            ),
            ZERO,
        )
        assert abs(hedges - shorts) < dec("1e-15")
        assert abs(longs - (cycle.ledger.realised - shorts)) < dec("1e-15")


def test_requests_carry_what_they_ask_for() -> None:
    requests = Story().fill("entry", "60000").requests
    assert {(name_of(o), o.request, o.target_price) for o in requests} == {
        ("take_profit", Request.PLACE, dec("60300.0")),
        ("level 1", Request.PLACE, dec("59700.0")),
    }
