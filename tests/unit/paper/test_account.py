"""The account over REST: settings, margin, positions, income, listen key."""

from decimal import Decimal

from paper.rules import BUILT_IN
from tests.unit.paper.bench import BTC, Bench

D = Decimal


def test_leverage_decides_margin_and_room() -> None:
    bench = Bench()
    answer = bench.ok("POST", "v1/leverage", symbol=BTC, leverage=10)
    assert answer == {"leverage": 10, "maxNotionalValue": "230000000", "symbol": BTC}
    assert bench.seen("ACCOUNT_CONFIG_UPDATE")[-1]["ac"] == {"s": BTC, "l": 10}
    bench.buy_long("0.1")
    (balance,) = bench.get("v3/balance")
    assert (balance["balance"], balance["availableBalance"]) == ("9997.00000000", "9397.00000000")
    (config,) = bench.get("v1/symbolConfig", symbol=BTC)
    assert (config["leverage"], config["marginType"]) == (10, "CROSSED")


def test_leverage_that_cannot_be() -> None:
    bench = Bench(wallet=D(1000))
    assert bench.code("POST", "v1/leverage", symbol=BTC, leverage=126) == -4028
    assert bench.code("POST", "v1/leverage", symbol=BTC, leverage=0) == -4028
    assert bench.code("POST", "v1/leverage", symbol=BTC) == -1102
    bench.ok("POST", "v1/leverage", symbol=BTC, leverage=100)
    bench.buy_long("1")
    assert bench.code("POST", "v1/leverage", symbol=BTC, leverage=125) == -2027
    assert bench.code("POST", "v1/leverage", symbol=BTC, leverage=1) == -2028
    (config,) = bench.get("v1/symbolConfig", symbol=BTC)
    assert config["leverage"] == 100


def test_position_mode() -> None:
    bench = Bench()
    path = "v1/positionSide/dual"
    assert bench.get(path) == {"dualSidePosition": True}
    assert bench.code("POST", path, dualSidePosition="true") == -4059
    bench.buy_long("0.01", price="59000", id="level")
    assert bench.code("POST", path, dualSidePosition="false") == -4067
    bench.trade("59000")
    assert bench.code("POST", path, dualSidePosition="false") == -4068
    bench.order("SELL", "LONG", "0.01")
    bench.ok("POST", path, dualSidePosition="false")
    assert bench.order("BUY", "LONG", "0.01").body["code"] == -4061
    assert [p["positionSide"] for p in bench.get("v2/positionRisk", symbol=BTC)] == ["BOTH"]


def test_one_way_mode_turns_a_position_around() -> None:
    bench = Bench(dual_side=False)
    bench.order("BUY", "BOTH", "0.01")
    bench.trade("60100")
    bench.order("SELL", "BOTH", "0.03")
    (row,) = bench.get("v3/positionRisk", symbol=BTC)
    assert (row["positionAmt"], row["entryPrice"]) == ("-0.020", "60100.0")
    assert bench.seen("ORDER_TRADE_UPDATE")[-1]["o"]["rp"] == "1"
    bench.order("BUY", "BOTH", "0.05", reduceOnly="true")
    assert bench.get("v3/positionRisk", symbol=BTC) == []


def test_margin_type() -> None:
    bench = Bench()
    path = "v1/marginType"
    assert bench.code("POST", path, symbol=BTC, marginType="CROSSED") == -4046
    assert bench.code("POST", path, symbol=BTC, marginType="NONE") == -1130
    bench.buy_long("0.01", price="59000")
    assert bench.code("POST", path, symbol=BTC, marginType="ISOLATED") == -4047
    bench.trade("59000")
    assert bench.code("POST", path, symbol=BTC, marginType="ISOLATED") == -4048
    bench.order("SELL", "LONG", "0.01")
    assert bench.ok("POST", path, symbol=BTC, marginType="ISOLATED")["code"] == 200
    assert bench.get("v2/positionRisk", symbol=BTC)[1]["marginType"] == "isolated"


def test_positions_v2_lists_flat_sides_and_v3_does_not() -> None:
    bench = Bench()
    assert bench.get("v3/positionRisk", symbol=BTC) == []
    rows = bench.get("v2/positionRisk", symbol=BTC)
    assert [(r["positionSide"], r["positionAmt"]) for r in rows] == [
        ("BOTH", "0.000"),
        ("LONG", "0.000"),
        ("SHORT", "0.000"),
    ]
    bench.order("SELL", "SHORT", "0.010")
    (row,) = bench.get("v3/positionRisk")
    assert (row["positionAmt"], row["notional"]) == ("-0.010", "-600.00000000")
    assert "leverage" not in row
    assert bench.get("v2/positionRisk", symbol=BTC)[2]["leverage"] == "20"
    assert bench.code("GET", "v2/positionRisk", symbol="NOPEUSDT") == -1121


def test_margin_of_orders_and_positions_adds_up() -> None:
    bench = Bench()
    bench.buy_long("0.1")
    bench.buy_long("0.1", price="59000")
    bench.trade("59500")
    account = bench.get("v3/account")
    assert account["totalUnrealizedProfit"] == "-50.00000000"
    assert account["totalPositionInitialMargin"] == "297.50000000"  # 0.1 × 59500 / 20
    assert account["totalOpenOrderInitialMargin"] == "295.00000000"  # 0.1 × 59000 / 20
    assert account["totalMaintMargin"] == "23.80000000"  # 5950 × 0.004
    assert account["availableBalance"] == "9354.50000000"  # 9997 − 50 − 297.5 − 295
    assert len(bench.get("v2/account")["positions"]) == 3 * len(BUILT_IN)


def test_brackets_follow_the_published_formula() -> None:
    (answer,) = Bench().get("v1/leverageBracket", symbol=BTC)
    assert answer["brackets"][2] == {
        "bracket": 3,
        "initialLeverage": 75,
        "notionalCap": 3_000_000,
        "notionalFloor": 600_000,
        "maintMarginRatio": 0.0065,
        "cum": 950.0,
    }


def test_the_liquidation_price_is_where_the_margin_is_gone() -> None:
    bench = Bench(wallet=D(500))
    bench.buy_long("0.1")
    price = D(bench.get("v3/positionRisk")[0]["liquidationPrice"])
    tick = D("0.1")
    above = price // tick * tick + tick
    bench.trade(str(above))
    assert bench.long() == D("0.1")
    bench.trade(str(above - tick))
    assert bench.long() == 0
    forced = bench.seen("ORDER_TRADE_UPDATE")[-1]["o"]
    assert forced["c"].startswith("autoclose-")
    assert (forced["x"], forced["X"]) == ("CALCULATED", "FILLED")


def test_a_liquidation_ends_every_order_and_never_leaves_a_debt() -> None:
    bench = Bench(wallet=D(400))
    bench.ok("POST", "v1/leverage", symbol=BTC, leverage=50)
    bench.buy_long("0.1")
    bench.buy_long("0.01", price="50000", id="level")
    bench.order("SELL", "LONG", "0.1", price="60300", id="tp")
    bench.trade("51000")
    assert bench.order_story("level")[-1] == ("EXPIRED", "EXPIRED")
    assert bench.order_story("tp")[-1] == ("EXPIRED", "EXPIRED")
    assert bench.get("v3/balance")[0]["balance"] == "0.00000000"


def test_hedged_legs_share_one_liquidation_price() -> None:
    bench = Bench()
    bench.buy_long("0.1")
    bench.order("SELL", "SHORT", "0.1")
    rows = bench.get("v3/positionRisk")
    assert rows[0]["liquidationPrice"] == rows[1]["liquidationPrice"]


def test_funding_is_paid_by_long_and_received_by_short() -> None:
    bench = Bench()
    bench.buy_long("0.1")
    bench.order("SELL", "SHORT", "0.05")
    bench.world.funding(BTC, D("0.0001"), bench.now_ms)
    bench.trade("60000")
    rows = bench.get("v1/income", incomeType="FUNDING_FEE")
    assert [row["income"] for row in rows] == ["-0.60000000", "0.30000000"]
    update = bench.seen("ACCOUNT_UPDATE")[-1]["a"]
    assert (update["m"], update["P"], update["S"]) == ("FUNDING_FEE", [], BTC)
    assert update["B"][0]["bc"] == "0.3"
    assert bench.world.ledger()["funding"] == "-0.30000000"


def test_income_tells_every_change_of_the_wallet() -> None:
    bench = Bench()
    bench.buy_long("0.1")
    bench.trade("60100")
    bench.order("SELL", "LONG", "0.1")
    rows = bench.get("v1/income")
    assert [(row["incomeType"], row["income"]) for row in rows] == [
        ("TRANSFER", "10000.00000000"),
        ("COMMISSION", "-3.00000000"),
        ("REALIZED_PNL", "10.00000000"),
        ("COMMISSION", "-3.00500000"),
    ]
    total = sum(D(row["income"]) for row in rows)
    assert bench.get("v3/balance")[0]["balance"] == f"{total:.8f}"
    assert len(bench.get("v1/income", page=2, limit=3)) == 1


def test_listen_key_is_shared_and_runs_out() -> None:
    bench = Bench()
    assert bench.code("PUT", "v1/listenKey") == -1125
    key = bench.ok("POST", "v1/listenKey")["listenKey"]
    assert bench.ok("POST", "v1/listenKey")["listenKey"] == key
    bench.now_ms += 40 * 60_000
    assert bench.ok("PUT", "v1/listenKey")["listenKey"] == key
    bench.now_ms += 61 * 60_000
    bench.world.tick(bench.now_ms)
    bench.trade("60000")
    assert bench.seen("listenKeyExpired")[-1]["listenKey"] == key
    assert bench.code("PUT", "v1/listenKey") == -1125
    assert bench.ok("POST", "v1/listenKey")["listenKey"] != key
    assert bench.ok("DELETE", "v1/listenKey") == {}


def test_market_data() -> None:
    bench = Bench()
    assert bench.get("v1/ping") == {}
    assert bench.get("v1/time") == {"serverTime": bench.now_ms}
    assert bench.get("v1/ticker/price", symbol=BTC)["price"] == "60000.00"
    assert len(bench.get("v2/ticker/price")) == len(BUILT_IN)
    assert bench.get("v1/premiumIndex", symbol=BTC)["markPrice"] == "60000.00000000"
    assert bench.get("v1/depth", symbol=BTC)["bids"][0][0] == "60000.00"
    assert bench.get("v1/rateLimit/order")[1]["limit"] == 300
    rates = bench.get("v1/commissionRate", symbol=BTC)
    assert rates["takerCommissionRate"] == "0.000500"
    assert bench.get("v1/accountConfig")["dualSidePosition"] is True
    assert bench.code("GET", "v1/nothing") == -5000


def test_exchange_info_lists_the_filters() -> None:
    symbols = {s["symbol"]: s for s in Bench().get("v1/exchangeInfo")["symbols"]}
    filters = {f["filterType"]: f for f in symbols[BTC]["filters"]}
    assert D(filters["PRICE_FILTER"]["tickSize"]) == D("0.1")
    assert D(filters["LOT_SIZE"]["stepSize"]) == D("0.001")
    assert filters["MIN_NOTIONAL"]["notional"] == "100"
    assert all(s["status"] == "TRADING" for s in symbols.values())


def test_mark_prices_go_out_every_second() -> None:
    bench = Bench()
    bench.world.tick(bench.now_ms, 1_700_000_000_000)
    (event,) = [e for e in bench.world.drain() if e.channel == "market"]
    assert (event.stream, event.data["p"]) == ("btcusdt@markPrice@1s", "60000.00000000")
    assert event.data["E"] == 1_700_000_000_000
