"""Cycles told as stories: what happened on the exchange, said in one line each.

`Story` is the exchange's side of one cycle. It answers requests, fills orders, prints trades, and
shows what is open, as text, so that a test reads like the spec. Everything goes through
`take_step`, the engine's own door to the domain.
"""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from core.domain.cycle import (
    Cycle,
    Fact,
    Fill,
    Kind,
    OperatorAction,
    OperatorAsked,
    OrderRefused,
    OrderReported,
    OrderState,
    OrderStatus,
    OutcomeUnknown,
    PositionChecked,
    PositionSide,
    ReportedStatus,
    Request,
    Role,
    Side,
    SideReport,
    TimePassed,
    TradePrice,
    client_order_id,
)
from core.domain.settings import (
    AmountType,
    CycleSettings,
    GridMode,
    MultiplierMode,
    OnHedgeFailed,
    Policy,
    SymbolRules,
)
from core.domain.step import Step, take_step
from core.money import ZERO, to_wire

T0 = 1_790_000_000_000  # when every story's alert was accepted
_ENUMS = (AmountType, GridMode, MultiplierMode)


class StoppedClock:
    """Shows one moment, counted from the story's start."""

    def __init__(self, after_ms: int = 0) -> None:
        self._after_ms = after_ms

    def now_ms(self) -> int:
        """Return that moment."""
        return T0 + self._after_ms


def dec(text: str | int | Decimal) -> Decimal:
    """Return a decimal from text."""
    return Decimal(text)


def btc_rules(**changes: Any) -> SymbolRules:
    """Return the worked example's symbol; text becomes numbers."""
    rules = SymbolRules(
        symbol="BTCUSDT",
        base_asset="BTC",
        quote_asset="USDT",
        status="TRADING",
        tick_size=dec("0.1"),
        min_price=dec("500"),
        max_price=dec("1000000"),
        step_size=dec("0.001"),
        min_quantity=dec("0.001"),
        max_quantity=dec("1000"),
        market_min_quantity=dec("0.001"),
        market_max_quantity=dec("120"),
        market_step_size=dec("0.001"),
        min_notional=dec("50"),
        multiplier_up=dec("1.05"),
        multiplier_down=dec("0.95"),
        maker_rate=dec("0.0002"),
        taker_rate=dec("0.0005"),
    )
    return replace(rules, **{name: _value(value) for name, value in changes.items()})


def example_settings(**changes: Any) -> CycleSettings:
    """Return the worked example's alert; text becomes numbers, `a|b` becomes lists."""
    settings = CycleSettings(
        symbol="BTCUSDT",
        amount_type=AmountType.BASE,
        amount=dec("0.004"),
        leverage=10,
        entry_price=None,
        deposit=dec("300"),
        extramarg=dec("600"),
        tp=dec("0.5"),
        order_quan=3,
        grid_long=_list("0.5|1|2"),
        grid_mode=GridMode.STEP,
        mg_long=_list("1.5|2|2"),
        mg_mode=MultiplierMode.MULTIPLIER,
        trail_1=ZERO,
        trail_2=ZERO,
        trail_step=ZERO,
        trail_guard=True,
        offset_short=dec("0.2"),
        offset_pluse=dec("0.2"),
        sl_short=dec("0.5"),
        max_hedges=5,
        pnl_target=ZERO,
        max_loss=None,
        grid_ahead=1,
    )
    values: dict[str, Any] = {}
    for name, value in changes.items():
        is_list = name in ("grid_long", "mg_long")
        values[name] = _list(value) if is_list else _value(value)
    if "grid_long" in values:
        values["order_quan"] = len(values["grid_long"])
    return replace(settings, **values)


def begun(
    *,
    rules: SymbolRules | None = None,
    on_hedge_failed: OnHedgeFailed = OnHedgeFailed.HOLD,
    min_liquidation_distance: str | None = None,
    **settings: Any,
) -> Cycle:
    """Return a cycle whose entry's intent was just committed."""
    asked = example_settings(**settings)
    return Cycle(
        cycle_id=1,
        key="c1",
        symbol="BTCUSDT",
        settings=asked,
        rules=rules or btc_rules(),
        policy=Policy(
            on_hedge_failed=on_hedge_failed,
            min_liquidation_distance=_value(min_liquidation_distance),
        ),
        accepted_at_ms=T0,
        orders=(entry_order(asked.amount),),
    )


def entry_order(quantity: Decimal) -> OrderState:
    """Return the entry as the API writes it down before sending it."""
    return OrderState(
        client_order_id=client_order_id(key="c1", role=Role.ENTRY, number=0, attempt=1),
        role=Role.ENTRY,
        number=0,
        attempt=1,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        kind=Kind.MARKET,
        price=None,
        quantity=quantity,
        request=Request.PLACE,
        target_quantity=quantity,
        requested_at_ms=T0,
        created_at_ms=T0,
    )


def a_fill(
    trade_id: int,
    order: str,
    quantity: str,
    price: str,
    *,
    side: Side = Side.BUY,
    position_side: PositionSide = PositionSide.LONG,
    commission: str | None = None,
    asset: str = "USDT",
    is_maker: bool = False,
    time_ms: int = T0,
) -> Fill:
    """Return one execution; its commission is the taker's unless said."""
    paid = dec(quantity) * dec(price) * dec("0.0005") if commission is None else dec(commission)
    return Fill(
        trade_id=trade_id,
        client_order_id=order,
        side=side,
        position_side=position_side,
        price=dec(price),
        quantity=dec(quantity),
        commission=paid,
        commission_asset=asset,
        is_maker=is_maker,
        time_ms=time_ms,
    )


class Story:
    """One cycle, told from the exchange's side."""

    def __init__(self, cycle: Cycle | None = None, **settings: Any) -> None:
        self.cycle = begun(**settings) if cycle is None else cycle
        self.now_ms = T0
        self.steps: list[Step] = []
        self.requests: tuple[OrderState, ...] = tuple(
            o for o in self.cycle.orders if o.is_in_flight
        )
        self.asked: list[str] = []  # every request since the last `forget`, as text

    # --- Telling ---

    def tell(self, *facts: Fact) -> "Story":
        """Apply facts and keep the requests that follow."""
        step = take_step(self.cycle, facts, now_ms=self.now_ms)
        self.steps.append(step)
        self.cycle = step.cycle
        self.requests = step.requests
        self.asked += [_request_text(order) for order in step.requests]
        return self

    def wait(self, ms: int) -> "Story":
        """Let time pass."""
        self.now_ms += ms
        return self.tell(TimePassed(at_ms=self.now_ms))

    def settle(self, most: int = 30) -> "Story":
        """Answer every request with success, again and again, moving time where that is due."""
        for _ in range(most):
            open_requests = [o for o in self.cycle.orders if o.is_in_flight and not o.is_unresolved]
            wake = self.steps[-1].wake_at_ms if self.steps else None
            if open_requests:
                for order in open_requests:
                    self.answer(order)
            elif wake is not None:
                self.now_ms = max(self.now_ms, wake)
                self.tell(TimePassed(at_ms=self.now_ms))
            else:
                return self
        raise AssertionError(f"still asking after {most} turns: {self.asked[-6:]}")

    def answer(self, order: OrderState) -> "Story":
        """Answer the request that is under way for `order` with success."""
        status, price, quantity = ReportedStatus.OPEN, order.target_price, order.target_quantity
        if order.request is Request.CANCEL:
            status, price, quantity = ReportedStatus.CANCELED, order.price, order.quantity
        return self.report(order, status, price=price, quantity=quantity, answers=order.request)

    def report(
        self,
        order: OrderState,
        status: ReportedStatus,
        *,
        price: Decimal | None = None,
        quantity: Decimal | None = None,
        executed: Decimal | None = None,
        average: Decimal | None = None,
        fill: Fill | None = None,
        asked_at_ms: int | None = None,
        answers: Request | None = None,
    ) -> "Story":
        """Tell one report of an order; totals as they are known unless said."""
        return self.tell(
            OrderReported(
                at_ms=self.now_ms,
                client_order_id=order.client_order_id,
                status=status,
                side=order.side,
                position_side=order.position_side,
                kind=order.kind,
                price=order.price if price is None else price,
                quantity=order.quantity if quantity is None else quantity,
                executed=order.executed if executed is None else executed,
                average_price=average,
                fill=fill,
                asked_at_ms=asked_at_ms,
                answers=answers,
            )
        )

    def fill(
        self,
        name: str,
        price: str | None = None,
        quantity: str | None = None,
        *,
        is_maker: bool | None = None,
    ) -> "Story":
        """Execute an order, wholly unless said, as the account stream tells it."""
        order = self.order(name)
        leg = self.cycle.long if order.position_side is PositionSide.LONG else self.cycle.short
        total = order.target_quantity if order.status is OrderStatus.INTENDED else order.quantity
        left = leg.quantity if order.close_position else (total or ZERO) - order.executed
        done = left if quantity is None else dec(quantity)
        at = dec(price) if price is not None else order.price or order.target_price
        assert at is not None, f"{name}: at which price?"
        if order.is_algo and not order.is_triggered:
            self.report(order, ReportedStatus.TRIGGERED)
            order = self.order(name)
        trade_id = 1 + max((f.trade_id for f in self.cycle.fills), default=0)
        maker = order.kind is Kind.LIMIT if is_maker is None else is_maker
        rate = self.cycle.rules.maker_rate if maker else self.cycle.rules.taker_rate
        fill = a_fill(
            trade_id,
            order.client_order_id,
            to_wire(done),
            to_wire(at),
            side=order.side,
            position_side=order.position_side,
            commission=to_wire(done * at * rate),
            is_maker=maker,
            time_ms=self.now_ms,
        )
        is_open = done < left
        rest = ReportedStatus.TRIGGERED if order.is_algo else ReportedStatus.OPEN
        return self.report(
            order,
            rest if is_open else ReportedStatus.FILLED,
            executed=order.executed + done,
            average=at if not order.executed else None,
            quantity=total,
            fill=fill,
        )

    def trade(self, *prices: str) -> "Story":
        """Print market trades, each with the step that follows."""
        for price in prices:
            self.tell(TradePrice(at_ms=self.now_ms, price=dec(price)))
        return self

    def refuse(self, name: str, code: int) -> "Story":
        """Refuse the request under way for an order."""
        order = self.order(name)
        assert order.is_in_flight, f"{name}: nothing was asked"
        return self.tell(
            OrderRefused(
                at_ms=self.now_ms,
                client_order_id=order.client_order_id,
                request=order.request,
                code=code,
                text="refused",
                requested_at_ms=order.requested_at_ms,
            )
        )

    def lose(self, name: str) -> "Story":
        """Let the request under way for an order go without an answer."""
        order = self.order(name)
        return self.tell(
            OutcomeUnknown(
                at_ms=self.now_ms,
                client_order_id=order.client_order_id,
                requested_at_ms=order.requested_at_ms,
            )
        )

    def end(self, name: str, status: ReportedStatus) -> "Story":
        """Let an order end by a person (CANCELED) or the exchange (EXPIRED, REJECTED)."""
        return self.report(self.order(name), status)

    def operator(self, action: OperatorAction) -> "Story":
        """Let the operator ask for something."""
        return self.tell(OperatorAsked(at_ms=self.now_ms, action=action))

    def position(
        self,
        long: str | None = None,
        short: str | None = None,
        *,
        entry: str = "60000",
        liquidation: tuple[str, str] = ("0", "0"),
        updated_at_ms: int = 0,
    ) -> "Story":
        """Tell both sides as the exchange reads them now; as the fills have them unless said."""
        sides = (
            SideReport(
                quantity=leg.quantity if said is None else dec(said),
                entry=dec(entry),
                updated_at_ms=updated_at_ms,
                liquidation_price=dec(price),
            )
            for leg, said, price in (
                (self.cycle.long, long, liquidation[0]),
                (self.cycle.short, short, liquidation[1]),
            )
        )
        return self.tell(
            PositionChecked(
                at_ms=self.now_ms, asked_at_ms=self.now_ms, long=next(sides), short=next(sides)
            )
        )

    # --- Well-known places ---

    def entered(self, price: str = "60000") -> "Story":
        """Go to: entry filled, take-profit and first levels rest."""
        self.fill("entry", price)
        return self.settle()

    def averaged(self, *numbers: int) -> "Story":
        """Fill levels at their own prices; what follows rests."""
        for number in numbers:
            self.fill(f"level {number}").settle()
        return self

    def hedged(self, price: str = "57800") -> "Story":
        """Go on to: all levels filled, hedge 1 open, its stop-loss rests."""
        assert self.cycle.grid is not None
        self.averaged(*(level.number for level in self.cycle.grid.levels))
        self.fill("hedge 1", price)
        return self.settle()

    def proven_flat(self) -> "Story":
        """Let two reads, far enough apart, show both sides flat."""
        self.now_ms += 10
        self.position("0", "0")
        self.now_ms += 2_000
        return self.position("0", "0")

    # --- Looking ---

    def order(self, name: str) -> OrderState:
        """Return the newest attempt of an order by its name: `level 1`, `take_profit`, …"""
        found = [o for o in self.cycle.orders if name_of(o) == name]
        assert found, f"no {name} among {[name_of(o) for o in self.cycle.orders]}"
        return max(found, key=lambda o: o.attempt)

    @property
    def open(self) -> dict[str, str]:
        """Return what rests on the exchange, as text."""
        return {name_of(o): _order_text(o) for o in self.cycle.orders if o.is_resting}

    @property
    def alarms(self) -> tuple[str, ...]:
        """Return the keys of the alarms raised."""
        return tuple(alarm.key for alarm in self.cycle.alarms)

    def forget(self) -> "Story":
        """Forget the requests asked so far."""
        self.asked.clear()
        return self


def name_of(order: OrderState) -> str:
    """Return an order's role, with its number where it has one."""
    return f"{order.role} {order.number}" if order.number else order.role.value


def _order_text(order: OrderState) -> str:
    quantity = "all" if order.quantity is None else to_wire(order.quantity)
    return quantity if order.price is None else f"{quantity} @ {to_wire(order.price)}"


def _request_text(order: OrderState) -> str:
    if order.request is Request.CANCEL:
        return f"cancel {name_of(order)}"
    quantity = "all" if order.target_quantity is None else to_wire(order.target_quantity)
    price = "MARKET" if order.target_price is None else to_wire(order.target_price)
    return f"{order.request} {name_of(order)} {quantity} @ {price}"


def _list(text: str) -> tuple[Decimal, ...]:
    return tuple(dec(item) for item in text.split("|") if item)


def _value(value: Any) -> Any:
    return dec(value) if isinstance(value, str) and not isinstance(value, _ENUMS) else value
