"""REST: the account, its settings and its listen key."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from paper import events, ledger, margin, reading
from paper.desk import Desk
from paper.errors import POSITION_TOO_LARGE, RefusedError
from paper.params import Params, invalid, missing
from paper.state import ZERO, Entry, Leg, PositionSide, Side

Body = dict[str, Any] | list[dict[str, Any]]

LISTEN_KEY_MS = 60 * 60 * 1000
SUCCESS = {"code": 200, "msg": "success"}
DAY_MS = 24 * 3600 * 1000


# --- settings ------------------------------------------------------------------------------


def position_mode(desk: Desk, _params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/positionSide/dual."""
    return {"dualSidePosition": desk.state.dual_side}


def change_position_mode(desk: Desk, params: Params, _now_ms: int) -> Body:
    """POST /fapi/v1/positionSide/dual."""
    params.required("dualSidePosition")
    wanted = params.flag("dualSidePosition")
    if wanted == desk.state.dual_side:
        raise RefusedError(-4059, "No need to change position side.")
    holds = desk.matching.book.armed_algos() if desk.state.options.algos_hold_mode else []
    if desk.matching.book.open_orders() or holds:
        raise RefusedError(-4067, "Position side cannot be changed if there exists open orders.")
    if margin.open_legs(desk.state):
        raise RefusedError(-4068, "Position side cannot be changed if there exists position.")
    desk.state.dual_side = wanted
    return dict(SUCCESS)


def change_leverage(desk: Desk, params: Params, now_ms: int) -> Body:
    """POST /fapi/v1/leverage: one for both legs."""
    rules = desk.rules(params)
    leverage = params.integer("leverage")
    if leverage is None:
        raise missing("leverage")
    if not 1 <= leverage <= rules.max_leverage:
        raise RefusedError(-4028, f"Leverage {leverage} is not valid")
    market = desk.state.markets[rules.symbol]
    held = [leg for leg in margin.open_legs(desk.state) if leg.symbol == rules.symbol]
    if held and leverage < market.leverage and margin.is_isolated(desk.state, rules.symbol):
        raise RefusedError(
            -4161,
            "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
        )
    before, market.leverage = market.leverage, leverage
    orders = desk.matching.book.open_orders()
    sides = (PositionSide.BOTH, PositionSide.LONG, PositionSide.SHORT)
    rooms = [margin.bracket_room(desk.state, rules, side, orders) for side in sides]
    if min(rooms) < 0:
        market.leverage = before
        raise RefusedError(*POSITION_TOO_LARGE)
    if leverage < before and desk.available() < 0:
        market.leverage = before
        raise RefusedError(
            -2028, "Leverage is smaller than permitted: insufficient margin balance."
        )
    if leverage != before:
        data = {"ac": {"s": rules.symbol, "l": leverage}}
        desk.emit(events.account("ACCOUNT_CONFIG_UPDATE", data, now_ms))
    return {
        "leverage": leverage,
        "maxNotionalValue": f"{rules.max_notional(leverage):f}",
        "symbol": rules.symbol,
    }


def change_margin_type(desk: Desk, params: Params, now_ms: int) -> Body:
    """POST /fapi/v1/marginType."""
    rules = desk.rules(params)
    wanted = params.required("marginType")
    if wanted not in ("ISOLATED", "CROSSED"):
        raise invalid("marginType")
    market = desk.state.markets[rules.symbol]
    if wanted == market.margin_type:
        raise RefusedError(-4046, "No need to change margin type.")
    if desk.matching.book.open_orders(rules.symbol) or desk.matching.book.armed_algos(rules.symbol):
        raise RefusedError(-4047, "Margin type cannot be changed if there exists open orders.")
    if any(leg.symbol == rules.symbol for leg in margin.open_legs(desk.state)):
        raise RefusedError(-4048, "Margin type cannot be changed if there exists position.")
    market.margin_type = wanted
    desk.emit(events.account_update("MARGIN_TYPE_CHANGE", desk.state.books, [], now_ms))
    return dict(SUCCESS)


def account_config(desk: Desk, _params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/accountConfig."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": desk.state.dual_side,
        "updateTime": now_ms,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def symbol_config(desk: Desk, params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/symbolConfig."""
    return [
        {
            "symbol": symbol,
            "marginType": desk.state.markets[symbol].margin_type,
            "isAutoAddMargin": False,
            "leverage": desk.state.markets[symbol].leverage,
            "maxNotionalValue": _max_notional(desk, symbol),
        }
        for symbol in desk.symbols(params)
    ]


def leverage_brackets(desk: Desk, params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/leverageBracket; the inner values are JSON numbers."""
    return [
        {
            "symbol": symbol,
            "notionalCoef": 1.0,
            "brackets": [
                {
                    "bracket": number,
                    "initialLeverage": b.leverage,
                    "notionalCap": int(b.cap),
                    "notionalFloor": int(b.floor),
                    "maintMarginRatio": float(b.maintenance),
                    "cum": float(b.cum),
                }
                for number, b in enumerate(desk.state.rules[symbol].brackets, start=1)
            ],
        }
        for symbol in desk.symbols(params)
    ]


def commission_rate(desk: Desk, params: Params, _now_ms: int) -> Body:
    """GET /fapi/v1/commissionRate."""
    options = desk.state.options
    return {
        "symbol": desk.rules(params).symbol,
        "makerCommissionRate": f"{options.maker_fee:.6f}",
        "takerCommissionRate": f"{options.taker_fee:.6f}",
        "rpiCommissionRate": "0.000050",
    }


# --- balance, positions, income ------------------------------------------------------------


def balance(desk: Desk, _params: Params, now_ms: int) -> Body:
    """GET /fapi/v2 and v3 balance."""
    wallet = ledger.wallet(desk.state.books)
    free = max(ZERO, desk.available())
    return [
        {
            "accountAlias": "paper",
            "asset": "USDT",
            "balance": _money(wallet),
            "crossWalletBalance": _money(ledger.cross_wallet(desk.state.books)),
            "crossUnPnl": _money(margin.cross_unrealised(desk.state)),
            "availableBalance": _money(free),
            "maxWithdrawAmount": _money(min(free, wallet)),
            "marginAvailable": True,
            "updateTime": now_ms,
        }
    ]


def account_v3(desk: Desk, _params: Params, now_ms: int) -> Body:
    """GET /fapi/v3/account."""
    rows = [_account_position(desk, leg) for leg in _shown_legs(desk, None)]
    return _totals(desk, now_ms) | {"positions": rows}


def account_v2(desk: Desk, _params: Params, now_ms: int) -> Body:
    """GET /fapi/v2/account: every symbol, flat or not."""
    rows = []
    for symbol in desk.state.rules:
        market = desk.state.markets[symbol]
        for leg in _all_legs(desk, symbol):
            rows.append(
                _account_position(desk, leg)
                | {
                    "leverage": str(market.leverage),
                    "isolated": market.margin_type == "ISOLATED",
                    "entryPrice": events.entry_text(leg.entry),
                    "breakEvenPrice": _break_even(desk, leg),
                    "maxNotional": _max_notional(desk, symbol),
                    "positionInitialMargin": _money(margin.position_margin(desk.state, leg)),
                    "openOrderInitialMargin": _money(_resting_margin(desk, leg)),
                    **_notionals(desk, leg),
                }
            )
    flags = {
        "feeTier": 0,
        "feeBurn": False,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }
    totals = _totals(desk, now_ms)
    for asset in totals["assets"]:
        asset["marginAvailable"] = True  # V3 says it in multi-assets mode only
    return flags | totals | {"positions": rows}


def position_risk_v2(desk: Desk, params: Params, _now_ms: int) -> Body:
    """GET /fapi/v2/positionRisk: both sides of every symbol, also at 0."""
    rows = []
    for symbol in desk.symbols(params):
        market = desk.state.markets[symbol]
        rows += [
            _position(desk, leg)
            | {
                "leverage": str(market.leverage),
                "maxNotionalValue": _max_notional(desk, symbol),
                "marginType": "cross" if market.margin_type == "CROSSED" else "isolated",
                "isAutoAddMargin": "false",
            }
            for leg in _all_legs(desk, symbol)
        ]
    return rows


def position_risk_v3(desk: Desk, params: Params, _now_ms: int) -> Body:
    """GET /fapi/v3/positionRisk: only legs with a position or an open order, without leverage."""
    symbol = None if params.text("symbol") is None else desk.rules(params).symbol
    rows = []
    for leg in _shown_legs(desk, symbol):
        initial = margin.position_margin(desk.state, leg)
        resting = _resting_margin(desk, leg)
        rows.append(
            _position(desk, leg)
            | {
                "marginAsset": "USDT",
                "initialMargin": _money(initial + resting),
                "maintMargin": _money(margin.maintenance_margin(desk.state, leg)),
                "positionInitialMargin": _money(initial),
                "openOrderInitialMargin": _money(resting),
                "adl": 1 if leg.amount else 0,
                **_notionals(desk, leg),
            }
        )
    return rows


def income(desk: Desk, params: Params, now_ms: int) -> Body:
    """GET /fapi/v1/income: what changed the wallet, oldest first."""
    symbol, kind = params.text("symbol"), params.text("incomeType")
    start, end = params.integer("startTime"), params.integer("endTime")
    since = now_ms - 7 * DAY_MS if start is None else start
    rows = [
        entry
        for entry in desk.state.books.entries
        if entry.time_ms > now_ms - reading.HISTORY_MS
        and (symbol is None or entry.symbol == symbol)
        and (kind is None or entry.kind == kind)
        and since <= entry.time_ms <= (now_ms if end is None else end)
    ]
    if desk.state.options.funding_posting == "net":
        rows = _netted(rows)
    page, limit = params.integer("page") or 1, params.limit(100, 1000)
    return [_render_entry(entry) for entry in rows[(page - 1) * limit : page * limit]]


# --- listen key ----------------------------------------------------------------------------


def create_listen_key(desk: Desk, _params: Params, now_ms: int) -> Body:
    """POST /fapi/v1/listenKey: the same key while one is active."""
    if not desk.state.listen_key:
        desk.state.listen_key = f"paper{desk.serial():07d}{now_ms}".ljust(64, "x")
    desk.state.listen_key_until_ms = now_ms + LISTEN_KEY_MS
    return {"listenKey": desk.state.listen_key}


def extend_listen_key(desk: Desk, _params: Params, now_ms: int) -> Body:
    """PUT /fapi/v1/listenKey."""
    if not desk.state.listen_key:
        raise RefusedError(
            -1125,
            "This listenKey does not exist. Please use POST /fapi/v1/listenKey to recreate "
            "listenKey and it will be valid for 60 minutes.",
        )
    desk.state.listen_key_until_ms = now_ms + LISTEN_KEY_MS
    return {"listenKey": desk.state.listen_key}


def close_listen_key(desk: Desk, _params: Params, _now_ms: int) -> Body:
    """DELETE /fapi/v1/listenKey: ends the stream of every consumer."""
    desk.state.listen_key = ""
    return {}


# --- pieces --------------------------------------------------------------------------------


def _money(amount: Decimal) -> str:
    return f"{ledger.round_money(amount):f}"


def _max_notional(desk: Desk, symbol: str) -> str:
    leverage = desk.state.markets[symbol].leverage
    return f"{desk.state.rules[symbol].max_notional(leverage):f}"


def _break_even(desk: Desk, leg: Leg) -> str:
    return events.entry_text(events.break_even(leg, desk.state.options.taker_fee))


def _all_legs(desk: Desk, symbol: str) -> list[Leg]:
    sides = [PositionSide.BOTH]
    if desk.state.dual_side:
        sides += [PositionSide.LONG, PositionSide.SHORT]
    return [ledger.leg(desk.state.books, symbol, side) for side in sides]


def _shown_legs(desk: Desk, symbol: str | None) -> list[Leg]:
    ordered = {(o.symbol, o.position_side) for o in desk.matching.book.open_orders(symbol)}
    return [
        leg
        for name in ([symbol] if symbol else desk.state.rules)
        for leg in _all_legs(desk, name)
        if leg.amount or (leg.symbol, leg.position_side) in ordered
    ]


def _resting_margin(desk: Desk, leg: Leg) -> Decimal:
    orders = desk.matching.book.open_orders(leg.symbol)
    mine = [o for o in orders if o.position_side is leg.position_side]
    return margin.open_order_margin(desk.state, mine)


def _notionals(desk: Desk, leg: Leg) -> dict[str, str]:
    """Return the notional of the leg's open orders on each side."""
    bids, asks = ZERO, ZERO
    for order in desk.matching.book.open_orders(leg.symbol):
        if order.position_side is leg.position_side:
            notional = order.price * order.remaining
            bids, asks = (
                (bids + notional, asks) if order.side is Side.BUY else (bids, asks + notional)
            )
    return {"bidNotional": events.trim(bids), "askNotional": events.trim(asks)}


def _position(desk: Desk, leg: Leg) -> dict[str, Any]:
    rules = desk.state.rules[leg.symbol]
    mark = margin.mark_of(desk.state, leg.symbol)
    liquidation = margin.liquidation_price(desk.state, leg)
    return {
        "symbol": leg.symbol,
        "positionSide": leg.position_side.value,
        "positionAmt": rules.rest_quantity(leg.amount),
        "entryPrice": events.entry_text(leg.entry),
        "breakEvenPrice": _break_even(desk, leg),
        "markPrice": f"{mark:.8f}",
        "unRealizedProfit": _money(leg.profit_at(mark)),
        "liquidationPrice": events.trim(liquidation.quantize(events.TEN)),
        "isolatedMargin": _isolated_margin(leg, mark),
        "notional": _money(leg.amount * mark),
        "isolatedWallet": events.trim(leg.isolated),
        "updateTime": leg.updated_ms,
    }


def _isolated_margin(leg: Leg, mark: Decimal) -> str:
    return _money(leg.isolated + leg.profit_at(mark) if leg.isolated else ZERO)


def _account_position(desk: Desk, leg: Leg) -> dict[str, Any]:
    rules = desk.state.rules[leg.symbol]
    mark = margin.mark_of(desk.state, leg.symbol)
    initial = margin.position_margin(desk.state, leg)
    return {
        "symbol": leg.symbol,
        "positionSide": leg.position_side.value,
        "positionAmt": rules.rest_quantity(leg.amount),
        "unrealizedProfit": _money(leg.profit_at(mark)),
        "isolatedMargin": _isolated_margin(leg, mark),
        "notional": _money(leg.amount * mark),
        "isolatedWallet": events.trim(leg.isolated),
        "initialMargin": _money(initial + _resting_margin(desk, leg)),
        "maintMargin": _money(margin.maintenance_margin(desk.state, leg)),
        "updateTime": leg.updated_ms,
    }


def _totals(desk: Desk, now_ms: int) -> dict[str, Any]:
    state = desk.state
    legs = margin.open_legs(state)
    wallet, profit = ledger.wallet(state.books), margin.unrealised(state)
    held = sum((margin.position_margin(state, leg) for leg in legs), ZERO)
    resting = margin.open_order_margin(state, desk.matching.book.open_orders())
    needed = sum((margin.maintenance_margin(state, leg) for leg in legs), ZERO)
    free = max(ZERO, desk.available())
    common = {
        "availableBalance": _money(free),
        "maxWithdrawAmount": _money(min(free, wallet)),
    }
    totals = {
        "totalInitialMargin": _money(held + resting),
        "totalMaintMargin": _money(needed),
        "totalWalletBalance": _money(wallet),
        "totalUnrealizedProfit": _money(profit),
        "totalMarginBalance": _money(wallet + profit),
        "totalPositionInitialMargin": _money(held),
        "totalOpenOrderInitialMargin": _money(resting),
        "totalCrossWalletBalance": _money(ledger.cross_wallet(state.books)),
        "totalCrossUnPnl": _money(margin.cross_unrealised(state)),
    }
    asset = {
        "asset": "USDT",
        "walletBalance": _money(wallet),
        "unrealizedProfit": _money(profit),
        "marginBalance": _money(wallet + profit),
        "maintMargin": _money(needed),
        "initialMargin": _money(held + resting),
        "positionInitialMargin": _money(held),
        "openOrderInitialMargin": _money(resting),
        "crossWalletBalance": _money(ledger.cross_wallet(state.books)),
        "crossUnPnl": _money(margin.cross_unrealised(state)),
        "updateTime": now_ms,
    }
    return totals | common | {"assets": [asset | common]}


def _netted(entries: list[Entry]) -> list[Entry]:
    """Return the entries with the funding of both legs of a symbol as one."""
    found: list[Entry] = []
    for entry in entries:
        before = found[-1] if found else None
        if (
            before is not None
            and entry.kind == before.kind == "FUNDING_FEE"
            and (entry.symbol, entry.time_ms) == (before.symbol, before.time_ms)
        ):
            found[-1] = replace(before, amount=before.amount + entry.amount)
        else:
            found.append(entry)
    return found


def _render_entry(entry: Entry) -> dict[str, Any]:
    amount = entry.amount if entry.target == ledger.WALLET else -entry.amount
    return {
        "symbol": entry.symbol,
        "incomeType": entry.kind,
        "income": _money(amount),
        "asset": "USDT",
        "info": str(entry.trade_id) if entry.trade_id else entry.kind,
        "time": entry.time_ms,
        "tranId": entry.entry_id,
        "tradeId": str(entry.trade_id) if entry.trade_id else "",
    }
