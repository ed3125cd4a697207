"""Double-entry books: where every unit of money and every contract came from and went.

Each posting moves an amount from one ledger account to another, so the balances always sum to
zero; `check` proves that the balances follow from the postings and the legs from the fills.
"""

from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal

from paper.errors import InconsistentError
from paper.state import ZERO, Books, Entry, Fill, Leg, PlainOrder, PositionSide, Side

OUTSIDE, WALLET, TRADING, FEES, FUNDING, INSURANCE = (
    "outside",
    "wallet",
    "trading",
    "fees",
    "funding",
    "insurance",
)
EIGHT = Decimal("0.00000001")  # Binance keeps money to 8 decimals


def round_money(amount: Decimal) -> Decimal:
    """Return `amount` at the 8 decimals that balances are kept to."""
    return amount.quantize(EIGHT, rounding=ROUND_HALF_UP)


def wallet(books: Books) -> Decimal:
    """Return the wallet balance."""
    return books.balances.get(WALLET, ZERO)


def isolated_total(books: Books) -> Decimal:
    """Return what of the wallet is set aside for isolated legs."""
    return sum((one.isolated for legs in held_legs(books) for one in legs), ZERO)


def cross_wallet(books: Books) -> Decimal:
    """Return the wallet balance that all cross-margined positions share."""
    return wallet(books) - isolated_total(books)


def held_legs(books: Books) -> list[list[Leg]]:
    """Return the legs of every symbol that has one which is not flat."""
    return [[one for one in books.legs[s].values() if one.amount] for s in books.held]


def leg(books: Books, symbol: str, position_side: PositionSide) -> Leg:
    """Return the leg of a symbol; the world makes all of them when it begins."""
    legs = books.legs.setdefault(symbol, {})
    if position_side not in legs:
        legs[position_side] = Leg(symbol=symbol, position_side=position_side)
    return legs[position_side]


def deposit(books: Books, amount: Decimal, now_ms: int) -> Entry:
    """Book money that arrives from outside."""
    return _post(books, now_ms, "TRANSFER", OUTSIDE, WALLET, amount)


def fill(
    books: Books,
    order: PlainOrder,
    *,
    quantity: Decimal,
    price: Decimal,
    trade_id: int,
    maker: bool,
    fee_rate: Decimal,
    now_ms: int,
    isolate_at: int | None = None,
) -> Fill:
    """Book one execution of `order`: leg, realised profit, commission. Return it.

    `isolate_at` is the leverage at which isolated margin is set aside, None for cross margin.
    """
    current = leg(books, order.symbol, order.position_side)
    signed = quantity if order.side is Side.BUY else -quantity
    before, cost = current.amount, current.cost
    realised = _move(current, signed, price)
    _keep_held(books, current)
    if isolate_at is not None:
        _isolate(current, before, cost, isolate_at)
    commission = round_money(quantity * price * fee_rate)
    current.realised += realised
    current.commission += commission
    current.updated_ms = now_ms
    execution = Fill(
        trade_id=trade_id,
        symbol=order.symbol,
        order_id=order.order_id,
        client_id=order.client_id,
        side=order.side,
        position_side=order.position_side,
        price=price,
        quantity=quantity,
        quote=quantity * price,
        realised=realised,
        commission=commission,
        maker=maker,
        time_ms=now_ms,
    )
    books.fills.append(execution)
    if realised:
        _post(books, now_ms, "REALIZED_PNL", TRADING, WALLET, realised, execution)
    if commission:
        _post(books, now_ms, "COMMISSION", WALLET, FEES, commission, execution)
    return execution


def fund(books: Books, current: Leg, *, mark: Decimal, rate: Decimal, now_ms: int) -> Entry:
    """Book the funding of one leg: a LONG pays a positive rate, a SHORT receives it."""
    amount = -round_money(current.amount * mark * rate)
    current.funding += amount
    if current.isolated:
        current.isolated += amount
    return _post(
        books,
        now_ms,
        "FUNDING_FEE",
        FUNDING,
        WALLET,
        amount,
        symbol=current.symbol,
        position_side=current.position_side,
    )


def cover_deficit(books: Books, now_ms: int, missing: Decimal | None = None) -> Entry | None:
    """Let the insurance fund pay what is missing; by default what the wallet is below zero."""
    missing = -wallet(books) if missing is None else missing
    if missing <= 0:
        return None
    return _post(books, now_ms, "INSURANCE_CLEAR", INSURANCE, WALLET, missing)


def check(books: Books, orders: dict[int, PlainOrder]) -> None:
    """Raise unless money, legs and orders all follow from the postings and the fills."""
    _check_balances(books)
    _check_legs(books)
    _check_orders(books, orders)


def _move(current: Leg, signed: Decimal, price: Decimal) -> Decimal:
    """Apply a signed quantity to the leg and return the realised profit."""
    if current.amount * signed >= 0:
        current.amount += signed
        current.cost += abs(signed) * price
        return ZERO
    closing = min(abs(signed), abs(current.amount))
    # the last close releases what is left, so that the parts sum to the whole exactly
    whole = closing == abs(current.amount)
    released = current.cost if whole else round_money(current.cost * closing / abs(current.amount))
    proceeds = closing * price
    realised = proceeds - released if current.amount > 0 else released - proceeds
    rest = abs(signed) - closing
    current.amount += signed
    current.cost = rest * price if rest else current.cost - released
    return realised


def _keep_held(books: Books, current: Leg) -> None:
    is_held = any(one.amount for one in books.legs[current.symbol].values())
    if is_held and current.symbol not in books.held:
        books.held.append(current.symbol)
    elif not is_held and current.symbol in books.held:
        books.held.remove(current.symbol)


def _isolate(current: Leg, before: Decimal, cost: Decimal, leverage: int) -> None:
    """Set margin aside for what was opened, free the closed part's share of it."""
    if current.amount * before <= 0:  # flat, or turned around: the old part's margin is free
        current.isolated = round_money(current.cost / leverage)
    elif abs(current.amount) > abs(before):
        current.isolated += round_money((current.cost - cost) / leverage)
    else:
        current.isolated = round_money(current.isolated * current.amount / before)


def _post(
    books: Books,
    now_ms: int,
    kind: str,
    source: str,
    target: str,
    amount: Decimal,
    execution: Fill | None = None,
    *,
    symbol: str = "",
    position_side: str = "",
) -> Entry:
    entry = Entry(
        entry_id=len(books.entries) + 1,
        time_ms=now_ms,
        kind=kind,
        source=source,
        target=target,
        amount=amount,
        symbol=execution.symbol if execution else symbol,
        position_side=execution.position_side if execution else position_side,
        order_id=execution.order_id if execution else 0,
        trade_id=execution.trade_id if execution else 0,
    )
    books.entries.append(entry)
    books.balances[source] = books.balances.get(source, ZERO) - amount
    books.balances[target] = books.balances.get(target, ZERO) + amount
    return entry


def _check_balances(books: Books) -> None:
    totals: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for entry in books.entries:
        totals[entry.source] -= entry.amount
        totals[entry.target] += entry.amount
    for account in totals.keys() | books.balances.keys():
        if totals[account] != books.balances.get(account, ZERO):
            raise InconsistentError(
                f"{account}: {books.balances.get(account)} != {totals[account]}"
            )
    if sum(books.balances.values(), ZERO) != 0:
        raise InconsistentError("the balances do not sum to zero")
    realised = sum((one.realised for one in books.fills), ZERO)
    commission = sum((one.commission for one in books.fills), ZERO)
    if -books.balances.get(TRADING, ZERO) != realised:
        raise InconsistentError("realised profit booked is not that of the fills")
    if books.balances.get(FEES, ZERO) != commission:
        raise InconsistentError("commissions booked are not those of the fills")


def _check_legs(books: Books) -> None:
    """Cash paid for a leg, plus what it realised, is what it still costs."""
    amount: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    cash: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for one in books.fills:
        sign = 1 if one.side is Side.BUY else -1
        key = (one.symbol, one.position_side)
        amount[key] += sign * one.quantity
        cash[key] += sign * one.price * one.quantity
    for legs in books.legs.values():
        for current in legs.values():
            key = (current.symbol, current.position_side)
            cost = current.cost if current.amount > 0 else -current.cost
            if amount[key] != current.amount or cash[key] + current.realised != cost:
                raise InconsistentError(f"{key}: the leg does not follow from its fills")
            if current.cost < 0 or (current.amount == 0) != (current.cost == 0):
                raise InconsistentError(f"{key}: {current.amount} cannot cost {current.cost}")
            if current.isolated and not current.amount:
                raise InconsistentError(f"{key}: margin set aside for nothing")
            if bool(current.amount) > (current.symbol in books.held):
                raise InconsistentError(f"{key}: not among the held symbols")
            if current.position_side is PositionSide.LONG and current.amount < 0:
                raise InconsistentError(f"{key}: a LONG below zero")
            if current.position_side is PositionSide.SHORT and current.amount > 0:
                raise InconsistentError(f"{key}: a SHORT above zero")


def _check_orders(books: Books, orders: dict[int, PlainOrder]) -> None:
    executed: dict[int, Decimal] = defaultdict(lambda: ZERO)
    for one in books.fills:
        executed[one.order_id] += one.quantity
    for order in orders.values():
        if executed[order.order_id] != order.executed or order.executed > order.quantity:
            raise InconsistentError(f"order {order.client_id}: executed {order.executed}")
