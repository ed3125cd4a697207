"""The calls beside the reference's list that clients make."""

from decimal import Decimal

import pytest

from paper.routes import ROUTES
from tests.unit.paper.bench import BTC, Bench

D = Decimal


def test_settings_of_one_asset_and_no_discount() -> None:
    bench = Bench()
    assert bench.get("v1/multiAssetsMargin") == {"multiAssetsMargin": False}
    assert bench.code("POST", "v1/multiAssetsMargin", multiAssetsMargin="true") == -1020
    assert bench.code("POST", "v1/multiAssetsMargin", multiAssetsMargin="false") == -4171
    assert bench.get("v1/feeBurn") == {"feeBurn": False}
    assert bench.code("POST", "v1/feeBurn", feeBurn="true") == -1020
    assert bench.ok("POST", "v1/feeBurn", feeBurn="false")["code"] == 200
    assert bench.ok("POST", "v1/stock/contract")["code"] == 200


def test_candles_of_the_perpetual_contract() -> None:
    bench = Bench()
    asked = {"pair": BTC, "contractType": "PERPETUAL", "interval": "1m"}
    rows = bench.get("v1/continuousKlines", **asked)
    assert rows == bench.get("v1/klines", symbol=BTC, interval="1m")
    asked["contractType"] = "CURRENT_QUARTER"
    assert bench.code("GET", "v1/continuousKlines", **asked) == -1130


def test_orders_that_the_exchange_placed() -> None:
    bench = Bench()
    bench.buy_long("0.01")
    assert bench.get("v1/adlQuantile", symbol=BTC)[0]["adlQuantile"]["LONG"] == 1
    bench.world.adl(BTC, "LONG", D("0.004"), bench.now_ms)
    bench.world.liquidate(bench.now_ms)
    bench.pulse(0)
    names = [row["clientOrderId"].split("-")[0] for row in bench.get("v1/forceOrders", symbol=BTC)]
    assert names == ["adl_autoclose", "autoclose"]
    (row,) = bench.get("v1/forceOrders", symbol=BTC, autoCloseType="ADL")
    assert row["origQty"] == "0.004"
    assert bench.code("GET", "v1/forceOrders", autoCloseType="OTHER") == -1130
    assert bench.get("v1/adlQuantile", symbol=BTC) == []


def test_margin_is_moved_between_an_isolated_leg_and_the_wallet() -> None:
    bench = Bench()
    bench.ok("POST", "v1/marginType", symbol=BTC, marginType="ISOLATED")
    bench.buy_long("0.1")
    asked = {"symbol": BTC, "positionSide": "LONG", "type": "1", "amount": "100"}
    bench.ok("POST", "v1/positionMargin", **asked)
    assert bench.get("v3/positionRisk", symbol=BTC)[0]["isolatedWallet"] == "400"
    update = bench.seen("ACCOUNT_UPDATE")[-1]["a"]
    assert (update["m"], update["P"][0]["iw"]) == ("MARGIN_TRANSFER", "400")
    bench.ok("POST", "v1/positionMargin", **(asked | {"type": "2"}))
    assert bench.get("v3/positionRisk", symbol=BTC)[0]["isolatedWallet"] == "300"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": "2"}, -4051),  # below the initial margin
        ({"amount": "100000"}, -4050),
        ({"amount": "0"}, -1130),
        ({"type": "3"}, -1130),
        ({"positionSide": "SHORT"}, -1102),
        ({"symbol": "ETHUSDT"}, -4046),  # cross-margined
    ],
)
def test_margin_that_cannot_be_moved(change: dict[str, str], code: int) -> None:
    bench = Bench()
    bench.ok("POST", "v1/marginType", symbol=BTC, marginType="ISOLATED")
    bench.buy_long("0.1")
    asked = {"symbol": BTC, "positionSide": "LONG", "type": "1", "amount": "100"} | change
    assert bench.code("POST", "v1/positionMargin", **asked) == code


ORDER = {"symbol": BTC, "side": "BUY", "positionSide": "LONG", "quantity": "0.01"}
LIMIT = {**ORDER, "type": "LIMIT", "timeInForce": "GTC"}
ALGO = {**ORDER, "algoType": "CONDITIONAL"}
ASKED: list[dict[str, str]] = [
    {},
    {"symbol": BTC},
    {**ORDER, "type": "MARKET"},
    {**LIMIT, "price": "59000"},
    {**LIMIT, "priceMatch": "QUEUE_5"},
    {**ALGO, "type": "STOP", "triggerPrice": "61000", "priceMatch": "OPPONENT"},
    {**ALGO, "type": "TRAILING_STOP_MARKET", "callbackRate": "1"},
    {"symbol": BTC, "leverage": "5", "marginType": "ISOLATED", "dualSidePosition": "false"},
    {"symbol": BTC, "interval": "1m", "limit": "5", "countdownTime": "1", "orderId": "1"},
    {"symbol": BTC, "amount": "1", "type": "1", "positionSide": "LONG", "pair": BTC},
]


@pytest.mark.parametrize("book", ["exact", "model"])
@pytest.mark.parametrize("price", [None, "60000"])
def test_every_call_is_answered_whatever_it_carries(book: str, price: str | None) -> None:
    bench = Bench(price=price, book=book)
    for asked in ASKED:
        for method, path in ROUTES:
            answer = bench.ask(method, path.removeprefix("/fapi/"), **asked)
            assert answer.status == 200 or answer.body["code"] < 0, (method, path, asked)
