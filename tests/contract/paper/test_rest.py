"""The paper exchange as three clients of Binance see it over REST, case by case.

R01 to R09 connect and read, R11 to R19 settings, R21 to R29 orders, R31 to R39 conditional orders,
R41 to R49 errors. Each runs with each client.
"""

from decimal import Decimal
from typing import Any

import pytest

from tests.contract.paper.clients import RefusedByExchange
from tests.contract.paper.conftest import Rig

D = Decimal
BTC = "BTCUSDT"
LONG = {"symbol": BTC, "side": "BUY", "positionSide": "LONG"}
CLOSE = {"symbol": BTC, "side": "SELL", "positionSide": "LONG"}
LIMIT = {"type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "price": "59000"}
ALGO = {"algoType": "CONDITIONAL", "quantity": "0.01"}


async def _buy(rig: Rig, **more: Any) -> Any:
    return await rig.call("place", **LONG, type="MARKET", quantity="0.01", **more)


# --- connect and read ----------------------------------------------------------------------


async def test_r01_it_connects(rig: Rig) -> None:
    assert await rig.call("ping") in ({}, None)
    assert (await rig.call("time"))["serverTime"] > 1_700_000_000_000


async def test_r02_exchange_info_tells_every_filter(rig: Rig) -> None:
    info = await rig.call("exchange_info")
    symbol = next(row for row in info["symbols"] if row["symbol"] == BTC)
    kinds = [row["filterType"] for row in symbol["filters"]]
    assert kinds == [
        "PRICE_FILTER",
        "LOT_SIZE",
        "MARKET_LOT_SIZE",
        "MAX_NUM_ORDERS",
        "MIN_NOTIONAL",
        "PERCENT_PRICE",
        "POSITION_RISK_CONTROL",
    ]
    assert (symbol["contractType"], symbol["status"]) == ("PERPETUAL", "TRADING")
    assert {row["rateLimitType"] for row in info["rateLimits"]} == {"REQUEST_WEIGHT", "ORDERS"}


async def test_r03_prices(rig: Rig) -> None:
    price = await rig.call("price", symbol=BTC)
    assert price["price"] == "60000.00"
    book = await rig.call("book_ticker", symbol=BTC)
    assert D(book["bidPrice"]) < D(book["askPrice"])
    depth = await rig.call("depth", symbol=BTC, limit=20)
    assert len(depth["bids"]) == len(depth["asks"]) == 20
    premium = await rig.call("premium", symbol=BTC)
    assert premium["markPrice"] == "60000.00000000"
    assert premium["nextFundingTime"] > premium["time"]


async def test_r04_the_markets_past(rig: Rig) -> None:
    await rig.wire.trade("60100", "2")
    trades = await rig.call("agg_trades", symbol=BTC)
    assert [row["p"] for row in trades] == ["60000", "60100"]
    (candle,) = (await rig.call("klines", symbol=BTC, interval="1d"))[-1:]
    assert (candle[2], len(candle)) == ("60100.00", 12)
    day = await rig.call("day", symbol=BTC)
    assert (day["lastPrice"], day["lastQty"]) == ("60100.00", "2.000")
    assert len(await rig.call("trades", symbol=BTC)) == 2
    await rig.wire.control("funding", {"symbol": BTC, "rate": "0.0002"})
    rates = await rig.call("funding", symbol=BTC)
    assert [row["fundingRate"] for row in rates] == ["0.00020000"]


async def test_r05_an_account_without_positions(rig: Rig) -> None:
    (balance,) = await rig.call("balance")
    assert (balance["asset"], balance["balance"]) == ("USDT", "10000.00000000")
    account = await rig.call("account")
    assert account["totalWalletBalance"] == "10000.00000000"
    assert len((await rig.call("account_v2"))["positions"]) > 10
    assert await rig.call("positions") == []
    rows = await rig.call("positions_v2", symbol=BTC)
    assert [row["positionSide"] for row in rows] == ["BOTH", "LONG", "SHORT"]
    assert (await rig.call("account_config"))["dualSidePosition"] is True
    assert len(await rig.call("order_limits")) == 2


async def test_r06_brackets_and_fees(rig: Rig) -> None:
    rows = await rig.call("brackets", symbol=BTC)
    bracket = rows[0]["brackets"][0]
    assert (bracket["initialLeverage"], bracket["notionalCap"]) == (125, 50_000)
    rates = await rig.call("commission", symbol=BTC)
    assert D(rates["takerCommissionRate"]) == D("0.0005")


async def test_r07_the_listen_key_lives_and_dies(rig: Rig) -> None:
    answer = await rig.call("listen_key")
    key = answer if isinstance(answer, str) else answer["listenKey"]
    assert key == rig.wire.exchange.world.listen_key
    await rig.call("keep_key", listenKey=key)
    await rig.call("close_key", listenKey=key)
    assert rig.wire.exchange.world.listen_key == ""


# --- settings ------------------------------------------------------------------------------


async def test_r11_the_position_mode(rig: Rig) -> None:
    assert await rig.call("mode") == {"dualSidePosition": True}
    await rig.call("set_mode", dualSidePosition="false")
    assert await rig.call("mode") == {"dualSidePosition": False}
    with pytest.raises(RefusedByExchange, match="-4059"):
        await rig.call("set_mode", dualSidePosition="false")


async def test_r12_leverage_and_margin_type(rig: Rig) -> None:
    answer = await rig.call("leverage", symbol=BTC, leverage=10)
    assert (answer["leverage"], answer["maxNotionalValue"]) == (10, "230000000")
    await rig.call("margin_type", symbol=BTC, marginType="ISOLATED")
    with pytest.raises(RefusedByExchange, match="-4046"):
        await rig.call("margin_type", symbol=BTC, marginType="ISOLATED")
    (row,) = await rig.call("symbol_config", symbol=BTC)
    assert (row["marginType"], row["leverage"]) == ("ISOLATED", 10)


async def test_r13_settings_that_orders_and_positions_hold(rig: Rig) -> None:
    async def code(word: str, **params: Any) -> int:
        with pytest.raises(RefusedByExchange) as caught:
            await rig.call(word, **params)
        return caught.value.code

    assert await code("leverage", symbol=BTC, leverage=126) == -4028
    await rig.call("leverage", symbol=BTC, leverage=125)
    assert await code("place", **LONG, **(LIMIT | {"quantity": "1"})) == -2027
    await rig.call("place", **LONG, **LIMIT)
    assert await code("set_mode", dualSidePosition="false") == -4067
    assert await code("margin_type", symbol=BTC, marginType="ISOLATED") == -4047
    await rig.call("cancel_all", symbol=BTC)
    await _buy(rig)
    assert await code("set_mode", dualSidePosition="false") == -4068
    assert await code("margin_type", symbol=BTC, marginType="ISOLATED") == -4048


async def test_r14_one_way_mode(rig: Rig) -> None:
    await rig.call("set_mode", dualSidePosition="false")
    with pytest.raises(RefusedByExchange, match="-4061"):
        await _buy(rig)
    order = {"symbol": BTC, "type": "MARKET", "quantity": "0.01"}
    await rig.call("place", **order, side="BUY")
    (position,) = await rig.call("positions", symbol=BTC)
    assert (position["positionSide"], position["positionAmt"]) == ("BOTH", "0.010")
    close = {**LIMIT, "symbol": BTC, "side": "SELL", "quantity": "0.5", "price": "61000"}
    resting = await rig.call("place", **close, reduceOnly="true")
    assert (resting["origQty"], resting["reduceOnly"]) == ("0.010", True)  # cut to the position
    await rig.call("place", **(order | {"side": "SELL", "quantity": "0.03"}))
    (position,) = await rig.call("positions", symbol=BTC)
    assert position["positionAmt"] == "-0.020"  # turned around; nothing is left to close
    assert await rig.call("open_orders", symbol=BTC) == []


async def test_r15_isolated_margin(rig: Rig) -> None:
    await rig.call("leverage", symbol=BTC, leverage=10)
    await rig.call("margin_type", symbol=BTC, marginType="ISOLATED")
    await _buy(rig)
    (position,) = await rig.call("positions", symbol=BTC)
    assert D(position["isolatedWallet"]) == 60
    assert D(position["liquidationPrice"]) > 54000
    with pytest.raises(RefusedByExchange, match="-4161"):
        await rig.call("leverage", symbol=BTC, leverage=5)


# --- plain orders --------------------------------------------------------------------------


async def test_r21_a_market_order_and_what_becomes_of_it(rig: Rig) -> None:
    answer = await _buy(rig, newClientOrderId="entry", newOrderRespType="RESULT")
    assert (answer["status"], answer["executedQty"]) == ("FILLED", "0.010")
    assert answer.get("avgPrice") is None  # removed on 2026-06-30
    order = await rig.call("query", symbol=BTC, origClientOrderId="entry")
    assert (order["avgPrice"], order["cumQuote"]) == ("60000.00000", "600.0000")
    (trade,) = await rig.call("my_trades", symbol=BTC)
    assert (trade["qty"], trade["maker"], trade["commissionAsset"]) == ("0.010", False, "USDT")
    (position,) = await rig.call("positions", symbol=BTC)
    assert (position["positionSide"], position["positionAmt"]) == ("LONG", "0.010")
    kinds = [row["incomeType"] for row in await rig.call("income")]
    assert kinds == ["TRANSFER", "COMMISSION"]


async def test_r22_a_limit_order_is_placed_amended_and_cancelled(rig: Rig) -> None:
    placed = await rig.call("place", **LONG, **LIMIT, newClientOrderId="level")
    assert placed["status"] == "NEW"
    amended = await rig.call(
        "amend", symbol=BTC, side="BUY", origClientOrderId="level", quantity="0.02", price="59100"
    )
    assert (amended["price"], amended["origQty"]) == ("59100.00", "0.020")
    (resting,) = await rig.call("open_orders", symbol=BTC)
    assert resting["orderId"] == placed["orderId"]
    found = await rig.call("query_open", symbol=BTC, origClientOrderId="level")
    assert found["time"] == resting["time"]
    cancelled = await rig.call("cancel", symbol=BTC, orderId=placed["orderId"])
    assert cancelled["status"] == "CANCELED"
    assert await rig.call("open_orders", symbol=BTC) == []
    (row,) = await rig.call("all_orders", symbol=BTC)
    assert row["status"] == "CANCELED"


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"timeInForce": "IOC", "price": "60010"}, "FILLED"),
        ({"timeInForce": "IOC", "price": "59000"}, "EXPIRED"),
        ({"timeInForce": "FOK", "price": "60010"}, "FILLED"),
        ({"timeInForce": "GTX", "price": "59000"}, "NEW"),
        ({"timeInForce": "GTD", "price": "59000", "goodTillDate": 4_000_000_000_000}, "NEW"),
    ],
)
async def test_r23_every_time_in_force(rig: Rig, more: dict[str, Any], status: str) -> None:
    answer = await rig.call("place", **LONG, **(LIMIT | more), newOrderRespType="RESULT")
    assert (answer["status"], answer["timeInForce"]) == (status, more["timeInForce"])


async def test_r24_a_price_from_the_book(rig: Rig) -> None:
    order = {"type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01", "priceMatch": "QUEUE"}
    answer = await rig.call("place", **LONG, **order)
    assert (answer["priceMatch"], answer["status"]) == ("QUEUE", "NEW")


async def test_r25_several_orders_at_once(rig: Rig) -> None:
    good = LONG | LIMIT | {"newClientOrderId": "a"}
    bad = LONG | LIMIT | {"newClientOrderId": "b", "price": "59000.05"}
    rows = await rig.call("batch", orders=[good, bad])
    assert [row.get("clientOrderId") or row["code"] for row in rows] == ["a", -4014]
    rows = await rig.call("cancel_batch", symbol=BTC, origClientOrderIdList=["a", "b"])
    assert [row.get("status") or row["code"] for row in rows] == ["CANCELED", -2011]


async def test_r26_all_orders_at_once_and_the_dead_mans_switch(rig: Rig) -> None:
    await rig.call("place", **LONG, **LIMIT)
    answer = await rig.call("countdown", symbol=BTC, countdownTime=100_000)
    assert answer["countdownTime"] == "100000"
    await rig.call("countdown", symbol=BTC, countdownTime=0)
    assert (await rig.call("cancel_all", symbol=BTC))["code"] in (200, "200")
    assert await rig.call("open_orders", symbol=BTC) == []


async def test_r27_a_position_is_closed_with_profit(rig: Rig) -> None:
    await _buy(rig)
    await rig.call("place", **CLOSE, **(LIMIT | {"price": "60300"}), newClientOrderId="tp")
    await rig.wire.trade("60301")
    order = await rig.call("query", symbol=BTC, origClientOrderId="tp")
    assert (order["status"], order["reduceOnly"]) == ("FILLED", True)
    assert await rig.call("positions", symbol=BTC) == []
    trades = await rig.call("my_trades", symbol=BTC)
    assert [row["realizedPnl"] for row in trades] == ["0.00000000", "3.00000000"]


async def test_r28_an_order_is_tried_and_not_placed(rig: Rig) -> None:
    await rig.call("test", **LONG, **LIMIT)
    assert await rig.call("open_orders", symbol=BTC) == []


# --- conditional orders --------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    "STOP": {"triggerPrice": "59000", "price": "58990"},
    "STOP_MARKET": {"triggerPrice": "59000"},
    "TAKE_PROFIT": {"triggerPrice": "61000", "price": "61010"},
    "TAKE_PROFIT_MARKET": {"triggerPrice": "61000"},
    "TRAILING_STOP_MARKET": {"activatePrice": "61000", "callbackRate": "1"},
}


@pytest.mark.parametrize("kind", KINDS)
async def test_r31_every_kind_is_placed_found_and_cancelled(rig: Rig, kind: str) -> None:
    await _buy(rig)
    algo = {**CLOSE, **ALGO, "type": kind, "clientAlgoId": "guard"}
    placed = await rig.call("place_algo", **algo, **KINDS[kind])
    assert (placed["orderType"], placed["algoStatus"]) == (kind, "NEW")
    assert isinstance(placed["algoId"], int)
    (waiting,) = await rig.call("open_algos", symbol=BTC)
    assert waiting["clientAlgoId"] == "guard"
    assert await rig.call("open_orders", symbol=BTC) == []
    found = await rig.call("query_algo", clientAlgoId="guard")
    assert found["algoId"] == placed["algoId"]
    answer = await rig.call("cancel_algo", clientAlgoId="guard")
    assert answer["code"] == "200"
    with pytest.raises(RefusedByExchange, match="-2011"):
        await rig.call("cancel_algo", clientAlgoId="guard")


async def test_r32_a_stop_fires_and_becomes_a_plain_order(rig: Rig) -> None:
    await _buy(rig)
    algo = {**CLOSE, **ALGO, "type": "STOP_MARKET", "clientAlgoId": "guard"}
    await rig.call("place_algo", **algo, triggerPrice="59000")
    await rig.wire.trade("58990")
    (algo_row,) = await rig.call("all_algos", symbol=BTC)
    assert algo_row["algoStatus"] == "FINISHED"
    order = await rig.call("query", symbol=BTC, origClientOrderId="guard")
    assert (order["status"], str(order["orderId"])) == ("FILLED", algo_row["actualOrderId"])
    assert await rig.call("positions", symbol=BTC) == []


async def test_r33_all_conditional_orders_at_once(rig: Rig) -> None:
    await _buy(rig)
    close = {"algoType": "CONDITIONAL", "type": "STOP_MARKET", "closePosition": "true"}
    await rig.call("place_algo", **CLOSE, **close, triggerPrice="59000")
    with pytest.raises(RefusedByExchange, match="-4130"):
        await rig.call("place_algo", **CLOSE, **close, triggerPrice="58000")
    assert (await rig.call("cancel_all_algos", symbol=BTC))["code"] in (200, "200")
    assert await rig.call("open_algos", symbol=BTC) == []


# --- errors --------------------------------------------------------------------------------

MARKET = {"type": "MARKET", "quantity": "0.01"}
ERRORS: dict[str, tuple[int, dict[str, Any]]] = {
    "unknown symbol": (-1121, {**LONG, **MARKET, "symbol": "NOPEUSDT"}),
    "too many decimals": (-1111, {**LONG, **MARKET, "quantity": "0.0101"}),
    "between ticks": (-4014, {**LONG, **LIMIT, "price": "59000.05"}),
    "too small": (-4164, {**LONG, **MARKET, "quantity": "0.001"}),
    "below the range": (-4013, {**LONG, **LIMIT, "price": "1"}),
    "nothing": (-4003, {**LONG, **MARKET, "quantity": "0"}),
    "too low": (
        -4024,
        {**LONG, **LIMIT, "side": "SELL", "positionSide": "SHORT", "price": "50000"},
    ),
    "too high": (-4016, {**LONG, **LIMIT, "price": "63001"}),
    "too large": (-4005, {**LONG, **MARKET, "quantity": "121"}),
    "no margin": (-2019, {**LONG, **MARKET, "quantity": "100"}),
    "no position": (-2022, {**CLOSE, **MARKET}),
    "wrong position side": (-4061, {**LONG, **MARKET, "positionSide": "BOTH"}),
    "reduceOnly in hedge mode": (-1106, {**LONG, **MARKET, "reduceOnly": "true"}),
    "post-only that takes": (-5022, {**LONG, **LIMIT, "timeInForce": "GTX", "price": "60010"}),
    "fill-or-kill that rests": (-5021, {**LONG, **LIMIT, "timeInForce": "FOK"}),
    "a date too near": (-5040, {**LONG, **LIMIT, "timeInForce": "GTD", "goodTillDate": 5}),
    "an id of 37 characters": (-4015, {**LONG, **MARKET, "newClientOrderId": "x" * 37}),
}


@pytest.mark.parametrize(("code", "order"), ERRORS.values(), ids=ERRORS.keys())
async def test_r41_orders_that_are_refused(rig: Rig, code: int, order: dict[str, Any]) -> None:
    with pytest.raises(RefusedByExchange) as caught:
        await rig.call("place", **order)
    assert caught.value.code == code


async def test_r42_orders_that_are_not_there(rig: Rig) -> None:
    for word, code in (("query", -2013), ("cancel", -2011), ("query_open", -2013)):
        with pytest.raises(RefusedByExchange, match=str(code)):
            await rig.call(word, symbol=BTC, origClientOrderId="nobody")
    with pytest.raises(RefusedByExchange, match="-2013"):
        await rig.call("query_algo", clientAlgoId="nobody")


async def test_r43_an_id_that_is_taken(rig: Rig) -> None:
    await rig.call("place", **LONG, **LIMIT, newClientOrderId="one")
    with pytest.raises(RefusedByExchange, match="-4116"):
        await rig.call("place", **LONG, **LIMIT, newClientOrderId="one")


async def test_r44_an_amendment_that_changes_nothing(rig: Rig) -> None:
    await rig.call("place", **LONG, **LIMIT, newClientOrderId="one")
    same = {"quantity": "0.01", "price": "59000"}
    with pytest.raises(RefusedByExchange, match="-5027"):
        await rig.call("amend", symbol=BTC, side="BUY", origClientOrderId="one", **same)


async def test_r45_a_stop_that_would_fire_at_once(rig: Rig) -> None:
    await _buy(rig)
    algo = {**CLOSE, **ALGO, "type": "STOP_MARKET"}
    with pytest.raises(RefusedByExchange, match="-2021"):
        await rig.call("place_algo", **algo, triggerPrice="60001")


@pytest.mark.parametrize(
    ("error", "code"), [("throttled", -1008), ("unknown", -1000), ("limit", -1003)]
)
async def test_r46_errors_of_the_exchange_itself(rig: Rig, error: str, code: int) -> None:
    fault = {"action": "error", "error": error, "when": "before", "count": 1}
    await rig.wire.control("faults", fault)
    with pytest.raises(RefusedByExchange) as caught:
        await _buy(rig)
    assert caught.value.code in (code, 0)  # some clients drop the code of an HTTP error
    assert await rig.call("positions", symbol=BTC) == []
